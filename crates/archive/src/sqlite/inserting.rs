//! Inserting facts: the orders of an entry by the row, anything else one by one.

use std::collections::HashMap;

use rusqlite::{Connection, params};
use stampede_domain::{Fact, FactBody, LogId};

use super::columns::sql_number;
use super::errors::rejection;
use super::grants::Granted;
use super::{events, grants, user_index};
use crate::{ArchiveError, Refusal, RefusalReason, accept};

/// A fact, and its place in what was given.
type Given<'a> = (usize, &'a Fact);

/// Inserts all facts that can be, in the caller's transaction.
///
/// A fact that is there already is passed over. One whose id, or whose place in the log, belongs to another is refused.
pub(super) fn insert(db: &Connection, facts: &[Fact]) -> Result<Vec<Refusal>, ArchiveError> {
    let mut inserting = Inserting { db, refusals: Vec::new(), indexed: Vec::with_capacity(facts.len()) };
    let mut acceptable = Vec::with_capacity(facts.len());
    for (index, fact) in facts.iter().enumerate() {
        match accept::rejection(fact) {
            None => acceptable.push((index, fact)),
            Some(why) => inserting.refuse((index, fact), RefusalReason::Rejected(why.to_owned())),
        }
    }
    for entry in acceptable.chunk_by(|(_, one), (_, other)| are_of_one_entry(one, other)) {
        inserting.insert_entry(entry)?;
    }
    let Inserting { mut refusals, indexed, .. } = inserting;
    user_index::add(db, indexed)?;
    refusals.sort_unstable_by_key(|refusal| refusal.index);
    Ok(refusals)
}

fn are_of_one_entry(one: &Fact, other: &Fact) -> bool {
    let entry = |fact: &Fact| (fact.shard, fact.epoch, fact.number, fact.position.log_id);
    entry(one) == entry(other)
}

struct Inserting<'a> {
    db: &'a Connection,
    refusals: Vec<Refusal>,
    /// Where the inserted orders are.
    indexed: Vec<user_index::Entry>,
}

