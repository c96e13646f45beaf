//! The log of a shard: what the persister reads, and how it says that it is done.

use std::time::Duration;

use bytes::Bytes;
use fred::interfaces::{ClientLike, StreamsInterface};
use fred::types::{ClusterHash, CustomCommand, Value};
use stampede_domain::{
    DeadLetter, DropId, Entry, Epoch, Fact, FactBody, LogId, Malformed, OrderId, Shard, TraceContext,
};

use crate::call::Call;
use crate::dead::LetterChange;
use crate::durability::Source;
use crate::engine::Engine;
use crate::keys::Keys;
use crate::metrics::Operation;
use crate::redis::{CallError, Fields, counted};
use crate::{EngineError, scripts};

/// Pending entries that one call hands over.
const HANDED_AT_ONCE: i64 = 1_000;

/// Entries that one read of the log's tail asks for while it looks for a drop's newest orders.
const TAIL_ENTRIES: i64 = 64;

/// Entries of the log that a search for a drop's newest orders reads at most.
const TAIL_LIMIT: usize = 4_096;

static CLAIM: Operation = Operation::new("xautoclaim");
static RANGE: Operation = Operation::new("xrange");

pub(crate) static READ: Call<()> = Call::fenced(&scripts::LOG_READ, &[("read", ())]);
pub(crate) static TAKE: Call<()> = Call::fenced(&scripts::LOG_TAKE, &[("taken", ())]);
pub(crate) static STATUS: Call<()> = Call::fenced(&scripts::LOG_STATUS, &[("status", ())]);
pub(crate) static ACKNOWLEDGE: Call<Acknowledging> = Call::fenced(
    &scripts::LOG_ACKNOWLEDGE,
    &[("acknowledged", Acknowledging::Acknowledged), ("too-many", Acknowledging::TooMany)],
);
pub(crate) static FORGET_CONSUMERS: Call<()> = Call::fenced(&scripts::LOG_FORGET_CONSUMERS, &[("forgotten", ())]);
pub(crate) static HAND_OVER: Call<()> = Call::fenced(&scripts::LOG_HAND_OVER, &[("handed-over", ())]);

/// What `log/acknowledge` decides.
#[derive(Clone, Copy)]
pub(crate) enum Acknowledging {
    Acknowledged,
    TooMany,
}

/// One entry of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// The shard.
    pub shard: Shard,
    /// The entry's id.
    pub id: LogId,
    /// The epoch in which it was appended.
    pub epoch: Epoch,
    /// Its number: rises by one per shard.
    pub number: u64,
    kind: Bytes,
    data: Bytes,
    picks: Bytes,
    trace: Bytes,
}

impl LogEntry {
    /// The facts of this entry.
    ///
    /// # Errors
    /// [`Malformed`] if this version did not write it.
    pub fn facts(&self) -> Result<Vec<Fact>, Malformed> {
        self.fields().facts()
    }

    /// The fact that this entry gives to the archive once more, as it was; `None` if the entry is no replay.
    ///
    /// # Errors
    /// [`Malformed`] if this version did not write it.
    pub fn replayed(&self) -> Result<Option<Fact>, Malformed> {
        self.fields().replayed()
    }

    /// The contexts of its traced orders, in their order; none where the log was read for its facts alone, and none if they
    /// cannot be read, since nothing that counts depends on them.
    pub fn traces(&self) -> Vec<TraceContext> {
        TraceContext::read_all(&self.trace).unwrap_or_default()
    }

    fn fields(&self) -> Entry<'_> {
        Entry {
            shard: self.shard,
            id: self.id,
            epoch: self.epoch,
            number: self.number,
            kind: &self.kind,
            data: &self.data,
            picks: &self.picks,
        }
    }

    /// What to give back when the archive holds all of its `facts`.
    pub fn receipt(&self, facts: &[Fact]) -> EntryReceipt {
        // A fact that the entry replays was counted with its own entry.
        let granted = |fact: &&Fact| matches!(fact.body, FactBody::Granted(_)) && fact.position.log_id == self.id;
        let orders = facts.iter().filter(granted).count();
        EntryReceipt { id: self.id, orders: orders as u64, bytes: (self.data.len() + self.picks.len()) as u64 }
    }
}

/// What acknowledging an entry takes off the log's bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryReceipt {
    /// The entry.
    pub id: LogId,
    /// Its orders.
    pub orders: u64,
    /// The bytes of its payload.
    pub bytes: u64,
}

/// What became of an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledged {
    /// So many of the entries were still pending.
    Entries(u64),
    /// There would be more dead letters than there may be; nothing was acknowledged.
    TooManyLetters,
}

