//! What the workers count. Names, help texts and labels are here and nowhere else.
//!
//! The handles are made once, after the recorder was installed. All counters are there from the start, at 0, so that the
//! first of each kind is seen as a change.

use std::sync::LazyLock;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use stampede_archive::DriftKind;
use stampede_domain::{Buckets, Metric, Shard};

use crate::reconciler::Verdict;

const ARCHIVED_FACTS: Metric =
    Metric::counter("stampede_archived_facts_total", &[], "Facts that the archive acknowledged.");
const ARCHIVE_BATCH_FACTS: Metric =
    Metric::histogram("stampede_archive_batch_facts", Buckets::Size, &[], "Facts in one batch to the archive.");
const ARCHIVE_FAILURES: Metric =
    Metric::counter("stampede_archive_failures_total", &[], "Batches that the archive could not take at the time.");
const PERSISTER_LAG: Metric = Metric::histogram(
    "stampede_persister_lag_seconds",
    Buckets::Lag,
    &[],
    "Time from an entry's decision, by Redis's clock, to the archive's acknowledgement, by this machine's.",
);
const REFUSED_FACTS: Metric = Metric::counter(
    "stampede_refused_facts_total",
    &[],
    "Facts that stay in the log: they cannot be read, or not even be noted. Must stay 0.",
);
const DEAD_LETTERS_WRITTEN: Metric =
    Metric::counter("stampede_dead_letters_written_total", &[], "Facts that became dead letters.");
const DEAD_LETTERS_REPLAYED: Metric = Metric::counter(
    "stampede_dead_letters_replayed_total",
    &[],
    "Dead letters whose facts the archive took after all.",
);
const DEAD_LETTERS_COMPENSATED: Metric = Metric::counter(
    "stampede_dead_letters_compensated_total",
    &[],
    "Orders that were given back, and of which the archive knows.",
);
const LOST_ENTRIES: Metric =
    Metric::counter("stampede_log_lost_entries_total", &[], "Pending log entries that no longer exist. Must stay 0.");
const HANDED_OVER: Metric = Metric::counter(
    "stampede_log_handed_over_entries_total",
    &[],
    "Pending log entries that a stopping persister left to another one at once.",
);
const RECOVERIES: Metric = Metric::counter(
    "stampede_recoveries_total",
    &["outcome"],
    "Recoveries of a shard, by outcome: finished, failed, superseded.",
);
const FENCED: Metric = Metric::gauge("stampede_shard_fenced", &["shard"], "1 while a shard waits for its recovery.");
const MOVING: Metric =
    Metric::gauge("stampede_shard_moving", &["shard"], "1 while a cluster moves the shard to another node.");
const TIMERS_LATE: Metric =
    Metric::histogram("stampede_timer_late_seconds", Buckets::Lag, &[], "How late a timer fired.");
const PURGED_DROPS: Metric = Metric::counter(
    "stampede_purged_drops_total",
    &[],
    "Drops that were purged: only their tombstones are left in Redis.",
);
const DRIFT: Metric = Metric::gauge(
    "stampede_reconcile_drift_units",
    &["kind"],
    "Units in which Redis and the archive differ, by kind. Must stay 0.",
);
const UNKNOWN_EPOCHS: Metric = Metric::gauge(
    "stampede_reconcile_unknown_epochs",
    &[],
    "Epochs of shards that Redis went through and the archive does not know. Must stay 0.",
);
const UNKNOWN_DROPS: Metric = Metric::gauge(
    "stampede_reconcile_unknown_drops",
    &[],
    "Drops that Redis has and the archive does not. Must stay 0.",
);
const ORPHANS: Metric =
    Metric::gauge("stampede_reconcile_orphan_facts", &["shard"], "Facts of a shard's closed epochs that do not count.");
const ROUNDS: Metric = Metric::counter(
    "stampede_reconcile_rounds_total",
    &["verdict"],
    "Rounds of the reconciler, by verdict: clean, unknown, drift.",
);
const DROPS_CHECKED: Metric =
    Metric::counter("stampede_reconcile_drops_total", &[], "Drops whose stock was compared with their facts.");
const USERS_CHECKED: Metric =
    Metric::counter("stampede_reconcile_users_total", &[], "Users whose records were compared with their orders.");
const CLEAN_AGE: Metric = Metric::gauge(
    "stampede_reconcile_clean_age_seconds",
    &[],
    "Time since the reconciler found everything sound, or since it started.",
);

/// Everything that the workers count.
pub const METRICS: &[Metric] = &[
    ARCHIVED_FACTS,
    ARCHIVE_BATCH_FACTS,
    ARCHIVE_FAILURES,
    PERSISTER_LAG,
    REFUSED_FACTS,
    DEAD_LETTERS_WRITTEN,
    DEAD_LETTERS_REPLAYED,
    DEAD_LETTERS_COMPENSATED,
    LOST_ENTRIES,
    HANDED_OVER,
    RECOVERIES,
    FENCED,
    MOVING,
    TIMERS_LATE,
    PURGED_DROPS,
    DRIFT,
    UNKNOWN_EPOCHS,
    UNKNOWN_DROPS,
    ORPHANS,
    ROUNDS,
    DROPS_CHECKED,
    USERS_CHECKED,
    CLEAN_AGE,
];

