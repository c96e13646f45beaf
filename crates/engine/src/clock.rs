//! What this process believes Redis's clock to say.
//!
//! It is heard where a script says what Redis's own clock is, never from the log's: that one stands still, perhaps an hour
//! ahead, after Redis's clock was set back. Only deadlines of calls go by it; Redis judges everything else by itself. A wrong
//! belief costs one more round trip, as the refusal of a call that came too late says what the time is.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use stampede_domain::Timestamp;

/// An estimate of one shard's clock.
#[derive(Debug)]
pub(crate) struct ShardClock {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    heard_ms: i64,
    heard_at: Instant,
    floor_ms: i64,
}

impl ShardClock {
    /// Starts from this machine's clock, until Redis's is heard.
    pub(crate) fn new() -> Self {
        let state = State { heard_ms: Timestamp::now().as_ms(), heard_at: Instant::now(), floor_ms: 0 };
        Self { state: Mutex::new(state) }
    }

    /// Redis said that its clock is at `ms`.
    pub(crate) fn heard(&self, ms: i64) {
        let mut state = self.state.lock();
        state.heard_ms = ms;
        state.heard_at = Instant::now();
    }

    /// Redis judges deadlines by at least this time.
    pub(crate) fn raised_floor(&self, ms: i64) {
        let mut state = self.state.lock();
        state.floor_ms = state.floor_ms.max(ms);
    }

    /// The clock, as far as is known here.
    pub(crate) fn now_ms(&self) -> i64 {
        let state = self.state.lock();
        state.heard_ms.saturating_add(millis(state.heard_at.elapsed()))
    }

    /// The deadline of a call that is sent now.
    pub(crate) fn deadline_ms(&self, after: Duration) -> i64 {
        let floor_ms = self.state.lock().floor_ms;
        self.now_ms().max(floor_ms).saturating_add(millis(after))
    }
}

pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_lies_after_the_clock_and_after_the_floor() {
        let clock = ShardClock::new();
        clock.heard(1_000_000);
        let second = Duration::from_secs(1);
        assert!((1_001_000..1_002_000).contains(&clock.deadline_ms(second)));
        clock.raised_floor(1_005_000);
        assert!((1_006_000..1_007_000).contains(&clock.deadline_ms(second)));
        assert!(clock.now_ms() < 1_002_000, "the floor is not the clock");
    }
}