/// Entries that were given to a consumer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PendingClaim {
    /// The entries, now pending under the claimer's name.
    pub entries: Vec<LogEntry>,
    /// Ids that were pending although their entries no longer exist. Never happens while only
    /// [`Engine::acknowledge`] trims; it is an alert.
    pub deleted: Vec<LogId>,
    /// What they were read from; none if they were only claimed. See [`Engine::confirm_drops`].
    pub source: Option<Source>,
}

/// How long a log is and how far it has been archived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogStatus {
    /// The epoch of the shard.
    pub epoch: Epoch,
    /// The shard's clock, in ms.
    pub now_ms: u64,
    /// The number of the last entry.
    pub number: u64,
    /// Entries in the log.
    pub entries: u64,
    /// Of those, delivered and not acknowledged.
    pub pending: u64,
    /// The time of the oldest entry, in ms.
    pub oldest_ms: Option<u64>,
    /// Orders appended and not acknowledged.
    pub backlog_orders: u64,
    /// Bytes appended and not acknowledged.
    pub backlog_bytes: u64,
}

impl Engine {
    /// Entries that were delivered to this consumer before and not acknowledged, from the oldest behind `after` on.
    ///
    /// # Errors
    /// [`EngineError::ShardRecovering`] behind the fence; [`EngineError::OutcomeUnknown`] if Redis does not answer.
    pub async fn read_pending(
        &self,
        shard: Shard,
        consumer: &str,
        after: LogId,
        limit: u64,
    ) -> Result<PendingClaim, EngineError> {
        self.read_group(shard, consumer, &after.to_string(), limit).await
    }

    /// Entries that nobody was given yet; they are pending under this consumer's name from now on. Does not wait for any.
    ///
    /// # Errors
    /// [`EngineError::ShardRecovering`] behind the fence; [`EngineError::OutcomeUnknown`] if Redis does not answer: the entries
    /// may be pending all the same.
    pub async fn read_new(&self, shard: Shard, consumer: &str, limit: u64) -> Result<PendingClaim, EngineError> {
        self.read_group(shard, consumer, ">", limit).await
    }

    /// Takes over entries that have been pending for `idle` or longer under any consumer's name.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`] if Redis does not answer.
    pub async fn claim_idle(
        &self,
        shard: Shard,
        consumer: &str,
        idle: Duration,
        limit: u64,
    ) -> Result<PendingClaim, EngineError> {
        // fred's own call drops the list of deleted ids.
        let command = CustomCommand::new_static("XAUTOCLAIM", ClusterHash::FirstKey, false);
        let args: Vec<Value> = vec![
            self.shared.handle(shard)?.keys.log.clone().into(),
            Keys::GROUP.into(),
            consumer.into(),
            crate::clock::millis(idle).into(),
            "0".into(),
            "COUNT".into(),
            Value::from(limit as i64),
        ];
        let redis = &self.shared.redis;
        let claimed = counted(&CLAIM, redis.writer().custom(command, args)).await;
        let value: Value = claimed.map_err(|error| redis.change_failed(error))?;
        let mut fields = Fields::of("XAUTOCLAIM", value)?;
        fields.text()?;
        let mut claim = read_entries(shard, fields.list()?)?;
        if fields.len() > 0 {
            let mut deleted = fields.list()?;
            for _ in 0..deleted.len() {
                claim.deleted.push(deleted.parse()?);
            }
        }
        Ok(claim)
    }

    /// Acknowledges entries that the archive holds, and trims the log behind them. Returns how many were still pending.
    ///
    /// # Errors
    /// [`EngineError::ShardRecovering`] behind the fence, or if the shard is not in `epoch` any more.
    pub async fn acknowledge(&self, shard: Shard, epoch: Epoch, receipts: &[EntryReceipt]) -> Result<u64, EngineError> {
        match self.acknowledge_with_letters(shard, epoch, receipts, &[]).await? {
            Acknowledged::Entries(entries) => Ok(entries),
            Acknowledged::TooManyLetters => Err(EngineError::Malformed("log/acknowledge: too many of none".to_owned())),
        }
    }

