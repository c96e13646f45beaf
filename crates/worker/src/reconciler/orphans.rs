//! Facts that do not count: what a cut-off primary or a stopped persister wrote too late.

use std::collections::BTreeMap;

use stampede_archive::{Archive, ArchiveError};
use stampede_domain::{Closing, Epoch, Shard, uncovered};

/// How many of the last epochs are counted each time: what comes late, comes soon after the end of its epoch. All of them are
/// counted when everything is looked at from the start.
const RECENT_EPOCHS: u32 = 8;

/// The orphans of one shard, by epoch.
#[derive(Default)]
pub(super) struct Orphans(BTreeMap<Epoch, u64>);

impl Orphans {
    /// Counts again. `closings` are all up to `epoch`.
    pub(super) async fn count(
        &mut self,
        archive: &dyn Archive,
        shard: Shard,
        epoch: Epoch,
        closings: &[Closing],
        whole: bool,
    ) -> Result<u64, ArchiveError> {
        let first = if whole { 0 } else { epoch.0.saturating_sub(RECENT_EPOCHS) };
        for epoch in (first..epoch.0).map(Epoch) {
            let mut orphans = 0;
            for numbers in uncovered(epoch, closings) {
                orphans += archive.count_facts(shard, epoch, numbers).await?;
            }
            self.0.insert(epoch, orphans);
        }
        Ok(self.0.values().sum())
    }
}
