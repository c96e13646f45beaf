//! An order as clients see it.

use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use stampede_domain::{DropId, Money, Order, OrderId, OrderStatus, Sku, Timestamp, UserId};
use utoipa::ToSchema;

use crate::problem::Problem;
use crate::view::{MoneyDocument, NO_STORE, json};

/// A confirmed sale of units to one user.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Order)]
pub(crate) struct OrderView<'a> {
    #[schema(value_type = String)]
    id: OrderId,
    #[schema(value_type = String)]
    drop_id: &'a DropId,
    #[schema(value_type = String)]
    sku: &'a Sku,
    #[schema(value_type = String)]
    user_id: &'a UserId,
    quantity: u16,
    /// What a unit cost.
    #[schema(value_type = MoneyDocument)]
    unit_price: Money,
    /// What all of them cost.
    #[schema(value_type = MoneyDocument)]
    total_price: Money,
    /// `confirmed`, `cancelled` or `compensated`.
    #[schema(value_type = String, example = "confirmed")]
    status: OrderStatus,
    /// When it was granted, by the clock that decides.
    #[schema(value_type = String, format = DateTime)]
    placed_at: Timestamp,
}

impl<'a> From<&'a Order> for OrderView<'a> {
    fn from(order: &'a Order) -> Self {
        Self {
            id: order.id,
            drop_id: &order.drop_id,
            sku: &order.sku,
            user_id: &order.user_id,
            quantity: order.quantity,
            unit_price: order.unit_price,
            total_price: order.total_price(),
            status: order.status,
            placed_at: order.placed_at,
        }
    }
}

/// The answer with this order.
pub(super) fn answer(status: StatusCode, order: &Order) -> Result<Response, Problem> {
    json(status, NO_STORE, &OrderView::from(order))
}
