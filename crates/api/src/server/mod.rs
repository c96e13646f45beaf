//! The main listener: rude clients are kept within bounds, so that the others are served.

mod body;
mod connections;
mod refusal;
mod stream;

use std::future::{Ready, ready};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum_server::Handle;
use axum_server::accept::Accept;
use hyper_util::rt::TokioTimer;
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tower::make::Shared;

use crate::app::App;
use crate::limits::Peer;
use crate::settings::ApiSettings;

use body::Watched;
use connections::Connections;
use stream::GuardedStream;

/// How much more than the limit for headers is read of a request, so that one that is a little too large is answered like
/// any other. A connection never buffers more; beyond it the HTTP library refuses, see [`refusal`].
const READ_BUFFER_MARGIN_BYTES: usize = 16 * 1024;

/// Goes with a request that came after the process was told to stop.
#[derive(Clone, Copy)]
pub(crate) struct Stopping;

/// Answers requests until `shutdown`, and for the settings' delay after it, while connections end with their next answer and
/// `/readyz` says what is coming. Then it accepts nobody, and finishes what is in flight, within the settings' grace.
///
/// # Errors
/// If the listener cannot be used.
pub async fn serve(
    listener: TcpListener,
    app: impl Into<App>,
    shutdown: CancellationToken,
    settings: &ApiSettings,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let handle: Handle<SocketAddr> = Handle::new();
    let told = Arc::new(AtomicBool::new(false));
    let connections = Connections::new(settings.max_connections, settings.header_max_bytes, Arc::clone(&told));
    let gate = Gate { connections, tells_peer: settings.rate_limits.front.is_some() };
    let mut server = axum_server::from_tcp(listener)?.acceptor(gate).http1_only().handle(handle.clone());
    server
        .http_builder()
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.header_read_timeout)
        .max_buf_size(settings.header_max_bytes + READ_BUFFER_MARGIN_BYTES);
    let (delay, grace) = (settings.shutdown_delay, settings.shutdown_grace);
    let stopping = async move {
        shutdown.cancelled().await;
        told.store(true, Ordering::Relaxed);
        sleep(delay).await;
        handle.graceful_shutdown(Some(grace));
        std::future::pending::<()>().await;
    };
    tokio::select! {
        served = server.serve(Shared::new(app.into())) => served,
        () = stopping => Ok(()),
    }
}

/// Lets connections in, as many as there may be.
#[derive(Clone)]
struct Gate {
    connections: Arc<Connections>,
    /// Whether requests are told where they come from.
    tells_peer: bool,
}

impl<S> Accept<TcpStream, S> for Gate {
    type Stream = GuardedStream;
    type Service = Watched<S>;
    type Future = Ready<io::Result<(GuardedStream, Watched<S>)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        ready(stream.set_nodelay(true).and_then(|()| {
            let peer = self.tells_peer.then(|| stream.peer_addr().map(|peer| Peer(peer.ip()))).transpose()?;
            let connection = self.connections.admit().ok_or(io::ErrorKind::ConnectionRefused)?;
            let service = Watched::new(service, Arc::clone(connection.get()), peer);
            Ok((GuardedStream::new(stream, connection), service))
        }))
    }
}
