//! What the engine counts. Names, help texts and units are here and nowhere else.

use std::time::Duration;

use metrics::{Unit, describe_histogram, histogram};

const GROUP_ORDERS: &str = "stampede_group_orders";
const GROUP_CALL_SECONDS: &str = "stampede_group_call_duration_seconds";

/// Tells the recorder what the engine's metrics mean; once per process, after the recorder was installed.
pub fn describe_metrics() {
    describe_histogram!(GROUP_ORDERS, Unit::Count, "Orders that one script call decided together.");
    describe_histogram!(GROUP_CALL_SECONDS, Unit::Seconds, "Time from sending a group of orders to its decision.");
}

pub(crate) fn group_size(orders: usize) {
    histogram!(GROUP_ORDERS).record(orders as f64);
}

pub(crate) fn group_call(duration: Duration) {
    histogram!(GROUP_CALL_SECONDS).record(duration.as_secs_f64());
}
