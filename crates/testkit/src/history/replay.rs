//! Going through a drop's changes, one after another: whether each was allowed, and what was true between them.

use std::collections::HashMap;

use stampede_domain::{CancelledBy, DropState, KeyDigest, OrderId, Shard, UserId};

use super::index::{Index, Moved, Slot};
use super::{Event, SaleRules, Violation};

/// What the changes of a drop, or of one of its stripes, come to.
pub(super) struct Replay<'a> {
    rules: &'a SaleRules,
    pub(super) orders: HashMap<OrderId, Life<'a>>,
    /// The first order of each key.
    pub(super) keys: HashMap<(&'a UserId, KeyDigest), OrderId>,
    pub(super) restocks: HashMap<KeyDigest, (usize, u64)>,
    pub(super) index: Index,
    pub(super) violations: Vec<Violation>,
    users: HashMap<&'a UserId, Vec<Holding>>,
    /// The stripes of the drop; none if it has only one.
    stripes: &'a [Shard],
    /// What is true now.
    now: Slot,
    held: i64,
}

/// One order's life.
pub(super) struct Life<'a> {
    pub(super) user: &'a UserId,
    pub(super) key: KeyDigest,
    pub(super) units: u64,
    /// The slot right behind its grant.
    pub(super) granted: usize,
    /// The slot right behind its cancellation.
    pub(super) cancelled: Option<usize>,
}

/// What a user holds from a slot on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Holding {
    pub(super) from: usize,
    pub(super) owned: u64,
    pub(super) cancelled: u64,
}

impl<'a> Replay<'a> {
    /// Goes through the changes of what opened with so many units, as one of these stripes if there are any.
    pub(super) fn of(rules: &'a SaleRules, stripes: &'a [Shard], units: u64, events: &'a [Event]) -> Self {
        let nothing = vec![Moved::default(); stripes.len()];
        let now = Slot {
            state: if stripes.is_empty() { DropState::Open } else { DropState::Opening },
            available: i64::try_from(units).unwrap_or(i64::MAX),
            turned: 0,
            sent: nothing.clone(),
            received: nothing,
        };
        let mut replay = Self {
            rules,
            orders: HashMap::new(),
            keys: HashMap::new(),
            restocks: HashMap::new(),
            index: Index::default(),
            violations: Vec::new(),
            users: HashMap::new(),
            stripes,
            now,
            held: 0,
        };
        replay.index.push(replay.now.clone());
        for (slot, event) in (1..).zip(events) {
            replay.step(slot, event);
            replay.index.push(replay.now.clone());
        }
        replay
    }

    /// What a user holds, from slot to slot; nothing at first.
    pub(super) fn holdings(&self, user: &UserId) -> &[Holding] {
        const NOTHING: &[Holding] = &[Holding { from: 0, owned: 0, cancelled: 0 }];
        self.users.get(user).map_or(NOTHING, Vec::as_slice)
    }

    fn step(&mut self, slot: usize, event: &'a Event) {
        match event {
            Event::Granted { order, user, key, units } => self.grant(slot, *order, user, *key, *units),
            Event::Cancelled { order, by } => self.cancel(slot, *order, *by),
            Event::Restocked { key, units } => {
                let again = self.restocks.insert(*key, (slot, *units)).is_some();
                if self.now.state == DropState::Ended || again {
                    self.wrong(slot, "a restock after the end, or the second one under its key");
                }
                self.give_back(*units);
            }
            Event::Released => self.release(),
            Event::Activated => {
                if self.now.state == DropState::Opening {
                    self.turn(slot, DropState::Open);
                }
            }
            Event::Sent { to, number, units } => self.send(slot, *to, *number, *units),
            Event::Received { from, number, units } => {
                let units = i64::try_from(*units).unwrap_or(i64::MAX);
                self.now.available += units;
                if let Some(moved) = self.place(*from).and_then(|place| self.now.received.get_mut(place)) {
                    *moved = Moved { number: *number, units: moved.units + units };
                }
            }
            Event::Turned { to } => {
                let state = self.now.state;
                let allowed = match to {
                    DropState::Open => state == DropState::Paused,
                    DropState::Paused => state == DropState::Open,
                    DropState::Ended | DropState::Cancelled => state != DropState::Ended,
                    DropState::Opening => false,
                };
                if !allowed {
                    self.wrong(slot, &format!("a drop that is {} became {}", state.as_str(), to.as_str()));
                }
                self.turn(slot, *to);
                if *to == DropState::Ended {
                    self.release();
                }
            }
        }
    }

