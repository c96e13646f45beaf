//! What happened to a drop, or to one stripe of it, slot by slot, and in which slots an answer was right.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use stampede_domain::{CancelledBy, DropState, KeyDigest, OrderId, OrderStatus, UserId};

use super::index::{Slot, next_in};
use super::replay::{Holding, Life, Replay};
use super::times::Times;
use super::{Answer, Ask, Operation, SaleRules};

/// The changes of a drop, or of one stripe, and the answers that have their slot among them.
pub(super) struct Timeline<'a> {
    rules: &'a SaleRules,
    pub(super) replay: Replay<'a>,
    pub(super) times: Vec<Times>,
    /// Answers that have their slot, by return; and the highest slot of those that returned before the present call.
    returning: BinaryHeap<Reverse<(u64, usize)>>,
    floor: usize,
}

impl<'a> Timeline<'a> {
    pub(super) fn new(rules: &'a SaleRules, replay: Replay<'a>, times: Vec<Times>) -> Self {
        Self { rules, replay, times, returning: BinaryHeap::new(), floor: 0 }
    }

    /// The slots in which an operation may have its moment, both included: as times and earlier answers show. To be asked for
    /// in the order of their calls.
    pub(super) fn slots_of(&mut self, operation: &Operation) -> (usize, usize) {
        while let Some(Reverse((returned_ns, slot))) = self.returning.peek().copied()
            && returned_ns < operation.called_ns
        {
            self.returning.pop();
            self.floor = self.floor.max(slot);
        }
        self.floor = self.floor.max(self.times.partition_point(|(_, until)| *until < operation.called_ns));
        let ceiling = self.times.partition_point(|(called_ns, _)| *called_ns <= operation.returned_ns);
        (self.floor, ceiling)
    }

    /// An answer has its slot.
    pub(super) fn place(&mut self, operation: &Operation, slot: usize) {
        self.returning.push(Reverse((operation.returned_ns, slot)));
    }

    pub(super) fn slots(&self) -> &[Slot] {
        self.replay.index.slots()
    }

    fn end(&self) -> usize {
        self.slots().len()
    }

    /// The first slot at or behind `from` in which the answer is right; for answers about the stock see [`Self::short`].
    pub(super) fn first_slot(&self, operation: &Operation, from: usize) -> Option<usize> {
        match &operation.ask {
            Ask::Order { user, key, units } => self.slot_of_order((user, *key, *units), &operation.answer, from),
            Ask::Cancel { order, by } => match operation.answer {
                Answer::CancellationClosed if *by == CancelledBy::Shopper => self.slot_of_closed(*order, from),
                Answer::Stands { status: OrderStatus::Cancelled } => self.slot_of(*order, OrderStatus::Cancelled, from),
                Answer::NotFound => self.slot_without(*order, from),
                _ => None,
            },
            Ask::Read { order } => match operation.answer {
                Answer::Stands { status } => self.slot_of(*order, status, from),
                Answer::NotFound => self.slot_without(*order, from),
                _ => None,
            },
            Ask::Restock { key, units } => {
                let made = self.replay.restocks.get(key);
                match operation.answer {
                    Answer::Done => within(made.filter(|(_, made)| made == units)?.0..self.end(), from),
                    Answer::KeyReused => within(made.filter(|(_, made)| made != units)?.0..self.end(), from),
                    Answer::InvalidTransition => {
                        let ended = next_in(self.replay.index.in_state(DropState::Ended), from)?;
                        (ended < made.map_or(self.end(), |(slot, _)| *slot)).then_some(ended)
                    }
                    _ => None,
                }
            }
            Ask::Pause => self.slot_of_turn(DropState::Paused, &operation.answer, from),
            Ask::Resume => self.slot_of_turn(DropState::Open, &operation.answer, from),
            Ask::Close => match operation.answer {
                Answer::Done => next_in(self.replay.index.in_state(DropState::Ended), from),
                _ => None,
            },
        }
    }

    fn slot_of_order(
        &self,
        (user, key, units): (&UserId, KeyDigest, u64),
        answer: &Answer,
        from: usize,
    ) -> Option<usize> {
        let index = &self.replay.index;
        match answer {
            Answer::Confirmed {
                replayed: false, status: OrderStatus::Cancelled | OrderStatus::Compensated, ..
            } => None,
            Answer::Confirmed { order, status, .. } => self.slot_of(*order, *status, from),
            Answer::KeyReused => {
                let first = self.life_of_key(user, key).filter(|life| life.units != units)?;
                within(first.granted..self.end(), from)
            }
            Answer::NotActive { state: DropState::Open } => None,
            Answer::NotActive { state } => self.slot_of_refusal(user, key, from, |_| index.in_state(*state)),
            Answer::LimitReached { owned } => self.slot_of_refusal(user, key, from, |holding| {
                let full = holding.owned == *owned && !self.has_room(holding, units);
                if full { index.in_state(DropState::Open) } else { &[] }
            }),
            _ => None,
        }
    }

