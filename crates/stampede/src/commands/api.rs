//! `stampede api`.

use std::net::SocketAddr;

use anyhow::bail;
use tokio_util::sync::CancellationToken;

use super::{Flag, flag};
use crate::config::Loaded;
use crate::telemetry::{self, Metrics, Role};
use crate::{admin, roles, shutdown};

/// Answers shoppers and operators over HTTP.
///
/// It needs Redis, a migrated archive, and a key for tokens. Any number of these may run behind a balancer, which asks
/// /readyz. On SIGTERM that says no; `shutdown_delay_ms` later, when the balancer has noticed, it stops accepting, answers
/// what is in flight, and ends.
#[derive(clap::Args)]
pub struct Options {
    /// Where it listens (setting `listen`).
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// Where /metrics and /healthz are (setting `admin_listen`).
    #[arg(long, value_name = "ADDR:PORT")]
    admin_listen: Option<SocketAddr>,
}

impl Options {
    /// The settings that are flags here.
    pub fn flags(&self) -> Vec<Flag> {
        let listen = flag("listen", "--listen", self.listen);
        listen.into_iter().chain(flag("admin_listen", "--admin-listen", self.admin_listen)).collect()
    }
}

/// Runs until it is told to stop.
///
/// # Errors
/// In words that say what to do.
pub async fn run(loaded: &Loaded) -> anyhow::Result<()> {
    let config = &loaded.config;
    if config.token_secret.is_none() && config.token_keys.is_empty() && config.trusted_issuers.is_empty() {
        bail!(
            "no key for tokens: set STAMPEDE_TOKEN_SECRET to at least 32 random bytes (openssl rand -hex 32), or token_keys \
             or trusted_issuers in the settings file"
        );
    }
    telemetry::start_logs(config)?;
    let metrics = Metrics::start(Role::Api, config)?;
    let traces = telemetry::start_traces(config, Role::Api)?;
    let stop = shutdown::on_signals()?;
    let listener = roles::bind(config.listen, "--listen")?;
    let admin_listener = roles::bind(config.admin_listen, "--admin-listen")?;
    let admin_stop = CancellationToken::new();
    let admin = tokio::spawn(admin::serve(admin_listener, metrics.clone(), admin_stop.clone()));
    let stores = tokio::select! {
        stores = roles::connect_role(loaded) => stores?,
        () = stop.cancelled() => return Ok(()),
    };
    metrics.connected(&stores.engine);
    let listening = listener.local_addr()?;
    tracing::info!(listen = %listening, deployment = stores.engine.deployment().id, "the API answers");
    let served = roles::serve_api(&stores, config, listener, stop).await;
    stores.engine.quit().await;
    traces.stop().await;
    admin_stop.cancel();
    admin.await??;
    tracing::info!("the API has stopped");
    served
}
