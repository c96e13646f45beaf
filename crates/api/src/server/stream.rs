//! One connection's bytes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::connections::Place;
use super::refusal::{find_refusal, write_refusal};

/// How long, and for how many bytes, a client is listened to that still sends what was refused. Closed at once, its
/// machine would throw the answer away unread, as it does with all that a reset connection has not delivered.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_MAX_BYTES: usize = 16 * 1024 * 1024;
const DISCARD_BYTES: usize = 16 * 1024;

/// A connection that gives way when it must, says why it cannot read a request, and does not hang up on its own answer.
pub(super) struct GuardedStream {
    inner: TcpStream,
    place: Place,
    refusal: Option<Refusal>,
    lingering: Option<Lingering>,
}

/// An answer in place of the HTTP library's, and how much of it is written.
struct Refusal {
    bytes: Vec<u8>,
    written: usize,
}

struct Lingering {
    end: Pin<Box<Sleep>>,
    left_bytes: usize,
}

/// What is to be done with a write.
enum Outgoing {
    /// To be written as it is.
    Whole,
    /// To be written up to here; behind it stands a refusal.
    Until(usize),
    /// All of it is a refusal.
    Refusal,
}

impl GuardedStream {
    /// A connection with its place.
    pub const fn new(inner: TcpStream, place: Place) -> Self {
        Self { inner, place, refusal: None, lingering: None }
    }

    fn check(&self) -> io::Result<()> {
        if self.place.gives_way() { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }

    /// Has a task that has to wait woken when the connection gives way; one that goes on sees it at its next step.
    fn heed<T>(&self, context: &Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_pending() && self.place.gives_way_or_wakes(context.waker()) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        polled
    }

    fn look(&mut self, bytes: &[u8]) -> Outgoing {
        if self.refusal.is_some() {
            return Outgoing::Refusal;
        }
        match find_refusal(bytes, self.place.header_max_bytes()) {
            None => Outgoing::Whole,
            Some((0, problem)) => {
                self.place.metrics().unreadable(problem.code());
                self.place.get().leave_unread();
                self.refusal = Some(Refusal { bytes: write_refusal(&problem), written: 0 });
                Outgoing::Refusal
            }
            Some((at, _)) => Outgoing::Until(at),
        }
    }

    /// Writes our own answer; when it is out, the library's counts as written.
    fn poll_refusal(&mut self, context: &mut Context<'_>, replaced_bytes: usize) -> Poll<io::Result<usize>> {
        if let Some(refusal) = &mut self.refusal {
            while refusal.written < refusal.bytes.len() {
                let rest = &refusal.bytes[refusal.written..];
                match ready!(Pin::new(&mut self.inner).poll_write(context, rest))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    count => refusal.written += count,
                }
            }
        }
        self.refusal = None;
        Poll::Ready(Ok(replaced_bytes))
    }

    /// Reads on, for nothing, until the client has closed its side as well.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(lingering) = &mut self.lingering else { return Poll::Ready(()) };
        while lingering.left_bytes > 0 && lingering.end.as_mut().poll(context).is_pending() {
            let mut discarded = [0; DISCARD_BYTES];
            let mut buffer = ReadBuf::new(&mut discarded);
            let read = ready!(Pin::new(&mut self.inner).poll_read(context, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
            lingering.left_bytes = lingering.left_bytes.saturating_sub(buffer.filled().len());
        }
        Poll::Ready(())
    }
}

impl AsyncRead for GuardedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check()?;
        let polled = Pin::new(&mut self.inner).poll_read(context, buffer);
        self.heed(context, polled)
    }
}

impl AsyncWrite for GuardedStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        let polled = match self.look(bytes) {
            Outgoing::Whole => Pin::new(&mut self.inner).poll_write(context, bytes),
            Outgoing::Until(end) => Pin::new(&mut self.inner).poll_write(context, &bytes[..end]),
            Outgoing::Refusal => self.poll_refusal(context, bytes.len()),
        };
        self.heed(context, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A refusal has no body, so it stands at the end of the last piece.
        let Some(at) = slices.iter().rposition(|slice| !slice.is_empty()) else { return Poll::Ready(Ok(0)) };
        self.check()?;
        let polled = match self.look(&slices[at]) {
            Outgoing::Whole => Pin::new(&mut self.inner).poll_write_vectored(context, slices),
            Outgoing::Until(end) if at == 0 => Pin::new(&mut self.inner).poll_write(context, &slices[0][..end]),
            Outgoing::Refusal if at == 0 => self.poll_refusal(context, slices[0].len()),
            // What comes before goes out first; then the refusal stands alone.
            Outgoing::Until(_) | Outgoing::Refusal => {
                self.refusal = None;
                Pin::new(&mut self.inner).poll_write_vectored(context, &slices[..at])
            }
        };
        self.heed(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        let polled = Pin::new(&mut self.inner).poll_flush(context);
        self.heed(context, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        if self.lingering.is_none() {
            let polled = Pin::new(&mut self.inner).poll_shutdown(context);
            ready!(self.heed(context, polled))?;
            if !self.place.get().has_left_unread() {
                return Poll::Ready(Ok(()));
            }
            self.lingering = Some(Lingering { end: Box::pin(sleep(LINGER)), left_bytes: LINGER_MAX_BYTES });
        }
        let polled = self.poll_linger(context).map(Ok);
        self.heed(context, polled)
    }
}
