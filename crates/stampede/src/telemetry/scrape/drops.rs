//! How the drops in Redis stand.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use metrics::Counter;
use stampede_domain::{DropId, Mode, Phase, Shard};
use stampede_engine::{Engine, EngineError, LiveDrop};
use tokio::time::Instant;

use super::figures::Figures;
use super::{SHARDS_AT_ONCE, is_expected};
use crate::telemetry::catalogue::{
    DROP_ENDS_AT, DROP_IN_TRANSIT, DROP_INFO, DROP_OVERSOLD, DROP_STARTS_AT, DROP_STOCK, DROP_UNBALANCED,
    DROPS_NOT_SHOWN,
};

/// The most drops that are read for one page; those beyond are only counted.
const READ_MAX: usize = 10_000;

/// Names of drops that one call looks for, and drops that one call reads.
const NAMES_AT_ONCE: u32 = 1_000;
const DROPS_AT_ONCE: usize = 100;

/// The most purged drops that are remembered, and for how long: a Redis that lost its newest entries may have one back.
const PURGED_MAX: usize = 100_000;
const PURGED_FOR: Duration = Duration::from_secs(300);

/// Reads the drops that Redis holds.
pub struct DropReader {
    max: usize,
    /// Drops of which only a tombstone is left: they need not be read again.
    purged: HashSet<DropId>,
    purged_since: Instant,
}

/// What was seen of the drops.
#[derive(Default)]
pub struct DropsSeen {
    shown: Vec<LiveDrop>,
    not_shown: usize,
}

/// What was seen of one shard's drops.
#[derive(Default)]
struct ShardDrops {
    drops: Vec<LiveDrop>,
    purged: Vec<DropId>,
    not_read: usize,
}

impl DropReader {
    /// Shows at most `max` drops.
    pub fn new(max: usize) -> Self {
        Self { max, purged: HashSet::new(), purged_since: Instant::now() }
    }

    /// Reads the drops of all shards. Shards that are fenced or away are left out; `errors` counts the latter.
    pub async fn read(&mut self, engine: &Engine, errors: &Counter) -> DropsSeen {
        if self.purged_since.elapsed() > PURGED_FOR || self.purged.len() > PURGED_MAX {
            self.purged.clear();
            self.purged_since = Instant::now();
        }
        let most = (READ_MAX / engine.shards().len().max(1)).max(DROPS_AT_ONCE);
        let known = &self.purged;
        let reads = stream::iter(engine.shards())
            .map(|shard| async move { (shard, read_shard(engine, shard, most, known, errors).await) });
        let read: Vec<(Shard, Result<ShardDrops, EngineError>)> =
            reads.buffer_unordered(SHARDS_AT_ONCE).collect().await;
        let mut seen = DropsSeen::default();
        for (shard, read) in read {
            match read {
                Ok(drops) => {
                    self.purged.extend(drops.purged);
                    seen.shown.extend(drops.drops);
                    seen.not_shown += drops.not_read;
                }
                Err(error) if is_expected(&error) => {}
                Err(error) => {
                    tracing::debug!(%shard, %error, "a shard's drops could not be read for the metrics");
                    errors.increment(1);
                }
            }
        }
        seen.shown.sort_by_cached_key(|drop| (rank(drop.phase()), Reverse(drop.window.starts_at), drop.id.clone()));
        seen.not_shown += seen.shown.len().saturating_sub(self.max);
        seen.shown.truncate(self.max);
        seen
    }
}

