//! What the engine counts. Names, help texts and units are here and nowhere else.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};

const GROUP_ORDERS: &str = "stampede_group_orders";
const PRIMARY_SEARCHES: &str = "stampede_primary_searches_total";
const GROUP_CALL_SECONDS: &str = "stampede_group_call_duration_seconds";

/// Tells the recorder what the engine's metrics mean; once per process, after the recorder was installed.
pub fn describe_metrics() {
    describe_histogram!(GROUP_ORDERS, Unit::Count, "Orders that one script call decided together.");
    describe_counter!(
        PRIMARY_SEARCHES,
        Unit::Count,
        "Connections made anew because a Redis server stood still or was a primary no longer."
    );
    describe_histogram!(GROUP_CALL_SECONDS, Unit::Seconds, "Time from sending a group of orders to its decision.");
}

pub(crate) fn group_size(orders: usize) {
    histogram!(GROUP_ORDERS).record(orders as f64);
}

pub(crate) fn primary_search() {
    counter!(PRIMARY_SEARCHES).increment(1);
}

pub(crate) fn group_call(duration: Duration) {
    histogram!(GROUP_CALL_SECONDS).record(duration.as_secs_f64());
}
