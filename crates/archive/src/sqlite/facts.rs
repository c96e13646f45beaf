//! Facts: reading them in the order of the log.

use std::ops::RangeInclusive;

use rusqlite::{Connection, OptionalExtension, params};
use stampede_domain::{Epoch, Fact, FactId, LogId, OrderId, Shard};

use super::columns::{Columns, sql_limit};
use super::dead_letters;
use super::fact_rows::{self, COLUMNS};
use crate::{ArchiveError, FactCursor, FactRange};

/// Whether exactly this fact is there. What is there and cannot be read is another one.
pub(super) fn is_stored(db: &Connection, fact: &Fact) -> Result<bool, ArchiveError> {
    Ok(by_id(db, fact.id())?.is_some_and(|stored| stored == *fact))
}

fn by_id(db: &Connection, id: FactId) -> Result<Option<Fact>, ArchiveError> {
    let mut select = db.prepare_cached(&format!("SELECT {COLUMNS} FROM facts WHERE id = ?1"))?;
    let stored = select.query_row([fact_rows::id_bytes(id)], |row| Ok(fact_rows::read(row).ok())).optional()?;
    Ok(stored.flatten())
}

pub(super) fn by_ids(db: &Connection, ids: &[FactId]) -> Result<Vec<Fact>, ArchiveError> {
    ids.iter().filter_map(|id| by_id(db, *id).transpose()).collect()
}

/// Reads epoch by epoch: a shard's index is then entered once for each, however many entries lie below the range.
pub(super) fn range(
    db: &Connection,
    shard: Shard,
    range: FactRange,
    after: Option<FactCursor>,
    limit: usize,
) -> Result<Vec<Fact>, ArchiveError> {
    let mut next_epoch = db.prepare_cached("SELECT min(epoch) FROM facts WHERE shard = ?1 AND epoch >= ?2")?;
    let mut select = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM facts WHERE shard = ?1 AND epoch = ?2 AND (number, idx) > (?3, ?4)
         ORDER BY number, idx LIMIT ?5",
    ))?;
    let mut facts = Vec::new();
    let mut from = after.map_or(range.from_epoch, |after| after.epoch.max(range.from_epoch));
    while facts.len() < limit {
        let Some(epoch) = next_epoch.query_row(params![shard.number(), from.0], |row| row.get(0))? else { break };
        let epoch = Epoch(epoch);
        let (number, index) = range.start_in(epoch, after);
        let arguments = params![
            shard.number(),
            epoch.0,
            i64::try_from(number).unwrap_or(i64::MAX),
            index,
            sql_limit(limit - facts.len())
        ];
        for fact in select.query_map(arguments, fact_rows::read)? {
            facts.push(fact?);
        }
        let Some(later) = epoch.0.checked_add(1) else { break };
        from = Epoch(later);
    }
    Ok(facts)
}

/// The grants of these orders, noted ones too, and what took them back.
pub(super) fn of_orders(db: &Connection, ids: &[OrderId]) -> Result<Vec<Fact>, ArchiveError> {
    let mut grant = db.prepare_cached(&format!("SELECT {COLUMNS} FROM facts WHERE id = ?1"))?;
    let mut withdrawals = db.prepare_cached(&format!("SELECT {COLUMNS} FROM facts WHERE order_id = ?1"))?;
    let mut facts = Vec::with_capacity(ids.len());
    for id in ids {
        match grant.query_row([&id.as_bytes()[..]], fact_rows::read).optional()? {
            Some(fact) => facts.push(fact),
            None => facts.extend(dead_letters::by_id(db, FactId::Order(*id))?.map(|letter| letter.fact)),
        }
        for fact in withdrawals.query_map([&id.as_bytes()[..]], fact_rows::read)? {
            facts.push(fact?);
        }
    }
    Ok(facts)
}

pub(super) fn count(
    db: &Connection,
    shard: Shard,
    epoch: Epoch,
    numbers: &RangeInclusive<u64>,
) -> Result<u64, ArchiveError> {
    let mut select = db.prepare_cached(
        "SELECT count(*) FROM facts WHERE shard = ?1 AND epoch = ?2 AND number >= ?3 AND number <= ?4",
    )?;
    let stored = |number: &u64| i64::try_from(*number).unwrap_or(i64::MAX);
    let arguments = params![shard.number(), epoch.0, stored(numbers.start()), stored(numbers.end())];
    Ok(select.query_row(arguments, |row| Columns::of(row).number())?)
}

/// Within an epoch log ids rise with the entries' numbers, but the facts of a cut-off primary may have later ones than
/// those of the epochs after it: so the last fact of every epoch is looked at.
pub(super) fn highest_log_id(db: &Connection, shard: Shard) -> Result<Option<LogId>, ArchiveError> {
    let mut last_before = db.prepare_cached(
        "SELECT epoch, id FROM facts WHERE shard = ?1 AND epoch < ?2 ORDER BY epoch DESC, number DESC, idx DESC LIMIT 1",
    )?;
    let mut highest = None;
    let mut below = i64::MAX;
    loop {
        let last = last_before
            .query_row(params![shard.number(), below], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)));
        let Some((epoch, id)) = last.optional()? else { return Ok(highest) };
        highest = highest.max(fact_rows::log_id(&id));
        below = epoch;
    }
}
