//! Redis and the archive are compared while a sale runs: no false alarm, and no damage that goes unseen.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stampede_archive::{DriftKind, Reconciliation};
use stampede_domain::{
    CancelledBy, ClosedBy, DropId, Fact, FactBody, KeyDigest, LogId, Position, Timestamp, UserDigest, Window,
};
use stampede_engine::{Decision, DropChange, DropTerms, OrderRef, PurgeOutcome, PurgeTerms};
use stampede_testkit::{MongoServer, Proxy};
use stampede_worker::{ReconcileError, ReconcileReport, Reconciler, Unknown, Verdict, WorkerSettings};
use support::{Harness, request};

fn reconciler(harness: &Harness) -> Reconciler {
    Reconciler::new(harness.engine.clone(), Arc::clone(&harness.archive), harness.settings.clone())
}

/// The only drop of a report.
fn only(report: &ReconcileReport) -> &Reconciliation {
    assert_eq!(report.shards.len(), 1);
    assert!(report.shards[0].failed.is_none(), "{report:?}");
    assert_eq!(report.shards[0].drops.len(), 1, "{report:?}");
    &report.shards[0].drops[0]
}

/// What differs: kinds and units.
fn drift(report: &ReconcileReport) -> Vec<(DriftKind, u64)> {
    only(report).drift.iter().map(|drift| (drift.kind, drift.units)).collect()
}

/// A drop with two users' orders, one of two units and one of one, all archived.
async fn sold(harness: &Harness) -> Arc<DropTerms> {
    let drop = harness.open("demo", 10, 3).await;
    let mut pair = request(&drop, "ann", "key");
    pair.units = 2;
    let granted = harness.engine.place_order(pair, Duration::from_secs(3)).await;
    assert!(matches!(granted, Ok(Decision::Granted(_))), "{granted:?}");
    harness.granted(&drop, "bob").await;
    harness.persist_all().await;
    drop
}

