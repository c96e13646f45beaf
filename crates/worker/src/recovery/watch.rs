//! Watching for fences, and deciding who recovers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use stampede_archive::Archive;
use stampede_domain::Shard;
use stampede_engine::{Engine, EngineError};
use tokio_util::sync::CancellationToken;

use super::others::Others;
use super::{Recovery, RecoveryError, RecoveryReport};
use crate::WorkerSettings;
use crate::looping::Pause;
use crate::metrics;

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
}

impl Watchman {
    /// A watchman for all shards of the engine's deployment.
    pub fn new(engine: Engine, archive: Arc<dyn Archive>, settings: WorkerSettings) -> Self {
        let others = Others::new(settings.takeover_after);
        Self { engine, archive, settings, others, cursors: HashMap::new(), damage_due: Instant::now() }
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
            match self.look_at(shard, look_for_damage).await {
                Ok(report) => recovered.extend(report.map(|report| (shard, report))),
                Err(RecoveryError::Engine(EngineError::Superseded)) => metrics::recovery("superseded"),
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
            if !(look_for_damage && self.is_damaged(shard).await?) {
                return Ok(None);
            }
            tracing::error!(%shard, "keys of the shard are lost although Redis was not restarted: is it evicting, or was something deleted?");
        }
        if self.others.are_recovering(shard, &inspection) {
            return Ok(None);
        }
        tracing::info!(%shard, "the shard is fenced; recovering it");
        let recovery = Recovery::new(self.engine.clone(), Arc::clone(&self.archive), shard, inspection.token);
        let report = recovery.finish().await.inspect_err(|error| {
            metrics::recovery("failed");
            tracing::warn!(%shard, %error, "the recovery stopped and will be begun again");
        })?;
        metrics::recovery("finished");
        metrics::fenced(shard, false);
        tracing::info!(%shard, ?report, "the shard is recovered");
        self.others.forget(shard);
        Ok(Some(report))
    }

    /// Whether one of the next few drops of the shard has lost a key.
    async fn is_damaged(&mut self, shard: Shard) -> Result<bool, RecoveryError> {
        let cursor = self.cursors.entry(shard).or_default();
        let check = self.engine.check_damage(shard, *cursor, DROPS_PER_LOOK).await?;
        *cursor = check.next;
        Ok(check.damaged)
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
