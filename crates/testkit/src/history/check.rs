//! The check of a long history, by the order in which the archive says that its changes took place.
//!
//! With that order given, each answer needs a slot between two changes in which it was right. Answers that follow each other
//! in time need slots that do not fall. If each takes the first slot that is possible, in order of their calls, then every
//! later one has the widest choice: so a history that has a solution is never refused, and sorting is the greatest cost.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use stampede_domain::{CancelledBy, DropState, KeyDigest, OrderId, OrderStatus, UserId};

use super::index::next_in;
use super::replay::{Holding, Replay};
use super::{Answer, Ask, Event, Operation, SaleRules, Verdict, Violation};

/// Whether every change of a drop was allowed and asked for, and every answer right at a moment within its time.
///
/// `events` are the drop's changes in order, see [`super::witness`]. Where several requests can have paused or resumed a
/// drop, each such change is given all the time that any of them leaves it.
pub fn check(rules: &SaleRules, events: &[Event], operations: &[Operation]) -> Verdict {
    let replay = Replay::of(rules, events);
    let mut check = Check { rules, replay, slots: events.len() + 1, violations: Vec::new() };
    let operations = check.without_lost(operations);
    let times = check.times(events, &operations);
    if rules.new_once {
        check.told_once(&operations);
    }
    check.place(&operations, &times);

    let told: HashSet<OrderId> = operations.iter().filter_map(|operation| told_order(operation)).collect();
    let is_cancelled = |order: &&OrderId| check.replay.orders.get(order).is_some_and(|life| life.cancelled.is_some());
    let cancelled = told.iter().filter(is_cancelled).count();
    let lost = check.violations.iter().filter(|violation| matches!(violation, Violation::Lost { .. })).count();
    let mut violations = check.replay.violations;
    violations.append(&mut check.violations);
    Verdict { violations, confirmed: told.len() + lost, cancelled }
}

struct Check<'a> {
    rules: &'a SaleRules,
    replay: Replay<'a>,
    slots: usize,
    violations: Vec<Violation>,
}

/// From when to when a request can have made a change.
type Times = (u64, u64);

/// What can have made a change.
#[derive(PartialEq, Eq, Hash)]
enum Cause<'a> {
    Order(&'a UserId, KeyDigest, u64),
    /// Of an order; whether its owner asked.
    Cancel(OrderId, bool),
    Restock(KeyDigest, u64),
    Turn(DropState),
}

impl<'a> Cause<'a> {
    /// None for what happens by itself.
    fn of(event: &'a Event) -> Option<Self> {
        Some(match event {
            Event::Granted { user, key, units, .. } => Self::Order(user, *key, *units),
            Event::Cancelled { order, by } => Self::Cancel(*order, *by == CancelledBy::Shopper),
            Event::Restocked { key, units } => Self::Restock(*key, *units),
            Event::Turned { to } => Self::Turn(*to),
            Event::Released => return None,
        })
    }
}

