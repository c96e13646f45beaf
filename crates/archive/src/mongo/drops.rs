//! Drops: their records and their stages.

use mongodb::bson::{Document, doc};
use serde::{Deserialize, Serialize};
use stampede_domain::{DropDefinition, DropId, Shard, Sku, Timestamp, Window};

use super::client::Collections;
use super::documents::{collect, date, from_document, limit as to_limit, malformed, to_document};
use super::epochs;
use super::errors::is_duplicate;
use crate::{ArchiveError, DropCursor, DropRecord, DropStage};

const WHAT: &str = "drop";

/// A drop as it is stored. What searches go by stands beside the definition.
#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "_id")]
    id: DropId,
    sku: Sku,
    shard: Shard,
    /// All shards in which it has stock, if they are several.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    stripes: Vec<Shard>,
    stage: String,
    /// The window that is in force.
    window: Window,
    /// The version of the sku's windows with which it came into force, so that an older change never replaces a newer one.
    window_version: i64,
    created_at: Timestamp,
    definition: DropDefinition,
}

/// Inserts a drop that has been given a window, unless its id is taken; `false` then.
pub(super) async fn insert(collections: &Collections, definition: &DropDefinition) -> Result<bool, ArchiveError> {
    let shard = epochs::stored_deployment(collections).await?.shard_of(&definition.id);
    let stored = Stored {
        id: definition.id.clone(),
        sku: definition.sku.clone(),
        shard,
        stripes: definition.stripes.clone().into(),
        stage: DropStage::Defined.as_str().to_owned(),
        window: definition.window,
        window_version: 0,
        created_at: definition.created_at,
        definition: definition.clone(),
    };
    match collections.drops.insert_one(to_document(&stored, WHAT)?).await {
        Ok(_) => Ok(true),
        Err(error) if is_duplicate(&error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn move_stage(
    collections: &Collections,
    id: &DropId,
    from: DropStage,
    to: DropStage,
) -> Result<bool, ArchiveError> {
    let filter = doc! { "_id": id.as_str(), "stage": from.as_str() };
    let updated = collections.drops.update_one(filter, doc! { "$set": { "stage": to.as_str() } }).await?;
    Ok(updated.matched_count == 1)
}

/// Puts a window into a drop's record, unless a later one is there.
pub(super) async fn set_window(
    collections: &Collections,
    id: &DropId,
    window: &Window,
    version: i64,
) -> Result<(), ArchiveError> {
    let filter = doc! { "_id": id.as_str(), "window_version": { "$lt": version } };
    let set = doc! { "window": to_document(window, WHAT)?, "window_version": version };
    collections.drops.update_one(filter, doc! { "$set": set }).await?;
    Ok(())
}

pub(super) async fn one(collections: &Collections, id: &DropId) -> Result<Option<DropRecord>, ArchiveError> {
    let found = collections.drops.find_one(doc! { "_id": id.as_str() }).await?;
    found.map(read).transpose()
}

pub(super) async fn page(
    collections: &Collections,
    sku: Option<&Sku>,
    after: Option<&DropCursor>,
    limit: usize,
) -> Result<Vec<DropRecord>, ArchiveError> {
    let mut filter = sku.map_or_else(Document::new, |sku| doc! { "sku": sku.as_str() });
    if let Some(DropCursor { created_at, id }) = after {
        let earlier = doc! { "created_at": { "$lt": date(*created_at) } };
        let same_time = doc! { "created_at": date(*created_at), "_id": { "$lt": id.as_str() } };
        filter.insert("$or", vec![earlier, same_time]);
    }
    list(collections, filter, doc! { "created_at": -1, "_id": -1 }, limit).await
}

pub(super) async fn around(
    collections: &Collections,
    sku: &Sku,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<DropRecord>, ArchiveError> {
    let started = doc! { "sku": sku.as_str(), "window.starts_at": { "$lte": date(now) } };
    let mut drops = list(collections, started, doc! { "window.starts_at": -1, "_id": -1 }, limit).await?;
    drops.reverse();
    let upcoming = doc! { "sku": sku.as_str(), "window.starts_at": { "$gt": date(now) } };
    drops.extend(list(collections, upcoming, doc! { "window.starts_at": 1, "_id": 1 }, limit).await?);
    Ok(drops)
}

pub(super) async fn of_shard(
    collections: &Collections,
    shard: Shard,
    after: Option<&DropId>,
    limit: usize,
) -> Result<Vec<DropRecord>, ArchiveError> {
    // No id is empty, so the empty text is below all of them.
    let after = after.map_or("", DropId::as_str);
    let past_defined = [DropStage::Opening, DropStage::Opened].map(DropStage::as_str).to_vec();
    let number = i32::from(shard.number());
    let filter = doc! {
        "$or": [{ "shard": number }, { "stripes": number }],
        "_id": { "$gt": after },
        "stage": { "$in": past_defined },
    };
    list(collections, filter, doc! { "_id": 1 }, limit).await
}

pub(super) async fn unopened(
    collections: &Collections,
    defined_before: Timestamp,
    limit: usize,
) -> Result<Vec<DropRecord>, ArchiveError> {
    let unopened = [DropStage::Defined, DropStage::Opening].map(DropStage::as_str).to_vec();
    let filter = doc! { "stage": { "$in": unopened }, "created_at": { "$lt": date(defined_before) } };
    list(collections, filter, doc! { "created_at": 1, "_id": 1 }, limit).await
}

async fn list(
    collections: &Collections,
    filter: Document,
    sort: Document,
    limit: usize,
) -> Result<Vec<DropRecord>, ArchiveError> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    collect(collections.drops.find(filter).sort(sort).limit(to_limit(limit)), read).await
}

fn read(document: Document) -> Result<DropRecord, ArchiveError> {
    let stored: Stored = from_document(document, WHAT)?;
    let stage = DropStage::parse(&stored.stage).ok_or_else(|| malformed(WHAT, &"not a stage of a drop"))?;
    Ok(DropRecord { definition: stored.definition, window: stored.window, stage })
}
