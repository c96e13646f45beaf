//! Recoveries of other processes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rand::RngExt;
use stampede_domain::Shard;
use stampede_engine::ShardInspection;

/// Recoveries that others began. Each is left alone as long as it gets on; two that overtook each other in turn would never
/// end.
pub(crate) struct Others {
    takeover_after: Duration,
    /// Where each stood, since when it stands there, and how long it may.
    seen: HashMap<Shard, (ShardInspection, Instant, Duration)>,
}

impl Others {
    pub(crate) fn new(takeover_after: Duration) -> Self {
        Self { takeover_after, seen: HashMap::new() }
    }

    /// Whether another process's recovery of the shard is under way.
    pub(crate) fn are_recovering(&mut self, shard: Shard, inspection: &ShardInspection) -> bool {
        if inspection.trusted_token.is_some() || inspection.recovering.is_none() {
            return false;
        }
        match self.seen.get(&shard) {
            Some((seen, since, patience)) if seen == inspection => since.elapsed() < *patience,
            _ => {
                let patience = self.takeover_after.mul_f64(rand::rng().random_range(1.0..=1.5));
                self.seen.insert(shard, (inspection.clone(), Instant::now(), patience));
                true
            }
        }
    }

    /// The shard needs no recovery any more.
    pub(crate) fn forget(&mut self, shard: Shard) {
        self.seen.remove(&shard);
    }
}
