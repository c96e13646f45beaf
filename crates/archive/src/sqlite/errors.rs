//! What SQLite's errors mean to an archive.

use rusqlite::{Error, ErrorCode};

use crate::ArchiveError;

impl From<Error> for ArchiveError {
    fn from(error: Error) -> Self {
        match error {
            Error::FromSqlConversionFailure(..) | Error::IntegralValueOutOfRange(..) | Error::InvalidColumnType(..) => {
                Self::Malformed { what: "row", detail: error.to_string() }
            }
            error => Self::Unavailable(format!("SQLite: {error}")),
        }
    }
}

/// Why the row itself can never be stored, if so. Anything that is said of the file, the disk, the memory or another process
/// (full, locked, read-only, damaged) may pass.
pub(super) fn rejection(error: &Error) -> Option<String> {
    let rejects = [ErrorCode::ConstraintViolation, ErrorCode::TooBig, ErrorCode::TypeMismatch];
    error.sqlite_error_code().filter(|code| rejects.contains(code)).map(|_| error.to_string())
}
