//! Redis and the archive, as a reconciliation asks them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use stampede_archive::{Archive, ArchiveError, DropRecord};
use stampede_domain::{Closing, DropId, Epoch, OrderId, Shard};
use stampede_engine::{Engine, EngineError};

use super::fold::Place;

/// Drops that one read, or one script, deals with.
const DROPS_AT_ONCE: usize = 200;

/// The first pause while the archive catches up; each is twice the one before, up to the longest.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Why nobody can tell, this time, whether a shard is sound. No alarm: it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The archive failed.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Redis failed, or the shard is fenced.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// What Redis holds is not archived yet.
    #[error("the archive is behind: it has entries up to {settled}, and {number} is needed")]
    Behind {
        /// The entry up to which everything is archived.
        settled: u64,
        /// The entry up to which it must be.
        number: u64,
    },
    /// The shard was recovered meanwhile.
    #[error("the shard went from epoch {0} to {1} meanwhile")]
    Recovered(Epoch, Epoch),
}

/// What a reconciliation asks.
#[derive(Clone)]
pub(super) struct Sources {
    pub(super) engine: Engine,
    pub(super) archive: Arc<dyn Archive>,
    /// How long the archive may take to catch up with a cut.
    pub(super) patience: Duration,
}

impl Sources {
    /// Waits until everything up to a place is acknowledged, and so archived.
    pub(super) async fn wait_until_archived(&self, shard: Shard, place: Place) -> Result<(), ReconcileError> {
        let started = Instant::now();
        let mut pause = SHORTEST_PAUSE;
        loop {
            let cut = self.engine.cut(shard, &[]).await?;
            if cut.epoch != place.epoch {
                return Err(ReconcileError::Recovered(place.epoch, cut.epoch));
            }
            if cut.settled >= place.number {
                return Ok(());
            }
            if started.elapsed() >= self.patience {
                return Err(ReconcileError::Behind { settled: cut.settled, number: place.number });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// The closings that say what counts in an epoch. There will never be others.
    pub(super) async fn closings(&self, shard: Shard, epoch: Epoch) -> Result<Vec<Closing>, ReconcileError> {
        let mut closings = self.archive.closings(shard).await?;
        closings.retain(|closing| closing.epoch <= epoch);
        Ok(closings)
    }

    /// The shards in which one drop lives, or all of them.
    pub(super) async fn shards(&self, only: Option<&DropId>) -> Vec<Shard> {
        let Some(id) = only else { return self.engine.shards().collect() };
        let home = self.engine.shard_of(id);
        // If the archive does not say, its home's check finds out why.
        let record = self.archive.drop_record(id).await.ok().flatten();
        record.map_or_else(|| vec![home], |record| record.definition.stripes.shards(home))
    }

    /// The drops of a shard, or one of them.
    pub(super) async fn drops(&self, shard: Shard, only: Option<&DropId>) -> Result<Vec<DropRecord>, ReconcileError> {
        let mut drops = Vec::new();
        if let Some(id) = only {
            drops.extend(self.archive.drop_record(id).await?);
        } else {
            let mut after = None;
            loop {
                let page = self.archive.drops_of_shard(shard, after.as_ref(), DROPS_AT_ONCE).await?;
                let Some(last) = page.last() else { break };
                after = Some(last.definition.id.clone());
                drops.extend(page);
            }
        }
        Ok(drops)
    }

    /// Whether a granted order is somewhere else than in the archive: its fact is in the log until it is archived, and among
    /// the dead letters if the archive refuses it.
    pub(super) async fn is_elsewhere(&self, id: OrderId) -> Result<bool, ReconcileError> {
        Ok(self.engine.logged_order(id).await?.is_some() || self.engine.dead_order(id).await?.is_some())
    }
}

/// Cuts through drops of one shard, a few at a time: each at its own moment, all in one epoch.
pub(super) struct Cuts {
    pub(super) drops: Vec<(Place, Option<stampede_engine::LiveDrop>)>,
    /// The last of them.
    pub(super) last: Place,
}

impl Sources {
    /// Cuts through these drops.
    pub(super) async fn cuts(&self, shard: Shard, ids: &[DropId]) -> Result<Cuts, ReconcileError> {
        let first = self.engine.cut(shard, &[]).await?;
        let mut last = Place { epoch: first.epoch, number: first.number };
        let mut drops = Vec::with_capacity(ids.len());
        for chunk in ids.chunks(DROPS_AT_ONCE) {
            let cut = self.engine.cut(shard, chunk).await?;
            if cut.epoch != last.epoch {
                return Err(ReconcileError::Recovered(last.epoch, cut.epoch));
            }
            last.number = cut.number;
            drops.extend(cut.drops.into_iter().map(|live| (last, live)));
        }
        Ok(Cuts { drops, last })
    }
}
