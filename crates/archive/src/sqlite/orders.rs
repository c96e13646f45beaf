//! Orders, folded from the facts that count.

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use stampede_domain::{DropId, Fact, FactBody, Fingerprint, KeyDigest, OrderId, UserId};

use super::columns::sql_limit;
use super::events::COLUMNS;
use super::{epochs, events, grants, user_index};
use crate::fold::{self, Closings};
use crate::{ArchiveError, ArchivedOrder, OrderFilter};

pub(super) fn one(db: &Connection, id: OrderId) -> Result<Option<ArchivedOrder>, ArchiveError> {
    let mut closings = Closings::default();
    let granted = grants::by_id(db, id).map(|fact| fact.into_iter().collect());
    let mut orders = granted.and_then(|facts| counting(db, facts, &mut closings));
    if !matches!(&orders, Ok(found) if !found.is_empty()) {
        // What the archive could not keep, it may know to be given back.
        let mut given_back = events::of_order(db, id)?;
        given_back.retain(|fact| matches!(fact.body, FactBody::Compensated(_)));
        let given_back = counting(db, given_back, &mut closings)?;
        if !given_back.is_empty() {
            orders = Ok(given_back);
        }
    }
    let mut orders = orders?;
    fold_status(db, &mut orders, &mut closings)?;
    Ok(orders.pop())
}

pub(super) fn page(
    db: &Connection,
    filter: &OrderFilter,
    before: Option<OrderId>,
    limit: usize,
) -> Result<Vec<ArchivedOrder>, ArchiveError> {
    let mut closings = Closings::default();
    let granted = counting_page(db, filter, before, limit, &mut closings, granted)?;
    let given_back = counting_page(db, filter, before, limit, &mut closings, compensations)?;
    let mut orders = fold::merge(granted, given_back, limit);
    fold_status(db, &mut orders, &mut closings)?;
    Ok(orders)
}

/// Facts that tell of orders, newest first.
type Select = fn(&Connection, &OrderFilter, Option<OrderId>, usize) -> Result<Vec<Fact>, ArchiveError>;

/// Reads on until the page is full: facts that do not count may lie in between.
fn counting_page(
    db: &Connection,
    filter: &OrderFilter,
    mut before: Option<OrderId>,
    limit: usize,
    closings: &mut Closings,
    select: Select,
) -> Result<Vec<ArchivedOrder>, ArchiveError> {
    let mut orders: Vec<ArchivedOrder> = Vec::new();
    while orders.len() < limit {
        let wanted = limit - orders.len();
        let facts = select(db, filter, before, wanted)?;
        let exhausted = facts.len() < wanted;
        before = facts.last().and_then(fold::order_of).map(|order| order.id);
        orders.extend(counting(db, facts, closings)?);
        if exhausted {
            break;
        }
    }
    Ok(orders)
}

pub(super) fn of_key(
    db: &Connection,
    drop_id: &DropId,
    user_id: &UserId,
    key: KeyDigest,
) -> Result<Option<(ArchivedOrder, Fingerprint)>, ArchiveError> {
    let filter = OrderFilter { user_id: Some(user_id.clone()), drop_id: Some(drop_id.clone()) };
    let mut facts = compensations(db, &filter, None, usize::MAX)?;
    facts.extend(granted(db, &filter, None, usize::MAX)?.into_iter().rev());
    facts.retain(|fact| fold::is_of_key(fact, key));
    let mut closings = Closings::default();
    learn(db, &facts, &mut closings)?;
    facts.retain(|fact| closings.count(fact));
    let fingerprint = fold::fingerprint(&facts);
    let mut orders = fold::orders(facts);
    fold_status(db, &mut orders, &mut closings)?;
    Ok(orders.pop().zip(fingerprint))
}

fn granted(
    db: &Connection,
    filter: &OrderFilter,
    before: Option<OrderId>,
    limit: usize,
) -> Result<Vec<Fact>, ArchiveError> {
    match &filter.user_id {
        Some(user_id) => {
            let places = user_index::places(db, user_id)?;
            grants::of_user(db, user_id, filter.drop_id.as_ref(), &places, before, limit)
        }
        None => grants::page(db, filter.drop_id.as_ref(), before, limit),
    }
}

/// Compensations, by the ids of their orders.
fn compensations(
    db: &Connection,
    filter: &OrderFilter,
    before: Option<OrderId>,
    limit: usize,
) -> Result<Vec<Fact>, ArchiveError> {
    let mut sql = format!("SELECT {COLUMNS} FROM events WHERE kind = 'compensated'");
    let mut arguments: Vec<Value> = Vec::new();
    if let Some(user_id) = &filter.user_id {
        sql.push_str(" AND json_extract(body, '$.grant.user_id') = ?");
        arguments.push(user_id.as_str().to_owned().into());
    }
    if let Some(drop_id) = &filter.drop_id {
        sql.push_str(" AND drop_id = ?");
        arguments.push(drop_id.as_str().to_owned().into());
    }
    if let Some(before) = before {
        sql.push_str(" AND order_id < ?");
        arguments.push(before.as_bytes().to_vec().into());
    }
    sql.push_str(" ORDER BY order_id DESC LIMIT ?");
    arguments.push(sql_limit(limit).into());
    let mut select = db.prepare_cached(&sql)?;
    let facts = select.query_map(params_from_iter(arguments), events::read)?;
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
    Ok(fold::orders(facts))
}

fn fold_status(db: &Connection, orders: &mut [ArchivedOrder], closings: &mut Closings) -> Result<(), ArchiveError> {
    let mut withdrawals = Vec::new();
    for archived in orders.iter() {
        withdrawals.extend(events::of_order(db, archived.order.id)?);
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
