//! What the workers count. Names, help texts and units are here and nowhere else.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use stampede_domain::Shard;
use stampede_engine::LogStatus;

const ARCHIVED_FACTS: &str = "stampede_archived_facts_total";
const ARCHIVE_BATCH_FACTS: &str = "stampede_archive_batch_facts";
const ARCHIVE_FAILURES: &str = "stampede_archive_failures_total";
const REFUSED_FACTS: &str = "stampede_refused_facts_total";
const DEAD_LETTERS: &str = "stampede_dead_letters";
const DEAD_LETTERS_WRITTEN: &str = "stampede_dead_letters_written_total";
const DEAD_LETTERS_REPLAYED: &str = "stampede_dead_letters_replayed_total";
const DEAD_LETTERS_COMPENSATED: &str = "stampede_dead_letters_compensated_total";
const LOST_ENTRIES: &str = "stampede_log_lost_entries_total";
const BACKLOG_ORDERS: &str = "stampede_log_backlog_orders";
const BACKLOG_BYTES: &str = "stampede_log_backlog_bytes";
const LOG_AGE: &str = "stampede_log_oldest_age_seconds";
const RECOVERIES: &str = "stampede_recoveries_total";
const FENCED: &str = "stampede_shard_fenced";
const MOVING: &str = "stampede_shard_moving";
const CLOCK_SKEW: &str = "stampede_redis_clock_skew_seconds";
const PURGED_DROPS: &str = "stampede_purged_drops_total";
const HANDED_OVER: &str = "stampede_log_handed_over_entries_total";
const TIMERS_LATE: &str = "stampede_timer_late_seconds";
const DRIFT: &str = "stampede_reconcile_drift_units";
const ORPHANS: &str = "stampede_reconcile_orphan_facts";
const ROUNDS: &str = "stampede_reconcile_rounds_total";
const DROPS_CHECKED: &str = "stampede_reconcile_drops_total";
const USERS_CHECKED: &str = "stampede_reconcile_users_total";
const CLEAN_AGE: &str = "stampede_reconcile_clean_age_seconds";

/// Tells the recorder what the workers' metrics mean; once per process, after the recorder was installed.
pub fn describe_metrics() {
    describe_counter!(ARCHIVED_FACTS, Unit::Count, "Facts that the archive acknowledged.");
    describe_histogram!(ARCHIVE_BATCH_FACTS, Unit::Count, "Facts in one batch to the archive.");
    describe_counter!(ARCHIVE_FAILURES, Unit::Count, "Batches that the archive could not take at the time.");
    describe_counter!(
        REFUSED_FACTS,
        Unit::Count,
        "Facts that stay in the log: they cannot be read, or not even be noted."
    );
    describe_gauge!(DEAD_LETTERS, Unit::Count, "Dead letters of a shard: facts that the archive refuses for good.");
    describe_counter!(DEAD_LETTERS_WRITTEN, Unit::Count, "Facts that became dead letters.");
    describe_counter!(DEAD_LETTERS_REPLAYED, Unit::Count, "Dead letters whose facts the archive took after all.");
    describe_counter!(
        DEAD_LETTERS_COMPENSATED,
        Unit::Count,
        "Orders that were given back, and of which the archive knows."
    );
    describe_counter!(LOST_ENTRIES, Unit::Count, "Pending log entries that no longer exist. Must stay 0.");
    describe_gauge!(BACKLOG_ORDERS, Unit::Count, "Orders in a shard's log that are not archived yet.");
    describe_gauge!(BACKLOG_BYTES, Unit::Bytes, "Payload in a shard's log that is not archived yet.");
    describe_gauge!(LOG_AGE, Unit::Seconds, "Age of the oldest entry of a shard's log.");
    describe_counter!(RECOVERIES, Unit::Count, "Recoveries of a shard, by outcome.");
    describe_gauge!(FENCED, Unit::Count, "1 while a shard waits for its recovery.");
    describe_gauge!(MOVING, Unit::Count, "1 while a cluster moves the shard to another node.");
    describe_gauge!(CLOCK_SKEW, Unit::Seconds, "Redis's clock minus this machine's.");
    describe_counter!(PURGED_DROPS, Unit::Count, "Drops that were purged: only their tombstones are left in Redis.");
    describe_counter!(
        HANDED_OVER,
        Unit::Count,
        "Pending log entries that a stopping persister left to another one at once."
    );
    describe_histogram!(TIMERS_LATE, Unit::Seconds, "How late a timer fired.");
    describe_gauge!(DRIFT, Unit::Count, "Units in which Redis and the archive differ, by kind. Must stay 0.");
    describe_gauge!(ORPHANS, Unit::Count, "Facts of a shard's closed epochs that do not count.");
    describe_counter!(ROUNDS, Unit::Count, "Rounds of the reconciler, by verdict.");
    describe_counter!(DROPS_CHECKED, Unit::Count, "Drops whose stock was compared with their facts.");
    describe_counter!(USERS_CHECKED, Unit::Count, "Users whose records were compared with their orders.");
    describe_gauge!(CLEAN_AGE, Unit::Seconds, "Time since the reconciler found everything sound, or since it started.");
}

