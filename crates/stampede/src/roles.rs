//! What the roles have in common: listeners, the stores behind them, the API and the workers themselves.

use std::fmt;
use std::future::Future;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use secrecy::ExposeSecret;
use stampede_api::ApiState;
use stampede_archive::{Archive, ArchiveError, ArchiveUrl, SCHEMA_VERSION, SchemaStatus};
use stampede_domain::{Deployment, ShardCount};
use stampede_engine::{ConnectError, Engine};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Loaded};
use crate::open_files;

/// The longest that one attempt to reach a store may take. A MongoDB driver would look for its servers for 30 s.
const ATTEMPT: Duration = Duration::from_secs(5);

/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(500);

/// How much longer than their own limit the workers are waited for.
const WORKERS_GRACE: Duration = Duration::from_secs(5);

/// Where a deployment's state is.
#[derive(Clone)]
pub struct Stores {
    /// The hot state.
    pub engine: Engine,
    /// The durable records.
    pub archive: Arc<dyn Archive>,
}

/// A store could not be reached, but may be the next time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreachable(String);

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot be reached; is it running, and is the address right?", self.0)
    }
}

/// Why an attempt failed.
enum Failure {
    /// It may work the next time.
    Passing(anyhow::Error),
    /// It will not.
    Final(anyhow::Error),
}

/// Listens on an address; `setting` is what to change if that cannot be.
///
/// # Errors
/// In words that say what to do.
pub fn bind(address: SocketAddr, setting: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => {
            let other = SocketAddr::new(address.ip(), address.port().checked_add(1).unwrap_or(4_001));
            anyhow!(
                "{address} is taken: another process listens there. Stop it, or choose another address, such as {setting} {other}"
            )
        }
        ErrorKind::PermissionDenied => {
            anyhow!("{address} may not be listened on: ports below 1024 need special rights. Choose another: {setting}")
        }
        ErrorKind::AddrNotAvailable => anyhow!("{} is no address of this machine. Choose another: {setting}", address.ip()),
        _ => anyhow!(error).context(format!("{address} cannot be listened on; choose another: {setting}")),
    })
}

/// An address that can be called: the loopback one for a listener on all addresses.
pub fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// Reaches the archive and the hot state, waiting up to `patience` for each, and makes sure that they belong together.
///
/// # Errors
/// In words that say what to do.
pub async fn connect(loaded: &Loaded, patience: Duration) -> anyhow::Result<Stores> {
    let archive = open_archive(&loaded.config, patience).await?;
    if let Some(problem) = to_migrate(archive.as_ref()).await? {
        return Err(problem);
    }
    connect_engine(loaded, archive, patience).await
}

/// The same for a role that starts, with the settings' patience for the archive's migration too: an orchestrator starts
/// everything of a new version at once, and what ended for want of the new schema would look like a version that fails.
///
/// # Errors
/// In words that say what to do.
pub async fn connect_role(loaded: &Loaded) -> anyhow::Result<Stores> {
    let patience = Duration::from_millis(loaded.config.startup_timeout_ms);
    let archive = open_archive(&loaded.config, patience).await?;
    let deadline = Instant::now() + patience;
    let mut told = false;
    while let Some(problem) = to_migrate(archive.as_ref()).await? {
        if Instant::now() + PAUSE >= deadline {
            return Err(problem);
        }
        if !std::mem::replace(&mut told, true) {
            tracing::warn!("{problem}; waiting for that");
        }
        sleep(PAUSE).await;
    }
    connect_engine(loaded, archive, patience).await
}

/// What there is to do about an archive whose schema is not ours yet.
async fn to_migrate(archive: &dyn Archive) -> anyhow::Result<Option<anyhow::Error>> {
    Ok(match archive.schema_status().await? {
        SchemaStatus::Current => None,
        SchemaStatus::Missing => {
            Some(anyhow!("the archive is empty: run `stampede migrate` once, with the same settings"))
        }
        SchemaStatus::Older(found) => Some(anyhow!(
            "the archive's schema is at version {found}, this stampede needs {SCHEMA_VERSION}: run `stampede migrate`"
        )),
        SchemaStatus::Newer(found) => return Err(newer(found).into()),
    })
}

