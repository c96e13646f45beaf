//! When a change can have taken place, by those who asked for it.

use std::collections::HashMap;

use stampede_domain::{CancelledBy, DropState, KeyDigest, OrderId, OrderStatus, UserId};

use super::{Answer, Ask, Event, Operation, Violation};

/// From when to when a change can have taken place, in ns.
pub(super) type Times = (u64, u64);

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
            Event::Released | Event::Activated | Event::Sent { .. } | Event::Received { .. } => return None,
        })
    }

    /// The change that an operation may have made; none if its answer says that it made none.
    fn of_operation(operation: &'a Operation) -> Option<Self> {
        let unknown = operation.answer == Answer::Unknown;
        let done = unknown || operation.answer == Answer::Done;
        match (&operation.ask, &operation.answer) {
            (Ask::Order { user, key, units }, Answer::Unknown | Answer::Confirmed { replayed: false, .. }) => {
                Some(Self::Order(user, *key, *units))
            }
            (Ask::Cancel { order, by }, Answer::Unknown | Answer::Stands { status: OrderStatus::Cancelled }) => {
                Some(Self::Cancel(*order, *by == CancelledBy::Shopper))
            }
            (Ask::Restock { key, units }, _) if done => Some(Self::Restock(*key, *units)),
            (Ask::Pause, _) if done => Some(Self::Turn(DropState::Paused)),
            (Ask::Resume, _) if done => Some(Self::Turn(DropState::Open)),
            (Ask::Close, _) if done => Some(Self::Turn(DropState::Ended)),
            _ => None,
        }
    }
}

/// Who asked for what, and when.
pub(super) struct Asked<'a>(HashMap<Cause<'a>, Vec<Times>>);

impl<'a> Asked<'a> {
    /// What these operations can have made.
    pub(super) fn by(operations: impl IntoIterator<Item = &'a Operation>) -> Self {
        let mut asked: HashMap<Cause<'a>, Vec<Times>> = HashMap::new();
        for operation in operations {
            if let Some(cause) = Cause::of_operation(operation) {
                // What has no answer may take effect at any later time.
                let may_wait = operation.answer == Answer::Unknown;
                let until = if may_wait { u64::MAX } else { operation.returned_ns };
                asked.entry(cause).or_default().push((operation.called_ns, until));
            }
        }
        Self(asked)
    }

    /// A stripe follows the home of its drop sooner or later, and as often as somebody finds it behind: what was asked of
    /// the home is asked of it from then on.
    pub(super) fn follow(&mut self, home: &[&'a Operation]) {
        for operation in home {
            if let Some(cause @ Cause::Turn(_)) = Cause::of_operation(operation) {
                self.0.entry(cause).or_default().push((operation.called_ns, u64::MAX));
            }
        }
    }

    /// From when to when each change can have taken place: not before it, and all before it, were asked for; and not after
    /// those who asked for it, and for all behind it, were answered. Both ascend. `follows`: turns need not have been asked
    /// for as often as they happened.
    pub(super) fn times(&self, events: &'a [Event], follows: bool, violations: &mut Vec<Violation>) -> Vec<Times> {
        let mut made: HashMap<Cause<'_>, usize> = HashMap::new();
        let mut times = Vec::with_capacity(events.len());
        let mut at_least = 0;
        for (change, event) in (1..).zip(events) {
            let Some(cause) = Cause::of(event) else {
                times.push((at_least, u64::MAX));
                continue;
            };
            let asked = self.of(&cause);
            let in_time = asked.iter().filter(|(_, until)| *until >= at_least);
            let first = in_time.map(|(called_ns, _)| *called_ns).min();
            let counts = !(follows && matches!(cause, Cause::Turn(_)));
            let made = made.entry(cause).or_default();
            *made += 1;
            // Each request makes one change.
            if first.is_none() || (counts && *made > asked.len()) {
                violations.push(Violation::Unasked { change, event: Box::new(event.clone()) });
            }
            at_least = at_least.max(first.unwrap_or_default());
            times.push((at_least, u64::MAX));
        }
        let mut at_most = u64::MAX;
        for (event, (_, until)) in events.iter().zip(&mut times).rev() {
            if let Some(cause) = Cause::of(event) {
                let in_time = self.of(&cause).iter().filter(|(called_ns, _)| *called_ns <= at_most);
                at_most = at_most.min(in_time.map(|(_, until)| *until).max().unwrap_or(u64::MAX));
            }
            *until = at_most;
        }
        times
    }

    fn of(&self, cause: &Cause<'a>) -> &[Times] {
        self.0.get(cause).map_or(&[], Vec::as_slice)
    }
}