impl Inserting<'_> {
    fn refuse(&mut self, (index, fact): Given<'_>, reason: RefusalReason) {
        self.refusals.push(Refusal { fact: fact.id(), index, reason });
    }

    fn insert_entry(&mut self, facts: &[Given<'_>]) -> Result<(), ArchiveError> {
        let (orders, others): (Vec<Given<'_>>, Vec<Given<'_>>) =
            facts.iter().partition(|(_, fact)| matches!(fact.body, FactBody::Granted(_)));
        for event in others {
            self.insert_event(event)?;
        }
        let Some((_, first)) = orders.first() else { return Ok(()) };
        let ascend = orders.is_sorted_by(|(_, one), (_, next)| one.position.index < next.position.index);
        let free = if ascend && !self.is_met(first)? { orders } else { self.free(first, orders)? };
        rows(&free).iter().try_for_each(|row| self.insert_row(row))
    }

    /// A fact that is no grant.
    fn insert_event(&mut self, (index, fact): Given<'_>) -> Result<(), ArchiveError> {
        let is_taken = match grants::of_entry(self.db, fact.shard, fact.epoch, fact.number) {
            Ok(grants) => grants.iter().any(|grant| grant.position.index == fact.position.index),
            Err(ArchiveError::Malformed { .. }) => true,
            Err(error) => return Err(error),
        };
        if is_taken {
            self.refuse((index, fact), RefusalReason::Conflict);
            return Ok(());
        }
        match events::insert(self.db, fact) {
            Ok(true) => {}
            // What is there already was not in the way.
            Ok(false) if self.is_stored_event(fact)? => {}
            Ok(false) => self.refuse((index, fact), RefusalReason::Conflict),
            Err(error) => match rejection(&error) {
                Some(_) if self.is_stored_event(fact)? => {}
                Some(why) => self.refuse((index, fact), RefusalReason::Rejected(why)),
                None => return Err(error.into()),
            },
        }
        Ok(())
    }

    fn is_stored_event(&self, fact: &Fact) -> Result<bool, ArchiveError> {
        Ok(events::by_id(self.db, fact.id())?.is_some_and(|stored| stored == *fact))
    }

    /// Whether anything of a grant's entry, or of another entry with the same log id in its epoch, is there.
    fn is_met(&self, fact: &Fact) -> Result<bool, ArchiveError> {
        let mut select = self.db.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM grants WHERE shard = ?1 AND epoch = ?2 AND number = ?3)
             OR EXISTS (SELECT 1 FROM grants WHERE log_ms = ?4 AND shard = ?1 AND log_sequence = ?5 AND epoch = ?2)
             OR EXISTS (SELECT 1 FROM events WHERE shard = ?1 AND epoch = ?2 AND number = ?3)",
        )?;
        let LogId { ms, sequence } = fact.position.log_id;
        let (number, ms) = (sql_number(fact.number)?, sql_number(ms)?);
        Ok(select.query_row(params![fact.shard.number(), fact.epoch.0, number, ms, sequence], |row| row.get(0))?)
    }

    /// Those of an entry's orders, of which this is one, that are not there yet and have no other fact in their way.
    fn free<'a>(&mut self, first: &Fact, orders: Vec<Given<'a>>) -> Result<Vec<Given<'a>>, ArchiveError> {
        let (shard, epoch, number) = (first.shard, first.epoch, first.number);
        let stored = grants::of_entry(self.db, shard, epoch, number);
        let of_log_id = grants::of_log_id(self.db, shard, first.position.log_id);
        let (stored, of_log_id) = match (stored, of_log_id) {
            (Ok(stored), Ok(of_log_id)) => (stored, of_log_id),
            // What is there and cannot be read is another fact, and may be in the place of any.
            (Err(ArchiveError::Malformed { .. }), _) | (_, Err(ArchiveError::Malformed { .. })) => {
                orders.into_iter().for_each(|order| self.refuse(order, RefusalReason::Conflict));
                return Ok(Vec::new());
            }
            (Err(error), _) | (_, Err(error)) => return Err(error),
        };
        let events = events::indexes_of_entry(self.db, shard, epoch, number)?;
        let mut stored: HashMap<u16, &Fact> = stored.iter().map(|fact| (fact.position.index, fact)).collect();
        let mut free = Vec::new();
        for (place, fact) in orders {
            let index = fact.position.index;
            let same_id =
                |other: &Fact| other.epoch == epoch && other.position.index == index && other.id() == fact.id();
            if let Some(other) = stored.get(&index) {
                if *other != fact {
                    self.refuse((place, fact), RefusalReason::Conflict);
                }
            } else if events.contains(&index) || of_log_id.iter().any(same_id) {
                self.refuse((place, fact), RefusalReason::Conflict);
            } else {
                stored.insert(index, fact);
                free.push((place, fact));
            }
        }
        Ok(free)
    }

    /// Inserts orders that share a row. If the row is rejected, each by itself, as only one may be to blame.
    fn insert_row(&mut self, orders: &[(usize, Granted<'_>)]) -> Result<(), ArchiveError> {
        let granted: Vec<Granted<'_>> = orders.iter().map(|(_, granted)| *granted).collect();
        match grants::insert(self.db, &granted) {
            Ok(()) => {
                self.indexed.extend(
                    granted.iter().map(|Granted { fact, grant }| {
                        user_index::Entry::new(&grant.user_id, fact.shard, fact.position)
                    }),
                );
                Ok(())
            }
            Err(error) => {
                let Some(why) = rejection(&error) else { return Err(error.into()) };
                if let [(index, granted)] = orders {
                    self.refuse((*index, granted.fact), RefusalReason::Rejected(why));
                    return Ok(());
                }
                orders.chunks_exact(1).try_for_each(|order| self.insert_row(order))
            }
        }
    }
}

/// Orders of one entry, by the rows that they share.
fn rows<'a>(orders: &[Given<'a>]) -> Vec<Vec<(usize, Granted<'a>)>> {
    let mut rows: Vec<Vec<(usize, Granted<'a>)>> = Vec::new();
    for (index, fact) in orders {
        let Some(granted) = Granted::of(fact) else { continue };
        let row = rows.iter_mut().find(|row| row.last().is_some_and(|(_, last)| last.may_share_row(&granted)));
        match row {
            Some(row) => row.push((*index, granted)),
            None => rows.push(vec![(*index, granted)]),
        }
    }
    rows
}
