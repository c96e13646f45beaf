//! Selling: what each request is answered, on one Redis and on a cluster of three masters.

mod support;

use stampede_domain::{CancelledBy, GrantState, OrderStatus};
use stampede_engine::{Cancellation, Decision, OrderRef, Refusal};
use support::Harness;

macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod single {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(super::Harness::single().await).await;
            })+
        }
        mod cluster {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(super::Harness::cluster().await).await;
            })+
        }
    };
}

on_both!(
    the_last_unit_is_granted_once,
    a_replayed_key_returns_the_first_answer_in_a_sold_out_drop,
    a_cancelled_order_gives_its_units_back,
);

async fn the_last_unit_is_granted_once(harness: Harness) {
    let drop = harness.open("last", 1, 1).await;
    let (a, b) = tokio::join!(harness.order(&drop, "a", "k", 1), harness.order(&drop, "b", "k", 1));
    let granted = [&a, &b].iter().filter(|decision| matches!(decision, Ok(Decision::Granted(_)))).count();
    let sold_out =
        [&a, &b].iter().filter(|decision| matches!(decision, Ok(Decision::Refused(Refusal::SoldOut)))).count();
    assert_eq!((granted, sold_out), (1, 1), "{a:?} {b:?}");
    let now = harness.drop_now(&drop.id).await;
    assert_eq!((now.total_units, now.available_units, now.held_units, now.sold_units), (1, 0, 0, 1));
}

async fn a_replayed_key_returns_the_first_answer_in_a_sold_out_drop(harness: Harness) {
    let drop = harness.open("replay", 2, 2).await;
    let Ok(Decision::Granted(order)) = harness.order(&drop, "a", "k1", 2).await else { panic!("not granted") };
    assert_eq!(order.quantity, 2);
    assert_eq!(harness.order(&drop, "a", "k1", 2).await, Ok(Decision::Replayed(order)));
    assert_eq!(harness.order(&drop, "a", "k1", 1).await, Ok(Decision::Refused(Refusal::KeyReused)));
    assert_eq!(
        harness.order(&drop, "a", "k2", 1).await,
        Ok(Decision::Refused(Refusal::LimitReached { limit: 2, owned: 2 }))
    );
    assert_eq!(harness.order(&drop, "b", "k1", 1).await, Ok(Decision::Refused(Refusal::SoldOut)));
}

async fn a_cancelled_order_gives_its_units_back(harness: Harness) {
    let drop = harness.open("cancel", 3, 3).await;
    let Ok(Decision::Granted(order)) = harness.order(&drop, "a", "k1", 2).await else { panic!("not granted") };
    assert_eq!(
        harness.order(&drop, "b", "k1", 2).await,
        Ok(Decision::Refused(Refusal::InsufficientStock { available: 1 }))
    );
    let order_ref = OrderRef::from(&order);
    assert_eq!(harness.engine.cancel_order(&order_ref, CancelledBy::Shopper).await, Ok(Cancellation::Cancelled));
    assert_eq!(
        harness.engine.cancel_order(&order_ref, CancelledBy::Shopper).await,
        Ok(Cancellation::Already(GrantState::Cancelled))
    );
    let Ok(Decision::Replayed(now)) = harness.order(&drop, "a", "k1", 2).await else { panic!("not replayed") };
    assert_eq!((now.id, now.status), (order.id, OrderStatus::Cancelled));
    assert!(matches!(harness.order(&drop, "b", "k1", 3).await, Ok(Decision::Granted(_))));
    let fact = harness.engine.logged_order(order.id).await.expect("readable").expect("in the log");
    assert_eq!(fact.order().map(|logged| logged.user_id), Some(order.user_id));
}
