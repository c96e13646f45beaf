//! A whole service in one process: Redis, archive, API and workers, and a client with one method per request.

mod answer;
mod invariants;
mod requests;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use stampede_api::{ApiSettings, ApiState, App, Role, SignIn, TokenAlgorithm, TokenKey, TokenSettings, Tokens};
use stampede_archive::{Archive, ArchiveUrl};
use stampede_domain::{Deployment, ShardCount};
use stampede_engine::{Engine, EngineSettings};
use stampede_worker::{Reconciler, Verdict, Watchman, WorkerSettings};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{MongoServer, Proxy, Redis, RedisCluster, RedisOptions};

pub use answer::Answer;
pub use invariants::assert_all as assert_invariants;
pub use requests::Caller;

/// The secret with which a [`TestApp`] signs, by the key `test`.
const SECRET: &str = "a secret of the tests, long enough for HS256";

/// What a [`TestApp`] stands on.
#[derive(Clone, Debug)]
pub struct AppOptions {
    /// Three masters of a Redis Cluster instead of one Redis.
    pub cluster: bool,
    /// A database of the MongoDB-protocol server instead of SQLite.
    pub mongodb: bool,
    /// Whether the workers run; a test that wants to drive steps leaves them out.
    pub workers: bool,
    /// How many shards.
    pub shards: u16,
    /// The address of an archive to use instead.
    pub archive_url: Option<String>,
    /// Texts in what is sent to a single Redis, such as the text of a script, and what of the same length takes their
    /// place: for a test that must see what a broken script does.
    pub rewrites: Vec<(String, String)>,
    /// What the API is told; its own key comes before these, and its own origin in place of these.
    pub api: ApiSettings,
    /// What the engine is told; the address is filled in.
    pub engine: EngineSettings,
}

impl Default for AppOptions {
    fn default() -> Self {
        let api = ApiSettings {
            sign_in: SignIn::Handle,
            secure_cookies: false,
            snapshot_refresh: Duration::from_millis(50),
            sku_refresh: Duration::from_millis(200),
            ..ApiSettings::default()
        };
        Self {
            cluster: false,
            mongodb: false,
            workers: true,
            shards: 2,
            archive_url: None,
            rewrites: Vec::new(),
            api,
            engine: EngineSettings::default(),
        }
    }
}

/// The servers under a service; they end with it.
enum HotState {
    Single(Redis),
    Cluster(RedisCluster),
}

/// A running service. Its end, [`TestApp::finish`], asserts the invariants and that nothing is left pending.
pub struct TestApp {
    /// The engine that the API uses.
    pub engine: Engine,
    /// The archive that the API uses.
    pub archive: Arc<dyn Archive>,
    /// Where the API listens.
    pub origin: String,
    /// Issues and verifies tokens as the API does.
    pub tokens: Tokens,
    /// The address of the archive.
    pub archive_url: String,
    client: reqwest::Client,
    state: ApiState,
    api: ApiSettings,
    others: Vec<(Engine, ApiState)>,
    hot_state: HotState,
    _proxy: Option<Proxy>,
    shutdown: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    _dir: TempDir,
}

impl TestApp {
    /// On one Redis and SQLite.
    pub async fn start() -> Self {
        Self::start_with(AppOptions::default()).await
    }

    /// On what the options say.
    ///
    /// # Panics
    /// If a part of the service does not start.
    pub async fn start_with(options: AppOptions) -> Self {
        let hot_state = start_hot_state(options.cluster).await;
        let dir = TempDir::new().expect("a temporary folder");
        let archive_url = options.archive_url.unwrap_or_else(|| archive_url(options.mongodb, &dir));
        let archive = start_archive(&archive_url).await;
        let shards = ShardCount::try_from(options.shards).expect("a number of shards");
        let proposed = Deployment { id: "test".to_owned(), shards };
        let deployment = archive.deployment(&proposed).await.expect("the deployment is created");
        let proxy = hot_state.rewriting(&options.rewrites).await;
        let redis_url = proxy.as_ref().map_or_else(|| hot_state.url(), Proxy::url);
        let settings = EngineSettings { redis_url, ..options.engine };
        let engine = Engine::connect(settings, deployment).await.expect("the engine connects");
        let mut watchman = Watchman::new(engine.clone(), Arc::clone(&archive), WorkerSettings::default());
        watchman.step().await.expect("the shards are set up");

        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let api = ApiSettings {
            tokens: with_own_key(options.api.tokens),
            public_origins: vec![origin.clone()],
            ..options.api
        };
        let tokens = Tokens::new(&api.tokens).expect("the tokens' settings");
        let state = ApiState::new(engine.clone(), Arc::clone(&archive), api.clone()).expect("the API's settings");
        let shutdown = CancellationToken::new();
        let mut tasks = vec![serve(listener, stampede_api::router(state.clone()), &api, &shutdown)];
        if options.workers {
            let workers = WorkerSettings { claim_idle: Duration::from_millis(500), ..WorkerSettings::default() };
            tasks.push(stampede_worker::spawn(engine.clone(), Arc::clone(&archive), workers, shutdown.clone()));
        }
        let client = crate::http_client().build().expect("a client");
        Self {
            engine,
            archive,
            origin,
            tokens,
            archive_url,
            client,
            state,
            api,
            others: Vec::new(),
            hot_state,
            _proxy: proxy,
            shutdown,
            tasks,
            _dir: dir,
        }
    }

    /// Changes what the next [`Self::another_api`] is told.
    pub fn change_api(&mut self, change: impl FnOnce(&mut ApiSettings)) {
        change(&mut self.api);
    }

