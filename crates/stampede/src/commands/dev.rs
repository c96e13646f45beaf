//! `stampede dev`.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use stampede_archive::SchemaStatus;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Flag, flag, print};
use crate::config::{Config, Loaded, Sources};
use crate::dev::folder::Folder;
use crate::dev::page::Page;
use crate::dev::redis::{PrivateRedis, Server, stop_left_behind};
use crate::dev::{access, demo};
use crate::roles::{self, Stores};
use crate::telemetry::{self, Metrics, Role};
use crate::{admin, shutdown};

/// The folder, unless --dir says another.
const DEFAULT_DIR: &str = ".stampede";
/// How long the private Redis and the archive may take to answer; both are on this machine.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the shards are looked at until they are ready.
const LOOK: Duration = Duration::from_millis(20);
/// After how long it is said that they are being recovered.
const SAY_AFTER: Duration = Duration::from_secs(3);

/// Runs everything on this machine: a private Redis, an embedded archive, the API, the workers, a demo sale.
///
/// It needs nothing but the program redis-server. What it knows is in the folder --dir (.stampede) and survives a stop, a
/// crash and kill -9. When it is ready it prints where everything is, and lines to paste into a shell. Anybody may sign in
/// with any name: it is for development only. Its stores and its secret are always its own, whatever the environment says.
///
/// Other commands reach it with the same --dir: stampede --dir .stampede token --operator
#[derive(clap::Args)]
pub struct Options {
    /// Where the API listens; 127.0.0.1:4000 if it is not said. Port 0 takes any free one.
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// Where /metrics and /healthz are; 127.0.0.1:4009 if it is not said.
    #[arg(long, value_name = "ADDR:PORT")]
    admin_listen: Option<SocketAddr>,
    /// Begins anew: deletes what earlier runs kept in the folder.
    #[arg(long)]
    fresh: bool,
    /// Creates no demo product and no demo sale.
    #[arg(long)]
    no_demo: bool,
}

/// The listeners, bound before anything else is started.
struct Listeners {
    api: TcpListener,
    admin: TcpListener,
}

