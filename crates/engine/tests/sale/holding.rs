//! Units that come back to a sold-out drop: held for a time, so that processes which refuse without Redis learn of them first.

use std::sync::Arc;
use std::time::Duration;

use stampede_domain::{CancelledBy, ClosedBy, KeyDigest, LogId, Order};
use stampede_engine::{Decision, DropChange, DropChangeOutcome, DropTerms, EngineError, OrderRef, Refusal, TimerKind};

use crate::support::{Harness, request};

/// So long that no test waits for it by chance.
const HOLD_MS: u32 = 3_600_000;

/// A drop of one unit that holds what comes back, sold to `a`.
async fn sold_out(h: &Harness, name: &str) -> (Arc<DropTerms>, Order) {
    let drop = h.open_with(name, |drop| (drop.stock_units, drop.hold_ms) = (1, HOLD_MS)).await;
    let order = h.buy(&drop, "a", "k", 1).await;
    (drop, order)
}

async fn cancel(h: &Harness, order: &Order) {
    h.engine.cancel_order(&OrderRef::from(order), CancelledBy::Operator).await.expect("cancelled");
}

async fn restock(h: &Harness, drop: &DropTerms, key: u8, units: u32) {
    let change = DropChange::Restock { key: KeyDigest([key; 8]), units };
    let outcome = h.engine.change_drop(&drop.id, &change).await.expect("an answer");
    assert!(matches!(outcome, DropChangeOutcome::Changed(_)), "{outcome:?}");
}

/// Available, held, sold.
async fn parts(h: &Harness, drop: &DropTerms) -> (u64, u64, u64) {
    let now = h.drop_now(&drop.id).await;
    assert_eq!(now.total_units, now.available_units + now.held_units + now.sold_units);
    (now.available_units, now.held_units, now.sold_units)
}

/// Takes the shard's clock to where what is held now is not held any more; to the millisecond.
fn pass_the_hold(h: &Harness, since: u64) {
    h.set_last_id(LogId { ms: since + u64::from(HOLD_MS), sequence: 0 });
}

async fn kinds(h: &Harness, drop: &DropTerms) -> Vec<&'static str> {
    h.facts().await.iter().filter(|fact| fact.drop_id == drop.id).map(|fact| fact.body.kind()).collect()
}

pub async fn what_comes_back_is_sold_after_its_time_and_not_before(h: Harness) {
    let (drop, order) = sold_out(&h, "held").await;
    cancel(&h, &order).await;
    let cancelled_ms = h.log().await.last().expect("an entry").id.ms;
    restock(&h, &drop, 1, 2).await;
    assert_eq!(parts(&h, &drop).await, (0, 3, 0));
    assert_eq!(h.refusal(&drop, "b", "k", 1).await, Refusal::SoldOut);
    h.set_last_id(LogId { ms: cancelled_ms + u64::from(HOLD_MS) - 1, sequence: 0 });
    assert_eq!(h.refusal(&drop, "b", "k", 1).await, Refusal::SoldOut, "a millisecond is missing");

    // The units that came later come with the first ones: no process took the drop for sold out in between.
    pass_the_hold(&h, cancelled_ms);
    h.buy(&drop, "b", "k", 2).await;
    assert_eq!(parts(&h, &drop).await, (1, 0, 2));
    assert_eq!(kinds(&h, &drop).await, ["opened", "granted", "cancelled", "restocked", "released", "granted"]);
    let replayed = h.order(&drop, "a", "k", 1).await;
    assert!(matches!(replayed, Ok(Decision::Replayed(found)) if found.id == order.id));
}

