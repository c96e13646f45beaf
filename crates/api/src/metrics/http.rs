//! What is counted of requests and their answers.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use super::{HTTP_REQUEST_DURATION, HTTP_REQUESTS, REQUESTS_IN_FLIGHT};

/// The statuses that are counted under their own number; others are `other`.
const STATUSES: [u16; 19] =
    [200, 201, 204, 303, 304, 400, 401, 403, 404, 405, 409, 413, 415, 422, 429, 431, 500, 501, 503];

/// The methods that are counted under their own name; others are `other`.
const METHODS: [&str; 6] = ["GET", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS"];

/// The label of an address that no route has.
pub(crate) const UNMATCHED: &str = "unmatched";

/// The counters of all routes. Routes are known when the router is built, so the metric's size is bounded.
pub(crate) struct HttpMetrics {
    routes: HashMap<String, Arc<RouteMetrics>>,
    unmatched: Arc<RouteMetrics>,
    in_flight: Gauge,
}

/// The counters of one route: one slot for each method and status, made at its first use.
pub(crate) struct RouteMetrics {
    name: String,
    slots: Vec<OnceLock<Answers>>,
}

/// The answers of one route with one method and status.
struct Answers {
    count: Counter,
    duration: Histogram,
}

/// A request that is being answered; counted until it is dropped.
pub(crate) struct InFlight<'a>(&'a Gauge);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

impl HttpMetrics {
    /// Counters for these route templates.
    pub fn new(routes: impl Iterator<Item = String>) -> Self {
        let routes = routes.map(|route| (route.clone(), Arc::new(RouteMetrics::new(route)))).collect();
        let unmatched = Arc::new(RouteMetrics::new(UNMATCHED.to_owned()));
        Self { routes, unmatched, in_flight: gauge!(REQUESTS_IN_FLIGHT.name) }
    }

    /// The counters of the route with this template, or those of all addresses that no route has.
    pub fn route(&self, template: Option<&str>) -> Arc<RouteMetrics> {
        Arc::clone(template.and_then(|template| self.routes.get(template)).unwrap_or(&self.unmatched))
    }

    /// A request has arrived.
    pub fn begin(&self) -> InFlight<'_> {
        self.in_flight.increment(1.0);
        InFlight(&self.in_flight)
    }
}

impl RouteMetrics {
    fn new(name: String) -> Self {
        let slots = (METHODS.len() + 1) * (STATUSES.len() + 1);
        Self { name, slots: (0..slots).map(|_| OnceLock::new()).collect() }
    }

    /// The template, or [`UNMATCHED`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The template, if there is one.
    pub fn template(&self) -> Option<&str> {
        (self.name != UNMATCHED).then_some(&self.name)
    }

    /// Counts one answer.
    pub fn answered(&self, method: &Method, status: StatusCode, took: Duration) {
        let method_at = METHODS.iter().position(|known| *known == method.as_str()).unwrap_or(METHODS.len());
        let status_at = STATUSES.binary_search(&status.as_u16()).unwrap_or(STATUSES.len());
        if let Some(slot) = self.slots.get(method_at * (STATUSES.len() + 1) + status_at) {
            let answers = slot.get_or_init(|| self.answers(method_at, status_at));
            answers.count.increment(1);
            answers.duration.record(took.as_secs_f64());
        }
    }

    fn answers(&self, method_at: usize, status_at: usize) -> Answers {
        let method = METHODS.get(method_at).copied().unwrap_or("other");
        let status = STATUSES.get(status_at).map_or_else(|| "other".to_owned(), u16::to_string);
        let route = || self.name.clone();
        Answers {
            count: counter!(HTTP_REQUESTS.name, "method" => method, "route" => route(), "status" => status.clone()),
            duration: histogram!(HTTP_REQUEST_DURATION.name, "method" => method, "route" => route(), "status" => status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_can_be_searched() {
        assert!(STATUSES.is_sorted());
    }

    #[test]
    fn counting_needs_no_recorder() {
        let metrics = HttpMetrics::new(std::iter::once("/a".to_owned()));
        metrics.route(Some("/a")).answered(&Method::GET, StatusCode::OK, Duration::ZERO);
        metrics.route(Some("/b")).answered(&Method::PUT, StatusCode::IM_A_TEAPOT, Duration::ZERO);
        assert_eq!((metrics.route(Some("/a")).template(), metrics.route(Some("/b")).template()), (Some("/a"), None));
    }
}
