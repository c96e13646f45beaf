//! Being told to stop: the first signal asks, the second one insists.

use std::process;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What shells report of a program that Ctrl-C ended.
const STOPPED_BY_HAND: i32 = 130;

/// A token that SIGINT and SIGTERM cancel. A second signal ends the process at once.
///
/// # Errors
/// If the system does not let us listen to signals.
pub fn on_signals() -> anyhow::Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move {
        next(&mut interrupt, &mut terminate).await;
        told.cancel();
        next(&mut interrupt, &mut terminate).await;
        eprintln!("Stopped at once.");
        process::exit(STOPPED_BY_HAND);
    });
    Ok(stop)
}

async fn next(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
