//! How fast drops sell.

use std::collections::{HashMap, HashSet, VecDeque};

use stampede_domain::{DropId, Timestamp};

/// Over how long a rate is taken, in ms: long enough to be read, short enough to follow a sale.
const WINDOW_MS: i64 = 5_000;

/// What each drop had sold at its last readings.
#[derive(Default)]
pub struct Rates {
    samples: HashMap<DropId, VecDeque<Sample>>,
}

/// What was sold at a moment of Redis's clock.
struct Sample {
    at: Timestamp,
    sold_units: u64,
}

impl Rates {
    /// Takes in a reading, and says how many units are sold each second: over the last seconds, or since the last reading if
    /// that is longer ago. Fewer than none while orders are cancelled; none while there is one reading only.
    pub fn add(&mut self, id: &DropId, at: Timestamp, sold_units: u64) -> Option<f64> {
        let samples = self.samples.entry(id.clone()).or_default();
        // Two readings within a millisecond are one.
        if samples.back().is_some_and(|last| last.at >= at) {
            samples.pop_back();
        }
        samples.push_back(Sample { at, sold_units });
        while samples.get(1).is_some_and(|second| at.as_ms() - second.at.as_ms() >= WINDOW_MS) {
            samples.pop_front();
        }
        let first = samples.front()?;
        let passed_ms = at.as_ms() - first.at.as_ms();
        (passed_ms > 0).then(|| (sold_units as f64 - first.sold_units as f64) * 1_000.0 / passed_ms as f64)
    }

    /// Begins anew with a drop, whose figures may have been taken back by a recovery.
    pub fn forget(&mut self, id: &DropId) {
        self.samples.remove(id);
    }

    /// Forgets all but these.
    pub fn keep(&mut self, ids: &HashSet<&DropId>) {
        self.samples.retain(|id, _| ids.contains(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(readings: &[(i64, u64)]) -> Vec<Option<f64>> {
        let id: DropId = "demo".parse().expect("valid");
        let mut rates = Rates::default();
        readings.iter().map(|(ms, sold)| rates.add(&id, Timestamp::from_ms(*ms), *sold)).collect()
    }

    #[test]
    fn one_reading_is_no_rate() {
        assert_eq!(rates(&[(10, 500)]), [None]);
        assert_eq!(rates(&[(10, 500), (10, 501)]), [None, None], "within one millisecond");
    }

    #[test]
    fn a_rate_is_taken_over_the_last_seconds() {
        let of = rates(&[(0, 0), (1_000, 100), (2_000, 100), (5_000, 200), (6_000, 700), (7_000, 700)]);
        // At 6 s the reading of 1 s is five seconds old, and the one of 0 s is not needed any more.
        assert_eq!(of, [None, Some(100.0), Some(50.0), Some(40.0), Some(120.0), Some(120.0)]);
    }

    #[test]
    fn a_long_pause_still_gives_a_rate() {
        assert_eq!(rates(&[(0, 0), (60_000, 600), (120_000, 600)]), [None, Some(10.0), Some(0.0)]);
    }

    #[test]
    fn cancelled_orders_count_against_it() {
        assert_eq!(rates(&[(0, 50), (2_000, 10)]), [None, Some(-20.0)]);
    }

    #[test]
    fn a_clock_that_stands_keeps_the_newest_reading() {
        assert_eq!(rates(&[(0, 0), (1_000, 10), (1_000, 30)]), [None, Some(10.0), Some(30.0)]);
    }

    #[test]
    fn a_forgotten_drop_begins_anew() {
        let id: DropId = "demo".parse().expect("valid");
        let mut rates = Rates::default();
        rates.add(&id, Timestamp::from_ms(0), 900);
        rates.forget(&id);
        assert_eq!(rates.add(&id, Timestamp::from_ms(1_000), 100), None);
        rates.keep(&HashSet::new());
        assert!(rates.samples.is_empty());
    }
}
