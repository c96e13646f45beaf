//! The outermost layer: ids, limits, time, panics, problems, headers, metrics and the one log line of a request.
//!
//! It is one layer because each costs every request some allocations.

use std::any::Any;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::MatchedPath;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ORIGIN, REFERRER_POLICY, RETRY_AFTER, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::FutureExt as _;
use http_body_util::Full;
use tower::{Layer, Service};
use tracing::field::display;
use tracing::{Instrument as _, Level, Span};

use crate::metrics::{HttpMetrics, InFlight, OrderOutcome, RouteMetrics};
use crate::orders::REPLAYED;
use crate::problem::{PROBLEM_CONTENT_TYPE, Pending, Problem};
use crate::reply::Reply;
use crate::settings::{ApiSettings, TraceSettings};
use crate::view::NO_STORE;
use crate::within::within_since;

use cors::Cors;
use request_id::X_REQUEST_ID;
use traced::Traced;

pub(crate) use request_id::RequestId;

mod cors;
mod request_id;
mod traced;

/// How many headers every answer gets: made room for at once.
const EVERYWHERE: usize = 6;

/// Adds what every answer of data carries, and a place for the request's id.
pub(crate) fn prepare(headers: &mut HeaderMap) {
    add_policies(headers, DATA_POLICY);
    headers.insert(X_REQUEST_ID, HeaderValue::from_static(""));
}

fn add_policies(headers: &mut HeaderMap, content_policy: &'static str) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(content_policy));
}

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
struct Seen<'a> {
    started: Instant,
    id: RequestId,
    method: Method,
    route: &'a RouteMetrics,
    origin: Option<HeaderValue>,
    traced: Traced,
    _in_flight: InFlight<'a>,
}

impl<S> Service<Request<Body>> for Observed<S>
where
    S: Service<Request<Body>, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        // The one that is ready is called; its copy is made ready for the next request.
        let copy = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, copy);
        Box::pin(async move {
            let route = shared.metrics.route(request.extensions().get::<MatchedPath>().map(MatchedPath::as_str));
            let (mut seen, begun) = shared.begin(&route, &mut request);
            let early =
                begun.map_or_else(|problem| Some(problem.into_response()), |()| shared.cors.preflight(&request));
            let answer = match early {
                Some(answer) => answer,
                None => {
                    let answer = shared.in_time(&seen, pin!(inner.call(request))).await;
                    answer.map_or_else(Problem::into_response, |Ok(answer)| answer)
                }
            };
            Ok(shared.finish_response(&mut seen, answer))
        })
    }
}

impl Observe {
    /// What is counted of the route with this template.
    pub fn route(&self, template: &str) -> Arc<RouteMetrics> {
        self.0.metrics.route(Some(template))
    }

    /// Puts the same around a handler that is called past the router. A preflight never comes here.
    pub async fn around<B, H, F>(&self, route: &RouteMetrics, mut request: Request<B>, handler: H) -> ShortResponse
    where
        H: FnOnce(Request<B>) -> F,
        F: Future<Output = Reply>,
    {
        let (mut seen, begun) = self.0.begin(route, &mut request);
        let reply = match begun {
            // Made where it stays: it is too large to be moved about.
            Ok(()) => self.0.in_time(&seen, pin!(handler(request))).await,
            Err(problem) => Err(problem),
        };
        self.0.finish_reply(&mut seen, reply.unwrap_or_else(Reply::from))
    }

    /// Puts the same around a handler that waits for nothing, so that there is no time to limit.
    pub fn around_ready<B>(
        &self,
        route: &RouteMetrics,
        mut request: Request<B>,
        handler: impl FnOnce(Request<B>) -> Reply,
    ) -> ShortResponse {
        let (mut seen, begun) = self.0.begin(route, &mut request);
        let reply = begun.and_then(|()| {
            let answer = AssertUnwindSafe(|| seen.span().in_scope(|| handler(request)));
            catch_unwind(answer).map_err(|panic| seen.panicked(panic.as_ref()))
        });
        self.0.finish_reply(&mut seen, reply.unwrap_or_else(Reply::from))
    }
}

/// The answer of a handler that is called past the router.
pub(crate) type ShortResponse = axum::http::Response<Full<Bytes>>;

