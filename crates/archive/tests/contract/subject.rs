//! An archive under test.

use std::sync::Arc;

use stampede_archive::{Archive, ArchiveUrl, connect};
use stampede_domain::{Deployment, ShardCount};
use stampede_testkit::MongoServer;
use tempfile::TempDir;

/// A fresh archive, and what is needed to reach it another way.
pub struct Subject {
    archive: Option<Arc<dyn Archive>>,
    address: Address,
}

enum Address {
    Sqlite(TempDir),
    Mongo(String),
}

impl Subject {
    pub fn empty_sqlite() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        Self { archive: None, address: Address::Sqlite(dir) }
    }

    pub fn empty_mongodb() -> Self {
        Self { archive: None, address: Address::Mongo(MongoServer::shared().database("contract").url) }
    }

    pub async fn sqlite() -> Self {
        Self::empty_sqlite().prepared().await
    }

    /// As the first version of the schema left it.
    pub async fn first_sqlite() -> Self {
        let mut subject = Self::empty_sqlite();
        subject.archive = Some(subject.connect().await);
        let db = rusqlite::Connection::open(subject.url().replace("sqlite:", "")).expect("opened");
        db.execute_batch(include_str!("../../src/sqlite/schema_1.sql")).expect("the first schema");
        db.pragma_update(None, "user_version", 1).expect("updated");
        subject
    }

    pub async fn mongodb() -> Self {
        Self::empty_mongodb().prepared().await
    }

    /// Migrated, with a deployment of eight shards.
    async fn prepared(mut self) -> Self {
        let archive = self.connect().await;
        archive.migrate().await.expect("migrated");
        archive.deployment(&deployment("first")).await.expect("a deployment");
        self.archive = Some(archive);
        self
    }

    pub fn archive(&self) -> &dyn Archive {
        &**self.archive.as_ref().expect("prepared")
    }

    /// Lets go of the archive and opens it again.
    pub async fn reopened(mut self) -> Self {
        self.archive = None;
        self.archive = Some(self.connect().await);
        self
    }

    pub async fn connect(&self) -> Arc<dyn Archive> {
        let url: ArchiveUrl = self.url().parse().expect("an address");
        connect(&url).await.expect("connected")
    }

    /// Writes a version of the schema behind the archive's back, as a newer stampede would.
    pub async fn set_schema_version(&self, version: i32) {
        match &self.address {
            Address::Sqlite(_) => {
                let path = self.url().replace("sqlite:", "");
                let db = rusqlite::Connection::open(path).expect("opened");
                db.pragma_update(None, "user_version", version).expect("updated");
            }
            Address::Mongo(url) => {
                use mongodb::bson::doc;
                let client = mongodb::Client::with_uri_str(url).await.expect("connected");
                let schema = client.default_database().expect("named").collection::<mongodb::bson::Document>("schema");
                let update = doc! { "$set": { "version": version } };
                let updated = schema.update_one(doc! { "_id": "schema" }, update).await.expect("updated");
                assert_eq!(updated.matched_count, 1);
            }
        }
    }

    pub fn url(&self) -> String {
        match &self.address {
            Address::Sqlite(dir) => format!("sqlite:{}", dir.path().join("new/archive.db").display()),
            Address::Mongo(url) => url.clone(),
        }
    }
}

pub fn deployment(id: &str) -> Deployment {
    Deployment { id: id.to_owned(), shards: ShardCount::try_from(8).expect("in range") }
}
