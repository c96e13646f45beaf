//! Workers that are told to stop leave nothing waiting.

mod support;

use std::sync::Arc;
use std::time::Duration;

use stampede_worker::{Persister, WorkerSettings};
use support::Harness;
use tokio_util::sync::CancellationToken;

/// The names that the log knows its consumers by.
fn consumers(harness: &Harness) -> Vec<String> {
    let listed = harness.redis.cli(&["XINFO", "CONSUMERS", "{s00}:log", "persister"]);
    let lines: Vec<&str> = listed.lines().collect();
    let names = lines.windows(2).filter(|pair| pair[0] == "name");
    names.map(|pair| pair[1].to_owned()).collect()
}

async fn pending(harness: &Harness) -> u64 {
    harness.engine.log_status(harness.shard()).await.expect("the shard answers").pending
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stops_archives_what_is_left_and_is_forgotten() {
    let harness = Harness::start().await;
    let drop = harness.open("drained", 100, 1).await;
    let stop = CancellationToken::new();
    // So slow that the log is not empty when it is told to stop.
    let slow = Duration::from_secs(3_600);
    let settings = WorkerSettings { poll_min: slow, poll_max: slow, ..harness.settings.clone() };
    let workers = stampede_worker::spawn(harness.engine.clone(), Arc::clone(&harness.archive), settings, stop.clone());
    for n in 0..100 {
        harness.granted(&drop, &format!("user-{n}")).await;
    }
    stop.cancel();
    workers.await.expect("no panic");
    let status = harness.engine.log_status(harness.shard()).await.expect("the shard answers");
    assert_eq!((status.entries, status.pending), (0, 0));
    assert_eq!(consumers(&harness), Vec::<String>::new());
    assert_eq!(harness.archived_orders(&drop.id).await.len(), 100);
    harness.assert_invariants(&drop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stopping_worker_cannot_archive_is_taken_over_at_once() {
    let harness = Harness::start().await;
    let drop = harness.open("handed-over", 10, 1).await;
    harness.persist_all().await;
    // The archive is away: another process writes to it and does not end.
    let lock = rusqlite::Connection::open(harness.archive_path()).expect("opened");
    lock.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let mut orders = Vec::new();
    for n in 0..5 {
        orders.push(harness.granted(&drop, &format!("user-{n}")).await);
    }
    // An hour must pass before what a dead process had read is claimed.
    let hour = Duration::from_secs(3_600);
    let settings =
        WorkerSettings { claim_idle: hour, drain_limit: Duration::from_millis(200), ..harness.settings.clone() };
    let stop = CancellationToken::new();
    let (engine, archive) = (harness.engine.clone(), Arc::clone(&harness.archive));
    let workers = stampede_worker::spawn(engine, archive, settings.clone(), stop.clone());
    while pending(&harness).await == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.cancel();
    workers.await.expect("no panic");
    assert!(pending(&harness).await > 0, "it could not archive them");

    lock.execute_batch("COMMIT").expect("unlocked");
    let mut heir = Persister::new(harness.engine.clone(), Arc::clone(&harness.archive), settings);
    while harness.engine.log_status(harness.shard()).await.expect("the shard answers").entries > 0 {
        heir.step().await.expect("archived");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let archived = harness.archived_orders(&drop.id).await;
    assert_eq!(archived.len(), orders.len());
    assert!(orders.iter().all(|order| archived.contains(order)));
    harness.assert_invariants(&drop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_stops_although_redis_does_not_answer() {
    let harness = Harness::start().await;
    let drop = harness.open("frozen", 10, 1).await;
    harness.persist_all().await;
    let settings = WorkerSettings { drain_limit: Duration::from_millis(200), ..harness.settings.clone() };
    let stop = CancellationToken::new();
    let (engine, archive) = (harness.engine.clone(), Arc::clone(&harness.archive));
    let workers = stampede_worker::spawn(engine, archive, settings, stop.clone());
    harness.granted(&drop, "a").await;
    harness.redis.freeze();
    stop.cancel();
    workers.await.expect("no panic");
    harness.redis.thaw();
    harness.token().await;
    harness.assert_invariants(&drop).await;
}
