use std::sync::Arc;
use std::time::Duration;

use stampede_api::*;
use stampede_archive::{Archive, SqliteArchive};
use stampede_domain::{Closing, Deployment, LogId, ShardCount};
use stampede_engine::{Engine, EngineSettings, RecoveryGuard};
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore]
async fn run() {
    let redis = stampede_testkit::Redis::start().await;
    let path = std::env::temp_dir().join(format!("scratch-{}.db", std::process::id()));
    let archive = SqliteArchive::open(&path).await.unwrap();
    archive.migrate().await.unwrap();
    let proposed = Deployment { id: "d".into(), shards: ShardCount::try_from(8).unwrap() };
    let deployment = archive.deployment(&proposed).await.unwrap();
    let archive: Arc<dyn Archive> = Arc::new(archive);
    let engine =
        Engine::connect(EngineSettings { redis_url: redis.url(), ..EngineSettings::default() }, deployment.clone()).await.unwrap();
    for shard in deployment.shards.shards() {
        let seen = engine.inspect_shard(shard).await.unwrap();
        let epoch = archive.raise_epoch(shard).await.unwrap();
        let guard = RecoveryGuard { shard, epoch, token: seen.token.clone() };
        let line = engine.begin_recovery(&guard).await.unwrap();
        let _ = line;
        archive
            .close_epoch(&Closing { shard, epoch, base: 0, through: 0, holes: vec![], void: false })
            .await
            .unwrap();
        engine.recovery_adopt(&guard, 0, LogId::default()).await.unwrap();
    }
    let key = TokenKey {
        kid: "k1".into(),
        algorithm: TokenAlgorithm::Hs256,
        secret: Some("0123456789abcdef0123456789abcdef".to_owned().into()),
        private_key: None,
        public_key: None,
    };
    let settings = ApiSettings {
        sign_in: SignIn::Handle,
        secure_cookies: false,
        public_origins: vec!["http://localhost:4100".into()],
        cors_origins: vec!["http://shop.example".into()],
        tokens: TokenSettings { keys: vec![key], ..TokenSettings::default() },
        ..ApiSettings::default()
    };
    let tokens = Tokens::new(&settings.tokens).unwrap();
    let operator = tokens.issue(&"op".parse().unwrap(), Role::Operator, Duration::from_secs(3600)).unwrap();
    std::fs::write("/tmp/scratch.operator", &operator.token).unwrap();
    let mut users = String::new();
    for n in 0..20_000 {
        users += &tokens.issue(&format!("u{n}").parse().unwrap(), Role::Shopper, Duration::from_secs(3600)).unwrap().token;
        users += "\n";
    }
    std::fs::write("/tmp/scratch.users", users).unwrap();
    let state = ApiState::new(engine.clone(), archive, settings.clone()).unwrap();
    let null = axum::routing::get(|| async {
        ([("content-type", "application/json")], r#"{"drop_id":"demo","sku":"AIR-1","phase":"live","starts_at":"2026-11-21T02:59:52.713Z","ends_at":null,"available":100,"total":100,"limit_per_user":1,"price":{"amount_minor":12900,"currency":"EUR"},"version":4294967303,"as_of":"2026-11-21T02:59:52.713Z","server_time":"2026-11-21T02:59:52.713Z"}"#)
    });
    let router = router(state.clone()).route("/null", null);
    let listener = std::net::TcpListener::bind("127.0.0.1:4100").unwrap();
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    tokio::spawn(async move {
        while !std::path::Path::new("/tmp/scratch.stop").exists() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        stopping.cancel();
    });
    serve(listener, router, stop, &settings).await.unwrap();
    state.shutdown().await;
    engine.quit().await;
    std::fs::remove_file(path).ok();
}
