//! Facts: inserting them.

use futures_util::future::try_join_all;
use stampede_archive::{Archive, FactCursor, FactRange, OrderFilter, Refusal, RefusalReason};
use stampede_domain::{
    CancelledBy, ClosedBy, DropState, Durability, Epoch, Fact, FactBody, FactId, KeyDigest, LogId, OrderStatus,
    Position, Tombstone,
};

use crate::data::{Place, cancellation, compensation, drop_of, fact, grant, id, order_id, shard, window, withdrawal};

const ALL: FactRange = FactRange { from_epoch: Epoch(0), beyond_number: 0 };

async fn insert(archive: &dyn Archive, facts: &[Fact]) {
    assert_eq!(archive.insert_facts(facts).await.expect("inserted"), []);
}

async fn stored(archive: &dyn Archive, number: u16) -> Vec<Fact> {
    archive.facts(shard(number), ALL, None, 100_000).await.expect("read")
}

pub async fn facts_may_be_inserted_again(archive: &dyn Archive) {
    let mut facts: Vec<Fact> = (0..20).map(|index| grant(Place(1, 1, 1, index), "ann")).collect();
    facts.push(fact(Place(1, 1, 2, 0), FactBody::Paused));
    insert(archive, &facts).await;
    insert(archive, &facts).await;
    let more = [&facts[5..], &[grant(Place(1, 1, 3, 0), "bob")]].concat();
    insert(archive, &more).await;
    facts.push(grant(Place(1, 1, 3, 0), "bob"));
    assert_eq!(stored(archive, 1).await, facts);
}

pub async fn the_same_fact_twice_in_one_batch_is_one_fact(archive: &dyn Archive) {
    let once = grant(Place(1, 1, 1, 0), "ann");
    insert(archive, &[once.clone(), once.clone()]).await;
    assert_eq!(stored(archive, 1).await, [once]);
}

pub async fn a_fact_with_other_content_is_refused_and_nothing_overwritten(archive: &dyn Archive) {
    let (first, second) = (grant(Place(1, 1, 1, 0), "ann"), fact(Place(1, 1, 2, 0), FactBody::Paused));
    insert(archive, &[first.clone(), second.clone()]).await;

    let mut dearer = first.clone();
    let FactBody::Granted(grant_of) = &mut dearer.body else { panic!("a grant") };
    grant_of.units = 1;
    assert_eq!(dearer.id(), first.id());
    let other = fact(Place(1, 1, 2, 0), FactBody::Resumed);
    let renumbered = Fact { number: 9, ..second.clone() };
    let new = grant(Place(1, 1, 3, 0), "bob");
    let refusals = archive.insert_facts(&[dearer, new.clone(), other, renumbered, first.clone()]).await;
    let conflict = |of: &Fact, index| Refusal { fact: of.id(), index, reason: RefusalReason::Conflict };
    assert_eq!(
        refusals.expect("answered"),
        [conflict(&first, 0), conflict(&second, 2), conflict(&second, 3)],
        "and the fact between them is no refusal"
    );
    assert_eq!(stored(archive, 1).await, [first, second, new]);
}

pub async fn a_second_fact_at_a_place_in_the_log_is_refused(archive: &dyn Archive) {
    let first = grant(Place(1, 1, 1, 0), "ann");
    insert(archive, std::slice::from_ref(&first)).await;
    let usurper = grant(Place(1, 1, 1, 0), "bob");
    assert_ne!(usurper.id(), first.id());
    let refusals = archive.insert_facts(std::slice::from_ref(&usurper)).await.expect("answered");
    assert_eq!(refusals, [Refusal { fact: usurper.id(), index: 0, reason: RefusalReason::Conflict }]);
    assert_eq!(stored(archive, 1).await, [first]);
    insert(archive, &[grant(Place(1, 2, 1, 0), "bob"), grant(Place(2, 1, 1, 0), "bob")]).await;
}

pub async fn an_order_and_another_fact_have_no_place_in_common(archive: &dyn Archive) {
    let event = |number, index| fact(Place(1, 1, number, index), FactBody::Paused);
    let stored_facts = [grant(Place(1, 1, 1, 0), "ann"), event(2, 1)];
    insert(archive, &stored_facts).await;
    let conflict = |fact: &Fact, index| Refusal { fact: fact.id(), index, reason: RefusalReason::Conflict };
    let late = [event(1, 0), grant(Place(1, 1, 2, 1), "bob")];
    let refusals = archive.insert_facts(&late).await.expect("answered");
    assert_eq!(refusals, [conflict(&late[0], 0), conflict(&late[1], 1)]);
    let beside = [event(1, 1), grant(Place(1, 1, 2, 0), "bob")];
    insert(archive, &beside).await;
    let [ann, paused] = stored_facts;
    let [also_paused, bob] = beside;
    assert_eq!(stored(archive, 1).await, [ann, also_paused, bob, paused]);
}

