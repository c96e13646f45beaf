//! The sale as it would be with one client at a time.

use std::collections::BTreeMap;

use stampede_domain::{CancelledBy, DropState, KeyDigest, OrderId, OrderStatus, UserId};

use super::{Answer, Ask, SaleRules};

/// A drop that does one thing at a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Model {
    state: DropState,
    available: u64,
    held: u64,
    orders: BTreeMap<(UserId, KeyDigest), Granted>,
    restocks: BTreeMap<KeyDigest, u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Granted {
    /// Missing as long as nobody was told.
    order: Option<OrderId>,
    units: u64,
    cancelled: bool,
}

impl Model {
    /// A drop that has just opened.
    pub fn new(rules: &SaleRules) -> Self {
        let (orders, restocks) = (BTreeMap::new(), BTreeMap::new());
        Self { state: DropState::Open, available: rules.units, held: 0, orders, restocks }
    }

    /// Does what is asked, and says the one right answer; an order that is granted gets the id `fresh`. An order that the
    /// answer would have to name, but that has no id, is `None`.
    pub fn apply(&mut self, rules: &SaleRules, ask: &Ask, fresh: Option<OrderId>) -> Option<Answer> {
        match ask {
            Ask::Order { user, key, units } => self.order(rules, user, *key, *units, fresh),
            Ask::Cancel { order, by } => Some(self.cancel(rules, *order, *by)),
            Ask::Read { order } => Some(match self.find(*order) {
                Some((_, granted)) => Answer::Stands { status: granted.status() },
                None => Answer::NotFound,
            }),
            Ask::Restock { key, units } => Some(self.restock(rules, *key, *units)),
            Ask::Pause => Some(self.turn(DropState::Open, DropState::Paused)),
            Ask::Resume => Some(self.turn(DropState::Paused, DropState::Open)),
            Ask::Close => {
                self.state = DropState::Ended;
                self.release();
                Some(Answer::Done)
            }
        }
    }

    fn order(
        &mut self,
        rules: &SaleRules,
        user: &UserId,
        key: KeyDigest,
        units: u64,
        fresh: Option<OrderId>,
    ) -> Option<Answer> {
        if let Some(granted) = self.orders.get(&(user.clone(), key)) {
            if granted.units != units {
                return Some(Answer::KeyReused);
            }
            return Some(Answer::Confirmed { order: granted.order?, replayed: true, status: granted.status() });
        }
        let owned: u64 = self.of_user(user).filter(|granted| !granted.cancelled).map(|granted| granted.units).sum();
        if self.state != DropState::Open {
            return Some(Answer::NotActive { state: self.state });
        }
        if owned + units > rules.limit_per_user {
            return Some(Answer::LimitReached { owned });
        }
        if self.available == 0 {
            return Some(Answer::SoldOut);
        }
        if self.available < units {
            return Some(Answer::Insufficient { available: self.available });
        }
        self.available -= units;
        self.orders.insert((user.clone(), key), Granted { order: fresh, units, cancelled: false });
        Some(Answer::Confirmed { order: fresh?, replayed: false, status: OrderStatus::Confirmed })
    }

    fn cancel(&mut self, rules: &SaleRules, order: OrderId, by: CancelledBy) -> Answer {
        let Some((owner, granted)) = self.find(order) else { return Answer::NotFound };
        let (owner, units) = (owner.clone(), granted.units);
        if !granted.cancelled {
            let cancelled = self.of_user(&owner.0).filter(|granted| granted.cancelled).count() as u64;
            let may = rules.cancellable && cancelled < rules.cancellations_per_user;
            if by == CancelledBy::Shopper && !may {
                return Answer::CancellationClosed;
            }
            self.give_back(rules, units);
            self.orders.entry(owner).and_modify(|granted| granted.cancelled = true);
        }
        Answer::Stands { status: OrderStatus::Cancelled }
    }

    /// Makes what is held available, which happens by itself.
    pub fn release(&mut self) {
        self.available += std::mem::take(&mut self.held);
    }

    /// Whether units are held.
    pub const fn holds(&self) -> bool {
        self.held > 0
    }

    const fn give_back(&mut self, rules: &SaleRules, units: u64) {
        if rules.holds && self.available == 0 && matches!(self.state, DropState::Open | DropState::Paused) {
            self.held += units;
        } else {
            self.available += units;
        }
    }

    fn restock(&mut self, rules: &SaleRules, key: KeyDigest, units: u64) -> Answer {
        match self.restocks.get(&key) {
            Some(before) if *before == units => return Answer::Done,
            Some(_) => return Answer::KeyReused,
            None => {}
        }
        if self.state == DropState::Ended {
            return Answer::InvalidTransition;
        }
        self.restocks.insert(key, units);
        self.give_back(rules, units);
        Answer::Done
    }

    fn turn(&mut self, from: DropState, to: DropState) -> Answer {
        if self.state != from && self.state != to {
            return Answer::InvalidTransition;
        }
        self.state = to;
        Answer::Done
    }

    fn find(&self, order: OrderId) -> Option<(&(UserId, KeyDigest), &Granted)> {
        self.orders.iter().find(|(_, granted)| granted.order == Some(order))
    }

    fn of_user<'a>(&'a self, user: &'a UserId) -> impl Iterator<Item = &'a Granted> {
        self.orders.iter().filter(move |((owner, _), _)| owner == user).map(|(_, granted)| granted)
    }
}

impl Granted {
    const fn status(&self) -> OrderStatus {
        if self.cancelled { OrderStatus::Cancelled } else { OrderStatus::Confirmed }
    }
}