    /// Acknowledges entries like [`Self::acknowledge`], of which some facts are dead letters now, or settle one.
    ///
    /// # Errors
    /// As [`Self::acknowledge`].
    pub async fn acknowledge_with_letters(
        &self,
        shard: Shard,
        epoch: Epoch,
        receipts: &[EntryReceipt],
        letters: &[LetterChange],
    ) -> Result<Acknowledged, EngineError> {
        let k = &self.shared.handle(shard)?.keys;
        let most = i64::try_from(self.shared.settings.dead_letters_max).unwrap_or(i64::MAX);
        let mut args: Vec<Value> = vec![i64::from(epoch.0).into(), most.into(), Value::from(letters.len() as i64)];
        for change in letters {
            args.push(change.entry.to_string().into());
            args.push(change.fact.to_string().into());
            args.push(change.drop_id.as_str().into());
            args.push(change.letter.as_ref().map(DeadLetter::to_json).unwrap_or_default().into());
        }
        for receipt in receipts {
            args.push(receipt.id.to_string().into());
            args.push(Value::from(receipt.orders as i64));
            args.push(Value::from(receipt.bytes as i64));
        }
        let keys = vec![k.meta.clone(), k.log.clone(), k.unsettled.clone(), k.dead.clone()];
        let mut reply = self.shared.redis.change(ACKNOWLEDGE.script, keys, args).await?;
        match ACKNOWLEDGE.decode(&reply)?? {
            Acknowledging::Acknowledged => Ok(Acknowledged::Entries(reply.fields.parse()?)),
            Acknowledging::TooMany => Ok(Acknowledged::TooManyLetters),
        }
    }

    /// Forgets the names of consumers that are gone: without pending entries, and idle for `idle`. Returns how many.
    ///
    /// # Errors
    /// [`EngineError::ShardRecovering`] behind the fence.
    pub async fn forget_consumers(&self, shard: Shard, idle: Duration) -> Result<u64, EngineError> {
        let k = &self.shared.handle(shard)?.keys;
        let keys = vec![k.meta.clone(), k.log.clone()];
        let args = vec![Value::from(crate::clock::millis(idle))];
        Ok(self.shared.change_fenced(&FORGET_CONSUMERS, keys, args).await?.parse()?)
    }

    /// Hands what is pending under this consumer's name, which must not read any more, to whoever claims next, whatever idle
    /// time that one asks for; forgets the name if nothing is pending. Returns how many entries were pending.
    ///
    /// # Errors
    /// [`EngineError::ShardRecovering`] behind the fence; the rest can be claimed once it has been idle for long enough.
    pub async fn hand_over(&self, shard: Shard, consumer: &str) -> Result<u64, EngineError> {
        let k = &self.shared.handle(shard)?.keys;
        let keys = vec![k.meta.clone(), k.log.clone()];
        let (mut from, mut handed) = ("-".to_owned(), 0);
        loop {
            let args = vec![consumer.into(), from.into(), HANDED_AT_ONCE.into()];
            let mut fields = self.shared.change_fenced(&HAND_OVER, keys.clone(), args).await?;
            handed += fields.parse::<u64>()?;
            match fields.optional::<LogId>()? {
                Some(last) => from = format!("({last}"),
                None => return Ok(handed),
            }
        }
    }

    /// How long the log is and how far it has been archived.
    ///
    /// # Errors
    /// [`EngineError::ShardRecovering`] behind the fence.
    pub async fn log_status(&self, shard: Shard) -> Result<LogStatus, EngineError> {
        let k = &self.shared.handle(shard)?.keys;
        let keys = vec![k.meta.clone(), k.log.clone()];
        let mut fields = self.shared.read(&STATUS, keys, Vec::new()).await?;
        Ok(LogStatus {
            epoch: Epoch(fields.parse()?),
            now_ms: fields.parse()?,
            number: fields.parse()?,
            entries: fields.parse()?,
            pending: fields.parse()?,
            oldest_ms: fields.optional()?,
            backlog_orders: fields.parse()?,
            backlog_bytes: fields.parse()?,
        })
    }

