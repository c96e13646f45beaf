//! All stripes of a drop follow its home.

use fred::types::Value;
use stampede_domain::{ClosedBy, DropId, DropState, Shard, Version};

use crate::call::Call;
use crate::engine::Engine;
use crate::keys::Keys;
use crate::sale::{DropChange, DropChangeOutcome, LiveDrop};
use crate::{EngineError, TimerKind, scripts};

/// Says whether the timer is gone.
pub(crate) static CLEAR: Call<bool> = Call::settled(&scripts::TIMERS_CLEAR, &[("cleared", true), ("later", false)]);

/// The most changes that one stripe needs: of its state, and of its window and limit.
const CHANGES: usize = 2;

impl Engine {
    /// Makes the other stripes what the home is: their state, window and limit. Returns whether one of them was changed.
    ///
    /// # Errors
    /// As [`Self::change_drop`].
    pub async fn align_stripes(&self, id: &DropId) -> Result<bool, EngineError> {
        let shards = self.stripes_of(id).await?;
        let Some((home, others)) = shards.split_first().filter(|(_, others)| !others.is_empty()) else {
            return Ok(false);
        };
        let home = self.stripe(*home, id).await?;
        let mut changed = false;
        for shard in others {
            for _ in 0..CHANGES {
                let Some(change) = needed(&home, &self.stripe(*shard, id).await?) else { break };
                match self.change_stripe(*shard, id, &change).await? {
                    DropChangeOutcome::Changed(_) => changed = true,
                    DropChangeOutcome::Unchanged(_) => {}
                    // Its clock is a little ahead of the home's, and saw the window begin or end.
                    outcome => {
                        tracing::warn!(drop = %id, %shard, ?outcome, "a stripe could not follow its home");
                        break;
                    }
                }
            }
        }
        Ok(changed)
    }

    /// Lets the stripes follow the home, and forgets the timer of this one that asked for it. Returns whether a stripe was
    /// changed.
    ///
    /// # Errors
    /// As [`Self::change_drop`].
    pub async fn spread_stripe(&self, shard: Shard, id: &DropId) -> Result<bool, EngineError> {
        let seen = self.stripe(shard, id).await?.version;
        let changed = self.align_stripes(id).await?;
        self.clear_timer(shard, &TimerKind::Spread(id.clone()), seen).await?;
        Ok(changed)
    }

    /// Forgets a timer of a drop, unless the drop was changed since it was at this version: then it is due again in a second.
    /// Returns whether it is gone.
    ///
    /// # Errors
    /// [`EngineError::ShardRecovering`] behind the fence, or if Redis does not have the drop.
    pub async fn clear_timer(&self, shard: Shard, timer: &TimerKind, seen: Version) -> Result<bool, EngineError> {
        let handle = self.shared.handle(shard)?;
        let keys = [handle.keys.meta.clone(), handle.keys.timers.clone(), Keys::drop(shard, timer.drop_id())];
        let args = [Value::from(timer.name()), Value::from(seen.to_string())];
        Ok(self.shared.settle(handle, &CLEAR, &keys, &args).await?.code)
    }

    /// What one shard has of a drop.
    pub(crate) async fn stripe(&self, shard: Shard, id: &DropId) -> Result<LiveDrop, EngineError> {
        let reading = self.read_stripes(shard, std::slice::from_ref(id)).await?;
        reading.drops.into_iter().next().flatten().ok_or(EngineError::ShardRecovering)
    }
}

/// The next change that makes a stripe more like its home; none if it is as near as it comes.
fn needed(home: &LiveDrop, stripe: &LiveDrop) -> Option<DropChange> {
    use DropState::{Cancelled, Ended, Open, Opening, Paused};
    if stripe.purged {
        return None;
    }
    match (home.state, stripe.state) {
        (_, Cancelled) => None,
        (Cancelled, _) => Some(DropChange::CallOff),
        (_, Ended) => None,
        // A window that passes is seen by each stripe's own clock.
        (Ended, _) if home.window.is_over(home.as_of) => None,
        (Ended, _) => Some(DropChange::Close(ClosedBy::Operator)),
        (_, Opening) => None,
        (Paused, Open) => Some(DropChange::Pause),
        (Open, Paused) => Some(DropChange::Resume),
        (Open | Opening | Paused, _)
            if home.window != stripe.window || home.limit_per_user != stripe.limit_per_user =>
        {
            Some(DropChange::Amend {
                starts_at: Some(home.window.starts_at),
                ends_at: Some(home.window.ends_at),
                limit_per_user: Some(home.limit_per_user),
            })
        }
        (Open | Opening | Paused, _) => None,
    }
}
