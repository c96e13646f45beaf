//! What the persister has read and not yet acknowledged, on its way through the archive.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use stampede_domain::{Epoch, Fact, LogId, Malformed, Shard, TraceContext};
use stampede_engine::{EntryReceipt, LogEntry, PendingClaim, Source};

use crate::keeping::facts_of;

/// Entries on their way, and all of their facts.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) entries: Vec<Moving>,
    pub(super) facts: Vec<Fact>,
    /// What each shard's entries were read from.
    pub(super) sources: HashMap<Shard, Source>,
}

/// An entry on its way.
pub(super) struct Moving {
    pub(super) shard: Shard,
    pub(super) epoch: Epoch,
    pub(super) number: u64,
    pub(super) receipt: EntryReceipt,
    /// The places of its facts in the batch.
    pub(super) facts: Range<usize>,
    /// Its traced orders.
    pub(super) traces: Vec<TraceContext>,
}

impl Batch {
    /// Takes the entries of these shards out, with their facts; the others keep theirs, at new places.
    pub(super) fn leave_out(&mut self, shards: &HashSet<Shard>) {
        if shards.is_empty() {
            return;
        }
        let mut facts = std::mem::take(&mut self.facts).into_iter();
        let (mut kept, mut next) = (Vec::new(), 0);
        // The places of the entries follow each other without a gap.
        self.entries.retain_mut(|moving| {
            let own = facts.by_ref().take(moving.facts.len());
            if shards.contains(&moving.shard) {
                own.for_each(drop);
                return false;
            }
            kept.extend(own);
            moving.facts = next..kept.len();
            next = kept.len();
            true
        });
        self.facts = kept;
    }

    /// Adds the entries of a claim with their facts; returns those that cannot be read.
    pub(super) fn add(&mut self, shard: Shard, claim: PendingClaim) -> Vec<(LogId, Malformed)> {
        self.sources.extend(claim.source.map(|source| (shard, source)));
        let mut unreadable = Vec::new();
        for entry in claim.entries {
            match facts_of(&entry) {
                Ok(facts) => self.push(&entry, facts),
                Err(error) => unreadable.push((entry.id, error)),
            }
        }
        unreadable
    }

    fn push(&mut self, entry: &LogEntry, facts: Vec<Fact>) {
        let (shard, epoch, number) = (entry.shard, entry.epoch, entry.number);
        let places = self.facts.len()..self.facts.len() + facts.len();
        let (receipt, traces) = (entry.receipt(&facts), entry.traces());
        self.entries.push(Moving { shard, epoch, number, receipt, facts: places, traces });
        self.facts.extend(facts);
    }
}

#[cfg(test)]
mod tests {
    use stampede_domain::{FactBody, Position};

    use super::*;

    #[test]
    fn what_is_left_out_of_a_batch_moves_the_places_of_the_rest() {
        let shards = [0, 1, 2].map(|number| Shard::new(number).expect("in range"));
        let mut batch = Batch::default();
        for (number, (shard, facts)) in (1..).zip([(0, 2), (1, 3), (0, 1), (2, 2), (1, 1)]) {
            let (shard, id) = (shards[shard], LogId { ms: number, sequence: 0 });
            let start = batch.facts.len();
            batch.facts.extend((0..facts).map(|index| Fact {
                shard,
                epoch: Epoch(1),
                number,
                position: Position { log_id: id, index },
                entry_facts: facts,
                drop_id: "demo".parse().expect("valid"),
                body: FactBody::Paused,
            }));
            let (receipt, facts) = (EntryReceipt { id, orders: 0, bytes: 0 }, start..batch.facts.len());
            batch.entries.push(Moving { shard, epoch: Epoch(1), number, receipt, facts, traces: Vec::new() });
        }
        let numbers = |batch: &Batch| -> Vec<u64> { batch.entries.iter().map(|moving| moving.number).collect() };
        batch.leave_out(&HashSet::new());
        assert_eq!((numbers(&batch), batch.facts.len()), (vec![1, 2, 3, 4, 5], 9));
        batch.leave_out(&HashSet::from([shards[1]]));
        assert_eq!((numbers(&batch), batch.facts.len()), (vec![1, 3, 4], 5));
        for moving in &batch.entries {
            let own = &batch.facts[moving.facts.clone()];
            assert!(!own.is_empty() && own.iter().all(|fact| fact.number == moving.number), "{}", moving.number);
        }
        batch.leave_out(&HashSet::from(shards));
        assert!(batch.entries.is_empty() && batch.facts.is_empty());
    }
}
