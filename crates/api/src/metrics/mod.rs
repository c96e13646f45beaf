//! What is counted: names, help texts, and the handles that are kept so that counting costs nothing.

mod http;
mod orders;

use metrics::{Counter, Gauge, counter, gauge};
use stampede_domain::{Buckets, Metric};

use crate::limits::LimiterName;
use crate::problem::Code;

pub(crate) use http::{HttpMetrics, InFlight, RouteMetrics};
pub(crate) use orders::{FilterBuild, FilterMetrics, OrderMetrics, OrderOutcome};

const HTTP_REQUESTS: Metric = Metric::counter(
    "stampede_http_requests_total",
    &["method", "route", "status"],
    "Requests that were answered, by method, route template and status.",
);
const HTTP_REQUEST_DURATION: Metric = Metric::histogram(
    "stampede_http_request_duration_seconds",
    Buckets::Latency,
    &["method", "route", "status"],
    "Time from a request's headers to its answer, by method, route template and status.",
);
const REQUESTS_IN_FLIGHT: Metric =
    Metric::gauge("stampede_http_requests_in_flight", &[], "Requests that are being answered.");
const CONNECTIONS: Metric =
    Metric::gauge("stampede_http_connections", &[], "Connections to the API's listener that are open.");
const CONNECTIONS_BOUND: Metric = Metric::gauge(
    "stampede_http_connections_bound",
    &[],
    "The most connections to the API's listener at a time (max_connections).",
);
const CONNECTIONS_CLOSED_EARLY: Metric = Metric::counter(
    "stampede_http_connections_closed_early_total",
    &["reason"],
    "Connections closed for lack of room: gave_way (it kept us waiting longest), refused (all others were being answered).",
);
const UNREADABLE_REQUESTS: Metric = Metric::counter(
    "stampede_http_unreadable_requests_total",
    &["code"],
    "What could not be read as an HTTP request, by the problem's code.",
);
const ORDERS: Metric = Metric::counter(
    "stampede_orders_total",
    &["outcome"],
    "Answers to orders, by outcome: granted, replayed, or why not.",
);
const ORDERED_UNITS: Metric =
    Metric::counter("stampede_ordered_units_total", &[], "Units of granted orders; replays are not counted again.");
const RATE_LIMITED: Metric = Metric::counter(
    "stampede_rate_limited_total",
    &["limiter"],
    "Requests refused by a rate limit, by limiter: front (by address), user.",
);
const RATE_LIMITER_KEYS: Metric = Metric::gauge(
    "stampede_rate_limiter_keys",
    &["limiter"],
    "Addresses (front) or users (user) that a rate limiter remembers.",
);

const TOKENS: Metric = Metric::counter(
    "stampede_tokens_total",
    &["checked"],
    "Tokens that were believed, by how: verified (signature and claims), or remembered from before.",
);
const LOCAL_REFUSALS: Metric = Metric::counter(
    "stampede_local_refusals_total",
    &[],
    "Orders refused as sold out without asking Redis; the outcome sold_out counts them too.",
);
const FILTERS: Metric = Metric::gauge("stampede_filters", &[], "Filters of buyers of sold-out drops.");
const FILTER_BYTES: Metric = Metric::gauge("stampede_filter_bytes", &[], "Memory of the filters of buyers.");
const FILTER_BUILDS: Metric = Metric::counter(
    "stampede_filter_builds_total",
    &["outcome"],
    "Filters that were to be made, by outcome: built, changed (the drop did meanwhile), too_large (filter_max_buyers), error.",
);

/// Everything that the API counts.
pub const METRICS: &[Metric] = &[
    HTTP_REQUESTS,
    HTTP_REQUEST_DURATION,
    REQUESTS_IN_FLIGHT,
    CONNECTIONS,
    CONNECTIONS_BOUND,
    CONNECTIONS_CLOSED_EARLY,
    UNREADABLE_REQUESTS,
    ORDERS,
    ORDERED_UNITS,
    RATE_LIMITED,
    RATE_LIMITER_KEYS,
    TOKENS,
    LOCAL_REFUSALS,
    FILTERS,
    FILTER_BYTES,
    FILTER_BUILDS,
];

/// Why a connection was closed that did nothing wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClosedEarly {
    /// There was no room for a new one, and it had kept us waiting for longest.
    GaveWay,
    /// There was no room for it.
    Refused,
}

/// What is counted of connections.
pub(crate) struct ConnectionMetrics {
    open: Gauge,
    gave_way: Counter,
    refused: Counter,
}

impl ConnectionMetrics {
    /// Begins to count, at 0, with room for `max` connections.
    pub fn new(max: usize) -> Self {
        gauge!(CONNECTIONS_BOUND.name).set(max as f64);
        let closed_early = |reason| counter!(CONNECTIONS_CLOSED_EARLY.name, "reason" => reason);
        Self { open: gauge!(CONNECTIONS.name), gave_way: closed_early("gave_way"), refused: closed_early("refused") }
    }

    /// So many are open now.
    pub fn open(&self, count: usize) {
        self.open.set(count as f64);
    }

    /// So many were closed.
    pub fn closed_early(&self, reason: ClosedEarly, count: usize) {
        let counter = match reason {
            ClosedEarly::GaveWay => &self.gave_way,
            ClosedEarly::Refused => &self.refused,
        };
        counter.increment(count as u64);
    }

    /// Something could not be read as a request.
    pub fn unreadable(&self, code: Code) {
        counter!(UNREADABLE_REQUESTS.name, "code" => code.as_str()).increment(1);
    }
}

/// How tokens came to be believed.
pub(crate) struct TokenMetrics {
    verified: Counter,
    remembered: Counter,
}

impl TokenMetrics {
    /// Begins to count, at 0.
    pub fn new() -> Self {
        let checked = |how| counter!(TOKENS.name, "checked" => how);
        Self { verified: checked("verified"), remembered: checked("remembered") }
    }

    /// Signature and claims of one were verified.
    pub fn verified(&self) {
        self.verified.increment(1);
    }

    /// One was verified before.
    pub fn remembered(&self) {
        self.remembered.increment(1);
    }
}

/// What is counted of one rate limiter.
pub(crate) struct LimiterMetrics {
    limited: Counter,
    keys: Gauge,
}

impl LimiterMetrics {
    /// The counters of a limiter that is on, shown from the start.
    pub fn new(limiter: LimiterName) -> Self {
        let name = limiter.as_str();
        Self {
            limited: counter!(RATE_LIMITED.name, "limiter" => name),
            keys: gauge!(RATE_LIMITER_KEYS.name, "limiter" => name),
        }
    }

    /// A request was refused.
    pub fn limited(&self) {
        self.limited.increment(1);
    }

    /// So many keys are remembered now.
    pub fn keys(&self, count: usize) {
        self.keys.set(count as f64);
    }
}