    const fn turn(&mut self, slot: usize, to: DropState) {
        (self.now.state, self.now.turned) = (to, slot);
    }

    fn send(&mut self, slot: usize, to: Shard, number: u64, units: u64) {
        let units = i64::try_from(units).unwrap_or(i64::MAX);
        if !matches!(self.now.state, DropState::Open | DropState::Paused) {
            self.wrong(slot, &format!("units left a stripe that was {}", self.now.state.as_str()));
        }
        self.take(units);
        if self.now.available < 0 {
            self.wrong(slot, &format!("{} units more were sent to {to} than there were", -self.now.available));
        }
        if let Some(moved) = self.place(to).and_then(|place| self.now.sent.get_mut(place)) {
            *moved = Moved { number, units: moved.units + units };
        }
    }

    fn place(&self, shard: Shard) -> Option<usize> {
        self.stripes.iter().position(|stripe| *stripe == shard)
    }

    fn grant(&mut self, slot: usize, order: OrderId, user: &'a UserId, key: KeyDigest, units: u64) {
        if self.now.state != DropState::Open {
            self.wrong(slot, &format!("order {order} was granted while the drop was {}", self.now.state.as_str()));
        }
        if let Some(first) = self.keys.get(&(user, key)) {
            self.violations.push(Violation::Doubled { first: *first, second: order });
        }
        self.keys.entry((user, key)).or_insert(order);
        self.take(i64::try_from(units).unwrap_or(i64::MAX));
        if self.now.available < 0 {
            self.violations.push(Violation::Oversold { order, by: self.now.available.unsigned_abs() });
        }
        let before = self.last_holding(user);
        let owned = before.owned + units;
        if owned > self.rules.limit_per_user {
            self.violations.push(Violation::OverLimit { order, user: user.clone(), owned });
        }
        self.hold(user, Holding { from: slot, owned, ..before });
        let life = Life { user, key, units, granted: slot, cancelled: None };
        if self.orders.insert(order, life).is_some() {
            self.wrong(slot, &format!("order {order} was granted twice"));
        }
    }

    fn cancel(&mut self, slot: usize, order: OrderId, by: CancelledBy) {
        let Some(life) = self.orders.get_mut(&order) else {
            return self.wrong(slot, &format!("order {order} was cancelled and never granted"));
        };
        let (user, units) = (life.user, life.units);
        if life.cancelled.replace(slot).is_some() {
            self.wrong(slot, &format!("order {order} was cancelled twice"));
        }
        let before = self.last_holding(user);
        let may = self.rules.cancellable && before.cancelled < self.rules.cancellations_per_user;
        if by == CancelledBy::Shopper && !may {
            self.wrong(slot, &format!("{user} was not allowed to cancel order {order}"));
        }
        self.give_back(units);
        let (owned, cancelled) = (before.owned.saturating_sub(units), before.cancelled + 1);
        self.hold(user, Holding { from: slot, owned, cancelled });
    }

    fn take(&mut self, units: i64) {
        // The entry that released what is taken here may be one that does not count.
        if self.now.available < units {
            self.release();
        }
        self.now.available -= units;
    }

    /// Units that come back where none is left are held, unless nobody can be granted any.
    fn give_back(&mut self, units: u64) {
        let grants = matches!(self.now.state, DropState::Open | DropState::Paused);
        let holds = self.rules.holds && self.now.available <= 0 && grants;
        let parts = if holds { &mut self.held } else { &mut self.now.available };
        *parts += i64::try_from(units).unwrap_or(i64::MAX);
    }

    fn release(&mut self) {
        self.now.available += std::mem::take(&mut self.held);
    }

    fn last_holding(&self, user: &UserId) -> Holding {
        self.holdings(user).last().copied().unwrap_or_default()
    }

    fn hold(&mut self, user: &'a UserId, holding: Holding) {
        self.users.entry(user).or_insert_with(|| vec![Holding::default()]).push(holding);
    }

    fn wrong(&mut self, slot: usize, what: &str) {
        self.violations.push(Violation::NotAllowed { change: slot, what: what.to_owned() });
    }
}
