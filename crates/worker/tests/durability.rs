//! What may yet be lost is not archived.

mod support;

use std::time::Duration;

use stampede_domain::Durability;
use stampede_engine::{Decision, EngineError};
use stampede_testkit::{Redis, RedisOptions};
use stampede_worker::PersistError;
use support::Harness;

/// Gives the harness's Redis a replica that must be there.
async fn with_replica(harness: &Harness) -> Redis {
    let primary = &harness.redis;
    assert_eq!(primary.cli(&["CONFIG", "SET", "repl-diskless-sync-delay", "0", "min-replicas-to-write", "1"]), "OK");
    let replica_of = Some(primary.port());
    let options = RedisOptions { append_fsync: Some("everysec"), replica_of, ..RedisOptions::default() };
    let replica = Redis::start_with(options).await;
    replica.wait_until_level_with(primary).await;
    // Redis counts its good replicas once a second, and refuses writes until it has counted this one.
    while !primary.cli(&["INFO", "replication"]).contains("min_slaves_good_slaves:1") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // A first replica changes the token.
    harness.recover().await;
    while harness.engine.offers(harness.shard(), Durability::Replica).is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    replica
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_replica_lacks_is_not_archived() {
    let harness = Harness::start().await;
    let replica = with_replica(&harness).await;
    let careful = harness.open_with("careful", 5, 1, |drop| drop.durability = Some(Durability::Replica)).await;
    let plain = harness.open("plain", 5, 1).await;
    harness.persist_all().await;

    replica.freeze();
    assert_eq!(harness.order(&careful, "a", "key").await, Err(EngineError::OutcomeUnknown));
    let plainly = harness.granted(&plain, "a").await;
    // One batch of both: what the one drop promises holds for all that is archived with it.
    let mut persister = harness.persister();
    let step = persister.step().await;
    assert!(matches!(step, Err(PersistError::Engine(EngineError::OutcomeUnknown))), "{step:?}");
    assert_eq!(harness.archived_orders(&careful.id).await.len(), 0);
    assert!(harness.archive.order(plainly.id).await.expect("readable").is_none());

    replica.thaw();
    let replayed = loop {
        match harness.order(&careful, "a", "key").await {
            Ok(Decision::Replayed(order)) => break order,
            Ok(other) => panic!("{other:?}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    harness.persist_all().await;
    assert!(harness.archive.order(replayed.id).await.expect("readable").is_some());
    harness.assert_invariants(&careful).await;
    harness.assert_invariants(&plain).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovered_drop_promises_what_it_did() {
    let mut harness = Harness::start().await;
    let careful = harness.open_with("kept", 5, 1, |drop| drop.durability = Some(Durability::Fsync)).await;
    harness.granted(&careful, "a").await;
    harness.persist_all().await;
    harness.redis.kill().await;
    harness.redis.wipe();
    harness.redis.restart().await;
    harness.recover().await;
    let read = harness.engine.read_drops(harness.shard(), std::slice::from_ref(&careful.id)).await.expect("readable");
    assert_eq!(read.drops[0].as_ref().expect("recovered").durability, Some(Durability::Fsync));
    assert!(matches!(harness.order(&careful, "a", "key").await, Ok(Decision::Replayed(_))));
}
