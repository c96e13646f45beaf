//! The steps of a recovery in Redis, each guarded: by the recovery's epoch, by the token under which it began, and by where
//! it believes the shard to stand. What to apply is decided by the worker, from the archive.

mod apply;
mod damage;

use fred::types::Value;
use stampede_domain::{DropId, Epoch, LogId, Shard};

use crate::EngineError;
use crate::call::Call;
use crate::engine::{Engine, ShardHandle, Shared};
use crate::keys::Keys;
use crate::redis::Fields;
use crate::scripts;

#[cfg(test)]
pub(crate) use apply::APPLY;
pub use apply::{HistoryChunk, Purges};
pub use damage::DamageCheck;

/// What `recovery/begin` decides.
#[derive(Clone, Copy)]
pub(crate) enum Beginning {
    Begun,
    Foreign,
}

pub(crate) static BEGIN: Call<Beginning> =
    Call::guarded(&scripts::RECOVERY_BEGIN, &[("begun", Beginning::Begun), ("foreign", Beginning::Foreign)]);
pub(crate) static PRESENCE: Call<()> = Call::guarded(&scripts::RECOVERY_MISSING_DROPS, &[("read", ())]);
pub(crate) static WIPE_DROPS: Call<()> = Call::guarded(&scripts::RECOVERY_WIPE_DROPS, &[("wiped", ())]);
pub(crate) static RESET: Call<()> = Call::guarded(&scripts::RECOVERY_RESET, &[("reset", ())]);
pub(crate) static ALIGN: Call<()> = Call::guarded(&scripts::RECOVERY_ALIGN, &[("aligned", ())]);
pub(crate) static ADOPT: Call<()> = Call::guarded(&scripts::RECOVERY_ADOPT, &[("adopted", ())]);
pub(crate) static INSPECT: Call<()> = Call::open(&scripts::RECOVERY_INSPECT, &[("inspected", ())]);
pub(crate) static INSPECT_DROPS: Call<()> = Call::open(&scripts::RECOVERY_INSPECT_DROPS, &[("inspected", ())]);

/// What a Redis process knows of a shard, fenced or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardInspection {
    /// The token of the process.
    pub token: String,
    /// The token that the shard trusts; none while it is being recovered or was never set up.
    pub trusted_token: Option<String>,
    /// The epoch of that token.
    pub epoch: Option<Epoch>,
    /// The highest epoch whose history this Redis is known to be a prefix of.
    pub line: Option<Epoch>,
    /// The highest epoch of a recovery that began here.
    pub recovering: Option<Epoch>,
    /// The number of the last entry.
    pub number: Option<u64>,
    /// The id of the last entry.
    pub(crate) last_id: Option<LogId>,
    /// Deployment and number of shards that this Redis belongs to, if it belongs to any.
    pub(crate) owner: Option<(String, u16)>,
    /// How many of the shard's own keys are there.
    keys: u8,
    /// Whether one of them is missing.
    keys_missing: bool,
}

impl ShardInspection {
    /// Whether scripts may decide here.
    pub fn is_trusted(&self) -> bool {
        self.trusted_token.as_ref() == Some(&self.token) && !self.keys_missing
    }

    /// Whether the process is the trusted one, and yet a key of the shard is missing.
    pub fn lacks_keys(&self) -> bool {
        self.trusted_token.as_ref() == Some(&self.token) && self.keys_missing
    }

    /// Whether all keys of the shard itself are there.
    pub const fn is_whole(&self) -> bool {
        !self.keys_missing
    }

    /// Whether Redis holds nothing of the shard.
    pub const fn is_empty(&self) -> bool {
        self.owner.is_none() && self.keys == 0
    }
}

/// What lets a recovery's scripts through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveryGuard {
    /// The shard.
    pub shard: Shard,
    /// The recovery's epoch.
    pub epoch: Epoch,
    /// The token of the Redis process with which it began.
    pub token: String,
}

/// Where a shard stands in its history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardLine {
    /// The epoch that the shard trusted last.
    pub trusted_epoch: Epoch,
    /// The highest epoch whose history this Redis is known to be a prefix of.
    pub line: Epoch,
    /// The number of the last entry.
    pub number: u64,
    /// The id of the last entry.
    pub last_id: LogId,
    /// Whether all keys of the shard itself are there.
    pub complete: bool,
}

