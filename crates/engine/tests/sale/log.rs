//! What the log and the records say of a sale.

use std::collections::{BTreeMap, BTreeSet};

use stampede_domain::{
    CancelledBy, ClosedBy, Epoch, GrantState, KeyDigest, LogId, Order, OrderId, Shard, Timestamp, UserDigest,
};
use stampede_engine::{DropChange, OrderRef, Refusal};

use crate::support::{Harness, request, user};

/// A little of everything.
async fn busy_sale(h: &Harness) -> Vec<Order> {
    let starts_at = Timestamp::now().plus_ms(3_600_000);
    let later = h.open_with("later", |drop| drop.window.starts_at = starts_at).await;
    let drop = h.open("now", 4, 4).await;
    let amend = DropChange::Amend { starts_at: None, ends_at: Some(Some(starts_at)), limit_per_user: None };
    let orders = vec![h.buy(&drop, "a", "k1", 2).await, h.buy(&drop, "b", "k1", 1).await];
    for change in [DropChange::Start, DropChange::Pause, DropChange::Resume, amend] {
        h.engine.change_drop(&drop.id, &change).await.expect("changed");
    }
    h.engine.cancel_order(&OrderRef::from(&orders[0]), CancelledBy::Shopper).await.expect("cancelled");
    let restock = DropChange::Restock { key: KeyDigest([1; 8]), units: 2 };
    let ended = DropChange::Close(ClosedBy::Operator);
    for (id, change) in [(&drop.id, restock), (&drop.id, ended), (&later.id, DropChange::CallOff)] {
        h.engine.change_drop(id, &change).await.expect("changed");
    }
    orders
}

pub async fn entries_are_numbered_without_a_gap_and_tell_what_happened(h: Harness) {
    busy_sale(&h).await;
    let log = h.log().await;
    let numbers: Vec<u64> = log.iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, Vec::from_iter(1..=log.len() as u64));
    assert!(log.is_sorted_by(|one, next| one.id < next.id));
    assert!(log.iter().all(|entry| entry.epoch == Epoch(1) && entry.shard == h.shard));
    let kinds: Vec<&str> = h.facts().await.iter().map(|fact| fact.body.kind()).collect();
    assert_eq!(
        kinds,
        [
            "opened",
            "opened",
            "granted",
            "granted",
            "started",
            "paused",
            "resumed",
            "amended",
            "cancelled",
            "restocked",
            "closed",
            "called_off"
        ]
    );
    let status = h.engine.log_status(h.shard).await.expect("readable");
    assert_eq!((status.number, status.entries, status.pending), (12, 12, 0));
    assert_eq!((status.backlog_orders, status.oldest_ms), (2, Some(log[0].id.ms)));
    let bytes: u64 = log.iter().map(|entry| entry.receipt(&[]).bytes).sum();
    assert_eq!(status.backlog_bytes, bytes);
}

pub async fn versions_rise_with_every_change(h: Harness) {
    let drop = h.open("rising", 2, 2).await;
    let other = h.open("other", 2, 2).await;
    let mut last = h.drop_now(&drop.id).await.version;
    let still = h.drop_now(&other.id).await.version;
    let mut rose = async |h: &Harness, what: &str| {
        let now = h.drop_now(&drop.id).await.version;
        assert!(now > last, "{what}");
        last = now;
    };
    let order = h.buy(&drop, "a", "k", 2).await;
    rose(&h, "order").await;
    h.engine.cancel_order(&OrderRef::from(&order), CancelledBy::Shopper).await.expect("cancelled");
    rose(&h, "cancellation").await;
    let restock = DropChange::Restock { key: KeyDigest([1; 8]), units: 2 };
    for change in [DropChange::Start, DropChange::Pause, DropChange::Resume, restock, DropChange::CallOff] {
        h.engine.change_drop(&drop.id, &change).await.expect("changed");
        rose(&h, "change").await;
    }
    let before = last;
    assert!(matches!(h.refusal(&drop, "b", "k", 1).await, Refusal::NotActive { .. }));
    assert_eq!(h.drop_now(&drop.id).await.version, before, "a refusal changes nothing");
    assert_eq!(h.drop_now(&other.id).await.version, still);
}