    /// The first slot of a refusal: one of `slots`, which depend on what the user holds, before the key is granted.
    fn slot_of_refusal<'b>(
        &'b self,
        user: &UserId,
        key: KeyDigest,
        from: usize,
        slots: impl Fn(Holding) -> &'b [usize],
    ) -> Option<usize> {
        let end = self.life_of_key(user, key).map_or(self.end(), |life| life.granted);
        let holdings = self.replay.holdings(user);
        // The user holds this until the next holding begins.
        let first = holdings.partition_point(|holding| holding.from <= from).saturating_sub(1);
        holdings[first..].iter().enumerate().take_while(|(_, holding)| holding.from < end).find_map(|(at, holding)| {
            let until = holdings.get(first + at + 1).map_or(end, |next| next.from.min(end));
            next_in(slots(*holding), from.max(holding.from)).filter(|slot| *slot < until)
        })
    }

    /// The slots from `from` to `ceiling` in which an order could be told that this stock is short, as far as this timeline
    /// says: with so many units to order, room for the user, and a key that is not granted. Ascending.
    pub(super) fn short<'b>(
        &'b self,
        (user, key, units): (&'b UserId, KeyDigest, u64),
        available: u64,
        from: usize,
        ceiling: usize,
    ) -> impl Iterator<Item = usize> + 'b {
        let end = self.life_of_key(user, key).map_or(self.end(), |life| life.granted);
        let holdings = self.replay.holdings(user);
        let holding = move |slot: usize| {
            let next = holdings.partition_point(|holding| holding.from <= slot);
            holdings.get(next.saturating_sub(1)).copied().unwrap_or_default()
        };
        let slots = self.replay.index.with(available, from).iter().copied();
        slots
            .take_while(move |slot| *slot <= ceiling && *slot < end)
            .filter(move |slot| self.has_room(holding(*slot), units))
    }

    const fn has_room(&self, holding: Holding, units: u64) -> bool {
        holding.owned + units <= self.rules.limit_per_user
    }

    /// The last slot of which every process knew when something was called: what happened behind it may be news to some.
    pub(super) fn known_slot(&self, called_ns: u64) -> usize {
        self.times.partition_point(|(_, until)| until.saturating_add(self.rules.filter_age_ns) < called_ns)
    }

    fn slot_of(&self, order: OrderId, status: OrderStatus, from: usize) -> Option<usize> {
        let life = self.replay.orders.get(&order)?;
        match status {
            OrderStatus::Confirmed => within(life.granted..life.cancelled.unwrap_or(self.end()), from),
            OrderStatus::Cancelled => within(life.cancelled?..self.end(), from),
            OrderStatus::Compensated => None,
        }
    }

    fn slot_without(&self, order: OrderId, from: usize) -> Option<usize> {
        within(0..self.replay.orders.get(&order).map_or(self.end(), |life| life.granted), from)
    }

    /// The order stands, and its owner may not cancel it.
    fn slot_of_closed(&self, order: OrderId, from: usize) -> Option<usize> {
        let life = self.replay.orders.get(&order)?;
        let most = self.rules.cancellations_per_user;
        let used_up = |holding: &&Holding| holding.cancelled >= most;
        let closed_from = match self.rules.cancellable {
            true => self.replay.holdings(life.user).iter().find(used_up)?.from,
            false => 0,
        };
        within(life.granted.max(closed_from)..life.cancelled.unwrap_or(self.end()), from)
    }

    fn slot_of_turn(&self, wanted: DropState, answer: &Answer, from: usize) -> Option<usize> {
        let index = &self.replay.index;
        match answer {
            Answer::Done => next_in(index.in_state(wanted), from),
            Answer::InvalidTransition => next_in(index.in_state(DropState::Ended), from),
            _ => None,
        }
    }

    fn life_of_key(&self, user: &UserId, key: KeyDigest) -> Option<&Life<'a>> {
        self.replay.orders.get(self.replay.keys.get(&(user, key))?)
    }
}

/// The first slot of a range at or behind `from`.
fn within(slots: Range<usize>, from: usize) -> Option<usize> {
    let slot = slots.start.max(from);
    slots.contains(&slot).then_some(slot)
}
