//! What is counted: names, help texts, and the handles that are kept so that counting costs nothing.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use crate::problem::Code;

/// Requests, by method, route and status.
pub(crate) const HTTP_REQUESTS: &str = "stampede_http_requests_total";
/// How long requests took, by route.
pub(crate) const HTTP_REQUEST_DURATION: &str = "stampede_http_request_duration_seconds";
/// Answers to `POST /orders`, by outcome.
pub(crate) const ORDERS: &str = "stampede_orders_total";

/// Connections that are open.
pub(crate) const CONNECTIONS: &str = "stampede_http_connections";
/// Connections that were closed for lack of room, by reason.
pub(crate) const CONNECTIONS_CLOSED_EARLY: &str = "stampede_http_connections_closed_early_total";
/// What could not be read as a request, by the problem's code.
pub(crate) const UNREADABLE_REQUESTS: &str = "stampede_http_unreadable_requests_total";

/// Tells the recorder what each metric means. To be called once the recorder is installed.
pub fn describe_metrics() {
    describe_counter!(HTTP_REQUESTS, Unit::Count, "Requests that were answered, by method, route template and status.");
    describe_histogram!(HTTP_REQUEST_DURATION, Unit::Seconds, "Time from a request's headers to its answer, by route.");
    describe_counter!(ORDERS, Unit::Count, "Answers to orders, by outcome: granted, replayed, or the problem's code.");
    describe_gauge!(CONNECTIONS, Unit::Count, "Connections to the API's listener that are open.");
    describe_counter!(
        CONNECTIONS_CLOSED_EARLY,
        Unit::Count,
        "Connections closed for lack of room: gave_way (it kept us waiting longest), refused (all others were being answered)."
    );
    describe_counter!(
        UNREADABLE_REQUESTS,
        Unit::Count,
        "What could not be read as an HTTP request, by the problem's code."
    );
}

/// The statuses that are counted under their own number; others are `other`.
const STATUSES: [u16; 19] =
    [200, 201, 204, 303, 304, 400, 401, 403, 404, 405, 409, 413, 415, 422, 429, 431, 500, 501, 503];

/// The methods that are counted under their own name; others are `other`.
const METHODS: [&str; 6] = ["GET", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS"];

/// The label of an address that no route has.
pub(crate) const UNMATCHED: &str = "unmatched";

/// The counters of all routes. Routes are known when the router is built, so the metric's size is bounded.
pub(crate) struct HttpMetrics {
    routes: HashMap<String, RouteMetrics>,
    unmatched: RouteMetrics,
}

/// The counters of one route, each made at its first use.
struct RouteMetrics {
    route: String,
    requests: Vec<OnceLock<Counter>>,
    duration: OnceLock<Histogram>,
}

impl HttpMetrics {
    /// Counters for these route templates.
    pub fn new(routes: impl Iterator<Item = String>) -> Self {
        let routes = routes.map(|route| (route.clone(), RouteMetrics::new(route))).collect();
        Self { routes, unmatched: RouteMetrics::new(UNMATCHED.to_owned()) }
    }

    /// Counts one answer.
    pub fn answered(&self, route: Option<&str>, method: &Method, status: StatusCode, took: Duration) {
        let metrics = route.and_then(|route| self.routes.get(route)).unwrap_or(&self.unmatched);
        metrics.answered(method, status, took);
    }
}

impl RouteMetrics {
    fn new(route: String) -> Self {
        let slots = (METHODS.len() + 1) * (STATUSES.len() + 1);
        Self { route, requests: (0..slots).map(|_| OnceLock::new()).collect(), duration: OnceLock::new() }
    }

    fn answered(&self, method: &Method, status: StatusCode, took: Duration) {
        let method_at = METHODS.iter().position(|known| *known == method.as_str()).unwrap_or(METHODS.len());
        let status_at = STATUSES.binary_search(&status.as_u16()).unwrap_or(STATUSES.len());
        let slot = method_at * (STATUSES.len() + 1) + status_at;
        if let Some(counter) = self.requests.get(slot) {
            counter.get_or_init(|| self.counter(method_at, status_at)).increment(1);
        }
        let duration = || histogram!(HTTP_REQUEST_DURATION, "route" => self.route.clone());
        self.duration.get_or_init(duration).record(took.as_secs_f64());
    }

    fn counter(&self, method_at: usize, status_at: usize) -> Counter {
        let method = METHODS.get(method_at).copied().unwrap_or("other");
        let status = STATUSES.get(status_at).map_or_else(|| "other".to_owned(), u16::to_string);
        counter!(HTTP_REQUESTS, "method" => method, "route" => self.route.clone(), "status" => status)
    }
}

/// What an order can come to, as the label says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OrderOutcome {
    Granted,
    Replayed,
    KeyReused,
    NotActive,
    PriceChanged,
    LimitReached,
    SoldOut,
    InsufficientStock,
    ArchiveBehind,
    ShardRecovering,
    OutcomeUnknown,
    Unavailable,
    Invalid,
}

impl OrderOutcome {
    const COUNT: usize = Self::Invalid as usize + 1;

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Replayed => "replayed",
            Self::KeyReused => "key_reused",
            Self::NotActive => "not_active",
            Self::PriceChanged => "price_changed",
            Self::LimitReached => "limit_reached",
            Self::SoldOut => "sold_out",
            Self::InsufficientStock => "insufficient_stock",
            Self::ArchiveBehind => "archive_behind",
            Self::ShardRecovering => "shard_recovering",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::Unavailable => "unavailable",
            Self::Invalid => "invalid",
        }
    }
}

/// The counters of orders.
#[derive(Default)]
pub(crate) struct OrderMetrics([OnceLock<Counter>; OrderOutcome::COUNT]);

impl OrderMetrics {
    /// Counts one answer.
    pub fn count(&self, outcome: OrderOutcome) {
        let counter = || counter!(ORDERS, "outcome" => outcome.as_str());
        self.0[outcome as usize].get_or_init(counter).increment(1);
    }
}

/// Why a connection was closed that did nothing wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClosedEarly {
    /// There was no room for a new one, and it had kept us waiting for longest.
    GaveWay,
    /// There was no room for it.
    Refused,
}

/// What is counted of connections.
#[derive(Default)]
pub(crate) struct ConnectionMetrics {
    open: OnceLock<Gauge>,
    gave_way: OnceLock<Counter>,
    refused: OnceLock<Counter>,
}

impl ConnectionMetrics {
    /// So many are open now.
    pub fn open(&self, count: usize) {
        self.open.get_or_init(|| gauge!(CONNECTIONS)).set(count as f64);
    }

    /// So many were closed.
    pub fn closed_early(&self, reason: ClosedEarly, count: usize) {
        let (counter, reason) = match reason {
            ClosedEarly::GaveWay => (&self.gave_way, "gave_way"),
            ClosedEarly::Refused => (&self.refused, "refused"),
        };
        counter.get_or_init(|| counter!(CONNECTIONS_CLOSED_EARLY, "reason" => reason)).increment(count as u64);
    }

    /// Something could not be read as a request.
    pub fn unreadable(&self, code: Code) {
        counter!(UNREADABLE_REQUESTS, "code" => code.as_str()).increment(1);
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
        metrics.answered(Some("/a"), &Method::GET, StatusCode::OK, Duration::ZERO);
        metrics.answered(Some("/b"), &Method::PUT, StatusCode::IM_A_TEAPOT, Duration::ZERO);
        OrderMetrics::default().count(OrderOutcome::Invalid);
    }
}
