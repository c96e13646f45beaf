//! Orders, folded from the facts that count.

use stampede_archive::{Archive, ArchivedOrder, OrderFilter};
use stampede_domain::{Closing, Epoch, Fact, FactBody, KeyDigest, Order, OrderId, OrderStatus};

use crate::data::{Place, cancellation, compensation, grant, id, order_id, shard};

async fn insert(archive: &dyn Archive, facts: &[Fact]) {
    assert_eq!(archive.insert_facts(facts).await.expect("inserted"), []);
}

async fn status(archive: &dyn Archive, granted: &Fact) -> Option<OrderStatus> {
    let order = archive.order(order_id(granted)).await.expect("read");
    order.map(|archived| archived.order.status)
}

/// Epoch 2 of shard 1 builds on entries up to 10 and on 12, but not on 11.
async fn close_epoch_2(archive: &dyn Archive) {
    let closing =
        Closing { shard: shard(1), epoch: Epoch(2), base: 10, through: 12, holes: vec![11..=11], void: false };
    archive.close_epoch(&closing).await.expect("closed");
}

pub async fn an_order_is_read_as_it_was_placed(archive: &dyn Archive) {
    let granted = grant(Place(1, 3, 7, 2), "ann");
    assert_eq!(archive.order(order_id(&granted)).await.expect("read"), None);
    insert(archive, std::slice::from_ref(&granted)).await;
    let order = granted.order().expect("a grant");
    let archived = ArchivedOrder { order, epoch: Epoch(3), number: 7 };
    assert_eq!(archive.order(order_id(&granted)).await.expect("read"), Some(archived.clone()));
    let listed = archive.orders(&OrderFilter::default(), None, 10).await.expect("read");
    assert_eq!(listed, [archived]);
}

pub async fn an_order_is_cancelled_by_a_fact_that_came_before_it(archive: &dyn Archive) {
    let granted = grant(Place(1, 1, 1, 0), "ann");
    insert(archive, &[cancellation(Place(1, 1, 2, 0), &granted)]).await;
    assert_eq!(status(archive, &granted).await, None, "a cancellation is no order");
    assert_eq!(archive.orders(&OrderFilter::default(), None, 10).await.expect("read"), []);
    insert(archive, std::slice::from_ref(&granted)).await;
    assert_eq!(status(archive, &granted).await, Some(OrderStatus::Cancelled));
    let listed = archive.orders(&OrderFilter::of_user(id("ann")), None, 10).await.expect("read");
    assert_eq!(listed.iter().map(|archived| archived.order.status).collect::<Vec<_>>(), [OrderStatus::Cancelled]);
}

pub async fn a_compensated_order_says_so(archive: &dyn Archive) {
    let (compensated, untouched) = (grant(Place(1, 1, 1, 0), "ann"), grant(Place(1, 1, 1, 1), "ann"));
    let told = compensation(Place(1, 1, 2, 0), &compensated);
    insert(archive, &[compensated.clone(), untouched.clone(), told]).await;
    assert_eq!(status(archive, &compensated).await, Some(OrderStatus::Compensated));
    assert_eq!(status(archive, &untouched).await, Some(OrderStatus::Confirmed));
}

pub async fn an_order_of_which_only_its_compensation_tells_is_one_among_others(archive: &dyn Archive) {
    // Every other order is one that the archive could not keep.
    let granted: Vec<Fact> =
        (1..=12).map(|number| grant(Place(1, 1, number, 0), ["ann", "bob"][number as usize / 2 % 2])).collect();
    let other = Fact { drop_id: id("other"), ..grant(Place(1, 1, 20, 0), "ann") };
    let told: Vec<Fact> = (1..=12)
        .filter(|number| number % 2 == 0)
        .map(|number: u64| compensation(Place(1, 1, 100 + number, 0), &granted[number as usize - 1]))
        .collect();
    let kept: Vec<Fact> = granted.iter().step_by(2).cloned().collect();
    for facts in [&kept[..], &told, &[compensation(Place(1, 1, 200, 0), &other)]] {
        insert(archive, facts).await;
    }
    let compensated = archive.order(order_id(&granted[1])).await.expect("read").expect("told of").order;
    assert_eq!(compensated, Order { status: OrderStatus::Compensated, ..granted[1].order().expect("a grant") });
    assert_eq!(status(archive, &granted[0]).await, Some(OrderStatus::Confirmed));

    let mut all: Vec<&Fact> = granted.iter().chain([&other]).collect();
    all.reverse();
    let of = |user: Option<&str>, drop: Option<&str>| OrderFilter { user_id: user.map(id), drop_id: drop.map(id) };
    for filter in [of(None, None), of(Some("ann"), None), of(None, Some("demo")), of(Some("ann"), Some("demo"))] {
        let wanted = |order: &Order| {
            filter.user_id.as_ref().is_none_or(|user| *user == order.user_id)
                && filter.drop_id.as_ref().is_none_or(|drop| *drop == order.drop_id)
        };
        let expected: Vec<OrderId> =
            all.iter().filter_map(|fact| fact.order()).filter(wanted).map(|order| order.id).collect();
        let (mut listed, mut before) = (Vec::new(), None);
        loop {
            let page = archive.orders(&filter, before, 2).await.expect("read");
            let Some(last) = page.last() else { break };
            before = Some(last.order.id);
            listed.extend(page.into_iter().map(|archived| archived.order));
        }
        assert_eq!(listed.iter().map(|order| order.id).collect::<Vec<_>>(), expected, "{filter:?}");
        let gone = listed.iter().filter(|order| order.status == OrderStatus::Compensated).count();
        assert!(gone > 0 && gone < listed.len(), "{filter:?}");
    }
}

