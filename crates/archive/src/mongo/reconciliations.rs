//! What reconciliations leave: stocks with their positions, and records.

use mongodb::bson::{Bson, Document, doc, oid::ObjectId};
use stampede_domain::{DropId, Epoch, Shard};

use super::client::Collections;
use super::documents::{Fields, collect, from_document, limit as to_limit, malformed, to_document};
use super::errors::is_duplicate;
use crate::{ArchiveError, Reconciliation, StockRecord};

const STOCK: &str = "stock";

const RECORD: &str = "reconciliation";

/// How many drops one query asks for.
const DROPS_AT_ONCE: usize = 1_000;

pub(super) async fn stocks(
    collections: &Collections,
    shard: Shard,
    drops: &[DropId],
) -> Result<Vec<StockRecord>, ArchiveError> {
    let mut stocks = Vec::with_capacity(drops.len());
    for chunk in drops.chunks(DROPS_AT_ONCE) {
        let ids: Vec<Bson> = chunk.iter().map(|id| Bson::from(stock_id(id, shard))).collect();
        stocks.extend(collect(collections.stocks.find(doc! { "_id": { "$in": ids } }), read_stock).await?);
    }
    Ok(stocks)
}

pub(super) async fn put_stocks(collections: &Collections, stocks: &[StockRecord]) -> Result<(), ArchiveError> {
    for record in stocks {
        let id = doc! { "_id": stock_id(&record.drop_id, record.shard) };
        let set = doc! {
            "drop_id": record.drop_id.as_str(),
            "shard": i32::from(record.shard.number()),
            "epoch": i64::from(record.epoch.0),
            "number": i64::try_from(record.number).map_err(|error| malformed(STOCK, &error))?,
            "stock": to_document(&record.stock, STOCK)?,
        };
        match collections.stocks.update_one(id, doc! { "$set": set }).upsert(true).await {
            Ok(_) => {}
            // Another process was the first to put it there; what it put is as true.
            Err(error) if is_duplicate(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

pub(super) async fn insert(
    collections: &Collections,
    record: &Reconciliation,
    keep: usize,
) -> Result<(), ArchiveError> {
    let mut document = to_document(record, RECORD)?;
    document.insert("_id", ObjectId::new());
    collections.reconciliations.insert_one(document).await?;
    let of_drop = doc! { "drop_id": record.drop_id.as_str() };
    let find = collections.reconciliations.find(of_drop).sort(newest_first());
    let beyond = find.skip(keep as u64).projection(doc! { "_id": 1 });
    let old = collect(beyond, |mut document| Ok(document.remove("_id").unwrap_or(Bson::Null))).await?;
    if !old.is_empty() {
        collections.reconciliations.delete_many(doc! { "_id": { "$in": old } }).await?;
    }
    Ok(())
}

pub(super) async fn newest(
    collections: &Collections,
    drop_id: &DropId,
    limit: usize,
) -> Result<Vec<Reconciliation>, ArchiveError> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let find = collections.reconciliations.find(doc! { "drop_id": drop_id.as_str() }).sort(newest_first());
    let read = |mut document: Document| {
        document.remove("_id");
        from_document(document, RECORD)
    };
    collect(find.limit(to_limit(limit)), read).await
}

/// By the clocks of those who wrote them; at one moment, in the order in which one process did.
fn newest_first() -> Document {
    doc! { "drop_id": 1, "reconciled_at": -1, "_id": -1 }
}

/// Each stripe of a drop has a stock of its own. No drop's id has an `@`.
fn stock_id(drop_id: &DropId, shard: Shard) -> String {
    format!("{drop_id}@{shard}")
}

fn read_stock(document: Document) -> Result<StockRecord, ArchiveError> {
    let fields = Fields::of(&document, STOCK);
    let stock = document.get_document("stock").map_err(|error| fields.wrong("stock", &error))?;
    Ok(StockRecord {
        drop_id: fields.parsed("drop_id")?,
        shard: Shard::new(fields.number("shard")?).ok_or_else(|| malformed(STOCK, &"not a shard"))?,
        epoch: Epoch(fields.number("epoch")?),
        number: fields.number("number")?,
        stock: from_document(stock.clone(), STOCK)?,
    })
}
