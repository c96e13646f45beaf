//! In which slots a drop, or a stripe of one, was as an answer says. Slot `n` lies between its first `n` changes and the rest.

use std::collections::HashMap;

use stampede_domain::DropState;

/// What is true in one slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) state: DropState,
    pub(super) available: i64,
    /// The slot in which the state became what it is.
    pub(super) turned: usize,
    /// What went to each stripe of the drop, and what came from it, by its place.
    pub(super) sent: Vec<Moved>,
    pub(super) received: Vec<Moved>,
}

/// What one stripe has sent to another, or received from it, so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Moved {
    /// The number of the last transfer.
    pub(super) number: u64,
    /// Units of all.
    pub(super) units: i64,
}

/// The slots of one drop or stripe, and which of them have what; every list ascends.
#[derive(Debug, Default)]
pub(super) struct Index {
    slots: Vec<Slot>,
    by_state: HashMap<DropState, Vec<usize>>,
    by_available: HashMap<i64, Vec<usize>>,
}

impl Index {
    /// To be called for each slot in turn.
    pub(super) fn push(&mut self, slot: Slot) {
        let number = self.slots.len();
        self.by_state.entry(slot.state).or_default().push(number);
        self.by_available.entry(slot.available).or_default().push(number);
        self.slots.push(slot);
    }

    pub(super) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    pub(super) fn in_state(&self, state: DropState) -> &[usize] {
        self.by_state.get(&state).map_or(&[], Vec::as_slice)
    }

    /// The slots at or behind `from` with so many units to order, whether they are sold at the time or not.
    pub(super) fn with(&self, available: u64, from: usize) -> &[usize] {
        let slots = i64::try_from(available).ok().and_then(|available| self.by_available.get(&available));
        let slots = slots.map_or(&[][..], Vec::as_slice);
        &slots[slots.partition_point(|slot| *slot < from)..]
    }
}

/// The first slot of an ascending list at or behind `from`.
pub(super) fn next_in(slots: &[usize], from: usize) -> Option<usize> {
    slots.get(slots.partition_point(|slot| *slot < from)).copied()
}