    /// Starts another API of the service, with an engine of its own, as another process would have one. Returns its origin, for
    /// [`Caller::at`].
    ///
    /// # Panics
    /// If it does not start.
    pub async fn another_api(&mut self) -> String {
        let engine = Engine::connect(self.engine.settings().clone(), self.engine.deployment().clone())
            .await
            .expect("the engine connects");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let state = ApiState::new(engine.clone(), Arc::clone(&self.archive), self.api.clone());
        let state = state.expect("the API's settings");
        self.tasks.push(serve(listener, stampede_api::router(state.clone()), &self.api, &self.shutdown));
        self.others.push((engine, state));
        origin
    }

    /// Lets the router of the first API listen alone, without the shortcuts past it. Returns its origin.
    ///
    /// # Panics
    /// If it does not start.
    pub fn router_alone(&mut self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let router = stampede_api::router(self.state.clone()).into_router();
        self.tasks.push(serve(listener, router.into(), &self.api, &self.shutdown));
        origin
    }

    /// The single Redis under the service.
    ///
    /// # Panics
    /// On a cluster.
    pub fn redis(&mut self) -> &mut Redis {
        match &mut self.hot_state {
            HotState::Single(redis) => redis,
            HotState::Cluster(_) => panic!("this service runs on a cluster"),
        }
    }

    /// The servers that hold the hot state: one Redis, or the masters of a cluster.
    pub fn nodes(&self) -> &[Redis] {
        match &self.hot_state {
            HotState::Single(redis) => std::slice::from_ref(redis),
            HotState::Cluster(cluster) => cluster.nodes(),
        }
    }

    /// A shopper with a token.
    pub fn shopper(&self, id: &str) -> Caller {
        self.caller(id, Role::Shopper)
    }

    /// An operator with a token.
    pub fn operator(&self) -> Caller {
        self.caller("operator", Role::Operator)
    }

    fn caller(&self, id: &str, role: Role) -> Caller {
        let user_id = id.parse().expect("a user id");
        let issued = self.tokens.issue(&user_id, role, Duration::from_secs(3_600)).expect("a token");
        Caller::new(self.client.clone(), self.origin.clone(), Some(issued.token))
    }

    /// Somebody without a token, or with this one.
    pub fn with_token(&self, token: Option<&str>) -> Caller {
        Caller::new(self.client.clone(), self.origin.clone(), token.map(str::to_owned))
    }

    /// Waits until the log has drained, asserts every invariant, and stops.
    ///
    /// # Panics
    /// If an invariant is broken.
    pub async fn finish(self) {
        invariants::assert_all(&self.engine, &*self.archive).await;
        let mut reconciler = Reconciler::new(self.engine.clone(), Arc::clone(&self.archive), WorkerSettings::default());
        let report = reconciler.whole(None).await;
        assert_eq!(report.verdict(), Verdict::Clean, "{report:?}");
        self.stop().await;
    }

    /// Stops without looking.
    pub async fn stop(self) {
        self.shutdown.cancel();
        for task in self.tasks {
            task.await.expect("no task panics");
        }
        self.state.shutdown().await;
        for (engine, state) in self.others {
            state.shutdown().await;
            engine.quit().await;
        }
        self.engine.quit().await;
    }
}

impl HotState {
    fn url(&self) -> String {
        match self {
            Self::Single(redis) => redis.url(),
            Self::Cluster(cluster) => cluster.url(),
        }
    }

    /// A proxy that replaces these texts; none if there are none.
    async fn rewriting(&self, texts: &[(String, String)]) -> Option<Proxy> {
        if texts.is_empty() {
            return None;
        }
        let Self::Single(redis) = self else { panic!("only what is sent to a single Redis can be rewritten") };
        let proxy = Proxy::start(redis.port()).await;
        proxy.rewrite(texts);
        Some(proxy)
    }
}

/// Serves until the shutdown.
fn serve(listener: TcpListener, app: App, api: &ApiSettings, shutdown: &CancellationToken) -> JoinHandle<()> {
    let (stop, api) = (shutdown.clone(), api.clone());
    tokio::spawn(async move {
        stampede_api::serve(listener, app, stop, &api).await.expect("the API serves");
    })
}

async fn start_hot_state(cluster: bool) -> HotState {
    let options = RedisOptions { append_fsync: Some("everysec"), ..RedisOptions::default() };
    if cluster {
        HotState::Cluster(RedisCluster::start_with(3, options).await)
    } else {
        HotState::Single(Redis::start_with(options).await)
    }
}

fn archive_url(mongodb: bool, dir: &TempDir) -> String {
    if mongodb {
        MongoServer::shared().database("app").url
    } else {
        format!("sqlite:{}", dir.path().join("archive.db").display())
    }
}

async fn start_archive(url: &str) -> Arc<dyn Archive> {
    let url: ArchiveUrl = url.parse().expect("an archive's address");
    let archive = stampede_archive::connect(&url).await.expect("the archive opens");
    archive.migrate().await.expect("the archive is migrated");
    archive
}

/// These settings, with the key that a [`TestApp`] signs with before theirs.
fn with_own_key(mut settings: TokenSettings) -> TokenSettings {
    let key = TokenKey {
        kid: "test".to_owned(),
        algorithm: TokenAlgorithm::Hs256,
        secret: Some(SECRET.into()),
        private_key: None,
        public_key: None,
    };
    settings.keys.insert(0, key);
    settings
}
