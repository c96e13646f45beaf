//! The check of a long history, by the order in which the archive says that its changes took place.
//!
//! With that order given, each answer needs a slot between two changes in which it was right. Answers that follow each other
//! in time need slots that do not fall. If each takes the first slot that is possible, in order of their calls, then every
//! later one has the widest choice: so a history that has a solution is never refused, and sorting is the greatest cost.
//!
//! Each stripe of a drop has its own order, and each answer its slot in that of the stripe which gave it. Only answers about the
//! stock are about all stripes: they need a moment of the whole drop in which they were right.

use std::collections::HashSet;

use stampede_domain::{DropState, OrderId};

use super::replay::Replay;
use super::stripes::{self, Choice, StripedSale};
use super::timeline::Timeline;
use super::times::Asked;
use super::{Answer, Ask, Event, Operation, SaleRules, Verdict, Violation};

/// Whether every change of a drop was allowed and asked for, and every answer right at a moment within its time.
///
/// `events` are the drop's changes in order, see [`super::witness`]. Where several requests can have paused or resumed a
/// drop, each such change is given all the time that any of them leaves it.
pub fn check(rules: &SaleRules, events: &[Event], operations: &[Operation]) -> Verdict {
    let replay = Replay::of(rules, &[], rules.units, events);
    Check::run(rules, None, vec![(events, replay)], operations)
}

/// The same of a drop whose stock is divided. Stripes may follow the home late, but not without it; and of the order in which
/// two of them changed nothing is assumed but what their transfers and the times of requests show.
pub fn check_striped(rules: &SaleRules, sale: &StripedSale, operations: &[Operation]) -> Verdict {
    let shards = sale.shards();
    let units = u32::try_from(rules.units).unwrap_or(u32::MAX);
    let of_stripe = |(shard, events)| {
        let share = u64::from(sale.stripes.share(shard, units));
        let events: &[Event] = events;
        (events, Replay::of(rules, &shards, share, events))
    };
    let stripes = shards.iter().copied().zip(sale.events.iter().map(Vec::as_slice)).map(of_stripe).collect();
    let mut verdict = Check::run(rules, Some((sale, &shards)), stripes, operations);
    verdict.violations.extend(stripes::violations(sale));
    verdict
}

struct Check<'a> {
    rules: &'a SaleRules,
    /// If the drop is striped; and the shards of its stripes.
    sale: Option<(&'a StripedSale, &'a [stampede_domain::Shard])>,
    timelines: Vec<Timeline<'a>>,
    violations: Vec<Violation>,
}

impl<'a> Check<'a> {
    fn run(
        rules: &'a SaleRules,
        sale: Option<(&'a StripedSale, &'a [stampede_domain::Shard])>,
        stripes: Vec<(&'a [Event], Replay<'a>)>,
        operations: &[Operation],
    ) -> Verdict {
        let mut check = Check { rules, sale, timelines: Vec::new(), violations: Vec::new() };
        let (events, replays): (Vec<_>, Vec<_>) = stripes.into_iter().unzip();
        check.timelines = replays.into_iter().map(|replay| Timeline::new(rules, replay, Vec::new())).collect();
        let operations = check.without_lost(operations);
        check.find_times(&events, &operations);
        if rules.new_once {
            check.told_once(&operations);
        }
        check.place(&operations);

        let told: HashSet<OrderId> = operations.iter().filter_map(|operation| told_order(operation)).collect();
        let cancelled = |order: &OrderId| {
            let life = check.timelines.iter().find_map(|timeline| timeline.replay.orders.get(order));
            life.is_some_and(|life| life.cancelled.is_some())
        };
        let cancelled = told.iter().filter(|order| cancelled(order)).count();
        let lost = check.violations.iter().filter(|violation| matches!(violation, Violation::Lost { .. })).count();
        let mut violations: Vec<Violation> = Vec::new();
        for timeline in &mut check.timelines {
            violations.append(&mut timeline.replay.violations);
        }
        violations.append(&mut check.violations);
        Verdict { violations, confirmed: told.len() + lost, cancelled }
    }

    /// The stripe that an operation is about, by its place.
    fn place_of(&self, operation: &Operation) -> usize {
        self.sale.map_or(0, |(sale, shards)| stripes::place_of(sale, shards, &operation.ask))
    }

