//! Cancelling orders.

use stampede_domain::{CancelledBy, ClosedBy, FactBody, GrantState, LogId, OrderStatus, Phase, Withdrawal};
use stampede_engine::{Cancellation, Decision, DropChange, OrderRef, Refusal};

use crate::support::{Harness, user};

pub async fn a_cancelled_order_gives_its_units_back(h: Harness) {
    let drop = h.open("cancel", 3, 3).await;
    let order = h.buy(&drop, "a", "k1", 2).await;
    assert_eq!(h.refusal(&drop, "b", "k1", 2).await, Refusal::InsufficientStock { available: 1 });
    let order_ref = OrderRef::from(&order);
    assert_eq!(h.engine.cancel_order(&order_ref, CancelledBy::Shopper).await, Ok(Cancellation::Cancelled));
    let again = h.engine.cancel_order(&order_ref, CancelledBy::Shopper).await;
    assert_eq!(again, Ok(Cancellation::Already(GrantState::Cancelled)));
    let Ok(Decision::Replayed(now)) = h.order(&drop, "a", "k1", 2).await else { panic!("not replayed") };
    assert_eq!((now.id, now.status), (order.id, OrderStatus::Cancelled));
    h.buy(&drop, "b", "k1", 3).await;
    let body = FactBody::Cancelled(Withdrawal {
        order_id: order.id,
        user_id: order.user_id,
        units: 2,
        by: CancelledBy::Shopper,
    });
    let cancelled: Vec<_> = h.facts().await.into_iter().filter(|fact| fact.body.kind() == body.kind()).collect();
    assert_eq!(cancelled.len(), 1);
    assert_eq!((&cancelled[0].drop_id, &cancelled[0].body), (&drop.id, &body));
}

pub async fn a_shopper_cancels_in_time_and_an_operator_at_any_time(h: Harness) {
    let drop = h.open_with("time", |drop| drop.cancellable_for_s = 60).await;
    let (first, second) = (h.buy(&drop, "a", "k1", 1).await, h.buy(&drop, "a", "k2", 1).await);
    let cancel = async |order, by| h.engine.cancel_order(&OrderRef::from(order), by).await;
    let limit_ms = first.placed_at.as_ms().cast_unsigned() + 60_000;
    h.set_last_id(LogId { ms: limit_ms - 1, sequence: 0 });
    assert_eq!(cancel(&first, CancelledBy::Shopper).await, Ok(Cancellation::Cancelled));
    h.set_last_id(LogId { ms: second.placed_at.as_ms().cast_unsigned() + 60_000, sequence: 0 });
    assert_eq!(cancel(&second, CancelledBy::Shopper).await, Ok(Cancellation::Closed));
    assert_eq!(cancel(&second, CancelledBy::Operator).await, Ok(Cancellation::Cancelled));

    let final_sale = h.open_with("final", |drop| drop.cancellable_for_s = 0).await;
    let order = h.buy(&final_sale, "a", "k", 1).await;
    assert_eq!(cancel(&order, CancelledBy::Shopper).await, Ok(Cancellation::Closed));
    assert_eq!(cancel(&order, CancelledBy::Drop).await, Ok(Cancellation::Cancelled));
}

pub async fn a_shopper_cancels_only_so_many_orders(h: Harness) {
    let drop = h.open_with("many", |drop| (drop.cancellations_per_user, drop.limit_per_user) = (1, 3)).await;
    let mut orders = Vec::new();
    for key in ["k1", "k2", "k3"] {
        orders.push(h.buy(&drop, "a", key, 1).await);
    }
    let other = h.buy(&drop, "b", "k1", 1).await;
    let cancel = async |order, by| h.engine.cancel_order(&OrderRef::from(order), by).await;
    assert_eq!(cancel(&orders[0], CancelledBy::Shopper).await, Ok(Cancellation::Cancelled));
    assert_eq!(cancel(&orders[1], CancelledBy::Shopper).await, Ok(Cancellation::Closed));
    // One that was cancelled is told as such, not as too many.
    let again = cancel(&orders[0], CancelledBy::Shopper).await;
    assert_eq!(again, Ok(Cancellation::Already(GrantState::Cancelled)));
    assert_eq!(cancel(&orders[1], CancelledBy::Operator).await, Ok(Cancellation::Cancelled));
    assert_eq!(cancel(&other, CancelledBy::Shopper).await, Ok(Cancellation::Cancelled));
}

pub async fn an_order_that_the_record_does_not_know_is_unknown(h: Harness) {
    let drop = h.open("unknown", 3, 3).await;
    let order = h.buy(&drop, "a", "k", 1).await;
    let of_another = OrderRef { user_id: user("b"), ..OrderRef::from(&order) };
    assert_eq!(h.engine.cancel_order(&of_another, CancelledBy::Operator).await, Ok(Cancellation::Unknown));
    let other = h.open("elsewhere", 3, 3).await;
    let of_another = OrderRef { drop_id: other.id.clone(), ..OrderRef::from(&order) };
    assert_eq!(h.engine.cancel_order(&of_another, CancelledBy::Operator).await, Ok(Cancellation::Unknown));
    assert_eq!(h.drop_now(&drop.id).await.sold_units, 1);
}

pub async fn orders_are_cancelled_whatever_the_drop_became(h: Harness) {
    let drop = h.open("after", 4, 4).await;
    let changes = [DropChange::Pause, DropChange::Close(ClosedBy::Operator), DropChange::CallOff];
    let mut orders = Vec::new();
    for key in ["k1", "k2", "k3"] {
        orders.push(h.buy(&drop, "a", key, 1).await);
    }
    for (change, order) in changes.iter().zip(&orders) {
        h.engine.change_drop(&drop.id, change).await.expect("changed");
        let cancelled = h.engine.cancel_order(&OrderRef::from(order), CancelledBy::Drop).await;
        assert_eq!(cancelled, Ok(Cancellation::Cancelled), "after {change:?}");
    }
    let now = h.drop_now(&drop.id).await;
    assert_eq!((now.available_units, now.sold_units, now.phase()), (4, 0, Phase::Cancelled));
}

pub async fn units_that_come_back_end_sold_out(h: Harness) {
    let drop = h.open("back", 1, 1).await;
    let order = h.buy(&drop, "a", "k", 1).await;
    let before = h.drop_now(&drop.id).await;
    assert_eq!(before.phase(), Phase::SoldOut);
    h.engine.cancel_order(&OrderRef::from(&order), CancelledBy::Shopper).await.expect("cancelled");
    let after = h.drop_now(&drop.id).await;
    assert_eq!(after.phase(), Phase::Live);
    assert!(after.version > before.version);
    h.buy(&drop, "b", "k", 1).await;
}
