//! Facts as rows.

use rusqlite::types::Type;
use rusqlite::{Row, Statement};
use stampede_domain::{Epoch, Fact, FactBody, FactId, Fingerprint, Grant, KeyDigest, LogId, OrderId, Position, Shard};

use super::columns::{Columns, sql_number};

/// The columns, in the order in which they are written and read.
pub(super) const COLUMNS: &str = "id, shard, epoch, number, idx, entry_facts, kind, drop_id, sku, user_id, units, \
     price_minor, currency, key_digest, fingerprint, body, order_id";

/// How many columns there are.
pub(super) const COLUMN_COUNT: usize = 17;

/// The columns from `sku` to `fingerprint`, which only grants have.
const GRANT_COLUMNS: usize = 7;

/// The stored bytes are not what this version writes.
#[derive(Debug, thiserror::Error)]
#[error("not {0}")]
struct NotA(&'static str);

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

/// Binds a fact's columns to the parameters of `insert` from the one after `offset` on. All of them, since the statement
/// remembers those of the fact before.
pub(super) fn bind(insert: &mut Statement<'_>, offset: usize, fact: &Fact) -> rusqlite::Result<()> {
    let id = id_bytes(fact.id());
    insert.raw_bind_parameter(offset + 1, &id)?;
    insert.raw_bind_parameter(offset + 2, fact.shard.number())?;
    insert.raw_bind_parameter(offset + 3, fact.epoch.0)?;
    insert.raw_bind_parameter(offset + 4, sql_number(fact.number)?)?;
    insert.raw_bind_parameter(offset + 5, fact.position.index)?;
    insert.raw_bind_parameter(offset + 6, fact.entry_facts)?;
    insert.raw_bind_parameter(offset + 7, fact.body.kind())?;
    insert.raw_bind_parameter(offset + 8, fact.drop_id.as_str())?;
    let grant = match &fact.body {
        FactBody::Granted(grant) => Some(grant),
        _ => None,
    };
    insert.raw_bind_parameter(offset + 9, grant.map(|grant| grant.sku.as_str()))?;
    insert.raw_bind_parameter(offset + 10, grant.map(|grant| grant.user_id.as_str()))?;
    insert.raw_bind_parameter(offset + 11, grant.map(|grant| grant.units))?;
    insert.raw_bind_parameter(offset + 12, grant.map(|grant| grant.unit_price.amount_minor))?;
    insert.raw_bind_parameter(offset + 13, grant.map(|grant| grant.unit_price.currency.as_str()))?;
    insert.raw_bind_parameter(offset + 14, grant.map(|grant| &grant.key.0[..]))?;
    insert.raw_bind_parameter(offset + 15, grant.map(|grant| &grant.fingerprint.0[..]))?;
    let body = match grant {
        None => Some(to_json(&fact.body)?),
        Some(_) => None,
    };
    insert.raw_bind_parameter(offset + 16, body)?;
    let order_id = match &fact.body {
        FactBody::Cancelled(withdrawal) => Some(withdrawal.order_id),
        FactBody::Compensated(given_back) => Some(given_back.order_id),
        _ => None,
    };
    insert.raw_bind_parameter(offset + 17, order_id.as_ref().map(|id| &id.as_bytes()[..]))
}

/// The fact that a row of [`COLUMNS`] is.
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Fact> {
    let mut columns = Columns::of(row);
    let id: Vec<u8> = columns.value()?;
    let log_id = log_id(&id).ok_or_else(|| columns.malformed(Type::Blob, NotA("the id of a fact")))?;
    let shard = Shard::new(columns.value()?).ok_or_else(|| columns.malformed(Type::Integer, NotA("a shard")))?;
    let epoch = Epoch(columns.value()?);
    let number = columns.number()?;
    let position = Position { log_id, index: columns.value()? };
    let entry_facts = columns.value()?;
    columns.skip(1);
    let drop_id = columns.text()?;
    let body = if id.len() == 16 {
        FactBody::Granted(read_grant(&mut columns)?)
    } else {
        columns.skip(GRANT_COLUMNS);
        columns.json()?
    };
    Ok(Fact { shard, epoch, number, position, entry_facts, drop_id, body })
}

fn read_grant(columns: &mut Columns<'_>) -> rusqlite::Result<Grant> {
    Ok(Grant {
        sku: columns.text()?,
        user_id: columns.text()?,
        units: columns.value()?,
        unit_price: columns.money()?,
        key: KeyDigest(columns.value()?),
        fingerprint: Fingerprint(columns.value()?),
    })
}

/// The log id that a fact's id says.
pub(super) fn log_id(id: &[u8]) -> Option<LogId> {
    if id.len() == 16 {
        return OrderId::from_bytes(id).ok().map(|id| id.position().log_id);
    }
    let (0, rest) = id.split_first().filter(|_| id.len() == 17)? else { return None };
    let (ms, rest) = rest.split_first_chunk::<6>()?;
    let (sequence, _) = rest.split_first_chunk::<2>()?;
    let [a, b, c, d, e, f] = *ms;
    Some(LogId { ms: u64::from_be_bytes([0, 0, a, b, c, d, e, f]), sequence: u16::from_be_bytes(*sequence) })
}

fn to_json(body: &FactBody) -> rusqlite::Result<String> {
    serde_json::to_string(body).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}
