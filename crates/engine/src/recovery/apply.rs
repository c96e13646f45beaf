//! Facts from the archive as changes of the hot state.

use std::collections::HashMap;

use bytes::Bytes;
use fred::types::Value;
use stampede_domain::{
    DropDefinition, DropId, DropState, Fact, FactBody, GrantRecord, GrantState, LogId, OrderId, Shard, UserDigest,
    UserId, Version,
};

use super::{RecoveryGuard, drop_keys, number_arg};
use crate::call::Call;
use crate::engine::Engine;
use crate::sale::{figures_args, terms_args, time_arg};
use crate::{EngineError, scripts};

/// What `recovery/apply` decides.
#[derive(Clone, Copy)]
pub(crate) enum Applying {
    Applied,
    Malformed,
}

pub(crate) static APPLY: Call<Applying> =
    Call::guarded(&scripts::RECOVERY_APPLY, &[("applied", Applying::Applied), ("malformed", Applying::Malformed)]);

/// Whole entries of a shard's history, in order, that one script call applies.
#[derive(Debug, Default)]
pub struct HistoryChunk<'a> {
    /// Drops that do not exist in Redis before this chunk.
    pub create: Vec<&'a DropDefinition>,
    /// The facts.
    pub facts: &'a [Fact],
    /// Drops that are purged by the entry of this number, in this chunk or a later one: of those no earlier fact is applied,
    /// as nothing but their tombstones stays.
    pub purges: Option<&'a Purges>,
}

/// Drops, and the numbers of the entries that purge them.
pub type Purges = HashMap<DropId, u64>;

impl HistoryChunk<'_> {
    /// Whether a purge makes this fact needless.
    pub fn is_purged(purges: &Purges, fact: &Fact) -> bool {
        purges.get(&fact.drop_id).is_some_and(|number| fact.number < *number)
    }
}

impl Engine {
    /// Applies a chunk behind entry `number`, and returns where the shard stands afterwards.
    ///
    /// # Errors
    /// [`EngineError::Superseded`] if the shard does not stand at `number` any more; nothing was applied.
    pub async fn recovery_apply(
        &self,
        guard: &RecoveryGuard,
        number: u64,
        last_id: LogId,
        chunk: &HistoryChunk<'_>,
    ) -> Result<(u64, LogId), EngineError> {
        let mut changes = Changes::default();
        for definition in &chunk.create {
            changes.push("create", &definition.id, terms_args(definition, guard.shard));
        }
        let mut versions: HashMap<&DropId, Version> = HashMap::new();
        let purges = chunk.purges;
        let stay = |fact: &&Fact| !purges.is_some_and(|purges| HistoryChunk::is_purged(purges, fact));
        for fact in chunk.facts.iter().filter(stay) {
            changes.add(fact);
            versions.insert(&fact.drop_id, Version::new(fact.epoch, fact.number));
        }
        for (id, version) in versions {
            changes.push("version", id, [number_arg(version.0)]);
        }
        let (after, last) = chunk.facts.last().map_or((number, last_id), |fact| (fact.number, fact.position.log_id));
        let k = &self.shared.handle(guard.shard)?.keys;
        let mut keys = vec![k.meta.clone(), k.log.clone(), k.timers.clone(), k.drops.clone()];
        keys.extend(drop_keys(guard.shard, &changes.drops));
        let mut args =
            vec![number_arg(number), number_arg(after), number_arg(last.ms), Value::from(i64::from(last.sequence))];
        args.append(&mut changes.words);
        match self.guarded(guard, &APPLY, keys, &args).await? {
            (Applying::Applied, _) => Ok((after, last)),
            (Applying::Malformed, mut fields) => {
                Err(EngineError::Malformed(format!("recovery/apply: {}", fields.text()?)))
            }
        }
    }
}

/// The words of a chunk, as `lua/recovery/apply.lua` reads them.
#[derive(Default)]
struct Changes {
    drops: Vec<DropId>,
    places: HashMap<DropId, i64>,
    words: Vec<Value>,
}

