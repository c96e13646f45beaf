//! Notes of facts that are refused for good.

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};
use stampede_domain::{DeadLetter, FactId, Shard};

use super::columns::{Columns, sql_limit, sql_number};
use super::errors::rejection;
use super::events::id_bytes;
use crate::{ArchiveError, FactCursor, FactRange, Refusal, RefusalReason, accept};

pub(super) fn insert(db: &Connection, letters: &[DeadLetter]) -> Result<Vec<Refusal>, ArchiveError> {
    let mut refusals = Vec::new();
    for (index, letter) in letters.iter().enumerate() {
        let reason = match accept::rejection(&letter.fact) {
            Some(why) => Some(RefusalReason::Rejected(why.to_owned())),
            None => insert_one(db, letter)?,
        };
        refusals.extend(reason.map(|reason| Refusal { fact: letter.fact.id(), index, reason }));
    }
    Ok(refusals)
}

fn insert_one(db: &Connection, letter: &DeadLetter) -> Result<Option<RefusalReason>, ArchiveError> {
    let fact = &letter.fact;
    let id = id_bytes(fact.id());
    let mut insert = db.prepare_cached(
        "INSERT INTO dead_letters (id, shard, epoch, number, idx, letter) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (id) DO NOTHING",
    )?;
    let inserted = insert.execute(params![
        id,
        fact.shard.number(),
        fact.epoch.0,
        sql_number(fact.number)?,
        fact.position.index,
        letter.to_json()
    ]);
    match inserted {
        Ok(0) => {}
        Ok(_) => return Ok(None),
        Err(error) => match rejection(&error) {
            Some(why) => return Ok(Some(RefusalReason::Rejected(why))),
            None => return Err(error.into()),
        },
    }
    let mut select = db.prepare_cached("SELECT letter FROM dead_letters WHERE id = ?1")?;
    let noted = select.query_row([id], |row| Ok(read(row).ok())).optional()?.flatten();
    Ok(if noted.is_some_and(|noted| noted.fact == *fact) { None } else { Some(RefusalReason::Conflict) })
}

/// The note of a fact.
pub(super) fn by_id(db: &Connection, id: FactId) -> Result<Option<DeadLetter>, ArchiveError> {
    let mut select = db.prepare_cached("SELECT letter FROM dead_letters WHERE id = ?1")?;
    Ok(select.query_row([id_bytes(id)], read).optional()?)
}

pub(super) fn range(
    db: &Connection,
    shard: Shard,
    range: FactRange,
    after: Option<FactCursor>,
    limit: usize,
) -> Result<Vec<DeadLetter>, ArchiveError> {
    let mut select = db.prepare_cached(
        "SELECT letter FROM dead_letters
         WHERE shard = ?1 AND epoch >= ?2 AND number > ?3 AND (epoch, number, idx) > (?4, ?5, ?6)
         ORDER BY epoch, number, idx LIMIT ?7",
    )?;
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let (epoch, entry, index) =
        after.map_or((-1, 0, 0), |after| (i64::from(after.epoch.0), number(after.number), after.index));
    let letters = select.query_map(
        params![shard.number(), range.from_epoch.0, number(range.beyond_number), epoch, entry, index, sql_limit(limit)],
        read,
    )?;
    Ok(letters.collect::<Result<_, _>>()?)
}

/// The letter that a row of one column holds.
fn read(row: &Row<'_>) -> rusqlite::Result<DeadLetter> {
    let mut columns = Columns::of(row);
    let json: String = columns.value()?;
    DeadLetter::from_json(json.as_bytes()).map_err(|error| columns.malformed(Type::Text, error))
}
