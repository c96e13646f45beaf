//! Purging drops: when one may be, and what its tombstone still answers.

use std::time::Duration;

use stampede_domain::{
    CancelledBy, ClosedBy, DropId, DropState, Epoch, FactBody, KeyDigest, LogId, Phase, Timestamp, Tombstone,
    UserDigest,
};
use stampede_engine::{
    Cancellation, Decision, DropChange, DropChangeOutcome, EntryReceipt, Keys, LiveDrop, LogEntry, Opening, OrderRef,
    PurgeOutcome, PurgeRefusal, PurgeTerms, TimerKind,
};

use crate::support::{Harness, WAIT, definition, join_in_order, request, until, user};

const AT_ONCE: PurgeTerms = PurgeTerms { keep_for: Duration::ZERO, look_again: None };
const A_DAY: PurgeTerms =
    PurgeTerms { keep_for: Duration::from_secs(86_400), look_again: Some(Duration::from_secs(1)) };

async fn purge(h: &Harness, id: &DropId, terms: PurgeTerms) -> PurgeOutcome {
    h.engine.purge_drop(id, terms).await.expect("an outcome")
}

/// Acknowledges all that is in the log.
async fn archive(h: &Harness) {
    let entries = h.engine.read_new(h.shard, "archive", 10_000).await.expect("readable").entries;
    let receipts: Vec<EntryReceipt> =
        entries.iter().map(|entry| entry.receipt(&entry.facts().expect("decodable"))).collect();
    h.engine.acknowledge(h.shard, Epoch(1), &receipts).await.expect("acknowledged");
}

async fn close(h: &Harness, id: &DropId) -> LiveDrop {
    match h.engine.change_drop(id, &DropChange::Close(ClosedBy::Operator)).await.expect("an outcome") {
        DropChangeOutcome::Changed(drop) => drop,
        other => panic!("not closed: {other:?}"),
    }
}

fn advance(h: &Harness, to: Timestamp) {
    h.set_last_id(LogId { ms: to.as_ms().cast_unsigned(), sequence: 0 });
}

/// When the drop's purge is due, if it has a timer.
fn timer(h: &Harness, id: &DropId) -> Option<i64> {
    h.redis().cli(&["ZSCORE", &h.keys.timers, &format!("purge:{id}")]).parse().ok()
}

pub async fn a_drop_is_purged_once_it_is_over_archived_and_not_cancellable(h: Harness) {
    let drop = h.open_with("kept", |drop| drop.cancellable_for_s = 60).await;
    let order = h.buy(&drop, "a", "k", 2).await;
    archive(&h).await;
    assert_eq!(purge(&h, &drop.id, AT_ONCE).await, PurgeOutcome::Refused(PurgeRefusal::NotOver));
    let over_at = close(&h, &drop.id).await.as_of;
    let PurgeOutcome::Refused(PurgeRefusal::TooEarly(due_at)) = purge(&h, &drop.id, AT_ONCE).await else {
        panic!("its shoppers may still cancel")
    };
    let fact = h.facts().await.pop().expect("the closing");
    assert_eq!(due_at, fact.position.log_id.time().plus_ms(60_000));
    assert!(due_at >= order.placed_at.plus_ms(60_000) && due_at <= over_at.plus_ms(60_000));
    advance(&h, due_at.plus_ms(-1));
    assert_eq!(purge(&h, &drop.id, AT_ONCE).await, PurgeOutcome::Refused(PurgeRefusal::TooEarly(due_at)));
    advance(&h, due_at);
    assert_eq!(purge(&h, &drop.id, AT_ONCE).await, PurgeOutcome::Refused(PurgeRefusal::Unsettled));
    archive(&h).await;
    let before = h.drop_now(&drop.id).await;

    let PurgeOutcome::Purged(now) = purge(&h, &drop.id, AT_ONCE).await else { panic!("it may be purged") };
    assert!(now.purged && now.version > before.version);
    assert_eq!(LiveDrop { purged: false, version: before.version, as_of: before.as_of, ..now.clone() }, before);
    let stone = Tombstone {
        state: DropState::Ended,
        window: before.window,
        limit_per_user: 2,
        total_units: 10,
        sold_units: 2,
        sent_units: 0,
        received_units: 0,
    };
    let facts = h.facts().await;
    assert_eq!((facts.len(), &facts[0].drop_id, &facts[0].body), (1, &drop.id, &FactBody::Purged(stone)));
    assert_eq!(h.engine.unsettled_drops(h.shard).await, Ok(vec![drop.id.clone()]), "a purge is a fact too");
    assert_eq!(h.redis().cli(&["HGETALL", &Keys::users(h.shard, &drop.id)]), "-\n1");
    assert_eq!(timer(&h, &drop.id), None);

    let PurgeOutcome::AlreadyPurged(again) = purge(&h, &drop.id, AT_ONCE).await else { panic!("once") };
    assert_eq!((again.version, h.facts().await.len()), (now.version, 1));
}

