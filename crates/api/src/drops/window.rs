//! Changing a drop's window and limit.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Deserializer};
use stampede_archive::WindowChange;
use stampede_domain::{DropDefinition, DropId, Timestamp, Window};
use stampede_engine::{DropChange, DropChangeOutcome, EngineError, LiveDrop};
use utoipa::ToSchema;

use super::overlap::{ATTEMPTS, give_up_windows};
use crate::auth::Operator;
use crate::extract::{ApiJson, PathId};
use crate::openapi::problems;
use crate::problem::{FieldError, Problem};
use crate::state::ApiState;
use crate::view::{DropView, NO_STORE, json};

/// What to change; what is left out stays.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AmendDrop {
    /// Only while scheduled.
    #[schema(value_type = Option<String>, format = DateTime)]
    starts_at: Option<Timestamp>,
    /// While scheduled, live, sold out or paused; null takes the end away.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<String>, format = DateTime)]
    ends_at: Option<Option<Timestamp>>,
    /// Only while scheduled: 1 to 1,000.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1_000)]
    limit_per_user: Option<u64>,
}

/// Tells a null from a field that is not there.
fn said<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl AmendDrop {
    fn limit(&self) -> Result<Option<u32>, Problem> {
        let most = DropDefinition::MAX_LIMIT_PER_USER;
        let limit = |limit: u64| u32::try_from(limit).ok().filter(|limit| (1..=most).contains(limit));
        let wrong = || Problem::field("/limit_per_user", format!("a number from 1 to {most}"));
        self.limit_per_user.map(|asked| limit(asked).ok_or_else(wrong)).transpose()
    }

    /// The window as it would be.
    fn window(&self, live: &LiveDrop) -> Result<Window, Problem> {
        let window = Window {
            starts_at: self.starts_at.unwrap_or(live.window.starts_at),
            ends_at: self.ends_at.unwrap_or(live.window.ends_at),
        };
        let mut errors = Vec::new();
        if window.ends_at.is_some_and(|ends_at| ends_at <= window.starts_at) {
            errors.push(FieldError::new("/ends_at", "must be after `starts_at`"));
        } else if self.ends_at.flatten().is_some_and(|ends_at| ends_at <= live.as_of) {
            errors.push(FieldError::new("/ends_at", "must be in the future; to end the drop now, close it"));
        }
        if errors.is_empty() { Ok(window) } else { Err(Problem::InvalidRequest(errors)) }
    }
}

problems!(
    AmendProblems: MalformedRequest, InvalidRequest, Unauthenticated, Forbidden, NotFound, DropOverlaps,
    InvalidTransition, BodyTooLarge, UnsupportedMediaType, OutcomeUnknown, ShardRecovering, Unavailable,
);

/// Changes a drop's window and limit while it is scheduled, or only its end while it sells.
#[utoipa::path(
    patch, path = "/drops/{id}", tag = "drops", request_body = AmendDrop,
    params(("id" = String, Path, description = "The drop")), security(("bearer" = []), ("cookie" = [])),
    responses((status = 200, description = "The drop", body = DropView), AmendProblems),
)]
pub(crate) async fn amend_drop(
    _operator: Operator,
    State(state): State<ApiState>,
    PathId(id): PathId<DropId>,
    ApiJson(asked): ApiJson<AmendDrop>,
) -> Result<Response, Problem> {
    // Detached, so that a client that goes away does not leave the work half done: the archive's window and the drop's.
    tokio::spawn(async move { amend(&state, &id, &asked).await }).await.map_err(|error| {
        tracing::error!(%error, "a change of a drop's window broke off");
        Problem::Internal
    })?
}

