//! Drops that are over leave Redis, and come back as tombstones.

mod support;

use std::sync::Arc;
use std::time::Duration;

use stampede_domain::{CancelledBy, ClosedBy, KeyDigest, Order, OrderStatus, UserDigest};
use stampede_engine::{
    Decision, DropChange, DropTerms, EngineError, LiveDrop, OrderRef, PurgeOutcome, PurgeRefusal, PurgeTerms,
};
use stampede_worker::{Timekeeper, WorkerSettings};
use support::Harness;

const AT_ONCE: PurgeTerms = PurgeTerms { keep_for: Duration::ZERO, look_again: None };

/// A drop that is over and wholly archived: two orders stand, one was cancelled. Its shoppers cannot cancel.
async fn sold(harness: &Harness, id: &str) -> (Arc<DropTerms>, Vec<Order>) {
    let drop = harness.open_with(id, 5, 1, |drop| drop.cancellable_for_s = 0).await;
    let mut orders = Vec::new();
    for user in ["a", "b", "c"] {
        orders.push(harness.granted(&drop, user).await);
    }
    let third = OrderRef::from(&orders[2]);
    harness.engine.cancel_order(&third, CancelledBy::Operator).await.expect("cancelled");
    orders[2].status = OrderStatus::Cancelled;
    let restock = DropChange::Restock { key: KeyDigest([7; 8]), units: 2 };
    harness.engine.change_drop(&drop.id, &restock).await.expect("restocked");
    harness.engine.change_drop(&drop.id, &DropChange::Close(ClosedBy::Operator)).await.expect("closed");
    harness.persist_all().await;
    (drop, orders)
}

async fn purge(harness: &Harness, drop: &DropTerms) -> LiveDrop {
    match harness.engine.purge_drop(&drop.id, AT_ONCE).await.expect("an outcome") {
        PurgeOutcome::Purged(now) => now,
        other => panic!("not purged: {other:?}"),
    }
}