pub async fn an_order_id_belongs_to_one_entry(archive: &dyn Archive) {
    let first = grant(Place(1, 1, 1, 0), "ann");
    insert(archive, std::slice::from_ref(&first)).await;
    let renumbered = Fact { number: 9, ..first.clone() };
    assert_eq!(renumbered.id(), first.id());
    let refusals = archive.insert_facts(std::slice::from_ref(&renumbered)).await.expect("answered");
    assert_eq!(refusals, [Refusal { fact: first.id(), index: 0, reason: RefusalReason::Conflict }]);
    // After a failover the same log id may come again, with orders of its own.
    let again = Fact { epoch: Epoch(2), number: 9, ..first.clone() };
    insert(archive, std::slice::from_ref(&again)).await;
    assert_eq!(archive.facts_by_ids(&[again.id(), first.id()]).await.expect("read").len(), 2);
    let mut newest_first = [order_id(&first), order_id(&again)];
    newest_first.sort_unstable_by(|one, other| other.cmp(one));
    for filter in [OrderFilter::default(), OrderFilter::of_user(first.order().expect("a grant").user_id)] {
        let both = archive.orders(&filter, None, 2).await.expect("read");
        assert_eq!(both.iter().map(|archived| archived.order.id).collect::<Vec<_>>(), newest_first);
        let first_page = archive.orders(&filter, None, 1).await.expect("read");
        assert_eq!(first_page[0].order.id, newest_first[0]);
        let second_page = archive.orders(&filter, Some(newest_first[0]), 1).await.expect("read");
        assert_eq!(second_page[0].order.id, newest_first[1]);
    }
}

pub async fn orders_of_several_drops_in_one_entry_are_read_in_its_order(archive: &dyn Archive) {
    let of = |index: u16| {
        let drop_id = id(["demo", "other", "third"][usize::from(index % 3)]);
        Fact { drop_id, entry_facts: 30, ..grant(Place(1, 1, 1, index), &format!("user-{index}")) }
    };
    let mut facts: Vec<Fact> = (0..30).map(of).collect();
    facts.push(fact(Place(1, 1, 2, 0), FactBody::Paused));
    facts.push(grant(Place(1, 1, 3, 0), "ann"));
    insert(archive, &facts).await;
    for limit in [1, 4, 7, 30, 31, 100] {
        let (mut read, mut after) = (Vec::new(), None);
        loop {
            let page = archive.facts(shard(1), ALL, after, limit).await.expect("read");
            assert!(page.len() <= limit);
            let Some(last) = page.last() else { break };
            after = Some(FactCursor { epoch: last.epoch, number: last.number, index: last.position.index });
            read.extend(page);
        }
        assert_eq!(read, facts, "{limit} at a time");
    }
    assert_eq!(archive.count_facts(shard(1), Epoch(1), 1..=2).await.expect("counted"), 31);
    let filter = OrderFilter { user_id: None, drop_id: Some(id("third")) };
    let orders = archive.orders(&filter, None, 100).await.expect("read");
    let indexes: Vec<u16> = orders.iter().map(|archived| archived.order.id.position().index).collect();
    assert_eq!(indexes, [29, 26, 23, 20, 17, 14, 11, 8, 5, 2]);
}

