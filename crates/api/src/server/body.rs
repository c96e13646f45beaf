//! Watching whose turn it is: the client's, or ours.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::HttpBody;
use axum::extract::Request;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Response};
use http_body::{Frame, SizeHint};
use tower::Service;

use super::Stopping;
use super::connections::{Connection, Turn};
use crate::limits::Peer;

/// A service that tells its connection when a request begins and ends, and requests where they come from.
#[derive(Clone)]
pub(super) struct Watched<S> {
    inner: S,
    connection: Arc<Connection>,
    peer: Option<Peer>,
}

impl<S> Watched<S> {
    /// The service of one connection; without a peer, requests are not told.
    pub const fn new(inner: S, connection: Arc<Connection>, peer: Option<Peer>) -> Self {
        Self { inner, connection, peer }
    }
}

impl<S, B, R> Service<Request<B>> for Watched<S>
where
    S: Service<Request<ClientBody<B>>, Response = Response<R>>,
    S::Future: Unpin,
    B: HttpBody + Unpin,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = WatchedFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(peer);
        }
        let turn = Turn::begin(&self.connection);
        if self.connection.is_stopping() {
            request.extensions_mut().insert(Stopping);
        }
        let body = |inner| ClientBody { inner, connection: Arc::clone(&self.connection), ended: false };
        let connection = Arc::clone(&self.connection);
        WatchedFuture { inner: self.inner.call(request.map(body)), connection, turn: Some(turn) }
    }
}

/// The answer to one request.
pub(super) struct WatchedFuture<F> {
    inner: F,
    connection: Arc<Connection>,
    turn: Option<Turn>,
}

impl<F, R, E> Future for WatchedFuture<F>
where
    F: Future<Output = Result<Response<R>, E>> + Unpin,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let mut answer = ready!(Pin::new(&mut self.inner).poll(context));
        if (self.connection.has_left_unread() || self.connection.is_stopping())
            && let Ok(answer) = &mut answer
        {
            // Closed without a word, it would be the client's next request that meets its end.
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        self.turn = None;
        Poll::Ready(answer)
    }
}

/// A request's body; while it is waited for, it is the client's turn.
pub(super) struct ClientBody<B: HttpBody> {
    inner: B,
    connection: Arc<Connection>,
    ended: bool,
}

impl<B: HttpBody + Unpin> HttpBody for ClientBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        self.connection.wait_for_body(polled.is_pending());
        self.ended = self.ended || matches!(polled, Poll::Ready(None | Some(Err(_))));
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B: HttpBody> Drop for ClientBody<B> {
    fn drop(&mut self) {
        self.connection.wait_for_body(false);
        if !self.ended && !self.inner.is_end_stream() {
            self.connection.leave_unread();
        }
    }
}
