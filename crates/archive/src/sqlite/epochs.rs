//! The deployment, its shards' epochs, and their closings.

use std::ops::RangeInclusive;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};
use stampede_domain::{Closing, Deployment, Epoch, Shard, ShardCount};

use super::columns::{Columns, sql_number};
use crate::ArchiveError;

pub(super) fn deployment(db: &Connection, proposed: &Deployment) -> Result<Deployment, ArchiveError> {
    db.prepare_cached("INSERT OR IGNORE INTO deployment (only, id, shards) VALUES (1, ?1, ?2)")?
        .execute(params![proposed.id, proposed.shards.get()])?;
    let stored = stored_deployment(db)?;
    let mut insert = db.prepare_cached("INSERT OR IGNORE INTO epochs (shard, epoch) VALUES (?1, 0)")?;
    for shard in stored.shards.shards() {
        insert.execute([shard.number()])?;
    }
    Ok(stored)
}

pub(super) fn stored_deployment(db: &Connection) -> Result<Deployment, ArchiveError> {
    let mut select = db.prepare_cached("SELECT id, shards FROM deployment")?;
    let stored = select.query_row([], |row| {
        let mut columns = Columns::of(row);
        let id = columns.value()?;
        let shards = columns.value::<u16>()?;
        let shards = ShardCount::try_from(shards).map_err(|error| columns.malformed(Type::Integer, error))?;
        Ok(Deployment { id, shards })
    });
    stored.optional()?.ok_or_else(|| ArchiveError::missing("deployment"))
}

pub(super) fn current(db: &Connection, shard: Shard) -> Result<Epoch, ArchiveError> {
    let mut select = db.prepare_cached("SELECT epoch FROM epochs WHERE shard = ?1")?;
    let epoch = select.query_row([shard.number()], |row| row.get(0)).optional()?;
    Ok(Epoch(epoch.unwrap_or_default()))
}

pub(super) fn raise(db: &Connection, shard: Shard) -> Result<Epoch, ArchiveError> {
    let mut update = db.prepare_cached("UPDATE epochs SET epoch = epoch + 1 WHERE shard = ?1 RETURNING epoch")?;
    let epoch = update.query_row([shard.number()], |row| row.get(0)).optional()?;
    epoch.map(Epoch).ok_or_else(|| ArchiveError::missing("shard's row of epochs"))
}

pub(super) fn close(db: &Connection, closing: &Closing) -> Result<Closing, ArchiveError> {
    let holes: Vec<_> = closing.holes.iter().map(|hole| [*hole.start(), *hole.end()]).collect();
    let holes = serde_json::to_string(&holes)
        .map_err(|error| ArchiveError::Malformed { what: "closing", detail: error.to_string() })?;
    db.prepare_cached(
        "INSERT OR IGNORE INTO closings (shard, epoch, base, through, holes, void) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        closing.shard.number(),
        closing.epoch.0,
        sql_number(closing.base)?,
        sql_number(closing.through)?,
        holes,
        closing.void,
    ])?;
    let mut select =
        db.prepare_cached("SELECT epoch, base, through, holes, void FROM closings WHERE shard = ?1 AND epoch = ?2")?;
    Ok(select.query_row(params![closing.shard.number(), closing.epoch.0], |row| read(row, closing.shard))?)
}

pub(super) fn closings(db: &Connection, shard: Shard) -> Result<Vec<Closing>, ArchiveError> {
    let mut select =
        db.prepare_cached("SELECT epoch, base, through, holes, void FROM closings WHERE shard = ?1 ORDER BY epoch")?;
    let closings = select.query_map([shard.number()], |row| read(row, shard))?;
    Ok(closings.collect::<Result<_, _>>()?)
}

fn read(row: &Row<'_>, shard: Shard) -> rusqlite::Result<Closing> {
    let mut columns = Columns::of(row);
    Ok(Closing {
        shard,
        epoch: Epoch(columns.value()?),
        base: columns.number()?,
        through: columns.number()?,
        holes: columns.json::<Vec<[u64; 2]>>()?.into_iter().map(|[from, to]| RangeInclusive::new(from, to)).collect(),
        void: columns.value()?,
    })
}
