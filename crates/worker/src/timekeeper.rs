//! The timekeeper: fires what is due.
//!
//! Windows are judged by the clock inside each script, so a late timekeeper sells nothing outside a window. It writes
//! starts and ends down, so that a drop's version and the archive tell of them, makes units available that were held when
//! they came back, cancels the orders of drops that were called off, and purges drops that have been over for long enough. Of
//! striped drops it finishes what other processes left halfway: it activates them, lets their stripes follow the home, and has
//! units arrive that were sent.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use stampede_archive::{Archive, DropStage};
use stampede_domain::{ClosedBy, DropId, Shard};
use stampede_engine::{DropChange, DropChangeOutcome, Engine, EngineError, PurgeOutcome, PurgeTerms, TimerKind};
use tokio_util::sync::CancellationToken;

use crate::WorkerSettings;
use crate::looping::Pause;
use crate::metrics;
use crate::withdrawer::{WithdrawError, Withdrawer, Withdrawn};

/// Timers of one shard that one step deals with.
const TIMERS_AT_ONCE: u32 = 100;

/// The pause before a drop is looked at again that cannot be purged yet, such as one that is not wholly archived.
const PURGE_PAUSE: Duration = Duration::from_secs(1);

/// One process's timekeeper, for all shards.
pub struct Timekeeper {
    engine: Engine,
    archive: Arc<dyn Archive>,
    settings: WorkerSettings,
    withdrawers: HashMap<(Shard, DropId), Withdrawer>,
}

impl Timekeeper {
    /// A timekeeper for all shards of the engine's deployment.
    pub fn new(engine: Engine, archive: Arc<dyn Archive>, settings: WorkerSettings) -> Self {
        Self { engine, archive, settings, withdrawers: HashMap::new() }
    }

    /// Fires what is due in every shard, or a part of it. Returns how many timers had something to do.
    ///
    /// # Errors
    /// The last shard's failure; the other shards were dealt with all the same.
    pub async fn step(&mut self) -> Result<usize, WithdrawError> {
        let (mut fired, mut failed) = (0, None);
        for shard in self.engine.shards() {
            let due = match self.engine.due_timers(shard, TIMERS_AT_ONCE).await {
                Ok(due) => due,
                // Fenced: its timers are due again after the recovery.
                Err(EngineError::ShardRecovering | EngineError::ShardMoving) => continue,
                Err(error) => {
                    failed = Some(error.into());
                    continue;
                }
            };
            for timer in due {
                match self.fire(shard, &timer.kind).await {
                    Ok(did) => {
                        if did && matches!(timer.kind, TimerKind::Start(_) | TimerKind::End(_) | TimerKind::Release(_))
                        {
                            metrics::timer_late(timer.now.as_ms() - timer.due_at.as_ms());
                        }
                        fired += usize::from(did);
                    }
                    Err(error) => failed = Some(error),
                }
            }
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(fired),
        }
    }

    /// Fires a timer of a shard: for a striped drop, of the stripe there.
    async fn fire(&mut self, shard: Shard, timer: &TimerKind) -> Result<bool, WithdrawError> {
        let outcome = match timer {
            TimerKind::Start(id) => self.engine.change_stripe(shard, id, &DropChange::Start).await?,
            TimerKind::End(id) => self.engine.change_stripe(shard, id, &DropChange::Close(ClosedBy::Clock)).await?,
            TimerKind::Release(id) => self.engine.change_stripe(shard, id, &DropChange::Release).await?,
            TimerKind::Withdraw(id) => return self.withdraw(shard, id).await,
            TimerKind::Activate(id) => return self.activate(id).await,
            TimerKind::Spread(id) => return Ok(self.engine.spread_stripe(shard, id).await?),
            TimerKind::Transfer(id) => return Ok(self.engine.finish_transfers(shard, id).await? > 0),
            TimerKind::Purge(id) => return self.purge(shard, id).await,
        };
        Ok(matches!(outcome, DropChangeOutcome::Changed(_)))
    }

    /// Activates a striped drop whose process died when it had opened it.
    async fn activate(&self, id: &DropId) -> Result<bool, WithdrawError> {
        match self.archive.drop_record(id).await?.filter(|record| record.stage == DropStage::Opened) {
            Some(record) => Ok(self.engine.activate_drop(&record.definition).await?.is_some()),
            // The opener goes on with it.
            None => Ok(false),
        }
    }

    /// A drop that may not be purged yet is due again later.
    async fn purge(&self, shard: Shard, id: &DropId) -> Result<bool, WithdrawError> {
        let terms = PurgeTerms { keep_for: self.settings.purge_after, look_again: Some(PURGE_PAUSE) };
        let outcome = self.engine.purge_stripe(shard, id, terms).await?;
        let purged = matches!(outcome, PurgeOutcome::Purged(_));
        if purged {
            metrics::purged_drop();
            tracing::info!(drop = %id, %shard, "purged: the archive alone knows its orders from now on");
        }
        Ok(purged)
    }

    async fn withdraw(&mut self, shard: Shard, id: &DropId) -> Result<bool, WithdrawError> {
        let (engine, archive) = (self.engine.clone(), Arc::clone(&self.archive));
        let place = (shard, id.clone());
        let withdrawer = self
            .withdrawers
            .entry(place.clone())
            .or_insert_with(|| Withdrawer::new(engine, archive, shard, id.clone()));
        match withdrawer.step().await? {
            Withdrawn::Some(_) => Ok(true),
            Withdrawn::All => {
                self.withdrawers.remove(&place);
                Ok(true)
            }
        }
    }
}

/// Steps until the shutdown.
pub(crate) async fn run(mut timekeeper: Timekeeper, shutdown: CancellationToken) {
    let settings = timekeeper.settings.clone();
    let mut idle = Pause::new(settings.timer_poll, settings.timer_poll);
    let mut failing = Pause::new(settings.timer_poll, settings.backoff_max);
    loop {
        let go_on = match timekeeper.step().await {
            Ok(0) => {
                failing.reset();
                idle.wait(&shutdown).await
            }
            // More may be due: go on at once.
            Ok(_) => !shutdown.is_cancelled(),
            Err(error) => {
                tracing::warn!(%error, "some timers could not be fired and stay due");
                failing.wait(&shutdown).await
            }
        };
        if !go_on {
            return;
        }
    }
}
