//! Which facts count after a restart or a failover.
//!
//! Redis's state is a prefix of the history; the archive's facts are not, because batches in flight leave holes and a
//! stopped persister writes late. A recovery therefore closes the epochs before its own: it says once and for all which of
//! their entries it builds on.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::{Epoch, Shard};

/// What the recovery that began `epoch` took over from the epochs before it. Written once; never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// The shard.
    pub shard: Shard,
    /// The epoch that began with it.
    pub epoch: Epoch,
    /// The number of the last entry that Redis still had.
    pub base: u64,
    /// The number of the last entry that was applied from the archive; equal to `base` if none was.
    pub through: u64,
    /// The numbers between the two that the archive lacked, in whole or in part; ascending.
    pub holes: Vec<RangeInclusive<u64>>,
    /// Whether the epoch was raised and given up before it was closed. Such a closing covers everything; it only keeps the
    /// sleeping recovery from closing that epoch later.
    pub void: bool,
}

impl Closing {
    /// The closing of an epoch that was given up.
    pub const fn void(shard: Shard, epoch: Epoch) -> Self {
        Self { shard, epoch, base: 0, through: 0, holes: Vec::new(), void: true }
    }

    /// Whether the entry `number` of an earlier epoch is part of the history on which this epoch builds.
    pub fn covers(&self, number: u64) -> bool {
        self.void || number <= self.base || (number <= self.through && !self.is_hole(number))
    }

    /// Whether a Redis whose last entry is `number`, and which knows nothing of this closing, holds only entries that it
    /// covers. If not, that Redis is on a branch of the history that was cut off.
    pub fn covers_all_up_to(&self, number: u64) -> bool {
        self.void
            || number <= self.base
            || (number <= self.through && self.holes.iter().all(|hole| *hole.start() > number))
    }

    fn is_hole(&self, number: u64) -> bool {
        self.holes.iter().any(|hole| hole.contains(&number))
    }
}

/// Whether a fact of the entry `number` of `epoch` counts: every closing of a later epoch covers it. Facts that do not are
/// orphans.
pub fn counts(epoch: Epoch, number: u64, closings: &[Closing]) -> bool {
    closings.iter().filter(|closing| closing.epoch > epoch).all(|closing| closing.covers(number))
}

/// The numbers of entries of `epoch` that do not count, as ranges in ascending order that do not touch.
pub fn uncovered(epoch: Epoch, closings: &[Closing]) -> Vec<RangeInclusive<u64>> {
    let mut ranges: Vec<RangeInclusive<u64>> = Vec::new();
    for closing in closings.iter().filter(|closing| closing.epoch > epoch && !closing.void) {
        ranges.extend(closing.holes.iter().cloned());
        ranges.extend(closing.base.max(closing.through).checked_add(1).map(|first| first..=u64::MAX));
    }
    ranges.sort_unstable_by_key(|range| *range.start());
    let mut joined: Vec<RangeInclusive<u64>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match joined.last_mut() {
            Some(last) if *range.start() <= last.end().saturating_add(1) => {
                *last = *last.start()..=*last.end().max(range.end());
            }
            _ => joined.push(range),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_entry_is_uncovered_when_it_does_not_count(
            bases in prop::collection::vec((0u64..12, 0u64..8, 0u64..4, any::<bool>()), 0..4), epoch in 0u32..5,
        ) {
            let closings: Vec<Closing> = (1..)
                .zip(bases)
                .map(|(epoch, (base, more, hole, void))| {
                    let holes = if more > hole { vec![base + 1 + hole..=base + more] } else { Vec::new() };
                    Closing { void, ..closing(epoch, base, base + more, holes) }
                })
                .collect();
            let ranges = uncovered(Epoch(epoch), &closings);
            for number in 0..40 {
                let found = ranges.iter().any(|range| range.contains(&number));
                prop_assert_eq!(found, !counts(Epoch(epoch), number, &closings), "{} {:?}", number, closings);
            }
            prop_assert!(ranges.windows(2).all(|pair| pair[0].end() + 1 < *pair[1].start()), "{ranges:?}");
        }
    }

    fn closing(epoch: u32, base: u64, through: u64, holes: Vec<RangeInclusive<u64>>) -> Closing {
        let shard = Shard::new(0).expect("in range");
        Closing { shard, epoch: Epoch(epoch), base, through, holes, void: false }
    }

    #[test]
    fn a_fact_counts_if_every_later_closing_covers_it() {
        let closings = [closing(2, 5, 9, vec![7..=7]), closing(3, 12, 12, vec![])];
        let counted = |epoch, number| counts(Epoch(epoch), number, &closings);
        assert!(counted(1, 5) && counted(1, 6) && counted(1, 8) && counted(1, 9));
        assert!(!counted(1, 7), "a hole stays a hole, however late its facts arrive");
        assert!(!counted(1, 10), "beyond what was applied");
        assert!(counted(2, 10) && counted(2, 12));
        assert!(!counted(2, 13) && counted(3, 13));
    }

    #[test]
    fn a_void_closing_covers_everything() {
        let shard = Shard::new(0).expect("in range");
        assert!(counts(Epoch(1), u64::MAX, &[Closing::void(shard, Epoch(2))]));
    }

    #[test]
    fn a_redis_that_went_past_a_hole_is_on_another_branch() {
        let closing = closing(2, 5, 9, vec![7..=7]);
        assert!(closing.covers_all_up_to(6));
        assert!(!closing.covers_all_up_to(8), "its entry 7 is not the history's");
    }
}
