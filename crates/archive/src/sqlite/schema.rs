//! The tables, and how they came to be.

use rusqlite::Connection;

use super::moving;
use crate::{ArchiveError, SCHEMA_VERSION, SchemaStatus};

/// What a step does after its statements.
type Program = fn(&Connection) -> Result<(), ArchiveError>;

/// The steps from each version of the schema to the next; the first one starts from an empty file. Steps are never
/// changed once they were released.
const STEPS: [(&str, Option<Program>); SCHEMA_VERSION as usize] = [
    (include_str!("schema_1.sql"), None),
    (include_str!("schema_2.sql"), None),
    (include_str!("schema_3.sql"), None),
    (include_str!("schema_4.sql"), Some(moving::move_orders)),
];

/// The file says its version in `user_version`, which is 0 in an empty one and is part of transactions.
pub(super) fn status(db: &Connection) -> Result<SchemaStatus, ArchiveError> {
    Ok(match version(db)? {
        0 => SchemaStatus::Missing,
        SCHEMA_VERSION => SchemaStatus::Current,
        older if older < SCHEMA_VERSION => SchemaStatus::Older(older),
        newer => SchemaStatus::Newer(newer),
    })
}

pub(super) fn migrate(db: &Connection) -> Result<(), ArchiveError> {
    let found = version(db)?;
    if found > SCHEMA_VERSION {
        return Err(ArchiveError::NewerSchema { found, known: SCHEMA_VERSION });
    }
    for (statements, program) in STEPS.iter().skip(found as usize) {
        db.execute_batch(statements)?;
        program.map_or(Ok(()), |program| program(db))?;
    }
    db.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    Ok(())
}

fn version(db: &Connection) -> Result<u32, ArchiveError> {
    Ok(db.pragma_query_value(None, "user_version", |row| row.get(0))?)
}
