//! Refusals without Redis: once a drop is sold out, an order of a user who is none of its buyers is refused here.
//!
//! A filter of a drop's buyers belongs to one version of the drop, in which it is sold out and no unit is held. It is used for
//! as long after each confirmation of that version as units that come back are held before anybody can order them, counted
//! from when the confirmation was asked for. So while it is used, nobody can have been granted anything since it was made, and
//! nobody can be: a user whom it does not know has no order that a replay would find, and no unit is left.

mod build;
mod buyers;
mod keep;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use stampede_domain::{DropId, Phase, UserDigest, Version};
use stampede_engine::{Engine, LiveDrop, OrderRequest};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::metrics::FilterMetrics;
use crate::settings::ApiSettings;

use buyers::Buyers;

/// The scripts count in whole milliseconds: what they hold for `n` of them may be a part of one less.
const CLOCK_STEP: Duration = Duration::from_millis(1);

/// The most drops whose refusals are counted at a time.
const MAX_WANTED: usize = 1_024;

/// The filters of one process.
pub(crate) struct Filters {
    engine: Engine,
    limits: Limits,
    held: RwLock<HashMap<DropId, Arc<DropFilter>>>,
    /// Drops without a filter, and how many of their orders Redis has refused.
    wanted: Mutex<HashMap<DropId, Wanted>>,
    /// The filter that is being made: one at a time, as that takes memory.
    building: Mutex<Option<Building>>,
    /// For each shard, whether its filters are being confirmed.
    confirming: Vec<AtomicBool>,
    started: Instant,
    metrics: FilterMetrics,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// The settings that matter here.
struct Limits {
    max_age: Duration,
    max_buyers: usize,
    max_filters: usize,
}

/// A drop that may be worth a filter.
struct Wanted {
    refused: u64,
    /// How many refusals a filter is worth.
    worth: u64,
    since: Instant,
}

/// A filter that is being made.
struct Building {
    id: DropId,
    /// Whether something happened to the drop meanwhile.
    disturbed: bool,
}

/// What lets this process refuse the orders of one drop.
struct DropFilter {
    id: DropId,
    version: Version,
    limit_per_user: u32,
    buyers: Buyers,
    /// Until when it may be used, in ns since the start; 0 if it may not.
    usable_until_ns: AtomicU64,
    used: AtomicBool,
}

impl Filters {
    /// Starts keeping filters, unless they are off.
    pub fn start(engine: &Engine, settings: &ApiSettings, tasks: &TaskTracker, stop: &CancellationToken) -> Arc<Self> {
        let filters = Arc::new(Self {
            engine: engine.clone(),
            limits: Limits {
                max_age: settings.filter_max_age,
                max_buyers: settings.filter_max_buyers,
                max_filters: settings.filters_max,
            },
            held: RwLock::default(),
            wanted: Mutex::default(),
            building: Mutex::default(),
            confirming: engine.shards().map(|_| AtomicBool::new(false)).collect(),
            started: Instant::now(),
            metrics: FilterMetrics::new(),
            tasks: tasks.clone(),
            stop: stop.clone(),
        });
        if filters.is_on() {
            tasks.spawn(keep::keep(Arc::clone(&filters)));
        }
        filters
    }

    /// Whether the order is refused here and now, because its drop is sold out.
    pub fn refuses(&self, order: &OrderRequest) -> bool {
        let held = self.held.read();
        let refuses = held.get(&order.drop.id).is_some_and(|filter| filter.refuses(order, self.ns_at(Instant::now())));
        drop(held);
        if refuses {
            self.metrics.refused();
        }
        refuses
    }

    /// Takes over what a change that was made here came to, without waiting for its message.
    pub fn observe(&self, live: &LiveDrop) {
        self.disturb(&live.id);
        let filter = self.held.read().get(&live.id).map(Arc::clone);
        if let Some(filter) = filter.filter(|filter| filter.version != live.version) {
            self.let_go(&filter);
        }
    }

    /// Redis refused an order of this drop because it is sold out.
    pub fn refused_by_redis(&self, id: &DropId) {
        if !self.is_on() {
            return;
        }
        let mut wanted = self.wanted.lock();
        if let Some(known) = wanted.get_mut(id) {
            known.refused += 1;
        } else if wanted.len() < MAX_WANTED {
            wanted.insert(id.clone(), Wanted { refused: 1, worth: 1, since: Instant::now() });
        }
    }

    /// Something happened to the drop: a filter of it that is being made is not used before it is confirmed once more.
    fn disturb(&self, id: &DropId) {
        if let Some(building) = self.building.lock().as_mut().filter(|building| building.id == *id) {
            building.disturbed = true;
        }
    }

    fn is_on(&self) -> bool {
        !self.limits.max_age.is_zero()
    }

    /// A moment in ns since the start.
    fn ns_at(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.started).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Until when a drop that was found sold out may be taken for that, if `asked` is when it was asked about: no longer than
    /// units that come back are held, and not beyond its window. `None` if it is not sold out, or units of it are held.
    fn usable_until(&self, asked: Instant, live: &LiveDrop) -> Option<Instant> {
        let hold = Duration::from_millis(u64::from(live.hold_ms)).saturating_sub(CLOCK_STEP);
        if hold.is_zero() || live.purged || live.held_units > 0 || live.phase() != Phase::SoldOut {
            return None;
        }
        let left = live.window.ends_at.map(|ends_at| ends_at.as_ms() - live.as_of.as_ms());
        let left = left.map_or(Duration::MAX, |ms| Duration::from_millis(u64::try_from(ms).unwrap_or_default()));
        Some(asked + self.limits.max_age.min(hold).min(left.saturating_sub(CLOCK_STEP)))
    }

    fn count(&self, held: &HashMap<DropId, Arc<DropFilter>>) {
        self.metrics.held(held.len(), held.values().map(|filter| filter.buyers.bytes()).sum());
    }
}

impl DropFilter {
    /// Whether Redis, if it were asked, would say that the drop is sold out: not that the price differs or that the order is
    /// beyond the limit, which it looks at before.
    fn refuses(&self, order: &OrderRequest, now_ns: u64) -> bool {
        if now_ns >= self.usable_until_ns.load(Ordering::Acquire) || u32::from(order.units) > self.limit_per_user {
            return false;
        }
        let right_total = order.drop.unit_price.times(u32::from(order.units));
        if order.expected_total.is_some_and(|expected| expected != right_total) {
            return false;
        }
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        !self.buyers.may_have(UserDigest::of(&order.user_id))
    }

    /// The version was confirmed. Confirmations may overtake each other; each of them is true.
    fn confirm(&self, until_ns: u64) {
        self.usable_until_ns.fetch_max(until_ns, Ordering::AcqRel);
    }

    /// Something may have happened to the drop: not to be used until its version is confirmed again.
    fn suspend(&self) {
        self.usable_until_ns.store(0, Ordering::Release);
    }
}
