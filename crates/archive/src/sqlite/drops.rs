//! Drops: their records and their stages.

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Params, Row, named_params, params};
use stampede_domain::{DropDefinition, DropId, Shard, Sku, Timestamp, Window};

use super::columns::{Columns, sql_limit};
use crate::{ArchiveError, DropCursor, DropRecord, DropStage};

/// The stored word is not a stage.
#[derive(Debug, thiserror::Error)]
#[error("not a stage of a drop")]
struct UnknownStage;

pub(super) fn insert(db: &Connection, definition: &DropDefinition, shard: Shard) -> Result<(), ArchiveError> {
    let json = serde_json::to_string(definition)
        .map_err(|error| ArchiveError::Malformed { what: "drop", detail: error.to_string() })?;
    db.prepare_cached(
        "INSERT INTO drops (id, sku, shard, stage, starts_at_ms, ends_at_ms, created_at_ms, definition)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        definition.id.as_str(),
        definition.sku.as_str(),
        shard.number(),
        DropStage::Defined.as_str(),
        definition.window.starts_at.as_ms(),
        definition.window.ends_at.map(Timestamp::as_ms),
        definition.created_at.as_ms(),
        json,
    ])?;
    if definition.stripes.is_striped() {
        let mut insert = db.prepare_cached("INSERT INTO stripes (shard, drop_id) VALUES (?1, ?2)")?;
        for stripe in definition.stripes.shards(shard) {
            insert.execute(params![stripe.number(), definition.id.as_str()])?;
        }
    }
    Ok(())
}

pub(super) fn move_stage(db: &Connection, id: &DropId, from: DropStage, to: DropStage) -> Result<bool, ArchiveError> {
    let mut update = db.prepare_cached("UPDATE drops SET stage = ?3 WHERE id = ?1 AND stage = ?2")?;
    Ok(update.execute([id.as_str(), from.as_str(), to.as_str()])? == 1)
}

pub(super) fn set_window(db: &Connection, id: &DropId, window: &Window) -> Result<(), ArchiveError> {
    let mut update = db.prepare_cached("UPDATE drops SET starts_at_ms = ?2, ends_at_ms = ?3 WHERE id = ?1")?;
    update.execute(params![id.as_str(), window.starts_at.as_ms(), window.ends_at.map(Timestamp::as_ms)])?;
    Ok(())
}

pub(super) fn one(db: &Connection, id: &DropId) -> Result<Option<DropRecord>, ArchiveError> {
    let mut select =
        db.prepare_cached("SELECT definition, starts_at_ms, ends_at_ms, stage FROM drops WHERE id = ?1")?;
    Ok(select.query_row([id.as_str()], read).optional()?)
}

pub(super) fn page(
    db: &Connection,
    sku: Option<&Sku>,
    after: Option<DropCursor>,
    limit: usize,
) -> Result<Vec<DropRecord>, ArchiveError> {
    let (ms, id) = after.map_or((i64::MAX, String::new()), |after| (after.created_at.as_ms(), after.id.to_string()));
    let limit = sql_limit(limit);
    match sku {
        None => list(
            db,
            "SELECT definition, starts_at_ms, ends_at_ms, stage FROM drops
             WHERE (created_at_ms, id) < (?1, ?2) ORDER BY created_at_ms DESC, id DESC LIMIT ?3",
            params![ms, id, limit],
        ),
        Some(sku) => list(
            db,
            "SELECT definition, starts_at_ms, ends_at_ms, stage FROM drops
             WHERE sku = ?4 AND (created_at_ms, id) < (?1, ?2) ORDER BY created_at_ms DESC, id DESC LIMIT ?3",
            params![ms, id, limit, sku.as_str()],
        ),
    }
}

pub(super) fn around(
    db: &Connection,
    sku: &Sku,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<DropRecord>, ArchiveError> {
    let arguments = named_params! { ":sku": sku.as_str(), ":now": now.as_ms(), ":limit": sql_limit(limit) };
    let mut drops = list(
        db,
        "SELECT definition, starts_at_ms, ends_at_ms, stage FROM drops
         WHERE sku = :sku AND starts_at_ms <= :now ORDER BY starts_at_ms DESC, id DESC LIMIT :limit",
        arguments,
    )?;
    drops.reverse();
    drops.extend(list(
        db,
        "SELECT definition, starts_at_ms, ends_at_ms, stage FROM drops
         WHERE sku = :sku AND starts_at_ms > :now ORDER BY starts_at_ms, id LIMIT :limit",
        arguments,
    )?);
    Ok(drops)
}

pub(super) fn of_shard(
    db: &Connection,
    shard: Shard,
    after: Option<&DropId>,
    limit: usize,
) -> Result<Vec<DropRecord>, ArchiveError> {
    // No id is empty, so the empty text is below all of them.
    let after = after.map_or("", DropId::as_str);
    list(
        db,
        "SELECT definition, starts_at_ms, ends_at_ms, stage FROM drops
         WHERE (shard = ?1 OR id IN (SELECT drop_id FROM stripes WHERE stripes.shard = ?1))
           AND id > ?2 AND stage <> 'defined' ORDER BY id LIMIT ?3",
        params![shard.number(), after, sql_limit(limit)],
    )
}

pub(super) fn unopened(
    db: &Connection,
    defined_before: Timestamp,
    limit: usize,
) -> Result<Vec<DropRecord>, ArchiveError> {
    list(
        db,
        "SELECT definition, starts_at_ms, ends_at_ms, stage FROM drops
         WHERE stage <> 'opened' AND created_at_ms < ?1 ORDER BY created_at_ms, id LIMIT ?2",
        params![defined_before.as_ms(), sql_limit(limit)],
    )
}

fn list(db: &Connection, sql: &str, arguments: impl Params) -> Result<Vec<DropRecord>, ArchiveError> {
    let mut select = db.prepare_cached(sql)?;
    let drops = select.query_map(arguments, read)?;
    Ok(drops.collect::<Result<_, _>>()?)
}

fn read(row: &Row<'_>) -> rusqlite::Result<DropRecord> {
    let mut columns = Columns::of(row);
    let definition = columns.json()?;
    let starts_at = columns.time()?;
    let ends_at = columns.value::<Option<i64>>()?.map(Timestamp::from_ms);
    let stage: String = columns.value()?;
    let stage = DropStage::parse(&stage).ok_or_else(|| columns.malformed(Type::Text, UnknownStage))?;
    Ok(DropRecord { definition, window: Window { starts_at, ends_at }, stage })
}
