//! What is due is done, once, however late.

mod support;

use std::collections::HashMap;
use std::sync::Arc;

use stampede_archive::FactRange;
use stampede_domain::{
    CancelledBy, DropState, Epoch, Fact, FactBody, GrantState, Order, OrderId, OrderStatus, Phase, Timestamp,
    UserDigest,
};
use stampede_engine::{Cancellation, Decision, DropChange, DropTerms, OrderRef, Refusal};
use stampede_worker::{Opener, Timekeeper, WorkerSettings};
use support::{Harness, definition};

fn timekeeper(harness: &Harness) -> Timekeeper {
    Timekeeper::new(harness.engine.clone(), Arc::clone(&harness.archive), harness.settings.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_is_written_down_once() {
    let harness = Harness::start().await;
    let drop = harness.open("start", 5, 1).await;
    let before = harness.drop_now(&drop.id).await;
    let mut timekeeper = timekeeper(&harness);
    assert_eq!(timekeeper.step().await.expect("fires"), 1);
    assert_eq!(timekeeper.step().await.expect("finds nothing"), 0);
    assert!(harness.drop_now(&drop.id).await.version > before.version);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_closes_the_drop_for_good() {
    let harness = Harness::start().await;
    let drop = harness.open("end", 5, 1).await;
    let now = harness.drop_now(&drop.id).await.as_of;
    let amend = DropChange::Amend { starts_at: None, ends_at: Some(Some(now.plus_ms(60))), limit_per_user: None };
    harness.engine.change_drop(&drop.id, &amend).await.expect("amended");
    let mut timekeeper = timekeeper(&harness);
    while harness.drop_now(&drop.id).await.state != DropState::Ended {
        timekeeper.step().await.expect("fires");
    }
    let decision = harness.order(&drop, "a", "key").await;
    let Ok(Decision::Refused(Refusal::NotActive { phase, .. })) = decision else { panic!("{decision:?}") };
    assert_eq!(phase, Phase::Ended);
    assert_eq!(timekeeper.step().await.expect("finds nothing"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_orders_of_a_cancelled_drop_are_cancelled_one_by_one() {
    let harness = Harness::start().await;
    let drop = harness.open("called-off", 500, 1).await;
    let users: Vec<String> = (0..450).map(|n| format!("user-{n}")).collect();
    futures_util::future::join_all(users.iter().map(|user| harness.order(&drop, user, "key"))).await;
    harness.engine.change_drop(&drop.id, &DropChange::CallOff).await.expect("called off");
    let late = harness.order(&drop, "late", "key").await;
    assert!(matches!(late, Ok(Decision::Refused(Refusal::NotActive { phase: Phase::Cancelled, .. }))), "{late:?}");
    // The first process dies after a piece; another one begins at the front.
    assert_eq!(timekeeper(&harness).step().await.expect("cancels"), 1);
    let mut timekeeper = timekeeper(&harness);
    while timekeeper.step().await.expect("cancels") > 0 {}
    let now = harness.drop_now(&drop.id).await;
    assert_eq!((now.sold_units, now.available_units), (0, 500));
    harness.assert_invariants(&drop).await;
    let orders = harness.archived_orders(&drop.id).await;
    assert_eq!(orders.len(), 450);
    assert!(orders.iter().all(|order| order.status == OrderStatus::Cancelled));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drop_whose_process_died_while_it_opened_is_opened() {
    let harness = Harness::start().await;
    harness.open("first", 1, 1).await;
    let mut left = definition("left", 7, 1);
    left.sku = "SKU-first".parse().expect("a sku");
    left.window.starts_at = Timestamp::now().plus_ms(3_600_000);
    harness.archive.release_window(&left.sku, &"first".parse().expect("an id")).await.expect("released");
    harness.archive.define_drop(&left).await.expect("defined");
    let settings = WorkerSettings { open_after: std::time::Duration::ZERO, ..harness.settings.clone() };
    let opener = Opener::new(harness.engine.clone(), Arc::clone(&harness.archive), settings);
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    assert_eq!(opener.step().await.expect("opens"), 1);
    assert_eq!(harness.drop_now(&left.id).await.total_units, 7);
    assert_eq!(opener.step().await.expect("finds nothing"), 0);
}

/// A drop of 2,000 orders that is called off, and its buyers' orders.
async fn called_off(harness: &Harness, id: &str) -> (Arc<DropTerms>, Vec<Order>) {
    let drop = harness.open(id, 2_500, 1).await;
    let mut orders = Vec::new();
    let users: Vec<String> = (0..2_000).map(|n| format!("user-{n}")).collect();
    for users in users.chunks(500) {
        let granted = users.iter().map(|user| harness.granted(&drop, user));
        orders.extend(futures_util::future::join_all(granted).await);
    }
    harness.engine.change_drop(&drop.id, &DropChange::CallOff).await.expect("called off");
    (drop, orders)
}

/// The status that each order has in its user's record.
async fn statuses(harness: &Harness, drop: &DropTerms, orders: &[Order]) -> HashMap<OrderId, OrderStatus> {
    let asked: Vec<_> = orders.iter().map(|order| (drop.id.clone(), UserDigest::of(&order.user_id))).collect();
    let mut found = HashMap::new();
    for asked in asked.chunks(500) {
        for user in harness.engine.user_grants(harness.shard(), asked).await.expect("readable") {
            let (_, records) = user.grants.expect("the drop is there");
            found.extend(records.iter().map(|record| {
                (record.order_id(harness.shard(), &drop.id, user.user), OrderStatus::from(record.state))
            }));
        }
    }
    found
}

async fn assert_all_cancelled(harness: &Harness, drop: &Arc<DropTerms>, orders: &[Order]) {
    let now = harness.drop_now(&drop.id).await;
    assert_eq!((now.sold_units, now.available_units), (0, 2_500));
    let statuses = statuses(harness, drop, orders).await;
    assert!(orders.iter().all(|order| statuses[&order.id] == OrderStatus::Cancelled));
    harness.assert_invariants(drop).await;
    let archived = harness.archived_orders(&drop.id).await;
    assert_eq!(archived.len(), orders.len());
    assert!(archived.iter().all(|order| order.status == OrderStatus::Cancelled));
    let timers = harness.redis.cli(&["ZRANGE", "{s00}:timers", "0", "-1"]);
    assert!(!timers.contains("withdraw:"), "{timers}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_drop_is_cancelled_a_few_orders_at_a_time_by_workers_that_die() {
    let harness = Harness::start().await;
    let (drop, orders) = called_off(&harness, "large").await;
    let (mut left, mut steps) = (2_000, 0);
    // Each worker dies after a few steps: whatever it had begun, the next one begins at the front.
    while left > 0 {
        let mut worker = timekeeper(&harness);
        for _ in 0..=steps % 3 {
            let before = left;
            worker.step().await.expect("cancels");
            let statuses = statuses(&harness, &drop, &orders).await;
            left = orders.iter().filter(|order| statuses[&order.id] == OrderStatus::Confirmed).count();
            assert_eq!(statuses.len(), 2_000, "an order says that it is confirmed until its own turn");
            // A scan gives about as many users as it is asked for.
            assert!(before - left <= 400, "{} orders in one step", before - left);
            assert_eq!(harness.drop_now(&drop.id).await.sold_units, left as u64);
        }
        steps += 1;
        assert!(steps < 1_000, "{left} orders are left");
    }
    let mut last = timekeeper(&harness);
    while last.step().await.expect("cancels") > 0 {}
    assert_all_cancelled(&harness, &drop, &orders).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shoppers_who_cancel_at_the_same_time_lose_nothing() {
    let harness = Harness::start().await;
    let (drop, orders) = called_off(&harness, "raced").await;
    let engine = harness.engine.clone();
    // From the other end, and one after another, so that both meet in the middle.
    let shoppers = {
        let orders: Vec<OrderRef> = orders.iter().rev().map(OrderRef::from).collect();
        tokio::spawn(async move {
            let mut cancelled = 0;
            for order in orders {
                match engine.cancel_order(&order, CancelledBy::Shopper).await.expect("answered") {
                    Cancellation::Cancelled => cancelled += 1,
                    Cancellation::Already(GrantState::Cancelled) => {}
                    other => panic!("{other:?}"),
                }
            }
            cancelled
        })
    };
    let (mut one, mut two) = (timekeeper(&harness), timekeeper(&harness));
    loop {
        let (first, second) = tokio::join!(one.step(), two.step());
        if first.expect("cancels") + second.expect("cancels") == 0 {
            break;
        }
    }
    let by_shoppers = shoppers.await.expect("answered");
    assert_all_cancelled(&harness, &drop, &orders).await;
    let range = FactRange { from_epoch: Epoch(0), beyond_number: 0 };
    let facts = harness.archive.facts(harness.shard(), range, None, 100_000).await.expect("readable");
    let by = |who| {
        let is = |fact: &&Fact| matches!(&fact.body, FactBody::Cancelled(withdrawal) if withdrawal.by == who);
        facts.iter().filter(is).count()
    };
    assert_eq!(
        (by(CancelledBy::Shopper), by(CancelledBy::Drop)),
        (by_shoppers, 2_000 - by_shoppers),
        "each order once"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_comes_back_with_less_has_its_orders_cancelled_again() {
    let mut harness = Harness::start().await;
    let (drop, orders) = called_off(&harness, "older").await;
    // What is saved has the drop called off and all of its orders standing.
    harness.persist_all().await;
    let saved = harness.save_files().await;
    harness.recover().await;
    let mut worker = timekeeper(&harness);
    for _ in 0..4 {
        worker.step().await.expect("cancels");
    }
    // A part of that is archived; the rest is lost with Redis. The worker goes on from where it was.
    harness.persister().step().await.expect("archived");
    worker.step().await.expect("cancels");
    let before = harness.drop_now(&drop.id).await.sold_units;
    harness.restore_files(&saved).await;
    let report = harness.recover().await;
    assert!(report.applied_facts > 0, "{report:?}");
    let now = harness.drop_now(&drop.id).await;
    assert!(now.sold_units > before, "cancellations were lost: {} of {before}", now.sold_units);
    let mut failures = 0;
    while harness.drop_now(&drop.id).await.sold_units > 0 {
        // At the end of its pass it finds that orders stand, and begins anew.
        failures += u32::from(worker.step().await.is_err());
        assert!(failures < 100, "orders stand for ever");
    }
    while worker.step().await.expect("finds that all is done") > 0 {}
    assert_all_cancelled(&harness, &drop, &orders).await;
}
