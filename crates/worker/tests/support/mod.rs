//! What the workers' tests share: a Redis, an archive on SQLite, an engine, and a judge of the invariants.

#![allow(dead_code)]

pub mod sale;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use stampede_archive::{Archive, ArchiveUrl, DropStage, OrderFilter, connect};
use stampede_domain::{
    Deployment, DropDefinition, DropId, FactId, Mode, Money, Order, OrderStatus, Product, Shard, ShardCount, Timestamp,
    UserDigest, UserId, Window,
};
use stampede_engine::{Decision, DropTerms, Engine, EngineError, EngineSettings, LiveDrop, OrderRequest};
use stampede_testkit::{Redis, RedisOptions, SqliteFault};
use stampede_worker::{Persister, Recovery, RecoveryReport, RecoveryStep, WorkerSettings};
use tempfile::TempDir;

pub struct Harness {
    pub redis: Redis,
    pub engine: Engine,
    pub archive: Arc<dyn Archive>,
    pub settings: WorkerSettings,
    dir: TempDir,
}

impl Harness {
    /// A deployment of one shard, so that every drop meets every fault.
    pub async fn start() -> Self {
        let dir = TempDir::new().expect("a temporary folder");
        let url = sqlite_in(&dir);
        Self::start_on(dir, &url).await
    }

    /// With the archive at `url`.
    pub async fn start_on(dir: TempDir, url: &str) -> Self {
        let redis = Redis::start_with(RedisOptions { append_fsync: Some("always"), ..RedisOptions::default() }).await;
        let (archive, deployment) = open_archive_at(url, 1).await;
        let settings = EngineSettings {
            redis_url: redis.url(),
            call_deadline: Duration::from_millis(600),
            command_timeout: Duration::from_millis(500),
            ..EngineSettings::default()
        };
        let engine = Engine::connect(settings, deployment).await.expect("the engine connects");
        let settings = WorkerSettings {
            poll_min: Duration::from_millis(1),
            claim_idle: Duration::from_millis(50),
            loss_patience: Duration::ZERO,
            takeover_after: Duration::from_millis(100),
            damage_poll: Duration::ZERO,
            ..WorkerSettings::default()
        };
        let harness = Self { redis, engine, archive, settings, dir };
        harness.recover().await;
        harness
    }

    pub fn archive_path(&self) -> PathBuf {
        self.dir.path().join("archive.db")
    }

    /// The database of the archive, to look at it or to damage it by hand.
    pub fn archive_db(&self) -> rusqlite::Connection {
        let db = rusqlite::Connection::open(self.archive_path()).expect("the archive's file");
        db.busy_timeout(Duration::from_secs(10)).expect("set");
        db
    }

    pub fn shard(&self) -> Shard {
        Shard::new(0).expect("in range")
    }

    /// Another connection to the archive's file.
    pub fn archive_file(&self) -> SqliteFault {
        SqliteFault::open(self.dir.path().join("archive.db"))
    }

    /// Another process of the same deployment.
    pub async fn another_engine(&self, change: impl FnOnce(&mut EngineSettings)) -> Engine {
        let mut settings = self.engine.settings().clone();
        change(&mut settings);
        Engine::connect(settings, self.engine.deployment().clone()).await.expect("the engine connects")
    }

    /// Stops Redis and starts it again with nothing.
    pub async fn lose_redis(&mut self) -> RecoveryReport {
        self.redis.stop().await;
        self.redis.wipe();
        self.redis.restart().await;
        self.recover().await
    }