pub async fn a_timer_releases_what_nobody_orders(h: Harness) {
    let (drop, order) = sold_out(&h, "timer").await;
    let before = h.drop_now(&drop.id).await;
    cancel(&h, &order).await;
    let held = h.drop_now(&drop.id).await;
    assert!(held.version > before.version);
    let early = h.engine.change_drop(&drop.id, &DropChange::Release).await;
    assert!(matches!(early, Ok(DropChangeOutcome::Unchanged(_))), "{early:?}");
    assert_eq!(release_timers(&h, &drop).await, 0);

    pass_the_hold(&h, held.as_of.as_ms().cast_unsigned());
    assert_eq!(release_timers(&h, &drop).await, 1);
    let Ok(DropChangeOutcome::Changed(now)) = h.engine.change_drop(&drop.id, &DropChange::Release).await else {
        panic!("not released")
    };
    assert_eq!((now.available_units, now.held_units), (1, 0));
    assert!(now.version > held.version, "whoever asks whether it changed is told");
    assert_eq!(release_timers(&h, &drop).await, 0);

    // An order releases without the timer, which then finds nothing to do.
    let order = h.buy(&drop, "b", "k", 1).await;
    cancel(&h, &order).await;
    pass_the_hold(&h, h.log().await.last().expect("an entry").id.ms);
    h.buy(&drop, "c", "k", 1).await;
    let late = h.engine.change_drop(&drop.id, &DropChange::Release).await;
    assert!(matches!(late, Ok(DropChangeOutcome::Unchanged(_))), "{late:?}");
    assert_eq!(release_timers(&h, &drop).await, 0);
}

async fn release_timers(h: &Harness, drop: &DropTerms) -> usize {
    let due = h.engine.due_timers(h.shard, 100).await.expect("readable");
    due.iter().filter(|timer| timer.kind == TimerKind::Release(drop.id.clone())).count()
}

pub async fn only_a_sold_out_drop_that_may_grant_again_holds(h: Harness) {
    let some = h.open_with("some", |drop| (drop.stock_units, drop.hold_ms) = (2, HOLD_MS)).await;
    let order = h.buy(&some, "a", "k", 1).await;
    cancel(&h, &order).await;
    assert_eq!(parts(&h, &some).await, (2, 0, 0), "a unit was left, so nobody refuses without asking");

    let never = h.open("never", 1, 1).await;
    let order = h.buy(&never, "a", "k", 1).await;
    cancel(&h, &order).await;
    assert_eq!(parts(&h, &never).await, (1, 0, 0), "the drop does not hold");

    let (paused, order) = sold_out(&h, "paused").await;
    h.engine.change_drop(&paused.id, &DropChange::Pause).await.expect("paused");
    cancel(&h, &order).await;
    assert_eq!(parts(&h, &paused).await, (0, 1, 0), "it may go on");

    let (over, order) = sold_out(&h, "over").await;
    h.engine.change_drop(&over.id, &DropChange::Close(ClosedBy::Operator)).await.expect("closed");
    cancel(&h, &order).await;
    assert_eq!(parts(&h, &over).await, (1, 0, 0));

    let (off, order) = sold_out(&h, "off").await;
    cancel(&h, &order).await;
    assert_eq!(parts(&h, &off).await, (0, 1, 0));
    h.engine.change_drop(&off.id, &DropChange::CallOff).await.expect("called off");
    assert_eq!(parts(&h, &off).await, (1, 0, 0), "nothing is held of what is over");
}

pub async fn after_a_takeover_orders_wait_until_nobody_refuses_by_what_was_before(h: Harness) {
    const SHORT_MS: u32 = 300;
    let drop = h.open_with("taken-over", |drop| drop.hold_ms = SHORT_MS).await;
    let other = h.open("as-ever", 1, 1).await;
    h.set_meta("epoch", 2);
    h.set_meta("adopted_ms", h.redis_ms() + 3_600_000);
    assert!(matches!(h.order(&drop, "a", "early", 1).await, Ok(Decision::Granted(_))), "a clock that was set back");
    let adopted_ms = h.redis_ms();
    h.set_meta("adopted_ms", adopted_ms);
    let early = h.engine.place_order(request(&drop, "a", "k", 1), Duration::ZERO).await;
    assert_eq!(early, Err(EngineError::ShardRecovering));
    h.buy(&other, "a", "k", 1).await;
    let waited = h.engine.place_order(request(&drop, "a", "k", 1), Duration::from_secs(30)).await;
    let Ok(Decision::Granted(order)) = waited else { panic!("not granted: {waited:?}") };
    assert!(order.placed_at.as_ms().cast_unsigned() >= adopted_ms + u64::from(SHORT_MS));
}
