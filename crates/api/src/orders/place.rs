//! Placing an order: the hot path.

use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use axum::body::HttpBody;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use axum::http::request::Parts;
use axum::http::{self, HeaderName, HeaderValue, StatusCode};
use bytes::Bytes;
use serde::Deserialize;
use stampede_domain::{IdempotencyKey, Money, Order, OrderId, TraceContext};
use stampede_engine::{Decision, OrderRequest, PurgedRequest, Refusal};
use utoipa::ToSchema;

use super::view::{OrderView, write_json};
use crate::auth::Caller;
use crate::extract::{IDEMPOTENCY_KEY, RequestKey, read_json};
use crate::metrics::OrderOutcome;
use crate::openapi::problems;
use crate::problem::{Code, FieldError, Problem};
use crate::reply::{Reply, Template};
use crate::state::ApiState;
use crate::view::{JSON, MoneyDocument, NO_STORE};
use crate::within::{within, within_since};

/// Says that an order was granted before, under the same key.
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// What the address of an order begins with.
const LOCATION_OF: &str = "/api/v1/orders/";

/// An order to place.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlaceOrder {
    /// The drop to buy from.
    #[schema(value_type = String, example = "air-1-launch", pattern = "^[a-z0-9-]{1,64}$")]
    drop_id: Option<String>,
    /// How many units: 1 to 1,000; 1 if it is not said.
    #[schema(value_type = Option<u16>, minimum = 1, maximum = 1_000)]
    quantity: Option<u64>,
    /// What all of them should cost. If they cost something else, the order is refused.
    #[schema(value_type = Option<MoneyDocument>)]
    expected_total: Option<Money>,
}

problems!(
    PlaceProblems: MalformedRequest, InvalidRequest, SaleNotActive, Unauthenticated, Forbidden, NotFound, LimitReached,
    SoldOut, InsufficientStock, PriceChanged, IdempotencyKeyRequired, IdempotencyKeyReused, BodyTooLarge,
    UnsupportedMediaType, OutcomeUnknown, ShardRecovering, ArchiveBehind, Unavailable,
);

/// Places an order. Sent again with the same key, it is the same order.
#[utoipa::path(
    post, path = "/orders", tag = "orders", request_body = PlaceOrder, security(("bearer" = []), ("cookie" = [])),
    params(("Idempotency-Key" = Option<String>, Header, pattern = r#"^([!#-~][!-~]{0,254}|"([!#-\[\]-~]|\\["\\]){1,255}")$"#,
        description = "1 to 255 visible ASCII characters, quoted or bare. Without one the server makes one and says it in the answer")),
    responses(
        (status = 201, description = "The order, granted now or, with `Idempotent-Replayed: true`, before", body = OrderView,
            headers(
                ("Location" = String, description = "The order's address"),
                ("Idempotency-Key" = String, description = "The key, if the server made it"),
                ("Idempotent-Replayed" = String, description = "`true` if the order was granted before, under this key"),
            )),
        PlaceProblems,
    ),
)]
pub(crate) async fn place_order(State(state): State<ApiState>, request: Request) -> Reply {
    place(&state, request).await
}

/// Decides an order and answers it.
pub(crate) async fn place<B>(state: &ApiState, request: http::Request<B>) -> Reply
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    let (parts, body) = request.into_parts();
    let key = Caller::identify(&parts, state).and_then(|caller| {
        let required = state.settings().require_idempotency_key;
        Ok((caller, RequestKey::sent_or_made(&parts.headers, required)?))
    });
    let (caller, key) = match key {
        Ok(found) => found,
        Err(problem) => return refused(state, problem),
    };
    let made = key.made_here.then(|| key.header()).flatten();
    let decided = decide(state, caller, key.key, &parts, body).await;
    let mut reply = decided.unwrap_or_else(|problem| refused(state, problem));
    if let Some(made) = made {
        reply.headers.insert(IDEMPOTENCY_KEY, made);
    }
    reply
}

/// Has the order decided within the time of a request.
async fn decide<B>(
    state: &ApiState,
    caller: Caller,
    key: IdempotencyKey,
    parts: &Parts,
    body: B,
) -> Result<Reply, Problem>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    let (started, limit) = (Instant::now(), state.settings().request_timeout);
    let preparing = within_since(started, limit, pin!(prepare(state, caller, key, parts, body))).await;
    let request = preparing.map_err(|_| Problem::Unavailable("The request took too long"))??;
    if state.filters().refuses(&request) {
        return Err(Problem::SoldOut);
    }
    let drop = Arc::clone(&request.drop);
    let left = limit.saturating_sub(started.elapsed());
    // From here on the order may be granted even if nobody waits for it any more.
    let deciding = within_since(started, limit, pin!(state.engine().place_order(request, patience(left)))).await;
    let decision = deciding.map_err(|_| Problem::OutcomeUnknown)??;
    match decision {
        Decision::Granted(order) => Ok(confirmed(state, &order, OrderOutcome::Granted)),
        Decision::Replayed(order) => Ok(confirmed(state, &order, OrderOutcome::Replayed)),
        Decision::Refused(refusal) => {
            if refusal == Refusal::SoldOut {
                state.filters().refused_by_redis(&drop.id);
            }
            Err(problem(refusal))
        }
        Decision::Purged(asked) => {
            let left = limit.saturating_sub(started.elapsed());
            let replaying = within(left, Box::pin(replay(state, &asked)).as_mut()).await;
            replaying
                .map_err(|_| Problem::Unavailable("The drop's orders are archived, and the archive took too long"))?
        }
    }
}

