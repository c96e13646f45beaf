//! What an engine can be told.

use std::time::Duration;

use stampede_domain::Durability;

/// How an engine reaches Redis, and its limits.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// Where Redis is: `redis://`, `rediss://`, `redis-cluster://` or `redis-sentinel://`, with credentials if it wants them.
    pub redis_url: String,
    /// How long a command may take before its outcome counts as unknown.
    pub command_timeout: Duration,
    /// How long a script call may lie in a queue and still take effect. Longer than `command_timeout`, so that a slow call
    /// is not refused while it is still awaited.
    pub call_deadline: Duration,
    /// The most orders in one group; at most 1,024, as an order id has ten bits for the index.
    pub group_max_orders: usize,
    /// How far apart the groups of one shard start at least, while they are small: the first order of a quiet shard goes at
    /// once, those that follow it gather meanwhile. The runtime's timers count in milliseconds; zero waits for nothing.
    pub group_interval: Duration,
    /// The most orders that wait for one shard in this process; more are answered `unavailable` at once.
    pub queue_max_orders: usize,
    /// When the log has grown so long that new orders are refused.
    pub log_bound: LogBound,
    /// The most dead letters of one shard. At it, entries with facts that the archive refuses stay in the log, and so in its
    /// bound.
    pub dead_letters_max: u64,
    /// What an answer waits for, unless its drop says something else.
    pub durability: Durability,
    /// How long an answer may wait for that before its outcome counts as unknown. Long enough for two syncs of a file that
    /// is synced each second: one that is under way, and one of its own.
    pub durability_wait: Duration,
}

/// The bound of a shard's log: what is appended and not yet acknowledged. At either figure new grants are refused;
/// cancellations and operators' changes still go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogBound {
    /// Orders.
    pub orders: u64,
    /// Bytes of the entries' payloads.
    pub bytes: u64,
}

impl Default for LogBound {
    /// Two million orders or 256 MiB a shard: minutes of a full-speed sale while the archive is away.
    fn default() -> Self {
        Self { orders: 2_000_000, bytes: 256 * 1024 * 1024 }
    }
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            redis_url: "redis://127.0.0.1:6379".to_owned(),
            command_timeout: Duration::from_secs(2),
            call_deadline: Duration::from_secs(3),
            group_max_orders: stampede_domain::MAX_GROUP_ORDERS,
            group_interval: Duration::from_millis(1),
            queue_max_orders: 65_536,
            log_bound: LogBound::default(),
            dead_letters_max: 10_000,
            durability: Durability::Memory,
            durability_wait: Duration::from_secs(3),
        }
    }
}