/// Redis holds the tombstone with these figures and nothing else, and the archive answers replays.
async fn assert_buried(harness: &Harness, drop: &Arc<DropTerms>, expected: &LiveDrop, orders: &[Order]) {
    let now = harness.drop_now(&drop.id).await;
    assert_eq!(LiveDrop { version: expected.version, as_of: expected.as_of, ..now.clone() }, *expected);
    assert!(now.version >= expected.version);
    assert_eq!(harness.redis.cli(&["HGETALL", &format!("{{s00}}:drop:{}:users", drop.id)]), "-\n1");
    for order in orders {
        let decision = harness.order(drop, order.user_id.as_str(), "key").await;
        let Ok(Decision::Purged(asked)) = decision else { panic!("{decision:?}") };
        let found = harness.archive.order_of_key(&asked.drop_id, &asked.user_id, asked.key).await.expect("readable");
        let (archived, fingerprint) = found.expect("archived");
        assert_eq!((&archived.order, fingerprint), (order, asked.fingerprint));
    }
    let decision = harness.order(drop, "new", "key").await;
    let Ok(Decision::Purged(asked)) = decision else { panic!("{decision:?}") };
    let found = harness.archive.order_of_key(&asked.drop_id, &asked.user_id, asked.key).await;
    assert_eq!(found.expect("readable"), None);
    assert!(!harness.engine.check_damage(harness.shard(), 0, 100).await.expect("readable").damaged);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drop_is_purged_when_it_has_been_kept_long_enough() {
    let harness = Harness::start().await;
    let (drop, orders) = sold(&harness, "kept").await;
    let mut keeps = Timekeeper::new(harness.engine.clone(), Arc::clone(&harness.archive), harness.settings.clone());
    while keeps.step().await.expect("fires") > 0 {}
    assert!(!harness.drop_now(&drop.id).await.purged, "a week is not over");

    let settings = WorkerSettings { purge_after: Duration::ZERO, ..harness.settings.clone() };
    let mut timekeeper = Timekeeper::new(harness.engine.clone(), Arc::clone(&harness.archive), settings);
    // The other one has moved the timer to when its week is over. That comes.
    harness.redis.cli(&["ZADD", "{s00}:timers", "0", "purge:kept"]);
    assert_eq!(timekeeper.step().await.expect("fires"), 1);
    assert_eq!(timekeeper.step().await.expect("finds nothing"), 0);
    let now = harness.drop_now(&drop.id).await;
    assert_eq!((now.purged, now.total_units, now.available_units, now.sold_units), (true, 7, 5, 2));
    assert_buried(&harness, &drop, &now, &orders).await;
    assert_eq!(harness.redis.cli(&["ZSCORE", "{s00}:timers", "purge:kept"]), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drop_that_the_archive_does_not_hold_yet_is_purged_later() {
    let harness = Harness::start().await;
    let drop = harness.open_with("behind", 1, 1, |drop| drop.cancellable_for_s = 0).await;
    harness.granted(&drop, "a").await;
    harness.engine.change_drop(&drop.id, &DropChange::Close(ClosedBy::Operator)).await.expect("closed");
    let settings = WorkerSettings { purge_after: Duration::ZERO, ..harness.settings.clone() };
    let mut timekeeper = Timekeeper::new(harness.engine.clone(), Arc::clone(&harness.archive), settings);
    while timekeeper.step().await.expect("fires") > 0 {}
    let refused = harness.engine.purge_drop(&drop.id, AT_ONCE).await;
    assert_eq!(refused, Ok(PurgeOutcome::Refused(PurgeRefusal::Unsettled)));
    harness.persist_all().await;
    // Its timer looks again after a while.
    while !harness.drop_now(&drop.id).await.purged {
        timekeeper.step().await.expect("fires");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    harness.persist_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_from_nothing_restores_only_the_tombstone() {
    let mut harness = Harness::start().await;
    let (drop, orders) = sold(&harness, "rebuilt").await;
    let beside = harness.open("beside", 3, 1).await;
    let stands = harness.granted(&beside, "a").await;
    let buried = purge(&harness, &drop).await;
    harness.persist_all().await;
    harness.redis.kill().await;
    harness.redis.wipe();
    harness.redis.restart().await;
    let report = harness.recover().await;
    assert_eq!((report.base, report.created_drops), (0, 2), "{report:?}");
    assert_buried(&harness, &drop, &buried, &orders).await;
    assert_eq!(harness.order(&beside, "a", "key").await, Ok(Decision::Replayed(stands)));
    let timers = harness.redis.cli(&["ZRANGE", "{s00}:timers", "0", "-1"]);
    assert!(!timers.contains(":rebuilt"), "{timers}");
    harness.assert_invariants(&beside).await;
    // It is not purged again.
    let again = harness.engine.purge_drop(&drop.id, AT_ONCE).await.expect("an outcome");
    assert!(matches!(again, PurgeOutcome::AlreadyPurged(_)), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_from_the_middle_of_the_sale_gets_the_tombstone_alone() {
    let mut harness = Harness::start().await;
    let drop = harness.open_with("middle", 5, 1, |drop| drop.cancellable_for_s = 0).await;
    harness.granted(&drop, "a").await;
    harness.persist_all().await;
    let saved = harness.save_files().await;
    harness.recover().await;
    harness.granted(&drop, "b").await;
    harness.engine.change_drop(&drop.id, &DropChange::Close(ClosedBy::Operator)).await.expect("closed");
    harness.persist_all().await;
    let buried = purge(&harness, &drop).await;
    harness.persist_all().await;
    harness.restore_files(&saved).await;
    let report = harness.recover().await;
    assert_eq!((report.wiped, report.applied_facts), (false, 3), "{report:?}");
    let orders = harness.archived_orders(&drop.id).await;
    assert_eq!(orders.len(), 2);
    assert_buried(&harness, &drop, &buried, &orders).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_from_before_the_purge_is_brought_up_to_it() {
    let mut harness = Harness::start().await;
    let (drop, orders) = sold(&harness, "before").await;
    let saved = harness.save_files().await;
    harness.recover().await;
    let buried = purge(&harness, &drop).await;
    harness.persist_all().await;
    harness.restore_files(&saved).await;
    let report = harness.recover().await;
    assert_eq!((report.wiped, report.applied_facts), (false, 1), "{report:?}");
    assert_buried(&harness, &drop, &buried, &orders).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_from_after_the_purge_keeps_it() {
    let mut harness = Harness::start().await;
    let (drop, orders) = sold(&harness, "after").await;
    let buried = purge(&harness, &drop).await;
    let saved = harness.save_files().await;
    harness.recover().await;
    let beside = harness.open("beside", 3, 1).await;
    harness.granted(&beside, "a").await;
    harness.persist_all().await;
    harness.restore_files(&saved).await;
    let report = harness.recover().await;
    assert!(!report.wiped && report.applied_facts > 0, "{report:?}");
    assert_buried(&harness, &drop, &buried, &orders).await;
    harness.assert_invariants(&beside).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_that_was_lost_before_it_was_archived_did_not_happen() {
    let mut harness = Harness::start().await;
    let (drop, orders) = sold(&harness, "lost").await;
    let saved = harness.save_files().await;
    harness.recover().await;
    purge(&harness, &drop).await;
    harness.restore_files(&saved).await;
    harness.recover().await;
    for order in &orders {
        let replayed = harness.order(&drop, order.user_id.as_str(), "key").await;
        assert_eq!(replayed, Ok(Decision::Replayed(order.clone())));
    }
    harness.assert_invariants(&drop).await;
    let buried = purge(&harness, &drop).await;
    harness.persist_all().await;
    assert_buried(&harness, &drop, &buried, &orders).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_key_of_a_tombstone_is_loss() {
    let harness = Harness::start().await;
    let (drop, orders) = sold(&harness, "stone").await;
    let buried = purge(&harness, &drop).await;
    harness.persist_all().await;
    for key in ["{s00}:drop:stone", "{s00}:drop:stone:users"] {
        assert_eq!(harness.redis.cli(&["DEL", key]), "1");
        assert!(harness.engine.check_damage(harness.shard(), 0, 100).await.expect("readable").damaged, "{key}");
        let asked = [(drop.id.clone(), UserDigest::of(&orders[0].user_id))];
        let read = harness.engine.user_grants(harness.shard(), &asked).await;
        assert_eq!(read, Err(EngineError::ShardRecovering), "{key}");
        assert!(harness.recover().await.wiped);
        assert_buried(&harness, &drop, &buried, &orders).await;
    }
}
