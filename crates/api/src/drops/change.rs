//! What an operator does to a drop that exists.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use stampede_domain::{ClosedBy, DropDefinition, DropId, KeyDigest};
use stampede_engine::{DropChange, DropChangeOutcome};
use tokio::time::timeout;
use utoipa::ToSchema;

use crate::auth::Operator;
use crate::extract::{PathId, RequestKey, read_json};
use crate::openapi::problems;
use crate::problem::Problem;
use crate::state::ApiState;
use crate::view::{DropView, NO_STORE, json};

/// How long giving up a window is waited for.
const WINDOW_WAIT: Duration = Duration::from_secs(1);

problems!(
    ChangeProblems: Unauthenticated, Forbidden, NotFound, InvalidTransition, OutcomeUnknown, ShardRecovering, Unavailable,
);
problems!(
    RestockProblems: MalformedRequest, InvalidRequest, IdempotencyKeyRequired, IdempotencyKeyReused, Unauthenticated,
    Forbidden, NotFound, InvalidTransition, BodyTooLarge, UnsupportedMediaType, OutcomeUnknown, ShardRecovering, Unavailable,
);

/// Stops a drop for a while.
#[utoipa::path(
    post, path = "/drops/{id}/pause", tag = "drops", params(("id" = String, Path, description = "The drop")),
    security(("bearer" = []), ("cookie" = [])),
    responses((status = 200, description = "The drop, paused", body = DropView), ChangeProblems),
)]
pub(crate) async fn pause_drop(
    _operator: Operator,
    State(state): State<ApiState>,
    PathId(id): PathId<DropId>,
) -> Result<Response, Problem> {
    change(&state, &id, DropChange::Pause).await
}

/// Lets a paused drop go on.
#[utoipa::path(
    post, path = "/drops/{id}/resume", tag = "drops", params(("id" = String, Path, description = "The drop")),
    security(("bearer" = []), ("cookie" = [])),
    responses((status = 200, description = "The drop, going on", body = DropView), ChangeProblems),
)]
pub(crate) async fn resume_drop(
    _operator: Operator,
    State(state): State<ApiState>,
    PathId(id): PathId<DropId>,
) -> Result<Response, Problem> {
    change(&state, &id, DropChange::Resume).await
}

/// Ends a drop for good.
#[utoipa::path(
    post, path = "/drops/{id}/close", tag = "drops", params(("id" = String, Path, description = "The drop")),
    security(("bearer" = []), ("cookie" = [])),
    responses((status = 200, description = "The drop, ended", body = DropView), ChangeProblems),
)]
pub(crate) async fn close_drop(
    _operator: Operator,
    State(state): State<ApiState>,
    PathId(id): PathId<DropId>,
) -> Result<Response, Problem> {
    change(&state, &id, DropChange::Close(ClosedBy::Operator)).await
}

/// Calls a drop off. It grants nothing from now on; its orders are cancelled one after another.
#[utoipa::path(
    post, path = "/drops/{id}/cancel", tag = "drops", params(("id" = String, Path, description = "The drop")),
    security(("bearer" = []), ("cookie" = [])),
    responses((status = 200, description = "The drop, cancelled", body = DropView), ChangeProblems),
)]
pub(crate) async fn cancel_drop(
    _operator: Operator,
    State(state): State<ApiState>,
    PathId(id): PathId<DropId>,
) -> Result<Response, Problem> {
    change(&state, &id, DropChange::CallOff).await
}

/// Units to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Restock {
    /// 1 to 1,000,000,000.
    #[schema(value_type = u32, minimum = 1, maximum = 1_000_000_000)]
    units: Option<u64>,
}

/// Adds units to a drop, once for each key.
#[utoipa::path(
    post, path = "/drops/{id}/restock", tag = "drops", request_body = Restock,
    params(
        ("id" = String, Path, description = "The drop"),
        ("Idempotency-Key" = String, Header, pattern = r#"^([!#-~][!-~]{0,254}|"([!#-\[\]-~]|\\["\\]){1,255}")$"#, description = "1 to 255 visible ASCII characters, quoted or bare"),
    ),
    security(("bearer" = []), ("cookie" = [])),
    responses((status = 200, description = "The drop with its units", body = DropView), RestockProblems),
)]
pub(crate) async fn restock_drop(
    _operator: Operator,
    State(state): State<ApiState>,
    PathId(id): PathId<DropId>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body): (_, Body) = request.into_parts();
    let key = RequestKey::sent(&parts.headers)?.ok_or(Problem::IdempotencyKeyRequired)?;
    let asked: Restock = read_json(&parts.headers, body, state.settings()).await?;
    let units = asked.units.ok_or_else(|| Problem::field("/units", "is required"))?;
    let most = DropDefinition::MAX_UNITS;
    let units = u32::try_from(units).ok().filter(|units| (1..=most).contains(units));
    let units = units.ok_or_else(|| Problem::field("/units", format!("a number from 1 to {most}")))?;
    change(&state, &id, DropChange::Restock { key: KeyDigest::of_drop(&id, &key), units }).await
}

/// Makes the change and shows the drop.
async fn change(state: &ApiState, id: &DropId, change: DropChange) -> Result<Response, Problem> {
    let known = state.snapshots().known(id).await?;
    let live = match state.engine().change_drop(id, &change).await? {
        DropChangeOutcome::Changed(live) | DropChangeOutcome::Unchanged(live) => live,
        DropChangeOutcome::InvalidTransition(live) => {
            let word = verb(&change);
            let phase = if live.purged { "purged" } else { live.phase().as_str() };
            return Err(Problem::InvalidTransition(format!("A drop that is {phase} cannot be {word}.")));
        }
        DropChangeOutcome::KeyReused => return Err(Problem::IdempotencyKeyReused),
        DropChangeOutcome::TooMany => {
            return Err(Problem::field(
                "/units",
                "the drop would have more units, or more restocks, than a drop can have",
            ));
        }
        DropChangeOutcome::InvalidWindow(_) => return Err(Problem::Internal),
    };
    state.filters().observe(&live);
    state.snapshots().observe(live.clone());
    if matches!(change, DropChange::Close(_) | DropChange::CallOff) {
        give_up_window(state, &known.definition).await;
    }
    json(StatusCode::OK, NO_STORE, &DropView::new(state.engine(), &known.definition, &live, live.phase()))
}

/// Another drop of the sku may have the window. If this fails, that drop's creation gives it up; so an archive that is away
/// does not hold up the answer.
async fn give_up_window(state: &ApiState, definition: &DropDefinition) {
    let released = state.archive().release_window(&definition.sku, &definition.id);
    match timeout(WINDOW_WAIT, released).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::debug!(drop = %definition.id, %error, "the window of a drop that is over is still kept");
        }
        Err(_) => tracing::debug!(drop = %definition.id, "the window of a drop that is over may still be kept"),
    }
}

const fn verb(change: &DropChange) -> &'static str {
    match change {
        DropChange::Start => "started",
        DropChange::Pause => "paused",
        DropChange::Resume => "resumed",
        DropChange::Close(_) => "closed",
        DropChange::CallOff => "cancelled",
        DropChange::Amend { .. } => "changed",
        DropChange::Restock { .. } => "restocked",
        DropChange::Release => "released",
    }
}
