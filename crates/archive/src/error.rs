//! What can go wrong with an archive.

/// An archive could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It cannot be reached, is busy, or failed in a way that may pass.
    #[error("the archive is unavailable: {0}")]
    Unavailable(String),
    /// It holds something that this software does not write.
    #[error("the archive holds a malformed {what}: {detail}")]
    Malformed {
        /// What kind of record.
        what: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// Its schema is newer than this software.
    #[error("the archive's schema is at version {found}, this software knows {known}: run a newer stampede")]
    NewerSchema {
        /// The version that the archive is at.
        found: u32,
        /// The version that this software knows.
        known: u32,
    },
    /// Its schema is missing or older than this software.
    #[error("the archive's schema is not up to date: run `stampede migrate`")]
    NotMigrated,
}

impl ArchiveError {
    /// A record that every archive in use has is not there.
    pub(crate) fn missing(what: &'static str) -> Self {
        let detail = "there is none: the archive has not been given its deployment".to_owned();
        Self::Malformed { what, detail }
    }
}
