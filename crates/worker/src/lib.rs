//! The processes behind a sale: persister, recovery, timekeeper, opener, reconciler.
//!
//! Each is a `step()` and a thin loop around it, so that tests drive steps. Any number of processes may run them at the same
//! time: what one does not finish, another takes over.

mod keeping;
mod looping;
mod metrics;
mod opener;
mod persister;
mod rebuild;
mod reconciler;
mod recovery;
mod settings;
mod timekeeper;
mod withdrawer;

use std::sync::Arc;

use stampede_archive::Archive;
use stampede_engine::Engine;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

pub use metrics::METRICS;
pub use opener::Opener;
pub use persister::{PersistError, Persisted, Persister};
pub use rebuild::{RebuildPlan, RebuildReason, Rebuilder, Rebuilt};
pub use reconciler::{ReconcileError, ReconcileReport, Reconciler, ShardReport, Unknown, Verdict};
pub use recovery::{Recovery, RecoveryError, RecoveryReport, RecoveryStep, Watchman};
pub use settings::WorkerSettings;
pub use timekeeper::Timekeeper;
pub use withdrawer::{WithdrawError, Withdrawer, Withdrawn};

/// Starts all workers of one process. The task ends after `shutdown`, when each has finished its step and the persister has
/// moved what is left of the log, within bounded time.
pub fn spawn(
    engine: Engine,
    archive: Arc<dyn Archive>,
    settings: WorkerSettings,
    shutdown: CancellationToken,
) -> JoinHandle<()> {
    metrics::start();
    tokio::spawn(async move {
        let mut workers = JoinSet::new();
        let persister = Persister::new(engine.clone(), Arc::clone(&archive), settings.clone());
        workers.spawn(persister::run(persister, shutdown.clone()));
        let watchman = Watchman::new(engine.clone(), Arc::clone(&archive), settings.clone());
        workers.spawn(recovery::run(watchman, shutdown.clone()));
        let timekeeper = Timekeeper::new(engine.clone(), Arc::clone(&archive), settings.clone());
        workers.spawn(timekeeper::run(timekeeper, shutdown.clone()));
        let opener = Opener::new(engine.clone(), Arc::clone(&archive), settings.clone());
        workers.spawn(opener::run(opener, shutdown.clone()));
        let reconciler = Reconciler::new(engine, archive, settings);
        workers.spawn(reconciler::run(reconciler, shutdown));
        while let Some(ended) = workers.join_next().await {
            if let Err(error) = ended {
                // Half of the workers are worse than none: whoever started the process is to start it anew.
                tracing::error!(%error, "a worker stopped unexpectedly; the others are stopped with it");
                return;
            }
        }
    })
}
