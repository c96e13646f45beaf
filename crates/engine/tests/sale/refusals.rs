//! Why an order is not granted, and what is said first.

use std::sync::Arc;

use stampede_domain::{CancelledBy, ClosedBy, DropState, Epoch, FactBody, LogId, Money, Phase, Timestamp, Window};
use stampede_engine::{
    Cancellation, Decision, DropChange, DropChangeOutcome, DropTerms, Engine, EngineError, LogBound, OrderRef, Refusal,
};

use crate::support::{Harness, WAIT, join_in_order, request};

pub async fn a_drop_that_has_not_begun_says_when_it_will(h: Harness) {
    let starts_at = Timestamp::now().plus_ms(3_600_000);
    let window = Window { starts_at, ends_at: Some(starts_at.plus_ms(1)) };
    let drop = h.open_with("later", |drop| drop.window = window).await;
    assert_eq!(h.refusal(&drop, "a", "k", 1).await, Refusal::NotActive { phase: Phase::Scheduled, window });
    // The log's clock judges the window: at its first moment the drop sells, and at its end no more.
    h.set_last_id(LogId { ms: starts_at.as_ms().cast_unsigned(), sequence: 7 });
    assert_eq!(h.buy(&drop, "a", "k", 1).await.placed_at, starts_at);
}

pub async fn a_window_that_is_over_ends_the_drop_for_good(h: Harness) {
    let ends_at = Timestamp::now().plus_ms(3_600_000);
    let window = Window { starts_at: Timestamp::from_ms(0), ends_at: Some(ends_at) };
    let drop = h.open_with("over", |drop| drop.window = window).await;
    let order = h.buy(&drop, "a", "k", 1).await;
    h.set_last_id(LogId { ms: ends_at.as_ms().cast_unsigned(), sequence: 0 });
    assert_eq!(h.refusal(&drop, "b", "k", 1).await, Refusal::NotActive { phase: Phase::Ended, window });
    let last = h.facts().await.pop().expect("a fact");
    assert_eq!((last.drop_id, last.body), (drop.id.clone(), FactBody::Closed { by: ClosedBy::Clock }));
    assert_eq!(h.drop_now(&drop.id).await.state, DropState::Ended);
    let entries = h.log().await.len();
    // Written down once. Not even a later end would bring it back, and a replay still finds its order.
    assert_eq!(h.refusal(&drop, "b", "k", 1).await, Refusal::NotActive { phase: Phase::Ended, window });
    let amend = DropChange::Amend { starts_at: None, ends_at: Some(None), limit_per_user: None };
    assert!(matches!(h.engine.change_drop(&drop.id, &amend).await, Ok(DropChangeOutcome::InvalidTransition(_))));
    assert_eq!(h.order(&drop, "a", "k", 1).await, Ok(Decision::Replayed(order)));
    assert_eq!(h.log().await.len(), entries);
}

pub async fn a_stopped_drop_names_its_phase(h: Harness) {
    let changes = [
        (DropChange::Pause, Phase::Paused),
        (DropChange::CallOff, Phase::Cancelled),
        (DropChange::Close(ClosedBy::Operator), Phase::Ended),
    ];
    for (change, phase) in changes {
        let drop = h.open(phase.as_str().replace('_', "-").as_str(), 1, 1).await;
        let order = h.buy(&drop, "a", "k", 1).await;
        h.engine.change_drop(&drop.id, &change).await.expect("changed");
        let window = Window { starts_at: Timestamp::from_ms(0), ends_at: None };
        assert_eq!(h.refusal(&drop, "b", "k", 1).await, Refusal::NotActive { phase, window });
        assert_eq!(h.order(&drop, "a", "k", 1).await, Ok(Decision::Replayed(order)));
    }
}

pub async fn checks_come_in_their_order(h: Harness) {
    let drop = h.open("order", 2, 2).await;
    let order = h.buy(&drop, "a", "k", 2).await;
    let mut dear = request(&drop, "a", "k2", 1);
    dear.expected_total = Some(Money { amount_minor: 1, ..drop.unit_price });
    let place = async |order| h.engine.place_order(order, WAIT).await;
    // The drop is sold out, the user is at the limit, and the price is another.
    let price = Refusal::PriceChanged { unit_price: drop.unit_price, total_price: drop.unit_price };
    assert_eq!(place(dear.clone()).await, Ok(Decision::Refused(price)));
    let limit = Refusal::LimitReached { limit: 2, owned: 2 };
    assert_eq!(h.refusal(&drop, "a", "k2", 1).await, limit);
    assert_eq!(h.refusal(&drop, "b", "k2", 1).await, Refusal::SoldOut);
    h.engine.change_drop(&drop.id, &DropChange::Pause).await.expect("paused");
    assert!(matches!(place(dear).await, Ok(Decision::Refused(Refusal::NotActive { .. }))));
    assert_eq!(h.refusal(&drop, "a", "k", 1).await, Refusal::KeyReused);
    assert_eq!(h.order(&drop, "a", "k", 2).await, Ok(Decision::Replayed(order)));
}

pub async fn a_replay_comes_before_the_price(h: Harness) {
    let drop = h.open("price", 2, 2).await;
    let mut first = request(&drop, "a", "k", 1);
    first.expected_total = Some(drop.unit_price);
    let Ok(Decision::Granted(order)) = h.engine.place_order(first.clone(), WAIT).await else { panic!("not granted") };
    // A process that believes the price to be another sends the same request.
    let dearer = Money { amount_minor: drop.unit_price.amount_minor + 1, ..drop.unit_price };
    first.drop = Arc::new(DropTerms { unit_price: dearer, ..DropTerms::clone(&drop) });
    let Ok(Decision::Replayed(replayed)) = h.engine.place_order(first.clone(), WAIT).await else { panic!("no replay") };
    assert_eq!(replayed.id, order.id);
    first.key = "k2".parse().expect("a key");
    let changed = Refusal::PriceChanged { unit_price: dearer, total_price: dearer };
    assert_eq!(h.engine.place_order(first, WAIT).await, Ok(Decision::Refused(changed)));
}