/// Changes a user's record in Redis: the body of a function of the old one.
fn edit_record(harness: &Harness, user: &str, body: &str) {
    let digest = UserDigest::of(&user.parse().expect("a user id")).to_string();
    let script = format!(
        "local user = string.gsub(ARGV[1], '..', function(hex) return string.char(tonumber(hex, 16)) end)
         local record = redis.call('HGET', KEYS[1], user)
         local function edit(record) {body} end
         local edited = edit(record)
         if edited then redis.call('HSET', KEYS[1], user, edited) else redis.call('HDEL', KEYS[1], user) end
         return 'edited'"
    );
    let edited = harness.redis.cli(&["EVAL", &script, "1", "{s00}:drop:demo:users", &digest]);
    assert_eq!(edited, "edited");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_sale_is_clean_however_often_it_is_looked_at_while_it_runs() {
    let harness = Harness::start().await;
    let drops = [harness.open("one", 100_000, 3).await, harness.open("two", 40, 2).await];
    let stop = AtomicBool::new(false);
    let persist = async {
        let mut persister = harness.persister();
        while !stop.load(Ordering::Relaxed) {
            persister.step().await.expect("archived");
            tokio::time::sleep(harness.settings.poll_min).await;
        }
    };
    let sell = async |seller: u32| {
        let mut round = 0;
        while !stop.load(Ordering::Relaxed) {
            round += 1;
            for drop in &drops {
                let user = format!("user-{seller}-{}", round % 100);
                let decision = harness.order(drop, &user, &format!("key-{round}")).await.expect("decided");
                if let Decision::Granted(order) = decision
                    && round % 3 == 0
                {
                    let order = OrderRef::from(&order);
                    harness.engine.cancel_order(&order, CancelledBy::Operator).await.expect("cancelled");
                }
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let operate = async {
        let mut round: u8 = 0;
        while !stop.load(Ordering::Relaxed) {
            round = round.wrapping_add(1);
            let restock = DropChange::Restock { key: KeyDigest([round; 8]), units: 3 };
            let ends_at = Some(Some(Timestamp::MAX.plus_ms(-i64::from(round))));
            let amend = DropChange::Amend { starts_at: None, ends_at, limit_per_user: None };
            // As a request does it: first the window that is kept, then the drop's.
            let window = Window { ends_at: ends_at.flatten(), ..harness.drop_now(&drops[1].id).await.window };
            harness.archive.change_window(&drops[1].sku, &drops[1].id, &window).await.expect("kept");
            for change in [restock, DropChange::Pause, amend, DropChange::Resume] {
                harness.engine.change_drop(&drops[1].id, &change).await.expect("changed");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let look = async {
        let settings = WorkerSettings {
            reconcile_users: 300,
            reconcile_patience: Duration::from_secs(30),
            reconcile_window_after: Duration::from_millis(20),
            reconcile_whole_every: Duration::from_millis(200),
            ..harness.settings.clone()
        };
        let mut one = Reconciler::new(harness.engine.clone(), Arc::clone(&harness.archive), settings.clone());
        let mut other = Reconciler::new(harness.engine.clone(), Arc::clone(&harness.archive), settings);
        let (mut users, mut facts) = (0, 0);
        for _ in 0..20 {
            let (first, second) = tokio::join!(one.step(), other.step());
            for report in [first, second, one.whole(None).await] {
                assert_eq!(report.verdict(), Verdict::Clean, "{report:?}");
                for drop in &report.shards[0].drops {
                    users += drop.users_checked;
                    facts = facts.max(drop.number);
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
        (users, facts)
    };
    let (_, _, _, _, (users, facts)) = tokio::join!(persist, sell(0), sell(1), operate, look);
    assert!(users > 100 && facts > 100, "it was no sale: {users} users, {facts} entries");
    for drop in &drops {
        harness.assert_invariants(drop).await;
        let stocks = harness
            .archive
            .stocks(harness.engine.shard_of(&drop.id), std::slice::from_ref(&drop.id))
            .await
            .expect("readable");
        assert_eq!(stocks.len(), 1);
        let records = harness.archive.reconciliations(&drop.id, 100).await.expect("readable");
        assert!(records.len() == 20, "one of each whole look, and no more than are kept: {}", records.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_that_was_changed_in_redis_is_found_at_once() {
    let harness = Harness::start().await;
    sold(&harness).await;
    let mut reconciler = reconciler(&harness);
    assert_eq!(reconciler.step().await.verdict(), Verdict::Clean);
    for (field, by, expected) in [
        ("available", "3", vec![(DriftKind::Sum, 3), (DriftKind::Available, 3)]),
        ("sold", "-2", vec![(DriftKind::Sum, 2), (DriftKind::Sold, 2)]),
        ("held", "1", vec![(DriftKind::Sum, 1), (DriftKind::Held, 1)]),
        ("total", "4", vec![(DriftKind::Sum, 4), (DriftKind::Total, 4)]),
        ("limit_per_user", "5", vec![(DriftKind::Limit, 0)]),
        ("ends_ms", "9000000000000", vec![(DriftKind::Window, 0)]),
    ] {
        let before = harness.redis.cli(&["HGET", "{s00}:drop:demo", field]);
        harness.redis.cli(&["HINCRBY", "{s00}:drop:demo", field, by]);
        if field == "ends_ms" {
            harness.redis.cli(&["HSET", "{s00}:drop:demo", field, by]);
        }
        assert_eq!(drift(&reconciler.step().await), expected, "{field}");
        assert_eq!(drift(&reconciler.whole(None).await), expected, "{field}");
        harness.redis.cli(&["HSET", "{s00}:drop:demo", field, &before]);
        assert_eq!(reconciler.step().await.verdict(), Verdict::Clean, "{field} is as it was");
    }
    harness.redis.cli(&["HSET", "{s00}:drop:demo", "state", "ended"]);
    assert_eq!(drift(&reconciler.step().await), [(DriftKind::State, 0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_record_that_was_changed_is_found_with_its_units() {
    // Byte 24 and 25 of a record are its units, 21 to 23 end the fingerprint, 26 and 27 are state and index.
    let set = |at: usize, byte: u8| {
        format!("return string.sub(record, 1, {}) .. string.char({byte}) .. string.sub(record, {})", at, at + 2)
    };
    for (user, body, expected) in [
        ("ann", "return nil".to_owned(), vec![(DriftKind::Unrecorded, 2)]),
        ("ann", set(25, 3), vec![(DriftKind::Altered, 3)]),
        ("bob", set(23, 77), vec![(DriftKind::Altered, 1)]),
        ("bob", set(26, 4), vec![(DriftKind::Altered, 1)]),
        ("bob", "return record .. record".to_owned(), vec![(DriftKind::Keys, 1)]),
        // Another epoch makes another order of it: one that nobody granted. The one that was granted is gone.
        ("ann", set(11, 9), vec![(DriftKind::Missing, 2), (DriftKind::Unrecorded, 2)]),
        ("bob", set(25, 7), vec![(DriftKind::Altered, 7), (DriftKind::Limits, 4)]),
    ] {
        let harness = Harness::start().await;
        sold(&harness).await;
        let mut rounds = reconciler(&harness);
        assert_eq!(rounds.step().await.verdict(), Verdict::Clean);
        edit_record(&harness, user, &body);
        let report = reconciler(&harness).whole(None).await;
        assert_eq!(drift(&report), expected, "{user}: {body}");
        assert_eq!(drift(&rounds.step().await), expected, "a round finds it too: {user}: {body}");
        let records = harness.archive.reconciliations(&only(&report).drop_id, 1).await.expect("readable");
        assert!(!records[0].is_clean(), "{records:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fact_that_was_deleted_changed_or_added_is_found_with_its_units() {
    let harness = Harness::start().await;
    let drop = sold(&harness).await;
    let mut rounds = reconciler(&harness);
    assert_eq!(rounds.step().await.verdict(), Verdict::Clean);
    let file = harness.archive_db();
    let whole = async || drift(&reconciler(&harness).whole(Some(&drop.id)).await);

    let facts = archived(&harness).await;
    file.execute("DELETE FROM grants WHERE orders LIKE '%\"ann\"%'", []).expect("deleted");
    let gone = vec![(DriftKind::Available, 2), (DriftKind::Sold, 2), (DriftKind::Missing, 2)];
    assert_eq!(whole().await, gone);
    assert_eq!(drift(&rounds.step().await), [(DriftKind::Missing, 2)], "a round folds new facts, and looks at users");
    harness.archive.insert_facts(&facts).await.expect("inserted again");
    assert_eq!(whole().await, []);
    assert_eq!(drift(&rounds.step().await), [], "and takes it back when a pass finds it mended");

    file.execute("UPDATE grants SET orders = json_set(orders, '$[0][2]', 3) WHERE orders LIKE '%\"ann\"%'", [])
        .expect("changed");
    let changed = vec![(DriftKind::Available, 1), (DriftKind::Sold, 1), (DriftKind::Altered, 3)];
    assert_eq!(whole().await, changed);
    file.execute("UPDATE grants SET orders = json_set(orders, '$[0][2]', 2) WHERE orders LIKE '%\"ann\"%'", [])
        .expect("changed back");
    assert_eq!(whole().await, []);

    let granted = facts.iter().find(|fact| matches!(fact.body, FactBody::Granted(_))).expect("one");
    let mut added = granted.clone();
    let FactBody::Granted(grant) = &mut added.body else { panic!("a grant") };
    (grant.user_id, grant.units) = ("eve".parse().expect("a user id"), 1);
    added.position.index = 7;
    harness.archive.insert_facts(&[added]).await.expect("inserted");
    let extra = vec![(DriftKind::Available, 1), (DriftKind::Sold, 1), (DriftKind::Unrecorded, 1)];
    assert_eq!(whole().await, extra);
}

async fn archived(harness: &Harness) -> Vec<Fact> {
    let range = stampede_archive::FactRange { from_epoch: stampede_domain::Epoch(0), beyond_number: 0 };
    harness.archive.facts(harness.shard(), range, None, 1_000).await.expect("readable")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_that_never_was_is_found() {
    let harness = Harness::start().await;
    let drop = harness.open("demo", 5, 1).await;
    let order = harness.granted(&drop, "ann").await;
    harness.engine.cancel_order(&OrderRef::from(&order), CancelledBy::Shopper).await.expect("cancelled");
    harness.persist_all().await;
    assert_eq!(reconciler(&harness).whole(None).await.verdict(), Verdict::Clean);
    harness.archive_db().execute("DELETE FROM events WHERE kind = 'cancelled'", []).expect("deleted");
    let found = drift(&reconciler(&harness).whole(None).await);
    assert_eq!(found, [(DriftKind::Available, 1), (DriftKind::Sold, 1), (DriftKind::Altered, 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_archive_is_behind_there_is_no_verdict() {
    let mut harness = Harness::start().await;
    harness.settings.reconcile_patience = Duration::from_millis(20);
    let drop = sold(&harness).await;
    let mut reconciler = reconciler(&harness);
    assert_eq!(reconciler.step().await.verdict(), Verdict::Clean);
    harness.granted(&drop, "cid").await;
    let report = reconciler.step().await;
    assert_eq!(report.verdict(), Verdict::Unknown);
    assert!(matches!(report.shards[0].failed, Some(ReconcileError::Behind { .. })), "{report:?}");
    harness.persist_all().await;
    assert_eq!(reconciler.step().await.verdict(), Verdict::Clean);
    harness.redis.kill().await;
    harness.redis.restart().await;
    harness.token().await;
    assert_eq!(reconciler.step().await.verdict(), Verdict::Unknown, "fenced");
    harness.recover().await;
    assert_eq!(reconciler.step().await.verdict(), Verdict::Clean);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_archive_is_away_there_is_no_verdict() {
    let database = MongoServer::shared().database("reconcile").url;
    let port = database.rsplit_once(':').and_then(|(_, rest)| rest.split_once('/')).expect("a port").0;
    let proxy = Proxy::start(port.parse().expect("a number")).await;
    let name = database.rsplit('/').next().and_then(|name| name.split('?').next()).expect("a name");
    let url = format!(
        "mongodb://127.0.0.1:{}/{name}?directConnection=true&serverSelectionTimeoutMS=500&connectTimeoutMS=500",
        proxy.port()
    );
    let harness = Harness::start_on(tempfile::tempdir().expect("a temporary folder"), &url).await;
    sold(&harness).await;
    let mut reconciler = reconciler(&harness);
    assert_eq!(reconciler.whole(None).await.verdict(), Verdict::Clean);
    proxy.refuse(true);
    proxy.cut();
    let report = reconciler.step().await;
    assert_eq!(report.verdict(), Verdict::Unknown);
    assert!(matches!(report.shards[0].failed, Some(ReconcileError::Archive(_))), "{report:?}");
    proxy.refuse(false);
    // The driver finds its way back in its own time.
    let mut report = reconciler.step().await;
    while report.verdict() == Verdict::Unknown {
        report = reconciler.step().await;
    }
    assert_eq!(report.verdict(), Verdict::Clean, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_recovery_with_holes_it_is_clean_and_counts_the_orphans() {
    let mut harness = Harness::start().await;
    let drop = harness.open("demo", 10, 1).await;
    harness.persist_all().await;
    let mut rounds = reconciler(&harness);
    assert_eq!(rounds.step().await.verdict(), Verdict::Clean);
    let saved = tempfile::TempDir::new().expect("a temporary folder");
    harness.redis.stop().await;
    harness.redis.copy_files_to(saved.path());
    harness.redis.restart().await;
    harness.recover().await;
    // Its fact is held back by a persister that was stopped; the fact that cancels it is archived, and so is the next order.
    let late = harness.granted(&drop, "late").await;
    let held_back = last_facts(&harness).await;
    harness.engine.cancel_order(&OrderRef::from(&late), CancelledBy::Operator).await.expect("cancelled");
    harness.archive.insert_facts(&last_facts(&harness).await).await.expect("inserted");
    harness.granted(&drop, "kept").await;
    harness.archive.insert_facts(&last_facts(&harness).await).await.expect("inserted");
    harness.redis.kill().await;
    harness.redis.restore_files_from(saved.path());
    harness.redis.restart().await;
    let report = harness.recover().await;
    assert_eq!((report.holes, report.applied_facts), (1, 2), "{report:?}");
    harness.persist_all().await;
    let report = rounds.step().await;
    assert_eq!((report.verdict(), report.shards[0].orphans), (Verdict::Clean, 0), "{report:?}");

    harness.archive.insert_facts(&held_back).await.expect("inserted, late");
    harness.granted(&drop, "next").await;
    harness.persist_all().await;
    for report in [rounds.step().await, reconciler(&harness).step().await, reconciler(&harness).whole(None).await] {
        assert_eq!((report.verdict(), report.shards[0].orphans), (Verdict::Clean, 1), "{report:?}");
        assert_eq!(only(&report).archive.sold, 2);
    }
}

/// The facts of the last entry in the log.
async fn last_facts(harness: &Harness) -> Vec<Fact> {
    let entries = harness.engine.read_untrusted_log(harness.shard(), None, 100).await.expect("readable");
    entries.last().expect("an entry").facts().expect("readable")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_goes_on_from_the_stock_that_the_archive_keeps() {
    let harness = Harness::start().await;
    let drop = sold(&harness).await;
    assert_eq!(reconciler(&harness).step().await.verdict(), Verdict::Clean);
    let kept = harness
        .archive
        .stocks(harness.engine.shard_of(&drop.id), std::slice::from_ref(&drop.id))
        .await
        .expect("readable")
        .remove(0);
    assert_eq!((kept.stock.sold_units, kept.stock.granted_orders), (3, 2));
    // Another process would not read what lies before it: a fact that was lost there shows only to a whole look.
    harness.archive_db().execute("DELETE FROM events WHERE kind = 'opened'", []).expect("deleted");
    harness
        .archive_db()
        .execute("UPDATE grants SET orders = json_set(orders, '$[0][2]', 9) WHERE orders LIKE '%\"bob\"%'", [])
        .expect("changed");
    harness.granted(&drop, "cid").await;
    harness.persist_all().await;
    let found = drift(&reconciler(&harness).step().await);
    assert_eq!(found, [(DriftKind::Altered, 9)], "the stock is right, bob's order is not");
    let again = harness
        .archive
        .stocks(harness.engine.shard_of(&drop.id), std::slice::from_ref(&drop.id))
        .await
        .expect("readable")
        .remove(0);
    assert!(again.number > kept.number, "{again:?}");
    assert_eq!(again.stock.sold_units, 4);
    // A stock that is wrong itself is no drift: it is folded again.
    harness
        .archive_db()
        .execute("UPDATE grants SET orders = json_set(orders, '$[0][2]', 1) WHERE orders LIKE '%\"bob\"%'", [])
        .expect("changed back");
    let mut wrong = again.clone();
    wrong.stock.sold_units = 7;
    harness.archive.put_stocks(&[wrong]).await.expect("written");
    assert_eq!(reconciler(&harness).step().await.verdict(), Verdict::Clean);
    let mended = harness
        .archive
        .stocks(harness.engine.shard_of(&drop.id), std::slice::from_ref(&drop.id))
        .await
        .expect("readable")
        .remove(0);
    assert_eq!(mended.stock, again.stock);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_whose_change_died_halfway_is_put_right() {
    let mut harness = Harness::start().await;
    harness.settings.reconcile_window_after = Duration::from_millis(1);
    let drop = harness.open("demo", 5, 1).await;
    harness.persist_all().await;
    let live = harness.drop_now(&drop.id).await.window;
    let change = async |window: Window| harness.archive.change_window(&drop.sku, &drop.id, &window).await;
    let narrow = Window { ends_at: Some(Timestamp::now().plus_ms(1_000_000)), ..live };
    change(narrow).await.expect("the archive is told, and then the process dies");
    let mut reconciler = reconciler(&harness);
    let first = reconciler.step().await;
    assert_eq!((first.verdict(), first.shards[0].windows_repaired.len()), (Verdict::Clean, 0), "it may be under way");
    tokio::time::sleep(Duration::from_millis(2)).await;
    let second = reconciler.step().await;
    assert_eq!((second.verdict(), &second.shards[0].windows_repaired[..]), (Verdict::Clean, &[drop.id.clone()][..]));
    let kept = async || harness.archive.drop_record(&drop.id).await.expect("readable").expect("there").window;
    assert_eq!(kept().await, live);

    // Where another drop has taken the time meanwhile, somebody has to decide.
    change(narrow).await.expect("changed");
    let mut other = support::definition("other", 1, 1);
    other.sku = drop.sku.clone();
    other.window = Window { starts_at: Timestamp::now().plus_ms(2_000_000), ends_at: None };
    harness.archive.define_drop(&other).await.expect("defined");
    let report = reconciler.whole(Some(&drop.id)).await;
    assert_eq!(report.verdict(), Verdict::Drift);
    assert_eq!(drift(&report), [(DriftKind::KeptWindow, 0)]);
    assert_eq!(kept().await, narrow, "left as it is");
}

#[tokio::test(flavor = "multi_thread")]
async fn drops_that_are_over_are_as_sound_as_others() {
    let harness = Harness::start().await;
    let drop = sold(&harness).await;
    harness.engine.change_drop(&drop.id, &DropChange::Close(ClosedBy::Operator)).await.expect("closed");
    harness.engine.change_drop(&drop.id, &DropChange::CallOff).await.expect("called off");
    harness.persist_all().await;
    assert_eq!(reconciler(&harness).whole(None).await.verdict(), Verdict::Clean);
    let unknown: DropId = "unknown".parse().expect("an id");
    let report = reconciler(&harness).whole(Some(&unknown)).await;
    assert!(report.shards.iter().all(|shard| shard.drops.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_purged_drop_the_totals_are_compared_and_no_users() {
    let harness = Harness::start().await;
    let drop = harness.open_with("demo", 10, 3, |drop| drop.cancellable_for_s = 0).await;
    harness.granted(&drop, "ann").await;
    harness.granted(&drop, "bob").await;
    let piece = harness.engine.cut_users(harness.engine.shard_of(&drop.id), &drop.id, 0, 10).await.expect("readable");
    assert_eq!(piece.expect("not purged").users.len(), 2);
    harness.engine.change_drop(&drop.id, &DropChange::Close(ClosedBy::Operator)).await.expect("closed");
    harness.persist_all().await;
    let terms = PurgeTerms { keep_for: Duration::ZERO, look_again: None };
    let purged = harness.engine.purge_drop(&drop.id, terms).await.expect("decided");
    assert!(matches!(purged, PurgeOutcome::Purged(_)), "{purged:?}");
    harness.persist_all().await;
    assert!(
        harness.engine.cut_users(harness.engine.shard_of(&drop.id), &drop.id, 0, 10).await.expect("readable").is_none()
    );
    assert_eq!(reconciler(&harness).whole(None).await.verdict(), Verdict::Clean);
    harness.redis.cli(&["HINCRBY", "{s00}:drop:demo", "sold", "1"]);
    assert_eq!(reconciler(&harness).whole(None).await.verdict(), Verdict::Drift, "its figures still count");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_a_dead_letter_is_no_drift_and_neither_is_its_compensation() {
    let harness = Harness::start().await;
    let drop = harness.open("demo", 10, 3).await;
    harness.archive_file().refuse_orders_of("eve");
    let refused = harness.granted(&drop, "eve").await;
    harness.granted(&drop, "ann").await;
    harness.persist_all().await;
    assert_eq!(reconciler(&harness).whole(None).await.verdict(), Verdict::Clean, "it is owed as any other");
    let letter = harness.engine.dead_order(refused.id).await.expect("readable").expect("a letter");
    harness.engine.compensate_letter(&letter).await.expect("given back");
    harness.persist_all().await;
    assert_eq!(harness.drop_now(&drop.id).await.sold_units, 1);
    assert_eq!(reconciler(&harness).whole(None).await.verdict(), Verdict::Clean, "and once it is given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_in_the_log_are_no_drift() {
    // A shard whose number is far on, as after years, with a drop that was opened just now.
    let harness = Harness::start().await;
    let last = LogId { ms: 9_000_000_000_000, sequence: 0 };
    for (field, value) in [("number", "70000000000"), ("last_ms", &last.ms.to_string()), ("last_sequence", "0")] {
        harness.redis.cli(&["HSET", "{s00}:meta", field, value]);
    }
    harness.redis.cli(&["XSETID", "{s00}:log", &last.to_string()]);
    sold(&harness).await;
    let report = reconciler(&harness).whole(None).await;
    assert_eq!(report.verdict(), Verdict::Clean, "{report:?}");
    let at: Position = archived(&harness).await[0].position;
    assert_eq!((at.log_id.ms, only(&report).number), (last.ms, 70_000_000_003));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_older_than_redis_is_found_by_its_drops_and_its_epochs() {
    let mut harness = Harness::start().await;
    let early = harness.open("early", 10, 3).await;
    harness.granted(&early, "ann").await;
    harness.persist_all().await;
    let backup = harness.archive_path().with_extension("backup");
    let copied = harness.archive_db().execute("VACUUM INTO ?1", [backup.to_str().expect("text")]);
    copied.expect("a backup");
    let of = |archive| Reconciler::new(harness.engine.clone(), archive, harness.settings.clone());
    let address = format!("sqlite:{}", backup.display()).parse().expect("an address");
    let older = stampede_archive::connect(&address).await.expect("opened");
    assert_eq!(of(Arc::clone(&older)).whole(None).await.verdict(), Verdict::Clean, "nothing has happened since");

    let late = harness.open("late", 10, 3).await;
    harness.granted(&late, "bob").await;
    harness.persist_all().await;
    let unknown = |epochs, drops: &[&str]| Unknown {
        epochs,
        drops: drops.len() as u64,
        named: drops.iter().map(|id| id.parse().expect("an id")).collect(),
    };
    let report = of(Arc::clone(&older)).whole(None).await;
    assert_eq!((report.verdict(), &report.shards[0].unknown), (Verdict::Drift, &unknown(0, &["late"])));
    let report = of(Arc::clone(&harness.archive)).whole(None).await;
    assert_eq!((report.verdict(), &report.shards[0].unknown), (Verdict::Clean, &Unknown::default()));

    harness.lose_redis().await;
    let report = Reconciler::new(harness.engine.clone(), older, harness.settings.clone()).step().await;
    assert_eq!((report.verdict(), &report.shards[0].unknown), (Verdict::Drift, &unknown(1, &["late"])));
}
