//! Facts: reading them in the order of the log. Grants and all others lie in different tables.

use std::ops::RangeInclusive;

use rusqlite::{Connection, OptionalExtension, Row, params};
use stampede_domain::{Epoch, Fact, FactId, LogId, OrderId, Shard};

use super::columns::Columns;
use super::{dead_letters, events, grants};
use crate::{ArchiveError, FactCursor, FactRange};

/// Those of the facts that are there, with these ids.
pub(super) fn by_ids(db: &Connection, ids: &[FactId]) -> Result<Vec<Fact>, ArchiveError> {
    let by_id = |id: &FactId| match id {
        FactId::Order(order) => match grants::by_id(db, *order) {
            // What is there and cannot be read is no fact.
            Err(ArchiveError::Malformed { .. }) => Ok(None),
            found => found,
        },
        FactId::Event { .. } => events::by_id(db, *id),
    };
    ids.iter().filter_map(|id| by_id(id).transpose()).collect()
}

/// Reads epoch by epoch: a shard's index is then entered once for each, however many entries lie below the range.
pub(super) fn range(
    db: &Connection,
    shard: Shard,
    range: FactRange,
    after: Option<FactCursor>,
    limit: usize,
) -> Result<Vec<Fact>, ArchiveError> {
    let mut next_epoch = db.prepare_cached(
        "SELECT min(epoch) FROM (SELECT min(epoch) AS epoch FROM grants WHERE shard = ?1 AND epoch >= ?2
         UNION ALL SELECT min(epoch) FROM events WHERE shard = ?1 AND epoch >= ?2)",
    )?;
    let mut facts = Vec::new();
    let mut from = after.map_or(range.from_epoch, |after| after.epoch.max(range.from_epoch));
    while facts.len() < limit {
        let Some(epoch) = next_epoch.query_row(params![shard.number(), from.0], |row| row.get(0))? else { break };
        let epoch = Epoch(epoch);
        let (of, start, wanted) = ((shard, epoch), range.start_in(epoch, after), limit - facts.len());
        let mut found = grants::behind(db, of, start, wanted)?;
        found.extend(events::behind(db, of, start, wanted)?);
        found.sort_by_key(|fact| (fact.number, fact.position.index));
        found.truncate(wanted);
        facts.append(&mut found);
        let Some(later) = epoch.0.checked_add(1) else { break };
        from = Epoch(later);
    }
    Ok(facts)
}

/// The grants of these orders, noted ones too, and what took them back.
pub(super) fn of_orders(db: &Connection, ids: &[OrderId]) -> Result<Vec<Fact>, ArchiveError> {
    let mut facts = Vec::with_capacity(ids.len());
    for id in ids {
        match grants::by_id(db, *id)? {
            Some(fact) => facts.push(fact),
            None => facts.extend(dead_letters::by_id(db, FactId::Order(*id))?.map(|letter| letter.fact)),
        }
        facts.extend(events::of_order(db, *id)?);
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
        "SELECT (SELECT count(*) FROM events WHERE shard = ?1 AND epoch = ?2 AND number >= ?3 AND number <= ?4)
         + (SELECT coalesce(sum(count), 0) FROM grants WHERE shard = ?1 AND epoch = ?2 AND number >= ?3 AND number <= ?4)",
    )?;
    let stored = |number: &u64| i64::try_from(*number).unwrap_or(i64::MAX);
    let arguments = params![shard.number(), epoch.0, stored(numbers.start()), stored(numbers.end())];
    Ok(select.query_row(arguments, |row| Columns::of(row).number())?)
}

/// Within an epoch log ids rise with the entries' numbers, but the facts of a cut-off primary may have later ones than
/// those of the epochs after it: so the last fact of every epoch is looked at.
pub(super) fn highest_log_id(db: &Connection, shard: Shard) -> Result<Option<LogId>, ArchiveError> {
    let last_before = |table: &str, columns: &str| {
        format!(
            "SELECT epoch, {columns} FROM {table} WHERE shard = ?1 AND epoch < ?2
             ORDER BY epoch DESC, number DESC, idx DESC LIMIT 1",
        )
    };
    let of_grants = highest(db, shard, &last_before("grants", "log_ms, log_sequence"), |row| {
        let mut columns = Columns::of(row);
        let epoch = columns.value()?;
        Ok((epoch, Some(LogId { ms: columns.number()?, sequence: columns.value()? })))
    })?;
    let of_events = highest(db, shard, &last_before("events", "id"), |row| {
        Ok((row.get(0)?, events::log_id(&row.get::<_, Vec<u8>>(1)?)))
    })?;
    Ok(of_grants.max(of_events))
}

/// An epoch, and the log id of its last fact.
type LastOfEpoch = (i64, Option<LogId>);

/// The highest of what `sql` says of the last fact of each epoch, as `read` reads it.
fn highest(
    db: &Connection,
    shard: Shard,
    sql: &str,
    read: fn(&Row<'_>) -> rusqlite::Result<LastOfEpoch>,
) -> Result<Option<LogId>, ArchiveError> {
    let mut last_before = db.prepare_cached(sql)?;
    let mut highest = None;
    let mut below = i64::MAX;
    while let Some((epoch, last)) = last_before.query_row(params![shard.number(), below], read).optional()? {
        highest = highest.max(last);
        below = epoch;
    }
    Ok(highest)
}