/// The parts that run beside Redis.
struct Parts {
    api: JoinHandle<anyhow::Result<()>>,
    workers: JoinHandle<anyhow::Result<()>>,
    admin: JoinHandle<std::io::Result<()>>,
    stop_api: CancellationToken,
    stop_workers: CancellationToken,
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
pub async fn run(options: Options, dir: Option<&Path>, sources: &Sources) -> anyhow::Result<()> {
    let server = Server::find().await?;
    let folder = Folder::open(dir.unwrap_or(Path::new(DEFAULT_DIR)))?;
    stop_left_behind(&folder.redis()).await?;
    if options.fresh {
        folder.clear()?;
    }
    let secret = access::token_secret(&folder)?;
    let mut loaded = sources.load_between(access::defaults(), access::fixed(&folder, &secret))?;
    telemetry::start_logs(&loaded.config)?;
    let stop = shutdown::on_signals()?;
    let listeners = Listeners::bind(&mut loaded)?;
    let mut redis = PrivateRedis::start(server, folder.redis()).await?;
    loaded.config.redis_url = redis.url();
    let ran = run_on(&mut redis, &loaded, &folder, listeners, !options.no_demo, &stop).await;
    let stopped = redis.stop().await;
    ran.and(stopped)
}

impl Listeners {
    /// Binds both, and puts the addresses that they really have into the settings.
    fn bind(loaded: &mut Loaded) -> anyhow::Result<Self> {
        let origins_are_set = loaded.is_set("public_origins");
        let config = &mut loaded.config;
        let api = roles::bind(config.listen, "--listen")?;
        let admin = roles::bind(config.admin_listen, "--admin-listen")?;
        (config.listen, config.admin_listen) = (api.local_addr()?, admin.local_addr()?);
        if !origins_are_set {
            let listen = config.listen;
            config.public_origins = vec![format!("http://{listen}"), format!("http://localhost:{}", listen.port())];
        }
        Ok(Self { api, admin })
    }
}

/// Everything above Redis, which is watched meanwhile by this very task: see [`PrivateRedis::supervise`].
async fn run_on(
    redis: &mut PrivateRedis,
    loaded: &Loaded,
    folder: &Folder,
    listeners: Listeners,
    with_demo: bool,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let config = &loaded.config;
    access::write_settings(folder, config)?;
    let metrics = Metrics::start(Role::Dev, config)?;
    let traces = telemetry::start_traces(config, Role::Dev)?;
    let stores = open_stores(loaded).await?;
    metrics.connected(&stores.engine);
    let mut parts = Parts::start(&stores, config, listeners, metrics);
    let ready = async {
        wait_until_recovered(&stores).await?;
        if with_demo {
            demo::create(&stores, config).await?;
        }
        access::renew_operator_token(&folder.operator_token(), config)?;
        let (listen, admin_listen) = (config.listen, config.admin_listen);
        print(&Page { listen, admin_listen, folder, demo: with_demo }.text())?;
        access::keep_operator_token(folder, config).await
    };
    let ran = tokio::select! {
        failed = redis.supervise() => failed,
        failed = ready => failed,
        failed = parts.ended() => failed,
        () = stop.cancelled() => Ok(()),
    };
    if ran.is_ok() {
        print("\nStopping: requests in flight are answered, and what they decided is archived.\n")?;
    }
    let stopped = parts.stop().await;
    stores.engine.quit().await;
    traces.stop().await;
    ran.and(stopped)
}

async fn open_stores(loaded: &Loaded) -> anyhow::Result<Stores> {
    let archive = roles::open_archive(&loaded.config, PATIENCE).await?;
    match archive.schema_status().await? {
        SchemaStatus::Current => {}
        SchemaStatus::Missing | SchemaStatus::Older(_) => archive.migrate().await?,
        SchemaStatus::Newer(found) => {
            return Err(roles::newer(found))
                .context("a newer stampede ran here; run that one, or begin anew with --fresh");
        }
    }
    roles::connect_engine(loaded, archive, PATIENCE).await
}

/// Waits until the workers have set up every shard, or have recovered what the last run left.
async fn wait_until_recovered(stores: &Stores) -> anyhow::Result<()> {
    let mut waited = Duration::ZERO;
    // Redis may be starting again at this moment, so a failure is no reason to give up.
    while !stores.engine.fenced_shards().await.is_ok_and(|fenced| fenced.is_empty()) {
        tokio::time::sleep(LOOK).await;
        waited += LOOK;
        if waited == SAY_AFTER {
            print("Comparing Redis with the archive; this takes a moment after a crash.\n")?;
        }
    }
    Ok(())
}

impl Parts {
    fn start(stores: &Stores, config: &Config, listeners: Listeners, metrics: Metrics) -> Self {
        let (stop_api, stop_workers) = (CancellationToken::new(), CancellationToken::new());
        let api = {
            let (stores, config, stop) = (stores.clone(), config.clone(), stop_api.clone());
            tokio::spawn(async move { roles::serve_api(&stores, &config, listeners.api, stop).await })
        };
        let workers = {
            let (stores, config, stop) = (stores.clone(), config.clone(), stop_workers.clone());
            tokio::spawn(async move { roles::run_workers(&stores, &config, stop).await })
        };
        let admin = tokio::spawn(admin::serve(listeners.admin, metrics, stop_workers.clone()));
        Self { api, workers, admin, stop_api, stop_workers }
    }

    /// Waits until one of them ends, which none should.
    async fn ended(&mut self) -> anyhow::Result<()> {
        tokio::select! {
            ended = &mut self.api => ended??,
            ended = &mut self.workers => ended??,
            ended = &mut self.admin => ended??,
        }
        bail!("a part of the program ended unexpectedly")
    }

    /// Lets the API finish what is in flight, then the workers what that left in the log.
    async fn stop(self) -> anyhow::Result<()> {
        self.stop_api.cancel();
        let served = if self.api.is_finished() { Ok(()) } else { self.api.await? };
        self.stop_workers.cancel();
        let worked = if self.workers.is_finished() { Ok(()) } else { self.workers.await? };
        self.admin.abort();
        served.and(worked)
    }
}
