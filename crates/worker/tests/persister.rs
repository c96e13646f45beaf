//! The log reaches the archive, each fact once, whoever moves it.

mod support;

use std::sync::Arc;

use stampede_domain::{CancelledBy, OrderStatus};
use stampede_engine::OrderRef;
use stampede_worker::{Persisted, Persister, WorkerSettings};
use support::Harness;

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_is_archived_once_and_the_log_is_trimmed() {
    let harness = Harness::start().await;
    let drop = harness.open("sale", 50, 2).await;
    let users: Vec<String> = (0..60).map(|n| format!("user-{n}")).collect();
    futures_util::future::join_all(users.iter().map(|user| harness.order(&drop, user, "key"))).await;
    harness.assert_invariants(&drop).await;
    let status = harness.engine.log_status(harness.shard()).await.expect("answers");
    assert_eq!((status.entries, status.pending, status.backlog_orders, status.backlog_bytes), (0, 0, 0, 0));
    assert_eq!(harness.archived_orders(&drop.id).await.len(), 50);
    assert_eq!(harness.engine.unsettled_drops(harness.shard()).await, Ok(vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_persister_had_read_is_taken_over() {
    let harness = Harness::start().await;
    let drop = harness.open("dead", 5, 1).await;
    harness.granted(&drop, "a").await;
    // This consumer reads and never comes back.
    let read = harness.engine.read_new(harness.shard(), "dead", 10).await.expect("read");
    assert_eq!(read.entries.len(), 2, "the opening and the grant");
    harness.granted(&drop, "b").await;
    harness.assert_invariants(&drop).await;
    assert_eq!(harness.archived_orders(&drop.id).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_persisters_share_the_work() {
    let harness = Harness::start().await;
    let drop = harness.open("shared", 500, 1).await;
    for round in 0..10 {
        let users: Vec<String> = (0..30).map(|n| format!("user-{round}-{n}")).collect();
        let orders = futures_util::future::join_all(users.iter().map(|user| harness.order(&drop, user, "key")));
        let (mut one, mut two) = (harness.persister(), harness.persister());
        let (_, first, second) = tokio::join!(orders, one.step(), two.step());
        first.expect("archived");
        second.expect("archived");
    }
    harness.assert_invariants(&drop).await;
    assert_eq!(harness.archived_orders(&drop.id).await.len(), 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_takes_what_there_is_in_parts_until_it_is_full() {
    let harness = Harness::start().await;
    let drop = harness.open("parts", 100, 1).await;
    for n in 0..40 {
        harness.granted(&drop, &format!("user-{n}")).await;
    }
    // The opening and a grant each are the entries; all of one fact.
    let settings = WorkerSettings { batch_entries: 3, batch_facts: 10, ..harness.settings.clone() };
    let mut persister = Persister::new(harness.engine.clone(), Arc::clone(&harness.archive), settings);
    for _ in 0..3 {
        let full = persister.step().await.expect("archived");
        assert_eq!(full, Persisted { entries: 12, facts: 12, left: 0 }, "full with the fourth part");
    }
    let rest = persister.step().await.expect("archived");
    assert_eq!(rest, Persisted { entries: 5, facts: 5, left: 0 });
    harness.assert_invariants(&drop).await;
    assert_eq!(harness.archived_orders(&drop.id).await.len(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_one_script_acknowledges_is_acknowledged_in_parts() {
    let harness = Harness::start().await;
    let drop = harness.open("many", 1_000, 1).await;
    for n in 0..300 {
        harness.granted(&drop, &format!("user-{n}")).await;
    }
    let persisted = harness.persister().step().await.expect("archived");
    assert_eq!(persisted, Persisted { entries: 301, facts: 301, left: 0 });
    let status = harness.engine.log_status(harness.shard()).await.expect("answers");
    assert_eq!((status.entries, status.pending, status.backlog_orders, status.backlog_bytes), (0, 0, 0, 0));
    harness.assert_invariants(&drop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_is_a_fact_of_its_own() {
    let harness = Harness::start().await;
    let drop = harness.open("cancelled", 5, 1).await;
    let order = harness.granted(&drop, "a").await;
    harness.persist_all().await;
    harness.engine.cancel_order(&OrderRef::from(&order), CancelledBy::Shopper).await.expect("cancelled");
    harness.assert_invariants(&drop).await;
    let archived = harness.archive.order(order.id).await.expect("readable").expect("archived");
    assert_eq!(archived.order.status, OrderStatus::Cancelled);
}
