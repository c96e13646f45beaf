//! Folding a shard's facts into the stocks of its drops, up to a cut.

use std::collections::{HashMap, HashSet};

use stampede_archive::{Archive, ArchiveError, FactRange};
use stampede_domain::{Closing, DropId, Epoch, Fact, FactBody, OrderId, Shard, Stock, counts};

use crate::recovery::{cursor, kept_facts};

/// Facts that one read of the archive takes.
const FACTS_AT_ONCE: usize = 5_000;

/// A place in a shard's history: everything up to the entry `number`, as `epoch` builds on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) epoch: Epoch,
    pub(super) number: u64,
}

impl Place {
    /// Before the first entry.
    pub(super) const START: Self = Self { epoch: Epoch(0), number: 0 };

    /// Whether the history up to here is still the beginning of the one that these closings tell.
    pub(super) fn holds(self, closings: &[Closing]) -> bool {
        let later = closings.iter().filter(|closing| closing.epoch > self.epoch);
        later.into_iter().all(|closing| closing.covers_all_up_to(self.number))
    }
}

/// A drop's stock on its way from one place to another.
#[derive(Clone, Debug)]
pub(super) struct Folding {
    pub(super) stock: Stock,
    pub(super) from: Place,
    pub(super) to: Place,
    /// Facts that were taken in on the way.
    pub(super) facts: u64,
}

impl Folding {
    pub(super) const fn new(stock: Stock, from: Place, to: Place) -> Self {
        Self { stock, from, to, facts: 0 }
    }

    fn takes(&self, fact: &Fact) -> bool {
        self.from.number < fact.number && fact.number <= self.to.number && fact.epoch <= self.to.epoch
    }
}

/// Reads the facts once, in the order of the log, and takes each into its drop's stock. All drops go to places of one epoch,
/// of which `closings` are those up to it: so what counts there never changes any more.
pub(super) async fn fold(
    archive: &dyn Archive,
    shard: Shard,
    closings: &[Closing],
    drops: &mut HashMap<DropId, Folding>,
) -> Result<(), ArchiveError> {
    let to = drops.values().map(|folding| folding.to).max().unwrap_or(Place::START);
    let behind = || drops.values().filter(|folding| folding.from.number < folding.to.number);
    let Some(from) = behind().map(|folding| folding.from.number).min() else { return Ok(()) };
    let from_epoch = behind().map(|folding| folding.from.epoch).min().unwrap_or_default();
    let range = FactRange { from_epoch, beyond_number: from };
    let has_holes = closings.iter().any(|closing| !closing.holes.is_empty());
    let mut after = None;
    loop {
        let mut facts = kept_facts(archive, shard, range, after, FACTS_AT_ONCE).await?;
        let Some(last) = facts.last() else { return Ok(()) };
        let reached = Place { epoch: last.epoch, number: last.number };
        after = Some(cursor(last));
        facts.retain(|fact| {
            drops.get(&fact.drop_id).is_some_and(|folding| folding.takes(fact))
                && counts(fact.epoch, fact.number, closings)
        });
        let unknown =
            if has_holes { withdrawn_without_grant(archive, &facts, closings).await? } else { HashSet::new() };
        for fact in &facts {
            if withdrawn(&fact.body).is_some_and(|id| unknown.contains(&id)) {
                continue;
            }
            if let Some(folding) = drops.get_mut(&fact.drop_id) {
                folding.stock.apply(&fact.body);
                folding.facts += 1;
            }
        }
        // Facts come by epoch and number: what follows is beyond every cut.
        if reached > to {
            return Ok(());
        }
    }
}

/// The orders that these facts take back and whose grant does not count: it fell into a hole, so Redis knew of no such order
/// when it was told of the withdrawal.
async fn withdrawn_without_grant(
    archive: &dyn Archive,
    facts: &[Fact],
    closings: &[Closing],
) -> Result<HashSet<OrderId>, ArchiveError> {
    let mut unknown: HashSet<OrderId> = facts.iter().filter_map(|fact| withdrawn(&fact.body)).collect();
    if unknown.is_empty() {
        return Ok(unknown);
    }
    let ids: Vec<OrderId> = unknown.iter().copied().collect();
    for fact in archive.order_facts(&ids).await? {
        if let Some(order) = fact.order()
            && counts(fact.epoch, fact.number, closings)
        {
            unknown.remove(&order.id);
        }
    }
    Ok(unknown)
}

const fn withdrawn(body: &FactBody) -> Option<OrderId> {
    match body {
        FactBody::Cancelled(withdrawal) => Some(withdrawal.order_id),
        FactBody::Compensated(compensation) => Some(compensation.order_id),
        _ => None,
    }
}
