//! Time limits that cost nothing where nothing is waited for.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::time::{Sleep, sleep, sleep_until};

/// The time was up first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Late;

/// What the future comes to, within a time. A timer is only made if it is not ready at once, as most are not needed: making
/// one and taking it back goes through a lock that all timers of a thread share. The future is pinned already, as taking it
/// would move it.
///
/// # Errors
/// [`Late`] if the time was up first.
pub(crate) async fn within<F: Future>(limit: Duration, future: Pin<&mut F>) -> Result<F::Output, Late> {
    before(|| sleep(limit), future).await
}

/// The same within a time that began at `started`: saves looking at the clock once more.
///
/// # Errors
/// [`Late`] if the time was up first.
pub(crate) async fn within_since<F: Future>(
    started: Instant,
    limit: Duration,
    future: Pin<&mut F>,
) -> Result<F::Output, Late> {
    let timer = || started.checked_add(limit).map_or_else(|| sleep(limit), |end| sleep_until(end.into()));
    before(timer, future).await
}

async fn before<F: Future>(make: impl Fn() -> Sleep, mut future: Pin<&mut F>) -> Result<F::Output, Late> {
    let mut timer = pin!(None);
    poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        if timer.is_none() {
            timer.set(Some(make()));
        }
        match timer.as_mut().as_pin_mut() {
            Some(timer) => timer.poll(context).map(|()| Err(Late)),
            None => Poll::Pending,
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    #[tokio::test]
    async fn what_is_ready_is_never_late_and_what_is_not_is() {
        assert_eq!(within(Duration::ZERO, pin!(ready(1))).await, Ok(1));
        assert_eq!(within(Duration::from_millis(1), pin!(pending::<u8>())).await, Err(Late));
        let slow = async {
            sleep(Duration::from_millis(1)).await;
            2
        };
        assert_eq!(within(Duration::from_secs(60), pin!(slow)).await, Ok(2));
        let past = Instant::now() - Duration::from_millis(5);
        assert_eq!(within_since(past, Duration::from_millis(5), pin!(pending::<u8>())).await, Err(Late));
        assert_eq!(within_since(past, Duration::MAX, pin!(sleep(Duration::ZERO))).await, Ok(()));
    }
}
