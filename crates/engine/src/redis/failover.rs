//! Noticing that another server is to be asked now: a replica that took over, or the node that a slot moved to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fred::error::{Error, ErrorKind};
use fred::interfaces::ClientLike;

use super::CallError;

/// What a server says that does not serve the call now, before anything was run: it copies another, is being loaded, or
/// has a part of the keys while their slot is on its way.
const NOT_SERVED: [&str; 4] = ["READONLY", "MASTERDOWN", "LOADING", "TRYAGAIN"];

/// What the client says of a call that it did not send, or that a node sent on to another.
const NOT_SENT: [&str; 2] = ["Too many redirections.", "Failed to route command."];

/// What the client says of a call whose connection it gave up, however far the call had come.
const GIVEN_UP: &str = "Too many failed write attempts.";

/// A client that can be told to look for its server again.
pub(super) struct Link<C> {
    pub(super) client: C,
    searching: Arc<AtomicBool>,
}

impl<C: ClientLike + 'static> Link<C> {
    pub(super) fn new(client: C) -> Self {
        Self { client, searching: Arc::default() }
    }

    /// Looks for the primary again, unless that is under way.
    pub(super) fn search(&self) {
        if self.searching.swap(true, Ordering::Relaxed) {
            return;
        }
        crate::metrics::primary_search();
        let (client, searching) = (self.client.clone(), Arc::clone(&self.searching));
        tokio::spawn(async move {
            let found = client.force_reconnection().await;
            tracing::debug!(?found, "looked for the primary again");
            searching.store(false, Ordering::Relaxed);
        });
    }
}

/// Whether an error says that the server is no primary any more, or that it stands still: its connection may stay open for
/// ever.
pub(super) fn casts_doubt(error: &Error) -> bool {
    let demoted = ["READONLY", "MASTERDOWN"].iter().any(|prefix| error.details().starts_with(prefix));
    demoted || *error.kind() == ErrorKind::Timeout
}

/// What a client's error says of the call: an answer of the server means that nothing happened, as a script writes
/// nothing before its last check; anything else leaves the outcome open.
pub(super) fn classify(error: &Error) -> CallError {
    let (text, details) = (error.to_string(), error.details());
    match error.kind() {
        ErrorKind::IO
        | ErrorKind::Timeout
        | ErrorKind::Canceled
        | ErrorKind::Tls
        | ErrorKind::Protocol
        | ErrorKind::Sentinel => CallError::Lost(text),
        // The client closes a connection on which a node says that the cluster is down, and gives this answer to all calls
        // that were under way on it: one of the others may have run.
        ErrorKind::Cluster => CallError::Lost(text),
        _ if details == GIVEN_UP => CallError::Lost(text),
        _ if NOT_SENT.contains(&details) => CallError::Elsewhere(text),
        _ if NOT_SERVED.iter().any(|prefix| details.starts_with(prefix)) => CallError::Elsewhere(text),
        _ => CallError::Refused(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_whether_anything_can_have_happened() {
        let of = |kind: ErrorKind, details: &'static str| classify(&Error::new(kind, details));
        let replica = "READONLY You can't write against a read only replica.";
        assert!(matches!(of(ErrorKind::Unknown, replica), CallError::Elsewhere(_)));
        assert!(matches!(of(ErrorKind::Unknown, "TRYAGAIN Multiple keys request"), CallError::Elsewhere(_)));
        assert!(matches!(of(ErrorKind::Routing, "Too many redirections."), CallError::Elsewhere(_)));
        assert!(matches!(of(ErrorKind::Cluster, "CLUSTERDOWN The cluster is down"), CallError::Lost(_)));
        assert!(matches!(of(ErrorKind::Unknown, "Too many failed write attempts."), CallError::Lost(_)));
        assert!(matches!(of(ErrorKind::IO, "Connection closed."), CallError::Lost(_)));
        assert!(matches!(of(ErrorKind::Unknown, "OOM command not allowed"), CallError::Refused(_)));
    }
}
