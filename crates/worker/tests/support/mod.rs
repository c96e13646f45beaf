//! What the workers' tests share: a Redis, an archive on SQLite, an engine, and a judge of the invariants.

#![allow(dead_code)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use stampede_archive::{Archive, ArchiveUrl, DropStage, OrderFilter, connect};
use stampede_domain::{
    Deployment, DropDefinition, DropId, FactId, Mode, Money, Order, OrderStatus, Product, Shard, ShardCount, Timestamp,
    UserDigest, UserId, Window,
};
use stampede_engine::{Decision, DropTerms, Engine, EngineError, EngineSettings, LiveDrop, OrderRequest};
use stampede_testkit::{Redis, RedisOptions};
use stampede_worker::{Persister, Recovery, RecoveryReport, RecoveryStep, WorkerSettings};
use tempfile::TempDir;

pub struct Harness {
    pub redis: Redis,
    pub engine: Engine,
    pub archive: Arc<dyn Archive>,
    pub settings: WorkerSettings,
    _dir: TempDir,
}

impl Harness {
    /// A deployment of one shard, so that every drop meets every fault.
    pub async fn start() -> Self {
        let redis = Redis::start_with(RedisOptions { append_fsync: Some("always"), ..RedisOptions::default() }).await;
        let dir = TempDir::new().expect("a temporary folder");
        let url: ArchiveUrl =
            format!("sqlite:{}", dir.path().join("archive.db").display()).parse().expect("an archive's address");
        let archive = connect(&url).await.expect("the archive opens");
        archive.migrate().await.expect("migrated");
        let proposed = Deployment { id: "test".to_owned(), shards: ShardCount::try_from(1).expect("in range") };
        let deployment = archive.deployment(&proposed).await.expect("created");
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
            takeover_after: Duration::from_millis(100),
            damage_poll: Duration::ZERO,
            ..WorkerSettings::default()
        };
        let harness = Self { redis, engine, archive, settings, _dir: dir };
        harness.recover().await;
        harness
    }

    pub fn shard(&self) -> Shard {
        Shard::new(0).expect("in range")
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
        self.open_as(definition(id, stock, limit)).await
    }

    pub async fn open_as(&self, definition: DropDefinition) -> Arc<DropTerms> {
        let id = definition.id.as_str();
        let product = Product {
            sku: definition.sku.clone(),
            name: id.to_owned(),
            description: None,
            image_url: None,
            price: definition.price,
            created_at: definition.created_at,
        };
        self.archive.create_product(&product).await.expect("created");
        self.archive.define_drop(&definition).await.expect("defined");
        let record = self.archive.drop_record(&definition.id).await.expect("readable").expect("defined");
        stampede_archive::open_once(&*self.archive, &record, || self.engine.open_drop(&definition))
            .await
            .expect("opened");
        let record = self.archive.drop_record(&definition.id).await.expect("readable").expect("defined");
        assert_eq!(record.stage, DropStage::Opened);
        Arc::new(DropTerms {
            id: definition.id,
            sku: definition.sku,
            unit_price: definition.price,
            durability: definition.durability,
        })
    }

    pub async fn order(&self, drop: &Arc<DropTerms>, user: &str, key: &str) -> Result<Decision, EngineError> {
        let request = OrderRequest {
            drop: Arc::clone(drop),
            user_id: user.parse().expect("a user id"),
            key: key.parse().expect("a key"),
            units: 1,
            expected_total: None,
        };
        self.engine.place_order(request, Duration::from_secs(3)).await
    }

    /// One granted order, in an entry of its own.
    pub async fn granted(&self, drop: &Arc<DropTerms>, user: &str) -> Order {
        match self.order(drop, user, "key").await {
            Ok(Decision::Granted(order)) => order,
            other => panic!("{user} was not granted: {other:?}"),
        }
    }

    pub async fn drop_now(&self, id: &DropId) -> LiveDrop {
        let reading = self.engine.read_drops(self.shard(), std::slice::from_ref(id)).await;
        reading.expect("the shard answers").drops.pop().flatten().expect("the drop is there")
    }

    pub async fn archived_orders(&self, drop: &DropId) -> Vec<Order> {
        let filter = OrderFilter { drop_id: Some(drop.clone()), user_id: None };
        let orders = self.archive.orders(&filter, None, 10_000).await.expect("readable");
        orders.into_iter().map(|archived| archived.order).collect()
    }

    /// Everything that must hold once the log has drained: stock adds up, and Redis and the archive agree on each user.
    pub async fn assert_invariants(&self, drop: &Arc<DropTerms>) {
        self.persist_all().await;
        let now = self.drop_now(&drop.id).await;
        assert_eq!(now.total_units, now.available_units + now.held_units + now.sold_units, "{now:?}");
        let mut owned: HashMap<UserId, u32> = HashMap::new();
        let mut ids = std::collections::HashSet::new();
        let orders = self.archived_orders(&drop.id).await;
        for order in &orders {
            assert!(ids.insert(FactId::Order(order.id)), "{} is archived twice", order.id);
            if order.status == OrderStatus::Confirmed {
                *owned.entry(order.user_id.clone()).or_default() += u32::from(order.quantity);
            }
        }
        assert_eq!(now.sold_units, owned.values().map(|units| u64::from(*units)).sum::<u64>());
        assert!(owned.values().all(|units| *units <= now.limit_per_user), "{owned:?}");
        for order in &orders {
            let of = [(drop.id.clone(), UserDigest::of(&order.user_id))];
            let grants = self.engine.user_grants(self.shard(), &of).await.expect("readable").remove(0).grants;
            let (terms, records) = grants.expect("the drop is there");
            let mut held = records.iter().map(|record| self.engine.order_of(&order.user_id, &terms, record));
            assert!(held.any(|held| held == *order), "{order:?} is not in Redis as it is in the archive: {records:?}");
        }
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
        created_at: Timestamp::now(),
    }
}
