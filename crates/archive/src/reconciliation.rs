//! What reconciliations leave in the archive.

use serde::{Deserialize, Serialize};
use stampede_domain::{DropId, Epoch, OrderId, Shard, Stock, Timestamp};

/// A drop's stock in one shard, folded from its facts up to an entry of that shard's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StockRecord {
    /// The drop.
    pub drop_id: DropId,
    /// The shard.
    pub shard: Shard,
    /// The epoch of the shard then.
    pub epoch: Epoch,
    /// The number of the last entry that is in it.
    pub number: u64,
    /// The stock.
    pub stock: Stock,
}

/// What comparing a drop in Redis with its facts found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reconciliation {
    /// The drop.
    pub drop_id: DropId,
    /// Which stripe of it; none if it is not striped.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stripe: Option<Shard>,
    /// When it was done, by the clock of whoever did it.
    pub reconciled_at: Timestamp,
    /// The epoch of the shard at the cut.
    pub epoch: Epoch,
    /// The number of the last entry at the cut.
    pub number: u64,
    /// Whether all facts were folded, from the first one on, or only those since the reconciliation before.
    pub whole: bool,
    /// What Redis held; none if it did not have the drop.
    pub redis: Option<StockFigures>,
    /// What the facts make of it.
    pub archive: StockFigures,
    /// Users whose records were compared with their orders.
    pub users_checked: u64,
    /// Those orders.
    pub orders_checked: u64,
    /// What differs; nothing if the drop is sound.
    pub drift: Vec<Drift>,
}

/// The units of a drop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockFigures {
    /// All of them.
    pub total: i64,
    /// Those that can be ordered.
    pub available: i64,
    /// Those that nobody could order yet: they had just come back.
    pub held: i64,
    /// Those that are sold.
    pub sold: i64,
}

/// A way in which Redis and the facts can differ, or contradict themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftKind {
    /// In Redis the parts of the stock do not add up to the whole.
    Sum,
    /// Redis has another total than the facts.
    Total,
    /// Other units that can be ordered.
    Available,
    /// Other units that are held.
    Held,
    /// Other units that are sold.
    Sold,
    /// Other units that went to, or came from, other stripes; or more that came than went.
    Transit,
    /// Another state.
    State,
    /// Another window.
    Window,
    /// Another limit per user.
    Limit,
    /// Redis does not have a drop that is open.
    Drop,
    /// Users' records hold orders that are nowhere else.
    Missing,
    /// Users' records and facts say different things of an order.
    Altered,
    /// Facts grant orders that no user's record holds.
    Unrecorded,
    /// Users hold more units than the limit.
    Limits,
    /// One key of one user granted more than once.
    Keys,
    /// The window that the archive keeps for the drop is not the one by which Redis sells.
    KeptWindow,
}

/// What differs, by kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// What it is.
    pub kind: DriftKind,
    /// How many units are concerned; none for what is not counted in units.
    pub units: u64,
    /// How often it was met.
    pub count: u64,
    /// Some of the orders that are concerned.
    pub orders: Vec<OrderId>,
}

impl Reconciliation {
    /// Whether nothing differs.
    pub const fn is_clean(&self) -> bool {
        self.drift.is_empty()
    }
}

impl From<&Stock> for StockFigures {
    fn from(stock: &Stock) -> Self {
        Self {
            total: stock.total_units,
            available: stock.available_units,
            held: stock.held_units,
            sold: stock.sold_units,
        }
    }
}

impl DriftKind {
    /// All kinds.
    pub const ALL: [Self; 16] = [
        Self::Sum,
        Self::Total,
        Self::Available,
        Self::Held,
        Self::Sold,
        Self::Transit,
        Self::State,
        Self::Window,
        Self::Limit,
        Self::Drop,
        Self::Missing,
        Self::Altered,
        Self::Unrecorded,
        Self::Limits,
        Self::Keys,
        Self::KeptWindow,
    ];

    /// The word for it, in records, in metrics and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Total => "total",
            Self::Available => "available",
            Self::Held => "held",
            Self::Sold => "sold",
            Self::Transit => "transit",
            Self::State => "state",
            Self::Window => "window",
            Self::Limit => "limit",
            Self::Drop => "drop",
            Self::Missing => "missing",
            Self::Altered => "altered",
            Self::Unrecorded => "unrecorded",
            Self::Limits => "limits",
            Self::Keys => "keys",
            Self::KeptWindow => "kept_window",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_stored_under_its_word() {
        for kind in DriftKind::ALL {
            assert_eq!(serde_json::to_value(kind).expect("written"), kind.as_str());
        }
    }
}
