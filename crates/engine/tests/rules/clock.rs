//! The log's clock never steps back, whatever Redis's does.
//!
//! Redis's own clock cannot be set here. A last entry ahead of it is what a clock that was set back leaves behind.

use stampede_domain::{ClosedBy, DropState, Epoch, LogId, Phase, Timestamp};
use stampede_engine::{DropChange, DropChangeOutcome, Refusal};

use crate::support::Alone;

const HOUR: u64 = 3_600_000;

pub async fn entries_go_on_from_the_last_one_when_the_clock_was_set_back(Alone(h): Alone) {
    let ahead = LogId { ms: h.redis_ms() + HOUR, sequence: 5 };
    h.set_last_id(ahead);
    let drop = h.open("back", 10, 10).await;
    let order = h.buy(&drop, "a", "k", 1).await;
    assert_eq!(order.id.position().log_id, LogId { sequence: 7, ..ahead });
    assert_eq!(order.placed_at, ahead.time());
    let paused = h.engine.change_drop(&drop.id, &DropChange::Pause).await;
    let Ok(DropChangeOutcome::Changed(now)) = paused else { panic!("{paused:?}") };
    assert_eq!(now.as_of, ahead.time());
    let ids: Vec<LogId> = h.log().await.iter().map(|entry| entry.id).collect();
    assert_eq!(ids, [6, 7, 8].map(|sequence| LogId { sequence, ..ahead }));
    assert_eq!(h.drop_now(&drop.id).await.as_of, ahead.time(), "a reading is not older than what it reads");
}

pub async fn a_used_up_sequence_goes_on_in_the_next_millisecond(Alone(h): Alone) {
    let ahead = LogId { ms: h.redis_ms() + HOUR, sequence: u16::MAX - 2 };
    let drop = h.open("full", 10, 10).await;
    h.set_last_id(ahead);
    let mut ids = Vec::new();
    for key in ["k1", "k2", "k3"] {
        ids.push(h.buy(&drop, "a", key, 1).await.id.position().log_id);
    }
    let next = LogId { ms: ahead.ms + 1, sequence: 0 };
    assert_eq!(ids, [ahead.next(), ahead.next().next(), next]);
    assert_eq!(h.log().await.last().map(|entry| entry.id), Some(next));
}

pub async fn an_ended_drop_stays_ended_when_the_clock_falls_back(Alone(h): Alone) {
    let now_ms = h.redis_ms();
    let ends_at = Timestamp::from_ms((now_ms + HOUR).cast_signed());
    let drops = [
        h.open_with("seen", |drop| drop.window.ends_at = Some(ends_at)).await,
        h.open_with("timed", |drop| drop.window.ends_at = Some(ends_at)).await,
    ];
    h.set_last_id(LogId { ms: now_ms + HOUR, sequence: 0 });
    assert!(matches!(h.refusal(&drops[0], "a", "k", 1).await, Refusal::NotActive { phase: Phase::Ended, .. }));
    h.engine.change_drop(&drops[1].id, &DropChange::Close(ClosedBy::Clock)).await.expect("closed");
    // As on a server that took over with a slower clock and a log that had been archived.
    let claim = h.engine.read_new(h.shard, "c", 100).await.expect("readable");
    let receipts: Vec<_> = claim.entries.iter().map(|entry| entry.receipt(&[])).collect();
    h.engine.acknowledge(h.shard, Epoch(1), &receipts).await.expect("acknowledged");
    h.set_last_id(LogId { ms: now_ms, sequence: 0 });
    for drop in &drops {
        assert!(matches!(h.refusal(drop, "a", "k", 1).await, Refusal::NotActive { phase: Phase::Ended, .. }));
        let now = h.drop_now(&drop.id).await;
        assert_eq!((now.state, now.phase()), (DropState::Ended, Phase::Ended));
        let resumed = h.engine.change_drop(&drop.id, &DropChange::Resume).await;
        assert!(matches!(resumed, Ok(DropChangeOutcome::InvalidTransition(_))));
    }
}