impl<'a> Check<'a> {
    /// The operations without those that tell of an order which is not there: each order is reported once.
    fn without_lost<'b>(&mut self, operations: &'b [Operation]) -> Vec<&'b Operation> {
        let mut lost = HashSet::new();
        let mut rest = Vec::with_capacity(operations.len());
        for operation in operations {
            match told_order(operation) {
                Some(order) if !self.is_as_told(order, &operation.ask) => {
                    if lost.insert(order) {
                        self.violations.push(Violation::Lost { order, told: Box::new(operation.clone()) });
                    }
                }
                _ => rest.push(operation),
            }
        }
        rest
    }

    fn is_as_told(&self, order: OrderId, ask: &Ask) -> bool {
        let Some(life) = self.replay.orders.get(&order) else { return false };
        match ask {
            Ask::Order { user, key, units } => (life.user, life.key, life.units) == (user, *key, *units),
            _ => true,
        }
    }

    /// From when to when each change can have taken place: not before it, and all before it, were asked for; and not after
    /// those who asked for it, and for all behind it, were answered. Both ascend.
    fn times(&mut self, events: &'a [Event], operations: &[&Operation]) -> Vec<Times> {
        let mut asked: HashMap<Cause<'_>, Vec<Times>> = HashMap::new();
        for operation in operations {
            if let Some(cause) = self.cause_of(operation) {
                // What has no answer may take effect at any later time.
                let may_wait = operation.answer == Answer::Unknown;
                let until = if may_wait { u64::MAX } else { operation.returned_ns };
                asked.entry(cause).or_default().push((operation.called_ns, until));
            }
        }
        let mut made: HashMap<Cause<'_>, usize> = HashMap::new();
        let mut times = Vec::with_capacity(events.len());
        let mut at_least = 0;
        for (change, event) in (1..).zip(events) {
            let Some(cause) = Cause::of(event) else {
                times.push((at_least, u64::MAX));
                continue;
            };
            let asked = asked.get(&cause).map_or(&[][..], Vec::as_slice);
            let in_time = asked.iter().filter(|(_, until)| *until >= at_least);
            let first = in_time.map(|(called_ns, _)| *called_ns).min();
            let made = made.entry(cause).or_default();
            *made += 1;
            // Each request makes one change.
            if first.is_none() || *made > asked.len() {
                self.violations.push(Violation::Unasked { change, event: Box::new(event.clone()) });
            }
            at_least = at_least.max(first.unwrap_or_default());
            times.push((at_least, u64::MAX));
        }
        let mut at_most = u64::MAX;
        for (event, (_, until)) in events.iter().zip(&mut times).rev() {
            if let Some(cause) = Cause::of(event) {
                let asked = asked.get(&cause).map_or(&[][..], Vec::as_slice);
                let in_time = asked.iter().filter(|(called_ns, _)| *called_ns <= at_most);
                at_most = at_most.min(in_time.map(|(_, until)| *until).max().unwrap_or(u64::MAX));
            }
            *until = at_most;
        }
        times
    }

    /// The change that an operation may have made; none if its answer says that it made none.
    fn cause_of<'b>(&self, operation: &'b Operation) -> Option<Cause<'b>> {
        let unknown = operation.answer == Answer::Unknown;
        let done = unknown || operation.answer == Answer::Done;
        match (&operation.ask, &operation.answer) {
            (Ask::Order { user, key, units }, Answer::Unknown | Answer::Confirmed { replayed: false, .. }) => {
                Some(Cause::Order(user, *key, *units))
            }
            (Ask::Cancel { order, by }, Answer::Unknown | Answer::Stands { status: OrderStatus::Cancelled }) => {
                Some(Cause::Cancel(*order, *by == CancelledBy::Shopper))
            }
            (Ask::Restock { key, units }, _) if done => Some(Cause::Restock(*key, *units)),
            (Ask::Pause, _) if done => Some(Cause::Turn(DropState::Paused)),
            (Ask::Resume, _) if done => Some(Cause::Turn(DropState::Open)),
            (Ask::Close, _) if done => Some(Cause::Turn(DropState::Ended)),
            _ => None,
        }
    }

    /// At most one answer tells of each order as new.
    fn told_once(&mut self, operations: &[&Operation]) {
        let mut told = HashSet::new();
        for operation in operations {
            if let Answer::Confirmed { order, replayed: false, .. } = operation.answer
                && !told.insert(order)
            {
                self.violations.push(Violation::ToldTwice { order });
            }
        }
    }

    /// Gives each answer its slot.
    fn place(&mut self, operations: &[&Operation], times: &[Times]) {
        let definite = |operation: &&&Operation| !matches!(operation.answer, Answer::Unknown | Answer::NoEffect);
        let mut by_call: Vec<&Operation> = operations.iter().filter(definite).copied().collect();
        by_call.sort_by_key(|operation| operation.called_ns);
        // Answers that have their slot, by return; and the highest slot of those that returned before the present call.
        let mut returning: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
        let mut floor = 0;
        for operation in by_call {
            while let Some(Reverse((returned_ns, slot))) = returning.peek().copied()
                && returned_ns < operation.called_ns
            {
                returning.pop();
                floor = floor.max(slot);
            }
            let happened = times.partition_point(|(_, until)| *until < operation.called_ns);
            floor = floor.max(happened);
            let ceiling = times.partition_point(|(called_ns, _)| *called_ns <= operation.returned_ns);
            let late = self.late_slot(operation, floor, times);
            let slot = self.first_slot(operation, floor).into_iter().chain(late).min();
            match slot.filter(|slot| *slot <= ceiling) {
                Some(slot) => returning.push(Reverse((operation.returned_ns, slot))),
                None => self.violations.push(Violation::Untrue {
                    operation: Box::new(operation.clone()),
                    after_changes: floor,
                    at_most_changes: ceiling,
                }),
            }
        }
    }

    /// The first slot at or behind `from` in which the answer is right.
    fn first_slot(&self, operation: &Operation, from: usize) -> Option<usize> {
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
                    Answer::Done => within(made.filter(|(_, made)| made == units)?.0..self.slots, from),
                    Answer::KeyReused => within(made.filter(|(_, made)| made != units)?.0..self.slots, from),
                    Answer::InvalidTransition => {
                        let ended = next_in(self.replay.index.in_state(DropState::Ended), from)?;
                        (ended < made.map_or(self.slots, |(slot, _)| *slot)).then_some(ended)
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
        let room = |holding: Holding| holding.owned + units <= self.rules.limit_per_user;
        match answer {
            Answer::Confirmed {
                replayed: false, status: OrderStatus::Cancelled | OrderStatus::Compensated, ..
            } => None,
            Answer::Confirmed { order, status, .. } => self.slot_of(*order, *status, from),
            Answer::KeyReused => {
                let first = self.life_of_key(user, key).filter(|life| life.units != units)?;
                within(first.granted..self.slots, from)
            }
            Answer::NotActive { state: DropState::Open } => None,
            Answer::NotActive { state } => self.slot_of_refusal(user, key, from, |_| index.in_state(*state)),
            Answer::LimitReached { owned } => self.slot_of_refusal(user, key, from, |holding| {
                if holding.owned == *owned && !room(holding) { index.in_state(DropState::Open) } else { &[] }
            }),
            Answer::SoldOut => {
                self.slot_of_refusal(user, key, from, |holding| if room(holding) { index.selling_with(0) } else { &[] })
            }
            Answer::Insufficient { available } => self.slot_of_refusal(user, key, from, |holding| {
                let short = (1..units).contains(available);
                if room(holding) && short { index.selling_with(*available) } else { &[] }
            }),
            _ => None,
        }
    }

    /// The first slot in which the drop had been stopped for so short a time that a process may not have known: then an order
    /// may be told that it is sold out, if no unit was left.
    fn late_slot(&self, operation: &Operation, from: usize, times: &[Times]) -> Option<usize> {
        let (Ask::Order { user, key, units }, Answer::SoldOut) = (&operation.ask, &operation.answer) else {
            return None;
        };
        let age = self.rules.filter_age_ns;
        if age == 0 {
            return None;
        }
        let long_ago = times.partition_point(|(_, until)| until.saturating_add(age) < operation.called_ns);
        let stopped = self.replay.index.stopped_empty(from, long_ago + 1);
        let room = |holding: Holding| holding.owned + units <= self.rules.limit_per_user;
        self.slot_of_refusal(user, *key, from, |holding| if room(holding) { &stopped } else { &[] })
    }

    /// The first slot of a refusal: one of `slots`, which depend on what the user holds, before the key is granted.
    fn slot_of_refusal<'b>(
        &'b self,
        user: &UserId,
        key: KeyDigest,
        from: usize,
        slots: impl Fn(Holding) -> &'b [usize],
    ) -> Option<usize> {
        let end = self.life_of_key(user, key).map_or(self.slots, |life| life.granted);
        let holdings = self.replay.holdings(user);
        // The user holds this until the next holding begins.
        let first = holdings.partition_point(|holding| holding.from <= from).saturating_sub(1);
        holdings[first..].iter().enumerate().take_while(|(_, holding)| holding.from < end).find_map(|(at, holding)| {
            let until = holdings.get(first + at + 1).map_or(end, |next| next.from.min(end));
            next_in(slots(*holding), from.max(holding.from)).filter(|slot| *slot < until)
        })
    }

    fn slot_of(&self, order: OrderId, status: OrderStatus, from: usize) -> Option<usize> {
        let life = self.replay.orders.get(&order)?;
        match status {
            OrderStatus::Confirmed => within(life.granted..life.cancelled.unwrap_or(self.slots), from),
            OrderStatus::Cancelled => within(life.cancelled?..self.slots, from),
            OrderStatus::Compensated => None,
        }
    }

    fn slot_without(&self, order: OrderId, from: usize) -> Option<usize> {
        within(0..self.replay.orders.get(&order).map_or(self.slots, |life| life.granted), from)
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
        within(life.granted.max(closed_from)..life.cancelled.unwrap_or(self.slots), from)
    }

    fn slot_of_turn(&self, wanted: DropState, answer: &Answer, from: usize) -> Option<usize> {
        let index = &self.replay.index;
        match answer {
            Answer::Done => next_in(index.in_state(wanted), from),
            Answer::InvalidTransition => next_in(index.in_state(DropState::Ended), from),
            _ => None,
        }
    }

    fn life_of_key(&self, user: &UserId, key: KeyDigest) -> Option<&super::replay::Life<'a>> {
        self.replay.orders.get(self.replay.keys.get(&(user, key))?)
    }
}

/// The order that an answer tells of.
fn told_order(operation: &Operation) -> Option<OrderId> {
    match (&operation.ask, &operation.answer) {
        (_, Answer::Confirmed { order, .. }) => Some(*order),
        (Ask::Cancel { order, .. } | Ask::Read { order }, Answer::Stands { .. } | Answer::CancellationClosed) => {
            Some(*order)
        }
        _ => None,
    }
}

/// The first slot of a range at or behind `from`.
fn within(slots: std::ops::Range<usize>, from: usize) -> Option<usize> {
    let slot = slots.start.max(from);
    slots.contains(&slot).then_some(slot)
}
