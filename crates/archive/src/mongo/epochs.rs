//! The deployment, its shards' epochs, and their closings.

use std::ops::RangeInclusive;

use mongodb::bson::{Bson, Document, doc};
use stampede_domain::{Closing, Deployment, Epoch, Shard, ShardCount};

use super::client::Collections;
use super::documents::{Fields, collect, malformed};
use super::errors::{Cause, failures, is_duplicate, not_yet_readable};
use crate::ArchiveError;

/// The only document of its collection.
const DEPLOYMENT: &str = "deployment";

const CLOSING: &str = "closing";

const ROW: &str = "shard's row of epochs";

/// How often a raise is tried against other workers. Each failure is another one's success, and there are few workers.
const RAISE_ATTEMPTS: u32 = 64;

pub(super) async fn deployment(collections: &Collections, proposed: &Deployment) -> Result<Deployment, ArchiveError> {
    let document =
        doc! { "_id": DEPLOYMENT, "deployment_id": &proposed.id, "shards": i32::from(proposed.shards.get()) };
    match collections.deployment.insert_one(document).await {
        Ok(_) => {}
        Err(error) if is_duplicate(&error) => {}
        Err(error) => return Err(error.into()),
    }
    let stored = stored_deployment(collections).await?;
    // Rows are inserted here and only changed later: racing upserts of a new one lose updates on some servers.
    let rows: Vec<Document> =
        stored.shards.shards().map(|shard| doc! { "_id": i32::from(shard.number()), "epoch": 0_i64 }).collect();
    if let Err(error) = collections.epochs.insert_many(&rows).ordered(false).await {
        for failure in failures(error)? {
            if let Cause::Rejected(why) = failure.cause {
                return Err(malformed(ROW, &why));
            }
        }
    }
    Ok(stored)
}

pub(super) async fn stored_deployment(collections: &Collections) -> Result<Deployment, ArchiveError> {
    let found = collections.deployment.find_one(doc! { "_id": DEPLOYMENT }).await?;
    let found = found.ok_or_else(|| ArchiveError::missing(DEPLOYMENT))?;
    let fields = Fields::of(&found, DEPLOYMENT);
    let shards = ShardCount::try_from(fields.number::<u16>("shards")?);
    let shards = shards.map_err(|error| fields.wrong("shards", &error))?;
    Ok(Deployment { id: fields.text("deployment_id")?.to_owned(), shards })
}

pub(super) async fn current(collections: &Collections, shard: Shard) -> Result<Epoch, ArchiveError> {
    let found = collections.epochs.find_one(doc! { "_id": i32::from(shard.number()) }).await?;
    found.map_or(Ok(Epoch(0)), |row| read_epoch(&row))
}

/// By compare-and-set: whoever changes the row from one epoch to the next has that epoch alone. An increment that returns
/// the document would do in MongoDB, but some servers of its protocol return what a later increment has made of it (ran).
pub(super) async fn raise(collections: &Collections, shard: Shard) -> Result<Epoch, ArchiveError> {
    let id = i32::from(shard.number());
    for _ in 0..RAISE_ATTEMPTS {
        let row = collections.epochs.find_one(doc! { "_id": id }).await?;
        let Epoch(epoch) = read_epoch(&row.ok_or_else(|| ArchiveError::missing(ROW))?)?;
        let raised = epoch.checked_add(1).ok_or_else(|| malformed(ROW, &"its epochs are used up"))?;
        let filter = doc! { "_id": id, "epoch": i64::from(epoch) };
        let set = doc! { "$set": { "epoch": i64::from(raised) } };
        if collections.epochs.update_one(filter, set).await?.matched_count == 1 {
            return Ok(Epoch(raised));
        }
    }
    Err(ArchiveError::Unavailable("MongoDB: too many processes raise one epoch at once".to_owned()))
}

fn read_epoch(row: &Document) -> Result<Epoch, ArchiveError> {
    Fields::of(row, ROW).number("epoch").map(Epoch)
}

pub(super) async fn close(collections: &Collections, closing: &Closing) -> Result<Closing, ArchiveError> {
    let id = format!("{}-e{}", closing.shard, closing.epoch);
    match collections.closings.insert_one(write(&id, closing)?).await {
        Ok(_) => return Ok(closing.clone()),
        Err(error) if is_duplicate(&error) => {}
        Err(error) => return Err(error.into()),
    }
    let first = collections.closings.find_one(doc! { "_id": id }).await?;
    read(first.ok_or_else(|| not_yet_readable(CLOSING))?)
}

pub(super) async fn closings(collections: &Collections, shard: Shard) -> Result<Vec<Closing>, ArchiveError> {
    let of_shard = doc! { "shard": i32::from(shard.number()) };
    collect(collections.closings.find(of_shard).sort(doc! { "shard": 1, "epoch": 1 }), read).await
}

fn write(id: &str, closing: &Closing) -> Result<Document, ArchiveError> {
    let number = |number: u64| i64::try_from(number).map_err(|error| malformed(CLOSING, &error));
    let hole = |hole: &RangeInclusive<u64>| {
        Ok(Bson::Document(doc! { "from": number(*hole.start())?, "to": number(*hole.end())? }))
    };
    Ok(doc! {
        "_id": id,
        "shard": i32::from(closing.shard.number()),
        "epoch": i64::from(closing.epoch.0),
        "base": number(closing.base)?,
        "through": number(closing.through)?,
        "holes": closing.holes.iter().map(hole).collect::<Result<Vec<_>, ArchiveError>>()?,
        "void": closing.void,
    })
}

fn read(document: Document) -> Result<Closing, ArchiveError> {
    let fields = Fields::of(&document, CLOSING);
    let hole = |hole: &Bson| {
        let hole = hole.as_document().ok_or_else(|| fields.wrong("holes", &"not a document"))?;
        let hole = Fields::of(hole, CLOSING);
        Ok(hole.number("from")?..=hole.number("to")?)
    };
    let holes = document.get_array("holes").map_err(|error| fields.wrong("holes", &error))?;
    Ok(Closing {
        shard: Shard::new(fields.number("shard")?).ok_or_else(|| fields.wrong("shard", &"not a shard"))?,
        epoch: Epoch(fields.number("epoch")?),
        base: fields.number("base")?,
        through: fields.number("through")?,
        holes: holes.iter().map(hole).collect::<Result<_, ArchiveError>>()?,
        void: document.get_bool("void").map_err(|error| fields.wrong("void", &error))?,
    })
}
