//! Granting, replaying, and groups.

use std::collections::BTreeSet;
use std::time::Duration;

use stampede_domain::{CancelledBy, FactBody, LogId, OrderStatus};
use stampede_engine::{Cancellation, Decision, LogEntry, OrderRef, Refusal};

use crate::support::{Harness, request};

pub async fn the_last_unit_is_granted_once(h: Harness) {
    let drop = h.open("last", 1, 1).await;
    let (a, b) = tokio::join!(h.order(&drop, "a", "k", 1), h.order(&drop, "b", "k", 1));
    let granted = [&a, &b].iter().filter(|decision| matches!(decision, Ok(Decision::Granted(_)))).count();
    let sold_out =
        [&a, &b].iter().filter(|decision| matches!(decision, Ok(Decision::Refused(Refusal::SoldOut)))).count();
    assert_eq!((granted, sold_out), (1, 1), "{a:?} {b:?}");
    let now = h.drop_now(&drop.id).await;
    assert_eq!((now.total_units, now.available_units, now.held_units, now.sold_units), (1, 0, 0, 1));
}

pub async fn a_replayed_key_returns_the_first_answer_in_a_sold_out_drop(h: Harness) {
    let drop = h.open("replay", 2, 2).await;
    let order = h.buy(&drop, "a", "k1", 2).await;
    assert_eq!(order.quantity, 2);
    assert_eq!(h.order(&drop, "a", "k1", 2).await, Ok(Decision::Replayed(order)));
    assert_eq!(h.refusal(&drop, "a", "k1", 1).await, Refusal::KeyReused);
    assert_eq!(h.refusal(&drop, "a", "k2", 1).await, Refusal::LimitReached { limit: 2, owned: 2 });
    assert_eq!(h.refusal(&drop, "b", "k1", 1).await, Refusal::SoldOut);
    assert_eq!(h.log().await.len(), 2, "refusals and replays cost no entry");
}

pub async fn one_user_twice_in_a_group_meets_the_limit(h: Harness) {
    let drop = h.open("twice", 10, 2).await;
    let orders = [("a", "k1"), ("a", "k2"), ("b", "k1"), ("a", "k3")];
    let decisions = h.in_one_group(orders.map(|(user, key)| request(&drop, user, key, 1)).into()).await;
    let Ok([Ok(Decision::Granted(a1)), Ok(Decision::Granted(a2)), Ok(Decision::Granted(b)), Ok(third)]) =
        <[_; 4]>::try_from(decisions)
    else {
        panic!("not granted")
    };
    assert_eq!(third, Decision::Refused(Refusal::LimitReached { limit: 2, owned: 2 }));
    let positions = [&a1, &a2, &b].map(|order| order.id.position());
    assert_eq!(BTreeSet::from(positions.map(|position| position.log_id)).len(), 1, "one entry");
    assert_eq!(positions.map(|position| position.index), [0, 1, 2]);
    assert_eq!(h.drop_now(&drop.id).await.sold_units, 3);
}

pub async fn one_key_twice_in_a_group_is_granted_once(h: Harness) {
    let drop = h.open("key", 10, 10).await;
    let orders = [("a", "k", 1), ("a", "k", 1), ("a", "k", 2), ("b", "k", 1)];
    let decisions = h.in_one_group(orders.map(|(user, key, units)| request(&drop, user, key, units)).into()).await;
    let Ok(Decision::Granted(first)) = &decisions[0] else { panic!("{decisions:?}") };
    assert_eq!(decisions[1], Ok(Decision::Replayed(first.clone())));
    assert_eq!(decisions[2], Ok(Decision::Refused(Refusal::KeyReused)));
    let Ok(Decision::Granted(other)) = &decisions[3] else { panic!("{decisions:?}") };
    assert_eq!(first.id.position().log_id, other.id.position().log_id, "one entry");
    assert_eq!((h.grants().await, h.drop_now(&drop.id).await.sold_units), (2, 2));
}

