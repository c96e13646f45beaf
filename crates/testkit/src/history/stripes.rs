//! What is true of all stripes of a drop together.
//!
//! Each stripe has a log of its own, so nothing says in which order the changes of two of them took place. A moment of the whole
//! drop is a slot in each: slots that times and earlier answers allow, and in which nothing has arrived that has not left.

use std::collections::{BTreeMap, BTreeSet};

use stampede_domain::{DropState, OrderId, Shard, Stripes, UserDigest, UserId};

use super::index::{Moved, Slot};
use super::{Ask, Event, Violation};

/// A drop whose stock is divided, and what the archive says of each stripe.
#[derive(Clone, Debug)]
pub struct StripedSale {
    /// How it is divided.
    pub stripes: Stripes,
    /// The shard of its home.
    pub home: Shard,
    /// The changes of each stripe, see [`super::witness`], the home's first.
    pub events: Vec<Vec<Event>>,
}

impl StripedSale {
    /// The shards of its stripes, the home's first.
    pub(super) fn shards(&self) -> Vec<Shard> {
        self.stripes.shards(self.home)
    }
}

/// In which of these stripes something is asked; the first, if nothing says otherwise.
pub(super) fn place_of(sale: &StripedSale, shards: &[Shard], ask: &Ask) -> usize {
    let shard = match ask {
        Ask::Order { user, .. } => stripe_of(sale, user),
        Ask::Cancel { order, .. } | Ask::Read { order } => order.shard(),
        Ask::Restock { .. } | Ask::Pause | Ask::Resume | Ask::Close => sale.home,
    };
    shards.iter().position(|stripe| *stripe == shard).unwrap_or_default()
}

fn stripe_of(sale: &StripedSale, user: &UserId) -> Shard {
    sale.stripes.of_user(sale.home, UserDigest::of(user))
}

/// What must be true of the stripes' changes, whatever was asked: each user has one stripe, and what arrives had left.
pub(super) fn violations(sale: &StripedSale) -> Vec<Violation> {
    let shards = sale.shards();
    let mut violations = Vec::new();
    let strays = |(shard, events): (&Shard, &Vec<Event>)| -> Vec<(usize, OrderId, Shard)> {
        let granted = (1..).zip(events).filter_map(|(change, event)| match event {
            Event::Granted { order, user, .. } if stripe_of(sale, user) != *shard => Some((change, *order, *shard)),
            _ => None,
        });
        granted.collect()
    };
    for (change, order, shard) in shards.iter().zip(&sale.events).flat_map(strays) {
        let what = format!("order {order} was granted in {shard}, and its user belongs to another stripe");
        violations.push(Violation::NotAllowed { change, what });
    }
    let (mut sent, mut received) = (Transfers::default(), Transfers::default());
    for (shard, events) in shards.iter().zip(&sale.events) {
        for event in events {
            match event {
                Event::Sent { to, number, units } => sent.entry((*shard, *to)).or_default().push((*number, *units)),
                Event::Received { from, number, units } => {
                    received.entry((*from, *shard)).or_default().push((*number, *units));
                }
                _ => {}
            }
        }
    }
    let pairs: BTreeSet<(Shard, Shard)> = sent.keys().chain(received.keys()).copied().collect();
    for pair in pairs {
        let of = |transfers: &Transfers| transfers.get(&pair).cloned().unwrap_or_default();
        if let Some(what) = wrong_transfers(&of(&sent), &of(&received)) {
            violations.push(Violation::Moved { from: pair.0, to: pair.1, what });
        }
    }
    violations
}

/// Numbers and units of transfers from one stripe to another, in the order of a log.
type Transfers = BTreeMap<(Shard, Shard), Vec<(u64, u64)>>;

/// Each transfer leaves once and arrives at most once, in order, with the same units.
fn wrong_transfers(sent: &[(u64, u64)], received: &[(u64, u64)]) -> Option<String> {
    for (ends, what) in [(sent, "left"), (received, "arrived")] {
        let stray = (1..).zip(ends).find(|(expected, (number, _))| number != expected);
        if let Some((expected, (number, _))) = stray {
            return Some(format!("transfer {number} {what} where transfer {expected} was to follow"));
        }
    }
    let other = received.iter().find(|transfer| !sent.contains(transfer));
    other.map(|(number, units)| format!("transfer {number} arrived with {units} units, and did not leave so"))
}

/// The slots of one stripe that come into question for a moment of the whole drop.
pub(super) struct Choice<'a> {
    /// Its place among the stripes.
    pub(super) place: usize,
    /// Different ones.
    slots: Vec<&'a Slot>,
}

impl<'a> Choice<'a> {
    /// Of `slots` those with at most `left` units to order.
    pub(super) fn new(place: usize, slots: &'a [Slot], left: i64) -> Self {
        let mut chosen: Vec<&Slot> = Vec::new();
        for slot in slots.iter().filter(|slot| countable(slot) <= left) {
            if !chosen.iter().rev().any(|other| is_same(other, slot)) {
                chosen.push(slot);
            }
        }
        Self { place, slots: chosen }
    }
}

/// Units that others may yet get from there: none of a stripe that is over.
const fn countable(slot: &Slot) -> i64 {
    if matches!(slot.state, DropState::Ended | DropState::Cancelled) { 0 } else { slot.available }
}

fn is_same(one: &Slot, other: &Slot) -> bool {
    countable(one) == countable(other)
        && one.state == other.state
        && one.turned == other.turned
        && one.sent == other.sent
        && one.received == other.received
}

/// Whether the stripes can have been, at one moment, in the slots `taken` (by place) and one of each choice, with exactly
/// `left` units to order or on their way. `known`: the home must have been open then, or have been stopped behind this slot of
/// its own.
pub(super) fn is_moment<'a>(
    taken: &mut Vec<(usize, &'a Slot)>,
    choices: &[Choice<'a>],
    left: i64,
    known: Option<usize>,
) -> bool {
    let fits = |one: &(usize, &Slot), other: &(usize, &Slot)| {
        in_transit(one, other).is_some() && in_transit(other, one).is_some()
    };
    let Some((choice, rest)) = choices.split_first() else {
        let home = taken.iter().find(|(place, _)| *place == 0);
        let pairs = taken.iter().flat_map(|from| taken.iter().map(move |to| (from, to)));
        let transit: i64 = pairs.filter_map(|(from, to)| in_transit(from, to)).sum();
        let units: i64 = taken.iter().map(|(_, slot)| countable(slot)).sum();
        let sells = |known: usize| home.is_some_and(|(_, slot)| slot.state == DropState::Open || slot.turned > known);
        return units + transit == left && known.is_none_or(sells);
    };
    choice.slots.iter().any(|slot| {
        let next = (choice.place, *slot);
        if !taken.iter().all(|other| fits(other, &next)) {
            return false;
        }
        taken.push(next);
        let found = is_moment(taken, rest, left, known);
        taken.pop();
        found
    })
}

/// Units on their way from one stripe to another; `None` if something has arrived that has not left.
fn in_transit((from, sender): &(usize, &Slot), (to, receiver): &(usize, &Slot)) -> Option<i64> {
    let nothing = Moved::default();
    let sent = sender.sent.get(*to).copied().unwrap_or(nothing);
    let received = receiver.received.get(*from).copied().unwrap_or(nothing);
    (sent.number >= received.number).then_some(sent.units - received.units)
}
