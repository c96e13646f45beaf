//! `stampede worker`.

use std::net::SocketAddr;

use tokio_util::sync::CancellationToken;

use super::{Flag, flag};
use crate::config::Loaded;
use crate::telemetry::{self, Metrics, Role};
use crate::{admin, roles, shutdown};

/// Moves what was decided into the archive, recovers Redis after a restart, starts and ends sales in time.
///
/// It needs Redis and a migrated archive. Any number of these may run; at least one must, or the log fills up, and a Redis
/// that restarts stays fenced. On SIGTERM it moves what is left of the log, within `drain_limit_ms`, hands what it could not
/// move to another worker, and ends.
#[derive(clap::Args)]
pub struct Options {
    /// Where /metrics and /healthz are (setting `admin_listen`).
    #[arg(long, value_name = "ADDR:PORT")]
    admin_listen: Option<SocketAddr>,
}

impl Options {
    /// The settings that are flags here.
    pub fn flags(&self) -> Vec<Flag> {
        flag("admin_listen", "--admin-listen", self.admin_listen).into_iter().collect()
    }
}

/// Runs until it is told to stop.
///
/// # Errors
/// In words that say what to do.
pub async fn run(loaded: &Loaded) -> anyhow::Result<()> {
    let config = &loaded.config;
    telemetry::start_logs(config)?;
    let metrics = Metrics::start(Role::Worker, config)?;
    let traces = telemetry::start_traces(config, Role::Worker)?;
    let stop = shutdown::on_signals()?;
    let admin_listener = roles::bind(config.admin_listen, "--admin-listen")?;
    let admin_stop = CancellationToken::new();
    let admin = tokio::spawn(admin::serve(admin_listener, metrics.clone(), admin_stop.clone()));
    let stores = tokio::select! {
        stores = roles::connect_role(loaded) => stores?,
        () = stop.cancelled() => return Ok(()),
    };
    metrics.connected(&stores.engine);
    tracing::info!(deployment = stores.engine.deployment().id, "the workers run");
    let ran = roles::run_workers(&stores, config, stop).await;
    stores.engine.quit().await;
    traces.stop().await;
    admin_stop.cancel();
    admin.await??;
    tracing::info!("the workers have stopped");
    ran
}
