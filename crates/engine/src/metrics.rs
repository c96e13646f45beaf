//! What the engine counts. Names, help texts and labels are here and nowhere else.
//!
//! The handles are made once, after the recorder was installed: counting a group costs no look-up.

use std::sync::{LazyLock, OnceLock};
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use stampede_domain::{Buckets, Durability, Metric};

use crate::LogBound;

const GROUP_ORDERS: Metric =
    Metric::histogram("stampede_group_orders", Buckets::Size, &[], "Orders that one script call decided together.");
const GROUP_WAIT: Metric = Metric::histogram(
    "stampede_group_wait_duration_seconds",
    Buckets::Latency,
    &[],
    "How long an order waited until its group was sent.",
);
const GROUP_CALL: Metric = Metric::histogram(
    "stampede_group_call_duration_seconds",
    Buckets::Latency,
    &[],
    "Time from sending a group of orders to its decision.",
);
const GROUP_QUEUE: Metric =
    Metric::gauge("stampede_group_queue_orders", &[], "Orders that wait for a group, in all shards of this process.");
const OPERATIONS: Metric = Metric::counter(
    "stampede_redis_operations_total",
    &["operation", "outcome"],
    "Calls to Redis, by script or command; outcome: ok, error (nothing happened), lost (nobody knows).",
);
const OPERATION_DURATION: Metric = Metric::histogram(
    "stampede_redis_operation_duration_seconds",
    Buckets::Latency,
    &["operation"],
    "How long a call to Redis took, by script or command.",
);
const PRIMARY_SEARCHES: Metric = Metric::counter(
    "stampede_primary_searches_total",
    &[],
    "Connections made anew because a Redis server stood still or was a primary no longer.",
);
const DURABILITY_WAITS: Metric = Metric::counter(
    "stampede_durability_waits_total",
    &["durability", "outcome"],
    "Answers and batches that waited for durability, by kind and outcome: kept, or unknown.",
);
const DURABILITY_WAIT: Metric = Metric::histogram(
    "stampede_durability_wait_duration_seconds",
    Buckets::Latency,
    &["durability"],
    "How long an answer or a batch waited for durability.",
);
const DURABILITY_GROUPS: Metric = Metric::histogram(
    "stampede_durability_wait_groups",
    Buckets::Size,
    &[],
    "Answers and batches that one wait at a primary served.",
);
const DURABILITY_OFFERED: Metric = Metric::gauge(
    "stampede_durability_offered",
    &["primary", "durability"],
    "1 while a primary can keep this durability, by primary and kind.",
);
const TRANSFERRED_UNITS: Metric = Metric::counter(
    "stampede_transferred_units_total",
    &["end"],
    "Units that left a stripe of a striped drop for another one (end: sent), or came to one (received).",
);
const LOG_BOUND_ORDERS: Metric = Metric::gauge(
    "stampede_log_bound_orders",
    &[],
    "The most orders of one shard's log that are not archived yet; at it new orders are refused.",
);
const LOG_BOUND_BYTES: Metric = Metric::gauge("stampede_log_bound_bytes", &[], "The same bound, in bytes of payload.");

/// Everything that the engine counts.
pub const METRICS: &[Metric] = &[
    GROUP_ORDERS,
    GROUP_WAIT,
    GROUP_CALL,
    GROUP_QUEUE,
    OPERATIONS,
    OPERATION_DURATION,
    PRIMARY_SEARCHES,
    DURABILITY_WAITS,
    DURABILITY_WAIT,
    DURABILITY_GROUPS,
    DURABILITY_OFFERED,
    TRANSFERRED_UNITS,
    LOG_BOUND_ORDERS,
    LOG_BOUND_BYTES,
];

/// What counts groups, the waits of their answers, and what moves between stripes.
struct Handles {
    group_orders: Histogram,
    group_wait: Histogram,
    group_call: Histogram,
    group_queue: Gauge,
    primary_searches: Counter,
    durability_groups: Histogram,
    durability: [DurabilityHandles; Durability::ALL.len()],
    sent_units: Counter,
    received_units: Counter,
}

struct DurabilityHandles {
    kept: Counter,
    unknown: Counter,
    duration: Histogram,
}

static HANDLES: LazyLock<Handles> = LazyLock::new(|| Handles {
    group_orders: histogram!(GROUP_ORDERS.name),
    group_wait: histogram!(GROUP_WAIT.name),
    group_call: histogram!(GROUP_CALL.name),
    group_queue: gauge!(GROUP_QUEUE.name),
    primary_searches: counter!(PRIMARY_SEARCHES.name),
    durability_groups: histogram!(DURABILITY_GROUPS.name),
    durability: Durability::ALL.map(DurabilityHandles::new),
    sent_units: counter!(TRANSFERRED_UNITS.name, "end" => "sent"),
    received_units: counter!(TRANSFERRED_UNITS.name, "end" => "received"),
});

