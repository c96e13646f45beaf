//! Going through a drop's changes, one after another: whether each was allowed, and what was true between them.

use std::collections::HashMap;

use stampede_domain::{CancelledBy, DropState, KeyDigest, OrderId, UserId};

use super::index::Index;
use super::{Event, SaleRules, Violation};

/// What a drop's changes come to.
pub(super) struct Replay<'a> {
    rules: &'a SaleRules,
    pub(super) orders: HashMap<OrderId, Life<'a>>,
    /// The first order of each key.
    pub(super) keys: HashMap<(&'a UserId, KeyDigest), OrderId>,
    pub(super) restocks: HashMap<KeyDigest, (usize, u64)>,
    pub(super) index: Index,
    pub(super) violations: Vec<Violation>,
    users: HashMap<&'a UserId, Vec<Holding>>,
    state: DropState,
    available: i64,
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
    pub(super) fn of(rules: &'a SaleRules, events: &'a [Event]) -> Self {
        let mut replay = Self {
            rules,
            orders: HashMap::new(),
            keys: HashMap::new(),
            restocks: HashMap::new(),
            index: Index::default(),
            violations: Vec::new(),
            users: HashMap::new(),
            state: DropState::Open,
            available: i64::try_from(rules.units).unwrap_or(i64::MAX),
            held: 0,
        };
        replay.index.push(0, replay.state, replay.available);
        for (slot, event) in (1..).zip(events) {
            replay.step(slot, event);
            replay.index.push(slot, replay.state, replay.available);
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
                if self.state == DropState::Ended || self.restocks.insert(*key, (slot, *units)).is_some() {
                    self.wrong(slot, "a restock after the end, or the second one under its key");
                }
                self.give_back(*units);
            }
            Event::Released => self.release(),
            Event::Turned { to } => {
                let allowed = match to {
                    DropState::Open => self.state == DropState::Paused,
                    DropState::Paused => self.state == DropState::Open,
                    DropState::Ended | DropState::Cancelled => self.state != DropState::Ended,
                    // The histories are those of drops that are not striped.
                    DropState::Opening => false,
                };
                if !allowed {
                    self.wrong(slot, &format!("a drop that is {} became {}", self.state.as_str(), to.as_str()));
                }
                self.state = *to;
                if *to == DropState::Ended {
                    self.release();
                }
            }
        }
    }

    fn grant(&mut self, slot: usize, order: OrderId, user: &'a UserId, key: KeyDigest, units: u64) {
        if self.state != DropState::Open {
            self.wrong(slot, &format!("order {order} was granted while the drop was {}", self.state.as_str()));
        }
        if let Some(first) = self.keys.get(&(user, key)) {
            self.violations.push(Violation::Doubled { first: *first, second: order });
        }
        self.keys.entry((user, key)).or_insert(order);
        let taken = i64::try_from(units).unwrap_or(i64::MAX);
        // The entry that released what is sold here may be one that does not count.
        if self.available < taken {
            self.release();
        }
        self.available -= taken;
        if self.available < 0 {
            self.violations.push(Violation::Oversold { order, by: self.available.unsigned_abs() });
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

    /// Units that come back where none is left are held, unless nobody can be granted any.
    fn give_back(&mut self, units: u64) {
        let grants = matches!(self.state, DropState::Open | DropState::Paused);
        let holds = self.rules.holds && self.available <= 0 && grants;
        let parts = if holds { &mut self.held } else { &mut self.available };
        *parts += i64::try_from(units).unwrap_or(i64::MAX);
    }

    fn release(&mut self) {
        self.available += std::mem::take(&mut self.held);
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