/// Whether Redis holds a drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropPresence {
    /// It was never opened here.
    Absent,
    /// It is here, whole.
    Present,
    /// It was opened here and a key of it is missing.
    Damaged,
}

impl Engine {
    /// What Redis knows of a shard, fenced or not.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`] if Redis does not answer.
    pub async fn inspect_shard(&self, shard: Shard) -> Result<ShardInspection, EngineError> {
        let handle = self.shared.handle(shard)?;
        self.shared.inspect(handle).await
    }

    /// Begins a recovery: fences the shard and lets no older recovery go on.
    ///
    /// # Errors
    /// [`EngineError::Superseded`] if a newer recovery began, or another Redis process took over.
    pub async fn begin_recovery(&self, guard: &RecoveryGuard) -> Result<ShardLine, EngineError> {
        let k = &self.shared.handle(guard.shard)?.keys;
        let keys =
            vec![k.meta.clone(), k.log.clone(), k.unsettled.clone(), k.timers.clone(), k.drops.clone(), k.dead.clone()];
        let deployment = self.deployment();
        let args = [deployment.id.as_str().into(), Value::from(i64::from(deployment.shards.get()))];
        let (code, mut fields) = self.guarded(guard, &BEGIN, keys, &args).await?;
        if let Beginning::Foreign = code {
            let found = fields.text()?;
            return Err(EngineError::Malformed(format!("this Redis belongs to deployment {found}")));
        }
        Ok(ShardLine {
            trusted_epoch: Epoch(fields.parse()?),
            line: Epoch(fields.parse()?),
            number: fields.parse()?,
            last_id: LogId { ms: fields.parse()?, sequence: fields.parse()? },
            complete: fields.parse::<u8>()? == 1,
        })
    }

    /// Whether Redis holds these drops of the shard, whole.
    ///
    /// # Errors
    /// [`EngineError::Superseded`], as [`Self::begin_recovery`].
    pub async fn recovery_presence(
        &self,
        guard: &RecoveryGuard,
        drops: &[DropId],
    ) -> Result<Vec<DropPresence>, EngineError> {
        let k = &self.shared.handle(guard.shard)?.keys;
        let mut keys = vec![k.meta.clone(), k.drops.clone()];
        keys.extend(drop_keys(guard.shard, drops));
        let ((), mut fields) = self.guarded(guard, &PRESENCE, keys, &[]).await?;
        read_presence(drops, &mut fields)
    }

    /// Which of these drops a shard has, fenced or not.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`] if Redis does not answer.
    pub async fn inspect_drops(&self, shard: Shard, drops: &[DropId]) -> Result<Vec<DropPresence>, EngineError> {
        let mut keys = vec![self.shared.handle(shard)?.keys.drops.clone()];
        keys.extend(drop_keys(shard, drops));
        let mut fields = self.shared.read(&INSPECT_DROPS, keys, Vec::new()).await?;
        read_presence(drops, &mut fields)
    }

    /// Removes drops of a shard that is to be rebuilt from nothing.
    ///
    /// # Errors
    /// [`EngineError::Superseded`], as [`Self::begin_recovery`].
    pub async fn recovery_wipe(&self, guard: &RecoveryGuard, drops: &[DropId]) -> Result<(), EngineError> {
        let mut keys = vec![self.shared.handle(guard.shard)?.keys.meta.clone()];
        keys.extend(drop_keys(guard.shard, drops));
        self.guarded(guard, &WIPE_DROPS, keys, &[]).await.map(drop)
    }

    /// Takes a shard whose drops were wiped back to an empty history.
    ///
    /// # Errors
    /// [`EngineError::Superseded`], as [`Self::begin_recovery`].
    pub async fn recovery_reset(&self, guard: &RecoveryGuard) -> Result<(), EngineError> {
        let k = &self.shared.handle(guard.shard)?.keys;
        let keys =
            vec![k.meta.clone(), k.log.clone(), k.unsettled.clone(), k.timers.clone(), k.drops.clone(), k.dead.clone()];
        self.guarded(guard, &RESET, keys, &[]).await.map(drop)
    }

