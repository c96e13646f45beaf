//! Inserting facts: orders of one entry by statements of several rows, anything else one by one.

use rusqlite::{CachedStatement, Connection};
use stampede_domain::{Fact, FactBody};

use super::errors::rejection;
use super::facts::is_stored;
use super::{fact_rows, user_orders};
use crate::{ArchiveError, Refusal, RefusalReason, accept};

/// How many orders one statement inserts, the most first. With more than this the gain is lost in the noise (measured).
const ROWS: [usize; 3] = [16, 4, 1];

/// Inserts all facts that can be, in the caller's transaction.
///
/// `OR IGNORE` passes over a fact whose id, or whose place in the log, is taken. Only when a statement inserted fewer rows
/// than it was given are its facts looked at one by one, which is the case of a batch that comes again. A statement that is
/// rejected because of one of its facts is given again in parts of one.
pub(super) fn insert(db: &Connection, facts: &[Fact]) -> Result<Vec<Refusal>, ArchiveError> {
    let mut refusals = Vec::new();
    let mut acceptable = Vec::with_capacity(facts.len());
    for (index, fact) in facts.iter().enumerate() {
        match accept::rejection(fact) {
            None => acceptable.push((index, fact)),
            Some(why) => refusals.push(refusal(index, fact, RefusalReason::Rejected(why.to_owned()))),
        }
    }
    let mut inserts = Vec::new();
    for alike in acceptable.chunk_by(|(_, one), (_, other)| fact_rows::are_alike(one, other)) {
        match alike {
            [(index, event)] if !matches!(event.body, FactBody::Granted(_)) => {
                refusals.extend(insert_event(db, *index, event)?);
            }
            orders => {
                if inserts.is_empty() {
                    inserts = ROWS.map(|rows| OrderInsert::prepare(db, rows)).into_iter().collect::<Result<_, _>>()?;
                }
                insert_alike(db, &mut inserts, orders, &mut refusals)?;
            }
        }
    }
    user_orders::move_if_many(db)?;
    refusals.sort_unstable_by_key(|refusal| refusal.index);
    Ok(refusals)
}

/// A fact that is no order; what became of it if it is refused.
fn insert_event(db: &Connection, index: usize, fact: &Fact) -> Result<Option<Refusal>, ArchiveError> {
    let mut insert = db.prepare_cached(fact_rows::INSERT_EVENT)?;
    fact_rows::bind_event(&mut insert, fact)?;
    let reason = match insert.raw_execute() {
        Ok(1) => return Ok(None),
        Ok(_) => RefusalReason::Conflict,
        Err(error) => match rejection(&error) {
            Some(why) => RefusalReason::Rejected(why),
            None => return Err(error.into()),
        },
    };
    // What is there already was not in the way.
    Ok(if is_stored(db, fact)? { None } else { Some(refusal(index, fact, reason)) })
}

/// Inserts so many orders.
struct OrderInsert<'a> {
    rows: usize,
    statement: CachedStatement<'a>,
}

impl<'a> OrderInsert<'a> {
    fn prepare(db: &'a Connection, rows: usize) -> rusqlite::Result<Self> {
        Ok(Self { rows, statement: db.prepare_cached(&fact_rows::insert_orders(rows))? })
    }

    /// Binds what orders that are alike have in common, of which this is one.
    fn begin(&mut self, (_, order): (usize, &Fact)) -> rusqlite::Result<()> {
        fact_rows::bind_alike(&mut self.statement, order)
    }

    /// Inserts orders, as many as this has rows. Returns how many were not there.
    fn execute(&mut self, orders: &[(usize, &Fact)]) -> rusqlite::Result<usize> {
        for (row, (_, order)) in orders.iter().enumerate() {
            fact_rows::bind_own(&mut self.statement, row, order)?;
        }
        self.statement.raw_execute()
    }
}

/// Inserts orders that are alike, by the largest statements that they fill.
fn insert_alike(
    db: &Connection,
    inserts: &mut [OrderInsert<'_>],
    orders: &[(usize, &Fact)],
    refusals: &mut Vec<Refusal>,
) -> Result<(), ArchiveError> {
    let mut rest = orders;
    for insert in inserts {
        if rest.len() >= insert.rows {
            insert.begin(rest[0])?;
        }
        while let Some((chunk, others)) = rest.split_at_checked(insert.rows) {
            rest = others;
            match insert.execute(chunk) {
                Ok(inserted) if inserted == chunk.len() => {}
                Ok(_) => look_again(db, chunk, refusals)?,
                Err(error) => {
                    let Some(why) = rejection(&error) else { return Err(error.into()) };
                    insert_rejected(db, chunk, &why, refusals)?;
                }
            }
        }
    }
    Ok(())
}

/// Finds those of a statement's orders in whose place others are.
fn look_again(db: &Connection, orders: &[(usize, &Fact)], refusals: &mut Vec<Refusal>) -> Result<(), ArchiveError> {
    for (index, order) in orders {
        if !is_stored(db, order)? {
            refusals.push(refusal(*index, order, RefusalReason::Conflict));
        }
    }
    Ok(())
}

/// Inserts, one by one, those of the orders of a rejected statement that are not to blame.
fn insert_rejected(
    db: &Connection,
    orders: &[(usize, &Fact)],
    why: &str,
    refusals: &mut Vec<Refusal>,
) -> Result<(), ArchiveError> {
    if let [(index, fact)] = orders {
        // What is there already was not in the way.
        if !is_stored(db, fact)? {
            refusals.push(refusal(*index, fact, RefusalReason::Rejected(why.to_owned())));
        }
        return Ok(());
    }
    let mut insert_one = [OrderInsert::prepare(db, 1)?];
    orders.chunks_exact(1).try_for_each(|single| insert_alike(db, &mut insert_one, single, refusals))
}

fn refusal(index: usize, fact: &Fact, reason: RefusalReason) -> Refusal {
    Refusal { fact: fact.id(), index, reason }
}