    pub async fn token(&self) -> String {
        // The client may still be finding its way back to a server that was restarted.
        loop {
            match self.engine.inspect_shard(self.shard()).await {
                Ok(inspection) => return inspection.token,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    pub async fn recovery(&self) -> Recovery {
        Recovery::new(self.engine.clone(), Arc::clone(&self.archive), self.shard(), self.token().await)
    }

    pub async fn recover(&self) -> RecoveryReport {
        self.recovery().await.finish().await.expect("the recovery finishes")
    }

    /// A recovery that dies after `steps` steps; `false` if it was done by then.
    pub async fn recover_partly(&self, steps: usize) -> bool {
        let mut recovery = self.recovery().await;
        for _ in 0..steps {
            if recovery.step().await.expect("the step succeeds") == RecoveryStep::Done {
                return false;
            }
        }
        true
    }

    pub fn persister(&self) -> Persister {
        Persister::new(self.engine.clone(), Arc::clone(&self.archive), self.settings.clone())
    }

    /// Moves the whole log into the archive.
    pub async fn persist_all(&self) {
        let mut persister = self.persister();
        for _ in 0..200 {
            let persisted = persister.step().await.expect("the step succeeds");
            let status = self.engine.log_status(self.shard()).await.expect("the shard answers");
            if status.entries == 0 {
                return;
            }
            if persisted.entries == 0 {
                // Entries of another consumer become claimable after a while.
                tokio::time::sleep(self.settings.claim_idle).await;
            }
        }
        panic!("the log does not drain");
    }

    pub async fn open(&self, id: &str, stock: u32, limit: u32) -> Arc<DropTerms> {
        self.open_with(id, stock, limit, |_| ()).await
    }

    pub async fn open_with(
        &self,
        id: &str,
        stock: u32,
        limit: u32,
        change: impl FnOnce(&mut DropDefinition),
    ) -> Arc<DropTerms> {
        let mut definition = definition(id, stock, limit);
        change(&mut definition);
        open_drop(&self.engine, &*self.archive, definition).await
    }

    pub async fn order(&self, drop: &Arc<DropTerms>, user: &str, key: &str) -> Result<Decision, EngineError> {
        self.engine.place_order(request(drop, user, key), Duration::from_secs(3)).await
    }

    /// One granted order, in an entry of its own.
    pub async fn granted(&self, drop: &Arc<DropTerms>, user: &str) -> Order {
        match self.order(drop, user, "key").await {
            Ok(Decision::Granted(order)) => order,
            other => panic!("{user} was not granted: {other:?}"),
        }
    }

    /// Stops Redis in order, keeps a copy of its files, and starts it again.
    pub async fn save_files(&mut self) -> TempDir {
        let saved = TempDir::new().expect("a temporary folder");
        self.redis.stop().await;
        self.redis.copy_files_to(saved.path());
        self.redis.restart().await;
        saved
    }

    /// Kills Redis and brings it back with the files of `saved`.
    pub async fn restore_files(&mut self, saved: &TempDir) {
        self.redis.kill().await;
        self.redis.restore_files_from(saved.path());
        self.redis.restart().await;
    }

    pub async fn drop_now(&self, id: &DropId) -> LiveDrop {
        drop_now(&self.engine, id).await
    }

    pub async fn archived_orders(&self, drop: &DropId) -> Vec<Order> {
        archived_orders(&*self.archive, drop).await
    }

    /// Everything that must hold once the log has drained: stock adds up, and Redis and the archive agree on each user.
    pub async fn assert_invariants(&self, drop: &Arc<DropTerms>) {
        self.persist_all().await;
        assert_agreement(&self.engine, &*self.archive, &drop.id).await;
    }
}

pub fn definition(id: &str, stock: u32, limit: u32) -> DropDefinition {
    DropDefinition {
        id: id.parse().expect("a drop id"),
        sku: format!("SKU-{id}").parse().expect("a sku"),
        mode: Mode::Instant,
        stock_units: stock,
        limit_per_user: limit,
        window: Window { starts_at: Timestamp::from_ms(0), ends_at: None },
        price: Money { amount_minor: 12_900, currency: "EUR".parse().expect("a currency") },
        cancellable_for_s: 300,
        cancellations_per_user: 3,
        durability: None,
        stripes: Default::default(),
        hold_ms: 0,
        created_at: Timestamp::now(),
    }
}

/// An archive on SQLite for a deployment of so many shards; the folder goes with what it returns last.
pub async fn open_archive(shards: u16) -> (Arc<dyn Archive>, Deployment, TempDir) {
    let dir = TempDir::new().expect("a temporary folder");
    let (archive, deployment) = open_archive_at(&sqlite_in(&dir), shards).await;
    (archive, deployment, dir)
}

/// An archive in this folder, for a deployment of so many shards.
pub async fn open_archive_in(dir: &TempDir, shards: u16) -> (Arc<dyn Archive>, Deployment) {
    open_archive_at(&sqlite_in(dir), shards).await
}

async fn open_archive_at(url: &str, shards: u16) -> (Arc<dyn Archive>, Deployment) {
    let url: ArchiveUrl = url.parse().expect("an archive's address");
    let archive = connect(&url).await.expect("the archive opens");
    archive.migrate().await.expect("migrated");
    let proposed = Deployment { id: "test".to_owned(), shards: ShardCount::try_from(shards).expect("in range") };
    let deployment = archive.deployment(&proposed).await.expect("created");
    (archive, deployment)
}

fn sqlite_in(dir: &TempDir) -> String {
    format!("sqlite:{}", dir.path().join("archive.db").display())
}

/// An order of one unit.
pub fn request(drop: &Arc<DropTerms>, user: &str, key: &str) -> OrderRequest {
    OrderRequest {
        drop: Arc::clone(drop),
        user_id: user.parse().expect("a user id"),
        key: key.parse().expect("a key"),
        units: 1,
        expected_total: None,
        trace: None,
    }
}

/// Defines and opens a drop.
pub async fn open_drop(engine: &Engine, archive: &dyn Archive, definition: DropDefinition) -> Arc<DropTerms> {
    let product = Product {
        sku: definition.sku.clone(),
        name: definition.id.to_string(),
        description: None,
        image_url: None,
        price: definition.price,
        created_at: definition.created_at,
    };
    archive.create_product(&product).await.expect("created");
    archive.define_drop(&definition).await.expect("defined");
    let record = archive.drop_record(&definition.id).await.expect("readable").expect("defined");
    stampede_archive::open_once(archive, &record, || engine.open_drop(&definition)).await.expect("opened");
    let record = archive.drop_record(&definition.id).await.expect("readable").expect("defined");
    assert_eq!(record.stage, DropStage::Opened);
    let DropDefinition { id, sku, price: unit_price, durability, stripes, .. } = definition;
    Arc::new(DropTerms { id, sku, unit_price, durability, stripes })
}

pub async fn drop_now(engine: &Engine, id: &DropId) -> LiveDrop {
    let reading = engine.read_drops(engine.shard_of(id), std::slice::from_ref(id)).await;
    reading.expect("the shard answers").drops.pop().flatten().expect("the drop is there")
}

pub async fn archived_orders(archive: &dyn Archive, drop: &DropId) -> Vec<Order> {
    let filter = OrderFilter { drop_id: Some(drop.clone()), user_id: None };
    let orders = archive.orders(&filter, None, 10_000).await.expect("readable");
    orders.into_iter().map(|archived| archived.order).collect()
}

/// Stock adds up, and Redis and the archive, whose log has drained, agree on each user.
pub async fn assert_agreement(engine: &Engine, archive: &dyn Archive, drop: &DropId) {
    let now = drop_now(engine, drop).await;
    assert_eq!(now.total_units, now.available_units + now.held_units + now.sold_units, "{now:?}");
    let mut owned: HashMap<UserId, u32> = HashMap::new();
    let mut ids = std::collections::HashSet::new();
    let orders = archived_orders(archive, drop).await;
    for order in &orders {
        assert!(ids.insert(FactId::Order(order.id)), "{} is archived twice", order.id);
        if order.status == OrderStatus::Confirmed {
            *owned.entry(order.user_id.clone()).or_default() += u32::from(order.quantity);
        }
    }
    assert_eq!(now.sold_units, owned.values().map(|units| u64::from(*units)).sum::<u64>());
    assert!(owned.values().all(|units| *units <= now.limit_per_user), "{owned:?}");
    for order in &orders {
        let of = [(drop.clone(), UserDigest::of(&order.user_id))];
        let shard = order.id.shard();
        let grants = engine.user_grants(shard, &of).await.expect("readable").remove(0).grants;
        let (terms, records) = grants.expect("the drop is there");
        let mut held = records.iter().map(|record| engine.order_of(shard, &order.user_id, &terms, record));
        assert!(held.any(|held| held == *order), "{order:?} is not in Redis as it is in the archive: {records:?}");
    }
}
