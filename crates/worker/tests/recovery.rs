//! Redis dies and comes back with less than the archive knows: no unit is sold twice, and replays find their orders.

mod support;

use std::time::Duration;

use stampede_domain::{CancelledBy, Closing, OrderStatus};
use stampede_engine::{Cancellation, Decision, DropChange, DropTerms, EngineError, OrderRef, Refusal, TimerKind};
use stampede_worker::{Reconciler, RecoveryError, Verdict, Watchman};
use support::Harness;

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_redis_is_fenced_until_it_is_recovered() {
    let mut harness = Harness::start().await;
    let drop = harness.open("fence", 2, 1).await;
    let order = harness.granted(&drop, "a").await;
    harness.redis.kill().await;
    harness.redis.restart().await;
    harness.token().await;
    let reading = harness.engine.read_drops(harness.shard(), std::slice::from_ref(&drop.id)).await;
    assert_eq!(reading.expect_err("fenced"), EngineError::ShardRecovering);
    let waiting = harness.order(&drop, "b", "key");
    let (decision, report) = tokio::join!(waiting, harness.recover());
    assert!(matches!(decision, Ok(Decision::Granted(_))), "an order waits for the fence to open: {decision:?}");
    assert_eq!(report.applied_facts, 0, "the append-only file had everything");
    assert_eq!(harness.order(&drop, "a", "key").await, Ok(Decision::Replayed(order)));
    harness.assert_invariants(&drop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_redis_is_rebuilt_from_the_archive() {
    let mut harness = Harness::start().await;
    let drop = harness.open("empty", 5, 2).await;
    let kept = harness.granted(&drop, "a").await;
    let cancelled = harness.granted(&drop, "b").await;
    let cancellation = harness.engine.cancel_order(&OrderRef::from(&cancelled), CancelledBy::Operator).await;
    assert_eq!(cancellation, Ok(Cancellation::Cancelled));
    harness.engine.change_drop(&drop.id, &DropChange::Pause).await.expect("paused");
    harness.engine.change_drop(&drop.id, &DropChange::Resume).await.expect("resumed");
    let key = stampede_domain::KeyDigest([1; 8]);
    let restock = DropChange::Restock { key, units: 2 };
    harness.engine.change_drop(&drop.id, &restock).await.expect("restocked");
    harness.persist_all().await;
    let before = harness.drop_now(&drop.id).await;

    harness.redis.stop().await;
    harness.redis.wipe();
    harness.redis.restart().await;
    let report = harness.recover().await;
    assert_eq!((report.base, report.wiped, report.holes), (0, false, 0));

    let after = harness.drop_now(&drop.id).await;
    assert!(after.version > before.version);
    let at = |drop: &stampede_engine::LiveDrop| stampede_engine::LiveDrop {
        as_of: before.as_of,
        version: before.version,
        ..drop.clone()
    };
    assert_eq!(at(&after), at(&before));
    assert_eq!(harness.order(&drop, "a", "key").await, Ok(Decision::Replayed(kept)));
    let Ok(Decision::Replayed(replayed)) = harness.order(&drop, "b", "key").await else { panic!("not replayed") };
    assert_eq!((replayed.id, replayed.status), (cancelled.id, OrderStatus::Cancelled));
    let again = harness.engine.change_drop(&drop.id, &restock).await;
    assert!(
        matches!(again, Ok(stampede_engine::DropChangeOutcome::Unchanged(_))),
        "a restock's key is kept: {again:?}"
    );
    harness.assert_invariants(&drop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_with_an_older_file_sells_no_unit_twice() {
    let mut harness = Harness::start().await;
    let drop = harness.open("older", 3, 1).await;
    harness.granted(&drop, "a").await;
    let saved = save_files(&mut harness).await;
    harness.recover().await;
    let orders = [harness.granted(&drop, "b").await, harness.granted(&drop, "c").await];
    harness.persist_all().await;

    restore_files(&mut harness, &saved).await;
    let report = harness.recover().await;
    assert_eq!(report.applied_facts, 2, "{report:?}");
    assert_eq!(harness.order(&drop, "d", "key").await, Ok(Decision::Refused(Refusal::SoldOut)));
    for (order, user) in orders.into_iter().zip(["b", "c"]) {
        assert_eq!(harness.order(&drop, user, "key").await, Ok(Decision::Replayed(order)));
    }
    harness.assert_invariants(&drop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn units_that_were_held_come_back_held_or_released_as_they_were() {
    let mut harness = Harness::start().await;
    let holding = harness.open_with("holding", 1, 1, |drop| drop.hold_ms = 3_600_000).await;
    let released = harness.open_with("released", 1, 1, |drop| drop.hold_ms = 1).await;
    for drop in [&holding, &released] {
        let order = harness.granted(drop, "a").await;
        let cancelled = harness.engine.cancel_order(&OrderRef::from(&order), CancelledBy::Operator).await;
        assert_eq!(cancelled, Ok(Cancellation::Cancelled));
    }
    let parts = async |harness: &Harness, drop: &DropTerms| {
        let now = harness.drop_now(&drop.id).await;
        (now.available_units, now.held_units, now.sold_units)
    };
    assert_eq!(parts(&harness, &holding).await, (0, 1, 0));
    let bought = harness.granted(&released, "b").await;
    harness.persist_all().await;

    harness.redis.stop().await;
    harness.redis.wipe();
    harness.redis.restart().await;
    harness.recover().await;
    assert_eq!(parts(&harness, &holding).await, (0, 1, 0));
    assert_eq!(parts(&harness, &released).await, (0, 0, 1));
    assert_eq!(harness.order(&released, "b", "key").await, Ok(Decision::Replayed(bought)));
    let mut reconciler = Reconciler::new(harness.engine.clone(), harness.archive.clone(), harness.settings.clone());
    let report = reconciler.step().await;
    assert_eq!(report.verdict(), Verdict::Clean, "{report:?}");

    // Nobody is granted anything for as long as units are held, so the recovery need not know since when they are.
    let due = harness.engine.due_timers(harness.shard(), 10).await.expect("readable");
    assert!(due.iter().any(|timer| timer.kind == TimerKind::Release(holding.id.clone())), "{due:?}");
    harness.engine.change_drop(&holding.id, &DropChange::Release).await.expect("released");
    assert_eq!(parts(&harness, &holding).await, (1, 0, 0));
    let early = harness.engine.place_order(support::request(&holding, "c", "key"), Duration::ZERO).await;
    assert_eq!(early, Err(EngineError::ShardRecovering));
    harness.assert_invariants(&released).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_that_dies_after_any_step_is_followed_by_another() {
    let mut harness = Harness::start().await;
    let drop = harness.open("steps", 100, 1).await;
    let saved = save_files(&mut harness).await;
    harness.recover().await;
    for n in 0..5 {
        harness.granted(&drop, &format!("before-{n}")).await;
    }
    harness.persist_all().await;
    let mut steps = 1;
    loop {
        restore_files(&mut harness, &saved).await;
        let died = harness.recover_partly(steps).await;
        if died {
            assert!(!harness.engine.fenced_shards().await.expect("answers").is_empty(), "after {steps} steps");
            harness.recover().await;
        }
        assert_eq!(harness.drop_now(&drop.id).await.sold_units, 5, "after {steps} steps");
        if !died {
            break;
        }
        steps += 1;
    }
    assert!(steps > 6, "each step was the last one once");
    harness.assert_invariants(&drop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_recoveries_at_once_the_newer_wins_and_the_older_is_refused() {
    let mut harness = Harness::start().await;
    let drop = harness.open("race", 10, 1).await;
    let saved = save_files(&mut harness).await;
    harness.recover().await;
    for n in 0..4 {
        harness.granted(&drop, &format!("before-{n}")).await;
    }
    harness.persist_all().await;
    for seed in 0..8 {
        restore_files(&mut harness, &saved).await;
        let (mut one, mut two) = (harness.recovery().await, harness.recovery().await);
        for _ in 0..seed {
            one.step().await.expect("nobody else is there yet");
        }
        let (first, second) = tokio::join!(one.finish(), two_finish(&mut two));
        for failed in [first.err(), second.err()].into_iter().flatten() {
            assert!(matches!(failed, RecoveryError::Engine(EngineError::Superseded)), "{failed:?}");
        }
        if !harness.engine.fenced_shards().await.expect("answers").is_empty() {
            harness.recover().await;
        }
        assert_eq!(harness.drop_now(&drop.id).await.sold_units, 4);
    }
    harness.assert_invariants(&drop).await;
}

async fn two_finish(recovery: &mut stampede_worker::Recovery) -> Result<(), RecoveryError> {
    while recovery.step().await? != stampede_worker::RecoveryStep::Done {}
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stopped_persister_writes_late_is_an_orphan() {
    let mut harness = Harness::start().await;
    let drop = harness.open("late", 10, 1).await;
    harness.persist_all().await;
    let saved = save_files(&mut harness).await;
    harness.recover().await;
    let confirmed = harness.granted(&drop, "archived").await;
    harness.persist_all().await;
    let late = harness.granted(&drop, "late").await;
    // A persister has read the entry and is stopped before it writes.
    let entries = harness.engine.read_untrusted_log(harness.shard(), None, 10).await.expect("readable");
    let facts: Vec<_> = entries.iter().flat_map(|entry| entry.facts().expect("readable")).collect();
    let later = harness.granted(&drop, "later").await;
    let entries = harness.engine.read_untrusted_log(harness.shard(), None, 10).await.expect("readable");
    let facts_later: Vec<_> = entries.last().expect("an entry").facts().expect("readable");
    harness.archive.insert_facts(&facts_later).await.expect("inserted");

    restore_files(&mut harness, &saved).await;
    let report = harness.recover().await;
    assert_eq!(report.holes, 1, "the entry that the stopped persister holds: {report:?}");
    harness.archive.insert_facts(&facts).await.expect("the archive takes it, late");

    assert!(harness.archive.order(confirmed.id).await.expect("readable").is_some());
    assert!(harness.archive.order(later.id).await.expect("readable").is_some());
    assert_eq!(harness.archive.order(late.id).await.expect("readable"), None, "never confirmed again");
    assert!(matches!(harness.order(&drop, "late", "key").await, Ok(Decision::Granted(_))), "the unit is free");
    assert_eq!(harness.drop_now(&drop.id).await.sold_units, 3);
    // Another restart: the orphan stays one.
    restore_files(&mut harness, &saved).await;
    harness.recover().await;
    assert_eq!(harness.archive.order(late.id).await.expect("readable"), None);
    harness.assert_invariants(&drop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_of_a_branch_that_was_cut_off_is_rebuilt() {
    let mut harness = Harness::start().await;
    let drop = harness.open("branch", 3, 1).await;
    harness.persist_all().await;
    let fork = save_files(&mut harness).await;
    harness.recover().await;
    // The branch: a grant that never reached the archive.
    let lost = harness.granted(&drop, "on-the-branch").await;
    let branch = save_files(&mut harness).await;

    restore_files(&mut harness, &fork).await;
    harness.recover().await;
    let kept = [harness.granted(&drop, "a").await, harness.granted(&drop, "b").await];
    harness.persist_all().await;

    restore_files(&mut harness, &branch).await;
    let report = harness.recover().await;
    assert!(report.wiped, "{report:?}");
    let now = harness.drop_now(&drop.id).await;
    assert_eq!((now.sold_units, now.available_units), (2, 1));
    assert_eq!(harness.archive.order(lost.id).await.expect("readable"), None);
    for (order, user) in kept.into_iter().zip(["a", "b"]) {
        assert_eq!(harness.order(&drop, user, "key").await, Ok(Decision::Replayed(order)));
    }
    harness.assert_invariants(&drop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_key_is_noticed_and_loses_no_order_that_was_not_archived_yet() {
    let harness = Harness::start().await;
    let drop = harness.open("deleted", 3, 1).await;
    let archived = harness.granted(&drop, "a").await;
    harness.persist_all().await;
    let logged = harness.granted(&drop, "b").await;
    let mut watchman = watchman(&harness);
    assert_eq!(watchman.step().await.expect("looks"), vec![]);
    harness.redis.cli(&["DEL", "{s00}:drop:deleted:users"]);
    let recovered = watchman.step().await.expect("recovers");
    assert!(recovered[0].1.wiped, "{recovered:?}");
    assert_eq!(harness.order(&drop, "a", "key").await, Ok(Decision::Replayed(archived)));
    assert_eq!(harness.order(&drop, "b", "key").await, Ok(Decision::Replayed(logged)));
    harness.assert_invariants(&drop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_meta_key_loses_no_order_that_was_not_archived_yet() {
    let harness = Harness::start().await;
    let drop = harness.open("meta", 3, 1).await;
    let archived = harness.granted(&drop, "a").await;
    harness.persist_all().await;
    let logged = harness.granted(&drop, "b").await;
    harness.redis.cli(&["DEL", "{s00}:meta"]);
    let report = harness.recover().await;
    assert!(report.wiped, "{report:?}");
    assert_eq!(harness.order(&drop, "a", "key").await, Ok(Decision::Replayed(archived)));
    assert_eq!(harness.order(&drop, "b", "key").await, Ok(Decision::Replayed(logged)));
    harness.assert_invariants(&drop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_that_was_raised_and_given_up_does_not_keep_the_log_from_draining() {
    let harness = Harness::start().await;
    let drop = harness.open("given-up", 3, 1).await;
    // A recovery dies before it has told Redis anything.
    let raised = harness.archive.raise_epoch(harness.shard()).await.expect("raised");
    harness.granted(&drop, "a").await;
    let mut watchman = watchman(&harness);
    let recovered = loop {
        let recovered = watchman.step().await.expect("looks");
        if !recovered.is_empty() {
            break recovered;
        }
        tokio::time::sleep(harness.settings.takeover_after / 10).await;
    };
    assert_eq!((recovered[0].1.epoch.0, recovered[0].1.applied_facts), (raised.0 + 1, 0));
    harness.assert_invariants(&drop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_after_which_another_was_recovered_is_left_alone() {
    let harness = Harness::start().await;
    let drop = harness.open("stale", 3, 1).await;
    harness.granted(&drop, "a").await;
    harness.persist_all().await;
    let shard = harness.shard();
    let epoch = harness.archive.raise_epoch(shard).await.expect("raised");
    let closing = Closing { shard, epoch, base: 2, through: 2, holes: Vec::new(), void: false };
    harness.archive.close_epoch(&closing).await.expect("closed");
    let mut watchman = watchman(&harness);
    for _ in 0..5 {
        assert_eq!(watchman.step().await.expect("looks"), vec![]);
        tokio::time::sleep(harness.settings.takeover_after / 2).await;
    }
    assert_eq!(harness.archive.epoch(shard).await.expect("readable"), epoch);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_brought_back_in_time_was_not_lost() {
    let mut harness = Harness::start().await;
    harness.settings.loss_patience = Duration::from_secs(60);
    let drop = harness.open("away", 3, 1).await;
    let order = harness.granted(&drop, "a").await;
    let mut watchman = watchman(&harness);
    for key in ["{s00}:drop:away:users", "{s00}:log"] {
        harness.redis.cli(&["RENAME", key, "away"]);
        for _ in 0..3 {
            assert_eq!(watchman.step().await.expect("looks"), vec![]);
        }
        harness.redis.cli(&["RENAME", "away", key]);
        assert_eq!(watchman.step().await.expect("looks"), vec![]);
    }
    assert_eq!(harness.order(&drop, "a", "key").await, Ok(Decision::Replayed(order)));
    harness.assert_invariants(&drop).await;
}

fn watchman(harness: &Harness) -> Watchman {
    Watchman::new(harness.engine.clone(), std::sync::Arc::clone(&harness.archive), harness.settings.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drop_that_is_lost_whole_is_not_opened_as_new() {
    let harness = Harness::start().await;
    let drop = harness.open("whole", 3, 1).await;
    let archived = harness.granted(&drop, "a").await;
    harness.persist_all().await;
    let unsold = harness.open("unsold", 4, 1).await;
    harness.redis.cli(&["DEL", "{s00}:drop:whole", "{s00}:drop:whole:users"]);
    harness.redis.cli(&["SREM", "{s00}:drops", "whole"]);
    let report = harness.recover().await;
    assert!(report.wiped, "an entry that Redis went past made the drop: {report:?}");
    assert_eq!(harness.order(&drop, "a", "key").await, Ok(Decision::Replayed(archived)));
    assert_eq!(harness.drop_now(&drop.id).await.available_units, 2);
    assert_eq!(harness.drop_now(&unsold.id).await.available_units, 4);
    harness.assert_invariants(&drop).await;
}

/// Stops Redis in order, keeps a copy of its files, and starts it again.
async fn save_files(harness: &mut Harness) -> tempfile::TempDir {
    let saved = tempfile::TempDir::new().expect("a temporary folder");
    harness.redis.stop().await;
    harness.redis.copy_files_to(saved.path());
    harness.redis.restart().await;
    saved
}

/// Kills Redis and brings it back with the files of `saved`.
async fn restore_files(harness: &mut Harness, saved: &tempfile::TempDir) {
    harness.redis.kill().await;
    harness.redis.restore_files_from(saved.path());
    harness.redis.restart().await;
}
