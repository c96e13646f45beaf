//! The invariants of a sale, checked from outside once the log has drained: Redis and the archive are read, and must tell
//! the same story.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use stampede_archive::{Archive, ArchivedOrder, DropRecord, FactRange, OrderFilter};
use stampede_domain::{Epoch, Fact, FactBody, FactId, Order, OrderId, OrderStatus, Shard, UserDigest, UserId};
use stampede_engine::Engine;

/// How long a log may take to drain.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);

/// Orders and users that one call reads.
const AT_ONCE: usize = 500;

/// Waits until the logs have drained, and asserts all invariants, for every drop of the deployment.
///
/// # Panics
/// If one is broken, or a store does not answer.
pub async fn assert_all(engine: &Engine, archive: &dyn Archive) {
    for shard in engine.shards() {
        wait_until_drained(engine, shard).await;
        assert_numbers_rise_by_one(archive, shard).await;
    }
    for shard in engine.shards() {
        for record in archive.drops_of_shard(shard, None, 10_000).await.expect("the archive answers") {
            assert_drop(engine, archive, &record).await;
        }
    }
}

async fn wait_until_drained(engine: &Engine, shard: Shard) {
    let started = Instant::now();
    loop {
        if let Ok(status) = engine.log_status(shard).await
            && status.entries == 0
        {
            assert_eq!((status.pending, status.backlog_orders, status.backlog_bytes), (0, 0, 0), "{shard}");
            return;
        }
        assert!(started.elapsed() < DRAIN_LIMIT, "the log of {shard} does not drain");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Every entry of a shard that was never restarted is in the archive, whole: none was lost, none is there twice. A fact that
/// the archive refused is there as a note.
async fn assert_numbers_rise_by_one(archive: &dyn Archive, shard: Shard) {
    let epoch = archive.epoch(shard).await.expect("the archive answers");
    let closings = archive.closings(shard).await.expect("the archive answers");
    let range = FactRange { from_epoch: Epoch(0), beyond_number: 0 };
    let mut facts = archive.facts(shard, range, None, 1_000_000).await.expect("the archive answers");
    let ids: HashSet<FactId> = facts.iter().map(Fact::id).collect();
    let notes = archive.dead_letters(shard, range, None, 1_000_000).await.expect("the archive answers");
    facts.extend(notes.into_iter().map(|letter| letter.fact).filter(|fact| !ids.contains(&fact.id())));
    let mut seen: HashMap<(Epoch, u64), (u16, u16)> = HashMap::new();
    for fact in facts.iter().filter(|fact| stampede_domain::counts(fact.epoch, fact.number, &closings)) {
        seen.entry((fact.epoch, fact.number)).or_insert((fact.entry_facts, 0)).1 += 1;
    }
    assert!(seen.values().all(|(expected, found)| expected == found), "an entry of {shard} is not whole");
    if epoch == Epoch(1) {
        let last = seen.keys().map(|(_, number)| *number).max().unwrap_or_default();
        assert_eq!(seen.len() as u64, last, "entries of {shard} are missing");
    }
}

async fn assert_drop(engine: &Engine, archive: &dyn Archive, record: &DropRecord) {
    let id = &record.definition.id;
    let reading = engine.read_drops(engine.shard_of(id), std::slice::from_ref(id)).await.expect("Redis answers");
    let live = reading.drops.into_iter().next().flatten().expect("the drop is in Redis");
    assert_eq!(live.total_units, live.available_units + live.held_units + live.sold_units, "{live:?}");

    let orders = archived_orders(archive, record).await;
    let ids: HashSet<OrderId> = orders.iter().map(|order| order.id).collect();
    assert_eq!(ids.len(), orders.len(), "an order of {id} is archived twice");
    let mut owned: HashMap<&UserId, u64> = HashMap::new();
    for order in orders.iter().filter(|order| order.status == OrderStatus::Confirmed) {
        *owned.entry(&order.user_id).or_default() += u64::from(order.quantity);
    }
    assert_eq!(live.sold_units, owned.values().sum::<u64>(), "units of {id}: Redis against the archive");
    for (user, units) in owned {
        assert!(units <= u64::from(live.limit_per_user), "{user} has {units} units of {id}");
    }
    let (window, ends) = (live.window.starts_at, live.window.ends_at);
    assert!(
        orders.iter().all(|order| order.placed_at >= window && ends.is_none_or(|end| order.placed_at < end)),
        "an order of {id} was placed outside its window"
    );
    if !live.purged {
        assert_records(engine, record, &orders).await;
    }
    let shards = record.definition.stripes.shards(engine.shard_of(id));
    assert_keys(archive, &shards, record).await;
}

/// Each user's record holds that user's archived orders, with their statuses, and nothing else.
async fn assert_records(engine: &Engine, record: &DropRecord, orders: &[Order]) {
    let id = &record.definition.id;
    let mut by_user: HashMap<&UserId, Vec<&Order>> = HashMap::new();
    for order in orders {
        by_user.entry(&order.user_id).or_default().push(order);
    }
    let users: Vec<(&UserId, Vec<&Order>)> = by_user.into_iter().collect();
    for users in users.chunks(AT_ONCE) {
        let asked: Vec<_> = users.iter().map(|(user, _)| (id.clone(), UserDigest::of(user))).collect();
        let mut held_of: Vec<Vec<Order>> = vec![Vec::new(); users.len()];
        for shard in record.definition.stripes.shards(engine.shard_of(id)) {
            let found = engine.user_grants(shard, &asked).await.expect("Redis answers");
            for (((user, _), held), found) in users.iter().zip(&mut held_of).zip(found) {
                let (terms, records) = found.grants.expect("the drop is in Redis");
                held.extend(records.iter().map(|record| engine.order_of(shard, user, &terms, record)));
            }
        }
        for ((user, archived), mut held) in users.iter().zip(held_of) {
            let mut archived: Vec<Order> = archived.iter().map(|order| (*order).clone()).collect();
            held.sort_by_key(|order| order.id);
            archived.sort_by_key(|order| order.id);
            assert_eq!(held, archived, "{user} in {id}: Redis against the archive");
        }
    }
}

/// One key of one user grants at most once.
async fn assert_keys(archive: &dyn Archive, shards: &[Shard], record: &DropRecord) {
    let range = FactRange { from_epoch: Epoch(0), beyond_number: 0 };
    let mut seen = HashSet::new();
    for shard in shards {
        let facts = archive.facts(*shard, range, None, 1_000_000).await.expect("the archive answers");
        let closings = archive.closings(*shard).await.expect("the archive answers");
        for fact in facts.iter().filter(|fact| fact.drop_id == record.definition.id) {
            if let FactBody::Granted(grant) = &fact.body
                && stampede_domain::counts(fact.epoch, fact.number, &closings)
            {
                assert!(seen.insert((grant.user_id.clone(), grant.key)), "a key of {} granted twice", grant.user_id);
            }
        }
    }
}

async fn archived_orders(archive: &dyn Archive, record: &DropRecord) -> Vec<Order> {
    let filter = OrderFilter { drop_id: Some(record.definition.id.clone()), user_id: None };
    let mut orders: Vec<Order> = Vec::new();
    loop {
        let before = orders.last().map(|order| order.id);
        let page: Vec<ArchivedOrder> = archive.orders(&filter, before, AT_ONCE).await.expect("the archive answers");
        if page.is_empty() {
            return orders;
        }
        orders.extend(page.into_iter().map(|archived| archived.order));
    }
}
