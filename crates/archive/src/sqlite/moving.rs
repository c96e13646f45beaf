//! Moving the orders of version 3 of the schema, which had a row for each, to where they are now.

use rusqlite::types::Type;
use rusqlite::{Connection, Row};
use stampede_domain::{Epoch, Fact, FactBody, Fingerprint, Grant, KeyDigest, OrderId};

use super::columns::{Columns, NotA};
use super::inserting;
use crate::ArchiveError;

/// Orders that are held in memory at once. The runs of the users' index begin as long as this.
const AT_ONCE: usize = 100_000;

/// Moves all orders, then drops their table.
pub(super) fn move_orders(db: &Connection) -> Result<(), ArchiveError> {
    let mut select = db.prepare(
        "SELECT id, shard, epoch, number, idx, entry_facts, drop_id, sku, user_id, units, price_minor, currency, key_digest,
             fingerprint
         FROM facts_of_version_3 WHERE user_id IS NOT NULL ORDER BY shard, epoch, number, idx",
    )?;
    let mut rows = select.query([])?;
    let mut facts = Vec::new();
    loop {
        let row = rows.next()?;
        if row.is_none() || facts.len() >= AT_ONCE {
            let refusals = inserting::insert(db, &facts)?;
            if let Some(refusal) = refusals.first() {
                let detail = format!("order {} cannot be moved: {:?}", refusal.fact, refusal.reason);
                return Err(ArchiveError::Malformed { what: "row", detail });
            }
            facts.clear();
        }
        let Some(row) = row else { break };
        facts.push(read(row)?);
    }
    drop(rows);
    drop(select);
    Ok(db.execute_batch("DROP TABLE facts_of_version_3")?)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Fact> {
    let mut columns = Columns::of(row);
    let id: Vec<u8> = columns.value()?;
    let id = OrderId::from_bytes(&id).map_err(|_| columns.malformed(Type::Blob, NotA("the id of an order")))?;
    let shard = columns.shard()?;
    let epoch = Epoch(columns.value()?);
    let number = columns.number()?;
    let mut position = id.position();
    position.index = columns.value()?;
    let entry_facts = columns.value()?;
    let drop_id = columns.text()?;
    let body = FactBody::Granted(Grant {
        sku: columns.text()?,
        user_id: columns.text()?,
        units: columns.value()?,
        unit_price: columns.money()?,
        key: KeyDigest(columns.value()?),
        fingerprint: Fingerprint(columns.value()?),
    });
    Ok(Fact { shard, epoch, number, position, entry_facts, drop_id, body })
}
