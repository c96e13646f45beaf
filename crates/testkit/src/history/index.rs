//! In which slots a drop was as an answer says. Slot `n` lies between its first `n` changes and the rest.

use std::collections::HashMap;

use stampede_domain::DropState;

/// The slots of one drop, by what is true in them; every list ascends.
#[derive(Debug, Default)]
pub(super) struct Index {
    by_state: HashMap<DropState, Vec<usize>>,
    /// Only those in which the drop sells.
    by_available: HashMap<u64, Vec<usize>>,
    /// Those in which the drop was stopped or ended and no unit was left, each with the slot in which it first was so.
    stopped_empty: Vec<(usize, usize)>,
    /// The slot in which the drop became what it is.
    turned: (Option<DropState>, usize),
}

impl Index {
    /// To be called for each slot in turn.
    pub(super) fn push(&mut self, slot: usize, state: DropState, available: i64) {
        self.by_state.entry(state).or_default().push(slot);
        if self.turned.0 != Some(state) {
            self.turned = (Some(state), slot);
        }
        if state != DropState::Open && available == 0 {
            self.stopped_empty.push((slot, self.turned.1));
        }
        if let (DropState::Open, Ok(available)) = (state, u64::try_from(available)) {
            self.by_available.entry(available).or_default().push(slot);
        }
    }

    pub(super) fn in_state(&self, state: DropState) -> &[usize] {
        self.by_state.get(&state).map_or(&[], Vec::as_slice)
    }

    /// The slots at or behind `from` in which the drop had been stopped with no unit left, since the slot `since` at most.
    pub(super) fn stopped_empty(&self, from: usize, since: usize) -> Vec<usize> {
        let first = self.stopped_empty.partition_point(|(slot, _)| *slot < from.max(since));
        self.stopped_empty[first..].iter().filter(|(_, turned)| *turned >= since).map(|(slot, _)| *slot).collect()
    }

    pub(super) fn selling_with(&self, available: u64) -> &[usize] {
        self.by_available.get(&available).map_or(&[], Vec::as_slice)
    }
}

/// The first slot of an ascending list at or behind `from`.
pub(super) fn next_in(slots: &[usize], from: usize) -> Option<usize> {
    slots.get(slots.partition_point(|slot| *slot < from)).copied()
}
