//! Granted orders as rows: those of an entry that have drop, product and price in common share one, a *bundle*.
//!
//! A row, with its places in indexes, costs about as much as thirty orders in one, so the cost of an order is that of its
//! JSON.

use std::borrow::Cow;

use rusqlite::types::Type;
use rusqlite::{Connection, Row, Rows, params};
use serde::{Deserialize, Serialize};
use stampede_domain::{
    DropId, Epoch, Fact, FactBody, Fingerprint, Grant, KeyDigest, LogId, OrderId, Position, Shard, UserId,
};

use super::columns::{Columns, sql_limit, sql_number};
use crate::ArchiveError;

/// The columns, in the order in which they are read.
const COLUMNS: &str =
    "shard, epoch, number, log_ms, log_sequence, entry_facts, drop_id, sku, price_minor, currency, orders";

/// What an order has of its own, as it is stored: index, user, units, key, fingerprint.
#[derive(Serialize, Deserialize)]
struct StoredOrder<'a>(u16, #[serde(borrow)] Cow<'a, str>, u16, KeyDigest, Fingerprint);

/// A fact that grants an order, and what it grants.
#[derive(Clone, Copy)]
pub(super) struct Granted<'a> {
    pub(super) fact: &'a Fact,
    pub(super) grant: &'a Grant,
}

impl<'a> Granted<'a> {
    pub(super) fn of(fact: &'a Fact) -> Option<Self> {
        match &fact.body {
            FactBody::Granted(grant) => Some(Self { fact, grant }),
            _ => None,
        }
    }

    /// Whether `next`, of the same entry, may follow this one in a row.
    pub(super) fn may_share_row(&self, next: &Self) -> bool {
        self.fact.position.index < next.fact.position.index
            && self.fact.entry_facts == next.fact.entry_facts
            && self.fact.drop_id == next.fact.drop_id
            && self.grant.sku == next.grant.sku
            && self.grant.unit_price == next.grant.unit_price
    }
}

/// Inserts orders that share a row, in order of their index.
pub(super) fn insert(db: &Connection, orders: &[Granted<'_>]) -> rusqlite::Result<()> {
    let [Granted { fact, grant }, ..] = orders else { return Ok(()) };
    let own: Vec<StoredOrder<'_>> = orders
        .iter()
        .map(|Granted { fact, grant }| {
            let user_id = Cow::Borrowed(grant.user_id.as_str());
            StoredOrder(fact.position.index, user_id, grant.units, grant.key, grant.fingerprint)
        })
        .collect();
    let own = serde_json::to_string(&own).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    let mut insert = db.prepare_cached(
        "INSERT INTO grants (shard, epoch, number, idx, log_ms, log_sequence, entry_facts, drop_id, sku, price_minor,
             currency, count, orders)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    )?;
    insert.execute(params![
        fact.shard.number(),
        fact.epoch.0,
        sql_number(fact.number)?,
        fact.position.index,
        sql_number(fact.position.log_id.ms)?,
        fact.position.log_id.sequence,
        fact.entry_facts,
        fact.drop_id.as_str(),
        grant.sku.as_str(),
        grant.unit_price.amount_minor,
        grant.unit_price.currency.as_str(),
        sql_limit(orders.len()),
        own,
    ])?;
    Ok(())
}

/// The facts of the row's orders.
fn read(row: &Row<'_>) -> rusqlite::Result<Vec<Fact>> {
    let mut columns = Columns::of(row);
    let shard = columns.shard()?;
    let epoch = Epoch(columns.value()?);
    let number = columns.number()?;
    let log_id = LogId { ms: columns.number()?, sequence: columns.value()? };
    let entry_facts = columns.value()?;
    let drop_id: DropId = columns.text()?;
    let sku = columns.text()?;
    let unit_price = columns.money()?;
    let json: String = columns.value()?;
    let malformed = |columns: &Columns<'_>, error| columns.malformed(Type::Text, error);
    let orders: Vec<StoredOrder<'_>> = serde_json::from_str(&json).map_err(|error| malformed(&columns, error))?;
    orders
        .into_iter()
        .map(|StoredOrder(index, user_id, units, key, fingerprint)| {
            let user_id = user_id.parse().map_err(|error| columns.malformed(Type::Text, error))?;
            let grant = Grant { sku: Clone::clone(&sku), user_id, units, unit_price, key, fingerprint };
            let (position, drop_id, body) = (Position { log_id, index }, drop_id.clone(), FactBody::Granted(grant));
            Ok(Fact { shard, epoch, number, position, entry_facts, drop_id, body })
        })
        .collect()
}

/// The orders of an entry, in order of their index.
pub(super) fn of_entry(db: &Connection, shard: Shard, epoch: Epoch, number: u64) -> Result<Vec<Fact>, ArchiveError> {
    let sql = format!("SELECT {COLUMNS} FROM grants WHERE shard = ?1 AND epoch = ?2 AND number = ?3");
    let mut select = db.prepare_cached(&sql)?;
    let mut facts = all(select.query(params![shard.number(), epoch.0, sql_number(number)?])?)?;
    facts.sort_unstable_by_key(|fact| fact.position.index);
    Ok(facts)
}

/// The orders of the entries with this log id, of any epoch.
pub(super) fn of_log_id(db: &Connection, shard: Shard, log_id: LogId) -> Result<Vec<Fact>, ArchiveError> {
    let sql = format!("SELECT {COLUMNS} FROM grants WHERE log_ms = ?1 AND shard = ?2 AND log_sequence = ?3");
    let mut select = db.prepare_cached(&sql)?;
    all(select.query(params![sql_number(log_id.ms)?, shard.number(), log_id.sequence])?)
}