pub async fn several_drops_share_a_group(h: Harness) {
    let (one, two) = (h.open("one", 1, 1).await, h.open("two", 5, 5).await);
    let orders = vec![
        request(&two, "a", "k", 3),
        request(&one, "a", "k", 1),
        request(&one, "b", "k", 1),
        request(&two, "b", "k", 3),
        request(&two, "a", "k2", 2),
    ];
    let decisions = h.in_one_group(orders).await;
    let granted: Vec<_> = decisions
        .iter()
        .map(|decision| match decision {
            Ok(Decision::Granted(order)) => Some((order.drop_id.clone(), order.id.position().log_id)),
            _ => None,
        })
        .collect();
    let entry: LogId = granted[0].as_ref().expect("granted").1;
    assert_eq!(granted[1], Some((one.id.clone(), entry)));
    assert_eq!(decisions[2], Ok(Decision::Refused(Refusal::SoldOut)));
    assert_eq!(decisions[3], Ok(Decision::Refused(Refusal::InsufficientStock { available: 2 })));
    assert_eq!(granted[4], Some((two.id.clone(), entry)));
    assert_eq!(h.drop_now(&one.id).await.sold_units, 1);
    assert_eq!(h.drop_now(&two.id).await.sold_units, 5);
    assert_eq!(h.grants().await, 3);
}

pub async fn a_group_is_decided_in_the_order_of_arrival(h: Harness) {
    let drop = h.open("first", 300, 1).await;
    let users: Vec<String> = (0..400).map(|n| format!("user-{n}")).collect();
    let decisions = h.in_one_group(users.iter().map(|user| request(&drop, user, "k", 1)).collect()).await;
    for (place, decision) in decisions.iter().enumerate() {
        let granted =
            matches!(decision, Ok(Decision::Granted(order)) if usize::from(order.id.position().index) == place);
        assert_eq!(granted, place < 300, "{place}: {decision:?}");
    }
    assert_eq!(h.log().await.len(), 2, "the opening and one group");
}

pub async fn a_cancelled_order_of_a_group_can_be_told_from_the_others(h: Harness) {
    let drop = h.open("inside", 600, 600).await;
    let keys: Vec<String> = (0..600).map(|n| format!("k{n}")).collect();
    let decisions = h.in_one_group(keys.iter().map(|key| request(&drop, "a", key, 1)).collect()).await;
    let orders: Vec<_> = decisions
        .into_iter()
        .map(|decision| match decision {
            Ok(Decision::Granted(order)) => order,
            other => panic!("{other:?}"),
        })
        .collect();
    // An index beyond a byte, next to the bits of the state.
    let cancelled = h.engine.cancel_order(&OrderRef::from(&orders[515]), CancelledBy::Operator).await;
    assert_eq!(cancelled, Ok(Cancellation::Cancelled));
    for (place, key) in [(3, "k3"), (514, "k514"), (515, "k515"), (516, "k516")] {
        let Ok(Decision::Replayed(now)) = h.order(&drop, "a", key, 1).await else { panic!("{key} is not replayed") };
        assert_eq!(now.id, orders[place].id);
        assert_eq!(now.status == OrderStatus::Cancelled, place == 515, "{key}");
    }
}

pub async fn orders_of_a_busy_shard_gather(h: Harness) {
    let drop = h.open("busy", 10, 1).await;
    let engine = h.another(|settings| settings.group_interval = Duration::from_secs(2)).await;
    let wait = Duration::from_secs(30);
    let first = engine.place_order(request(&drop, "first", "k", 1), wait).await;
    assert!(matches!(first, Ok(Decision::Granted(_))), "{first:?}");
    let users = ["a", "b", "c", "d", "e"];
    let orders = users.map(|user| engine.place_order(request(&drop, user, "k", 1), wait));
    let decisions = futures_util::future::join_all(orders).await;
    assert!(decisions.iter().all(|decision| matches!(decision, Ok(Decision::Granted(_)))), "{decisions:?}");
    let log = h.log().await;
    let granted = |entry: &LogEntry| {
        let facts = entry.facts().expect("decodable");
        facts.iter().filter(|fact| matches!(fact.body, FactBody::Granted(_))).count()
    };
    let groups: Vec<usize> = log.iter().map(granted).filter(|count| *count > 0).collect();
    assert_eq!(groups, [1, users.len()], "the first goes at once, the others go together");
}

pub async fn a_group_that_is_worth_its_call_waits_for_nothing(h: Harness) {
    let drop = h.open("worth", 40, 1).await;
    let engine = h.another(|settings| settings.group_interval = Duration::from_secs(1_000)).await;
    let order = |user: String| engine.place_order(request(&drop, &user, "k", 1), Duration::from_secs(2_000));
    let first = order("first".to_owned()).await;
    assert!(matches!(first, Ok(Decision::Granted(_))), "{first:?}");
    let all = futures_util::future::join_all((0..32).map(|n| order(format!("user-{n}"))));
    let decisions = tokio::time::timeout(Duration::from_secs(60), all).await.expect("32 orders are worth a call");
    assert!(decisions.iter().all(|decision| matches!(decision, Ok(Decision::Granted(_)))), "{decisions:?}");
}