async fn amend(state: &ApiState, id: &DropId, asked: &AmendDrop) -> Result<Response, Problem> {
    let limit_per_user = asked.limit()?;
    if asked.starts_at.is_none() && asked.ends_at.is_none() && limit_per_user.is_none() {
        return Err(Problem::field("", "name what to change: starts_at, ends_at or limit_per_user"));
    }
    let known = state.snapshots().known(id).await?;
    let definition = &known.definition;
    let live = read(state, id).await?;
    let window = asked.window(&live)?;
    let kept = if window == live.window { None } else { keep_window(state, definition, &window).await? };
    let (starts_at, ends_at) = (asked.starts_at, asked.ends_at);
    let outcome = state.engine().change_drop(id, &DropChange::Amend { starts_at, ends_at, limit_per_user }).await;
    let refused = match outcome {
        Ok(DropChangeOutcome::Changed(live) | DropChangeOutcome::Unchanged(live)) => {
            state.filters().observe(&live);
            state.snapshots().observe(live.clone());
            return json(StatusCode::OK, NO_STORE, &DropView::new(state.engine(), definition, &live, live.phase()));
        }
        // The window that was asked for may be the drop's: a repetition settles it.
        Err(EngineError::OutcomeUnknown) => return Err(Problem::OutcomeUnknown),
        Err(error) => error.into(),
        Ok(DropChangeOutcome::InvalidWindow(_)) => Problem::field("/ends_at", "must be after `starts_at`"),
        Ok(DropChangeOutcome::InvalidTransition(live)) => Problem::InvalidTransition(format!(
            "The drop is {}: start and limit change while it is scheduled, the end until it is over.",
            live.phase().as_str()
        )),
        Ok(DropChangeOutcome::KeyReused | DropChangeOutcome::TooMany) => Problem::Internal,
    };
    if let Some(kept) = kept {
        put_back(state, definition, &kept).await;
    }
    Err(refused)
}

async fn read(state: &ApiState, id: &DropId) -> Result<LiveDrop, Problem> {
    let engine = state.engine();
    let found = engine.read_drops(engine.shard_of(id), std::slice::from_ref(id)).await.map_err(Problem::of_read)?;
    found.drops.into_iter().next().flatten().ok_or(Problem::ShardRecovering)
}

/// Keeps the window for the drop among its sku's drops; returns the one that was kept before, if any was.
async fn keep_window(
    state: &ApiState,
    definition: &DropDefinition,
    window: &Window,
) -> Result<Option<Window>, Problem> {
    let DropDefinition { sku, id, .. } = definition;
    for _ in 0..ATTEMPTS {
        match state.archive().change_window(sku, id, window).await.map_err(Problem::of_write)? {
            WindowChange::Changed(before) => return Ok(Some(before)),
            // The drop is over: the hot state will say so.
            WindowChange::NotKept => return Ok(None),
            WindowChange::Overlaps(drops) => give_up_windows(state, sku, &drops).await?,
        }
    }
    Err(Problem::Unavailable("Other drops of this product were changed at the same time"))
}

async fn put_back(state: &ApiState, definition: &DropDefinition, window: &Window) {
    if let Err(error) = state.archive().change_window(&definition.sku, &definition.id, window).await {
        tracing::warn!(drop = %definition.id, %error, "a window that was refused could not be put back");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_null_end_is_told_from_an_end_that_is_not_said() {
        let ends_at = |body: &str| serde_json::from_str::<AmendDrop>(body).expect("a change").ends_at;
        assert_eq!(ends_at("{}"), None);
        assert_eq!(ends_at(r#"{"ends_at":null}"#), Some(None));
        assert!(matches!(ends_at(r#"{"ends_at":"2030-01-01T00:00:00Z"}"#), Some(Some(_))));
    }

    #[test]
    fn a_limit_is_one_to_a_thousand() {
        let limit = |limit| AmendDrop { limit_per_user: Some(limit), ..AmendDrop::default() }.limit();
        assert_eq!(limit(1_000).ok(), Some(Some(1_000)));
        assert!(limit(0).is_err() && limit(1_001).is_err() && limit(u64::MAX).is_err());
    }
}
