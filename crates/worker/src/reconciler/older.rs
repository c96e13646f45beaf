//! An archive that is older than Redis: one that was restored from a backup, or that is another one.
//!
//! An epoch is raised, and a drop defined, in the archive first. So an archive that knows less of them than Redis has
//! lost what it knew, and facts of orders with it; nothing in it can contradict Redis, as what is missing is missing whole.

use std::collections::HashSet;

use stampede_archive::DropRecord;
use stampede_domain::{DropId, Epoch, Shard};

use super::ReconcileError;
use super::sources::Sources;

/// Drops that are counted: each costs a question to the archive, and so many are reason enough.
const DROPS_COUNTED: usize = 1_000;

/// Drops that are named; the rest is only counted.
const DROPS_NAMED: usize = 10;

/// About how many drops one look at Redis asks for.
const DROPS_AT_ONCE: u32 = 1_000;

/// What Redis knows of a shard and the archive does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unknown {
    /// Epochs that Redis has gone through and the archive never raised.
    pub epochs: u32,
    /// How many drops Redis has that the archive does not have; counted up to 1,000 and a few.
    pub drops: u64,
    /// Some of them.
    pub named: Vec<DropId>,
}

impl Unknown {
    /// Whether the archive knows everything.
    pub const fn is_nothing(&self) -> bool {
        self.epochs == 0 && self.drops == 0
    }

    /// Counts the epochs up to `epoch`, Redis's, that the archive lacks.
    pub(super) async fn epochs(sources: &Sources, shard: Shard, epoch: Epoch) -> Result<u32, ReconcileError> {
        Ok(epoch.0.saturating_sub(sources.archive.epoch(shard).await?.0))
    }

    /// Counts the drops of a shard that are not among those that the archive lists, nor were defined since.
    pub(super) async fn look(
        &mut self,
        sources: &Sources,
        shard: Shard,
        listed: &HashSet<DropId>,
    ) -> Result<(), ReconcileError> {
        let (mut cursor, mut unknown) = (0, HashSet::new());
        loop {
            let (next, drops) = sources.engine.scan_drops(shard, cursor, DROPS_AT_ONCE).await?;
            for id in drops.into_iter().filter(|id| !listed.contains(id)) {
                if sources.archive.drop_record(&id).await?.is_none() {
                    unknown.insert(id);
                }
            }
            cursor = next;
            if cursor == 0 || unknown.len() >= DROPS_COUNTED {
                break;
            }
        }
        self.drops = unknown.len() as u64;
        self.named = unknown.into_iter().take(DROPS_NAMED).collect();
        self.named.sort();
        Ok(())
    }
}

/// The ids of records.
pub(super) fn ids(records: &[DropRecord]) -> HashSet<DropId> {
    records.iter().map(|record| record.definition.id.clone()).collect()
}
