//! Answers about drops: from the snapshot, or by loading the drop when it is first asked about.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use stampede_archive::{DropRecord, DropStage};
use stampede_domain::{DropDefinition, DropId, Shard};
use stampede_engine::{EngineError, LiveDrop};

use super::{DropWatch, Reading, Snapshots};
use crate::problem::Problem;
use crate::terms::{NO_SUCH_DROP, OPENING};

/// The most drops that are read with one call.
pub(super) const READ_CHUNK: usize = 100;

/// A drop as it was defined and as it stands.
pub(crate) struct Known {
    pub definition: Arc<DropDefinition>,
    pub reading: Arc<Reading>,
}

impl Snapshots {
    /// How a drop stands.
    pub async fn reading(&self, id: &DropId) -> Result<Arc<Reading>, Problem> {
        let watch = self.watched(id).await?;
        self.fresh(&watch)
    }

    /// How a drop was defined and how it stands.
    pub async fn known(&self, id: &DropId) -> Result<Known, Problem> {
        let watch = self.watched(id).await?;
        let reading = self.fresh(&watch)?;
        if let Some(definition) = watch.definition.get() {
            return Ok(Known { definition: Arc::clone(definition), reading });
        }
        let record = self.archive.drop_record(id).await?.ok_or_else(|| {
            tracing::error!(drop = %id, "the hot state has a drop that the archive does not know");
            Problem::Internal
        })?;
        let definition = Arc::clone(watch.definition.get_or_init(|| Arc::new(record.definition)));
        Ok(Known { definition, reading })
    }

    /// How these drops stand: `None` for those that are not open yet. Those that are not watched are read now, all of one
    /// shard together.
    pub async fn readings(&self, records: &[DropRecord]) -> Result<Vec<Option<Arc<Reading>>>, Problem> {
        let mut cold: HashMap<Shard, Vec<DropId>> = HashMap::new();
        for id in records.iter().filter(|record| is_open(record)).map(|record| &record.definition.id) {
            if self.watch_of(id).is_none() {
                cold.entry(self.engine.shard_of(id)).or_default().push(id.clone());
            }
        }
        let mut loaded: HashMap<DropId, Arc<DropWatch>> = HashMap::new();
        for (shard, ids) in cold {
            for live in self.read_live(shard, &ids).await.map_err(Problem::of_read)?.into_iter().flatten() {
                loaded.insert(live.id.clone(), self.watch(live, false));
            }
        }
        let reading = |record: &DropRecord| {
            if !is_open(record) {
                return Ok(None);
            }
            let id = &record.definition.id;
            let watch = loaded.get(id).cloned().or_else(|| self.watch_of(id)).ok_or(Problem::ShardRecovering)?;
            watch.asked(self.second());
            self.fresh(&watch).map(Some)
        };
        records.iter().map(reading).collect()
    }

    /// Reads any number of drops of one shard.
    pub(super) async fn read_live(&self, shard: Shard, ids: &[DropId]) -> Result<Vec<Option<LiveDrop>>, EngineError> {
        let mut drops = Vec::with_capacity(ids.len());
        for chunk in ids.chunks(READ_CHUNK) {
            drops.extend(self.engine.read_drops(shard, chunk).await?.drops);
        }
        Ok(drops)
    }

    fn fresh(&self, watch: &DropWatch) -> Result<Arc<Reading>, Problem> {
        let reading = watch.reading();
        if reading.good_until(self.limits.max_age) > Instant::now() {
            Ok(reading)
        } else {
            Err(self.too_old(watch.id()))
        }
    }

    /// The drop's watch; loads the drop if it has none.
    async fn watched(&self, id: &DropId) -> Result<Arc<DropWatch>, Problem> {
        if let Some(watch) = self.watch_of(id) {
            watch.asked(self.second());
            return Ok(watch);
        }
        static HASH: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        let slot = HASH.hash_one(id) as usize % self.loads.len();
        let _one_at_a_time = self.loads[slot].lock().await;
        if let Some(watch) = self.watch_of(id) {
            return Ok(watch);
        }
        if self.absent_drops.has(id) {
            return Err(NO_SUCH_DROP);
        }
        let shard = self.engine.shard_of(id);
        let found = self.read_live(shard, std::slice::from_ref(id)).await.map_err(Problem::of_read)?;
        match found.into_iter().next().flatten() {
            Some(live) => Ok(self.watch(live, false)),
            None => Err(self.why_absent(id).await),
        }
    }

    /// Why a drop is not in the hot state.
    async fn why_absent(&self, id: &DropId) -> Problem {
        match self.archive.drop_record(id).await {
            Ok(None) => {
                self.absent_drops.note(id.clone());
                NO_SUCH_DROP
            }
            Ok(Some(record)) if is_open(&record) => Problem::ShardRecovering,
            Ok(Some(_)) => OPENING,
            Err(error) => error.into(),
        }
    }
}

pub(super) fn is_open(record: &DropRecord) -> bool {
    record.stage == DropStage::Opened
}