    /// The operations without those that tell of an order which is not there: each order is reported once.
    fn without_lost<'b>(&mut self, operations: &'b [Operation]) -> Vec<&'b Operation> {
        let mut lost = HashSet::new();
        let mut rest = Vec::with_capacity(operations.len());
        for operation in operations {
            match told_order(operation) {
                Some(order) if !self.is_as_told(order, operation) => {
                    if lost.insert(order) {
                        self.violations.push(Violation::Lost { order, told: Box::new(operation.clone()) });
                    }
                }
                _ => rest.push(operation),
            }
        }
        rest
    }

    fn is_as_told(&self, order: OrderId, operation: &Operation) -> bool {
        let timeline = &self.timelines[self.place_of(operation)];
        let Some(life) = timeline.replay.orders.get(&order) else { return false };
        match &operation.ask {
            Ask::Order { user, key, units } => (life.user, life.key, life.units) == (user, *key, *units),
            _ => true,
        }
    }

    fn find_times(&mut self, events: &[&[Event]], operations: &[&Operation]) {
        let mut by_place: Vec<Vec<&Operation>> = vec![Vec::new(); events.len()];
        for operation in operations {
            by_place[self.place_of(operation)].push(operation);
        }
        for (place, events) in events.iter().enumerate() {
            let mut asked = Asked::by(by_place[place].iter().copied());
            let follows = place > 0;
            if follows {
                asked.follow(&by_place[0]);
            }
            self.timelines[place].times = asked.times(events, follows, &mut self.violations);
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
    fn place(&mut self, operations: &[&Operation]) {
        let definite = |operation: &&&Operation| !matches!(operation.answer, Answer::Unknown | Answer::NoEffect);
        let mut by_call: Vec<&Operation> = operations.iter().filter(definite).copied().collect();
        by_call.sort_by_key(|operation| operation.called_ns);
        for operation in by_call {
            let place = self.place_of(operation);
            let possible: Vec<(usize, usize)> =
                self.timelines.iter_mut().map(|timeline| timeline.slots_of(operation)).collect();
            let (floor, ceiling) = possible[place];
            let slot = match (&operation.ask, &operation.answer) {
                (Ask::Order { .. }, Answer::SoldOut) => self.slot_of_short(operation, place, 0, &possible),
                (Ask::Order { units, .. }, Answer::Insufficient { available }) => (1..*units)
                    .contains(available)
                    .then(|| self.slot_of_short(operation, place, *available, &possible))
                    .flatten(),
                _ => self.timelines[place].first_slot(operation, floor),
            };
            match slot.filter(|slot| *slot <= ceiling) {
                Some(slot) => self.timelines[place].place(operation, slot),
                None => self.violations.push(Violation::Untrue {
                    operation: Box::new(operation.clone()),
                    after_changes: floor,
                    at_most_changes: ceiling,
                }),
            }
        }
    }

    /// The first slot in which only so many units were left in the whole drop; `possible` slots by place.
    ///
    /// The stripe sells then, unless an api process refused by what it had learned of the whole drop: that the home sells. It may
    /// not have known that the home had been stopped a moment ago, and this stripe may have yet to follow a home that sells.
    fn slot_of_short(
        &self,
        operation: &Operation,
        place: usize,
        left: u64,
        possible: &[(usize, usize)],
    ) -> Option<usize> {
        let Ask::Order { user, key, units } = &operation.ask else { return None };
        let by_filter = self.rules.filter_age_ns > 0 && left == 0;
        let timeline = &self.timelines[place];
        let (floor, ceiling) = possible[place];
        let left = i64::try_from(left).unwrap_or(i64::MAX);
        let others: Vec<Choice<'_>> = (0..self.timelines.len())
            .filter(|other| *other != place)
            .map(|other| {
                let (floor, ceiling) = possible[other];
                let slots = &self.timelines[other].slots()[floor..=ceiling.max(floor)];
                Choice::new(other, slots, left)
            })
            .collect();
        let known = self.timelines[0].known_slot(operation.called_ns);
        let is_right = |slot: &usize| {
            let own = &timeline.slots()[*slot];
            let sells = own.state == DropState::Open;
            (sells || by_filter)
                && stripes::is_moment(&mut vec![(place, own)], &others, left, (!sells).then_some(known))
        };
        let fewer = 0..=u64::try_from(left).unwrap_or_default();
        let with = |available| timeline.short((user, *key, *units), available, floor, ceiling).find(is_right);
        if others.is_empty() { with(*fewer.end()) } else { fewer.filter_map(with).min() }
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
