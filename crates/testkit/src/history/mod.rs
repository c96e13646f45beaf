//! What clients asked and were told, with times, and whether all of it can be true.
//!
//! A history is linearizable if each operation can be given one moment between its call and its return, such that a sale that
//! does one thing at a time, in the order of those moments, gives exactly these answers. Two checkers decide that, and share
//! no code: [`check`] goes by the order of the archive's facts and takes n·log n; [`is_linearizable`] knows nothing but the
//! answers, tries every order, and is for short histories. Neither knows the engine or its scripts.

mod check;
mod exhaustive;
#[cfg(feature = "app")]
mod http;
mod index;
mod model;
mod record;
mod replay;
mod stripes;
mod timeline;
mod times;
mod verdict;
mod witness;

use stampede_domain::{CancelledBy, DropState, KeyDigest, OrderId, OrderStatus, UserId};

pub use check::{check, check_striped};
pub use exhaustive::{MAX_OPERATIONS, is_linearizable};
pub use model::Model;
pub use record::{Call, History, Recorder};
pub use stripes::StripedSale;
pub use verdict::{Verdict, Violation};
pub use witness::{Event, witness};

/// The terms of a drop, as far as answers depend on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaleRules {
    /// Units at the opening.
    pub units: u64,
    /// Units that one user may hold.
    pub limit_per_user: u64,
    /// Whether shoppers may cancel at all. A time that ends within a history is not modelled.
    pub cancellable: bool,
    /// How many orders one shopper may cancel.
    pub cancellations_per_user: u64,
    /// Whether one answer at most may say of an order that it is new. An API whose own call was lost cannot always tell
    /// what that call granted from what was granted before.
    pub new_once: bool,
    /// Whether units that come back while none is left are held for a time before anybody can order them.
    pub holds: bool,
    /// For how long, in ns, API processes may refuse by what they learned of a sold-out drop; 0 if they always ask. For as
    /// long after such a drop was stopped or ended an order may still be told that it is sold out.
    pub filter_age_ns: u64,
}

/// What a client asked of one drop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Units, under a key.
    Order {
        /// Who asks.
        user: UserId,
        /// The digest of user and key.
        key: KeyDigest,
        /// How many.
        units: u64,
    },
    /// To take an order back.
    Cancel {
        /// The order.
        order: OrderId,
        /// Its owner or an operator.
        by: CancelledBy,
    },
    /// To see an order.
    Read {
        /// The order.
        order: OrderId,
    },
    /// To add units, under a key.
    Restock {
        /// The digest of drop and key.
        key: KeyDigest,
        /// How many.
        units: u64,
    },
    /// To stop the drop for a while.
    Pause,
    /// To let it go on.
    Resume,
    /// To end it.
    Close,
}

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The order is granted, now or before.
    Confirmed {
        /// The order.
        order: OrderId,
        /// Whether the answer says that it was granted before.
        replayed: bool,
        /// How the order stands.
        status: OrderStatus,
    },
    /// The user used the key for another request.
    KeyReused,
    /// The drop does not sell.
    NotActive {
        /// Its state.
        state: DropState,
    },
    /// The user would hold too many units.
    LimitReached {
        /// What the user holds.
        owned: u64,
    },
    /// No unit is left.
    SoldOut,
    /// Fewer units are left than were asked for.
    Insufficient {
        /// How many are left.
        available: u64,
    },
    /// The order, as it stands after what was asked.
    Stands {
        /// How it stands.
        status: OrderStatus,
    },
    /// There is no such order.
    NotFound,
    /// Its owner may not take it back.
    CancellationClosed,
    /// The drop is as the operator wants it, now or before.
    Done,
    /// The drop cannot become what the operator wants.
    InvalidTransition,
    /// Nothing happened, and nothing will: for a reason that passes.
    NoEffect,
    /// It may have happened, may happen yet, or never.
    Unknown,
}

/// One request and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// When it was sent, in nanoseconds of one monotonic clock.
    pub called_ns: u64,
    /// When its answer was there, or when nobody waited for one any more.
    pub returned_ns: u64,
    /// What was asked.
    pub ask: Ask,
    /// What was answered.
    pub answer: Answer,
}