pub async fn a_compensation_that_does_not_count_tells_of_nothing(archive: &dyn Archive) {
    let granted = grant(Place(1, 1, 3, 0), "ann");
    insert(archive, &[compensation(Place(1, 1, 11, 0), &granted)]).await;
    close_epoch_2(archive).await;
    assert_eq!(status(archive, &granted).await, None);
    assert_eq!(archive.orders(&OrderFilter::of_user(id("ann")), None, 10).await.expect("read"), []);
    insert(archive, &[compensation(Place(1, 1, 12, 0), &granted)]).await;
    assert_eq!(status(archive, &granted).await, Some(OrderStatus::Compensated));
    assert_eq!(archive.orders(&OrderFilter::of_user(id("ann")), None, 10).await.expect("read").len(), 1);
}

pub async fn an_order_that_does_not_count_is_invisible(archive: &dyn Archive) {
    let facts: Vec<Fact> = [(1, 10), (1, 11), (1, 12), (1, 13), (2, 13)]
        .map(|(epoch, number)| grant(Place(1, epoch, number, 0), "ann"))
        .into();
    let elsewhere = grant(Place(2, 1, 13, 0), "ann");
    insert(archive, &facts).await;
    insert(archive, std::slice::from_ref(&elsewhere)).await;
    assert!(status(archive, &facts[3]).await.is_some(), "as long as nothing closed its epoch");
    close_epoch_2(archive).await;

    let mut counted = Vec::new();
    for granted in facts.iter().chain([&elsewhere]) {
        counted.push(status(archive, granted).await.is_some());
    }
    assert_eq!(counted, [true, false, true, false, true, true]);
    let listed = archive.orders(&OrderFilter::of_user(id("ann")), None, 10).await.expect("read");
    assert_eq!(listed.len(), 4);
    assert_eq!(archive.facts(shard(1), ALL_FACTS, None, 10).await.expect("read").len(), 5, "facts() shows them all");
}

const ALL_FACTS: stampede_archive::FactRange = stampede_archive::FactRange { from_epoch: Epoch(0), beyond_number: 0 };

pub async fn a_cancellation_that_does_not_count_changes_nothing(archive: &dyn Archive) {
    let (kept, cancelled) = (grant(Place(1, 1, 3, 0), "ann"), grant(Place(1, 1, 3, 1), "ann"));
    let orphan = cancellation(Place(1, 1, 11, 0), &kept);
    let compensation = compensation(Place(1, 1, 13, 0), &cancelled);
    let counts = cancellation(Place(1, 2, 13, 0), &cancelled);
    insert(archive, &[kept.clone(), cancelled.clone(), orphan, compensation, counts]).await;
    close_epoch_2(archive).await;
    assert_eq!(status(archive, &kept).await, Some(OrderStatus::Confirmed));
    assert_eq!(status(archive, &cancelled).await, Some(OrderStatus::Cancelled));
}

pub async fn a_page_of_orders_is_filled_past_those_that_do_not_count(archive: &dyn Archive) {
    let counted: Vec<Fact> = (1..=6).map(|number| grant(Place(1, 1, number, 0), "ann")).collect();
    let orphans: Vec<Fact> = (20..60).map(|number| grant(Place(1, 1, number, 0), "ann")).collect();
    let later: Vec<Fact> = (13..15).map(|number| grant(Place(1, 2, number, 0), "ann")).collect();
    for facts in [&counted, &orphans, &later] {
        insert(archive, facts).await;
    }
    close_epoch_2(archive).await;
    let mut expected: Vec<OrderId> = counted.iter().chain(&later).map(order_id).collect();
    expected.reverse();
    for filter in [OrderFilter::default(), OrderFilter::of_user(id("ann"))] {
        let page = archive.orders(&filter, None, 5).await.expect("read");
        assert_eq!(page.iter().map(|archived| archived.order.id).collect::<Vec<_>>(), expected[..5]);
        let page = archive.orders(&filter, Some(expected[4]), 5).await.expect("read");
        assert_eq!(page.iter().map(|archived| archived.order.id).collect::<Vec<_>>(), expected[5..]);
    }
}

