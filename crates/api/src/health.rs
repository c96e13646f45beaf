//! Whether this process lives, and whether it can take orders.

use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::State;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::timeout;
use utoipa::ToSchema;

use crate::openapi::problems;
use crate::problem::Problem;
use crate::server::Stopping;
use crate::state::ApiState;
use crate::view::{NO_STORE, json};

const HEALTH: &str = "/healthz";
const READINESS: &str = "/readyz";

/// Whether a path is one that balancers probe.
pub(crate) fn is_probe(path: &str) -> bool {
    matches!(path, HEALTH | READINESS)
}

/// The longest that one part is asked. Balancers give up on a probe after a few seconds.
const CHECK_TIME: Duration = Duration::from_secs(2);

/// What the status of a process is that was told to stop.
const STOPPING: &str = "stopping";

/// Whether the process lives.
#[derive(Serialize, ToSchema)]
#[schema(as = Health)]
struct HealthView {
    #[schema(example = "ok")]
    status: &'static str,
}

/// Whether the process can take orders.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Readiness)]
pub(crate) struct ReadinessView {
    /// `ready`; `degraded`: it takes orders, but not all is well; `unavailable`: it cannot; `stopping`: it still does, but
    /// not for long, so send it nothing new.
    #[schema(example = "ready")]
    status: &'static str,
    /// Whether the hot state can be reached.
    hot_state: bool,
    /// Whether the archive can be reached. Sales go on without it for a while.
    archive: bool,
    /// The shards that wait for their recovery.
    fenced_shards: Vec<u16>,
}

impl ReadinessView {
    fn new(hot_state: bool, archive: bool, fenced_shards: Vec<u16>) -> Self {
        let status = match (hot_state, archive && fenced_shards.is_empty()) {
            (false, _) => "unavailable",
            (true, false) => "degraded",
            (true, true) => "ready",
        };
        Self { status, hot_state, archive, fenced_shards }
    }

    /// The same of a process that was told to stop.
    fn stopping(self) -> Self {
        Self { status: STOPPING, ..self }
    }

    /// An archive that is away must not take every replica out of the balancer at once.
    fn http_status(&self) -> StatusCode {
        if self.hot_state && self.status != STOPPING { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
    }
}

/// The last check, reused for a moment; those who ask meanwhile wait for one check together.
#[derive(Default)]
pub(crate) struct Readiness(Mutex<Option<(Instant, ReadinessView)>>);

impl Readiness {
    async fn check(&self, state: &ApiState) -> ReadinessView {
        let mut last = self.0.lock().await;
        let fresh = |(at, _): &&(Instant, ReadinessView)| at.elapsed() < state.settings().ready_max_age;
        if let Some((_, view)) = last.as_ref().filter(fresh) {
            return view.clone();
        }
        let view = check(state).await;
        *last = Some((Instant::now(), view.clone()));
        view
    }
}

async fn check(state: &ApiState) -> ReadinessView {
    let (hot_state, archive, fenced) = tokio::join!(
        timeout(CHECK_TIME, state.engine().ping()),
        timeout(CHECK_TIME, state.archive().ping()),
        timeout(CHECK_TIME, state.engine().fenced_shards()),
    );
    let fenced = fenced.ok().and_then(Result::ok).unwrap_or_default();
    let fenced = fenced.into_iter().map(stampede_domain::Shard::number).collect();
    ReadinessView::new(matches!(hot_state, Ok(Ok(()))), matches!(archive, Ok(Ok(()))), fenced)
}

problems!(unlimited HealthProblems:);

/// Says that the process lives.
#[utoipa::path(
    get, path = HEALTH, tag = "health",
    responses((status = 200, description = "It lives", body = HealthView), HealthProblems),
)]
pub(crate) async fn get_health() -> Result<Response, Problem> {
    json(StatusCode::OK, NO_STORE, &HealthView { status: "ok" })
}

/// Says whether the process can take orders.
#[utoipa::path(
    get, path = READINESS, tag = "health",
    responses(
        (status = 200, description = "It can; `degraded` says that not all is well", body = ReadinessView),
        HealthProblems,
        (status = 503, description = "It cannot, or not for long", body = ReadinessView),
    ),
)]
pub(crate) async fn get_readiness(
    State(state): State<ApiState>,
    stopping: Option<Extension<Stopping>>,
) -> Result<Response, Problem> {
    let view = state.readiness().check(&state).await;
    let view = if stopping.is_some() { view.stopping() } else { view };
    let mut response = json(view.http_status(), NO_STORE, &view)?;
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_hot_state_that_is_away_makes_a_process_unready() {
        let status = |hot, archive, fenced: &[u16]| {
            let view = ReadinessView::new(hot, archive, fenced.to_vec());
            (view.status, view.http_status().as_u16())
        };
        assert_eq!(status(true, true, &[]), ("ready", 200));
        assert_eq!(status(true, false, &[]), ("degraded", 200));
        assert_eq!(status(true, true, &[3]), ("degraded", 200));
        assert_eq!(status(false, true, &[]), ("unavailable", 503));
        let told = ReadinessView::new(true, true, Vec::new()).stopping();
        assert_eq!((told.status, told.http_status().as_u16()), ("stopping", 503));
    }
}
