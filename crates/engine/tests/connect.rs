//! Whom an engine refuses to work with.

mod support;

use stampede_domain::{Deployment, ShardCount};
use stampede_engine::{ConnectError, Engine, EngineSettings};
use support::{Alone, SHARDS, deployment};

on_both! {
    a_redis_that_evicts_is_refused,
    the_redis_of_another_deployment_is_refused,
    a_redis_with_another_number_of_shards_is_refused,
    a_redis_that_belongs_to_nobody_is_accepted_and_fenced,
}

async fn connect(url: String, deployment: Deployment) -> Result<Engine, ConnectError> {
    Engine::connect(EngineSettings { redis_url: url, ..EngineSettings::default() }, deployment).await
}

async fn a_redis_that_evicts_is_refused(Alone(h): Alone) {
    let server = h.server();
    // One node of many is enough.
    let last = server.nodes().last().expect("a node");
    for policy in ["allkeys-lru", "volatile-ttl", "allkeys-random"] {
        last.cli(&["CONFIG", "SET", "maxmemory-policy", policy]);
        let refused = connect(server.url(), deployment()).await.err();
        assert!(matches!(&refused, Some(ConnectError::Evicting(found)) if found == policy), "{refused:?}");
    }
    last.cli(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    assert!(connect(server.url(), deployment()).await.is_ok());
}

async fn the_redis_of_another_deployment_is_refused(Alone(h): Alone) {
    let other = Deployment { id: "other".to_owned(), ..deployment() };
    let refused = connect(h.server().url(), other).await.err();
    let Some(ConnectError::ForeignDeployment { found, expected }) = refused else { panic!("{refused:?}") };
    assert_eq!((found.as_str(), expected.as_str()), ("test", "other"));
}

async fn a_redis_with_another_number_of_shards_is_refused(Alone(h): Alone) {
    // More shards, and as many as still reach the one that was set up.
    for shards in [SHARDS + 1, h.shard.number() + 1] {
        let other = Deployment { shards: ShardCount::try_from(shards).expect("in range"), ..deployment() };
        let refused = connect(h.server().url(), other).await.err();
        let Some(ConnectError::ForeignShards { found, expected }) = refused else { panic!("{refused:?}") };
        assert_eq!((found, expected), (SHARDS, shards));
    }
}

async fn a_redis_that_belongs_to_nobody_is_accepted_and_fenced(Alone(h): Alone) {
    for node in h.server().nodes() {
        assert_eq!(node.cli(&["FLUSHALL"]), "OK");
    }
    let engine = connect(h.server().url(), deployment()).await.expect("accepted");
    assert_eq!(engine.fenced_shards().await.expect("readable").len(), usize::from(SHARDS));
}

#[tokio::test]
async fn an_address_where_nobody_answers_is_refused() {
    let port = stampede_testkit::free_port();
    for url in [format!("redis://127.0.0.1:{port}"), format!("redis-cluster://127.0.0.1:{port}")] {
        let refused = connect(url, deployment()).await.err();
        assert!(matches!(refused, Some(ConnectError::Unreachable(_))), "{refused:?}");
    }
    let refused = connect("no address".to_owned(), deployment()).await.err();
    assert!(matches!(refused, Some(ConnectError::InvalidUrl(_))), "{refused:?}");
}
