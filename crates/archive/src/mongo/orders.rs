//! Orders, folded from the facts that count.

use mongodb::bson::{Bson, doc};
use stampede_domain::{DropId, Fact, Fingerprint, KeyDigest, OrderId, UserId};

use super::client::Collections;
use super::documents::{collect, limit as to_limit, uuid};
use super::epochs;
use super::fact_documents::{COMPENSATED, GRANTED, read};
use crate::fold::{self, Closings};
use crate::{ArchiveError, ArchivedOrder, OrderFilter};

/// How many orders' withdrawals one query looks for.
const WITHDRAWALS_OF: usize = 1_000;

pub(super) async fn one(collections: &Collections, id: OrderId) -> Result<Option<ArchivedOrder>, ArchiveError> {
    let mut closings = Closings::default();
    let mut orders = granted(collections, id, &mut closings).await;
    if !matches!(&orders, Ok(found) if !found.is_empty()) {
        // What the archive could not keep, it may know to be given back.
        let query = doc! { "kind": COMPENSATED, "details.order_id": uuid(id) };
        let given_back = collect(collections.facts.find(query), read).await?;
        let given_back = counting(collections, given_back, &mut closings).await?;
        if !given_back.is_empty() {
            orders = Ok(given_back);
        }
    }
    let mut orders = orders?;
    fold_status(collections, &mut orders, &mut closings).await?;
    Ok(orders.pop())
}

async fn granted(
    collections: &Collections,
    id: OrderId,
    closings: &mut Closings,
) -> Result<Vec<ArchivedOrder>, ArchiveError> {
    let found = collections.facts.find_one(doc! { "_id": uuid(id) }).await?;
    let fact = found.map(read).transpose()?;
    counting(collections, fact.into_iter().collect(), closings).await
}

pub(super) async fn page(
    collections: &Collections,
    filter: &OrderFilter,
    before: Option<OrderId>,
    limit: usize,
) -> Result<Vec<ArchivedOrder>, ArchiveError> {
    let mut closings = Closings::default();
    let granted = counting_page(collections, filter, before, limit, &mut closings, false).await?;
    let given_back = counting_page(collections, filter, before, limit, &mut closings, true).await?;
    let mut orders = fold::merge(granted, given_back, limit);
    fold_status(collections, &mut orders, &mut closings).await?;
    Ok(orders)
}

/// Orders that were granted, or those that compensations tell of. Reads on until the page is full: facts that do not count
/// may lie in between.
async fn counting_page(
    collections: &Collections,
    filter: &OrderFilter,
    mut before: Option<OrderId>,
    limit: usize,
    closings: &mut Closings,
    given_back: bool,
) -> Result<Vec<ArchivedOrder>, ArchiveError> {
    let mut orders: Vec<ArchivedOrder> = Vec::new();
    while orders.len() < limit {
        let wanted = limit - orders.len();
        let facts = if given_back {
            compensations(collections, filter, before, wanted).await?
        } else {
            grants(collections, filter, before, wanted).await?
        };
        let exhausted = facts.len() < wanted;
        before = facts.last().and_then(fold::order_of).map(|order| order.id);
        orders.extend(counting(collections, facts, closings).await?);
        if exhausted {
            break;
        }
    }
    Ok(orders)
}

pub(super) async fn of_key(
    collections: &Collections,
    drop_id: &DropId,
    user_id: &UserId,
    key: KeyDigest,
) -> Result<Option<(ArchivedOrder, Fingerprint)>, ArchiveError> {
    // The index of users' orders finds the few of this one.
    let query = doc! {
        "kind": GRANTED,
        "user_id": user_id.as_str(),
        "drop_id": drop_id.as_str(),
        "key_digest": key.to_string(),
    };
    let granted = collect(collections.facts.find(query), read).await?;
    let filter = OrderFilter { user_id: Some(user_id.clone()), drop_id: Some(drop_id.clone()) };
    let mut facts = compensations(collections, &filter, None, usize::MAX).await?;
    facts.retain(|fact| fold::is_of_key(fact, key));
    facts.extend(granted);
    let mut closings = Closings::default();
    learn(collections, &facts, &mut closings).await?;
    facts.retain(|fact| closings.count(fact));
    let fingerprint = fold::fingerprint(&facts);
    let mut orders = fold::orders(facts);
    fold_status(collections, &mut orders, &mut closings).await?;
    Ok(orders.pop().zip(fingerprint))
}

async fn grants(
    collections: &Collections,
    filter: &OrderFilter,
    before: Option<OrderId>,
    limit: usize,
) -> Result<Vec<Fact>, ArchiveError> {
    // The partial indexes are of use only to a query that names the kind.
    let mut query = doc! { "kind": GRANTED };
    if let Some(user_id) = &filter.user_id {
        query.insert("user_id", user_id.as_str());
    }
    if let Some(drop_id) = &filter.drop_id {
        query.insert("drop_id", drop_id.as_str());
    }
    if let Some(before) = before {
        query.insert("_id", doc! { "$lt": uuid(before) });
    }
    collect(collections.facts.find(query).sort(doc! { "_id": -1 }).limit(to_limit(limit)), read).await
}

/// Compensations, by the ids of their orders.
async fn compensations(
    collections: &Collections,
    filter: &OrderFilter,
    before: Option<OrderId>,
    limit: usize,
) -> Result<Vec<Fact>, ArchiveError> {
    let mut query = doc! { "kind": COMPENSATED };
    if let Some(user_id) = &filter.user_id {
        query.insert("details.grant.user_id", user_id.as_str());
    }
    if let Some(drop_id) = &filter.drop_id {
        query.insert("drop_id", drop_id.as_str());
    }
    if let Some(before) = before {
        query.insert("details.order_id", doc! { "$lt": uuid(before) });
    }
    let newest_first = doc! { "details.order_id": -1 };
    collect(collections.facts.find(query).sort(newest_first).limit(to_limit(limit)), read).await
}

/// The orders of those facts that count.
async fn counting(
    collections: &Collections,
    mut facts: Vec<Fact>,
    closings: &mut Closings,
) -> Result<Vec<ArchivedOrder>, ArchiveError> {
    learn(collections, &facts, closings).await?;
    facts.retain(|fact| closings.count(fact));
    Ok(fold::orders(facts))
}

async fn fold_status(
    collections: &Collections,
    orders: &mut [ArchivedOrder],
    closings: &mut Closings,
) -> Result<(), ArchiveError> {
    let mut withdrawals = Vec::new();
    for chunk in orders.chunks(WITHDRAWALS_OF) {
        let ids: Vec<Bson> = chunk.iter().map(|archived| uuid(archived.order.id)).collect();
        let find = collections.facts.find(doc! { "details.order_id": { "$in": ids } });
        withdrawals.extend(collect(find, read).await?);
    }
    learn(collections, &withdrawals, closings).await?;
    fold::withdraw(orders, &withdrawals, closings);
    Ok(())
}

async fn learn(collections: &Collections, facts: &[Fact], closings: &mut Closings) -> Result<(), ArchiveError> {
    for shard in closings.unknown_shards(facts) {
        closings.learn(shard, epochs::closings(collections, shard).await?);
    }
    Ok(())
}
