//! The main listener.

use std::io;
use std::net::{SocketAddr, TcpListener};

use axum::Router;
use axum_server::Handle;
use axum_server::accept::NoDelayAcceptor;
use hyper_util::rt::TokioTimer;
use tokio_util::sync::CancellationToken;

use crate::settings::ApiSettings;

/// What one connection's read buffer may grow to. Well above the limit for headers, so that too large ones are read and
/// answered with a problem; far beyond it the connection is answered by the HTTP library itself.
const MIN_READ_BUFFER_BYTES: usize = 128 * 1024;

/// Answers requests until `shutdown`, then finishes what is in flight, within the settings' grace.
///
/// # Errors
/// If the listener cannot be used.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: CancellationToken,
    settings: &ApiSettings,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let handle: Handle<SocketAddr> = Handle::new();
    let mut server =
        axum_server::from_tcp(listener)?.acceptor(NoDelayAcceptor::new()).http1_only().handle(handle.clone());
    server
        .http_builder()
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.header_read_timeout)
        .max_buf_size(MIN_READ_BUFFER_BYTES.max(4 * settings.header_max_bytes));
    let grace = settings.shutdown_grace;
    let stopping = async move {
        shutdown.cancelled().await;
        handle.graceful_shutdown(Some(grace));
        std::future::pending::<()>().await;
    };
    tokio::select! {
        served = server.serve(router.into_make_service()) => served,
        () = stopping => Ok(()),
    }
}
