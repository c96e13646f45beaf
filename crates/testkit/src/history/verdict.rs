//! What is wrong with a history.

use std::fmt;

use stampede_domain::{OrderId, Shard, UserId};

use super::{Event, Operation};

/// What a check found.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Everything that is wrong; nothing if the history is linearizable in the order of its witness.
    pub violations: Vec<Violation>,
    /// Orders that clients were told of.
    pub confirmed: usize,
    /// Of those, cancelled at the end.
    pub cancelled: usize,
}

/// Something that cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A client was told of an order that the archive does not have, or has for another request.
    Lost {
        /// The order.
        order: OrderId,
        /// What the client was told.
        told: Box<Operation>,
    },
    /// Two orders were granted under one key.
    Doubled {
        /// The first.
        first: OrderId,
        /// The second.
        second: OrderId,
    },
    /// An order was granted for which there were no units.
    Oversold {
        /// The order.
        order: OrderId,
        /// How many units are granted that do not exist, from it on.
        by: u64,
    },
    /// A user holds more than the limit.
    OverLimit {
        /// The order that was too much.
        order: OrderId,
        /// The user.
        user: UserId,
        /// What the user holds.
        owned: u64,
    },
    /// A change that the drop's state did not allow.
    NotAllowed {
        /// Which change, from 1 on.
        change: usize,
        /// What happened.
        what: String,
    },
    /// Units arrived in a stripe of a drop that did not leave another one, or not so; or transfers are missing.
    Moved {
        /// The stripe that they left, or should have left.
        from: Shard,
        /// The stripe to which they went.
        to: Shard,
        /// What is wrong.
        what: String,
    },
    /// A change that nobody asked for, or whose request was refused.
    Unasked {
        /// Which change, from 1 on.
        change: usize,
        /// What happened.
        event: Box<Event>,
    },
    /// More than one answer says that it is the first about an order.
    ToldTwice {
        /// The order.
        order: OrderId,
    },
    /// There is no moment within its time at which an answer was right.
    Untrue {
        /// The operation.
        operation: Box<Operation>,
        /// Changes that came before it, as earlier answers show.
        after_changes: usize,
        /// Changes that can have come before it at most, as its return shows.
        at_most_changes: usize,
    },
}

impl Verdict {
    /// Whether nothing is wrong.
    pub fn is_right(&self) -> bool {
        self.violations.is_empty()
    }

    /// Orders that clients were told of and that are not archived.
    pub fn lost(&self) -> usize {
        self.count(|violation| matches!(violation, Violation::Lost { .. }))
    }

    /// Orders that were granted under a key that had its order already.
    pub fn doubled(&self) -> usize {
        self.count(|violation| matches!(violation, Violation::Doubled { .. }))
    }

    /// Orders that were granted without units, or beyond the limit of their user.
    pub fn oversold(&self) -> usize {
        self.count(|violation| matches!(violation, Violation::Oversold { .. } | Violation::OverLimit { .. }))
    }

    fn count(&self, is: impl Fn(&Violation) -> bool) -> usize {
        self.violations.iter().filter(|violation| is(violation)).count()
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost { order, told } => write!(f, "order {order} was confirmed and is not archived so: {told}"),
            Self::Doubled { first, second } => write!(f, "one key was granted twice: orders {first} and {second}"),
            Self::Oversold { order, by } => write!(f, "order {order} was granted without stock: {by} units too many"),
            Self::OverLimit { order, user, owned } => {
                write!(f, "order {order} was granted beyond the limit: {user} holds {owned}")
            }
            Self::NotAllowed { change, what } => write!(f, "change {change}: {what}"),
            Self::Moved { from, to, what } => write!(f, "units from {from} to {to}: {what}"),
            Self::Unasked { change, event } => write!(f, "change {change} was not asked for, or refused: {event:?}"),
            Self::ToldTwice { order } => write!(f, "two answers say that they are the first about order {order}"),
            Self::Untrue { operation, after_changes, at_most_changes } => write!(
                f,
                "an answer was never right, with {after_changes} to {at_most_changes} changes before it: {operation}"
            ),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [called, returned] = [self.called_ns, self.returned_ns].map(|ns| ns as f64 / 1e6);
        write!(f, "{called:.3} ms to {returned:.3} ms: {:?} -> {:?}", self.ask, self.answer)
    }
}