pub async fn a_fact_that_cannot_be_stored_does_not_hold_up_the_others(archive: &dyn Archive) {
    let good = grant(Place(1, 1, 1, 0), "ann");
    let beyond = Fact { number: u64::MAX, ..fact(Place(1, 1, 2, 0), FactBody::Paused) };
    let late = LogId { ms: 1 << 48, sequence: 0 };
    let late = Fact { position: Position { log_id: late, index: 0 }, ..fact(Place(1, 1, 3, 0), FactBody::Paused) };
    let refusals = archive.insert_facts(&[beyond, good.clone(), late]).await.expect("answered");
    let rejected = |refusal: &Refusal| matches!(refusal.reason, RefusalReason::Rejected(_));
    assert!(refusals.iter().all(rejected), "{refusals:?}");
    assert_eq!(refusals.iter().map(|refusal| refusal.index).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(stored(archive, 1).await, [good]);
}

pub async fn every_kind_of_fact_comes_back_as_it_went_in(archive: &dyn Archive) {
    let granted = grant(Place(3, 2, 1, 1_023), "did:web:a#b ü \u{1F45F} $where");
    let mut drop = Box::new(drop_of("AIR-1", "demo", window(1, Some(999))));
    drop.durability = Some(Durability::Memory);
    let key = KeyDigest([0, 1, 2, 3, 252, 253, 254, 255]);
    let mut operators = withdrawal(&granted);
    operators.by = CancelledBy::Operator;
    let bodies = [
        FactBody::Opened { drop },
        FactBody::Started,
        FactBody::Released,
        FactBody::Amended { window: window(5, None), limit_per_user: 1_000 },
        FactBody::Amended { window: window(5, Some(7)), limit_per_user: 1 },
        FactBody::Paused,
        FactBody::Resumed,
        FactBody::Restocked { key, units: 1_000_000_000 },
        FactBody::Closed { by: ClosedBy::Clock },
        FactBody::Closed { by: ClosedBy::Operator },
        FactBody::CalledOff,
        FactBody::Cancelled(withdrawal(&granted)),
        FactBody::Cancelled(operators),
        compensation(Place(3, 2, 1, 0), &granted).body,
        FactBody::Replayed { of: granted.id() },
        FactBody::Replayed { of: fact(Place(3, 2, 2, 0), FactBody::Paused).id() },
        FactBody::Purged(Tombstone {
            state: DropState::Cancelled,
            window: window(5, Some(7)),
            limit_per_user: 1_000,
            total_units: 1_000_000_000_000,
            sold_units: 1,
            sent_units: 5,
            received_units: 0,
        }),
        FactBody::Activated,
        FactBody::Sent { to: shard(4), transfer: 3, units: 7 },
        FactBody::Received { from: shard(4), transfer: 1, units: 1_000_000_000 },
    ];
    let mut facts = vec![granted];
    facts.extend((2..).zip(bodies).map(|(number, body)| fact(Place(3, 2, number, 0), body)));
    facts.push(fact(Place(3, u32::MAX, i64::MAX.cast_unsigned(), u16::MAX - 1), FactBody::Paused));
    facts.last_mut().expect("one").position.log_id = LogId { ms: (1 << 48) - 1, sequence: u16::MAX };
    insert(archive, &facts).await;
    insert(archive, &facts).await;
    assert_eq!(stored(archive, 3).await, facts);
    assert!(facts.iter().filter(|fact| matches!(fact.id(), FactId::Order(_))).count() == 1);
}

pub async fn a_large_batch_is_inserted_whole(archive: &dyn Archive) {
    let granted: Vec<Fact> =
        (0..5_000u16).map(|n| grant(Place(1, 1, 1 + u64::from(n / 1_000), n % 1_000), &format!("auth0|{n}"))).collect();
    insert(archive, &granted).await;
    let withdrawn = cancellation(Place(1, 1, 6, 0), &granted[4_321]);
    insert(archive, &[&granted[..], &[withdrawn]].concat()).await;
    assert_eq!(stored(archive, 1).await.len(), 5_001);
    let order = archive.order(order_id(&granted[4_321])).await.expect("read").expect("there");
    assert_eq!(order.order.status, OrderStatus::Cancelled);
}

pub async fn in_a_large_batch_only_the_facts_that_conflict_are_refused(archive: &dyn Archive) {
    // Entries of 1,000 orders each, as a script writes them.
    let alike =
        |n: u64| Fact { entry_facts: 1_000, ..grant(Place(1, 1, 1 + n / 1_000, (n % 1_000) as u16), &format!("u{n}")) };
    let facts: Vec<Fact> = (0..2_517).map(alike).collect();
    let (early, late) = (17, 2_301);
    for place in [early, late] {
        let other = grant(Place(1, 1, 1 + place as u64 / 1_000, (place % 1_000) as u16), "usurper");
        insert(archive, &[other]).await;
    }
    insert(archive, &facts[40..50]).await;
    let conflict = |place: usize| Refusal { fact: facts[place].id(), index: place, reason: RefusalReason::Conflict };
    for _ in 0..2 {
        let refusals = archive.insert_facts(&facts).await.expect("answered");
        assert_eq!(refusals, [conflict(early), conflict(late)]);
    }
    assert_eq!(stored(archive, 1).await.len(), 2_517);
    for (place, listed) in [(0, true), (16, true), (early, false), (45, true), (late, false), (2_516, true)] {
        let FactBody::Granted(grant) = &facts[place].body else { panic!("a grant") };
        let orders = archive.orders(&OrderFilter::of_user(grant.user_id.clone()), None, 10).await.expect("read");
        let ids: Vec<_> = orders.iter().map(|archived| archived.order.id).collect();
        assert_eq!(ids, if listed { vec![order_id(&facts[place])] } else { vec![] }, "{place}");
    }
}

pub async fn batches_that_overlap_may_be_inserted_at_once(archive: &dyn Archive) {
    let facts: Vec<Fact> = (0..200).map(|index| grant(Place(1, 1, 1, index), "ann")).collect();
    let batches = (0..8).map(|n| archive.insert_facts(&facts[n * 20..n * 20 + 60]));
    let refusals = try_join_all(batches).await.expect("inserted");
    assert!(refusals.iter().all(Vec::is_empty), "{refusals:?}");
    assert_eq!(stored(archive, 1).await, facts);
}

pub async fn facts_are_found_by_their_ids(archive: &dyn Archive) {
    let facts =
        [grant(Place(1, 1, 1, 0), "ann"), fact(Place(1, 1, 2, 0), FactBody::Paused), grant(Place(2, 1, 1, 0), "bob")];
    insert(archive, &facts).await;
    let missing = grant(Place(1, 1, 3, 0), "ann").id();
    let mut found = archive.facts_by_ids(&[facts[2].id(), missing, facts[1].id()]).await.expect("read");
    found.sort_by_key(|fact| fact.shard.number());
    assert_eq!(found, facts[1..]);
    assert_eq!(archive.facts_by_ids(&[]).await.expect("read"), []);
}

pub async fn no_facts_are_no_work(archive: &dyn Archive) {
    insert(archive, &[]).await;
    assert_eq!(archive.facts(shard(1), ALL, None, 0).await.expect("read"), []);
}
