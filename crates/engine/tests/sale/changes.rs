//! What operators and the clock make of a drop.

use std::sync::Arc;
use std::time::Duration;

use stampede_domain::{ClosedBy, DropDefinition, DropId, KeyDigest, LogId, Phase, Timestamp};
use stampede_engine::{DropChange, DropChangeOutcome, DropChanged, DropTerms, EngineError, LiveDrop, Opening};

use crate::support::{Harness, definition};

const CLOSE: DropChange = DropChange::Close(ClosedBy::Operator);
const CLOSE_BY_CLOCK: DropChange = DropChange::Close(ClosedBy::Clock);

fn restock(key: u8, units: u32) -> DropChange {
    DropChange::Restock { key: KeyDigest([key; 8]), units }
}

async fn change(h: &Harness, id: &DropId, change: &DropChange) -> DropChangeOutcome {
    h.engine.change_drop(id, change).await.expect("an outcome")
}

/// A drop in this phase.
async fn drop_in(h: &Harness, phase: Phase, name: &str) -> Arc<DropTerms> {
    let later = Timestamp::now().plus_ms(3_600_000);
    let drop = match phase {
        Phase::Scheduled => h.open_with(name, |drop| drop.window.starts_at = later).await,
        _ => h.open(name, 1, 1).await,
    };
    match phase {
        Phase::Scheduled | Phase::Live => {}
        Phase::SoldOut => {
            h.buy(&drop, "a", "k", 1).await;
        }
        Phase::Ended => expect_changed(change(h, &drop.id, &CLOSE).await),
        Phase::Paused => expect_changed(change(h, &drop.id, &DropChange::Pause).await),
        Phase::Cancelled => expect_changed(change(h, &drop.id, &DropChange::CallOff).await),
    }
    assert_eq!(h.drop_now(&drop.id).await.phase(), phase);
    drop
}

fn expect_changed(outcome: DropChangeOutcome) {
    assert!(matches!(outcome, DropChangeOutcome::Changed(_)), "{outcome:?}");
}

/// What a change leads to from somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    Changed(Phase),
    Unchanged,
    Invalid,
}

pub async fn each_change_goes_from_where_it_may(h: Harness) {
    use Phase::{Cancelled, Ended, Live, Paused, Scheduled, SoldOut};
    use To::{Changed, Invalid, Unchanged};
    // From scheduled, live, sold out, paused, ended, cancelled.
    let table: [(DropChange, [To; 6]); 6] = [
        (DropChange::Pause, [Changed(Paused), Changed(Paused), Changed(Paused), Unchanged, Invalid, Invalid]),
        (DropChange::Resume, [Unchanged, Unchanged, Unchanged, Changed(Live), Invalid, Invalid]),
        (CLOSE, [Changed(Ended), Changed(Ended), Changed(Ended), Changed(Ended), Unchanged, Invalid]),
        (CLOSE_BY_CLOCK, [Invalid, Invalid, Invalid, Invalid, Unchanged, Unchanged]),
        (
            DropChange::CallOff,
            [
                Changed(Cancelled),
                Changed(Cancelled),
                Changed(Cancelled),
                Changed(Cancelled),
                Changed(Cancelled),
                Unchanged,
            ],
        ),
        (restock(1, 5), [Changed(Scheduled), Changed(Live), Changed(Live), Changed(Paused), Invalid, Invalid]),
    ];
    let phases = [Scheduled, Live, SoldOut, Paused, Ended, Cancelled];
    for (row, (made, outcomes)) in table.iter().enumerate() {
        for (column, (from, expected)) in phases.into_iter().zip(*outcomes).enumerate() {
            let case = format!("{made:?} from {from:?}");
            let drop = drop_in(&h, from, &format!("t{row}{column}")).await;
            let before = h.drop_now(&drop.id).await;
            let outcome = change(&h, &drop.id, made).await;
            let after = h.drop_now(&drop.id).await;
            let same = LiveDrop { as_of: before.as_of, ..after.clone() } == before;
            match (expected, outcome) {
                (Changed(phase), DropChangeOutcome::Changed(now)) => {
                    assert_eq!((now.phase(), after.phase()), (phase, phase), "{case}");
                    assert!(after.version > before.version, "{case}");
                    let again = change(&h, &drop.id, made).await;
                    assert!(matches!(again, DropChangeOutcome::Unchanged(_)), "{case}, again: {again:?}");
                }
                (Unchanged, DropChangeOutcome::Unchanged(now))
                | (Invalid, DropChangeOutcome::InvalidTransition(now)) => {
                    assert!(same && now.phase() == from, "{case}");
                }
                (expected, outcome) => panic!("{case}: {expected:?}, not {outcome:?}"),
            }
        }
    }
}