/// Reads the drops of one shard, but for those that are known to be purged.
async fn read_shard(
    engine: &Engine,
    shard: Shard,
    most: usize,
    known: &HashSet<DropId>,
    errors: &Counter,
) -> Result<ShardDrops, EngineError> {
    let (mut names, mut cursor) = (HashSet::new(), 0);
    loop {
        let (next, found) = engine.scan_drops(shard, cursor, NAMES_AT_ONCE).await?;
        // A striped drop is read by its home, with all stripes.
        names.extend(found.into_iter().filter(|id| engine.shard_of(id) == shard && !known.contains(id)));
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    let names: Vec<DropId> = names.into_iter().collect();
    let (read, not_read) = names.split_at(names.len().min(most));
    let mut seen = ShardDrops { not_read: not_read.len(), ..ShardDrops::default() };
    for chunk in read.chunks(DROPS_AT_ONCE) {
        for drop in read_chunk(engine, shard, chunk, errors).await? {
            if drop.purged {
                seen.purged.push(drop.id);
            } else {
                seen.drops.push(drop);
            }
        }
    }
    Ok(seen)
}

/// Reads some drops; one that cannot be understood does not hide the others.
async fn read_chunk(
    engine: &Engine,
    shard: Shard,
    ids: &[DropId],
    errors: &Counter,
) -> Result<Vec<LiveDrop>, EngineError> {
    let reading = match engine.read_drops(shard, ids).await {
        Err(EngineError::Malformed(_)) if ids.len() > 1 => {
            let mut drops = Vec::with_capacity(ids.len());
            for id in ids {
                drops.extend(Box::pin(read_chunk(engine, shard, std::slice::from_ref(id), errors)).await?);
            }
            return Ok(drops);
        }
        Err(EngineError::Malformed(error)) => {
            tracing::debug!(drops = ?ids, %error, "a drop could not be read for the metrics");
            errors.increment(1);
            return Ok(Vec::new());
        }
        other => other?,
    };
    Ok(reading.drops.into_iter().flatten().collect())
}

/// Which drops matter most.
const fn rank(phase: Phase) -> u8 {
    match phase {
        Phase::Live => 0,
        Phase::SoldOut => 1,
        Phase::Paused => 2,
        Phase::Scheduled => 3,
        Phase::Ended => 4,
        Phase::Cancelled => 5,
    }
}

impl DropsSeen {
    /// Puts down what was seen.
    pub fn put(&self, figures: &mut Figures) {
        figures.one(&DROPS_NOT_SHOWN, self.not_shown as f64);
        figures.each(
            &DROP_STOCK,
            self.shown.iter().flat_map(|drop| {
                let states = [
                    ("available", drop.available_units),
                    ("held", drop.held_units),
                    ("sold", drop.sold_units),
                    ("total", drop.total_units),
                ];
                states.map(|(state, units)| (vec![drop.id.as_str(), state], units as f64))
            }),
        );
        figures.each(
            &DROP_INFO,
            self.shown.iter().map(|drop| {
                // All drops sell in the one mode that there is.
                let (mode, phase) = (Mode::Instant.as_str(), drop.phase().as_str());
                (vec![drop.id.as_str(), drop.sku.as_str(), mode, phase], 1.0)
            }),
        );
        let mut each = |metric, value: &dyn Fn(&LiveDrop) -> Option<f64>| {
            figures.each(metric, self.shown.iter().filter_map(|drop| Some((vec![drop.id.as_str()], value(drop)?))));
        };
        each(&DROP_STARTS_AT, &|drop| Some(drop.window.starts_at.as_ms() as f64 / 1e3));
        each(&DROP_ENDS_AT, &|drop| drop.window.ends_at.map(|end| end.as_ms() as f64 / 1e3));
        each(&DROP_OVERSOLD, &|drop| Some(taken(drop).saturating_sub(drop.total_units) as f64));
        each(&DROP_UNBALANCED, &|drop| {
            Some(taken(drop).saturating_add(drop.available_units).abs_diff(drop.total_units) as f64)
        });
        each(&DROP_IN_TRANSIT, &|drop| {
            let units = drop.sent_units.saturating_sub(drop.received_units);
            drop.stripes.is_striped().then_some(units as f64)
        });
    }
}

/// Units that are sold or held.
const fn taken(drop: &LiveDrop) -> u64 {
    drop.sold_units.saturating_add(drop.held_units)
}
