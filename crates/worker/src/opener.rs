//! The opener: finishes the opening of drops whose process died in the middle.

use std::sync::Arc;

use stampede_archive::{Archive, OpenError, open_once};
use stampede_domain::Timestamp;
use stampede_engine::{Engine, EngineError};
use tokio_util::sync::CancellationToken;

use crate::WorkerSettings;
use crate::looping::Pause;

/// Drops that one step opens.
const DROPS_AT_ONCE: usize = 100;

/// One process's opener.
pub struct Opener {
    engine: Engine,
    archive: Arc<dyn Archive>,
    settings: WorkerSettings,
}

impl Opener {
    /// An opener for the engine's deployment.
    pub const fn new(engine: Engine, archive: Arc<dyn Archive>, settings: WorkerSettings) -> Self {
        Self { engine, archive, settings }
    }

    /// Opens drops that were defined a while ago and are not open. Returns how many.
    ///
    /// # Errors
    /// [`OpenError`] of the first one that could not be opened.
    pub async fn step(&self) -> Result<usize, OpenError<EngineError>> {
        let age_ms = i64::try_from(self.settings.open_after.as_millis()).unwrap_or(i64::MAX);
        let before = Timestamp::now().plus_ms(-age_ms);
        let left_behind = self.archive.unopened_drops(before, DROPS_AT_ONCE).await?;
        for record in &left_behind {
            tracing::info!(drop = %record.definition.id, "opening a drop that was defined and left");
            open_once(&*self.archive, record, || self.engine.open_drop(&record.definition)).await?;
            self.engine.activate_drop(&record.definition).await.map_err(OpenError::Put)?;
        }
        Ok(left_behind.len())
    }
}

/// Steps until the shutdown.
pub(crate) async fn run(opener: Opener, shutdown: CancellationToken) {
    let mut idle = Pause::new(opener.settings.open_after, opener.settings.open_after);
    while idle.wait(&shutdown).await {
        if let Err(error) = opener.step().await {
            tracing::warn!(%error, "drops that were left behind could not be opened yet");
        }
    }
}
