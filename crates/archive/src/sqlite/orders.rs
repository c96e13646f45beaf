//! Orders, folded from the facts that count.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use stampede_domain::{DropId, Fact, Fingerprint, KeyDigest, OrderId, UserId};

use super::columns::sql_limit;
use super::epochs;
use super::fact_rows::{self, COLUMNS};
use super::user_orders::OF_USER;
use crate::fold::{self, Closings};
use crate::{ArchiveError, ArchivedOrder, OrderFilter};

pub(super) fn one(db: &Connection, id: OrderId) -> Result<Option<ArchivedOrder>, ArchiveError> {
    let mut select = db.prepare_cached(&format!("SELECT {COLUMNS} FROM facts WHERE id = ?1"))?;
    let fact = select.query_row([&id.as_bytes()[..]], fact_rows::read).optional()?;
    let mut closings = Closings::default();
    let mut orders = counting(db, fact.into_iter().collect(), &mut closings)?;
    fold_status(db, &mut orders, &mut closings)?;
    Ok(orders.pop())
}

/// Reads on until the page is full: facts that do not count may lie in between.
pub(super) fn page(
    db: &Connection,
    filter: &OrderFilter,
    before: Option<OrderId>,
    limit: usize,
) -> Result<Vec<ArchivedOrder>, ArchiveError> {
    let mut closings = Closings::default();
    let mut orders: Vec<ArchivedOrder> = Vec::new();
    let mut before = before;
    while orders.len() < limit {
        let wanted = limit - orders.len();
        let facts = grants(db, filter, before, wanted)?;
        let exhausted = facts.len() < wanted;
        before = facts.last().and_then(Fact::order).map(|order| order.id);
        orders.extend(counting(db, facts, &mut closings)?);
        if exhausted {
            break;
        }
    }
    fold_status(db, &mut orders, &mut closings)?;
    Ok(orders)
}

pub(super) fn of_key(
    db: &Connection,
    drop_id: &DropId,
    user_id: &UserId,
    key: KeyDigest,
) -> Result<Option<(ArchivedOrder, Fingerprint)>, ArchiveError> {
    // As in a list of a user's orders in a drop: the few orders of the user are looked up.
    let mut select = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM facts WHERE user_id IS NOT NULL AND {OF_USER} AND +drop_id = ?2 AND key_digest = ?3"
    ))?;
    let found = select.query_map(params![user_id.as_str(), drop_id.as_str(), &key.0[..]], fact_rows::read)?;
    let mut facts = found.collect::<Result<Vec<Fact>, _>>()?;
    let mut closings = Closings::default();
    learn(db, &facts, &mut closings)?;
    facts.retain(|fact| closings.count(fact));
    let fingerprint = fold::fingerprint(&facts);
    let mut orders = fold::confirmed(facts);
    fold_status(db, &mut orders, &mut closings)?;
    Ok(orders.pop().zip(fingerprint))
}

fn grants(
    db: &Connection,
    filter: &OrderFilter,
    before: Option<OrderId>,
    limit: usize,
) -> Result<Vec<Fact>, ArchiveError> {
    // Only grants have a user here; the partial index says so too.
    let mut sql = format!("SELECT {COLUMNS} FROM facts WHERE user_id IS NOT NULL");
    let mut arguments: Vec<Value> = Vec::new();
    if let Some(user_id) = &filter.user_id {
        sql = format!("{sql} AND {OF_USER}");
        arguments.push(user_id.as_str().to_owned().into());
    }
    if let Some(drop_id) = &filter.drop_id {
        // With a user given, its few orders are looked up: a plus sign takes this column out of the choice of an index.
        sql.push_str(if filter.user_id.is_some() { " AND +drop_id = ?" } else { " AND drop_id = ?" });
        arguments.push(drop_id.as_str().to_owned().into());
    }
    if let Some(before) = before {
        sql.push_str(" AND id < ?");
        arguments.push(before.as_bytes().to_vec().into());
    }
    sql.push_str(" ORDER BY id DESC LIMIT ?");
    arguments.push(sql_limit(limit).into());
    let mut select = db.prepare_cached(&sql)?;
    let facts = select.query_map(params_from_iter(arguments), fact_rows::read)?;
    Ok(facts.collect::<Result<_, _>>()?)
}

/// The orders of those facts that count.
fn counting(
    db: &Connection,
    mut facts: Vec<Fact>,
    closings: &mut Closings,
) -> Result<Vec<ArchivedOrder>, ArchiveError> {
    learn(db, &facts, closings)?;
    facts.retain(|fact| closings.count(fact));
    Ok(fold::confirmed(facts))
}

fn fold_status(db: &Connection, orders: &mut [ArchivedOrder], closings: &mut Closings) -> Result<(), ArchiveError> {
    let mut select = db.prepare_cached(&format!("SELECT {COLUMNS} FROM facts WHERE order_id = ?1"))?;
    let mut withdrawals = Vec::new();
    for archived in orders.iter() {
        for fact in select.query_map([&archived.order.id.as_bytes()[..]], fact_rows::read)? {
            withdrawals.push(fact?);
        }
    }
    learn(db, &withdrawals, closings)?;
    fold::withdraw(orders, &withdrawals, closings);
    Ok(())
}

fn learn(db: &Connection, facts: &[Fact], closings: &mut Closings) -> Result<(), ArchiveError> {
    for shard in closings.unknown_shards(facts) {
        closings.learn(shard, epochs::closings(db, shard)?);
    }
    Ok(())
}