pub async fn a_drop_is_kept_as_long_as_its_timer_is_told(h: Harness) {
    let drop = h.open_with("day", |drop| drop.cancellable_for_s = 60).await;
    h.buy(&drop, "a", "k", 1).await;
    close(&h, &drop.id).await;
    let over_at = h.facts().await.pop().expect("the closing").position.log_id.time();
    assert_eq!(timer(&h, &drop.id), Some(over_at.as_ms()), "whoever fires it knows how long drops are kept");
    let due_at = over_at.plus_ms(86_400_000);
    assert_eq!(purge(&h, &drop.id, A_DAY).await, PurgeOutcome::Refused(PurgeRefusal::TooEarly(due_at)));
    assert_eq!(timer(&h, &drop.id), Some(due_at.as_ms()));
    // Somebody who only asks does not move it.
    assert!(matches!(purge(&h, &drop.id, AT_ONCE).await, PurgeOutcome::Refused(PurgeRefusal::TooEarly(_))));
    assert_eq!(timer(&h, &drop.id), Some(due_at.as_ms()));
    advance(&h, due_at);
    assert_eq!(purge(&h, &drop.id, A_DAY).await, PurgeOutcome::Refused(PurgeRefusal::Unsettled));
    assert_eq!(timer(&h, &drop.id), Some(due_at.as_ms() + 1_000), "it does not keep others' timers waiting");
    archive(&h).await;
    assert!(matches!(purge(&h, &drop.id, A_DAY).await, PurgeOutcome::Purged(_)));
}

pub async fn a_drop_that_was_called_off_is_purged_when_no_order_stands(h: Harness) {
    let drop = h.open("off", 10, 2).await;
    let order = h.buy(&drop, "a", "k", 2).await;
    h.engine.change_drop(&drop.id, &DropChange::CallOff).await.expect("called off");
    archive(&h).await;
    assert_eq!(purge(&h, &drop.id, AT_ONCE).await, PurgeOutcome::Refused(PurgeRefusal::OrdersStand));
    h.engine.cancel_order(&OrderRef::from(&order), CancelledBy::Drop).await.expect("cancelled");
    archive(&h).await;
    // Nothing is left that its shoppers could cancel, so there is nothing to wait for.
    let PurgeOutcome::Purged(now) = purge(&h, &drop.id, AT_ONCE).await else { panic!("it may be purged") };
    assert_eq!((now.phase(), now.available_units, now.sold_units), (Phase::Cancelled, 10, 0));
    assert!(
        !h.engine
            .due_timers(h.shard, 10)
            .await
            .expect("readable")
            .iter()
            .any(|timer| { timer.kind == TimerKind::Withdraw(drop.id.clone()) })
    );
}

pub async fn a_drop_with_facts_that_the_archive_refuses_is_kept(h: Harness) {
    let refused = h.open("refused", 1, 1).await;
    h.buy(&refused, "a", "k", 1).await;
    close(&h, &refused.id).await;
    // All but one order are acknowledged: the archive has not taken that one, however long ago that was.
    let entries = h.engine.read_new(h.shard, "archive", 100).await.expect("readable").entries;
    let is_refused = |entry: &&LogEntry| {
        let facts = entry.facts().expect("decodable");
        facts.iter().any(|fact| fact.drop_id == refused.id && fact.order().is_some())
    };
    let taken = entries.iter().filter(|entry| !is_refused(entry));
    let receipts: Vec<EntryReceipt> = taken.map(|entry| entry.receipt(&entry.facts().expect("decodable"))).collect();
    h.engine.acknowledge(h.shard, Epoch(1), &receipts).await.expect("acknowledged");
    advance(&h, h.drop_now(&refused.id).await.as_of.plus_ms(300_000));
    assert_eq!(purge(&h, &refused.id, AT_ONCE).await, PurgeOutcome::Refused(PurgeRefusal::Unsettled));
}

