//! Windows: amending them, and the timers that follow from them.

use stampede_domain::{CancelledBy, ClosedBy, DropId, LogId, Phase, Timestamp, Window};
use stampede_engine::{DropChange, DropChangeOutcome, DueTimer, EngineError, OrderRef, TimerKind};

use crate::support::Harness;

const HOUR: i64 = 3_600_000;

fn amend(starts_at: Option<Timestamp>, ends_at: Option<Option<Timestamp>>, limit: Option<u32>) -> DropChange {
    DropChange::Amend { starts_at, ends_at, limit_per_user: limit }
}

async fn change(h: &Harness, id: &DropId, change: &DropChange) -> DropChangeOutcome {
    h.engine.change_drop(id, change).await.expect("an outcome")
}

/// Makes the shard's clock say this.
fn advance(h: &Harness, to: Timestamp) {
    h.set_last_id(LogId { ms: to.as_ms().cast_unsigned(), sequence: 0 });
}

async fn due(h: &Harness) -> Vec<TimerKind> {
    let due: Vec<DueTimer> = h.engine.due_timers(h.shard, 100).await.expect("readable");
    assert!(due.iter().all(|timer| timer.due_at <= timer.now));
    due.into_iter().map(|timer| timer.kind).collect()
}

pub async fn a_scheduled_drop_is_amended_in_all(h: Harness) {
    let starts_at = Timestamp::now().plus_ms(HOUR);
    let drop = h.open_with("later", |drop| drop.window.starts_at = starts_at).await;
    let window = Window { starts_at: starts_at.plus_ms(5), ends_at: Some(starts_at.plus_ms(9)) };
    let whole = amend(Some(window.starts_at), Some(window.ends_at), Some(7));
    let outcome = change(&h, &drop.id, &whole).await;
    let DropChangeOutcome::Changed(now) = outcome else { panic!("{outcome:?}") };
    assert_eq!((now.window, now.limit_per_user), (window, 7));
    assert!(matches!(change(&h, &drop.id, &whole).await, DropChangeOutcome::Unchanged(_)));
    // What a request leaves out stays.
    let outcome = change(&h, &drop.id, &amend(None, None, Some(3))).await;
    let DropChangeOutcome::Changed(now) = outcome else { panic!("{outcome:?}") };
    assert_eq!((now.window, now.limit_per_user), (window, 3));
    let outcome = change(&h, &drop.id, &amend(None, Some(None), None)).await;
    let DropChangeOutcome::Changed(now) = outcome else { panic!("{outcome:?}") };
    assert_eq!((now.window.ends_at, now.limit_per_user), (None, 3));
    let gone = h.engine.change_drop(&h.id("gone"), &whole).await;
    assert_eq!(gone, Err(EngineError::ShardRecovering));
}

pub async fn a_live_drop_is_amended_at_its_end_only(h: Harness) {
    let drop = h.open("live", 1, 1).await;
    let end = Timestamp::now().plus_ms(HOUR);
    h.buy(&drop, "a", "k", 1).await;
    for (phase, made) in [(Phase::SoldOut, DropChange::Resume), (Phase::Paused, DropChange::Pause)] {
        change(&h, &drop.id, &made).await;
        assert_eq!(h.drop_now(&drop.id).await.phase(), phase);
        for refused in [amend(Some(end), None, None), amend(None, None, Some(2)), amend(None, Some(Some(end)), Some(2))]
        {
            let outcome = change(&h, &drop.id, &refused).await;
            assert!(matches!(outcome, DropChangeOutcome::InvalidTransition(_)), "{phase:?}: {outcome:?}");
        }
        for ends_at in [Some(end), None] {
            let outcome = change(&h, &drop.id, &amend(None, Some(ends_at), None)).await;
            let DropChangeOutcome::Changed(now) = outcome else { panic!("{phase:?}: {outcome:?}") };
            assert_eq!(now.window.ends_at, ends_at);
        }
    }
    change(&h, &drop.id, &DropChange::Close(ClosedBy::Operator)).await;
    let outcome = change(&h, &drop.id, &amend(None, Some(Some(end)), None)).await;
    assert!(matches!(outcome, DropChangeOutcome::InvalidTransition(_)));
}

pub async fn a_window_that_cannot_be_is_refused(h: Harness) {
    let starts_at = Timestamp::now().plus_ms(HOUR);
    let ends_at = Some(starts_at.plus_ms(10));
    let window = Window { starts_at, ends_at };
    let drop = h.open_with("later", |drop| drop.window = window).await;
    let live = h.open("live", 1, 1).await;
    let past = Timestamp::now().plus_ms(-HOUR);
    let refused = [
        (&drop, amend(Some(starts_at.plus_ms(10)), None, None)),
        (&drop, amend(None, Some(Some(starts_at)), None)),
        (&drop, amend(Some(past), Some(Some(past.plus_ms(1))), None)),
        (&live, amend(None, Some(Some(past)), None)),
    ];
    for (drop, made) in refused {
        let before = h.drop_now(&drop.id).await;
        let outcome = change(&h, &drop.id, &made).await;
        assert!(matches!(outcome, DropChangeOutcome::InvalidWindow(_)), "{made:?}: {outcome:?}");
        assert_eq!(h.drop_now(&drop.id).await.version, before.version);
    }
}

