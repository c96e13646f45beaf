//! The log reaches the archive, each fact once, whoever moves it.

mod support;

use stampede_domain::{CancelledBy, OrderStatus};
use stampede_engine::OrderRef;
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