pub async fn a_limit_counts_the_units_that_are_held(h: Harness) {
    let drop = h.open("limit", 10, 3).await;
    let order = h.buy(&drop, "a", "k1", 2).await;
    assert_eq!(h.refusal(&drop, "a", "k2", 2).await, Refusal::LimitReached { limit: 3, owned: 2 });
    assert_eq!(h.refusal(&drop, "b", "k1", 4).await, Refusal::LimitReached { limit: 3, owned: 0 });
    h.buy(&drop, "a", "k2", 1).await;
    let cancelled = h.engine.cancel_order(&OrderRef::from(&order), CancelledBy::Shopper).await;
    assert_eq!(cancelled, Ok(Cancellation::Cancelled));
    assert_eq!(h.refusal(&drop, "a", "k3", 3).await, Refusal::LimitReached { limit: 3, owned: 1 });
    h.buy(&drop, "a", "k3", 2).await;
}

pub async fn too_few_units_are_told_from_none(h: Harness) {
    let drop = h.open("few", 3, 3).await;
    h.buy(&drop, "a", "k", 2).await;
    assert_eq!(h.refusal(&drop, "b", "k", 2).await, Refusal::InsufficientStock { available: 1 });
    h.buy(&drop, "b", "k", 1).await;
    assert_eq!(h.refusal(&drop, "c", "k", 2).await, Refusal::SoldOut);
}

pub async fn a_log_at_its_bound_of_orders_refuses_only_new_grants(h: Harness) {
    let bounded = h.another(|settings| settings.log_bound.orders = 2).await;
    let drop = h.open("orders", 10, 10).await;
    let orders = ["k1", "k2", "k3"].map(|key| bounded.place_order(request(&drop, "a", key, 1), WAIT));
    let decisions = join_in_order(orders.into()).await;
    assert!(matches!(&decisions[..2], [Ok(Decision::Granted(_)), Ok(Decision::Granted(_))]), "{decisions:?}");
    assert_eq!(decisions[2], Ok(Decision::Refused(Refusal::ArchiveBehind)));
    let Ok(Decision::Granted(order)) = &decisions[0] else { panic!("not granted") };
    only_new_grants_are_refused(&h, &bounded, &drop, OrderRef::from(order)).await;
}

pub async fn a_log_at_its_bound_of_bytes_refuses_only_new_grants(h: Harness) {
    let drop = h.open("bytes", 10, 10).await;
    let order = h.buy(&drop, "a", "k1", 1).await;
    let backlog = h.engine.log_status(h.shard).await.expect("readable").backlog_bytes;
    let bounded = h.another(|settings| settings.log_bound = LogBound { bytes: backlog, orders: 100 }).await;
    only_new_grants_are_refused(&h, &bounded, &drop, OrderRef::from(&order)).await;
}

async fn only_new_grants_are_refused(h: &Harness, bounded: &Engine, drop: &Arc<DropTerms>, order: OrderRef) {
    let place = async |key, units| bounded.place_order(request(drop, "a", key, units), WAIT).await;
    assert!(matches!(place("k1", 1).await, Ok(Decision::Replayed(_))));
    assert_eq!(
        place("new", 11).await,
        Ok(Decision::Refused(Refusal::LimitReached { limit: 10, owned: owned(h, drop).await }))
    );
    assert_eq!(place("new", 1).await, Ok(Decision::Refused(Refusal::ArchiveBehind)));
    assert_eq!(bounded.cancel_order(&order, CancelledBy::Shopper).await, Ok(Cancellation::Cancelled));
    assert_eq!(place("new", 1).await, Ok(Decision::Refused(Refusal::ArchiveBehind)), "a cancellation frees no log");
    for change in [DropChange::Pause, DropChange::Resume] {
        assert!(matches!(bounded.change_drop(&drop.id, &change).await, Ok(DropChangeOutcome::Changed(_))));
    }
    // The archive catches up.
    let claim = h.engine.read_new(h.shard, "c", 100).await.expect("readable");
    let receipts: Vec<_> =
        claim.entries.iter().map(|entry| entry.receipt(&entry.facts().expect("decodable"))).collect();
    h.engine.acknowledge(h.shard, Epoch(1), &receipts).await.expect("acknowledged");
    assert!(matches!(place("new", 1).await, Ok(Decision::Granted(_))));
    let closed = bounded.change_drop(&drop.id, &DropChange::Close(ClosedBy::Operator)).await;
    assert!(matches!(closed, Ok(DropChangeOutcome::Changed(_))));
}

async fn owned(h: &Harness, drop: &Arc<DropTerms>) -> u32 {
    u32::try_from(h.drop_now(&drop.id).await.sold_units).expect("few")
}

pub async fn an_order_for_a_drop_that_is_not_there_is_not_decided(h: Harness) {
    let drop = h.open("there", 1, 1).await;
    let gone = Arc::new(DropTerms { id: h.id("gone"), ..DropTerms::clone(&drop) });
    let decisions = h.in_one_group(vec![request(&gone, "a", "k", 1), request(&drop, "a", "k", 1)]).await;
    assert_eq!(decisions[0], Err(EngineError::ShardRecovering));
    assert!(matches!(decisions[1], Ok(Decision::Granted(_))), "the other drop's order is decided all the same");
    assert_eq!(h.grants().await, 1);
}