    /// Notes that the shard, at entry `number`, holds a prefix of the history that the recovery's epoch builds on.
    ///
    /// # Errors
    /// [`EngineError::Superseded`], as [`Self::begin_recovery`].
    pub async fn recovery_align(&self, guard: &RecoveryGuard, number: u64) -> Result<(), EngineError> {
        let keys = vec![self.shared.handle(guard.shard)?.keys.meta.clone()];
        self.guarded(guard, &ALIGN, keys, &[number_arg(number)]).await.map(drop)
    }

    /// Trusts this Redis process, above `highest`, and opens the fence.
    ///
    /// # Errors
    /// [`EngineError::Superseded`], as [`Self::begin_recovery`].
    pub async fn recovery_adopt(&self, guard: &RecoveryGuard, number: u64, highest: LogId) -> Result<(), EngineError> {
        let k = &self.shared.handle(guard.shard)?.keys;
        let keys = vec![k.meta.clone(), k.log.clone()];
        let args = [
            number_arg(number),
            number_arg(highest.ms),
            Value::from(i64::from(highest.sequence)),
            Value::from(crate::clock::millis(self.shared.settings.call_deadline)),
        ];
        self.guarded(guard, &ADOPT, keys, &args).await.map(drop)
    }

    /// Calls a script of a recovery: its epoch and token come first. A lost answer is an error; the recovery begins again,
    /// and finds out where the shard stands.
    pub(crate) async fn guarded<C: Copy>(
        &self,
        guard: &RecoveryGuard,
        call: &'static Call<C>,
        keys: Vec<String>,
        args: &[Value],
    ) -> Result<(C, Fields), EngineError> {
        let mut all = vec![Value::from(i64::from(guard.epoch.0)), Value::from(guard.token.as_str())];
        all.extend_from_slice(args);
        let reply = self.shared.redis.change(call.script, keys, all).await?;
        Ok((call.decode(&reply)??, reply.fields))
    }
}

impl Shared {
    pub(crate) async fn inspect(&self, handle: &ShardHandle) -> Result<ShardInspection, EngineError> {
        let k = &handle.keys;
        let keys =
            vec![k.meta.clone(), k.log.clone(), k.unsettled.clone(), k.timers.clone(), k.drops.clone(), k.dead.clone()];
        let mut fields = self.read(&INSPECT, keys, Vec::new()).await?;
        let token = fields.text()?;
        let trusted_token = fields.optional()?;
        let epoch = fields.optional()?.map(Epoch);
        let line = fields.optional()?.map(Epoch);
        let recovering = fields.optional()?.map(Epoch);
        let number = fields.optional()?;
        let (ms, sequence) = (fields.optional()?, fields.optional()?);
        let last_id = ms.zip(sequence).map(|(ms, sequence)| LogId { ms, sequence });
        let (deployment, shards) = (fields.optional::<String>()?, fields.optional()?);
        handle.clock.heard(fields.parse()?);
        let keys: u8 = fields.parse()?;
        let keys_missing = keys < 6;
        let owner = deployment.zip(shards);
        Ok(ShardInspection {
            token,
            trusted_token,
            epoch,
            line,
            recovering,
            number,
            last_id,
            owner,
            keys,
            keys_missing,
        })
    }
}

fn read_presence(drops: &[DropId], fields: &mut Fields) -> Result<Vec<DropPresence>, EngineError> {
    drops
        .iter()
        .map(|_| match fields.parse()? {
            0u8 => Ok(DropPresence::Absent),
            1 => Ok(DropPresence::Present),
            _ => Ok(DropPresence::Damaged),
        })
        .collect()
}

/// The keys of drops, two for each.
pub(crate) fn drop_keys<'a>(shard: Shard, drops: impl IntoIterator<Item = &'a DropId>) -> Vec<String> {
    drops.into_iter().flat_map(|id| [Keys::drop(shard, id), Keys::users(shard, id)]).collect()
}

/// A number that the scripts take as text; all of them stay far below 2^53.
pub(crate) fn number_arg(number: u64) -> Value {
    Value::from(i64::try_from(number).unwrap_or(i64::MAX))
}
