//! Collections and indexes, and the version of the schema.

use mongodb::bson::{Document, doc};
use mongodb::options::IndexOptions;
use mongodb::{Collection, IndexModel};

use super::client::Collections;
use super::documents::Fields;
use super::errors::is_duplicate;
use crate::{ArchiveError, SCHEMA_VERSION, SchemaStatus};

/// The only document of its collection.
const ID: &str = "schema";

pub(super) async fn status(collections: &Collections) -> Result<SchemaStatus, ArchiveError> {
    Ok(match version(collections).await? {
        None => SchemaStatus::Missing,
        Some(SCHEMA_VERSION) => SchemaStatus::Current,
        Some(older) if older < SCHEMA_VERSION => SchemaStatus::Older(older),
        Some(newer) => SchemaStatus::Newer(newer),
    })
}

/// Making an index that is there does nothing, so any number of processes may migrate at once.
pub(super) async fn migrate(collections: &Collections) -> Result<(), ArchiveError> {
    let found = version(collections).await?;
    if let Some(found) = found.filter(|found| *found > SCHEMA_VERSION) {
        return Err(ArchiveError::NewerSchema { found, known: SCHEMA_VERSION });
    }
    create_indexes(collections).await?;
    // Before version 3 a stock did not say its shard. It is folded anew, from the facts.
    collections.stocks.delete_many(doc! { "shard": { "$exists": false } }).await?;
    // The version comes last: an archive that says it has it has all of it.
    let document = doc! { "_id": ID, "version": i64::from(SCHEMA_VERSION) };
    match collections.schema.insert_one(document).await {
        Ok(_) => return Ok(()),
        Err(error) if is_duplicate(&error) => {}
        Err(error) => return Err(error.into()),
    }
    let older = doc! { "_id": ID, "version": { "$lt": i64::from(SCHEMA_VERSION) } };
    collections.schema.update_one(older, doc! { "$set": { "version": i64::from(SCHEMA_VERSION) } }).await?;
    Ok(())
}

async fn version(collections: &Collections) -> Result<Option<u32>, ArchiveError> {
    let found = collections.schema.find_one(doc! { "_id": ID }).await?;
    found.map(|document| Fields::of(&document, ID).number("version")).transpose()
}

async fn create_indexes(collections: &Collections) -> Result<(), ArchiveError> {
    let facts = &collections.facts;
    // Unique: an entry of an epoch has one fact at each index, so a second one is a fault that must not go unseen.
    let unique = IndexOptions::builder().unique(true).build();
    index(facts, doc! { "shard": 1, "epoch": 1, "number": 1, "index": 1 }, Some(unique)).await?;
    let withdrawals = IndexOptions::builder().sparse(true).build();
    index(facts, doc! { "details.order_id": 1 }, Some(withdrawals)).await?;
    let grants = || IndexOptions::builder().partial_filter_expression(doc! { "kind": "granted" }).build();
    index(facts, doc! { "user_id": 1, "_id": -1 }, Some(grants())).await?;
    index(facts, doc! { "drop_id": 1, "_id": -1 }, Some(grants())).await?;
    let given_back = || IndexOptions::builder().partial_filter_expression(doc! { "kind": "compensated" }).build();
    index(facts, doc! { "details.grant.user_id": 1, "details.order_id": -1 }, Some(given_back())).await?;
    index(facts, doc! { "drop_id": 1, "details.order_id": -1 }, Some(given_back())).await?;
    let by_entry = doc! { "shard": 1, "epoch": 1, "number": 1, "index": 1 };
    index(&collections.dead_letters, by_entry, None).await?;

    index(&collections.products, doc! { "created_at": -1, "_id": -1 }, None).await?;
    let drops = &collections.drops;
    index(drops, doc! { "created_at": -1, "_id": -1 }, None).await?;
    index(drops, doc! { "sku": 1, "created_at": -1, "_id": -1 }, None).await?;
    index(drops, doc! { "sku": 1, "window.starts_at": 1, "_id": 1 }, None).await?;
    index(drops, doc! { "shard": 1, "_id": 1 }, None).await?;
    let striped = IndexOptions::builder().sparse(true).build();
    index(drops, doc! { "stripes": 1, "_id": 1 }, Some(striped)).await?;
    index(drops, doc! { "stage": 1, "created_at": 1, "_id": 1 }, None).await?;
    index(&collections.closings, doc! { "shard": 1, "epoch": 1 }, None).await?;
    let newest_first = doc! { "drop_id": 1, "reconciled_at": -1, "_id": -1 };
    index(&collections.reconciliations, newest_first, None).await
}

async fn index(
    collection: &Collection<Document>,
    keys: Document,
    options: Option<IndexOptions>,
) -> Result<(), ArchiveError> {
    collection.create_index(IndexModel::builder().keys(keys).options(options).build()).await?;
    Ok(())
}
