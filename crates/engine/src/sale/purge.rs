//! Purging a drop: its users' records go, a tombstone stays.

use std::time::Duration;

use fred::types::Value;
use stampede_domain::{DropId, Fact, FactBody, Shard, Timestamp, Tombstone};

use super::LiveDrop;
use super::open::time_arg;
use crate::call::Call;
use crate::clock::millis;
use crate::engine::Engine;
use crate::keys::Keys;
use crate::{EngineError, scripts};

/// How often a purge is tried while the drop's figures change between the look at them and the call.
const PURGE_TRIES: u32 = 5;

/// What `sale/purge` decides.
#[derive(Clone, Copy)]
pub(crate) enum Burying {
    Changed,
    Unchanged,
    NotOver,
    OrdersStand,
    TooEarly,
    Unsettled,
    Stale,
}

pub(crate) static PURGE: Call<Burying> = Call::settled(
    &scripts::SALE_PURGE,
    &[
        ("changed", Burying::Changed),
        ("unchanged", Burying::Unchanged),
        ("not-over", Burying::NotOver),
        ("orders-stand", Burying::OrdersStand),
        ("too-early", Burying::TooEarly),
        ("unsettled", Burying::Unsettled),
        ("stale", Burying::Stale),
    ],
);

/// What became of a purge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PurgeOutcome {
    /// It was purged, now.
    Purged(LiveDrop),
    /// It had been purged before.
    AlreadyPurged(LiveDrop),
    /// It may not be purged yet.
    Refused(PurgeRefusal),
}

/// Why a drop may not be purged yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PurgeRefusal {
    /// It is not over.
    NotOver,
    /// Units of it are held, or it was called off and not all of its orders are cancelled.
    OrdersStand,
    /// Its shoppers may still cancel, or it is to be kept longer: until then.
    TooEarly(Timestamp),
    /// The archive may not hold all of it yet, or refuses a fact of it.
    Unsettled,
}

/// When a purge is due, and when a refused one is looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PurgeTerms {
    /// How long a drop is kept once it is over.
    pub keep_for: Duration,
    /// The pause before its timer looks again if something stands in the way; none for one who asks only once.
    pub look_again: Option<Duration>,
}

impl Engine {
    /// Purges a drop that is over, archived and no longer cancellable by its shoppers. Repeated, it says
    /// [`PurgeOutcome::AlreadyPurged`]. Both wait for the drop's durability. Of a striped drop all stripes are purged, up to
    /// the first that may not be yet.
    ///
    /// # Errors
    /// [`EngineError::ShardRecovering`] behind the fence, and for a drop that Redis does not have;
    /// [`EngineError::OutcomeUnknown`] if it may have happened.
    pub async fn purge_drop(&self, id: &DropId, terms: PurgeTerms) -> Result<PurgeOutcome, EngineError> {
        let mut purged = None;
        for shard in self.stripes_of(id).await? {
            match self.purge_stripe(shard, id, terms).await? {
                PurgeOutcome::Refused(refusal) => return Ok(PurgeOutcome::Refused(refusal)),
                // Purged now, if one of them is.
                PurgeOutcome::AlreadyPurged(_) if purged.is_some() => {}
                outcome => purged = Some(outcome),
            }
        }
        purged.ok_or(EngineError::ShardRecovering)
    }

    /// Purges what one shard has of a drop: as [`Self::purge_drop`], for a striped drop one of its stripes.
    ///
    /// # Errors
    /// As [`Self::purge_drop`].
    pub async fn purge_stripe(
        &self,
        shard: Shard,
        id: &DropId,
        terms: PurgeTerms,
    ) -> Result<PurgeOutcome, EngineError> {
        for _ in 0..PURGE_TRIES {
            let reading = self.read_stripes(shard, std::slice::from_ref(id)).await?;
            let drop = reading.drops.into_iter().next().flatten().ok_or(EngineError::ShardRecovering)?;
            if let Some(outcome) = self.try_purge(shard, &drop, terms).await? {
                return Ok(outcome);
            }
        }
        Err(EngineError::Unavailable("the drop is being changed by others".to_owned()))
    }

