//! Facts as rows.

use rusqlite::types::Type;
use rusqlite::{Row, Statement};
use stampede_domain::{Epoch, Fact, FactBody, FactId, Fingerprint, Grant, KeyDigest, LogId, OrderId, Position, Shard};

use super::columns::{Columns, sql_number};

/// The columns, in the order in which they are read.
pub(super) const COLUMNS: &str = "id, shard, epoch, number, idx, entry_facts, kind, drop_id, sku, user_id, units, \
     price_minor, currency, key_digest, fingerprint, body, order_id";

/// The columns of an order, in the order of [`insert_orders`].
const ORDER_COLUMNS: &str = "id, shard, epoch, number, idx, entry_facts, kind, drop_id, sku, user_id, units, \
     price_minor, currency, key_digest, fingerprint";

/// How many of them orders that are alike have in common.
const ALIKE: usize = 9;

/// How many each order has of its own.
const OWN: usize = 6;

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

/// Whether two grants have the same entry, drop and price: their rows then differ in [`OWN`] columns only.
pub(super) fn are_alike(one: &Fact, other: &Fact) -> bool {
    let (FactBody::Granted(grant), FactBody::Granted(others)) = (&one.body, &other.body) else { return false };
    let entry = |fact: &Fact| (fact.shard, fact.epoch, fact.number, fact.entry_facts);
    entry(one) == entry(other)
        && one.drop_id == other.drop_id
        && grant.sku == others.sku
        && grant.unit_price == others.unit_price
}

/// Inserts the facts of so many orders that are alike: the parameters of [`bind_alike`], then [`bind_own`]'s of each row.
pub(super) fn insert_orders(rows: usize) -> String {
    let row = |row: usize| {
        let [id, idx, user_id, units, key, fingerprint] = std::array::from_fn(|own| ALIKE + row * OWN + own + 1);
        format!("(?{id}, ?1, ?2, ?3, ?{idx}, ?4, ?5, ?6, ?7, ?{user_id}, ?{units}, ?8, ?9, ?{key}, ?{fingerprint})")
    };
    let rows: Vec<String> = (0..rows).map(row).collect();
    format!("INSERT OR IGNORE INTO facts ({ORDER_COLUMNS}) VALUES {}", rows.join(", "))
}

/// Binds what orders that are alike have in common.
pub(super) fn bind_alike(insert: &mut Statement<'_>, fact: &Fact) -> rusqlite::Result<()> {
    let grant = grant_of(fact)?;
    insert.raw_bind_parameter(1, fact.shard.number())?;
    insert.raw_bind_parameter(2, fact.epoch.0)?;
    insert.raw_bind_parameter(3, sql_number(fact.number)?)?;
    insert.raw_bind_parameter(4, fact.entry_facts)?;
    insert.raw_bind_parameter(5, fact.body.kind())?;
    insert.raw_bind_parameter(6, fact.drop_id.as_str())?;
    insert.raw_bind_parameter(7, grant.sku.as_str())?;
    insert.raw_bind_parameter(8, grant.unit_price.amount_minor)?;
    insert.raw_bind_parameter(9, grant.unit_price.currency.as_str())
}

/// Binds what an order has of its own, as the row of that place.
pub(super) fn bind_own(insert: &mut Statement<'_>, row: usize, fact: &Fact) -> rusqlite::Result<()> {
    let grant = grant_of(fact)?;
    let before = ALIKE + row * OWN;
    insert.raw_bind_parameter(before + 1, id_bytes(fact.id()))?;
    insert.raw_bind_parameter(before + 2, fact.position.index)?;
    insert.raw_bind_parameter(before + 3, grant.user_id.as_str())?;
    insert.raw_bind_parameter(before + 4, grant.units)?;
    insert.raw_bind_parameter(before + 5, &grant.key.0[..])?;
    insert.raw_bind_parameter(before + 6, &grant.fingerprint.0[..])
}

/// The order that a fact grants.
fn grant_of(fact: &Fact) -> rusqlite::Result<&Grant> {
    match &fact.body {
        FactBody::Granted(grant) => Ok(grant),
        _ => Err(rusqlite::Error::ToSqlConversionFailure(Box::new(NotA("a grant")))),
    }
}

/// Inserts a fact other than a grant, whose parameters [`bind_event`] binds.
pub(super) const INSERT_EVENT: &str =
    "INSERT OR IGNORE INTO facts (id, shard, epoch, number, idx, entry_facts, kind, drop_id, body, order_id)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";

/// Binds a fact other than a grant to [`INSERT_EVENT`].
pub(super) fn bind_event(insert: &mut Statement<'_>, fact: &Fact) -> rusqlite::Result<()> {
    let order_id = match &fact.body {
        FactBody::Cancelled(withdrawal) => Some(withdrawal.order_id),
        FactBody::Compensated(given_back) => Some(given_back.order_id),
        _ => None,
    };
    insert.raw_bind_parameter(1, id_bytes(fact.id()))?;
    insert.raw_bind_parameter(2, fact.shard.number())?;
    insert.raw_bind_parameter(3, fact.epoch.0)?;
    insert.raw_bind_parameter(4, sql_number(fact.number)?)?;
    insert.raw_bind_parameter(5, fact.position.index)?;
    insert.raw_bind_parameter(6, fact.entry_facts)?;
    insert.raw_bind_parameter(7, fact.body.kind())?;
    insert.raw_bind_parameter(8, fact.drop_id.as_str())?;
    insert.raw_bind_parameter(9, to_json(&fact.body)?)?;
    insert.raw_bind_parameter(10, order_id.as_ref().map(|id| &id.as_bytes()[..]))
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
