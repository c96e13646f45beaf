//! What a round tells.

use stampede_archive::Reconciliation;
use stampede_domain::{DropId, Shard};

use super::{ReconcileError, Unknown};

/// What came out of a round, or of one shard in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Everything that was looked at is sound.
    Clean,
    /// Nobody can tell: the archive is behind or away, or a shard is fenced.
    Unknown,
    /// Something differs.
    Drift,
}

/// What a round found.
#[derive(Debug, Default)]
pub struct ReconcileReport {
    /// Each shard that was looked at.
    pub shards: Vec<ShardReport>,
}

/// What a round found in one shard.
#[derive(Debug)]
pub struct ShardReport {
    /// The shard.
    pub shard: Shard,
    /// The drops that were looked at; all of them, unless something failed.
    pub drops: Vec<Reconciliation>,
    /// What Redis knows and the archive does not: the archive is older than Redis then.
    pub unknown: Unknown,
    /// Facts that do not count.
    pub orphans: u64,
    /// Drops whose window in the archive was put right.
    pub windows_repaired: Vec<DropId>,
    /// What kept the round from looking at everything.
    pub failed: Option<ReconcileError>,
}

impl ReconcileReport {
    /// Drift in any shard, or else whether every shard could be looked at.
    pub fn verdict(&self) -> Verdict {
        self.shards.iter().map(ShardReport::verdict).max().unwrap_or(Verdict::Clean)
    }
}

impl ShardReport {
    pub(super) fn new(shard: Shard) -> Self {
        let (drops, unknown) = (Vec::new(), Unknown::default());
        Self { shard, drops, unknown, orphans: 0, windows_repaired: Vec::new(), failed: None }
    }

    /// What came out of it.
    pub fn verdict(&self) -> Verdict {
        if !self.unknown.is_nothing() || self.drops.iter().any(|drop| !drop.is_clean()) {
            Verdict::Drift
        } else if self.failed.is_some() {
            Verdict::Unknown
        } else {
            Verdict::Clean
        }
    }
}

impl Verdict {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Clean, Self::Unknown, Self::Drift];

    /// The word for it, in metrics and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Unknown => "unknown",
            Self::Drift => "drift",
        }
    }
}
