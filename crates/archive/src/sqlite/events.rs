//! Facts other than grants, as rows.

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};
use stampede_domain::{Epoch, Fact, FactBody, FactId, LogId, OrderId, Position, Shard};

use super::columns::{Columns, NotA, sql_limit, sql_number};
use crate::ArchiveError;

/// The columns, in the order in which they are read.
pub(super) const COLUMNS: &str = "id, shard, epoch, number, idx, entry_facts, drop_id, body";

/// The bytes of a fact's id: an order's sixteen, or seventeen for anything else. No two facts of different kinds can have
/// the same, and both sort by the log's clock.
pub(super) fn id_bytes(id: FactId) -> Vec<u8> {
    match id {
        FactId::Order(id) => id.as_bytes().to_vec(),
        FactId::Event { shard, epoch, position } => {
            let mut bytes = Vec::with_capacity(17);
            bytes.push(0);
            bytes.extend_from_slice(&position.log_id.ms.to_be_bytes()[2..]);
            bytes.extend_from_slice(&position.log_id.sequence.to_be_bytes());
            bytes.extend_from_slice(&shard.number().to_be_bytes());
            bytes.extend_from_slice(&position.index.to_be_bytes());
            bytes.extend_from_slice(&epoch.0.to_be_bytes());
            bytes
        }
    }
}

/// Inserts a fact that is no grant, unless its id or its place in the log is taken. Returns whether it was inserted.
pub(super) fn insert(db: &Connection, fact: &Fact) -> rusqlite::Result<bool> {
    let order_id = match &fact.body {
        FactBody::Cancelled(withdrawal) => Some(withdrawal.order_id),
        FactBody::Compensated(given_back) => Some(given_back.order_id),
        _ => None,
    };
    let body =
        serde_json::to_string(&fact.body).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    let mut insert = db.prepare_cached(
        "INSERT OR IGNORE INTO events (id, shard, epoch, number, idx, entry_facts, kind, drop_id, body, order_id)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    let inserted = insert.execute(params![
        id_bytes(fact.id()),
        fact.shard.number(),
        fact.epoch.0,
        sql_number(fact.number)?,
        fact.position.index,
        fact.entry_facts,
        fact.body.kind(),
        fact.drop_id.as_str(),
        body,
        order_id.as_ref().map(|id| &id.as_bytes()[..]),
    ])?;
    Ok(inserted == 1)
}

/// The fact that a row of [`COLUMNS`] is.
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Fact> {
    let mut columns = Columns::of(row);
    let id: Vec<u8> = columns.value()?;
    let log_id = log_id(&id).ok_or_else(|| columns.malformed(Type::Blob, NotA("the id of a fact")))?;
    let shard = columns.shard()?;
    let epoch = Epoch(columns.value()?);
    let number = columns.number()?;
    let position = Position { log_id, index: columns.value()? };
    let entry_facts = columns.value()?;
    Ok(Fact { shard, epoch, number, position, entry_facts, drop_id: columns.text()?, body: columns.json()? })
}

/// The log id that the id of a fact other than a grant says.
pub(super) fn log_id(id: &[u8]) -> Option<LogId> {
    let (0, rest) = id.split_first().filter(|_| id.len() == 17)? else { return None };
    let (ms, rest) = rest.split_first_chunk::<6>()?;
    let (sequence, _) = rest.split_first_chunk::<2>()?;
    let [a, b, c, d, e, f] = *ms;
    Some(LogId { ms: u64::from_be_bytes([0, 0, a, b, c, d, e, f]), sequence: u16::from_be_bytes(*sequence) })
}

/// The fact with this id. What is there and cannot be read is no fact.
pub(super) fn by_id(db: &Connection, id: FactId) -> Result<Option<Fact>, ArchiveError> {
    let mut select = db.prepare_cached(&format!("SELECT {COLUMNS} FROM events WHERE id = ?1"))?;
    let stored = select.query_row([id_bytes(id)], |row| Ok(read(row).ok())).optional()?;
    Ok(stored.flatten())
}

/// What took an order back.
pub(super) fn of_order(db: &Connection, id: OrderId) -> Result<Vec<Fact>, ArchiveError> {
    let mut select = db.prepare_cached(&format!("SELECT {COLUMNS} FROM events WHERE order_id = ?1"))?;
    let facts = select.query_map([&id.as_bytes()[..]], read)?;
    Ok(facts.collect::<Result<_, _>>()?)
}

/// Facts of an epoch behind a place in its log, in the order of the log, at most `limit`.
pub(super) fn behind(
    db: &Connection,
    (shard, epoch): (Shard, Epoch),
    (number, index): (u64, u16),
    limit: usize,
) -> Result<Vec<Fact>, ArchiveError> {
    let mut select = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM events WHERE shard = ?1 AND epoch = ?2 AND (number, idx) > (?3, ?4)
         ORDER BY number, idx LIMIT ?5",
    ))?;
    let number = i64::try_from(number).unwrap_or(i64::MAX);
    let facts = select.query_map(params![shard.number(), epoch.0, number, index, sql_limit(limit)], read)?;
    Ok(facts.collect::<Result<_, _>>()?)
}

/// The indexes that facts of an entry have.
pub(super) fn indexes_of_entry(
    db: &Connection,
    shard: Shard,
    epoch: Epoch,
    number: u64,
) -> Result<Vec<u16>, ArchiveError> {
    let mut select = db.prepare_cached("SELECT idx FROM events WHERE shard = ?1 AND epoch = ?2 AND number = ?3")?;
    let indexes = select.query_map(params![shard.number(), epoch.0, sql_number(number)?], |row| row.get(0))?;
    Ok(indexes.collect::<Result<_, _>>()?)
}