struct Handles {
    archived_facts: Counter,
    archive_batch_facts: Histogram,
    archive_failures: Counter,
    persister_lag: Histogram,
    refused_facts: Counter,
    letters_written: Counter,
    letters_replayed: Counter,
    letters_compensated: Counter,
    lost_entries: Counter,
    handed_over: Counter,
    recoveries: [Counter; RecoveryOutcome::ALL.len()],
    timers_late: Histogram,
    purged_drops: Counter,
    drift: [Gauge; DriftKind::ALL.len()],
    unknown_epochs: Gauge,
    unknown_drops: Gauge,
    rounds: [Counter; Verdict::ALL.len()],
    drops_checked: Counter,
    users_checked: Counter,
    clean_age: Gauge,
}

static HANDLES: LazyLock<Handles> = LazyLock::new(|| Handles {
    archived_facts: counter!(ARCHIVED_FACTS.name),
    archive_batch_facts: histogram!(ARCHIVE_BATCH_FACTS.name),
    archive_failures: counter!(ARCHIVE_FAILURES.name),
    persister_lag: histogram!(PERSISTER_LAG.name),
    refused_facts: counter!(REFUSED_FACTS.name),
    letters_written: counter!(DEAD_LETTERS_WRITTEN.name),
    letters_replayed: counter!(DEAD_LETTERS_REPLAYED.name),
    letters_compensated: counter!(DEAD_LETTERS_COMPENSATED.name),
    lost_entries: counter!(LOST_ENTRIES.name),
    handed_over: counter!(HANDED_OVER.name),
    recoveries: RecoveryOutcome::ALL.map(|outcome| counter!(RECOVERIES.name, "outcome" => outcome.as_str())),
    timers_late: histogram!(TIMERS_LATE.name),
    purged_drops: counter!(PURGED_DROPS.name),
    drift: DriftKind::ALL.map(|kind| gauge!(DRIFT.name, "kind" => kind.as_str())),
    unknown_epochs: gauge!(UNKNOWN_EPOCHS.name),
    unknown_drops: gauge!(UNKNOWN_DROPS.name),
    rounds: Verdict::ALL.map(|verdict| counter!(ROUNDS.name, "verdict" => verdict.as_str())),
    drops_checked: counter!(DROPS_CHECKED.name),
    users_checked: counter!(USERS_CHECKED.name),
    clean_age: gauge!(CLEAN_AGE.name),
});

/// Begins to count.
pub(crate) fn start() {
    LazyLock::force(&HANDLES);
}

/// How a recovery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecoveryOutcome {
    /// The shard is trusted again.
    Finished,
    /// It stopped, and is begun again.
    Failed,
    /// Another process's took over.
    Superseded,
}

impl RecoveryOutcome {
    const ALL: [Self; 3] = [Self::Finished, Self::Failed, Self::Superseded];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Superseded => "superseded",
        }
    }
}

pub(crate) fn archived(facts: usize) {
    HANDLES.archived_facts.increment(facts as u64);
    HANDLES.archive_batch_facts.record(facts as f64);
}

pub(crate) fn archive_failed() {
    HANDLES.archive_failures.increment(1);
}

pub(crate) fn persister_lag(lag_ms: i64) {
    HANDLES.persister_lag.record(lag_ms.max(0) as f64 / 1e3);
}

pub(crate) fn refused(facts: usize) {
    HANDLES.refused_facts.increment(facts as u64);
}

pub(crate) fn letters_changed(written: usize, replayed: usize, compensated: usize) {
    HANDLES.letters_written.increment(written as u64);
    HANDLES.letters_replayed.increment(replayed as u64);
    HANDLES.letters_compensated.increment(compensated as u64);
}

pub(crate) fn lost_entries(entries: usize) {
    HANDLES.lost_entries.increment(entries as u64);
}

pub(crate) fn handed_over(entries: u64) {
    HANDLES.handed_over.increment(entries);
}

pub(crate) fn recovery(outcome: RecoveryOutcome) {
    HANDLES.recoveries[outcome as usize].increment(1);
}

pub(crate) fn fenced(shard: Shard, fenced: bool) {
    gauge!(FENCED.name, "shard" => shard.to_string()).set(f64::from(u8::from(fenced)));
}

pub(crate) fn moving(shard: Shard, moving: bool) {
    gauge!(MOVING.name, "shard" => shard.to_string()).set(f64::from(u8::from(moving)));
}

pub(crate) fn timer_late(late_ms: i64) {
    HANDLES.timers_late.record(late_ms.max(0) as f64 / 1e3);
}

pub(crate) fn purged_drop() {
    HANDLES.purged_drops.increment(1);
}

pub(crate) fn drift(kind: DriftKind, units: u64) {
    HANDLES.drift[kind as usize].set(units as f64);
}

pub(crate) fn unknown(epochs: u64, drops: u64) {
    HANDLES.unknown_epochs.set(epochs as f64);
    HANDLES.unknown_drops.set(drops as f64);
}

pub(crate) fn orphans(shard: Shard, facts: u64) {
    gauge!(ORPHANS.name, "shard" => shard.to_string()).set(facts as f64);
}

pub(crate) fn reconciled(verdict: Verdict) {
    HANDLES.rounds[verdict as usize].increment(1);
}

pub(crate) fn reconciled_drop(users: u64) {
    HANDLES.drops_checked.increment(1);
    HANDLES.users_checked.increment(users);
}

pub(crate) fn clean_age(age: Duration) {
    HANDLES.clean_age.set(age.as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_by_kind_is_its_place_in_its_list() {
        assert!(DriftKind::ALL.into_iter().enumerate().all(|(place, kind)| kind as usize == place));
        assert!(Verdict::ALL.into_iter().enumerate().all(|(place, verdict)| verdict as usize == place));
        assert!(RecoveryOutcome::ALL.into_iter().enumerate().all(|(place, outcome)| outcome as usize == place));
    }
}
