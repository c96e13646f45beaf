//! What is due is done, once, however late.

mod support;

use std::sync::Arc;

use stampede_domain::{DropState, OrderStatus, Phase, Timestamp};
use stampede_engine::{Decision, DropChange, Refusal};
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
