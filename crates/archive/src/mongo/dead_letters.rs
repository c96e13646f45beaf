//! Notes of facts that are refused for good.
//!
//! `{ _id: as the fact's, shard: 3, epoch: 2, number: 17, index: 0, letter: "{\"fact\":{…},\"reason\":\"…\"}" }`. The letter is
//! text, so that nothing in it can be in the way of a note.

use mongodb::bson::{Bson, Document, RawDocumentBuf, doc, rawdoc};
use stampede_domain::{DeadLetter, FactId, Shard};

use super::client::Collections;
use super::documents::{Fields, collect, limit as to_limit, malformed};
use super::errors::not_yet_readable;
use super::fact_documents::{fact_id, raw_fact_id};
use super::unordered::{self, Inserted, refusal};
use crate::{ArchiveError, FactCursor, FactRange, Refusal, RefusalReason};

const WHAT: &str = "dead letter";

pub(super) async fn insert(collections: &Collections, letters: &[DeadLetter]) -> Result<Vec<Refusal>, ArchiveError> {
    let Inserted { mut refusals, duplicates } =
        unordered::insert(&collections.dead_letters, letters, |letter| &letter.fact, write).await?;
    for index in duplicates {
        if !is_noted(collections, &letters[index]).await? {
            refusals.push(refusal(&letters[index].fact, index, RefusalReason::Conflict));
        }
    }
    refusals.sort_unstable_by_key(|refusal| refusal.index);
    Ok(refusals)
}

/// Whether the note that has the letter's id is one of the same fact.
async fn is_noted(collections: &Collections, letter: &DeadLetter) -> Result<bool, ArchiveError> {
    let noted = collections.dead_letters.find_one(doc! { "_id": fact_id(letter.fact.id()) }).await?;
    let noted = noted.ok_or_else(|| not_yet_readable(WHAT))?;
    Ok(read(noted).is_ok_and(|noted| noted.fact == letter.fact))
}

/// The notes of these facts, in any order.
pub(super) async fn by_ids(
    collections: &Collections,
    ids: impl Iterator<Item = FactId>,
) -> Result<Vec<DeadLetter>, ArchiveError> {
    let ids: Vec<Bson> = ids.map(fact_id).collect();
    collect(collections.dead_letters.find(doc! { "_id": { "$in": ids } }), read).await
}

pub(super) async fn range(
    collections: &Collections,
    shard: Shard,
    range: FactRange,
    after: Option<FactCursor>,
    limit: usize,
) -> Result<Vec<DeadLetter>, ArchiveError> {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let mut filter = doc! {
        "shard": i32::from(shard.number()),
        "epoch": { "$gte": i64::from(range.from_epoch.0) },
        "number": { "$gt": number(range.beyond_number) },
    };
    if let Some(after) = after {
        let (epoch, entry) = (i64::from(after.epoch.0), number(after.number));
        let later = vec![
            doc! { "epoch": { "$gt": epoch } },
            doc! { "epoch": epoch, "number": { "$gt": entry } },
            doc! { "epoch": epoch, "number": entry, "index": { "$gt": i32::from(after.index) } },
        ];
        filter.insert("$or", later);
    }
    let in_order = doc! { "shard": 1, "epoch": 1, "number": 1, "index": 1 };
    collect(collections.dead_letters.find(filter).sort(in_order).limit(to_limit(limit)), read).await
}

fn write(letter: &DeadLetter) -> Result<RawDocumentBuf, ArchiveError> {
    let fact = &letter.fact;
    Ok(rawdoc! {
        "_id": raw_fact_id(fact.id()),
        "shard": i32::from(fact.shard.number()),
        "epoch": i64::from(fact.epoch.0),
        "number": i64::try_from(fact.number).map_err(|error| malformed(WHAT, &error))?,
        "index": i32::from(fact.position.index),
        "letter": letter.to_json(),
    })
}

fn read(document: Document) -> Result<DeadLetter, ArchiveError> {
    let json = Fields::of(&document, WHAT).text("letter")?;
    DeadLetter::from_json(json.as_bytes()).map_err(|error| malformed(WHAT, &error))
}