pub async fn a_drop_past_its_window_only_closes(h: Harness) {
    let ends_at = Timestamp::now().plus_ms(3_600_000);
    let mut drops = Vec::new();
    for name in ["open", "paused", "off"] {
        drops.push(h.open_with(name, |drop| drop.window.ends_at = Some(ends_at)).await);
    }
    change(&h, &drops[1].id, &DropChange::Pause).await;
    h.set_last_id(LogId { ms: ends_at.as_ms().cast_unsigned(), sequence: 0 });
    for drop in &drops[..2] {
        for made in [DropChange::Pause, DropChange::Resume, restock(1, 1)] {
            let outcome = change(&h, &drop.id, &made).await;
            let DropChangeOutcome::InvalidTransition(now) = outcome else { panic!("{made:?}: {outcome:?}") };
            assert_eq!(now.phase(), Phase::Ended);
        }
        expect_changed(change(&h, &drop.id, &CLOSE_BY_CLOCK).await);
        assert!(matches!(change(&h, &drop.id, &CLOSE).await, DropChangeOutcome::Unchanged(_)));
    }
    expect_changed(change(&h, &drops[2].id, &DropChange::CallOff).await);
}

pub async fn a_start_is_noted_once(h: Harness) {
    let drop = h.open("start", 1, 1).await;
    expect_changed(change(&h, &drop.id, &DropChange::Start).await);
    assert!(matches!(change(&h, &drop.id, &DropChange::Start).await, DropChangeOutcome::Unchanged(_)));
    let later = h.open_with("later", |drop| drop.window.starts_at = Timestamp::now().plus_ms(3_600_000)).await;
    assert!(matches!(change(&h, &later.id, &DropChange::Start).await, DropChangeOutcome::Unchanged(_)));
    // One that was closed before its start was noted has nothing to note.
    let closed = h.open("closed", 1, 1).await;
    expect_changed(change(&h, &closed.id, &CLOSE).await);
    assert!(matches!(change(&h, &closed.id, &DropChange::Start).await, DropChangeOutcome::Unchanged(_)));
    let started: Vec<_> = h.facts().await.into_iter().filter(|fact| fact.body.kind() == "started").collect();
    assert_eq!(started.iter().map(|fact| &fact.drop_id).collect::<Vec<_>>(), [&drop.id]);
}

pub async fn a_restock_counts_once_per_key(h: Harness) {
    let drop = h.open("restock", 1, 9).await;
    h.buy(&drop, "a", "k1", 1).await;
    expect_changed(change(&h, &drop.id, &restock(1, 5)).await);
    let again = change(&h, &drop.id, &restock(1, 5)).await;
    let DropChangeOutcome::Unchanged(now) = again else { panic!("{again:?}") };
    assert_eq!((now.total_units, now.available_units, now.sold_units), (6, 5, 1));
    assert_eq!(change(&h, &drop.id, &restock(1, 6)).await, DropChangeOutcome::KeyReused);
    expect_changed(change(&h, &drop.id, &restock(2, 1)).await);
    // The key is kept for as long as the drop is.
    change(&h, &drop.id, &CLOSE).await;
    assert!(matches!(change(&h, &drop.id, &restock(1, 5)).await, DropChangeOutcome::Unchanged(_)));
    assert!(matches!(change(&h, &drop.id, &restock(3, 5)).await, DropChangeOutcome::InvalidTransition(_)));
    assert_eq!(h.drop_now(&drop.id).await.total_units, 7);
}

