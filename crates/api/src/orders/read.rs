//! Finding one order, wherever its fact is, with the status that it has now.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use stampede_domain::{Order, OrderId, UserDigest};
use stampede_engine::UserGrants;
use tokio::time::timeout;

use super::view::{OrderView, answer};
use crate::auth::Caller;
use crate::extract::PathId;
use crate::openapi::problems;
use crate::problem::Problem;
use crate::state::ApiState;

pub(super) const NO_SUCH_ORDER: Problem = Problem::NotFound("There is no such order.");

/// How long the archive is waited for while the order may be elsewhere.
const SHORTCUT_WAIT: Duration = Duration::from_secs(1);

problems!(GetProblems: Unauthenticated, NotFound, ShardRecovering, Unavailable);

/// Shows an order to its owner or an operator, from the moment when it is confirmed.
#[utoipa::path(
    get, path = "/orders/{id}", tag = "orders", params(("id" = String, Path, description = "The order")),
    security(("bearer" = []), ("cookie" = [])),
    responses((status = 200, description = "The order", body = OrderView), GetProblems),
)]
pub(crate) async fn get_order(
    caller: Caller,
    State(state): State<ApiState>,
    PathId(id): PathId<OrderId>,
) -> Result<Response, Problem> {
    let mut order = find(&state, id, &caller).await?;
    settle(&state, &mut order).await?;
    answer(StatusCode::OK, &order)
}

/// The order, if the one who asks may see it. Its status is that of its fact's place, and may be an older one.
///
/// Facts move from the log into the archive, or to the dead letters and from there into the archive. An order that is in none
/// of archive, log and dead letters, looked at in this order, has either moved in between, and is in the archive then, or
/// does not exist.
pub(super) async fn find(state: &ApiState, id: OrderId, caller: &Caller) -> Result<Order, Problem> {
    if id.shard().number() >= state.engine().deployment().shards.get() {
        return Err(NO_SUCH_ORDER);
    }
    // An archive that is away must not hold up what the log knows.
    let order = match timeout(SHORTCUT_WAIT, state.archive().order(id)).await {
        Ok(Ok(Some(archived))) => archived.order,
        shortcut => match logged(state, id).await? {
            Some(order) => order,
            // An archive that was away may be back; if not, nobody can say that the order does not exist.
            None => {
                if let Ok(Err(error)) = shortcut {
                    tracing::debug!(%error, "the archive was away when an order was looked for");
                }
                state.archive().order(id).await?.ok_or(NO_SUCH_ORDER)?.order
            }
        },
    };
    if order.user_id == caller.user_id || caller.is_operator() { Ok(order) } else { Err(NO_SUCH_ORDER) }
}

/// The order, if its fact is in the log or among the dead letters.
async fn logged(state: &ApiState, id: OrderId) -> Result<Option<Order>, Problem> {
    let logged = state.engine().logged_order(id).await.map_err(Problem::of_read)?;
    let fact = match logged {
        Some(fact) => Some(fact),
        None => state.engine().dead_order(id).await.map_err(Problem::of_read)?,
    };
    Ok(fact.and_then(|fact| fact.order()).filter(|order| order.id == id))
}

/// The order of a drop that was purged, as the archive has it now: it had all of it by then, but perhaps not yet when the
/// order was looked for.
pub(super) async fn archived(state: &ApiState, order: &Order) -> Result<Order, Problem> {
    Ok(state.archive().order(order.id).await?.ok_or(NO_SUCH_ORDER)?.order)
}

/// Gives the order the status that its user's record says: until a drop is purged, that is the one that counts.
async fn settle(state: &ApiState, order: &mut Order) -> Result<(), Problem> {
    let (shard, user) = (order.id.shard(), UserDigest::of(&order.user_id));
    let asked = [(order.drop_id.clone(), user)];
    let found = state.engine().user_grants(shard, &asked).await.map_err(Problem::of_read)?;
    // A drop that is not in the hot state any more has nothing that the archive lacks.
    let Some(UserGrants { purged, grants: Some((_, records)), .. }) = found.into_iter().next() else { return Ok(()) };
    if purged {
        *order = archived(state, order).await?;
        return Ok(());
    }
    match records.iter().find(|record| record.order_id(shard, &order.drop_id, user) == order.id) {
        Some(record) => order.status = record.state.into(),
        None => tracing::warn!(order = %order.id, drop = %order.drop_id, "an order is missing in its user's record"),
    }
    Ok(())
}
