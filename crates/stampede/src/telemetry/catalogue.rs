//! Every metric of the program: those that its crates count, and what is read when it is asked for.
//!
//! Names, help texts and labels of the latter are here and nowhere else; `docs/metrics.md` lists all of them.

use stampede_domain::Metric;

pub const BUILD_INFO: Metric =
    Metric::gauge("stampede_build_info", &["version", "role"], "1, with the version and the role of this process.");
pub const REDIS_CONNECTED: Metric =
    Metric::gauge("stampede_redis_connected", &[], "1 while this process has its connections to Redis.");
pub const CLOCK_SKEW: Metric = Metric::gauge(
    "stampede_redis_clock_skew_seconds",
    &[],
    "Redis's clock minus this machine's; of several servers, the greatest.",
);

pub const LOG_ENTRIES: Metric = Metric::gauge("stampede_log_entries", &["shard"], "Entries in a shard's log.");
pub const LOG_PENDING: Metric = Metric::gauge(
    "stampede_log_pending_entries",
    &["shard"],
    "Entries of a shard's log that a persister was given and has not acknowledged.",
);
pub const BACKLOG_ORDERS: Metric =
    Metric::gauge("stampede_log_backlog_orders", &["shard"], "Orders in a shard's log that are not archived yet.");
pub const BACKLOG_BYTES: Metric =
    Metric::gauge("stampede_log_backlog_bytes", &["shard"], "Payload in a shard's log that is not archived yet.");
pub const LOG_AGE: Metric =
    Metric::gauge("stampede_log_oldest_age_seconds", &["shard"], "Age of the oldest entry of a shard's log.");
pub const SHARD_EPOCH: Metric =
    Metric::gauge("stampede_shard_epoch", &["shard"], "The epoch of the Redis process that a shard trusts.");
pub const DEAD_LETTERS: Metric = Metric::gauge(
    "stampede_dead_letters",
    &["shard"],
    "Dead letters of a shard: facts that the archive refuses for good.",
);

pub const DROP_STOCK: Metric = Metric::gauge(
    "stampede_drop_stock_units",
    &["drop_id", "state"],
    "Units of a drop in Redis, by state: available, held, sold, total.",
);
pub const DROP_INFO: Metric = Metric::gauge(
    "stampede_drop_info",
    &["drop_id", "sku", "mode", "phase"],
    "1, with what a drop in Redis sells, how, and in which phase it is.",
);
pub const DROP_STARTS_AT: Metric =
    Metric::gauge("stampede_drop_starts_at_seconds", &["drop_id"], "When a drop's window begins, in Unix time.");
pub const DROP_ENDS_AT: Metric = Metric::gauge(
    "stampede_drop_ends_at_seconds",
    &["drop_id"],
    "When a drop's window ends, in Unix time; absent if it has no end.",
);
pub const DROP_OVERSOLD: Metric = Metric::gauge(
    "stampede_drop_oversold_units",
    &["drop_id"],
    "Units that are sold or held beyond a drop's total. Must stay 0.",
);
pub const DROP_UNBALANCED: Metric = Metric::gauge(
    "stampede_drop_unbalanced_units",
    &["drop_id"],
    "Units by which a drop's total differs from available, held and sold together. Must stay 0.",
);
pub const DROP_IN_TRANSIT: Metric = Metric::gauge(
    "stampede_drop_in_transit_units",
    &["drop_id"],
    "Units of a striped drop that are on their way from one stripe to another.",
);
pub const DROPS_NOT_SHOWN: Metric = Metric::gauge(
    "stampede_drops_not_shown",
    &[],
    "Drops in Redis that are left out of the figures per drop, because of metrics_drops_max.",
);
pub const SCRAPE_ERRORS: Metric = Metric::counter(
    "stampede_scrape_errors_total",
    &["reading"],
    "Readings for this page that failed or took too long, by what was read: drops, shards.",
);

pub const PROCESS_CPU: Metric =
    Metric::counter("process_cpu_seconds_total", &[], "Total user and system CPU time spent in seconds.");
pub const PROCESS_RESIDENT: Metric =
    Metric::gauge("process_resident_memory_bytes", &[], "Resident memory size in bytes.");