/// The refusal of an archive that a newer stampede wrote.
pub const fn newer(found: u32) -> ArchiveError {
    ArchiveError::NewerSchema { found, known: SCHEMA_VERSION }
}

/// Reaches the archive, whatever its schema.
///
/// # Errors
/// In words that say what to do.
pub async fn open_archive(config: &Config, patience: Duration) -> anyhow::Result<Arc<dyn Archive>> {
    let url = config.archive_url.as_ref().context(
        "archive_url is not set: say where the archive is, such as \
         STAMPEDE_ARCHIVE_URL=mongodb://user:password@host:27017/stampede or sqlite:///var/lib/stampede/archive.db",
    )?;
    let url: ArchiveUrl = url.expose_secret().parse()?;
    let what = format!("the archive at {url}");
    persevere(&what, patience, async || {
        let archive = stampede_archive::connect(&url).await.map_err(passing)?;
        archive.schema_status().await.map_err(passing)?;
        Ok(archive)
    })
    .await
}

/// Connects the engine to the hot state of the archive's deployment, which is created if there is none.
///
/// # Errors
/// In words that say what to do.
pub async fn connect_engine(loaded: &Loaded, archive: Arc<dyn Archive>, patience: Duration) -> anyhow::Result<Stores> {
    let deployment = deployment(loaded, archive.as_ref()).await?;
    let settings = loaded.config.engine_settings();
    let what = format!("Redis at {}", without_credentials(&settings.redis_url));
    let engine = persevere(&what, patience, async || {
        Engine::connect(settings.clone(), deployment.clone()).await.map_err(|error| match error {
            ConnectError::Unreachable(_) => Failure::Passing(error.into()),
            _ => Failure::Final(error.into()),
        })
    })
    .await?;
    Ok(Stores { engine, archive })
}

async fn deployment(loaded: &Loaded, archive: &dyn Archive) -> anyhow::Result<Deployment> {
    let shards = u16::try_from(loaded.config.shards).ok().and_then(|shards| ShardCount::try_from(shards).ok());
    let shards = shards.context("shards must be from 1 to 4096")?;
    let proposed = Deployment { id: uuid::Uuid::new_v4().to_string(), shards };
    let kept = archive.deployment(&proposed).await?;
    if kept.shards != shards && loaded.is_set("shards") {
        let (kept, set, origin) = (kept.shards.get(), shards.get(), loaded.origin("shards").unwrap_or_default());
        bail!(
            "this deployment was created with {kept} shards, but shards is set to {set} ({origin}). The number never \
             changes: set {kept}, or leave it out"
        );
    }
    Ok(kept)
}

const fn is_passing(error: &ArchiveError) -> bool {
    matches!(error, ArchiveError::Unavailable(_))
}

fn passing(error: ArchiveError) -> Failure {
    if is_passing(&error) { Failure::Passing(error.into()) } else { Failure::Final(error.into()) }
}

/// Tries until it works, `patience` is over, or trying again is of no use.
async fn persevere<T, F>(what: &str, patience: Duration, mut attempt: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = Result<T, Failure>>,
{
    let deadline = Instant::now() + patience;
    let mut told = false;
    loop {
        let error = match timeout(ATTEMPT, attempt()).await {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(Failure::Final(error))) => return Err(error),
            Ok(Err(Failure::Passing(error))) => error,
            Err(_) => anyhow!("no answer within {} s", ATTEMPT.as_secs()),
        };
        if Instant::now() + PAUSE >= deadline {
            return Err(error.context(Unreachable(what.to_owned())));
        }
        if !std::mem::replace(&mut told, true) {
            tracing::warn!(error = format!("{error:#}"), "{what} cannot be reached yet; trying again");
        }
        sleep(PAUSE).await;
    }
}

