//! A sale as the rules say it goes: plain data and plain decisions, one order after another.
//!
//! Written from the design, not from the scripts. Time is counted in hours; windows begin and end between two of them.

use std::collections::BTreeMap;

use stampede_domain::{CancelledBy, DropState, GrantState, OrderId, Phase};

/// What an order asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    pub drop: usize,
    pub user: usize,
    pub key: usize,
    pub units: u16,
    pub price: Price,
}

/// What the client says of the price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Price {
    Unsaid,
    Right,
    Wrong,
}

/// What is decided about an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Granted,
    /// The user's n-th order of this drop.
    Replayed(usize),
    KeyReused,
    NotActive(Phase),
    PriceChanged,
    LimitReached {
        owned: u32,
    },
    SoldOut,
    Insufficient {
        available: u64,
    },
    ArchiveBehind,
}

/// A change of a drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Start,
    Pause,
    Resume,
    CloseByClock,
    CloseByOperator,
    CallOff,
    Release,
    Restock { key: u8, units: u32 },
    Amend { starts: Option<i64>, ends: Option<Option<i64>>, limit: Option<u32> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changing {
    Made,
    Unchanged,
    InvalidTransition,
    InvalidWindow,
    KeyReused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelling {
    Done,
    Already,
    Closed,
}

/// A granted order.
#[derive(Clone, Debug)]
pub struct Held {
    pub ask: Ask,
    pub id: Option<OrderId>,
    pub state: GrantState,
    pub hour: i64,
}

#[derive(Clone, Debug)]
pub struct DropModel {
    pub state: DropState,
    /// The first hour in which it sells.
    pub starts: i64,
    /// The first hour in which it sells no more.
    pub ends: Option<i64>,
    pub limit: u32,
    /// Hours after an order's in which its owner may cancel it.
    pub cancellable_hours: i64,
    pub cancellations: usize,
    pub total: u64,
    pub available: u64,
    /// Units that came back while none was left, and the hour of the first of them.
    pub held: Option<(u64, i64)>,
    /// Whether they are held, until the next hour.
    pub holds: bool,
    pub sold: u64,
    pub start_is_due: bool,
    pub restocks: BTreeMap<u8, u32>,
    pub users: BTreeMap<usize, Vec<Held>>,
    /// How often it was changed.
    pub changes: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Model {
    pub drops: Vec<DropModel>,
    pub hour: i64,
    /// Orders that the archive does not have yet, and how many of them there may be.
    pub backlog: usize,
    pub bound: usize,
}

impl Model {
    pub fn order(&mut self, ask: Ask) -> Verdict {
        let (hour, archive_is_behind) = (self.hour, self.backlog >= self.bound);
        let drop = &mut self.drops[ask.drop];
        // Whoever sees first that a window is over writes it down.
        if drop.is_over(hour) {
            drop.end(DropState::Ended);
            drop.changes += 1;
        }
        if drop.state == DropState::Open && drop.release(hour) {
            drop.changes += 1;
        }
        let held = drop.users.entry(ask.user).or_default();
        if let Some(known) = held.iter().position(|held| held.ask.key == ask.key) {
            return if held[known].ask == ask { Verdict::Replayed(known) } else { Verdict::KeyReused };
        }
        let owned: u32 = held.iter().filter(|held| held.state == GrantState::Confirmed).map(|held| held.units()).sum();
        let phase = match drop.state {
            DropState::Ended => Phase::Ended,
            DropState::Cancelled => Phase::Cancelled,
            DropState::Paused => Phase::Paused,
            DropState::Opening => panic!("nothing is striped here"),
            DropState::Open if hour < drop.starts => Phase::Scheduled,
            DropState::Open => Phase::Live,
        };
        let units = u64::from(ask.units);
        match () {
            () if phase != Phase::Live => Verdict::NotActive(phase),
            () if ask.price == Price::Wrong => Verdict::PriceChanged,
            () if owned + u32::from(ask.units) > drop.limit => Verdict::LimitReached { owned },
            () if drop.available == 0 => Verdict::SoldOut,
            () if drop.available < units => Verdict::Insufficient { available: drop.available },
            () if archive_is_behind => Verdict::ArchiveBehind,
            () => {
                held.push(Held { ask, id: None, state: GrantState::Confirmed, hour });
                drop.available -= units;
                drop.sold += units;
                drop.changes += 1;
                self.backlog += 1;
                Verdict::Granted
            }
        }
    }

    pub fn cancel(&mut self, drop: usize, user: usize, nth: usize, by: CancelledBy) -> Cancelling {
        let hour = self.hour;
        let drop = &mut self.drops[drop];
        let held = drop.users.get_mut(&user).expect("the user has orders");
        let cancelled = held.iter().filter(|held| held.state == GrantState::Cancelled).count();
        let order = &mut held[nth];
        if order.state != GrantState::Confirmed {
            return Cancelling::Already;
        }
        let in_time = hour - order.hour < drop.cancellable_hours;
        if by == CancelledBy::Shopper && !(in_time && cancelled < drop.cancellations) {
            return Cancelling::Closed;
        }
        order.state = GrantState::Cancelled;
        let units = u64::from(order.ask.units);
        drop.sold -= units;
        drop.give_back(units, hour);
        drop.changes += 1;
        Cancelling::Done
    }

    pub fn change(&mut self, drop: usize, change: Change) -> Changing {
        let hour = self.hour;
        let drop = &mut self.drops[drop];
        let outcome = drop.outcome(change, hour);
        if outcome == Changing::Made {
            drop.make(change, hour);
            drop.changes += 1;
        }
        if matches!(drop.state, DropState::Ended | DropState::Cancelled) {
            let noticed =
                matches!(change, Change::Start | Change::CloseByClock | Change::CloseByOperator | Change::CallOff);
            drop.start_is_due &= !noticed || outcome == Changing::InvalidTransition;
        }
        outcome
    }
}

impl Held {
    pub fn units(&self) -> u32 {
        u32::from(self.ask.units)
    }
}

impl DropModel {
    /// Whether its window is over and nobody has written that down.
    pub fn is_over(&self, hour: i64) -> bool {
        matches!(self.state, DropState::Open | DropState::Paused) && self.ends.is_some_and(|ends| hour >= ends)
    }

    fn give_back(&mut self, units: u64, hour: i64) {
        if self.holds && self.available == 0 && matches!(self.state, DropState::Open | DropState::Paused) {
            self.held.get_or_insert((0, hour)).0 += units;
        } else {
            self.available += units;
        }
    }

    /// Nothing is held of a drop that is over.
    fn end(&mut self, state: DropState) {
        self.state = state;
        self.available += self.held.take().map_or(0, |(units, _)| units);
    }

    fn release_is_due(&self, hour: i64) -> bool {
        self.held.is_some_and(|(_, since)| since < hour)
    }

    /// Makes held units available if it is time; says whether it was.
    fn release(&mut self, hour: i64) -> bool {
        let due = self.release_is_due(hour);
        if due {
            self.available += self.held.take().map_or(0, |(units, _)| units);
        }
        due
    }

    fn outcome(&self, change: Change, hour: i64) -> Changing {
        use DropState::{Cancelled, Ended, Open, Opening, Paused};
        let running = matches!(self.state, Open | Paused) && !self.is_over(hour);
        match change {
            Change::Start => match self.state {
                Ended | Cancelled => Changing::Unchanged,
                Open | Paused if self.start_is_due && hour >= self.starts => Changing::Made,
                Opening | Open | Paused => Changing::Unchanged,
            },
            Change::Release if self.release_is_due(hour) => Changing::Made,
            Change::Release => Changing::Unchanged,
            Change::Pause | Change::Resume if !running => Changing::InvalidTransition,
            Change::Pause => {
                if self.state == Paused {
                    Changing::Unchanged
                } else {
                    Changing::Made
                }
            }
            Change::Resume => {
                if self.state == Open {
                    Changing::Unchanged
                } else {
                    Changing::Made
                }
            }
            Change::CloseByOperator => match self.state {
                Opening | Open | Paused => Changing::Made,
                Ended => Changing::Unchanged,
                Cancelled => Changing::InvalidTransition,
            },
            Change::CloseByClock => match self.state {
                Ended | Cancelled => Changing::Unchanged,
                Opening | Open | Paused if running => Changing::InvalidTransition,
                Opening | Open | Paused => Changing::Made,
            },
            Change::CallOff => {
                if self.state == Cancelled {
                    Changing::Unchanged
                } else {
                    Changing::Made
                }
            }
            Change::Restock { key, units } => match self.restocks.get(&key) {
                Some(known) if *known == units => Changing::Unchanged,
                Some(_) => Changing::KeyReused,
                None if running => Changing::Made,
                None => Changing::InvalidTransition,
            },
            Change::Amend { starts, ends, limit } => {
                let (starts, ends) = (starts.unwrap_or(self.starts), ends.unwrap_or(self.ends));
                let only_the_end = starts == self.starts && limit.is_none_or(|limit| limit == self.limit);
                let scheduled = self.state == Open && hour < self.starts;
                match () {
                    () if only_the_end && ends == self.ends => Changing::Unchanged,
                    () if !(scheduled || running && only_the_end) => Changing::InvalidTransition,
                    () if ends.is_some_and(|ends| ends <= starts || ends <= hour) => Changing::InvalidWindow,
                    () => Changing::Made,
                }
            }
        }
    }

    fn make(&mut self, change: Change, hour: i64) {
        match change {
            Change::Start => self.start_is_due = false,
            Change::Pause => self.state = DropState::Paused,
            Change::Resume => self.state = DropState::Open,
            Change::CloseByClock | Change::CloseByOperator => self.end(DropState::Ended),
            Change::CallOff => self.end(DropState::Cancelled),
            Change::Release => {
                self.release(hour);
            }
            Change::Restock { key, units } => {
                self.restocks.insert(key, units);
                self.total += u64::from(units);
                self.give_back(u64::from(units), hour);
            }
            Change::Amend { starts, ends, limit } => {
                self.starts = starts.unwrap_or(self.starts);
                self.ends = ends.unwrap_or(self.ends);
                self.limit = limit.unwrap_or(self.limit);
            }
        }
    }
}
