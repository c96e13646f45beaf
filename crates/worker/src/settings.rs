//! What the workers can be told.

use std::time::Duration;

/// How the workers behave, and their limits.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// Entries that the persister takes from one shard at a time, so that Redis is not held up for long. An entry holds up to
    /// 1,024 orders.
    pub batch_entries: u64,
    /// Facts with which a batch is full; it may have more by what the last entries bring.
    pub batch_facts: usize,
    /// The shortest time between two batches that are not full: short enough to be invisible, long enough that batches are
    /// worth a sync.
    pub poll_min: Duration,
    /// The longest, when nothing happens.
    pub poll_max: Duration,
    /// How long an entry must have been pending before another process's persister takes it over. Longer than an archive
    /// takes for a batch. What a persister hands over when it stops is taken over at once.
    pub claim_idle: Duration,
    /// How long a consumer without pending entries must have been idle before its name is forgotten.
    pub forget_idle: Duration,
    /// How often the shards are checked for a fence.
    pub recovery_poll: Duration,
    /// How often some of the drops are checked for lost keys.
    pub damage_poll: Duration,
    /// How long a key must have been missing from a Redis that is trusted before it counts as lost. Longer than an operator
    /// needs to bring keys back whose move was given up: a rebuilt shard no longer knows what was not archived.
    pub loss_patience: Duration,
    /// How long a recovery of another process may stand still before it is taken over.
    pub takeover_after: Duration,
    /// How often timers are looked at.
    pub timer_poll: Duration,
    /// How old a drop must be that is not opened yet before a worker opens it in the place of a process that died.
    pub open_after: Duration,
    /// How long a drop that is over stays in Redis with the records of its users before it is purged.
    pub purge_after: Duration,
    /// How often the reconciler compares Redis with the archive.
    pub reconcile_period: Duration,
    /// How often it folds all facts, from the first one on, and not only those since the round before.
    pub reconcile_whole_every: Duration,
    /// Users whose records one round compares with their orders, about.
    pub reconcile_users: u64,
    /// How long the archive may take to catch up with what the reconciler saw in Redis, before a round ends without a verdict.
    pub reconcile_patience: Duration,
    /// How long the archive's window of a drop may differ from Redis's before it is put right. Longer than a request takes.
    pub reconcile_window_after: Duration,
    /// The longest pause after a failure; pauses double up to it, with jitter.
    pub backoff_max: Duration,
    /// How long the persister may go on after a stop was asked for.
    pub drain_limit: Duration,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            batch_entries: 64,
            batch_facts: 4_096,
            poll_min: Duration::from_millis(25),
            poll_max: Duration::from_millis(100),
            claim_idle: Duration::from_secs(30),
            forget_idle: Duration::from_secs(3_600),
            recovery_poll: Duration::from_millis(200),
            damage_poll: Duration::from_secs(2),
            loss_patience: Duration::from_secs(10),
            takeover_after: Duration::from_secs(5),
            timer_poll: Duration::from_millis(200),
            open_after: Duration::from_secs(5),
            purge_after: Duration::from_secs(7 * 86_400),
            reconcile_period: Duration::from_secs(60),
            reconcile_whole_every: Duration::from_secs(21_600),
            reconcile_users: 4_000,
            reconcile_patience: Duration::from_secs(5),
            reconcile_window_after: Duration::from_secs(15),
            backoff_max: Duration::from_secs(5),
            drain_limit: Duration::from_secs(5),
        }
    }
}
