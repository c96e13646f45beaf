//! Facts: inserting them, and reading them in the order of the log.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;

use mongodb::bson::{Bson, Document, doc};
use mongodb::options::ReadConcern;
use stampede_domain::{Epoch, Fact, FactId, LogId, OrderId, Shard};

use super::client::Collections;
use super::dead_letters;
use super::documents::{Fields, collect, limit as to_limit, uuid};
use super::fact_documents::{fact_id, read, write};
use super::unordered::{self, Inserted, refusal};
use crate::{ArchiveError, FactCursor, FactRange, Refusal, RefusalReason};

/// How many facts one query reads again, so that its list of ids stays far below the limit of a document.
const REREAD: usize = 1_000;

/// Inserts all facts that can be. A duplicate is looked at again: it is a success if what is there is the same fact.
pub(super) async fn insert(collections: &Collections, facts: &[Fact]) -> Result<Vec<Refusal>, ArchiveError> {
    let Inserted { mut refusals, duplicates } =
        unordered::insert(&collections.facts, facts, |fact| fact, write).await?;
    for chunk in duplicates.chunks(REREAD) {
        let ids = chunk.iter().map(|index| facts[*index].id());
        let stored = stored(collections, ids).await?;
        let differs = |index: &&usize| stored.get(&facts[**index].id()) != Some(&facts[**index]);
        let conflict = |index: &usize| refusal(&facts[*index], *index, RefusalReason::Conflict);
        refusals.extend(chunk.iter().filter(differs).map(conflict));
    }
    refusals.sort_unstable_by_key(|refusal| refusal.index);
    Ok(refusals)
}

/// The facts that have the ids of these. What is there and cannot be read is another fact, so it is left out.
///
/// Read as the primary has them now. That they are durable is known from the insert: it failed to add to them, so the
/// server waited for the majority to have everything up to that moment, and reported no write-concern error.
async fn stored(
    collections: &Collections,
    ids: impl Iterator<Item = FactId>,
) -> Result<HashMap<FactId, Fact>, ArchiveError> {
    let ids: Vec<Bson> = ids.map(fact_id).collect();
    let find = collections.facts.find(doc! { "_id": { "$in": ids } }).read_concern(ReadConcern::local());
    let stored = collect(find, |document| Ok(read(document).ok())).await?;
    Ok(stored.into_iter().flatten().map(|fact| (fact.id(), fact)).collect())
}

pub(super) async fn by_ids(collections: &Collections, ids: &[FactId]) -> Result<Vec<Fact>, ArchiveError> {
    let mut facts = Vec::new();
    for chunk in ids.chunks(REREAD) {
        facts.extend(stored(collections, chunk.iter().copied()).await?.into_values());
    }
    Ok(facts)
}

/// Reads epoch by epoch: a shard's index is then entered once for each, however many entries lie below the range.
pub(super) async fn range(
    collections: &Collections,
    shard: Shard,
    range: FactRange,
    after: Option<FactCursor>,
    limit: usize,
) -> Result<Vec<Fact>, ArchiveError> {
    let mut facts = Vec::new();
    let mut from = after.map_or(range.from_epoch, |after| after.epoch.max(range.from_epoch));
    while facts.len() < limit {
        let Some(epoch) = first_epoch(collections, shard, from).await? else { break };
        let (number, index) = range.start_in(epoch, after);
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        let filter = doc! {
            "shard": i32::from(shard.number()),
            "epoch": i64::from(epoch.0),
            // The index is entered at the number; the rest of its entry, at most 1,024 facts, is passed over.
            "number": { "$gte": number },
            "$or": [{ "number": { "$gt": number } }, { "index": { "$gt": i32::from(index) } }],
        };
        let in_order = doc! { "shard": 1, "epoch": 1, "number": 1, "index": 1 };
        let find = collections.facts.find(filter).sort(in_order).limit(to_limit(limit - facts.len()));
        facts.extend(collect(find, read).await?);
        let Some(later) = epoch.0.checked_add(1) else { break };
        from = Epoch(later);
    }
    Ok(facts)
}

/// The first epoch, from `from` on, of which the shard has facts.
async fn first_epoch(collections: &Collections, shard: Shard, from: Epoch) -> Result<Option<Epoch>, ArchiveError> {
    let filter = doc! { "shard": i32::from(shard.number()), "epoch": { "$gte": i64::from(from.0) } };
    let find = collections.facts.find_one(filter).sort(doc! { "shard": 1, "epoch": 1, "number": 1, "index": 1 });
    let first: Option<Document> = find.projection(doc! { "epoch": 1 }).await?;
    first.map(|fact| Fields::of(&fact, "fact").number("epoch").map(Epoch)).transpose()
}

/// The grants of these orders, noted ones too, and what took them back.
pub(super) async fn of_orders(collections: &Collections, ids: &[OrderId]) -> Result<Vec<Fact>, ArchiveError> {
    let mut facts = Vec::with_capacity(ids.len());
    for chunk in ids.chunks(REREAD) {
        let ids: Vec<Bson> = chunk.iter().map(|id| uuid(*id)).collect();
        let granted: Vec<Fact> = collect(collections.facts.find(doc! { "_id": { "$in": &ids } }), read).await?;
        if granted.len() < chunk.len() {
            let archived: HashSet<FactId> = granted.iter().map(Fact::id).collect();
            let refused = chunk.iter().map(|id| FactId::Order(*id)).filter(|id| !archived.contains(id));
            facts.extend(dead_letters::by_ids(collections, refused).await?.into_iter().map(|letter| letter.fact));
        }
        facts.extend(granted);
        facts.extend(collect(collections.facts.find(doc! { "details.order_id": { "$in": ids } }), read).await?);
    }
    Ok(facts)
}

pub(super) async fn count(
    collections: &Collections,
    shard: Shard,
    epoch: Epoch,
    numbers: &RangeInclusive<u64>,
) -> Result<u64, ArchiveError> {
    let stored = |number: &u64| i64::try_from(*number).unwrap_or(i64::MAX);
    let filter = doc! {
        "shard": i32::from(shard.number()),
        "epoch": i64::from(epoch.0),
        "number": { "$gte": stored(numbers.start()), "$lte": stored(numbers.end()) },
    };
    Ok(collections.facts.count_documents(filter).await?)
}

/// Within an epoch log ids rise with the entries' numbers, but the facts of a cut-off primary may have later ones than
/// those of the epochs after it: so the last fact of every epoch is looked at.
pub(super) async fn highest_log_id(collections: &Collections, shard: Shard) -> Result<Option<LogId>, ArchiveError> {
    let mut highest = None;
    let mut below = i64::MAX;
    loop {
        let filter = doc! { "shard": i32::from(shard.number()), "epoch": { "$lt": below } };
        let last = doc! { "shard": -1, "epoch": -1, "number": -1, "index": -1 };
        let find = collections.facts.find_one(filter).sort(last).projection(doc! { "epoch": 1, "log_id": 1 });
        let Some(fact) = find.await? else { return Ok(highest) };
        let fields = Fields::of(&fact, "fact");
        highest = highest.max(Some(fields.parsed("log_id")?));
        below = fields.number("epoch")?;
    }
}
