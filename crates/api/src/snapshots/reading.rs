//! One drop as it was last read.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use stampede_domain::{DropDefinition, DropId, Phase, Timestamp};
use stampede_engine::LiveDrop;

/// A drop as it stood at a moment.
#[derive(Debug)]
pub(crate) struct Reading {
    /// The drop.
    pub live: LiveDrop,
    /// When this process learned of it.
    read_at: Instant,
}

impl Reading {
    /// A drop that was read just now.
    pub fn new(live: LiveDrop) -> Self {
        Self { live, read_at: Instant::now() }
    }

    /// The shard's clock at `at`: where it stood at the reading, and the time since.
    pub fn clock_at(&self, at: Instant) -> Timestamp {
        let passed = at.saturating_duration_since(self.read_at).as_millis();
        self.live.as_of.plus_ms(i64::try_from(passed).unwrap_or(i64::MAX))
    }

    /// The phase at `at`.
    pub fn phase_at(&self, at: Instant) -> Phase {
        self.live.phase_at(self.clock_at(at))
    }

    /// The phase now.
    pub fn phase(&self) -> Phase {
        self.phase_at(Instant::now())
    }

    /// When this reading is too old to be shown.
    pub fn good_until(&self, max_age: Duration) -> Instant {
        self.read_at + max_age
    }

    /// The next moment after `at` at which the clock alone changes the phase, if there is one.
    pub fn next_turn(&self, at: Instant) -> Option<Instant> {
        let clock = self.clock_at(at);
        let turns = [Some(self.live.window.starts_at), self.live.window.ends_at];
        let next = turns.into_iter().flatten().filter(|turn| *turn > clock).min()?;
        let wait = u64::try_from(next.as_ms() - clock.as_ms()).unwrap_or_default();
        at.checked_add(Duration::from_millis(wait))
    }
}

/// A drop whose snapshot is kept up.
#[derive(Debug)]
pub(super) struct DropWatch {
    id: DropId,
    /// The drop as the archive defines it, once somebody wanted to know.
    pub definition: OnceLock<Arc<DropDefinition>>,
    reading: RwLock<Arc<Reading>>,
    asked_at_s: AtomicU32,
}

impl DropWatch {
    /// A drop that was read just now and is asked about at this second.
    pub fn new(live: LiveDrop, second: u32) -> Self {
        Self {
            id: live.id.clone(),
            definition: OnceLock::new(),
            reading: RwLock::new(Arc::new(Reading::new(live))),
            asked_at_s: AtomicU32::new(second),
        }
    }

    /// The drop.
    pub fn id(&self) -> &DropId {
        &self.id
    }

    /// The last reading.
    pub fn reading(&self) -> Arc<Reading> {
        Arc::clone(&self.reading.read())
    }

    /// Takes over a newer reading. Readings may overtake each other; a version never goes back. Says whether the drop may
    /// have moved to another place among its sku's drops.
    pub fn update(&self, live: LiveDrop) -> bool {
        let mut reading = self.reading.write();
        let rank = |live: &LiveDrop| (live.version, live.as_of);
        if rank(&live) < rank(&reading.live) {
            return false;
        }
        let moved = live.window != reading.live.window || live.state != reading.live.state;
        *reading = Arc::new(Reading::new(live));
        moved
    }

    /// Somebody asks. Written only once a second, as many ask at once.
    pub fn asked(&self, second: u32) {
        if self.asked_at_s.load(Ordering::Relaxed) != second {
            self.asked_at_s.store(second, Ordering::Relaxed);
        }
    }

    /// Whether nobody has asked for `idle`.
    pub fn is_idle(&self, second: u32, idle: Duration) -> bool {
        u64::from(second.saturating_sub(self.asked_at_s.load(Ordering::Relaxed))) > idle.as_secs()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use stampede_domain::{DropState, Epoch, Money, Version, Window};

    /// A drop that sells from second 10 to second 20 and was read at second `as_of_s`.
    pub(crate) fn live(id: &str, as_of_s: i64, available_units: u64) -> LiveDrop {
        let second = |s: i64| Timestamp::from_ms(s * 1_000);
        LiveDrop {
            id: id.parse().expect("valid"),
            sku: "AIR-1".parse().expect("valid"),
            state: DropState::Open,
            window: Window { starts_at: second(10), ends_at: Some(second(20)) },
            limit_per_user: 2,
            unit_price: Money { amount_minor: 12_900, currency: "EUR".parse().expect("valid") },
            cancellable_for_s: 0,
            cancellations_per_user: 3,
            total_units: 100,
            available_units,
            held_units: 0,
            sold_units: 100 - available_units,
            version: Version::new(Epoch(1), 7),
            purged: false,
            durability: None,
            stripes: Default::default(),
            sent_units: 0,
            received_units: 0,
            hold_ms: 0,
            as_of: second(as_of_s),
        }
    }

    #[test]
    fn the_phase_follows_the_clock_without_a_new_reading() {
        let reading = Reading::new(live("demo", 9, 5));
        let later = |ms| reading.read_at + Duration::from_millis(ms);
        assert_eq!(reading.phase_at(later(999)), Phase::Scheduled);
        assert_eq!(reading.next_turn(later(0)), Some(later(1_000)));
        assert_eq!(reading.phase_at(later(1_000)), Phase::Live);
        assert_eq!(reading.next_turn(later(1_000)), Some(later(11_000)));
        assert_eq!(reading.phase_at(later(11_000)), Phase::Ended);
        assert_eq!(reading.next_turn(later(11_000)), None);
    }

    #[test]
    fn an_older_version_never_replaces_a_newer_one() {
        let watch = DropWatch::new(live("demo", 11, 5), 0);
        watch.update(LiveDrop { version: Version::new(Epoch(1), 6), ..live("demo", 12, 9) });
        assert_eq!(watch.reading().live.available_units, 5);
        watch.update(live("demo", 12, 5));
        assert_eq!(watch.reading().live.as_of, Timestamp::from_ms(12_000));
        watch.update(LiveDrop { version: Version::new(Epoch(1), 8), ..live("demo", 10, 4) });
        assert_eq!(watch.reading().live.available_units, 4);
    }
}
