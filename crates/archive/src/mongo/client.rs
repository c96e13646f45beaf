//! The connection to MongoDB, and what it insists on.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::options::{ClientOptions, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern};
use mongodb::{Client, Collection, Database};
use tokio::time::timeout;

use crate::ArchiveError;

/// How long to look for a primary: longer than an election takes as a rule, shorter than a caller's patience.
const SERVER_SELECTION_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a majority may take to write its journals. Then the write has failed for the caller, who gives it again.
const WRITE_CONCERN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long any call may take: the driver itself waits forever for an answer on a connection that went silent.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// The collections of an archive.
pub(super) struct Collections {
    database: Database,
    pub(super) schema: Collection<Document>,
    pub(super) deployment: Collection<Document>,
    pub(super) products: Collection<Document>,
    pub(super) drops: Collection<Document>,
    pub(super) facts: Collection<Document>,
    pub(super) dead_letters: Collection<Document>,
    pub(super) epochs: Collection<Document>,
    pub(super) closings: Collection<Document>,
    pub(super) stocks: Collection<Document>,
    pub(super) reconciliations: Collection<Document>,
}

pub(super) async fn connect(uri: &str, database: &str) -> Result<Collections, ArchiveError> {
    let mut options = ClientOptions::parse(uri).await?;
    options.app_name.get_or_insert_with(|| "stampede".to_owned());
    options.server_selection_timeout.get_or_insert(SERVER_SELECTION_TIMEOUT);
    options.connect_timeout.get_or_insert(CONNECT_TIMEOUT);
    // What the archive promises does not depend on what a connection string says.
    options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
    options.read_concern = Some(ReadConcern::majority());
    let mut durable = WriteConcern::majority();
    durable.journal = Some(true);
    durable.w_timeout = Some(WRITE_CONCERN_TIMEOUT);
    options.write_concern = Some(durable);
    Ok(Collections::of(Client::with_options(options)?.database(database)))
}

/// The result of a call, unless it takes too long.
pub(super) async fn in_time<T>(call: impl Future<Output = Result<T, ArchiveError>>) -> Result<T, ArchiveError> {
    match timeout(CALL_TIMEOUT, call).await {
        Ok(result) => result,
        Err(_) => Err(ArchiveError::Unavailable(format!("MongoDB: no answer within {CALL_TIMEOUT:?}"))),
    }
}

impl Collections {
    fn of(database: Database) -> Self {
        let named = |name| database.collection(name);
        Self {
            schema: named("schema"),
            deployment: named("deployment"),
            products: named("products"),
            drops: named("drops"),
            facts: named("facts"),
            dead_letters: named("dead_letters"),
            epochs: named("epochs"),
            closings: named("closings"),
            stocks: named("stocks"),
            reconciliations: named("reconciliations"),
            database,
        }
    }

    pub(super) async fn ping(&self) -> Result<(), ArchiveError> {
        self.database.run_command(doc! { "ping": 1 }).await?;
        Ok(())
    }
}
