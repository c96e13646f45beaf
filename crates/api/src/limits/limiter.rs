//! One limiter: so many requests at once for each key, and then one after another.

use std::hash::Hash;
use std::time::Duration;

use governor::clock::{Clock, MonotonicClock};
use governor::middleware::StateInformationMiddleware;
use governor::{Quota, RateLimiter};

use super::keys::{Keys, Passed};
use crate::metrics::LimiterMetrics;
use crate::settings::RateLimit;

/// Which limiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LimiterName {
    /// The one in front of everything.
    Front,
    /// The one by user.
    User,
}

/// Counts requests by key.
pub(super) struct Limiter<K, C = MonotonicClock>
where
    K: Hash + Eq + Clone,
    C: Clock,
{
    name: LimiterName,
    limit: RateLimit,
    counts: RateLimiter<K, Keys<K>, C, StateInformationMiddleware>,
    passed: Passed,
    metrics: LimiterMetrics,
}

/// How a sender stands after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The most requests at once.
    pub limit: u32,
    /// How many more may be sent now.
    pub remaining: u32,
    /// In how many seconds, rounded up, as many as `limit` may be sent again.
    pub reset_s: u64,
}

/// A request is one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub limiter: LimiterName,
    pub standing: Standing,
    /// In how many seconds, rounded up, one more request may be sent; at least 1.
    pub retry_after_s: u64,
}

impl LimiterName {
    /// As the metrics' label says it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Front => "front",
            Self::User => "user",
        }
    }

    /// Who sends too much, as a problem says it.
    pub const fn sender(self) -> &'static str {
        match self {
            Self::Front => "your address",
            Self::User => "your user id",
        }
    }
}

impl<K: Hash + Eq + Clone> Limiter<K> {
    /// A limiter that remembers at most so many keys.
    pub fn new(name: LimiterName, limit: RateLimit, keys_max: usize) -> Self {
        Self::with_clock(name, limit, keys_max, MonotonicClock)
    }
}

impl<K: Hash + Eq + Clone, C: Clock> Limiter<K, C> {
    fn with_clock(name: LimiterName, limit: RateLimit, keys_max: usize, clock: C) -> Self {
        // There is none for a period of zero only, which the settings' check refuses.
        let quota = Quota::with_period(limit.period).unwrap_or(Quota::per_second(limit.burst));
        let quota = quota.allow_burst(limit.burst);
        let passed = Passed::default();
        let counts = RateLimiter::new(quota, Keys::new(keys_max, passed.clone()), clock);
        Self { name, limit, counts, passed, metrics: LimiterMetrics::new(name) }
    }

    /// Counts a request; one that is refused does not count.
    pub fn check(&self, key: &K) -> Result<Standing, Refused> {
        let limit = self.limit.burst.get();
        self.counts.check_key(key).map_or_else(
            |until| {
                self.metrics.limited();
                let wait = until.wait_time_from(self.counts.clock().now());
                let whole = wait.saturating_add(self.limit.period.saturating_mul(limit - 1));
                let retry_after_s = seconds_up(wait).max(1);
                let standing = Standing { limit, remaining: 0, reset_s: seconds_up(whole).max(retry_after_s) };
                Err(Refused { limiter: self.name, standing, retry_after_s })
            },
            |state| {
                let remaining = state.remaining_burst_capacity();
                let used = limit.saturating_sub(remaining);
                Ok(Standing { limit, remaining, reset_s: seconds_up(self.limit.period.saturating_mul(used)) })
            },
        )
    }

    /// Forgets the keys for which that makes no difference, and says how many are left.
    pub fn forget_at_rest(&self) {
        self.counts.retain_recent();
        self.metrics.keys(self.counts.len());
        let passed = self.passed.take();
        if passed > 0 {
            let limiter = self.name.as_str();
            tracing::warn!(limiter, passed, "requests of newcomers were not counted: raise rate_limit_keys_max");
        }
    }
}