    /// An order's fact, if its entry is still in the log.
    ///
    /// # Errors
    /// [`EngineError::ShardRecovering`] behind the fence.
    pub async fn logged_order(&self, id: OrderId) -> Result<Option<Fact>, EngineError> {
        let at = id.position().log_id.to_string();
        let entries = self.read_log(id.shard(), &at, &at, 1, "forward").await?;
        for entry in entries {
            let found = entry.facts()?.into_iter().find(|fact| fact.order().is_some_and(|order| order.id == id));
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The newest orders of a drop that are still in a shard's log, newest first: at most `limit` with an id below `before`.
    ///
    /// # Errors
    /// [`EngineError::ShardRecovering`] behind the fence.
    pub async fn newest_logged_orders(
        &self,
        shard: Shard,
        drop: &DropId,
        before: Option<OrderId>,
        limit: usize,
    ) -> Result<Vec<Fact>, EngineError> {
        let mut to = before.map_or_else(|| "+".to_owned(), |id| id.position().log_id.to_string());
        let (mut found, mut read) = (Vec::new(), 0);
        while found.len() < limit && read < TAIL_LIMIT {
            let entries = self.read_log(shard, "-", &to, TAIL_ENTRIES, "backward").await?;
            let Some(last) = entries.last() else { break };
            to = format!("({}", last.id);
            read += entries.len();
            for entry in entries {
                let facts = entry.facts()?.into_iter().rev();
                found.extend(facts.filter(|fact| {
                    let id = fact.order().map(|order| order.id);
                    fact.drop_id == *drop && id.is_some_and(|id| before.is_none_or(|before| id < before))
                }));
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Entries still in the log, in order: for a recovery that must keep what the archive does not have.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`] if Redis does not answer.
    pub async fn read_untrusted_log(
        &self,
        shard: Shard,
        after: Option<LogId>,
        limit: u64,
    ) -> Result<Vec<LogEntry>, EngineError> {
        let key = &self.shared.handle(shard)?.keys.log;
        let from = after.map_or_else(|| "-".to_owned(), |id| format!("({id}"));
        let redis = &self.shared.redis;
        let entries = counted(&RANGE, redis.reader().xrange(key, from, "+", Some(limit))).await;
        let value: Value = entries.map_err(|error| redis.read_failed(error))?;
        Ok(read_entries(shard, Fields::of("XRANGE", value)?)?.entries)
    }

    async fn read_log(
        &self,
        shard: Shard,
        from: &str,
        to: &str,
        count: i64,
        direction: &'static str,
    ) -> Result<Vec<LogEntry>, EngineError> {
        let k = &self.shared.handle(shard)?.keys;
        let keys = vec![k.meta.clone(), k.log.clone()];
        let args: Vec<Value> = vec![from.into(), to.into(), count.into(), direction.into()];
        let mut fields = self.shared.read(&READ, keys, args).await?;
        (0..fields.len())
            .map(|_| {
                let mut entry = fields.list()?;
                let id = entry.parse()?;
                Ok(LogEntry {
                    shard,
                    id,
                    epoch: Epoch(entry.parse()?),
                    number: entry.parse()?,
                    kind: entry.bytes()?,
                    data: entry.bytes()?,
                    picks: entry.bytes()?,
                    trace: Bytes::new(),
                })
            })
            .collect()
    }

    async fn read_group(
        &self,
        shard: Shard,
        consumer: &str,
        from: &str,
        limit: u64,
    ) -> Result<PendingClaim, EngineError> {
        let k = &self.shared.handle(shard)?.keys;
        let keys = vec![k.meta.clone(), k.log.clone()];
        let args: Vec<Value> = vec![consumer.into(), from.into(), Value::from(limit as i64)];
        let mut fields = self.shared.change_fenced(&TAKE, keys, args).await?;
        let source = Source::new(shard, fields.text()?);
        let claim = read_entries(shard, fields.list()?)?;
        Ok(PendingClaim { source: Some(source), ..claim })
    }
}

/// Reads `[id, [field, value, …]]` for each entry; an entry that no longer exists has no fields.
fn read_entries(shard: Shard, mut entries: Fields) -> Result<PendingClaim, CallError> {
    let mut claim = PendingClaim::default();
    for _ in 0..entries.len() {
        let mut entry = entries.list()?;
        let id = entry.parse()?;
        let Some(mut fields) = entry.optional_list()? else {
            claim.deleted.push(id);
            continue;
        };
        let mut value = |name: &str| -> Result<Bytes, CallError> {
            if fields.text()? == name { fields.bytes() } else { Err(fields.malformed(name)) }
        };
        let (epoch, number) = (value("epoch")?, value("number")?);
        let (kind, data, picks) = (value("kind")?, value("data")?, value("picks")?);
        let epoch = Epoch(fields.parse_bytes(&epoch)?);
        let number = fields.parse_bytes(&number)?;
        let trace = read_trace(&mut fields)?;
        claim.entries.push(LogEntry { shard, id, epoch, number, kind, data, picks, trace });
    }
    Ok(claim)
}

/// The field `trace`, if it is among those behind the fields that every entry has. Others are a newer version's.
fn read_trace(fields: &mut Fields) -> Result<Bytes, CallError> {
    while fields.len() > 0 {
        let (name, value) = (fields.bytes()?, fields.bytes()?);
        if name == b"trace"[..] {
            return Ok(value);
        }
    }
    Ok(Bytes::new())
}
