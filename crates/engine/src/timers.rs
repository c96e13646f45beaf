//! What falls due: the start and the end of windows, the orders of drops that were called off, the release of held
//! units, the purge of drops that are over.

use fred::types::Value;
use stampede_domain::{DropId, Shard, Timestamp};

use crate::call::Call;
use crate::engine::Engine;
use crate::{EngineError, scripts};

pub(crate) static DUE: Call<()> = Call::fenced(&scripts::TIMERS_DUE, &[("due", ())]);

/// What a timer is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimerKind {
    /// The window of a drop begins.
    Start(DropId),
    /// The window of a drop is over.
    End(DropId),
    /// A drop was called off; its orders are to be cancelled.
    Withdraw(DropId),
    /// A striped drop was opened; it is to be activated once the archive says so.
    Activate(DropId),
    /// A stripe was changed; the others are to follow.
    Spread(DropId),
    /// Units are on their way from this stripe to another.
    Transfer(DropId),
    /// Units that came back to a sold-out drop were held for long enough.
    Release(DropId),
    /// A drop is over; it is to be purged once it has been kept long enough.
    Purge(DropId),
}

/// A timer that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueTimer {
    /// What it is for.
    pub kind: TimerKind,
    /// When it fell due.
    pub due_at: Timestamp,
    /// The shard's clock when that was seen.
    pub now: Timestamp,
}

impl TimerKind {
    /// The timer's name in Redis.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Start(id) => format!("start:{id}"),
            Self::End(id) => format!("end:{id}"),
            Self::Withdraw(id) => format!("withdraw:{id}"),
            Self::Activate(id) => format!("activate:{id}"),
            Self::Release(id) => format!("release:{id}"),
            Self::Spread(id) => format!("spread:{id}"),
            Self::Transfer(id) => format!("transfer:{id}"),
            Self::Purge(id) => format!("purge:{id}"),
        }
    }

    /// The drop that it is for.
    pub(crate) const fn drop_id(&self) -> &DropId {
        match self {
            Self::Start(id)
            | Self::End(id)
            | Self::Withdraw(id)
            | Self::Activate(id)
            | Self::Release(id)
            | Self::Spread(id)
            | Self::Transfer(id)
            | Self::Purge(id) => id,
        }
    }

    fn parse(name: &str) -> Option<Self> {
        let (kind, id) = name.split_once(':')?;
        let id = id.parse().ok()?;
        match kind {
            "start" => Some(Self::Start(id)),
            "end" => Some(Self::End(id)),
            "withdraw" => Some(Self::Withdraw(id)),
            "activate" => Some(Self::Activate(id)),
            "spread" => Some(Self::Spread(id)),
            "transfer" => Some(Self::Transfer(id)),
            "release" => Some(Self::Release(id)),
            "purge" => Some(Self::Purge(id)),
            _ => None,
        }
    }
}

impl Engine {
    /// At most `limit` timers of a shard that are due by its clock, the most overdue first.
    ///
    /// # Errors
    /// [`EngineError::ShardRecovering`] behind the fence.
    pub async fn due_timers(&self, shard: Shard, limit: u32) -> Result<Vec<DueTimer>, EngineError> {
        let k = &self.shared.handle(shard)?.keys;
        let keys = vec![k.meta.clone(), k.timers.clone()];
        let args = vec![Value::from(i64::from(limit))];
        let mut fields = self.shared.read(&DUE, keys, args).await?;
        let now = Timestamp::from_ms(fields.parse()?);
        let mut due = Vec::with_capacity(fields.len() / 2);
        while fields.len() > 0 {
            let name = fields.text()?;
            let due_ms: f64 = fields.parse()?;
            let kind = TimerKind::parse(&name).ok_or_else(|| EngineError::Malformed(format!("timer {name}")))?;
            due.push(DueTimer { kind, due_at: Timestamp::from_ms(due_ms as i64), now });
        }
        Ok(due)
    }
}
