//! What reconciliations leave: stocks with their positions, and records.

use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use stampede_domain::{DropId, Epoch, Shard};

use super::columns::{Columns, sql_limit, sql_number};
use crate::{ArchiveError, Reconciliation, StockRecord};

pub(super) fn stocks(db: &Connection, shard: Shard, drops: &[DropId]) -> Result<Vec<StockRecord>, ArchiveError> {
    let mut select = db.prepare_cached("SELECT epoch, number, stock FROM stocks WHERE drop_id = ?1 AND shard = ?2")?;
    let mut stocks = Vec::with_capacity(drops.len());
    for drop_id in drops {
        let found = select.query_row(params![drop_id.as_str(), shard.number()], |row| {
            let mut columns = Columns::of(row);
            let (epoch, number) = (Epoch(columns.value()?), columns.number()?);
            Ok(StockRecord { drop_id: drop_id.clone(), shard, epoch, number, stock: columns.json()? })
        });
        stocks.extend(found.optional()?);
    }
    Ok(stocks)
}

pub(super) fn put_stocks(db: &Connection, stocks: &[StockRecord]) -> Result<(), ArchiveError> {
    let mut put = db.prepare_cached(
        "INSERT OR REPLACE INTO stocks (drop_id, shard, epoch, number, stock) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for record in stocks {
        let json = to_json(&record.stock, "stock")?;
        let (id, shard, number) = (record.drop_id.as_str(), record.shard.number(), sql_number(record.number)?);
        put.execute(params![id, shard, record.epoch.0, number, json])?;
    }
    Ok(())
}

pub(super) fn insert(db: &Connection, record: &Reconciliation, keep: usize) -> Result<(), ArchiveError> {
    let id = record.drop_id.as_str();
    db.prepare_cached("INSERT INTO reconciliations (drop_id, record) VALUES (?1, ?2)")?
        .execute(params![id, to_json(record, "reconciliation")?])?;
    db.prepare_cached(
        "DELETE FROM reconciliations WHERE drop_id = ?1 AND place <=
         (SELECT place FROM reconciliations WHERE drop_id = ?1 ORDER BY place DESC LIMIT 1 OFFSET ?2)",
    )?
    .execute(params![id, sql_limit(keep)])?;
    Ok(())
}

pub(super) fn newest(db: &Connection, drop_id: &DropId, limit: usize) -> Result<Vec<Reconciliation>, ArchiveError> {
    let mut select =
        db.prepare_cached("SELECT record FROM reconciliations WHERE drop_id = ?1 ORDER BY place DESC LIMIT ?2")?;
    let records = select.query_map(params![drop_id.as_str(), sql_limit(limit)], |row| Columns::of(row).json())?;
    Ok(records.collect::<Result<_, _>>()?)
}

fn to_json<T: Serialize>(value: &T, what: &'static str) -> Result<String, ArchiveError> {
    serde_json::to_string(value).map_err(|error| ArchiveError::Malformed { what, detail: error.to_string() })
}