    /// Calls the script for a drop as it was seen; `None` if it was changed since.
    async fn try_purge(
        &self,
        shard: Shard,
        drop: &LiveDrop,
        terms: PurgeTerms,
    ) -> Result<Option<PurgeOutcome>, EngineError> {
        let id = &drop.id;
        let handle = self.shared.handle(shard)?;
        let k = &handle.keys;
        let own = [Keys::drop(shard, id), Keys::users(shard, id)];
        let shared = [&k.meta, &k.log, &k.unsettled, &k.timers].map(Clone::clone);
        let keys: Vec<String> = shared.into_iter().chain(own).collect();
        let stone = Tombstone {
            state: drop.state,
            window: drop.window,
            limit_per_user: drop.limit_per_user,
            total_units: drop.total_units,
            sold_units: drop.sold_units,
            sent_units: drop.sent_units,
            received_units: drop.received_units,
        };
        let args = [
            Value::from(Fact::log_json(id, &FactBody::Purged(stone))),
            Value::from(seen(&stone)),
            Value::from(millis(terms.keep_for)),
            Value::from(terms.look_again.map_or(0, |pause| millis(pause).max(1))),
        ];
        let durability = self.durability(drop.durability);
        self.shared.keeper.offers(handle, durability)?;
        let settled = self.shared.settle(handle, &PURGE, &keys, &args).await?;
        if matches!(settled.code, Burying::Changed | Burying::Unchanged) {
            self.shared.keeper.keep(handle, &settled.token, durability).await?;
        }
        let mut fields = settled.fields;
        Ok(Some(match settled.code {
            Burying::Changed => PurgeOutcome::Purged(self.drop_of_reply(id, fields)?),
            // The lost call purged it; this one found it purged.
            Burying::Unchanged if settled.was_lost => PurgeOutcome::Purged(self.drop_of_reply(id, fields)?),
            Burying::Unchanged => PurgeOutcome::AlreadyPurged(self.drop_of_reply(id, fields)?),
            Burying::NotOver => PurgeOutcome::Refused(PurgeRefusal::NotOver),
            Burying::OrdersStand => PurgeOutcome::Refused(PurgeRefusal::OrdersStand),
            Burying::TooEarly => PurgeOutcome::Refused(PurgeRefusal::TooEarly(Timestamp::from_ms(fields.parse()?))),
            Burying::Unsettled => PurgeOutcome::Refused(PurgeRefusal::Unsettled),
            Burying::Stale => return Ok(None),
        }))
    }
}

/// What the fact was made from: `lua/sale/purge.lua` compares it.
fn seen(stone: &Tombstone) -> String {
    let ends_ms = stone.window.ends_at.map(|end| end.as_ms().to_string()).unwrap_or_default();
    format!(
        "{}/{}/{ends_ms}/{}/{}/{}/{}/{}",
        stone.state.as_str(),
        stone.window.starts_at.as_ms(),
        stone.limit_per_user,
        stone.total_units,
        stone.sold_units,
        stone.sent_units,
        stone.received_units
    )
}

/// The words of `lua/lib/bury_drop.lua`, in its order.
pub(crate) fn figures_args(stone: &Tombstone) -> [Value; 8] {
    let units = |units: u64| Value::from(i64::try_from(units).unwrap_or(i64::MAX));
    [
        Value::from(stone.state.as_str()),
        Value::from(stone.window.starts_at.as_ms()),
        time_arg(stone.window.ends_at),
        Value::from(i64::from(stone.limit_per_user)),
        units(stone.total_units),
        units(stone.sold_units),
        units(stone.sent_units),
        units(stone.received_units),
    ]
}
