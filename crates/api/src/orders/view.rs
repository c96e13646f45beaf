//! An order as clients see it.

use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use stampede_domain::{DropId, Money, Order, OrderId, OrderStatus, Sku, Timestamp, UserId};
use utoipa::ToSchema;

use crate::minute::write_time;
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

/// An order as JSON, as its view is serialised. It is written for everyone who gets one, and by hand: most of it needs
/// neither the formatting machinery nor a search for what must be escaped.
pub(super) fn write_json(order: &Order, id: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(OTHER_BYTES + order.user_id.as_str().len());
    for part in ["{\"id\":\"", id, "\",\"drop_id\":\"", order.drop_id.as_str(), "\",\"sku\":\"", order.sku.as_str()] {
        out.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(b"\",\"user_id\":");
    append(&order.user_id.as_str(), &mut out);
    out.extend_from_slice(b",\"quantity\":");
    append(&order.quantity, &mut out);
    for (name, money) in [("unit_price", order.unit_price), ("total_price", order.total_price())] {
        for part in [",\"", name, "\":{\"amount_minor\":"] {
            out.extend_from_slice(part.as_bytes());
        }
        append(&money.amount_minor, &mut out);
        for part in [",\"currency\":\"", money.currency.as_str(), "\"}"] {
            out.extend_from_slice(part.as_bytes());
        }
    }
    out.extend_from_slice(b",\"status\":");
    append(&order.status, &mut out);
    out.extend_from_slice(b",\"placed_at\":\"");
    write_time(order.placed_at, &mut out);
    out.extend_from_slice(b"\"}");
    out
}

/// Room for all but the user's id.
const OTHER_BYTES: usize = 448;

/// Adds a value as JSON.
fn append(value: &impl Serialize, out: &mut Vec<u8>) {
    // A text, a number or a word: nothing that JSON cannot say, nor a vector take.
    let _ = serde_json::to_writer(out, value);
}

/// The answer with this order.
pub(super) fn answer(status: StatusCode, order: &Order) -> Result<Response, Problem> {
    json(status, NO_STORE, &OrderView::from(order))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use stampede_domain::{LogId, Position, Shard};

    fn order(user_id: &str, quantity: u16, amount_minor: i64, ms: i64, status: OrderStatus) -> Order {
        let position = Position { log_id: LogId { ms: ms.unsigned_abs(), sequence: 7 }, index: 3 };
        Order {
            id: OrderId::new(Shard::new(5).expect("a shard"), position, 1 << 35),
            drop_id: "air-1".parse().expect("valid"),
            sku: "AIR-1_b.2".parse().expect("valid"),
            user_id: user_id.parse().expect("valid"),
            quantity,
            unit_price: Money { amount_minor, currency: "EUR".parse().expect("valid") },
            status,
            placed_at: Timestamp::from_ms(ms),
        }
    }

    fn assert_alike(order: &Order) {
        let written = write_json(order, &order.id.to_string());
        let serialised = serde_json::to_vec(&OrderView::from(order)).expect("JSON");
        assert_eq!(String::from_utf8_lossy(&written), String::from_utf8_lossy(&serialised));
    }

    #[test]
    fn a_user_may_be_called_anything() {
        let longest = "\"".repeat(255);
        for user_id in ["auth0|5f7c", "a\"b", "a\\", "ü", "\u{2028}", "</script>", longest.as_str()] {
            for status in [OrderStatus::Confirmed, OrderStatus::Cancelled, OrderStatus::Compensated] {
                assert_alike(&order(user_id, 1, 12_900, 1_764_234_000_120, status));
            }
        }
    }

    proptest! {
        #[test]
        fn any_order_is_written_as_it_is_serialised(
            user_id in "[^\\p{Cc}]{1,60}", quantity in 0..=u16::MAX, amount: i64, ms in 0..253_370_764_799_999_i64,
        ) {
            assert_alike(&order(&user_id, quantity, amount, ms, OrderStatus::Confirmed));
        }
    }
}