pub const PROCESS_VIRTUAL: Metric = Metric::gauge("process_virtual_memory_bytes", &[], "Virtual memory size in bytes.");
pub const PROCESS_OPEN_FDS: Metric = Metric::gauge("process_open_fds", &[], "Number of open file descriptors.");
pub const PROCESS_MAX_FDS: Metric = Metric::gauge("process_max_fds", &[], "Maximum number of open file descriptors.");
pub const PROCESS_START: Metric =
    Metric::gauge("process_start_time_seconds", &[], "Start time of the process since Unix epoch in seconds.");
pub const PROCESS_THREADS: Metric = Metric::gauge("process_threads", &[], "Number of OS threads in the process.");

pub const TOKIO_WORKERS: Metric = Metric::gauge("stampede_tokio_workers", &[], "Threads that run tasks.");
pub const TOKIO_ALIVE_TASKS: Metric =
    Metric::gauge("stampede_tokio_alive_tasks", &[], "Tasks that have begun and not ended.");
pub const TOKIO_GLOBAL_QUEUE: Metric =
    Metric::gauge("stampede_tokio_global_queue_tasks", &[], "Tasks that wait in the queue of all threads.");
pub const TOKIO_BUSY: Metric =
    Metric::counter("stampede_tokio_busy_seconds_total", &[], "Time that the threads spent on tasks, all together.");
pub const TOKIO_PARKS: Metric =
    Metric::counter("stampede_tokio_parks_total", &[], "How often a thread had nothing to do, all together.");

pub const TRACE_SPANS: Metric = Metric::counter(
    "stampede_trace_spans_total",
    &["outcome"],
    "Spans, by outcome: exported, failed (the receiver did not take them), or dropped (no room to wait).",
);

/// What is read when it is asked for, or told once; and what becomes of spans.
const METRICS: &[Metric] = &[
    BUILD_INFO,
    REDIS_CONNECTED,
    CLOCK_SKEW,
    LOG_ENTRIES,
    LOG_PENDING,
    BACKLOG_ORDERS,
    BACKLOG_BYTES,
    LOG_AGE,
    SHARD_EPOCH,
    DEAD_LETTERS,
    DROP_STOCK,
    DROP_INFO,
    DROP_STARTS_AT,
    DROP_ENDS_AT,
    DROP_OVERSOLD,
    DROP_UNBALANCED,
    DROP_IN_TRANSIT,
    DROPS_NOT_SHOWN,
    SCRAPE_ERRORS,
    PROCESS_CPU,
    PROCESS_RESIDENT,
    PROCESS_VIRTUAL,
    PROCESS_OPEN_FDS,
    PROCESS_MAX_FDS,
    PROCESS_START,
    PROCESS_THREADS,
    TOKIO_WORKERS,
    TOKIO_ALIVE_TASKS,
    TOKIO_GLOBAL_QUEUE,
    TOKIO_BUSY,
    TOKIO_PARKS,
    TRACE_SPANS,
];

/// Every metric, in the order of the page.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    [stampede_api::METRICS, stampede_engine::METRICS, stampede_archive::METRICS, stampede_worker::METRICS, METRICS]
        .into_iter()
        .flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// A metric's row on the page.
    fn row(metric: &Metric) -> String {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        format!("| `{}` | {} | {} | {} |", metric.name, metric.kind, labels.join(", "), metric.help)
    }

    #[test]
    fn the_page_lists_every_metric_and_no_other() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
        let page = std::fs::read_to_string(path).expect("the page is there");
        let listed: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
        let expected: Vec<String> = all().map(row).collect();
        assert_eq!(listed, expected, "docs/metrics.md should list:\n{}", expected.join("\n"));
    }

    #[test]
    fn every_metric_has_a_name_of_its_own_and_a_help_text() {
        let names: BTreeSet<&str> = all().map(|metric| metric.name).collect();
        assert_eq!(names.len(), all().count());
        for metric in all() {
            assert!(metric.help.ends_with('.'), "{}: {:?}", metric.name, metric.help);
            assert_eq!(metric.name.ends_with("_total"), metric.kind.to_string() == "counter", "{}", metric.name);
        }
    }
}
