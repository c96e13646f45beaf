//! Selling: what can be asked of a drop, and what is answered.

mod cancel;
mod change;
mod grant;
mod open;
mod purge;
mod read;
#[cfg(test)]
mod untrusted;
mod withdraw;

use std::sync::Arc;

use stampede_domain::{
    ClosedBy, DropId, DropState, Durability, Fingerprint, GrantRecord, IdempotencyKey, KeyDigest, Money, Order,
    OrderId, Phase, Shard, Sku, Stripes, Timestamp, TraceContext, UserDigest, UserId, Version, Window,
};

#[cfg(test)]
pub(crate) use {
    cancel::CANCEL,
    change::CHANGES,
    open::OPEN,
    purge::PURGE,
    read::{READ, READ_UNSETTLED, READ_USERS},
    withdraw::{SCAN_USERS, WITHDRAWN},
};

pub(crate) use grant::{GrantCall, GroupCall, decode_grant_reply, index_of};
pub(crate) use open::{terms_args, time_arg};
pub(crate) use purge::figures_args;
pub use purge::{PurgeOutcome, PurgeRefusal, PurgeTerms};
pub(crate) use read::read_live_drop;
pub use withdraw::UsersPiece;

use crate::durability::Source;

/// What an order needs to know of its drop; shared by all orders of a drop, as it never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropTerms {
    /// The drop.
    pub id: DropId,
    /// What it sells.
    pub sku: Sku,
    /// What a unit costs.
    pub unit_price: Money,
    /// What an answer waits for; the deployment's setting where the drop says nothing.
    pub durability: Option<Durability>,
    /// Where its stock lives.
    pub stripes: Stripes,
}

/// A request for units.
#[derive(Clone, Debug)]
pub struct OrderRequest {
    /// The drop's terms.
    pub drop: Arc<DropTerms>,
    /// Who asks.
    pub user_id: UserId,
    /// The client's key, or one that the server made for this request.
    pub key: IdempotencyKey,
    /// How many units: 1 to 1,000.
    pub units: u16,
    /// What the client expects to pay for all of them.
    pub expected_total: Option<Money>,
    /// The span that asks for it, if the request is traced.
    pub trace: Option<TraceContext>,
}

/// What was decided about an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is granted, now. Final.
    Granted(Order),
    /// It was granted before, under the same key; this is the order as it stands now.
    Replayed(Order),
    /// It is not granted.
    Refused(Refusal),
    /// The drop was purged: it grants nothing any more, and whether this was granted before the archive knows.
    Purged(Box<PurgedRequest>),
}

/// A request on a drop that was purged, as the archive is to be asked about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurgedRequest {
    /// The drop.
    pub drop_id: DropId,
    /// Who asks.
    pub user_id: UserId,
    /// The digest of the request's key.
    pub key: KeyDigest,
    /// The fingerprint of the request.
    pub fingerprint: Fingerprint,
    /// How the drop ended.
    pub phase: Phase,
    /// Its window.
    pub window: Window,
}

/// Why an order is not granted. Not kept: the same key may be granted later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The key was used for another request by this user on this drop.
    KeyReused,
    /// The drop does not sell in this phase.
    NotActive {
        /// The phase.
        phase: Phase,
        /// The window.
        window: Window,
    },
    /// The order costs something else than the client expects.
    PriceChanged {
        /// What a unit costs.
        unit_price: Money,
        /// What the order would cost.
        total_price: Money,
    },
    /// The user would hold more units than the limit.
    LimitReached {
        /// The limit.
        limit: u32,
        /// What the user holds already.
        owned: u32,
    },
    /// No unit is left.
    SoldOut,
    /// Fewer units are left than were asked for.
    InsufficientStock {
        /// How many are left.
        available: u64,
    },
    /// The log is at its bound: the archive must catch up first.
    ArchiveBehind,
}

/// A drop as it stands in Redis: the whole of it, or one of its stripes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveDrop {
    /// The drop.
    pub id: DropId,
    /// What it sells.
    pub sku: Sku,
    /// What has been decided about it; see [`LiveDrop::phase`].
    pub state: DropState,
    /// When it sells.
    pub window: Window,
    /// Units that one user may hold.
    pub limit_per_user: u32,
    /// What a unit costs.
    pub unit_price: Money,
    /// For how long after its order a shopper may cancel, in seconds.
    pub cancellable_for_s: u32,
    /// How many orders one user may cancel.
    pub cancellations_per_user: u32,
    /// All units: `available + held + sold`.
    pub total_units: u64,
    /// Units that can be ordered.
    pub available_units: u64,
    /// Units that nobody can order yet: they came back a moment ago to the drop that was sold out.
    pub held_units: u64,
    /// Units that are sold.
    pub sold_units: u64,
    /// How often it has changed.
    pub version: Version,
    /// Whether it was purged: its users' records are gone, and the archive alone knows its orders.
    pub purged: bool,
    /// What an answer waits for; the deployment's setting where the drop says nothing.
    pub durability: Option<Durability>,
    /// Where its stock lives.
    pub stripes: Stripes,
    /// Units that went to other stripes. Of a whole drop, what they are more than those that arrived is on its way, and
    /// counts among the available ones.
    pub sent_units: u64,
    /// Units that came from other stripes.
    pub received_units: u64,
    /// For how long units that come back while it is sold out are held, in ms; 0 if they are not.
    pub hold_ms: u32,
    /// The shard's clock when this was read, or when the change took place.
    pub as_of: Timestamp,
}

impl LiveDrop {
    /// The phase at `now`.
    pub fn phase_at(&self, now: Timestamp) -> Phase {
        Phase::of(self.state, &self.window, self.available_units, now)
    }