/// The address without what may be secret in it: credentials, and parameters, which may hold a Sentinel's password.
fn without_credentials(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("redis", url));
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    format!("{scheme}://{host}")
}

/// Answers shoppers and operators until `stop`; then finishes what is in flight.
///
/// # Errors
/// If the settings or the listener cannot be used.
pub async fn serve_api(
    stores: &Stores,
    config: &Config,
    listener: TcpListener,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let settings = config.api_settings();
    open_files::make_room(config.max_connections);
    let state = ApiState::new(stores.engine.clone(), Arc::clone(&stores.archive), settings.clone())?;
    let router = stampede_api::router(state.clone());
    let served = stampede_api::serve(listener, router, stop, &settings).await;
    state.shutdown().await;
    served.context("the API's listener failed")
}

/// Runs the workers until `stop`, and then for as long as they need to move what is left of the log, within their limit.
///
/// # Errors
/// If they do not end in time.
pub async fn run_workers(stores: &Stores, config: &Config, stop: CancellationToken) -> anyhow::Result<()> {
    let settings = config.worker_settings();
    let limit = settings.drain_limit + WORKERS_GRACE;
    let mut workers =
        stampede_worker::spawn(stores.engine.clone(), Arc::clone(&stores.archive), settings, stop.clone());
    tokio::select! {
        ended = &mut workers => {
            ended.context("the workers stopped unexpectedly")?;
            if stop.is_cancelled() { Ok(()) } else { bail!("the workers stopped unexpectedly") }
        }
        () = stop.cancelled() => match timeout(limit, &mut workers).await {
            Ok(ended) => ended.context("the workers stopped unexpectedly"),
            Err(_) => bail!("the workers did not end within {} s; what they left is in the log, and is moved at the next start", limit.as_secs()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        let shown = |url| without_credentials(url);
        assert_eq!(shown("redis://me:s3c@ret@db:6379/0"), "redis://db:6379/0");
        assert_eq!(shown("redis-sentinel://db:1?sentinelPassword=s3cret"), "redis-sentinel://db:1");
    }

    #[test]
    fn a_taken_port_is_said_so() {
        let listener = bind("127.0.0.1:0".parse().expect("an address"), "--listen").expect("free");
        let address = listener.local_addr().expect("an address");
        let message = bind(address, "--listen").expect_err("taken").to_string();
        assert!(message.contains(&address.to_string()) && message.contains("--listen 127.0.0.1:"), "{message}");
    }

    #[tokio::test]
    async fn what_cannot_work_is_not_tried_again() {
        let mut attempts = 0;
        let failed: anyhow::Result<()> = persevere("a thing", Duration::from_secs(9), || {
            attempts += 1;
            async { Err(Failure::Final(anyhow!("never"))) }
        })
        .await;
        assert_eq!((failed.expect_err("failed").to_string(), attempts), ("never".to_owned(), 1));
    }

    #[tokio::test]
    async fn what_may_work_is_tried_again() {
        let mut attempts = 0;
        let done = persevere("a thing", Duration::from_secs(60), || {
            attempts += 1;
            let passing = Err(Failure::Passing(anyhow!("not yet")));
            let outcome = if attempts == 1 { passing } else { Ok(attempts) };
            async { outcome }
        })
        .await;
        assert_eq!(done.expect("done"), 2);
    }

    #[tokio::test]
    async fn patience_ends_with_the_reason() {
        let failed: anyhow::Result<()> =
            persevere("a thing", Duration::ZERO, async || Err(Failure::Passing(anyhow!("not yet")))).await;
        let message = format!("{:#}", failed.expect_err("failed"));
        assert!(message.contains("a thing cannot be reached") && message.contains("not yet"), "{message}");
    }
}