pub async fn a_tombstone_answers_for_its_drop(h: Harness) {
    let drop = h.open_with("stone", |drop| drop.cancellable_for_s = 0).await;
    let order = h.buy(&drop, "a", "k", 1).await;
    let restock = |units| DropChange::Restock { key: KeyDigest([7; 8]), units };
    h.engine.change_drop(&drop.id, &restock(5)).await.expect("restocked");
    close(&h, &drop.id).await;
    archive(&h).await;
    assert!(matches!(purge(&h, &drop.id, AT_ONCE).await, PurgeOutcome::Purged(_)));

    // An order is for the archive to answer, whether it was granted before or not; others of its group are decided.
    let live = h.open("live", 5, 5).await;
    let orders = vec![request(&drop, "a", "k", 1), request(&live, "a", "k", 1), request(&drop, "b", "k", 2)];
    let decisions = h.in_one_group(orders).await;
    for (at, buyer, units) in [(0, "a", 1), (2, "b", 2)] {
        let Ok(Decision::Purged(asked)) = &decisions[at] else { panic!("{:?}", decisions[at]) };
        let digest = UserDigest::of(&user(buyer));
        assert_eq!((&asked.drop_id, &asked.user_id, asked.phase), (&drop.id, &user(buyer), Phase::Ended));
        assert_eq!(asked.key, KeyDigest::of(digest, &"k".parse().expect("a key")));
        assert_eq!(asked.fingerprint, stampede_domain::Fingerprint::of(units, None));
    }
    assert!(matches!(&decisions[1], Ok(Decision::Granted(_))), "{:?}", decisions[1]);

    let cancelled = h.engine.cancel_order(&OrderRef::from(&order), CancelledBy::Operator).await;
    assert_eq!(cancelled, Ok(Cancellation::Purged));
    let asked = [(drop.id.clone(), UserDigest::of(&user("a")))];
    let found = h.engine.user_grants(h.shard, &asked).await.expect("readable").remove(0);
    let (terms, records) = found.grants.expect("the drop is there");
    assert_eq!((found.purged, &terms, records), (true, &*drop, vec![]));
    assert_eq!(h.engine.scan_users(h.shard, &drop.id, 0, 10).await.expect("readable").users, []);
    assert!(!h.engine.check_damage(h.shard, 0, 100).await.expect("readable").damaged);

    let before = h.drop_now(&drop.id).await;
    let amend = DropChange::Amend { starts_at: None, ends_at: Some(Some(Timestamp::MAX)), limit_per_user: None };
    for change in [DropChange::Pause, DropChange::Resume, DropChange::CallOff, restock(5), amend] {
        let outcome = h.engine.change_drop(&drop.id, &change).await.expect("an outcome");
        assert!(matches!(outcome, DropChangeOutcome::InvalidTransition(_)), "{change:?}: {outcome:?}");
    }
    for change in [DropChange::Start, DropChange::Close(ClosedBy::Operator), DropChange::Close(ClosedBy::Clock)] {
        let outcome = h.engine.change_drop(&drop.id, &change).await.expect("an outcome");
        assert!(matches!(outcome, DropChangeOutcome::Unchanged(_)), "{change:?}: {outcome:?}");
    }
    let reopened = h.engine.open_drop(&definition(drop.id.clone())).await;
    assert!(matches!(reopened, Ok(Opening::AlreadyOpen(_))), "never born again: {reopened:?}");
    let now = h.drop_now(&drop.id).await;
    assert_eq!((now.version, now.total_units, now.sold_units), (before.version, 15, 1));
    assert_eq!(timer(&h, &drop.id), None, "it is not to be purged again");
}

pub async fn a_large_drop_is_freed_in_the_background(h: Harness) {
    let drop = h.open("large", 5_000, 1).await;
    let users: Vec<String> = (0..3_000).map(|n| format!("user-{n}")).collect();
    for users in users.chunks(500) {
        let orders = users.iter().map(|user| h.engine.place_order(request(&drop, user, "k", 1), WAIT));
        for decision in join_in_order(orders.collect()).await {
            assert!(matches!(decision, Ok(Decision::Granted(_))), "{decision:?}");
        }
    }
    for n in 0..1_000u64 {
        let change = DropChange::Restock { key: KeyDigest(n.to_be_bytes()), units: 1 };
        h.engine.change_drop(&drop.id, &change).await.expect("restocked");
    }
    h.engine.change_drop(&drop.id, &DropChange::Close(ClosedBy::Operator)).await.expect("closed");
    archive(&h).await;
    let over = h.drop_now(&drop.id).await.as_of;
    advance(&h, over.plus_ms(300_000));
    let freed = |h: &Harness| -> u64 {
        let memory = h.redis().cli(&["INFO", "memory"]);
        let line = memory.lines().find_map(|line| line.strip_prefix("lazyfreed_objects:"));
        line.and_then(|count| count.trim().parse().ok()).expect("a number")
    };
    let before = freed(&h);
    let fields = |h: &Harness| h.redis().cli(&["HLEN", &Keys::drop(h.shard, &drop.id)]);
    assert!(fields(&h).parse::<u64>().is_ok_and(|fields| fields > 1_000));
    assert!(matches!(purge(&h, &drop.id, AT_ONCE).await, PurgeOutcome::Purged(_)));
    // A thread of Redis's own takes the 3,000 records away.
    until("the records are freed", async || freed(&h) > before).await;
    assert!(fields(&h).parse::<u64>().is_ok_and(|fields| fields < 30), "the keys of the restocks are gone");
    let now = h.drop_now(&drop.id).await;
    assert_eq!((now.total_units, now.available_units, now.sold_units), (6_000, 3_000, 3_000));
}