    /// The phase by the shard's clock at the reading.
    pub fn phase(&self) -> Phase {
        self.phase_at(self.as_of)
    }

    /// What orders need to know of it.
    pub fn terms(&self) -> DropTerms {
        DropTerms {
            id: self.id.clone(),
            sku: self.sku.clone(),
            unit_price: self.unit_price,
            durability: self.durability,
            stripes: self.stripes.clone(),
        }
    }

    /// Takes in another stripe of the same drop. The state, window and limit of the home are those of the drop; its units are
    /// what the stripes have and what is on its way between them, whenever each was read, as a stripe's own figures say what
    /// it sent and received.
    pub(crate) fn join(&mut self, stripe: &Self) {
        self.total_units += stripe.total_units;
        self.available_units += stripe.available_units;
        self.held_units += stripe.held_units;
        self.sold_units += stripe.sold_units;
        self.sent_units += stripe.sent_units;
        self.received_units += stripe.received_units;
        // Rises with each change of each stripe, as theirs do.
        self.version = Version(self.version.0.saturating_add(stripe.version.0));
        self.purged |= stripe.purged;
    }

    /// Ends the joining of stripes.
    pub(crate) fn count_in_transit(&mut self) {
        self.total_units = (self.total_units + self.sent_units).saturating_sub(self.received_units);
        self.available_units = (self.available_units + self.sent_units).saturating_sub(self.received_units);
    }
}

/// Some drops of one shard, read at one moment.
#[derive(Clone, Debug)]
pub struct ShardReading {
    /// The shard's clock at the reading.
    pub as_of: Timestamp,
    /// The drops that were asked for, in that order; `None` where the shard has no such drop.
    pub drops: Vec<Option<LiveDrop>>,
}

/// What opening a drop did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// It was put into Redis.
    Opened(LiveDrop),
    /// It was there already.
    AlreadyOpen(LiveDrop),
}

/// A change that an operator or the clock makes to a drop. Each may be repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DropChange {
    /// Its window began; for the timekeeper, so that the drop's version tells of it.
    Start,
    /// Stops it for a while: from scheduled, live or sold out.
    Pause,
    /// Lets it go on: from paused.
    Resume,
    /// Ends it for good: from anything but cancelled. By the clock only if its window is over.
    Close(ClosedBy),
    /// Calls it off: from anything.
    CallOff,
    /// Changes the window and the limit while scheduled, or only the end while live, sold out or paused.
    Amend {
        /// The new start; only while scheduled.
        starts_at: Option<Timestamp>,
        /// The new end; `Some(None)` takes the end away.
        ends_at: Option<Option<Timestamp>>,
        /// The new limit; only while scheduled.
        limit_per_user: Option<u32>,
    },
    /// Makes held units available that came back to a sold-out drop and were held for long enough; for the timekeeper, as
    /// orders do it too.
    Release,
    /// Adds units, once per key: while scheduled, live, sold out or paused.
    Restock {
        /// The digest of the restock's idempotency key.
        key: KeyDigest,
        /// How many units.
        units: u32,
    },
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DropChangeOutcome {
    /// It was made.
    Changed(LiveDrop),
    /// It had been made before.
    Unchanged(LiveDrop),
    /// It cannot be made from where the drop is.
    InvalidTransition(LiveDrop),
    /// The restock's key was used with other units.
    KeyReused,
    /// The window would end before it starts.
    InvalidWindow(LiveDrop),
    /// The drop would have more units than [`stampede_domain::DropDefinition::MAX_UNITS`], or more restocks than are kept.
    TooMany,
}

/// Which order, and whose: as its fact says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderRef {
    /// The order.
    pub id: OrderId,
    /// Its drop.
    pub drop_id: DropId,
    /// Its owner.
    pub user_id: UserId,
    /// How many units it is for.
    pub units: u16,
}

impl From<&Order> for OrderRef {
    fn from(order: &Order) -> Self {
        Self { id: order.id, drop_id: order.drop_id.clone(), user_id: order.user_id.clone(), units: order.quantity }
    }
}

/// What became of cancelling an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancellation {
    /// It is cancelled, now.
    Cancelled,
    /// It was cancelled or compensated before: its state.
    Already(stampede_domain::GrantState),
    /// Its owner may not cancel it any more: too late, or too many cancellations.
    Closed,
    /// Its drop was purged: the archive knows what became of it, and nothing changes that any more.
    Purged,
    /// The user's record does not know it.
    Unknown,
}

/// What a drop's hot state keeps of one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserGrants {
    /// The drop.
    pub drop_id: DropId,
    /// The shard of these grants.
    pub shard: Shard,
    /// The user.
    pub user: UserDigest,
    /// Whether the drop was purged: then there are no grants here, and the archive has all of them.
    pub purged: bool,
    /// The drop's terms and the grants, oldest first; `None` if Redis does not have the drop.
    pub grants: Option<(DropTerms, Vec<GrantRecord>)>,
    /// What this was read from; see [`crate::Engine::confirm`].
    pub source: Source,
}

/// An order of this user, made from its record in Redis.
pub(crate) fn order_from_record(
    shard: Shard,
    terms: &DropTerms,
    user: UserDigest,
    user_id: &UserId,
    record: &GrantRecord,
) -> Order {
    Order {
        id: record.order_id(shard, &terms.id, user),
        drop_id: terms.id.clone(),
        sku: terms.sku.clone(),
        user_id: user_id.clone(),
        quantity: record.units,
        unit_price: terms.unit_price,
        status: record.state.into(),
        placed_at: record.position.log_id.time(),
    }
}
