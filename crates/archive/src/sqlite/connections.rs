//! The connections to the file, and where the blocking work of SQLite is done.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::spawn_blocking;

use crate::ArchiveError;

/// How many reads run at once. They are short, and a machine that embeds its archive is small.
const READERS: usize = 4;

/// How long a statement waits for another process that writes, such as `stampede migrate`.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Room for every statement of this crate, so that none is compiled twice.
const STATEMENTS: usize = 64;

/// One connection that writes and a few that read.
///
/// Work waits for its connection asynchronously and only then takes a thread, so that a queue of jobs cannot use up the
/// runtime's blocking threads.
pub(super) struct Connections {
    writer: Arc<Mutex<Connection>>,
    readers: Arc<Readers>,
    reading: Arc<Semaphore>,
}

struct Readers {
    path: PathBuf,
    idle: std::sync::Mutex<Vec<Connection>>,
}

impl Connections {
    pub(super) async fn open(path: &Path) -> Result<Self, ArchiveError> {
        let path = path.to_owned();
        let opened = path.clone();
        let writer = blocking(move || open_writer(&opened)).await?;
        Ok(Self {
            writer: Arc::new(Mutex::new(writer)),
            readers: Arc::new(Readers { path, idle: std::sync::Mutex::default() }),
            reading: Arc::new(Semaphore::new(READERS)),
        })
    }

    /// Runs `job` in a write transaction of its own, which is committed, durably, if the job succeeds. A caller that stops
    /// waiting does not stop the job.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T, ArchiveError> + Send + 'static,
    ) -> Result<T, ArchiveError> {
        let mut writer = Arc::clone(&self.writer).lock_owned().await;
        blocking(move || {
            // Immediate: a transaction that began as a reader may not become a writer once another process has written.
            let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let result = job(&transaction)?;
            transaction.commit()?;
            Ok(result)
        })
        .await
    }

    /// Runs `job` on one consistent state of the file, which is at least as new as the last acknowledged write.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T, ArchiveError> + Send + 'static,
    ) -> Result<T, ArchiveError> {
        let permit = Arc::clone(&self.reading).acquire_owned().await;
        let permit = permit.map_err(|_| ArchiveError::Unavailable("SQLite: closed".to_owned()))?;
        let readers = Arc::clone(&self.readers);
        blocking(move || {
            let _permit = permit;
            let mut reader = readers.take()?;
            let transaction = reader.transaction_with_behavior(TransactionBehavior::Deferred)?;
            let result = job(&transaction);
            transaction.finish()?;
            readers.put_back(reader);
            result
        })
        .await
    }
}

impl Readers {
    fn take(&self) -> Result<Connection, ArchiveError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| open_reader(&self.path), Ok)
    }

    fn put_back(&self, reader: Connection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
    }
}

fn open_writer(path: &Path) -> Result<Connection, ArchiveError> {
    let unavailable = |error: &dyn std::fmt::Display| {
        ArchiveError::Unavailable(format!("SQLite: cannot open {}: {error}", path.display()))
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|error| unavailable(&error))?;
    }
    let connection = open(path).map_err(|error| unavailable(&error))?;
    // FULL makes WAL mode wait for the disk at every commit. What is written lies at the ends of a few trees, so a checkpoint at
    // 16 MB writes each page about once, and a cache of 64 MB holds all that comes again.
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -65536;
             PRAGMA wal_autocheckpoint = 4000; PRAGMA temp_store = MEMORY;",
        )
        .map_err(|error| unavailable(&error))?;
    Ok(connection)
}

fn open_reader(path: &Path) -> Result<Connection, ArchiveError> {
    let connection = open(path)?;
    connection.execute_batch("PRAGMA query_only = ON; PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY;")?;
    Ok(connection)
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

async fn blocking<T: Send + 'static>(
    job: impl FnOnce() -> Result<T, ArchiveError> + Send + 'static,
) -> Result<T, ArchiveError> {
    match spawn_blocking(job).await {
        Ok(result) => result,
        Err(error) => Err(ArchiveError::Unavailable(format!("SQLite: {error}"))),
    }
}