pub(crate) fn archived(facts: usize) {
    counter!(ARCHIVED_FACTS).increment(facts as u64);
    histogram!(ARCHIVE_BATCH_FACTS).record(facts as f64);
}

pub(crate) fn archive_failed() {
    counter!(ARCHIVE_FAILURES).increment(1);
}

pub(crate) fn refused(facts: usize) {
    counter!(REFUSED_FACTS).increment(facts as u64);
}

pub(crate) fn dead_letters(shard: Shard, letters: u64) {
    gauge!(DEAD_LETTERS, "shard" => shard.to_string()).set(letters as f64);
}

pub(crate) fn letters_changed(written: usize, replayed: usize, compensated: usize) {
    counter!(DEAD_LETTERS_WRITTEN).increment(written as u64);
    counter!(DEAD_LETTERS_REPLAYED).increment(replayed as u64);
    counter!(DEAD_LETTERS_COMPENSATED).increment(compensated as u64);
}

pub(crate) fn lost_entries(entries: usize) {
    counter!(LOST_ENTRIES).increment(entries as u64);
}

pub(crate) fn log_status(shard: Shard, status: &LogStatus) {
    let age_ms = status.oldest_ms.map_or(0, |oldest| status.now_ms.saturating_sub(oldest));
    gauge!(BACKLOG_ORDERS, "shard" => shard.to_string()).set(status.backlog_orders as f64);
    gauge!(BACKLOG_BYTES, "shard" => shard.to_string()).set(status.backlog_bytes as f64);
    gauge!(LOG_AGE, "shard" => shard.to_string()).set(age_ms as f64 / 1e3);
}

pub(crate) fn clock_skew(skew_ms: i64) {
    gauge!(CLOCK_SKEW).set(skew_ms as f64 / 1e3);
}

pub(crate) fn recovery(outcome: &'static str) {
    counter!(RECOVERIES, "outcome" => outcome).increment(1);
}

pub(crate) fn fenced(shard: Shard, fenced: bool) {
    gauge!(FENCED, "shard" => shard.to_string()).set(f64::from(u8::from(fenced)));
}

pub(crate) fn purged_drop() {
    counter!(PURGED_DROPS).increment(1);
}

pub(crate) fn handed_over(entries: u64) {
    counter!(HANDED_OVER).increment(entries);
}

pub(crate) fn moving(shard: Shard, moving: bool) {
    gauge!(MOVING, "shard" => shard.to_string()).set(f64::from(u8::from(moving)));
}

pub(crate) fn timer_late(late_ms: i64) {
    histogram!(TIMERS_LATE).record(late_ms.max(0) as f64 / 1e3);
}

pub(crate) fn drift(kind: &'static str, units: u64) {
    gauge!(DRIFT, "kind" => kind).set(units as f64);
}

pub(crate) fn orphans(shard: Shard, facts: u64) {
    gauge!(ORPHANS, "shard" => shard.to_string()).set(facts as f64);
}

pub(crate) fn reconciled(verdict: &'static str) {
    counter!(ROUNDS, "verdict" => verdict).increment(1);
}

pub(crate) fn reconciled_drop(users: u64) {
    counter!(DROPS_CHECKED).increment(1);
    counter!(USERS_CHECKED).increment(users);
}

pub(crate) fn clean_age(age: Duration) {
    gauge!(CLEAN_AGE).set(age.as_secs_f64());
}
