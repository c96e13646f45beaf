//! What the server's errors mean to an archive.

use mongodb::error::{Error, ErrorKind, IndexedWriteError, WriteFailure};

use crate::ArchiveError;

/// A unique index already has the document's value. The others are what old and compatible servers say for it.
const DUPLICATE_KEY: [i32; 4] = [11000, 11001, 12582, 16460];

/// Codes of a write error that is about the document itself: a bad value, a form that the collection's validator or an index
/// does not admit, too large. Any other code says more about the server (it changes its role, shuts down, is out of time, of
/// memory, of disk or of its quota, in conflict with another write), and may be one that nobody has met yet: the document may
/// succeed later.
const REJECTING: [i32; 16] = [2, 9, 14, 16, 22, 28, 52, 53, 55, 56, 57, 121, 171, 10334, 16755, 17280];

impl From<Error> for ArchiveError {
    fn from(error: Error) -> Self {
        match *error.kind {
            ErrorKind::Bson(error) => Self::Malformed { what: "document", detail: error.to_string() },
            _ => Self::Unavailable(format!("MongoDB: {error}")),
        }
    }
}

/// Why one document of several was not inserted.
pub(super) struct Failure {
    /// The document's place among those that were given.
    pub(super) index: usize,
    pub(super) cause: Cause,
}

pub(super) enum Cause {
    /// A unique index, perhaps that of `_id`, has its value already.
    Duplicate,
    /// The server will never take it; in its own words.
    Rejected(String),
}

/// Whether an insert of one document failed because a unique index, perhaps that of `_id`, has its value already.
pub(super) fn is_duplicate(error: &Error) -> bool {
    matches!(&*error.kind, ErrorKind::Write(WriteFailure::WriteError(error)) if DUPLICATE_KEY.contains(&error.code))
}

/// A record whose id is taken does not show itself: what the majority has may be a moment behind what the primary has.
pub(super) fn not_yet_readable(what: &'static str) -> ArchiveError {
    ArchiveError::Unavailable(format!("MongoDB: the {what} that was there first cannot be read yet"))
}

/// What became of the documents of an unordered insert that failed. Those that are not listed are durable.
///
/// # Errors
/// If anything went wrong that may go well later. Then nothing is known of any document, as after a write-concern error:
/// even one that is there may yet be rolled back.
pub(super) fn failures(error: Error) -> Result<Vec<Failure>, ArchiveError> {
    let ErrorKind::InsertMany(insert) = &*error.kind else { return Err(error.into()) };
    let write_errors = insert.write_errors.as_deref().unwrap_or_default();
    let told = |code| DUPLICATE_KEY.contains(&code) || REJECTING.contains(&code);
    let passing = write_errors.iter().any(|error| !told(error.code));
    if insert.write_concern_error.is_some() || write_errors.is_empty() || passing {
        return Err(error.into());
    }
    Ok(write_errors.iter().map(failure).collect())
}

fn failure(error: &IndexedWriteError) -> Failure {
    let cause = if DUPLICATE_KEY.contains(&error.code) {
        Cause::Duplicate
    } else {
        Cause::Rejected(format!("{} (code {})", error.message, error.code))
    };
    Failure { index: error.index, cause }
}
