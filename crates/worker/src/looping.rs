//! Pauses between steps.

use std::time::Duration;

use rand::RngExt;
use tokio_util::sync::CancellationToken;

/// A pause that grows while there is nothing to do, or while something fails.
pub(crate) struct Pause {
    shortest: Duration,
    longest: Duration,
    next: Duration,
}

impl Pause {
    pub(crate) const fn new(shortest: Duration, longest: Duration) -> Self {
        Self { shortest, longest, next: shortest }
    }

    /// Something was done: the next pause is the shortest again.
    pub(crate) const fn reset(&mut self) {
        self.next = self.shortest;
    }

    /// Pauses, and doubles the next pause. With jitter of a quarter, so that many processes do not act in step. Returns
    /// whether to go on.
    pub(crate) async fn wait(&mut self, shutdown: &CancellationToken) -> bool {
        let jitter = rand::rng().random_range(0.75..=1.25);
        let pause = self.next.mul_f64(jitter);
        self.next = (self.next * 2).min(self.longest);
        tokio::select! {
            () = shutdown.cancelled() => false,
            () = tokio::time::sleep(pause) => true,
        }
    }
}
