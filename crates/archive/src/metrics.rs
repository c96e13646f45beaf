//! What is counted of an archive. Names, help texts and labels are here and nowhere else.

use std::sync::OnceLock;
use std::time::Instant;

use metrics::{Counter, Histogram, counter, histogram};
use stampede_domain::{Buckets, Metric};

use crate::ArchiveError;

const OPERATIONS: Metric = Metric::counter(
    "stampede_archive_operations_total",
    &["operation", "outcome"],
    "Calls to the archive, by operation; outcome: ok, unavailable (it may pass), error.",
);
const OPERATION_DURATION: Metric = Metric::histogram(
    "stampede_archive_operation_duration_seconds",
    Buckets::Latency,
    &["operation"],
    "How long a call to the archive took, by operation.",
);

/// Everything that is counted of an archive.
pub const METRICS: &[Metric] = &[OPERATIONS, OPERATION_DURATION];

/// A method of the archive, as it is counted; its handles are made at its first call.
pub(crate) struct Operation {
    name: &'static str,
    handles: OnceLock<Handles>,
}

struct Handles {
    ok: Counter,
    unavailable: Counter,
    error: Counter,
    duration: Histogram,
}

impl Operation {
    /// An operation of this name.
    pub(crate) const fn new(name: &'static str) -> Self {
        Self { name, handles: OnceLock::new() }
    }

    /// A call, counted once it has ended.
    pub(crate) async fn counted<T>(
        &self,
        call: impl Future<Output = Result<T, ArchiveError>>,
    ) -> Result<T, ArchiveError> {
        let handles = self.handles.get_or_init(|| Handles::new(self.name));
        let started = Instant::now();
        let called = call.await;
        let outcome = match &called {
            Ok(_) => &handles.ok,
            Err(ArchiveError::Unavailable(_)) => &handles.unavailable,
            Err(_) => &handles.error,
        };
        outcome.increment(1);
        handles.duration.record(started.elapsed().as_secs_f64());
        called
    }
}

impl Handles {
    fn new(operation: &'static str) -> Self {
        let calls = |outcome| counter!(OPERATIONS.name, "operation" => operation, "outcome" => outcome);
        Self {
            ok: calls("ok"),
            unavailable: calls("unavailable"),
            error: calls("error"),
            duration: histogram!(OPERATION_DURATION.name, "operation" => operation),
        }
    }
}
