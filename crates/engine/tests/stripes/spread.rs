//! Stripes are one drop: they follow their home, and lie where they should.

use std::collections::HashMap;

use stampede_domain::{ClosedBy, DropState, KeyDigest, Phase, Timestamp};
use stampede_engine::{Decision, DropChange, DropChangeOutcome, EngineError, Refusal, TimerKind};

use crate::sale::Striped;
use crate::support::{Harness, until};

async fn states(sale: &Striped) -> Vec<DropState> {
    let mut states = Vec::new();
    for shard in &sale.shards {
        states.push(sale.stripe(*shard).await.state);
    }
    states
}

async fn change(sale: &Striped, change: DropChange) -> DropChangeOutcome {
    sale.h.engine.change_drop(&sale.drop.id, &change).await.expect("decided")
}

pub async fn all_stripes_follow_the_home(h: Harness) {
    let sale = Striped::on_sale(h, |drop| (drop.stock_units, drop.limit_per_user) = (8, 50)).await;
    let DropChangeOutcome::Changed(paused) = change(&sale, DropChange::Pause).await else { panic!("not changed") };
    assert_eq!((paused.phase(), paused.total_units), (Phase::Paused, 8));
    assert_eq!(states(&sale).await, [DropState::Paused; 4]);
    assert!(matches!(change(&sale, DropChange::Pause).await, DropChangeOutcome::Unchanged(_)));
    for n in 0..4 {
        let refused = sale.order(&sale.user_of(sale.shards[n], n), "k", 1).await;
        assert!(matches!(refused, Decision::Refused(Refusal::NotActive { phase: Phase::Paused, .. })), "{refused:?}");
    }
    let key = KeyDigest([7; 8]);
    for _ in 0..2 {
        let restocked = change(&sale, DropChange::Restock { key, units: 5 }).await;
        let (DropChangeOutcome::Changed(live) | DropChangeOutcome::Unchanged(live)) = restocked else {
            panic!("{restocked:?}")
        };
        assert_eq!(live.total_units, 13);
    }
    let ends_at = Timestamp::now().plus_ms(3_600_000);
    let amend = DropChange::Amend { starts_at: None, ends_at: Some(Some(ends_at)), limit_per_user: None };
    assert!(matches!(change(&sale, amend).await, DropChangeOutcome::Changed(_)));
    assert!(matches!(change(&sale, DropChange::Resume).await, DropChangeOutcome::Changed(_)));
    for shard in &sale.shards {
        let stripe = sale.stripe(*shard).await;
        assert_eq!((stripe.state, stripe.window.ends_at), (DropState::Open, Some(ends_at)));
    }
    assert!(matches!(sale.order("all", "k", 13).await, Decision::Granted(_)), "the restocked units too");
    assert!(matches!(change(&sale, DropChange::Close(ClosedBy::Operator)).await, DropChangeOutcome::Changed(_)));
    assert_eq!(states(&sale).await, [DropState::Ended; 4]);
    assert!(matches!(change(&sale, DropChange::Resume).await, DropChangeOutcome::InvalidTransition(_)));
    assert!(matches!(change(&sale, DropChange::CallOff).await, DropChangeOutcome::Changed(_)));
    assert_eq!(states(&sale).await, [DropState::Cancelled; 4]);
    sale.assert_sound().await;
}

pub async fn a_change_that_was_left_halfway_is_finished(h: Harness) {
    let sale = Striped::on_sale(h, |_| ()).await;
    let (engine, id, home) = (&sale.h.engine, &sale.drop.id, sale.h.shard);
    let timer = TimerKind::Spread(id.clone());
    let due = async || engine.due_timers(home, 100).await.expect("readable").iter().any(|due| due.kind == timer);
    // The process dies when the home has changed.
    let halfway = engine.change_stripe(home, id, &DropChange::CallOff).await;
    assert!(matches!(halfway, Ok(DropChangeOutcome::Changed(_))));
    assert_eq!(states(&sale).await[1..], [DropState::Open; 3]);
    until("the others are due to follow", &due).await;
    assert_eq!(engine.spread_stripe(home, id).await, Ok(true));
    assert_eq!(states(&sale).await, [DropState::Cancelled; 4]);
    until("nothing is left to do", async || {
        engine.spread_stripe(home, id).await.expect("looked at");
        !due().await
    })
    .await;
    sale.assert_sound().await;
}

pub async fn a_change_that_not_all_stripes_follow_is_not_called_undone(h: Harness) {
    let sale = Striped::on_sale(h, |_| ()).await;
    let (engine, id, behind) = (&sale.h.engine, &sale.drop.id, sale.shards[2]);
    let node = &sale.h.server().nodes()[sale.h.server().node_of(behind)];
    let meta = format!("{{s{:02}}}:meta", behind.number());
    let token = node.cli(&["HGET", &meta, "token"]);
    // Nothing is acknowledged behind the fence.
    sale.stop_archive().await;
    node.cli(&["HSET", &meta, "token", "foreign"]);
    for _ in 0..2 {
        assert_eq!(engine.change_drop(id, &DropChange::Pause).await, Err(EngineError::OutcomeUnknown));
    }
    assert_eq!(sale.stripe(sale.h.shard).await.state, DropState::Paused, "the home decides");
    node.cli(&["HSET", &meta, "token", &token]);
    assert!(matches!(change(&sale, DropChange::Pause).await, DropChangeOutcome::Changed(_)), "a repetition settles it");
    assert_eq!(states(&sale).await, [DropState::Paused; 4]);
    sale.assert_sound().await;
}

pub async fn units_of_a_stripe_that_is_over_are_not_waited_for(h: Harness) {
    let sale = Striped::on_sale(h, |drop| (drop.stock_units, drop.limit_per_user) = (8, 8)).await;
    // As when its clock was a little ahead of the others', and the end was moved at that moment.
    let over = DropChange::Close(ClosedBy::Operator);
    sale.h.engine.change_stripe(sale.shards[3], &sale.drop.id, &over).await.expect("closed");
    let buyer = sale.user_of(sale.shards[0], 0);
    assert!(matches!(sale.order(&buyer, "k", 6).await, Decision::Granted(_)));
    assert_eq!(sale.order(&buyer, "k2", 1).await, Decision::Refused(Refusal::SoldOut));
    assert_eq!(sale.stripe(sale.shards[3]).await.available_units, 2);
    sale.assert_sound().await;
}

pub async fn stripes_spread_evenly_over_the_masters(h: Harness) {
    let nodes = h.server().nodes().len();
    for name in ["one", "two", "three"] {
        let id = h.id(name);
        for count in [2, 3, 6, 9] {
            let stripes = h.engine.choose_stripes(&id, count).expect("few enough");
            let shards = stripes.shards(h.shard);
            assert_eq!((shards.len(), shards[0]), (usize::from(count), h.shard));
            let mut on: HashMap<usize, usize> = HashMap::new();
            for shard in shards {
                *on.entry(h.server().node_of(shard)).or_default() += 1;
            }
            let most = usize::from(count).div_ceil(nodes);
            assert!(on.values().all(|stripes| *stripes <= most), "{on:?} of {count}");
        }
        assert!(!h.engine.choose_stripes(&id, 1).expect("one").is_striped());
    }
}
