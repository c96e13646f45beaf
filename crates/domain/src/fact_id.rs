//! The archive's key of a fact.

use std::fmt;

use crate::{Epoch, OrderId, Position, Shard};

/// What makes a fact the same fact, however often it is delivered: for an order its id, for anything else shard, epoch,
/// log id and index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FactId {
    /// A granted order.
    Order(OrderId),
    /// Any other fact.
    Event {
        /// The shard.
        shard: Shard,
        /// The epoch.
        epoch: Epoch,
        /// The entry and the index in it.
        position: Position,
    },
}

impl fmt::Display for FactId {
    /// An order's UUID, or `s03-e2-1764234000120-5.0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Order(id) => id.fmt(f),
            Self::Event { shard, epoch, position } => write!(f, "{shard}-e{epoch}-{position}"),
        }
    }
}
