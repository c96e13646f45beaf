//! What the engine counts. Names, help texts and units are here and nowhere else.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use stampede_domain::Durability;

const GROUP_ORDERS: &str = "stampede_group_orders";
const PRIMARY_SEARCHES: &str = "stampede_primary_searches_total";
const GROUP_CALL_SECONDS: &str = "stampede_group_call_duration_seconds";
const DURABILITY_WAITS: &str = "stampede_durability_waits_total";
const DURABILITY_WAIT_SECONDS: &str = "stampede_durability_wait_duration_seconds";
const DURABILITY_WAIT_GROUPS: &str = "stampede_durability_wait_groups";
const DURABILITY_OFFERED: &str = "stampede_durability_offered";

/// Tells the recorder what the engine's metrics mean; once per process, after the recorder was installed.
pub fn describe_metrics() {
    describe_histogram!(GROUP_ORDERS, Unit::Count, "Orders that one script call decided together.");
    describe_counter!(
        PRIMARY_SEARCHES,
        Unit::Count,
        "Connections made anew because a Redis server stood still or was a primary no longer."
    );
    describe_histogram!(GROUP_CALL_SECONDS, Unit::Seconds, "Time from sending a group of orders to its decision.");
    describe_counter!(
        DURABILITY_WAITS,
        Unit::Count,
        "Answers and batches that waited for durability, by kind and outcome: kept, or unknown."
    );
    describe_histogram!(DURABILITY_WAIT_SECONDS, Unit::Seconds, "How long one of them waited.");
    describe_histogram!(DURABILITY_WAIT_GROUPS, Unit::Count, "How many of them one wait at a primary served.");
    describe_gauge!(
        DURABILITY_OFFERED,
        Unit::Count,
        "1 while a primary can keep this durability, by primary and kind."
    );
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

pub(crate) fn durability_wait(durability: Durability, kept: bool, duration: Duration) {
    let outcome = if kept { "kept" } else { "unknown" };
    counter!(DURABILITY_WAITS, "durability" => durability.as_str(), "outcome" => outcome).increment(1);
    histogram!(DURABILITY_WAIT_SECONDS, "durability" => durability.as_str()).record(duration.as_secs_f64());
}

pub(crate) fn durability_groups(groups: usize) {
    histogram!(DURABILITY_WAIT_GROUPS).record(groups as f64);
}

pub(crate) fn durability_offered(primary: &str, durability: Durability, offered: bool) {
    let value = f64::from(u8::from(offered));
    gauge!(DURABILITY_OFFERED, "primary" => primary.to_owned(), "durability" => durability.as_str()).set(value);
}
