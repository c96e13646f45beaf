//! The outermost layer: ids, limits, time, panics, problems, headers, metrics and the one log line of a request.
//!
//! It is one layer because each costs every request some allocations.

use std::any::Any;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ORIGIN, REFERRER_POLICY, RETRY_AFTER, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use tower::{Layer, Service};
use tracing::field::display;
use tracing::{Instrument as _, Level};

use crate::metrics::{HttpMetrics, InFlight, OrderOutcome, UNMATCHED};
use crate::orders::REPLAYED;
use crate::problem::{PROBLEM_CONTENT_TYPE, Pending, Problem};
use crate::settings::{ApiSettings, TraceSettings};

use cors::Cors;
use traced::Traced;

pub(crate) use request_id::RequestId;

mod cors;
mod request_id;
mod traced;

/// The header with the request's id.
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How many headers every answer gets, those of the HTTP library included: made room for at once.
const EVERYWHERE: usize = 8;

/// What the layer needs to know.
struct Shared {
    metrics: HttpMetrics,
    cors: Cors,
    header_max_bytes: usize,
    request_timeout: Duration,
    retry_after: Duration,
    /// The template of the route under which orders are placed. It keeps its own time, as only it knows what has happened so
    /// far.
    place_order: &'static str,
    traces: Option<TraceSettings>,
}

/// Puts everything that all requests have in common around a router.
#[derive(Clone)]
pub(crate) struct Observe(Arc<Shared>);

impl Observe {
    /// The layer for a router with these route templates; POST to `place_order` keeps its own time.
    pub fn new(settings: &ApiSettings, routes: impl Iterator<Item = String>, place_order: &'static str) -> Self {
        Self(Arc::new(Shared {
            metrics: HttpMetrics::new(routes),
            cors: Cors::new(&settings.cors_origins),
            header_max_bytes: settings.header_max_bytes,
            request_timeout: settings.request_timeout,
            retry_after: settings.retry_after,
            place_order,
            traces: settings.traces,
        }))
    }
}

impl<S> Layer<S> for Observe {
    type Service = Observed<S>;

    fn layer(&self, inner: S) -> Observed<S> {
        Observed { inner, shared: Arc::clone(&self.0) }
    }
}

/// A service with the layer around it.
#[derive(Clone)]
pub(crate) struct Observed<S> {
    inner: S,
    shared: Arc<Shared>,
}

/// What is remembered of a request until it is answered.
struct Seen {
    started: Instant,
    id: RequestId,
    method: Method,
    route: Option<MatchedPath>,
    origin: Option<HeaderValue>,
    traced: Traced,
    _in_flight: InFlight,
}

impl<S> Service<Request> for Observed<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        let route = request.extensions().get::<MatchedPath>().cloned();
        let template = route.as_ref().map(MatchedPath::as_str);
        let mut seen = Seen {
            started: Instant::now(),
            id: RequestId::of(request.headers()),
            method: request.method().clone(),
            traced: Traced::of(request.headers(), shared.traces.as_ref(), request.method(), template),
            route,
            origin: shared.cors.enabled().then(|| request.headers().get(ORIGIN).cloned()).flatten(),
            _in_flight: shared.metrics.begin(),
        };
        if header_bytes(request.uri(), request.headers()) > shared.header_max_bytes {
            let problem = Problem::HeadersTooLarge { limit: shared.header_max_bytes };
            return Box::pin(async move { Ok(shared.finish(&mut seen, problem.into_response())) });
        }
        if let Some(answer) = shared.cors.preflight(&request) {
            return Box::pin(async move { Ok(shared.finish(&mut seen, answer)) });
        }
        if let Some(context) = seen.traced.context() {
            request.extensions_mut().insert(context);
        }
        let answer = AssertUnwindSafe(self.inner.call(request)).catch_unwind();
        // The request's own line says all of it by itself, so it is written outside of the span.
        match seen.span() {
            Some(span) => Box::pin(async move {
                let answer = shared.in_time(&seen, answer).instrument(span).await;
                Ok(shared.finish(&mut seen, answer))
            }),
            None => Box::pin(async move {
                let answer = shared.in_time(&seen, answer).await;
                Ok(shared.finish(&mut seen, answer))
            }),
        }
    }
}

type Caught = Result<Result<Response, Infallible>, Box<dyn Any + Send>>;

impl Shared {
    /// The answer, or the problem that it takes too long or panicked.
    async fn in_time(&self, seen: &Seen, answer: impl Future<Output = Caught>) -> Response {
        let caught = if self.is_order(seen) {
            answer.await
        } else {
            match tokio::time::timeout(self.request_timeout, answer).await {
                Ok(caught) => caught,
                Err(_) if seen.method.is_safe() => {
                    return Problem::Unavailable("The request took too long").into_response();
                }
                Err(_) => return Problem::OutcomeUnknown.into_response(),
            }
        };
        match caught {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(panic) => {
                let message = panic.downcast_ref::<&str>().copied();
                let message = message.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
                tracing::error!(request_id = seen.id.as_str(), message, "a request panicked");
                Problem::Internal.into_response()
            }
        }
    }

