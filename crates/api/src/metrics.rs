//! What is counted: names, help texts, and the handles that are kept so that counting costs nothing.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use stampede_domain::{Buckets, Metric};

use crate::limits::LimiterName;
use crate::problem::Code;

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
    in_flight: Gauge,
}

/// The counters of one route: one slot for each method and status, made at its first use.
struct RouteMetrics {
    route: String,
    slots: Vec<OnceLock<Answers>>,
}

/// The answers of one route with one method and status.
struct Answers {
    count: Counter,
    duration: Histogram,
}

/// A request that is being answered; counted until it is dropped.
pub(crate) struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

impl HttpMetrics {
    /// Counters for these route templates.
    pub fn new(routes: impl Iterator<Item = String>) -> Self {
        let routes = routes.map(|route| (route.clone(), RouteMetrics::new(route))).collect();
        Self { routes, unmatched: RouteMetrics::new(UNMATCHED.to_owned()), in_flight: gauge!(REQUESTS_IN_FLIGHT.name) }
    }

    /// A request has arrived.
    pub fn begin(&self) -> InFlight {
        self.in_flight.increment(1.0);
        InFlight(self.in_flight.clone())
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
        Self { route, slots: (0..slots).map(|_| OnceLock::new()).collect() }
    }

    fn answered(&self, method: &Method, status: StatusCode, took: Duration) {
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
        let route = || self.route.clone();
        Answers {
            count: counter!(HTTP_REQUESTS.name, "method" => method, "route" => route(), "status" => status.clone()),
            duration: histogram!(HTTP_REQUEST_DURATION.name, "method" => method, "route" => route(), "status" => status),
        }
    }
}

/// What an order can come to, as the label says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OrderOutcome {
    Granted,
    Replayed,
    KeyReused,
    RateLimited,
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
    /// In the order of their numbers; the last one says how many there are.
    const ALL: [Self; Self::Invalid as usize + 1] = [
        Self::Granted,
        Self::Replayed,
        Self::KeyReused,
        Self::RateLimited,
        Self::NotActive,
        Self::PriceChanged,
        Self::LimitReached,
        Self::SoldOut,
        Self::InsufficientStock,
        Self::ArchiveBehind,
        Self::ShardRecovering,
        Self::OutcomeUnknown,
        Self::Unavailable,
        Self::Invalid,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Replayed => "replayed",
            Self::KeyReused => "key_reused",
            Self::RateLimited => "rate_limited",
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

/// The counters of orders: all are there from the start, so that the first of each kind is seen as a change.
pub(crate) struct OrderMetrics {
    outcomes: [Counter; OrderOutcome::ALL.len()],
    units: Counter,
}

impl OrderMetrics {
    /// Begins to count, at 0.
    pub fn new() -> Self {
        Self {
            outcomes: OrderOutcome::ALL.map(|outcome| counter!(ORDERS.name, "outcome" => outcome.as_str())),
            units: counter!(ORDERED_UNITS.name),
        }
    }

    /// Counts one answer.
    pub fn count(&self, outcome: OrderOutcome) {
        self.outcomes[outcome as usize].increment(1);
    }

    /// Counts an order that was granted now.
    pub fn granted(&self, units: u16) {
        self.count(OrderOutcome::Granted);
        self.units.increment(u64::from(units));
    }
}

/// What became of a filter of buyers that was to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FilterBuild {
    /// It was made.
    Built,
    /// The drop changed, or is not sold out.
    Changed,
    /// It has more buyers than a filter may have.
    TooLarge,
    /// Redis did not answer.
    Error,
}

impl FilterBuild {
    /// In the order of their numbers.
    const ALL: [Self; 4] = [Self::Built, Self::Changed, Self::TooLarge, Self::Error];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Built => "built",
            Self::Changed => "changed",
            Self::TooLarge => "too_large",
            Self::Error => "error",
        }
    }
}

/// What is counted of filters of buyers.
pub(crate) struct FilterMetrics {
    refusals: Counter,
    filters: Gauge,
    bytes: Gauge,
    builds: [Counter; FilterBuild::ALL.len()],
}

impl FilterMetrics {
    /// Begins to count, at 0.
    pub fn new() -> Self {
        Self {
            refusals: counter!(LOCAL_REFUSALS.name),
            filters: gauge!(FILTERS.name),
            bytes: gauge!(FILTER_BYTES.name),
            builds: FilterBuild::ALL.map(|outcome| counter!(FILTER_BUILDS.name, "outcome" => outcome.as_str())),
        }
    }

    /// An order was refused here.
    pub fn refused(&self) {
        self.refusals.increment(1);
    }

    /// So many filters are held now, in so many bytes.
    pub fn held(&self, filters: usize, bytes: usize) {
        self.filters.set(filters as f64);
        self.bytes.set(bytes as f64);
    }

    /// A filter was to be made.
    pub fn built(&self, outcome: FilterBuild) {
        self.builds[outcome as usize].increment(1);
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
        OrderMetrics::new().count(OrderOutcome::Invalid);
    }
    #[test]
    fn an_outcome_is_its_place_in_the_list() {
        for (place, outcome) in OrderOutcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, place, "{outcome:?}");
        }
    }
}
