//! The windows that are kept for the drops of a sku, so that no two of them overlap.

use rusqlite::{Connection, OptionalExtension, Row, params};
use stampede_domain::{DropDefinition, DropId, Sku, Timestamp, Window};

use super::columns::Columns;
use super::{drops, epochs, products};
use crate::{ArchiveError, DefineDrop, WindowChange};

pub(super) fn define(db: &Connection, definition: &DropDefinition) -> Result<DefineDrop, ArchiveError> {
    if let Some(record) = drops::one(db, &definition.id)? {
        return Ok(DefineDrop::Exists(Box::new(record)));
    }
    if products::one(db, &definition.sku)?.is_none() {
        return Ok(DefineDrop::UnknownSku);
    }
    let overlapping = overlapping(db, &definition.sku, &definition.id, &definition.window)?;
    if !overlapping.is_empty() {
        return Ok(DefineDrop::Overlaps(overlapping));
    }
    let shard = epochs::stored_deployment(db)?.shard_of(&definition.id);
    drops::insert(db, definition, shard)?;
    let window = &definition.window;
    db.prepare_cached("INSERT INTO windows (drop_id, sku, starts_at_ms, ends_at_ms) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![
            definition.id.as_str(),
            definition.sku.as_str(),
            window.starts_at.as_ms(),
            window.ends_at.map(Timestamp::as_ms),
        ])?;
    Ok(DefineDrop::Defined)
}

pub(super) fn release(db: &Connection, sku: &Sku, id: &DropId) -> Result<(), ArchiveError> {
    db.prepare_cached("DELETE FROM windows WHERE drop_id = ?1 AND sku = ?2")?.execute([id.as_str(), sku.as_str()])?;
    Ok(())
}

pub(super) fn change(db: &Connection, sku: &Sku, id: &DropId, window: &Window) -> Result<WindowChange, ArchiveError> {
    let kept = db
        .prepare_cached("SELECT starts_at_ms, ends_at_ms FROM windows WHERE drop_id = ?1 AND sku = ?2")?
        .query_row([id.as_str(), sku.as_str()], |row| read(&mut Columns::of(row)))
        .optional()?;
    let Some(kept) = kept else { return Ok(WindowChange::NotKept) };
    let overlapping = overlapping(db, sku, id, window)?;
    if !overlapping.is_empty() {
        return Ok(WindowChange::Overlaps(overlapping));
    }
    db.prepare_cached("UPDATE windows SET starts_at_ms = ?2, ends_at_ms = ?3 WHERE drop_id = ?1")?.execute(params![
        id.as_str(),
        window.starts_at.as_ms(),
        window.ends_at.map(Timestamp::as_ms)
    ])?;
    drops::set_window(db, id, window)?;
    Ok(WindowChange::Changed(kept))
}

/// The other drops of `sku` whose windows overlap `window`, in order of their start.
fn overlapping(db: &Connection, sku: &Sku, id: &DropId, window: &Window) -> Result<Vec<DropId>, ArchiveError> {
    let mut select = db.prepare_cached(
        "SELECT starts_at_ms, ends_at_ms, drop_id FROM windows WHERE sku = ?1 ORDER BY starts_at_ms, drop_id",
    )?;
    let windows = select.query_map([sku.as_str()], read_with_drop)?;
    let mut overlapping = Vec::new();
    for kept in windows {
        let (other, other_window) = kept?;
        if other != *id && other_window.overlaps(window) {
            overlapping.push(other);
        }
    }
    Ok(overlapping)
}

fn read_with_drop(row: &Row<'_>) -> rusqlite::Result<(DropId, Window)> {
    let mut columns = Columns::of(row);
    let window = read(&mut columns)?;
    Ok((columns.text()?, window))
}

fn read(columns: &mut Columns<'_>) -> rusqlite::Result<Window> {
    let starts_at = columns.time()?;
    let ends_at = columns.value::<Option<i64>>()?.map(Timestamp::from_ms);
    Ok(Window { starts_at, ends_at })
}
