//! Watching for fences, and deciding who recovers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use stampede_archive::Archive;
use stampede_domain::{Epoch, Shard};
use stampede_engine::{Engine, EngineError, ShardInspection};
use tokio_util::sync::CancellationToken;

use super::others::Others;
use super::{Recovery, RecoveryError, RecoveryReport};
use crate::WorkerSettings;
use crate::looping::Pause;
use crate::metrics::{self, RecoveryOutcome};

/// Drops of one shard that one look for lost keys takes in.
const DROPS_PER_LOOK: u32 = 200;

/// Looks after the fences of all shards.
pub struct Watchman {
    engine: Engine,
    archive: Arc<dyn Archive>,
    settings: WorkerSettings,
    others: Others,
    /// Where the next look for lost keys begins in each shard, and when it is due.
    cursors: HashMap<Shard, u64>,
    damage_due: Instant,
    /// Since when a key of a shard has been missing.
    missing: HashMap<Shard, Instant>,
    /// Epochs that were raised for a shard whose Redis knows nothing of it, and since when that has been so.
    abandoned: HashMap<Shard, (Epoch, Instant)>,
}

impl Watchman {
    /// A watchman for all shards of the engine's deployment.
    pub fn new(engine: Engine, archive: Arc<dyn Archive>, settings: WorkerSettings) -> Self {
        let others = Others::new(settings.takeover_after);
        Self {
            engine,
            archive,
            settings,
            others,
            cursors: HashMap::new(),
            damage_due: Instant::now(),
            missing: HashMap::new(),
            abandoned: HashMap::new(),
        }
    }

    /// Looks at every shard once and recovers those that wait for it. Returns what was recovered.
    ///
    /// # Errors
    /// The first shard's failure that was not a mere race; the other shards were looked at all the same.
    pub async fn step(&mut self) -> Result<Vec<(Shard, RecoveryReport)>, RecoveryError> {
        let (mut recovered, mut failed) = (Vec::new(), None);
        let look_for_damage = self.damage_due <= Instant::now();
        if look_for_damage {
            self.damage_due = Instant::now() + self.settings.damage_poll;
        }
        for shard in self.engine.shards() {
            let looked = self.look_at(shard, look_for_damage).await;
            metrics::moving(shard, matches!(looked, Err(RecoveryError::Engine(EngineError::ShardMoving))));
            match looked {
                Ok(report) => recovered.extend(report.map(|report| (shard, report))),
                Err(RecoveryError::Engine(EngineError::Superseded)) => metrics::recovery(RecoveryOutcome::Superseded),
                // A part of its keys is elsewhere: nothing is to be concluded from what is missing.
                Err(RecoveryError::Engine(EngineError::ShardMoving)) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(recovered),
        }
    }

    async fn look_at(&mut self, shard: Shard, look_for_damage: bool) -> Result<Option<RecoveryReport>, RecoveryError> {
        let inspection = self.engine.inspect_shard(shard).await?;
        metrics::fenced(shard, !inspection.is_trusted());
        if inspection.is_trusted() {
            self.others.forget(shard);
            if !look_for_damage {
                return Ok(None);
            }
        }
        if inspection.is_trusted() || inspection.lacks_keys() {
            let lost = inspection.lacks_keys() || self.is_damaged(shard).await?;
            if !(self.is_lost_for_good(shard, lost) || self.is_abandoned(shard, &inspection).await?) {
                return Ok(None);
            }
        } else {
            self.missing.remove(&shard);
        }
        if self.others.are_recovering(shard, &inspection) {
            return Ok(None);
        }
        // A node that was restarted while a slot left it, or came to it, has only a part of the shard.
        if self.engine.is_moving(shard).await? {
            return Err(EngineError::ShardMoving.into());
        }
        tracing::info!(%shard, "the shard is fenced; recovering it");
        let recovery = Recovery::new(self.engine.clone(), Arc::clone(&self.archive), shard, inspection.token);
        let report = recovery.finish().await.inspect_err(|error| {
            metrics::recovery(RecoveryOutcome::Failed);
            tracing::warn!(%shard, %error, "the recovery stopped and will be begun again");
        })?;
        metrics::recovery(RecoveryOutcome::Finished);
        metrics::fenced(shard, false);
        tracing::info!(%shard, ?report, "the shard is recovered");
        self.others.forget(shard);
        Ok(Some(report))
    }

    /// Whether one of the next few drops of the shard lacks a key. Then the next look is at the same ones.
    async fn is_damaged(&mut self, shard: Shard) -> Result<bool, RecoveryError> {
        let cursor = self.cursors.entry(shard).or_default();
        let check = self.engine.check_damage(shard, *cursor, DROPS_PER_LOOK).await?;
        if !check.damaged {
            *cursor = check.next;
        }
        Ok(check.damaged)
    }

    /// Whether a key has been missing for so long that nobody will bring it back.
    fn is_lost_for_good(&mut self, shard: Shard, missing: bool) -> bool {
        if !missing {
            self.missing.remove(&shard);
            return false;
        }
        let since = self.missing.entry(shard).or_insert_with(Instant::now);
        if since.elapsed() < self.settings.loss_patience {
            return false;
        }
        tracing::error!(%shard, "keys of the shard are lost although Redis was not restarted: is it evicting, or was something deleted?");
        self.missing.remove(&shard);
        true
    }

    /// Whether an epoch was raised for a recovery that never came to this Redis, nor to any other: what is appended could
    /// not be acknowledged any more. While that recovery may still be under way it is left alone. If it has closed its epoch,
    /// another Redis is the primary, and this one has not been told yet.
    async fn is_abandoned(&mut self, shard: Shard, inspection: &ShardInspection) -> Result<bool, RecoveryError> {
        let raised = self.archive.epoch(shard).await?;
        if inspection.epoch == Some(raised) {
            self.abandoned.remove(&shard);
            return Ok(false);
        }
        if inspection.epoch > Some(raised) {
            tracing::error!(%shard, epoch = %raised, "the archive is older than Redis: was it restored from a backup? See `stampede reconcile`");
            return Ok(false);
        }
        let closings = self.archive.closings(shard).await?;
        if closings.iter().any(|closing| closing.epoch == raised) {
            tracing::warn!(%shard, epoch = %raised, "another Redis was recovered for this shard; looking for it");
            self.engine.look_for_primary();
            return Ok(false);
        }
        let (epoch, since) = self.abandoned.get(&shard).copied().unwrap_or((raised, Instant::now()));
        if epoch != raised || since.elapsed() < self.settings.takeover_after {
            self.abandoned.insert(shard, if epoch == raised { (epoch, since) } else { (raised, Instant::now()) });
            return Ok(false);
        }
        tracing::warn!(%shard, epoch = %raised, "a recovery was begun and given up; it is begun again");
        self.abandoned.remove(&shard);
        Ok(true)
    }
}

/// Steps until the shutdown.
pub(crate) async fn run(mut watchman: Watchman, shutdown: CancellationToken) {
    let settings = watchman.settings.clone();
    let mut idle = Pause::new(settings.recovery_poll, settings.recovery_poll);
    let mut failing = Pause::new(settings.recovery_poll, settings.backoff_max);
    loop {
        let go_on = match watchman.step().await {
            Ok(_) => {
                failing.reset();
                idle.wait(&shutdown).await
            }
            Err(error) => {
                tracing::warn!(%error, "the shards could not all be looked after");
                failing.wait(&shutdown).await
            }
        };
        if !go_on {
            return;
        }
    }
}
