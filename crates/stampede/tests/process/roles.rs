//! The roles as they run in production: processes of their own, with one Redis and one archive.

use std::process::Command;

use reqwest::StatusCode;
use stampede_testkit::{Redis, RedisCluster, RedisOptions, Sentinels, free_port};

use super::support::{Api, Running, run, stampede};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

#[tokio::test]
async fn api_and_worker_serve_a_deployment_together() {
    let redis = Redis::start().await;
    serve_together(&redis.url(), async || ()).await;
}

#[tokio::test]
async fn api_and_worker_find_the_replica_of_a_cluster_that_takes_over() {
    let mut cluster = RedisCluster::start_with_replicas(3, 1, RedisOptions::default()).await;
    let url = cluster.url();
    serve_together(&url, async || {
        let (primaries, replicas) = cluster.nodes().split_at(3);
        for (primary, replica) in primaries.iter().zip(replicas) {
            replica.wait_until_level_with(primary).await;
        }
        cluster.nodes_mut()[0].kill().await;
        cluster.wait_until_healed().await;
    })
    .await;
}

#[tokio::test]
async fn api_and_worker_find_the_replica_that_sentinels_promote() {
    let mut sentinels = Sentinels::start(1).await;
    let url = sentinels.url();
    serve_together(&url, async || {
        sentinels.nodes()[1].wait_until_level_with(&sentinels.nodes()[0]).await;
        sentinels.nodes_mut()[0].kill().await;
        sentinels.wait_until_replaced(0).await;
    })
    .await;
}

/// An api and a worker take an order, and answer with it again after something happened to Redis.
async fn serve_together(redis_url: &str, happens: impl AsyncFnOnce()) {
    let dir = tempfile::tempdir().expect("a folder");
    let archive = format!("sqlite:{}", dir.path().join("archive.db").display());
    let role = |args: &[&str]| -> Command {
        let mut command = stampede(args);
        command.env("STAMPEDE_REDIS_URL", redis_url).env("STAMPEDE_ARCHIVE_URL", &archive);
        command.env("STAMPEDE_TOKEN_SECRET", SECRET).env("STAMPEDE_SIGN_IN", "handle").env("STAMPEDE_LOG", "warn");
        command.env("STAMPEDE_ADMIN_LISTEN", "127.0.0.1:0");
        command
    };
    assert_eq!(run(&mut role(&["migrate"])).0, Some(0));
    let origin = format!("127.0.0.1:{}", free_port());
    let mut api = Running::start(&mut role(&["api", "--listen", &origin]));
    let mut worker = Running::start(&mut role(&["worker"]));
    let url = format!("http://{origin}");
    let shop = Api::new(&format!("{url}/api/v1"));
    shop.wait_until_ready().await;

    let (code, _, stderr) = run(role(&["seed", "--units", "3", "--drop-id", "friday"]).env("API_URL", &url));
    assert_eq!(code, Some(0), "{stderr}");
    let shop = shop.sign_in("ann").await;
    let (status, _, order) = shop.order("friday", "once").await;
    assert_eq!(status, StatusCode::CREATED, "{order}");

    happens().await;
    shop.wait_until_ready().await;
    let (status, replayed, again) = shop.order("friday", "once").await;
    assert_eq!((status, replayed, &again["id"]), (StatusCode::CREATED, true, &order["id"]), "{again}");

    let (code, _, stderr) = run(&mut role(&["worker", "--set", "shards=9"]));
    assert_eq!((code, stderr.contains("created with 8 shards")), (Some(1), true), "{stderr}");

    let (code, _, stderr) = run(&mut role(&["worker", "--set", "durability=fsync"]));
    assert_eq!((code, stderr.contains("`fsync` cannot be kept")), (Some(1), true), "{stderr}");

    for role in [&mut api, &mut worker] {
        super::support::signal(&role.pid(), "TERM");
        assert_eq!(role.wait().code(), Some(0));
    }
}

#[test]
fn a_store_that_is_away_is_named_without_its_password() {
    let dir = tempfile::tempdir().expect("a folder");
    let archive = format!("sqlite:{}", dir.path().join("archive.db").display());
    let redis = format!("redis://default:s3cret@127.0.0.1:{}", free_port());
    let role = |args: &[&str]| {
        let mut command = stampede(args);
        command.env("STAMPEDE_REDIS_URL", &redis).env("STAMPEDE_ARCHIVE_URL", &archive);
        run(command.env("STAMPEDE_ADMIN_LISTEN", "127.0.0.1:0").env("STAMPEDE_STARTUP_TIMEOUT_MS", "0"))
    };
    assert_eq!(role(&["migrate"]).0, Some(0));
    let (code, _, stderr) = role(&["worker"]);
    assert_eq!((code, stderr.contains("Redis at redis://127.0.0.1:")), (Some(1), true), "{stderr}");
    assert!(stderr.contains("cannot be reached") && !stderr.contains("s3cret"), "{stderr}");
}
