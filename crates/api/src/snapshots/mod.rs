//! What this process knows of the drops that it is asked about, so that asking again costs Redis nothing.
//!
//! A drop is read when it is first asked about, then several times a second and at once on a change message, until nobody
//! has asked for a while. A snapshot that has grown too old is not shown.

mod load;
mod reading;
mod refresh;
mod sku;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use stampede_archive::Archive;
use stampede_domain::{DropDefinition, DropId, Shard, Sku};
use stampede_engine::{Engine, LiveDrop};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::problem::Problem;
use crate::settings::ApiSettings;
use crate::terms::Absent;

pub(crate) use reading::Reading;
pub(crate) use sku::{SaleStatus, SkuWatch};

use reading::DropWatch;

/// How many cold drops may be loaded at once; those who ask for one drop meanwhile wait for one loading together.
const LOADS: usize = 64;

/// The snapshots of one process.
pub(crate) struct Snapshots {
    engine: Engine,
    archive: Arc<dyn Archive>,
    limits: Limits,
    shards: Vec<ShardWatch>,
    watched_drops: AtomicUsize,
    skus: RwLock<HashMap<Sku, Arc<SkuWatch>>>,
    /// Drops that changed and are not watched: one of them may be new for a watched sku.
    strangers: Mutex<HashSet<DropId>>,
    skus_wake: Notify,
    absent_drops: Absent<DropId>,
    /// Products without a drop.
    absent_skus: Absent<Sku>,
    absent_products: Absent<Sku>,
    loads: Vec<tokio::sync::Mutex<()>>,
    started: Instant,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// The settings that matter here.
struct Limits {
    refresh: Duration,
    max_age: Duration,
    idle: Duration,
    max_drops: usize,
    sku_refresh: Duration,
}

/// The watched drops of one shard.
#[derive(Default)]
struct ShardWatch {
    drops: RwLock<HashMap<DropId, Arc<DropWatch>>>,
    /// Those that a change message named.
    dirty: Mutex<HashSet<DropId>>,
    /// Whether all are due.
    all_due: AtomicBool,
    /// Whether a task reads them at the moment.
    busy: AtomicBool,
    /// Whether the last reading found the shard fenced.
    recovering: AtomicBool,
}

impl Snapshots {
    /// Starts keeping snapshots.
    pub fn start(
        engine: &Engine,
        archive: &Arc<dyn Archive>,
        settings: &ApiSettings,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Arc<Self> {
        let shards = engine.deployment().shards.shards().map(|_| ShardWatch::default()).collect();
        let snapshots = Arc::new(Self {
            engine: engine.clone(),
            archive: Arc::clone(archive),
            limits: Limits {
                refresh: settings.snapshot_refresh,
                max_age: settings.snapshot_max_age,
                idle: settings.snapshot_idle,
                max_drops: settings.snapshot_max_drops,
                sku_refresh: settings.sku_refresh,
            },
            shards,
            watched_drops: AtomicUsize::new(0),
            skus: RwLock::default(),
            strangers: Mutex::default(),
            skus_wake: Notify::new(),
            absent_drops: Absent::default(),
            absent_skus: Absent::default(),
            absent_products: Absent::default(),
            loads: (0..LOADS).map(|_| tokio::sync::Mutex::new(())).collect(),
            started: Instant::now(),
            tasks: tasks.clone(),
            stop: stop.clone(),
        });
        tasks.spawn(refresh::keep_drops(Arc::clone(&snapshots)));
        tasks.spawn(refresh::keep_skus(Arc::clone(&snapshots)));
        snapshots
    }

    /// Takes over what a change that was made here came to, without waiting for its message.
    pub fn observe(&self, live: LiveDrop) {
        let sku = live.sku.clone();
        if let Some(watch) = self.watch_of(&live.id) {
            if watch.update(live) {
                self.sku_due(&sku);
            }
            self.render_sku(&sku);
        }
    }

    /// A drop was defined here: it and its sku are absent no more.
    pub fn defined(&self, definition: &DropDefinition) {
        self.absent_drops.forget(&definition.id);
        self.forget_absent(&definition.sku);
    }

    /// A drop was opened here: it may be the one to show for its sku.
    pub async fn opened(&self, live: &LiveDrop) {
        let watch = self.skus.read().get(&live.sku).cloned();
        if let Some(watch) = watch {
            self.reload_sku(&watch).await;
        }
    }

    fn shard_watch(&self, shard: Shard) -> Result<&ShardWatch, Problem> {
        self.shards.get(usize::from(shard.number())).ok_or(Problem::Internal)
    }

    fn watch_of(&self, id: &DropId) -> Option<Arc<DropWatch>> {
        let shard = self.shard_watch(self.engine.shard_of(id)).ok()?;
        shard.drops.read().get(id).cloned()
    }

    /// Keeps a drop's snapshot up from now on, unless there are too many; a sku's drops are always kept, as their number
    /// is bounded by that of the skus.
    fn watch(&self, live: LiveDrop, for_sku: bool) -> Arc<DropWatch> {
        let fresh = Arc::new(DropWatch::new(live, self.second()));
        let Ok(shard) = self.shard_watch(self.engine.shard_of(fresh.id())) else { return fresh };
        let mut drops = shard.drops.write();
        if let Some(known) = drops.get(fresh.id()) {
            known.update(fresh.reading().live.clone());
            return Arc::clone(known);
        }
        if for_sku || self.watched_drops.load(Ordering::Relaxed) < self.limits.max_drops {
            self.watched_drops.fetch_add(1, Ordering::Relaxed);
            drops.insert(fresh.id().clone(), Arc::clone(&fresh));
        }
        fresh
    }

    /// Seconds since the start: what idle times are counted in.
    fn second(&self) -> u32 {
        self.second_at(Instant::now())
    }

    fn second_at(&self, at: Instant) -> u32 {
        u32::try_from(at.saturating_duration_since(self.started).as_secs()).unwrap_or(u32::MAX)
    }

    /// Why a snapshot has grown too old.
    fn too_old(&self, id: &DropId) -> Problem {
        let shard = self.shard_watch(self.engine.shard_of(id));
        if shard.is_ok_and(|shard| shard.recovering.load(Ordering::Relaxed)) {
            Problem::ShardRecovering
        } else {
            Problem::Unavailable("The drop's stock could not be read for a while")
        }
    }
}