pub async fn amendments_at_the_same_time_keep_each_other(h: Harness) {
    let starts_at = Timestamp::now().plus_ms(HOUR);
    let drop = h.open_with("race", |drop| drop.window.starts_at = starts_at).await;
    let other = h.another(|_| ()).await;
    for round in 1..=10 {
        let end = Some(starts_at.plus_ms(i64::from(round)));
        let (by_end, by_limit) = (amend(None, Some(end), None), amend(None, None, Some(10 + round)));
        let (ended, limited) =
            tokio::join!(h.engine.change_drop(&drop.id, &by_end), other.change_drop(&drop.id, &by_limit));
        for outcome in [ended, limited] {
            assert!(matches!(outcome, Ok(DropChangeOutcome::Changed(_))), "{outcome:?}");
        }
        let now = h.drop_now(&drop.id).await;
        assert_eq!((now.window.ends_at, now.limit_per_user), (end, 10 + round), "both, in round {round}");
    }
}

pub async fn timers_follow_the_window(h: Harness) {
    let starts_at = Timestamp::now().plus_ms(HOUR);
    let drop = h.open_with("timed", |drop| drop.window.starts_at = starts_at).await;
    assert_eq!(due(&h).await, []);
    let window = Window { starts_at: starts_at.plus_ms(1_000), ends_at: Some(starts_at.plus_ms(2_000)) };
    change(&h, &drop.id, &amend(Some(window.starts_at), Some(window.ends_at), None)).await;
    advance(&h, starts_at);
    assert_eq!(due(&h).await, [], "the start was moved");
    advance(&h, window.starts_at);
    assert_eq!(due(&h).await, [TimerKind::Start(drop.id.clone())]);
    change(&h, &drop.id, &DropChange::Start).await;
    assert_eq!(due(&h).await, []);
    // The end is moved, taken away, and set again; the start does not come back with it.
    for ends_at in [Some(starts_at.plus_ms(3_000)), None, Some(starts_at.plus_ms(4_000))] {
        change(&h, &drop.id, &amend(None, Some(ends_at), None)).await;
    }
    advance(&h, starts_at.plus_ms(3_999));
    assert_eq!(due(&h).await, []);
    advance(&h, starts_at.plus_ms(4_000));
    assert_eq!(due(&h).await, [TimerKind::End(drop.id.clone())]);
    change(&h, &drop.id, &DropChange::Close(ClosedBy::Clock)).await;
    assert_eq!(due(&h).await, [TimerKind::Purge(drop.id.clone())]);
}

pub async fn timers_go_when_a_drop_is_over(h: Harness) {
    let starts_at = Timestamp::now().plus_ms(HOUR);
    let window = Window { starts_at, ends_at: Some(starts_at.plus_ms(10)) };
    let closed = h.open_with("closed", |drop| drop.window = window).await;
    let off = h.open_with("off", |drop| drop.window = window).await;
    let seen = h.open_with("seen", |drop| drop.window = window).await;
    change(&h, &closed.id, &DropChange::Close(ClosedBy::Operator)).await;
    change(&h, &off.id, &DropChange::CallOff).await;
    advance(&h, starts_at.plus_ms(10));
    let withdraw = TimerKind::Withdraw(off.id.clone());
    let (start, end) = (TimerKind::Start(seen.id.clone()), TimerKind::End(seen.id.clone()));
    let [purge_closed, purge_off, purge_seen] = [&closed, &off, &seen].map(|drop| TimerKind::Purge(drop.id.clone()));
    // The most overdue first; what fell due in the same millisecond comes in any order.
    let mut fallen = due(&h).await;
    assert_eq!(fallen.split_off(3), [start.clone(), end.clone()]);
    assert!([&withdraw, &purge_closed, &purge_off].iter().all(|timer| fallen.contains(timer)), "{fallen:?}");
    // An order that came late has ended the drop before its timers fired: they find nothing to do, and go.
    h.refusal(&seen, "a", "k", 1).await;
    for made in [DropChange::Start, DropChange::Close(ClosedBy::Clock)] {
        assert!(matches!(change(&h, &seen.id, &made).await, DropChangeOutcome::Unchanged(_)));
    }
    let left = due(&h).await;
    assert_eq!(
        (left.len(), &left[3]),
        (4, &purge_seen),
        "only the orders of one are to be cancelled, and all to be purged"
    );
}

pub async fn a_drop_that_is_called_off_asks_for_its_orders_back(h: Harness) {
    let drop = h.open("off", 1, 1).await;
    assert_eq!(due(&h).await, [TimerKind::Start(drop.id.clone())]);
    let order = h.buy(&drop, "a", "k", 1).await;
    change(&h, &drop.id, &DropChange::CallOff).await;
    let (withdraw, purge) = (TimerKind::Withdraw(drop.id.clone()), TimerKind::Purge(drop.id.clone()));
    assert!(due(&h).await.contains(&withdraw));
    assert_eq!(h.engine.finish_withdrawal(h.shard, &drop.id).await, Ok(false), "an order stands");
    assert!(due(&h).await.contains(&withdraw));
    h.engine.cancel_order(&OrderRef::from(&order), CancelledBy::Drop).await.expect("cancelled");
    for _ in 0..2 {
        assert_eq!(h.engine.finish_withdrawal(h.shard, &drop.id).await, Ok(true));
        assert_eq!(due(&h).await, std::slice::from_ref(&purge));
    }
}
