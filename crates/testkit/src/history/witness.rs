//! The order in which a drop changed, as the archive's facts tell it.

use stampede_domain::{
    CancelledBy, Closing, DropId, DropState, Fact, FactBody, KeyDigest, OrderId, Shard, UserId, counts,
};

/// One change of a drop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An order was granted.
    Granted {
        /// The order.
        order: OrderId,
        /// Its owner.
        user: UserId,
        /// The digest of its key.
        key: KeyDigest,
        /// How many units.
        units: u64,
    },
    /// An order was taken back.
    Cancelled {
        /// The order.
        order: OrderId,
        /// Who did it.
        by: CancelledBy,
    },
    /// Units were added.
    Restocked {
        /// The digest of the restock's key.
        key: KeyDigest,
        /// How many.
        units: u64,
    },
    /// Units that were held when they came back can be ordered. Nobody asks for it.
    Released,
    /// The drop was stopped, let go on, or ended.
    Turned {
        /// What it became.
        to: DropState,
    },
    /// A stripe may sell: all of its drop is there. Nobody asks for it, nor for what follows.
    Activated,
    /// Units left a stripe, for another one.
    Sent {
        /// Where they go.
        to: Shard,
        /// Which transfer between the two, in this direction: counted from 1.
        number: u64,
        /// How many.
        units: u64,
    },
    /// Units came to a stripe, from another one.
    Received {
        /// Where they were.
        from: Shard,
        /// Which transfer.
        number: u64,
        /// How many.
        units: u64,
    },
}

/// The changes of one drop, or of its stripe, in the order of a shard's log: those of the shard's `facts` that count.
///
/// # Errors
/// In words, if there is a fact that the sequential model does not know.
pub fn witness(drop_id: &DropId, facts: &[Fact], closings: &[Closing]) -> Result<Vec<Event>, String> {
    let of_drop = |fact: &&Fact| fact.drop_id == *drop_id && counts(fact.epoch, fact.number, closings);
    let mut facts: Vec<&Fact> = facts.iter().filter(of_drop).collect();
    facts.sort_by_key(|fact| (fact.number, fact.position.index));
    facts.into_iter().filter_map(|fact| event(fact).transpose()).collect()
}

fn event(fact: &Fact) -> Result<Option<Event>, String> {
    Ok(Some(match &fact.body {
        FactBody::Opened { .. } | FactBody::Started => return Ok(None),
        FactBody::Granted(grant) => {
            let order = fact.order().ok_or("a grant without an order")?.id;
            Event::Granted { order, user: grant.user_id.clone(), key: grant.key, units: grant.units.into() }
        }
        FactBody::Cancelled(withdrawal) => Event::Cancelled { order: withdrawal.order_id, by: withdrawal.by },
        FactBody::Restocked { key, units } => Event::Restocked { key: *key, units: u64::from(*units) },
        FactBody::Released => Event::Released,
        FactBody::Paused => Event::Turned { to: DropState::Paused },
        FactBody::Resumed => Event::Turned { to: DropState::Open },
        FactBody::Closed { .. } => Event::Turned { to: DropState::Ended },
        FactBody::Activated => Event::Activated,
        FactBody::Sent { to, transfer, units } => Event::Sent { to: *to, number: *transfer, units: u64::from(*units) },
        FactBody::Received { from, transfer, units } => {
            Event::Received { from: *from, number: *transfer, units: u64::from(*units) }
        }
        other => {
            return Err(format!(
                "the sequential model does not know the fact `{}` of {drop}",
                other.kind(),
                drop = fact.drop_id
            ));
        }
    }))
}