impl Changes {
    fn push<const N: usize>(&mut self, word: &'static str, drop: &DropId, args: [Value; N]) {
        let place = match self.places.get(drop) {
            Some(place) => *place,
            None => {
                self.drops.push(drop.clone());
                let place = self.drops.len() as i64;
                self.places.insert(drop.clone(), place);
                place
            }
        };
        self.words.push(Value::from(word));
        self.words.push(Value::from(place));
        self.words.extend(args);
    }

    fn add(&mut self, fact: &Fact) {
        let id = &fact.drop_id;
        match &fact.body {
            FactBody::Opened { drop } => self.push("create", id, terms_args(drop, fact.shard)),
            FactBody::Activated => self.push("activated", id, []),
            FactBody::Sent { to, transfer, units } => {
                self.push("send", id, transfer_args(*to, *transfer, *units, fact))
            }
            FactBody::Received { from, transfer, units } => {
                self.push("receive", id, transfer_args(*from, *transfer, *units, fact));
            }
            FactBody::Started => self.push("started", id, []),
            FactBody::Released => self.push("released", id, []),
            FactBody::Amended { window, limit_per_user } => {
                let limit = Value::from(i64::from(*limit_per_user));
                let args = [Value::from(window.starts_at.as_ms()), time_arg(window.ends_at), limit];
                self.push("window", id, args);
            }
            FactBody::Paused => self.push_state(id, DropState::Paused),
            FactBody::Resumed => self.push_state(id, DropState::Open),
            FactBody::Closed { .. } => self.push_over(fact, DropState::Ended),
            FactBody::CalledOff => self.push_over(fact, DropState::Cancelled),
            FactBody::Restocked { key, units } => {
                self.push("restock", id, [Value::from(key.to_string()), Value::from(i64::from(*units))]);
            }
            FactBody::Granted(grant) => {
                let record = GrantRecord {
                    position: fact.position,
                    epoch: fact.epoch,
                    key: grant.key,
                    fingerprint: grant.fingerprint,
                    units: grant.units,
                    state: GrantState::Confirmed,
                };
                let record = Bytes::copy_from_slice(&record.encode());
                let args = [user_arg(&grant.user_id), Value::Bytes(record), Value::from(i64::from(grant.units))];
                self.push("grant", id, args);
            }
            FactBody::Cancelled(withdrawal) => self.push_withdrawal(id, withdrawal.order_id, &withdrawal.user_id, 1),
            FactBody::Compensated(given_back) => {
                self.push_withdrawal(id, given_back.order_id, &given_back.grant.user_id, 2);
            }
            FactBody::Purged(stone) => self.push("purge", id, figures_args(stone)),
            // It changed nothing of the drop; the fact that it replayed stands at its own place.
            FactBody::Replayed { .. } => {}
        }
    }

    fn push_state(&mut self, id: &DropId, state: DropState) {
        self.push("state", id, [Value::from(state.as_str()), Value::from("")]);
    }

    fn push_over(&mut self, fact: &Fact, state: DropState) {
        let over_ms = number_arg(fact.position.log_id.ms);
        self.push("state", &fact.drop_id, [Value::from(state.as_str()), over_ms]);
    }

    fn push_withdrawal(&mut self, id: &DropId, order_id: OrderId, user_id: &UserId, state: i64) {
        let position = order_id.position();
        let mut place = Vec::with_capacity(8);
        place.extend_from_slice(&position.log_id.ms.to_be_bytes()[2..]);
        place.extend_from_slice(&position.log_id.sequence.to_be_bytes());
        let args = [
            user_arg(user_id),
            Value::Bytes(Bytes::from(place)),
            Value::from(i64::from(position.index)),
            Value::from(state),
        ];
        self.push("withdraw", id, args);
    }
}

fn transfer_args(other: Shard, transfer: u64, units: u32, fact: &Fact) -> [Value; 4] {
    let other = Value::from(other.to_string());
    [other, number_arg(transfer), Value::from(i64::from(units)), number_arg(fact.number)]
}

fn user_arg(user: &UserId) -> Value {
    Value::Bytes(Bytes::copy_from_slice(&UserDigest::of(user).0))
}
