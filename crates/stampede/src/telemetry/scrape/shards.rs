//! How the shards stand: the length of their logs, and what waits in them.

use futures_util::{StreamExt as _, stream};
use metrics::Counter;
use stampede_domain::{Shard, Timestamp};
use stampede_engine::{Engine, EngineError, LogStatus};

use super::figures::Figures;
use super::{SHARDS_AT_ONCE, is_expected};
use crate::telemetry::catalogue::{
    BACKLOG_BYTES, BACKLOG_ORDERS, CLOCK_SKEW, DEAD_LETTERS, LOG_AGE, LOG_ENTRIES, LOG_PENDING, SHARD_EPOCH,
};

/// How one shard stands.
pub struct ShardSeen {
    name: String,
    log: LogStatus,
    letters: u64,
    /// Its Redis's clock minus ours.
    skew_ms: i64,
}

/// Reads all shards. Those that are fenced or away are left out; `errors` counts the latter.
pub async fn read(engine: &Engine, errors: &Counter) -> Vec<ShardSeen> {
    let reads = stream::iter(engine.shards()).map(|shard| async move { (shard, read_one(engine, shard).await) });
    let mut seen = Vec::new();
    let mut reads = reads.buffer_unordered(SHARDS_AT_ONCE);
    while let Some((shard, read)) = reads.next().await {
        match read {
            Ok(one) => seen.push(one),
            Err(error) if is_expected(&error) => {}
            Err(error) => {
                tracing::debug!(%shard, %error, "a shard could not be read for the metrics");
                errors.increment(1);
            }
        }
    }
    seen
}

async fn read_one(engine: &Engine, shard: Shard) -> Result<ShardSeen, EngineError> {
    let log = engine.log_status(shard).await?;
    let skew_ms = log.now_ms.cast_signed() - Timestamp::now().as_ms();
    let letters = engine.count_letters(shard).await?;
    Ok(ShardSeen { name: shard.to_string(), log, letters, skew_ms })
}

/// Puts down what was seen.
pub fn put(seen: &[ShardSeen], figures: &mut Figures) {
    let oldest_age = |log: &LogStatus| log.oldest_ms.map_or(0, |oldest| log.now_ms.saturating_sub(oldest)) as f64 / 1e3;
    let mut each = |metric, value: &dyn Fn(&ShardSeen) -> f64| {
        figures.each(metric, seen.iter().map(|shard| (vec![shard.name.as_str()], value(shard))));
    };
    each(&LOG_ENTRIES, &|shard| shard.log.entries as f64);
    each(&LOG_PENDING, &|shard| shard.log.pending as f64);
    each(&BACKLOG_ORDERS, &|shard| shard.log.backlog_orders as f64);
    each(&BACKLOG_BYTES, &|shard| shard.log.backlog_bytes as f64);
    each(&LOG_AGE, &|shard| oldest_age(&shard.log));
    each(&SHARD_EPOCH, &|shard| f64::from(shard.log.epoch.0));
    each(&DEAD_LETTERS, &|shard| shard.letters as f64);
    if let Some(skew_ms) = seen.iter().map(|shard| shard.skew_ms).max_by_key(|skew| skew.abs()) {
        figures.one(&CLOCK_SKEW, skew_ms as f64 / 1e3);
    }
}