impl Shared {
    /// Takes down what is needed later, and refuses headers that are too large.
    fn begin<'a, B>(&'a self, route: &'a RouteMetrics, request: &mut Request<B>) -> (Seen<'a>, Result<(), Problem>) {
        let headers = request.headers();
        let seen = Seen {
            started: Instant::now(),
            id: RequestId::of(headers),
            method: request.method().clone(),
            traced: Traced::of(headers, self.traces.as_ref(), request.method(), route.template()),
            route,
            origin: self.cors.enabled().then(|| headers.get(ORIGIN).cloned()).flatten(),
            _in_flight: self.metrics.begin(),
        };
        if header_bytes(request.uri(), headers) > self.header_max_bytes {
            return (seen, Err(Problem::HeadersTooLarge { limit: self.header_max_bytes }));
        }
        if let Some(context) = seen.traced.context() {
            request.extensions_mut().insert(context);
        }
        (seen, Ok(()))
    }

    /// The answer, or the problem that it takes too long or panicked. It is pinned already, as everything that is put around
    /// a future moves it.
    async fn in_time<T>(&self, seen: &Seen<'_>, answer: Pin<&mut impl Future<Output = T>>) -> Result<T, Problem> {
        // The request's own line says all of it by itself, so it is written outside of the span.
        let answer = AssertUnwindSafe(answer).catch_unwind().instrument(seen.span());
        let caught = if self.is_order(seen) {
            answer.await
        } else {
            match within_since(seen.started, self.request_timeout, pin!(answer)).await {
                Ok(caught) => caught,
                Err(_) if seen.method.is_safe() => return Err(Problem::Unavailable("The request took too long")),
                Err(_) => return Err(Problem::OutcomeUnknown),
            }
        };
        caught.map_err(|panic| seen.panicked(panic.as_ref()))
    }

    /// Whether the request places an order.
    fn is_order(&self, seen: &Seen<'_>) -> bool {
        seen.method == Method::POST && seen.route.name() == self.place_order
    }

    /// What became of a request, in one word.
    fn outcome(&self, seen: &Seen<'_>, headers: &HeaderMap, problem: Option<&Problem>) -> &'static str {
        match problem {
            Some(problem) => problem.code().as_str(),
            None if !self.is_order(seen) => "ok",
            None if headers.contains_key(REPLAYED) => OrderOutcome::Replayed.as_str(),
            None => OrderOutcome::Granted.as_str(),
        }
    }

    fn finish_response(&self, seen: &mut Seen<'_>, mut response: Response) -> Response {
        let problem = response.extensions_mut().remove::<Pending>().map(|pending| pending.0);
        let problem = problem.or_else(|| foreign_problem(&response));
        let status = problem.as_ref().map_or(response.status(), Problem::status);
        if let Some(body) = self.finish(seen, status, response.headers_mut(), problem.as_ref()) {
            *response.body_mut() = Body::from(body);
            *response.status_mut() = status;
        }
        response
    }

    fn finish_reply(&self, seen: &mut Seen<'_>, reply: Reply) -> ShortResponse {
        let Reply { mut headers, outcome } = reply;
        let (status, body) = match outcome {
            Ok((status, body)) => {
                self.finish(seen, status, &mut headers, None);
                (status, body)
            }
            Err(problem) => {
                let body = self.finish(seen, problem.status(), &mut headers, Some(&problem));
                (problem.status(), body.map_or_else(Bytes::new, Bytes::from))
            }
        };
        let mut response = axum::http::Response::new(Full::new(body));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    /// Adds what every answer carries, unless its template had it; counts it and logs it. Returns the body of the problem, if
    /// it is one.
    fn finish(
        &self,
        seen: &mut Seen<'_>,
        status: StatusCode,
        headers: &mut HeaderMap,
        problem: Option<&Problem>,
    ) -> Option<Vec<u8>> {
        let is_prepared = headers.contains_key(X_REQUEST_ID);
        if !is_prepared {
            headers.reserve(EVERYWHERE);
            add_policies(headers, seen.content_policy());
        }
        let body = problem.map(|problem| self.write(problem, seen, headers, is_prepared));
        self.cors.mark(seen.origin.as_ref(), headers);
        let took = seen.started.elapsed();
        seen.route.answered(&seen.method, status, took);
        let span = seen.traced.take_span();
        let outcome = || self.outcome(seen, headers, problem);
        seen.log(status, took, outcome);
        if let Some(span) = span {
            traced::end(span, seen.id.as_str(), status, outcome());
        }
        headers.insert(X_REQUEST_ID, seen.id.take_header());
        body
    }

    /// The body of a problem, and the headers that go with it.
    fn write(&self, problem: &Problem, seen: &Seen<'_>, headers: &mut HeaderMap, is_prepared: bool) -> Vec<u8> {
        if !is_prepared {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_CONTENT_TYPE));
            headers.insert(CACHE_CONTROL, NO_STORE);
        }
        if let Some(seconds) = problem.retry_after(self.retry_after) {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if problem.status() == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        problem.to_json(seen.id.as_str())
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

impl Seen<'_> {
    /// The request's handler panicked: what the client is told.
    fn panicked(&self, panic: &(dyn Any + Send)) -> Problem {
        let message = panic.downcast_ref::<&str>().copied();
        let message = message.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        tracing::error!(request_id = self.id.as_str(), message, "a request panicked");
        Problem::Internal
    }

    fn content_policy(&self) -> &'static str {
        if self.route.name().starts_with("/docs") { DOCS_POLICY } else { DATA_POLICY }
    }

    /// The request's span; none if nobody would see it.
    fn span(&self) -> Span {
        if !tracing::enabled!(Level::INFO) {
            return Span::none();
        }
        let (method, route) = (self.method.as_str(), self.route.name());
        let trace_id = self.traced.trace_id().map(display);
        tracing::info_span!("request", request_id = self.id.as_str(), method, route, trace_id)
    }

    /// The one line of a request.
    fn log(&self, status: StatusCode, took: Duration, outcome: impl Fn() -> &'static str) {
        macro_rules! log {
            ($level:ident) => {
                tracing::$level!(
                    request_id = self.id.as_str(),
                    method = self.method.as_str(),
                    route = self.route.name(),
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
