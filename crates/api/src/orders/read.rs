//! Finding one order, wherever its fact is, with the status that it has now.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use stampede_domain::{Order, OrderId, OrderStatus, UserDigest};
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
    let found = find(&state, id, &caller).await?;
    let order = settle(&state, found).await?;
    answer(StatusCode::OK, &order)
}

/// An order, and where its fact was found.
pub(super) struct Found {
    /// The order as its fact's place tells it.
    pub order: Order,
    /// Whether that is the archive, so that nothing can take it away any more.
    pub archived: bool,
}

/// The order, if the one who asks may see it. Its status is that of its fact's place, and may be an older one.
///
/// Facts move from the log into the archive, or to the dead letters and from there into the archive. An order that is in none
/// of archive, log and dead letters, looked at in this order, has either moved in between, and is in the archive then, or
/// does not exist.
pub(super) async fn find(state: &ApiState, id: OrderId, caller: &Caller) -> Result<Found, Problem> {
    if id.shard().number() >= state.engine().deployment().shards.get() {
        return Err(NO_SUCH_ORDER);
    }
    // An archive that is away must not hold up what the log knows.
    let found = match timeout(SHORTCUT_WAIT, state.archive().order(id)).await {
        Ok(Ok(Some(archived))) => Found { order: archived.order, archived: true },
        shortcut => match logged(state, id).await? {
            Some(order) => Found { order, archived: false },
            // An archive that was away may be back; if not, nobody can say that the order does not exist.
            None => {
                if let Ok(Err(error)) = shortcut {
                    tracing::debug!(%error, "the archive was away when an order was looked for");
                }
                let archived = state.archive().order(id).await?.ok_or(NO_SUCH_ORDER)?;
                Found { order: archived.order, archived: true }
            }
        },
    };
    if found.order.user_id == caller.user_id || caller.is_operator() { Ok(found) } else { Err(NO_SUCH_ORDER) }
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

/// Gives the order the status that its user's record says: until a drop is purged, that is the one that counts. What is
/// nowhere but in the hot state is told after the same wait as a grant.
async fn settle(state: &ApiState, found: Found) -> Result<Order, Problem> {
    let Found { mut order, archived: is_archived } = found;
    let (shard, user) = (order.id.shard(), UserDigest::of(&order.user_id));
    let asked = [(order.drop_id.clone(), user)];
    let read = state.engine().user_grants(shard, &asked).await.map_err(Problem::of_read)?;
    let read = read.into_iter().next();
    if read.as_ref().is_some_and(|read| read.purged) {
        return archived(state, &order).await;
    }
    let read = read.and_then(|read| Some((read.source, read.grants?)));
    let record = read.as_ref().and_then(|(source, (terms, records))| {
        let record = records.iter().find(|record| record.order_id(shard, &order.drop_id, user) == order.id)?;
        Some((source, terms.durability, OrderStatus::from(record.state)))
    });
    match record {
        Some((source, durability, status)) => {
            if !is_archived || status != order.status {
                state.engine().confirm(source, durability).await.map_err(Problem::of_read)?;
            }
            order.status = status;
        }
        // It stood in a log that lost it since, or that is not trusted any more.
        None if !is_archived => return Err(Problem::ShardRecovering),
        // A drop that is not in the hot state any more has nothing that the archive lacks.
        None if read.is_none() => {}
        None => tracing::warn!(order = %order.id, drop = %order.drop_id, "an order is missing in its user's record"),
    }
    Ok(order)
}
