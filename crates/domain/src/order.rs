//! Orders as their owners see them.

use serde::{Deserialize, Serialize};

use crate::{DropId, GrantState, Money, OrderId, Sku, Timestamp, UserId};

/// What has become of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// It stands.
    Confirmed,
    /// Its owner, an operator or the drop's own cancelling took it back.
    Cancelled,
    /// The archive could not keep it; its units were given back and its owner is told.
    Compensated,
}

impl From<GrantState> for OrderStatus {
    fn from(state: GrantState) -> Self {
        match state {
            GrantState::Confirmed => Self::Confirmed,
            GrantState::Cancelled => Self::Cancelled,
            GrantState::Compensated => Self::Compensated,
        }
    }
}

/// A confirmed sale of units to one user, with its status folded from the facts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Order {
    /// The order's id.
    pub id: OrderId,
    /// The drop that sold it.
    pub drop_id: DropId,
    /// The product.
    pub sku: Sku,
    /// Its owner.
    pub user_id: UserId,
    /// How many units.
    pub quantity: u16,
    /// What a unit cost.
    pub unit_price: Money,
    /// What has become of it.
    pub status: OrderStatus,
    /// The log's clock when it was granted.
    pub placed_at: Timestamp,
}

impl Order {
    /// What the whole order costs.
    pub const fn total_price(&self) -> Money {
        self.unit_price.times(self.quantity as u32)
    }
}