pub async fn every_order_is_found_by_its_id(h: Harness) {
    let drop = h.open("found", 100, 1).await;
    let users: Vec<String> = (0..50).map(|n| format!("user-{n}")).collect();
    let mut orders = Vec::new();
    for group in users.chunks(10) {
        for decision in h.in_one_group(group.iter().map(|user| request(&drop, user, "k", 1)).collect()).await {
            let Ok(stampede_engine::Decision::Granted(order)) = decision else { panic!("{decision:?}") };
            orders.push(order);
        }
    }
    assert_eq!(orders.iter().map(|order| order.id).collect::<BTreeSet<_>>().len(), 50);
    assert!(orders.is_sorted_by(|one, next| one.id < next.id), "ids sort by time");
    for order in &orders {
        assert_eq!(order.id.shard(), h.shard);
        let fact = h.engine.logged_order(order.id).await.expect("readable").expect("in the log");
        assert_eq!(fact.order().as_ref(), Some(order));
    }
    // The same place with another nonce, and places where no order is.
    let position = orders[0].id.position();
    let forged = OrderId::new(h.shard, position, orders[0].id.nonce() ^ 1);
    let beyond = OrderId::new(h.shard, stampede_domain::Position { index: 500, ..position }, 0);
    let nowhere = stampede_domain::Position { log_id: LogId { ms: 1, sequence: 1 }, index: 0 };
    for id in [forged, beyond, OrderId::new(h.shard, nowhere, 0)] {
        assert_eq!(h.engine.logged_order(id).await, Ok(None));
    }
    let elsewhere = Shard::new(4_000).expect("in range");
    assert!(h.engine.logged_order(OrderId::new(elsewhere, position, 0)).await.is_err());
}

pub async fn the_newest_orders_come_in_pages(h: Harness) {
    let (drop, other) = (h.open("pages", 500, 500).await, h.open("other", 500, 500).await);
    let mut ids = Vec::new();
    // More entries than one reading takes; groups of both drops, and entries of neither kind.
    for round in 0..70 {
        let keys: Vec<String> = (0..3).map(|n| format!("k{round}-{n}")).collect();
        let mut orders: Vec<_> = keys.iter().map(|key| request(&drop, "a", key, 1)).collect();
        orders.push(request(&other, "a", &keys[0], 1));
        let placed = orders.into_iter().map(|order| h.engine.place_order(order, crate::support::WAIT));
        for decision in crate::support::join_in_order(placed.collect()).await {
            let Ok(stampede_engine::Decision::Granted(order)) = decision else { panic!("{decision:?}") };
            if order.drop_id == drop.id {
                ids.push(order.id);
            }
        }
        if round % 10 == 0 {
            h.engine.change_drop(&other.id, &DropChange::Pause).await.expect("paused");
            h.engine.change_drop(&other.id, &DropChange::Resume).await.expect("resumed");
        }
    }
    ids.reverse();
    let (mut paged, mut before) = (Vec::new(), None);
    loop {
        let page = h.engine.newest_logged_orders(h.shard, &drop.id, before, 17).await.expect("readable");
        assert!(page.len() <= 17);
        let Some(last) = page.last() else { break };
        before = last.order().map(|order| order.id);
        paged.extend(page.iter().map(|fact| fact.order().expect("an order").id));
    }
    assert_eq!(paged, ids);
}

pub async fn what_users_hold_is_read_and_listed(h: Harness) {
    let drop = h.open("held", 900, 3).await;
    let users: Vec<String> = (0..600).map(|n| format!("user-{n}")).collect();
    h.in_one_group(users.iter().map(|user| request(&drop, user, "k1", 1)).collect()).await;
    let order = h.buy(&drop, "user-7", "k2", 2).await;
    h.engine.cancel_order(&OrderRef::from(&order), CancelledBy::Shopper).await.expect("cancelled");

    let holder = UserDigest::of(&user("user-7"));
    let asked = [(drop.id.clone(), holder), (h.id("gone"), holder), (drop.id.clone(), UserDigest::of(&user("none")))];
    let read = h.engine.user_grants(h.shard, &asked).await.expect("readable");
    let (terms, grants) = read[0].grants.as_ref().expect("the drop is there");
    assert_eq!(*terms, *drop);
    let held: Vec<_> = grants.iter().map(|grant| (grant.units, grant.state)).collect();
    assert_eq!(held, [(1, GrantState::Confirmed), (2, GrantState::Cancelled)]);
    assert_eq!(h.engine.order_of(h.shard, &user("user-7"), terms, &grants[1]).id, order.id);
    assert_eq!(read[1].grants, None);
    assert_eq!(read[2].grants.as_ref().map(|(_, grants)| grants.len()), Some(0));

    let (mut listed, mut cursor, mut pieces) = (BTreeMap::new(), 0, 0);
    loop {
        let piece = h.engine.scan_users(h.shard, &drop.id, cursor, 50).await.expect("readable");
        listed.extend(piece.users);
        pieces += 1;
        match piece.next {
            Some(next) => cursor = next,
            None => break,
        }
    }
    assert!(pieces > 1, "so many users in one piece");
    assert_eq!(listed.len(), 600);
    assert_eq!(listed.get(&holder), Some(grants));
}
