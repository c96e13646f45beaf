//! What a drop is, before and apart from what happens to it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{DropId, DropState, Malformed, Money, Shard, Sku, Stripes, Timestamp};

/// How a drop sells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// An order is placed at once: first come, first served.
    Instant,
}

impl Mode {
    /// The word for it, in requests and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Instant => "instant",
        }
    }
}

/// What an answer waits for, and so what it survives. In order of what that costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// Nothing: a 201 survives any crash of our own processes, and a crash of Redis once it is archived (normally within a
    /// second) or in Redis's file.
    #[default]
    Memory,
    /// Redis's append-only file on disk: a 201 survives a crash of Redis if the same server comes back as primary.
    Fsync,
    /// All replicas that may be promoted, each with a file of its own: a 201 survives any failover.
    Replica,
}

impl Durability {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Memory, Self::Fsync, Self::Replica];

    /// The word for it, in requests, settings, Redis and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Fsync => "fsync",
            Self::Replica => "replica",
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Durability {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        Self::ALL.into_iter().find(|known| known.as_str() == text).ok_or(Malformed { what: "durability" })
    }
}

/// When a drop sells: from `starts_at` on, up to but not including `ends_at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The first moment of the sale.
    pub starts_at: Timestamp,
    /// The first moment after the sale; none means until it is closed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ends_at: Option<Timestamp>,
}

impl Window {
    /// Whether both windows share a moment.
    pub fn overlaps(&self, other: &Self) -> bool {
        let before = |end: Option<Timestamp>, start| end.is_some_and(|end| end <= start);
        !before(self.ends_at, other.starts_at) && !before(other.ends_at, self.starts_at)
    }

    /// Whether the window is over at `now`.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.ends_at.is_some_and(|end| end <= now)
    }
}

/// A drop as it was defined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropDefinition {
    /// The drop's id.
    pub id: DropId,
    /// What it sells.
    pub sku: Sku,
    /// How it sells.
    pub mode: Mode,
    /// Units at the opening.
    pub stock_units: u32,
    /// Units that one user may hold, granted and not cancelled.
    pub limit_per_user: u32,
    /// When it sells.
    pub window: Window,
    /// The price of one unit: the product's, when the drop was defined.
    pub price: Money,
    /// For how long after its order a shopper may cancel, in seconds; 0 means never.
    pub cancellable_for_s: u32,
    /// How many orders one user may cancel in this drop; bounds what a user's record can grow to.
    pub cancellations_per_user: u32,
    /// What an answer waits for; the deployment's setting where the drop says nothing.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub durability: Option<Durability>,
    /// Where its stock lives.
    #[serde(skip_serializing_if = "is_unstriped", default)]
    pub stripes: Stripes,
    /// For how long units that come back while the drop is sold out are held before anybody can order them, in ms: what lets
    /// api processes refuse without asking Redis, by what they learned that long ago at most. 0 means not at all.
    #[serde(default)]
    pub hold_ms: u32,
    /// When it was defined.
    pub created_at: Timestamp,
}

const fn is_unstriped(stripes: &Stripes) -> bool {
    !stripes.is_striped()
}

impl DropDefinition {
    /// The most units that a drop may open with or be restocked by at once.
    pub const MAX_UNITS: u32 = 1_000_000_000;
    /// The highest limit per user, and so the most units that one order can hold.
    pub const MAX_LIMIT_PER_USER: u32 = 1_000;
    /// The longest time for cancelling: 90 days, in seconds.
    pub const MAX_CANCELLABLE_FOR_S: u32 = 7_776_000;
    /// The most cancellations per user.
    pub const MAX_CANCELLATIONS_PER_USER: u32 = 100;

    /// The units that the stripe in `shard` opens with; all of them if the drop is not striped.
    pub fn share(&self, shard: Shard) -> u32 {
        self.stripes.share(shard, self.stock_units)
    }
    /// The longest hold of units that come back, in ms.
    pub const MAX_HOLD_MS: u32 = 10_000;
}

/// What stays of a drop once it is purged, beside its definition: its last figures. Nothing is held any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// How it ended.
    pub state: DropState,
    /// Its last window.
    pub window: Window,
    /// Its last limit.
    pub limit_per_user: u32,
    /// All units that it had.
    pub total_units: u64,
    /// Those that stayed sold.
    pub sold_units: u64,
    /// Those that went to other stripes.
    #[serde(skip_serializing_if = "is_none", default)]
    pub sent_units: u64,
    /// Those that came from other stripes.
    #[serde(skip_serializing_if = "is_none", default)]
    pub received_units: u64,
}

/// Drops that are not striped say nothing of transfers.
const fn is_none(units: &u64) -> bool {
    *units == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(starts: i64, ends: Option<i64>) -> Window {
        Window { starts_at: Timestamp::from_ms(starts), ends_at: ends.map(Timestamp::from_ms) }
    }

    #[test]
    fn a_durability_is_the_same_word_everywhere() {
        for durability in Durability::ALL {
            assert_eq!(durability.as_str().parse(), Ok(durability));
            assert_eq!(serde_json::to_value(durability).expect("JSON"), durability.as_str());
        }
        assert!("disk".parse::<Durability>().is_err());
    }

    #[test]
    fn windows_that_touch_do_not_overlap() {
        assert!(!window(0, Some(10)).overlaps(&window(10, None)));
        assert!(!window(10, None).overlaps(&window(0, Some(10))));
        assert!(window(0, Some(11)).overlaps(&window(10, None)));
        assert!(window(0, None).overlaps(&window(10, None)));
        assert!(window(5, Some(6)).overlaps(&window(0, Some(10))));
    }
}
