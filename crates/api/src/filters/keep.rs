//! What keeps the filters true: their drops are asked about again and again, and at once when something changes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use stampede_domain::{DropId, Shard};
use stampede_engine::DropChanged;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{DropFilter, Filters};

/// How many times a filter is confirmed within the time for which a confirmation counts, so that one that is late is no gap.
const CONFIRMATIONS: u32 = 4;
/// The shortest pause between them.
const MIN_PAUSE: Duration = Duration::from_millis(5);
/// The most drops that are confirmed with one call.
const CONFIRMED_AT_ONCE: usize = 100;
/// A filter that refuses nobody for this long is let go.
const IDLE: Duration = Duration::from_secs(10);
/// How long refusals are counted that are too few for a filter.
const WANTED_FOR: Duration = Duration::from_secs(60);

/// Keeps the filters until the process stops.
pub(super) async fn keep(filters: Arc<Filters>) {
    let mut changes = filters.engine.changes();
    let mut ticks = interval((filters.limits.max_age / CONFIRMATIONS).max(MIN_PAUSE));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut swept = Instant::now();
    loop {
        tokio::select! {
            () = filters.stop.cancelled() => return,
            _ = ticks.tick() => {
                filters.confirm_all();
                filters.start_build();
                if swept.elapsed() >= IDLE {
                    filters.sweep();
                    swept = Instant::now();
                }
            }
            change = changes.next() => match change {
                Some(DropChanged::One(id)) => filters.changed(&id),
                Some(DropChanged::Any) => {
                    filters.held.read().values().for_each(|filter| filter.suspend());
                    filters.confirm_all();
                }
                None => return,
            },
        }
    }
}

impl Filters {
    /// Something happened to a drop; often it is what made the version that its filter is for.
    fn changed(self: &Arc<Self>, id: &DropId) {
        self.disturb(id);
        let Some(filter) = self.held.read().get(id).map(Arc::clone) else { return };
        filter.suspend();
        self.confirm(self.engine.shard_of(id), vec![filter]);
    }

    fn confirm_all(self: &Arc<Self>) {
        let mut by_shard: HashMap<Shard, Vec<Arc<DropFilter>>> = HashMap::new();
        for filter in self.held.read().values() {
            by_shard.entry(self.engine.shard_of(&filter.id)).or_default().push(Arc::clone(filter));
        }
        for (shard, filters) in by_shard {
            self.confirm(shard, filters);
        }
    }

    /// Asks about these drops of a shard, unless that is being done: then the next round does.
    fn confirm(self: &Arc<Self>, shard: Shard, filters: Vec<Arc<DropFilter>>) {
        let place = usize::from(shard.number());
        if self.confirming.get(place).is_none_or(|busy| busy.swap(true, Ordering::AcqRel)) {
            return;
        }
        let all = Arc::clone(self);
        self.tasks.spawn(async move {
            tokio::select! {
                () = all.stop.cancelled() => {}
                () = all.ask(shard, &filters) => {}
            }
            all.confirming[place].store(false, Ordering::Release);
        });
    }

    async fn ask(&self, shard: Shard, filters: &[Arc<DropFilter>]) {
        for chunk in filters.chunks(CONFIRMED_AT_ONCE) {
            let ids: Vec<DropId> = chunk.iter().map(|filter| filter.id.clone()).collect();
            let asked = std::time::Instant::now();
            let found = match self.engine.read_drops(shard, &ids).await {
                Ok(reading) => reading.drops,
                // Without a confirmation they are used no longer, whatever the reason.
                Err(error) => return tracing::debug!(%shard, %error, "filters could not be confirmed"),
            };
            for (filter, live) in chunk.iter().zip(found) {
                let same = live.filter(|live| live.version == filter.version);
                match same.and_then(|live| self.usable_until(asked, &live)) {
                    Some(until) => filter.confirm(self.ns_at(until)),
                    None => self.let_go(filter),
                }
            }
        }
    }

    /// Forgets a filter whose drop has another version.
    pub(super) fn let_go(&self, filter: &Arc<DropFilter>) {
        filter.suspend();
        let mut held = self.held.write();
        if held.get(&filter.id).is_some_and(|kept| Arc::ptr_eq(kept, filter)) {
            held.remove(&filter.id);
            self.count(&held);
        }
    }

    /// Lets go of what nobody has needed for a while.
    fn sweep(&self) {
        let mut held = self.held.write();
        held.retain(|_, filter| filter.used.swap(false, Ordering::Relaxed));
        self.count(&held);
        self.wanted.lock().retain(|_, wanted| wanted.since.elapsed() < WANTED_FOR);
    }
}
