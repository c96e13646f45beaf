//! What keeps the snapshots up.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use stampede_domain::{DropId, Shard, Sku};
use stampede_engine::{DropChanged, EngineError};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::{ShardWatch, Snapshots};

/// Change messages that come faster than this are answered together.
const SPACING: Duration = Duration::from_millis(10);
/// How often idle drops are let go.
const SWEEP: Duration = Duration::from_secs(10);
/// The most strangers whose sku is looked up at a time; more are found by the regular look-up of each sku.
const MAX_STRANGERS: usize = 1_000;

/// Reads the watched drops again and again, and at once when they change.
pub(super) async fn keep_drops(snapshots: Arc<Snapshots>) {
    let mut changes = snapshots.engine.changes();
    let mut ticks = interval(snapshots.limits.refresh);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut swept = Instant::now();
    loop {
        tokio::select! {
            () = snapshots.stop.cancelled() => return,
            _ = ticks.tick() => {
                snapshots.refresh_all();
                if swept.elapsed() >= SWEEP {
                    snapshots.sweep();
                    swept = Instant::now();
                }
            }
            change = changes.next() => match change {
                Some(DropChanged::One(id)) => snapshots.changed(id),
                Some(DropChanged::Any) => {
                    snapshots.refresh_all();
                    snapshots.all_skus_due();
                }
                None => return,
            },
        }
    }
}

/// Looks up the drops of the watched skus again and again, and soon when one of them changes.
pub(super) async fn keep_skus(snapshots: Arc<Snapshots>) {
    loop {
        tokio::select! {
            () = snapshots.stop.cancelled() => return,
            // A wait that passes means that none changed; the regular look-up is due by each sku's own time.
            _ = timeout(snapshots.limits.refresh, snapshots.skus_wake.notified()) => {}
        }
        snapshots.meet_strangers().await;
        let watches: Vec<_> = snapshots.skus.read().values().cloned().collect();
        for watch in watches {
            if snapshots.stop.is_cancelled() {
                return;
            }
            if watch.is_due(snapshots.limits.refresh, snapshots.limits.sku_refresh) {
                snapshots.reload_sku(&watch).await;
            }
        }
        sleep(SPACING).await;
    }
}

impl Snapshots {
    fn refresh_all(self: &Arc<Self>) {
        for (shard, watch) in self.engine.deployment().shards.shards().zip(&self.shards) {
            if !watch.drops.read().is_empty() {
                watch.all_due.store(true, Ordering::Release);
                self.start_refresh(shard, watch);
            }
        }
    }

    fn changed(self: &Arc<Self>, id: DropId) {
        self.absent_drops.forget(&id);
        let shard = self.engine.shard_of(&id);
        let Ok(watch) = self.shard_watch(shard) else { return };
        if watch.drops.read().contains_key(&id) {
            watch.dirty.lock().insert(id);
            self.start_refresh(shard, watch);
        } else if !self.skus.read().is_empty() {
            let mut strangers = self.strangers.lock();
            if strangers.len() < MAX_STRANGERS {
                strangers.insert(id);
                self.skus_wake.notify_one();
            }
        }
    }

    /// Starts a task that reads what is due in a shard, unless one runs: then that one reads it.
    fn start_refresh(self: &Arc<Self>, shard: Shard, watch: &ShardWatch) {
        if watch.busy.swap(true, Ordering::AcqRel) {
            return;
        }
        let snapshots = Arc::clone(self);
        self.tasks.spawn(async move {
            let stop = snapshots.stop.clone();
            tokio::select! {
                () = stop.cancelled() => {}
                () = snapshots.refresh(shard) => {}
            }
        });
    }

    async fn refresh(&self, shard: Shard) {
        let Ok(watch) = self.shard_watch(shard) else { return };
        loop {
            let due = watch.take_due();
            if due.is_empty() {
                watch.busy.store(false, Ordering::Release);
                // Something may have become due between the look and the note that nobody looks any more.
                if watch.has_due() && !watch.busy.swap(true, Ordering::AcqRel) {
                    continue;
                }
                return;
            }
            self.read_due(shard, watch, &due).await;
            sleep(SPACING).await;
        }
    }

    async fn read_due(&self, shard: Shard, watch: &ShardWatch, due: &[DropId]) {
        let found = self.read_live(shard, due).await;
        let (found, recovering) = match found {
            // A drop that is watched and not there any more was lost, not closed.
            Ok(found) => (Some(found), false),
            Err(EngineError::ShardRecovering | EngineError::ShardMoving) => (None, true),
            Err(error) => {
                tracing::debug!(%shard, %error, "the snapshots could not be refreshed");
                (None, false)
            }
        };
        let lost = found.as_ref().is_some_and(|found| found.iter().any(Option::is_none));
        watch.recovering.store(recovering || lost, Ordering::Relaxed);
        let mut skus: HashSet<Sku> = HashSet::new();
        for live in found.into_iter().flatten().flatten() {
            if let Some(drop) = self.watch_of(&live.id) {
                let sku = live.sku.clone();
                if drop.update(live) {
                    self.sku_due(&sku);
                }
                skus.insert(sku);
            }
        }
        skus.iter().for_each(|sku| self.render_sku(sku));
    }

    /// Lets go of what nobody has asked about for a while.
    fn sweep(&self) {
        let (second, idle) = (self.second(), self.limits.idle);
        self.skus.write().retain(|_, sku| !sku.is_idle(second, idle));
        for watch in &self.shards {
            let mut drops = watch.drops.write();
            let before = drops.len();
            drops.retain(|_, drop| !drop.is_idle(second, idle));
            self.watched_drops.fetch_sub(before - drops.len(), Ordering::Relaxed);
        }
    }
}

impl ShardWatch {
    fn has_due(&self) -> bool {
        self.all_due.load(Ordering::Acquire) || !self.dirty.lock().is_empty()
    }

    fn take_due(&self) -> Vec<DropId> {
        let dirty = std::mem::take(&mut *self.dirty.lock());
        if self.all_due.swap(false, Ordering::AcqRel) {
            self.drops.read().keys().cloned().collect()
        } else {
            dirty.into_iter().collect()
        }
    }
}