pub async fn orders_are_listed_newest_first_page_by_page(archive: &dyn Archive) {
    // Two shards and several orders of one entry, so that ids tie on their time.
    let facts: Vec<Fact> = (0..24u16)
        .map(|n| grant(Place(1 + n % 2, 1, 1 + u64::from(n / 8), n), if n % 3 == 0 { "ann" } else { "bob" }))
        .collect();
    insert(archive, &facts).await;
    let mut expected: Vec<OrderId> = facts.iter().filter(|fact| is_of(fact, "bob")).map(order_id).collect();
    expected.sort_unstable_by(|a, b| b.cmp(a));
    let mut listed: Vec<OrderId> = Vec::new();
    loop {
        let page = archive.orders(&OrderFilter::of_user(id("bob")), listed.last().copied(), 5).await.expect("read");
        if page.is_empty() {
            break;
        }
        listed.extend(page.iter().map(|archived| archived.order.id));
    }
    assert_eq!(listed, expected);
}

fn is_of(fact: &Fact, user: &str) -> bool {
    fact.order().is_some_and(|order| order.user_id.as_str() == user)
}

pub async fn orders_of_a_user_and_a_drop_are_those_of_both(archive: &dyn Archive) {
    let of_drop = |number, user, drop_id: &str| Fact { drop_id: id(drop_id), ..grant(Place(1, 1, number, 0), user) };
    let facts =
        [of_drop(1, "ann", "one"), of_drop(2, "ann", "two"), of_drop(3, "bob", "one"), of_drop(4, "ann", "one")];
    insert(archive, &facts).await;
    let filter =
        |user: Option<&str>, drop_id: Option<&str>| OrderFilter { user_id: user.map(id), drop_id: drop_id.map(id) };
    for (filter, expected) in [
        (filter(Some("ann"), Some("one")), &[3, 0][..]),
        (filter(None, Some("one")), &[3, 2, 0]),
        (filter(Some("ann"), None), &[3, 1, 0]),
        (filter(None, None), &[3, 2, 1, 0]),
        (filter(Some("cid"), None), &[]),
    ] {
        let listed = archive.orders(&filter, None, 10).await.expect("read");
        let listed: Vec<OrderId> = listed.iter().map(|archived| archived.order.id).collect();
        let expected: Vec<OrderId> = expected.iter().map(|index: &usize| order_id(&facts[*index])).collect();
        assert_eq!(listed, expected, "{filter:?}");
    }
}

pub async fn user_ids_are_taken_literally(archive: &dyn Archive) {
    let users = ["auth0|a", "auth0", "a", "auth0|A", "$ne", "a'; DROP TABLE facts; --", "ü\u{1F45F}", "{\"$gt\":\"\"}"];
    let facts: Vec<Fact> = (1..).zip(users).map(|(number, user)| grant(Place(1, 1, number, 0), user)).collect();
    insert(archive, &facts).await;
    for (user, granted) in users.iter().zip(&facts) {
        let listed = archive.orders(&OrderFilter::of_user(id(user)), None, 10).await.expect("read");
        assert_eq!(listed.iter().map(|archived| archived.order.id).collect::<Vec<_>>(), [order_id(granted)]);
        assert_eq!(listed[0].order.user_id.as_str(), *user);
    }
}

pub async fn an_order_is_found_by_the_key_that_it_was_granted_under(archive: &dyn Archive) {
    let (granted, other) = (grant(Place(1, 1, 3, 0), "ann"), grant(Place(1, 1, 4, 0), "ann"));
    let FactBody::Granted(first) = &granted.body else { panic!("a grant") };
    // The same key of another user, and of the same user in another drop, are other keys.
    let mut of_bob = grant(Place(1, 1, 5, 0), "bob");
    let FactBody::Granted(bobs) = &mut of_bob.body else { panic!("a grant") };
    bobs.key = first.key;
    let mut elsewhere = Fact { drop_id: id("other"), ..grant(Place(1, 1, 6, 0), "ann") };
    let FactBody::Granted(there) = &mut elsewhere.body else { panic!("a grant") };
    there.key = first.key;
    // One that does not count has the key as well: an epoch was cut off and the request came again.
    let mut orphan = grant(Place(1, 1, 11, 0), "ann");
    let FactBody::Granted(cut_off) = &mut orphan.body else { panic!("a grant") };
    cut_off.key = first.key;
    insert(archive, &[granted.clone(), other, of_bob.clone(), elsewhere.clone(), orphan]).await;
    close_epoch_2(archive).await;

    let found =
        async |drop_id: &str, user: &str, key| archive.order_of_key(&id(drop_id), &id(user), key).await.expect("read");
    let (archived, fingerprint) = found("demo", "ann", first.key).await.expect("it is there");
    assert_eq!((archived.order.id, fingerprint), (order_id(&granted), first.fingerprint));
    assert_eq!(archived.order.status, OrderStatus::Confirmed);
    let ids = async |drop_id, user| found(drop_id, user, first.key).await.map(|(archived, _)| archived.order.id);
    assert_eq!(ids("demo", "bob").await, Some(order_id(&of_bob)));
    assert_eq!(ids("other", "ann").await, Some(order_id(&elsewhere)));
    assert_eq!(ids("other", "bob").await, None);
    assert_eq!(found("demo", "ann", KeyDigest([7; 8])).await, None);

    insert(archive, &[cancellation(Place(1, 2, 13, 0), &granted)]).await;
    let (archived, _) = found("demo", "ann", first.key).await.expect("it is there");
    assert_eq!(archived.order.status, OrderStatus::Cancelled);
}
