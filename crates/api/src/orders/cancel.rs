//! Taking an order back.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use stampede_domain::{CancelledBy, GrantState, Order, OrderId, OrderStatus};
use stampede_engine::{Cancellation, OrderRef};

use super::read::{archived, find};
use super::view::{OrderView, answer};
use crate::auth::Caller;
use crate::extract::PathId;
use crate::openapi::problems;
use crate::problem::Problem;
use crate::state::ApiState;

problems!(
    CancelProblems: Unauthenticated, Forbidden, NotFound, CancellationClosed, OutcomeUnknown, ShardRecovering, Unavailable,
);

/// Cancels an order: its owner while the drop allows it, an operator at any time.
#[utoipa::path(
    delete, path = "/orders/{id}", tag = "orders", params(("id" = String, Path, description = "The order")),
    security(("bearer" = []), ("cookie" = [])),
    responses((status = 200, description = "The order, cancelled", body = OrderView), CancelProblems),
)]
pub(crate) async fn cancel_order(
    caller: Caller,
    State(state): State<ApiState>,
    PathId(id): PathId<OrderId>,
) -> Result<Response, Problem> {
    let mut order = find(&state, id, &caller).await?.order;
    let by = if caller.is_operator() { CancelledBy::Operator } else { CancelledBy::Shopper };
    let asked = OrderRef::from(&order);
    order.status = match state.engine().cancel_order(&asked, by).await? {
        Cancellation::Cancelled | Cancellation::Already(GrantState::Cancelled) => OrderStatus::Cancelled,
        Cancellation::Already(GrantState::Compensated) => OrderStatus::Compensated,
        Cancellation::Purged => {
            return match archived(&state, &order).await?.status {
                OrderStatus::Confirmed => Err(Problem::CancellationClosed),
                status => answer(StatusCode::OK, &Order { status, ..order }),
            };
        }
        Cancellation::Closed => return Err(Problem::CancellationClosed),
        Cancellation::Already(GrantState::Confirmed) | Cancellation::Unknown => {
            tracing::warn!(order = %id, drop = %order.drop_id, "an order is missing in its user's record");
            return Err(Problem::ShardRecovering);
        }
    };
    answer(StatusCode::OK, &order)
}