pub async fn a_drop_has_no_more_units_than_it_may(h: Harness) {
    let drop = h.open("full", DropDefinition::MAX_UNITS - 1, 1).await;
    assert_eq!(change(&h, &drop.id, &restock(1, 2)).await, DropChangeOutcome::TooMany);
    expect_changed(change(&h, &drop.id, &restock(2, 1)).await);
    assert_eq!(change(&h, &drop.id, &restock(3, 1)).await, DropChangeOutcome::TooMany);
    let often = h.open("often", 1, 1).await;
    h.redis().cli(&["HSET", &stampede_engine::Keys::drop(h.shard, &often.id), "restocks", "999"]);
    expect_changed(change(&h, &often.id, &restock(1, 1)).await);
    assert_eq!(change(&h, &often.id, &restock(2, 1)).await, DropChangeOutcome::TooMany);
}

pub async fn a_drop_opens_once(h: Harness) {
    let mut defined = definition(h.id("once"));
    let opened = h.engine.open_drop(&defined).await.expect("an answer");
    let Opening::Opened(live) = opened else { panic!("{opened:?}") };
    assert_eq!((live.total_units, live.available_units, live.phase()), (10, 10, Phase::Live));
    let (id, sku) = (defined.id.clone(), defined.sku.clone());
    assert_eq!(
        live.terms(),
        DropTerms { id, sku, unit_price: defined.price, durability: None, stripes: Default::default() }
    );
    let drop = Arc::new(live.terms());
    h.buy(&drop, "a", "k", 2).await;
    defined.stock_units = 1_000;
    let again = h.engine.open_drop(&defined).await.expect("an answer");
    let Opening::AlreadyOpen(live) = again else { panic!("{again:?}") };
    assert_eq!((live.total_units, live.available_units), (10, 8));
    assert_eq!(h.log().await.len(), 2);
}

pub async fn a_drop_that_lost_a_half_is_not_opened_again(h: Harness) {
    use stampede_engine::Keys;
    let defined = definition(h.id("half"));
    h.engine.open_drop(&defined).await.expect("opened");
    let drop = Arc::new(h.drop_now(&defined.id).await.terms());
    let (hash, users) = (Keys::drop(h.shard, &defined.id), Keys::users(h.shard, &defined.id));
    let (probe, entries) = (h.probe(), h.log().await.len());
    let client = probe.client().await;
    let whole = probe.image(&client).await;
    for lost in [vec![&hash], vec![&users], vec![&hash, &users]] {
        lost.iter().for_each(|key| assert_eq!(h.redis().cli(&["DEL", key]), "1"));
        assert_eq!(h.engine.open_drop(&defined).await, Err(EngineError::ShardRecovering), "without {lost:?}");
        assert_eq!(h.order(&drop, "a", "k", 1).await, Err(EngineError::ShardRecovering), "without {lost:?}");
        probe.restore(&client, &whole).await;
    }
    h.redis().cli(&["SREM", &h.keys.drops, defined.id.as_str()]);
    assert_eq!(h.engine.open_drop(&defined).await, Err(EngineError::ShardRecovering), "unknown to the shard");
    assert_eq!(h.log().await.len(), entries);
}

pub async fn changes_are_announced(h: Harness) {
    let mut messages = h.another(|_| ()).await.changes();
    let drop = h.open("news", 1, 1).await;
    // Other tests' drops are announced as well.
    let mut heard = async || {
        let own = async { while messages.next().await != Some(DropChanged::One(drop.id.clone())) {} };
        tokio::time::timeout(Duration::from_secs(10), own).await.expect("a message");
    };
    heard().await;
    let order = h.buy(&drop, "a", "k", 1).await;
    heard().await;
    h.engine.cancel_order(&(&order).into(), stampede_domain::CancelledBy::Shopper).await.expect("cancelled");
    heard().await;
    for made in [DropChange::Start, DropChange::Pause, DropChange::Resume, restock(1, 1), CLOSE, DropChange::CallOff] {
        change(&h, &drop.id, &made).await;
        heard().await;
    }
}