    /// Whether the request places an order.
    fn is_order(&self, seen: &Seen) -> bool {
        seen.method == Method::POST && seen.route() == Some(self.place_order)
    }

    /// What became of a request, in one word.
    fn outcome(&self, seen: &Seen, response: &Response, problem: Option<&Problem>) -> &'static str {
        match problem {
            Some(problem) => problem.code().as_str(),
            None if !self.is_order(seen) => "ok",
            None if response.headers().contains_key(REPLAYED) => OrderOutcome::Replayed.as_str(),
            None => OrderOutcome::Granted.as_str(),
        }
    }

    /// Writes the problem, if it is one, and what every answer carries; counts it and logs it.
    fn finish(&self, seen: &mut Seen, mut response: Response) -> Response {
        let problem = response.extensions_mut().remove::<Pending>().map(|pending| pending.0);
        let problem = problem.or_else(|| foreign_problem(&response));
        if let Some(problem) = &problem {
            self.write(problem, seen, &mut response);
        }
        let headers = response.headers_mut();
        headers.reserve(EVERYWHERE);
        headers.insert(X_REQUEST_ID, seen.id.header());
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(seen.content_policy()));
        self.cors.mark(seen.origin.as_ref(), headers);
        let (status, took) = (response.status(), seen.started.elapsed());
        self.metrics.answered(seen.route(), &seen.method, status, took);
        let span = seen.traced.take_span();
        let outcome = || self.outcome(seen, &response, problem.as_ref());
        seen.log(status, took, outcome);
        if let Some(span) = span {
            traced::end(span, seen.id.as_str(), status, outcome());
        }
        response
    }

    fn write(&self, problem: &Problem, seen: &Seen, response: &mut Response) {
        *response.status_mut() = problem.status();
        *response.body_mut() = Body::from(problem.to_json(seen.id.as_str()));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_CONTENT_TYPE));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = problem.retry_after(self.retry_after) {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if problem.status() == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
    }
}

/// What a part of the router that knows no problems meant to say.
fn foreign_problem(response: &Response) -> Option<Problem> {
    match response.status() {
        StatusCode::NOT_FOUND => Some(Problem::NotFound("There is nothing at this address.")),
        StatusCode::METHOD_NOT_ALLOWED => Some(Problem::MethodNotAllowed),
        _ => None,
    }
}

/// The bytes of the request line and the headers, as they were sent.
fn header_bytes(uri: &Uri, headers: &HeaderMap) -> usize {
    let target = uri.path_and_query().map_or(0, |target| target.as_str().len());
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len()).sum::<usize>() + target
}

/// Answers of the API are data: nothing in them may be loaded, run or framed.
const DATA_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";
/// The page of the documentation runs its own scripts and calls this API.
const DOCS_POLICY: &str = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; \
                           object-src 'none'; base-uri 'none'; frame-ancestors 'none'";

impl Seen {
    fn route(&self) -> Option<&str> {
        self.route.as_ref().map(MatchedPath::as_str)
    }

    fn content_policy(&self) -> &'static str {
        if self.route().is_some_and(|route| route.starts_with("/docs")) { DOCS_POLICY } else { DATA_POLICY }
    }

    /// The request's span, unless nobody would see it.
    fn span(&self) -> Option<tracing::Span> {
        tracing::enabled!(Level::INFO).then(|| {
            let (method, route) = (self.method.as_str(), self.route().unwrap_or(UNMATCHED));
            let trace_id = self.traced.trace_id().map(display);
            tracing::info_span!("request", request_id = self.id.as_str(), method, route, trace_id)
        })
    }

    /// The one line of a request.
    fn log(&self, status: StatusCode, took: Duration, outcome: impl Fn() -> &'static str) {
        macro_rules! log {
            ($level:ident) => {
                tracing::$level!(
                    request_id = self.id.as_str(),
                    method = self.method.as_str(),
                    route = self.route().unwrap_or(UNMATCHED),
                    status = status.as_u16(),
                    duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
                    outcome = outcome(),
                    trace_id = self.traced.trace_id().map(display),
                    "answered"
                )
            };
        }
        // Nothing of it is computed if nobody would see it.
        if status.is_server_error() { log!(warn) } else { log!(info) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::header::HOST;

    #[test]
    fn headers_are_counted_as_they_were_sent() {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("a"));
        let uri: Uri = "/b?c".parse().expect("an address");
        assert_eq!(header_bytes(&uri, &headers), "/b?c".len() + "host: a\r\n".len());
    }
}
