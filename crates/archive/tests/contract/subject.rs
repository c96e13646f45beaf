//! An archive under test.

use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::params;
use stampede_archive::{Archive, ArchiveUrl, connect};
use stampede_domain::{Deployment, Fact, FactBody, ShardCount};
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

    /// As the first version of the schema left it.
    pub fn sqlite_of_version_1() -> Self {
        let subject = Self::empty_sqlite();
        let path = subject.path();
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        let db = rusqlite::Connection::open(path).expect("opened");
        db.execute_batch(include_str!("../../src/sqlite/schema_1.sql")).expect("the first version");
        db.pragma_update(None, "user_version", 1).expect("updated");
        subject
    }

    /// Inserts facts as the first version did.
    pub async fn insert_as_version_1(&self, facts: &[Fact]) {
        if let Address::Mongo(_) = self.address {
            assert_eq!(self.connect().await.insert_facts(facts).await.expect("inserted"), []);
            return;
        }
        let db = rusqlite::Connection::open(self.path()).expect("opened");
        for fact in facts {
            let (shard, place) = (fact.shard.number(), fact.position.index);
            let number = i64::try_from(fact.number).expect("in range");
            let inserted = match &fact.body {
                FactBody::Granted(grant) => db.execute(
                    "INSERT INTO facts (id, shard, epoch, number, idx, entry_facts, kind, drop_id, sku, user_id, units,
                         price_minor, currency, key_digest, fingerprint)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'granted', ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
                    params![
                        &fact.order().expect("a grant").id.as_bytes()[..],
                        shard,
                        fact.epoch.0,
                        number,
                        place,
                        fact.entry_facts,
                        fact.drop_id.as_str(),
                        grant.sku.as_str(),
                        grant.user_id.as_str(),
                        grant.units,
                        grant.unit_price.amount_minor,
                        grant.unit_price.currency.as_str(),
                        &grant.key.0[..],
                        &grant.fingerprint.0[..],
                    ],
                ),
                FactBody::Cancelled(withdrawal) => {
                    let log_id = fact.position.log_id;
                    let (ms, sequence) = (log_id.ms.to_be_bytes(), log_id.sequence.to_be_bytes());
                    let of_shard =
                        [&shard.to_be_bytes()[..], &place.to_be_bytes(), &fact.epoch.0.to_be_bytes()].concat();
                    let id = [&[0], &ms[2..], &sequence, &of_shard].concat();
                    let body = serde_json::to_string(&fact.body).expect("JSON");
                    let order_id = &withdrawal.order_id.as_bytes()[..];
                    db.execute(
                        "INSERT INTO facts (id, shard, epoch, number, idx, entry_facts, kind, drop_id, body, order_id)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'cancelled', ?7, ?8, ?9)",
                        params![
                            id,
                            shard,
                            fact.epoch.0,
                            number,
                            place,
                            fact.entry_facts,
                            fact.drop_id.as_str(),
                            body,
                            order_id
                        ],
                    )
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(inserted.expect("inserted"), 1);
        }
    }

    /// As the first version of the schema left it: with fewer indexes.
    pub async fn mongodb_of_version_1() -> Self {
        let subject = Self::mongodb().await;
        let client = mongodb::Client::with_uri_str(subject.url()).await.expect("connected");
        let letters = client.default_database().expect("named").collection::<mongodb::bson::Document>("dead_letters");
        letters.drop().await.expect("dropped");
        subject.set_schema_version(1).await;
        subject
    }

    /// SQLite's file.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(self.url().replace("sqlite:", ""))
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
                let db = rusqlite::Connection::open(self.path()).expect("opened");
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