fn all(mut rows: Rows<'_>) -> Result<Vec<Fact>, ArchiveError> {
    let mut facts = Vec::new();
    while let Some(row) = rows.next()? {
        facts.extend(read(row)?);
    }
    Ok(facts)
}

/// The grant of an order.
pub(super) fn by_id(db: &Connection, id: OrderId) -> Result<Option<Fact>, ArchiveError> {
    let position = id.position();
    let facts = of_log_id(db, id.shard(), position.log_id)?;
    Ok(facts.into_iter().find(|fact| fact.position.index == position.index && is_of(fact, id)))
}

/// Whether the fact grants this order.
fn is_of(fact: &Fact, id: OrderId) -> bool {
    fact.order().is_some_and(|order| order.id == id)
}

/// At least `limit` orders of an epoch behind a place in its log, in the order of the log, if there are as many.
pub(super) fn behind(
    db: &Connection,
    (shard, epoch): (Shard, Epoch),
    (number, index): (u64, u16),
    limit: usize,
) -> Result<Vec<Fact>, ArchiveError> {
    let mut select = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM grants WHERE shard = ?1 AND epoch = ?2 AND number >= ?3 ORDER BY number, idx",
    ))?;
    let mut rows = select.query(params![shard.number(), epoch.0, i64::try_from(number).unwrap_or(i64::MAX)])?;
    let mut facts: Vec<Fact> = Vec::new();
    while let Some(row) = rows.next()? {
        let orders = read(row)?;
        // The orders of an entry's rows may alternate: it is read whole.
        let goes_on = facts.last().map(|fact| fact.number) == orders.first().map(|fact| fact.number);
        if facts.len() >= limit && !goes_on {
            break;
        }
        facts.extend(orders.into_iter().filter(|fact| (fact.number, fact.position.index) > (number, index)));
    }
    facts.sort_unstable_by_key(|fact| (fact.number, fact.position.index));
    Ok(facts)
}

/// Orders of a drop, or of all, newest first.
pub(super) fn page(
    db: &Connection,
    drop_id: Option<&DropId>,
    before: Option<OrderId>,
    limit: usize,
) -> Result<Vec<Fact>, ArchiveError> {
    let of_drop = if drop_id.is_some() { "drop_id = ?4 AND" } else { "?4 IS NULL AND" };
    let mut select = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM grants WHERE {of_drop} (log_ms, shard, log_sequence) <= (?1, ?2, ?3)
         ORDER BY log_ms DESC, shard DESC, log_sequence DESC",
    ))?;
    let (ms, shard, sequence) = before.map_or((i64::MAX, 0, 0), |id| {
        let log_id = id.position().log_id;
        (i64::try_from(log_id.ms).unwrap_or(i64::MAX), id.shard().number(), log_id.sequence)
    });
    let mut rows = select.query(params![ms, shard, sequence, drop_id.map(DropId::as_str)])?;
    let mut page = NewestFirst::new(before, limit);
    while let Some(row) = rows.next()? {
        if page.is_full_before(read(row)?) {
            break;
        }
    }
    Ok(page.into_facts())
}

/// Orders of a user that are at these places, which are newest first.
pub(super) fn of_user(
    db: &Connection,
    user_id: &UserId,
    drop_id: Option<&DropId>,
    places: &[(Shard, Position)],
    before: Option<OrderId>,
    limit: usize,
) -> Result<Vec<Fact>, ArchiveError> {
    let mut page = NewestFirst::new(before, limit);
    let key = |shard: Shard, position: Position| (position.log_id.ms, shard, position.log_id.sequence, position.index);
    for (shard, position) in places {
        if before.is_some_and(|before| key(*shard, *position) > key(before.shard(), before.position())) {
            continue;
        }
        let mut orders = of_log_id(db, *shard, position.log_id)?;
        orders.retain(|fact| {
            fact.position.index == position.index
                && drop_id.is_none_or(|drop_id| fact.drop_id == *drop_id)
                && Granted::of(fact).is_some_and(|granted| granted.grant.user_id == *user_id)
        });
        if page.is_full_before(orders) {
            break;
        }
    }
    Ok(page.into_facts())
}

/// Gathers orders that come newest first, except that those of one place in the log come in any order: two epochs may have
/// given it to different orders.
struct NewestFirst {
    before: Option<OrderId>,
    limit: usize,
    orders: Vec<(OrderId, Fact)>,
}

impl NewestFirst {
    const fn new(before: Option<OrderId>, limit: usize) -> Self {
        Self { before, limit, orders: Vec::new() }
    }

    /// Adds orders of one entry, unless there are enough of later ones.
    fn is_full_before(&mut self, orders: Vec<Fact>) -> bool {
        let place = |fact: &Fact| (fact.shard, fact.position.log_id);
        let goes_on = orders.first().map(place) == self.orders.last().map(|(_, fact)| place(fact));
        if self.orders.len() >= self.limit && !goes_on {
            return true;
        }
        let (before, orders) = (self.before, orders.into_iter());
        let with_id = orders.filter_map(|fact| fact.order().map(|order| (order.id, fact)));
        self.orders.extend(with_id.filter(|(id, _)| before.is_none_or(|before| *id < before)));
        false
    }

    fn into_facts(mut self) -> Vec<Fact> {
        self.orders.sort_unstable_by(|(one, _), (other, _)| other.cmp(one));
        self.orders.into_iter().take(self.limit).map(|(_, fact)| fact).collect()
    }
}