impl DurabilityHandles {
    fn new(durability: Durability) -> Self {
        let word = durability.as_str();
        let waits = |outcome| counter!(DURABILITY_WAITS.name, "durability" => word, "outcome" => outcome);
        Self {
            kept: waits("kept"),
            unknown: waits("unknown"),
            duration: histogram!(DURABILITY_WAIT.name, "durability" => word),
        }
    }
}

/// Begins to count, at 0; tells the bound of the log.
pub(crate) fn start(bound: LogBound) {
    LazyLock::force(&HANDLES);
    gauge!(LOG_BOUND_ORDERS.name).set(bound.orders as f64);
    gauge!(LOG_BOUND_BYTES.name).set(bound.bytes as f64);
}

/// An order that waits for its group, and is counted for as long as it does.
pub(crate) struct Queued {
    since: Instant,
}

impl Queued {
    /// It waits from `now` on.
    pub(crate) fn at(now: Instant) -> Self {
        HANDLES.group_queue.increment(1.0);
        Self { since: now }
    }

    /// The group of these is sent.
    pub(crate) fn sent(orders: impl Iterator<Item = Self>) {
        let (now, mut count) = (Instant::now(), 0.0);
        for order in orders {
            HANDLES.group_wait.record(now.saturating_duration_since(order.since).as_secs_f64());
            count += 1.0;
            // Taken off the gauge below, all at once: each change of it costs a look at what the other threads did to it.
            std::mem::forget(order);
        }
        HANDLES.group_queue.decrement(count);
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        HANDLES.group_queue.decrement(1.0);
    }
}

pub(crate) fn group_size(orders: usize) {
    HANDLES.group_orders.record(orders as f64);
}

pub(crate) fn group_call(duration: Duration) {
    HANDLES.group_call.record(duration.as_secs_f64());
}

pub(crate) fn primary_search() {
    HANDLES.primary_searches.increment(1);
}

pub(crate) fn durability_wait(durability: Durability, kept: bool, duration: Duration) {
    let handles = &HANDLES.durability[durability as usize];
    let outcome = if kept { &handles.kept } else { &handles.unknown };
    outcome.increment(1);
    handles.duration.record(duration.as_secs_f64());
}

pub(crate) fn durability_groups(groups: usize) {
    HANDLES.durability_groups.record(groups as f64);
}

pub(crate) fn durability_offered(primary: &str, durability: Durability, offered: bool) {
    let value = f64::from(u8::from(offered));
    gauge!(DURABILITY_OFFERED.name, "primary" => primary.to_owned(), "durability" => durability.as_str()).set(value);
}

/// Units left a stripe, by a call of this process.
pub(crate) fn units_sent(units: u32) {
    HANDLES.sent_units.increment(u64::from(units));
}

/// Units came to a stripe, by a call of this process.
pub(crate) fn units_received(units: u32) {
    HANDLES.received_units.increment(u64::from(units));
}

/// How a call to Redis went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OperationOutcome {
    /// It was answered.
    Ok,
    /// It was refused, or not sent: nothing happened.
    Error,
    /// Its answer was lost.
    Lost,
}

/// A script or command, as it is counted; its handles are made at its first call.
#[derive(Debug)]
pub(crate) struct Operation {
    name: &'static str,
    handles: OnceLock<OperationHandles>,
}

#[derive(Debug)]
struct OperationHandles {
    ok: Counter,
    error: Counter,
    lost: Counter,
    duration: Histogram,
}

impl Operation {
    /// An operation of this name.
    pub(crate) const fn new(name: &'static str) -> Self {
        Self { name, handles: OnceLock::new() }
    }

    /// Counts one call.
    pub(crate) fn count(&self, outcome: OperationOutcome, took: Duration) {
        let handles = self.handles.get_or_init(|| OperationHandles::new(self.name));
        let counter = match outcome {
            OperationOutcome::Ok => &handles.ok,
            OperationOutcome::Error => &handles.error,
            OperationOutcome::Lost => &handles.lost,
        };
        counter.increment(1);
        handles.duration.record(took.as_secs_f64());
    }
}

impl OperationHandles {
    fn new(operation: &'static str) -> Self {
        let calls = |outcome| counter!(OPERATIONS.name, "operation" => operation, "outcome" => outcome);
        Self {
            ok: calls("ok"),
            error: calls("error"),
            lost: calls("lost"),
            duration: histogram!(OPERATION_DURATION.name, "operation" => operation),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_durability_is_its_place_in_the_list() {
        for (place, durability) in Durability::ALL.into_iter().enumerate() {
            assert_eq!(durability as usize, place);
        }
    }
}