/// A request on a drop that was purged: it sells no more, but what was granted stays granted.
async fn replay(state: &ApiState, asked: &PurgedRequest) -> Result<Reply, Problem> {
    let PurgedRequest { drop_id, user_id, key, phase, window, .. } = asked;
    match state.archive().order_of_key(drop_id, user_id, *key).await? {
        Some((archived, fingerprint)) if fingerprint == asked.fingerprint => {
            Ok(confirmed(state, &archived.order, OrderOutcome::Replayed))
        }
        Some(_) => Err(Problem::IdempotencyKeyReused),
        None => Err(Problem::SaleNotActive { phase: *phase, window: *window }),
    }
}

/// How long a recovery or a full queue is waited for: not so long that no time is left to say how it went.
fn patience(left: Duration) -> Duration {
    left * 3 / 4
}

/// Reads the body and the drop's terms.
async fn prepare<B>(
    state: &ApiState,
    caller: Caller,
    key: IdempotencyKey,
    parts: &Parts,
    body: B,
) -> Result<OrderRequest, Problem>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    let asked: PlaceOrder = read_json(&parts.headers, body, state.settings()).await?;
    let units = units(asked.quantity, state.settings().quantity_max);
    let (drop_id, units) = match (asked.drop_id, units) {
        (Some(drop_id), Ok(units)) => (drop_id, units),
        (drop_id, units) => {
            let missing = drop_id.is_none().then(|| FieldError::new("/drop_id", "is required"));
            return Err(Problem::InvalidRequest(missing.into_iter().chain(units.err()).collect()));
        }
    };
    let drop = state.terms().find(&drop_id, state).await?;
    let trace = parts.extensions.get::<TraceContext>().copied();
    Ok(OrderRequest { drop, user_id: caller.user_id, key, units, expected_total: asked.expected_total, trace })
}

fn units(asked: Option<u64>, most: u16) -> Result<u16, FieldError> {
    let units = u16::try_from(asked.unwrap_or(1)).ok().filter(|units| (1..=most).contains(units));
    units.ok_or_else(|| FieldError::new("/quantity", format!("a number from 1 to {most}")))
}

const fn problem(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::KeyReused => Problem::IdempotencyKeyReused,
        Refusal::NotActive { phase, window } => Problem::SaleNotActive { phase, window },
        Refusal::PriceChanged { unit_price, total_price } => Problem::PriceChanged { unit_price, total_price },
        Refusal::LimitReached { limit, owned } => Problem::LimitReached { limit, owned },
        Refusal::SoldOut => Problem::SoldOut,
        Refusal::InsufficientStock { available } => Problem::InsufficientStock { available },
        Refusal::ArchiveBehind => Problem::ArchiveBehind,
    }
}

/// The headers of a confirmed order; its own address is put in.
static CONFIRMED: LazyLock<Template> = LazyLock::new(|| {
    Template::new([(CONTENT_TYPE, JSON), (CACHE_CONTROL, NO_STORE), (LOCATION, HeaderValue::from_static(LOCATION_OF))])
});

fn confirmed(state: &ApiState, order: &Order, outcome: OrderOutcome) -> Reply {
    if outcome == OrderOutcome::Granted {
        state.order_metrics().granted(order.quantity);
    } else {
        state.order_metrics().count(outcome);
    }
    let mut buffer = [0; OrderId::TEXT_BYTES];
    let id = order.id.write(&mut buffer);
    let mut reply = Reply::new(&CONFIRMED, StatusCode::CREATED, write_json(order, id).into());
    if let Ok(location) = HeaderValue::try_from([LOCATION_OF, id].concat()) {
        reply.headers.insert(LOCATION, location);
    }
    if outcome == OrderOutcome::Replayed {
        reply.headers.insert(REPLAYED, HeaderValue::from_static("true"));
    }
    reply
}

fn refused(state: &ApiState, problem: Problem) -> Reply {
    state.order_metrics().count(outcome(problem.code()));
    problem.into()
}

/// What a problem's code is counted as.
const fn outcome(code: Code) -> OrderOutcome {
    match code {
        Code::RateLimited => OrderOutcome::RateLimited,
        Code::SaleNotActive => OrderOutcome::NotActive,
        Code::LimitReached => OrderOutcome::LimitReached,
        Code::SoldOut => OrderOutcome::SoldOut,
        Code::InsufficientStock => OrderOutcome::InsufficientStock,
        Code::PriceChanged => OrderOutcome::PriceChanged,
        Code::IdempotencyKeyReused => OrderOutcome::KeyReused,
        Code::OutcomeUnknown => OrderOutcome::OutcomeUnknown,
        Code::ShardRecovering => OrderOutcome::ShardRecovering,
        Code::ArchiveBehind => OrderOutcome::ArchiveBehind,
        Code::Unavailable | Code::Internal => OrderOutcome::Unavailable,
        _ => OrderOutcome::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantity_is_one_unless_it_is_said() {
        assert_eq!(units(None, 1_000), Ok(1));
        assert_eq!(units(Some(1_000), 1_000), Ok(1_000));
        for asked in [0, 1_001, u64::MAX] {
            assert_eq!(units(Some(asked), 1_000).map_err(|error| error.pointer), Err("/quantity".into()), "{asked}");
        }
    }

    /// What is awaited inline is carried, and moved about, by every order: kilobytes of it cost more than all digests.
    #[test]
    fn an_orders_future_is_small() {
        fn bytes<A, B, F>(_: impl Fn(A, B) -> F) -> usize {
            size_of::<F>()
        }
        assert!(bytes(place_order) <= 2_048, "{} bytes", bytes(place_order));
    }

    #[test]
    fn a_wait_leaves_time_to_answer() {
        assert_eq!(patience(Duration::from_secs(10)), Duration::from_millis(7_500));
    }
}