fn seconds_up(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use governor::clock::FakeRelativeClock;

    use super::*;

    const PERIOD: Duration = Duration::from_millis(1_500);

    fn limiter(burst: u32, keys_max: usize) -> (Limiter<u32, FakeRelativeClock>, FakeRelativeClock) {
        let (clock, burst) = (FakeRelativeClock::default(), NonZeroU32::new(burst).expect("some"));
        (Limiter::with_clock(LimiterName::User, RateLimit { period: PERIOD, burst }, keys_max, clock.clone()), clock)
    }

    /// How many of so many requests pass.
    fn passed(limiter: &Limiter<u32, FakeRelativeClock>, key: u32, requests: usize) -> usize {
        (0..requests).filter(|_| limiter.check(&key).is_ok()).count()
    }

    fn keys(limiter: &Limiter<u32, FakeRelativeClock>) -> usize {
        limiter.forget_at_rest();
        limiter.counts.len()
    }

    #[test]
    fn a_burst_passes_and_then_one_in_each_period() {
        let (limiter, clock) = limiter(3, 64);
        assert_eq!(passed(&limiter, 1, 10), 3);
        assert_eq!(passed(&limiter, 2, 10), 3, "each key has its own");
        for _ in 0..20 {
            clock.advance(PERIOD);
            assert_eq!(passed(&limiter, 1, 10), 1);
        }
        clock.advance(PERIOD * 100);
        assert_eq!(passed(&limiter, 1, 10), 3, "what was not used is kept up to a burst, and no further");
    }

    #[test]
    fn an_answer_says_what_is_left_and_when_to_come_back() {
        let (limiter, clock) = limiter(3, 64);
        let standing = |remaining, reset_s| Standing { limit: 3, remaining, reset_s };
        assert_eq!(limiter.check(&1), Ok(standing(2, 2)));
        assert_eq!(limiter.check(&1), Ok(standing(1, 3)));
        assert_eq!(limiter.check(&1), Ok(standing(0, 5)));
        let refused = |retry_after_s, reset_s| Refused {
            limiter: LimiterName::User,
            standing: standing(0, reset_s),
            retry_after_s,
        };
        assert_eq!(limiter.check(&1), Err(refused(2, 5)), "1.5 s and 4.5 s, rounded up");
        clock.advance(PERIOD - Duration::from_millis(1));
        assert_eq!(limiter.check(&1), Err(refused(1, 4)), "a millisecond is not 0 s");
        clock.advance(Duration::from_millis(1));
        assert_eq!(limiter.check(&1), Ok(standing(0, 5)), "whoever waits as long passes");
    }

    #[test]
    fn a_key_at_rest_is_forgotten() {
        let (limiter, clock) = limiter(3, 4_096);
        for key in 0..1_000 {
            assert_eq!(passed(&limiter, key, if key < 100 { 3 } else { 1 }), if key < 100 { 3 } else { 1 });
        }
        assert_eq!(keys(&limiter), 1_000);
        clock.advance(PERIOD * 2);
        assert_eq!(keys(&limiter), 100, "those that sent one request are as if they had never come");
        assert_eq!(passed(&limiter, 0, 10), 2, "one that is not at rest is remembered");
        clock.advance(PERIOD * 5);
        assert_eq!(keys(&limiter), 0);
    }

    #[test]
    fn many_keys_neither_grow_the_memory_nor_free_those_who_are_known_nor_shut_others_out() {
        const MAX: usize = 256;
        let (limiter, clock) = limiter(2, MAX);
        assert_eq!(passed(&limiter, 0, 5), 2);
        for key in 1..20_000 {
            assert!(limiter.check(&key).is_ok(), "a newcomer passes");
        }
        assert!((MAX / 2..=MAX).contains(&limiter.counts.len()), "{}", limiter.counts.len());
        assert!(limiter.passed.take() > 0);
        assert_eq!(passed(&limiter, 0, 5), 0, "who is known stays limited");
        // The flood goes on while its first keys come to rest: there is room for new ones without anything else being done.
        clock.advance(PERIOD);
        assert_eq!(passed(&limiter, 30_000, 5), 2, "a newcomer is limited again");
        assert_eq!(limiter.passed.take(), 0);
        assert_eq!(passed(&limiter, 0, 5), 1, "and who is known still stands where it stood");
    }
}
