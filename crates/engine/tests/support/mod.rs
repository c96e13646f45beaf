//! What the engine's tests share: a Redis of their own, an engine on it, drops and shoppers.

#![allow(dead_code)]

use std::sync::Arc;
use std::time::Duration;

use stampede_domain::{
    Deployment, DropDefinition, DropId, Epoch, LogId, Mode, Money, Shard, ShardCount, Timestamp, UserId, Window,
};
use stampede_engine::{
    Decision, DropTerms, Engine, EngineError, EngineSettings, LiveDrop, OrderRequest, RecoveryGuard,
};
use stampede_testkit::{Redis, RedisCluster, RedisOptions};

/// One Redis, or three masters of a cluster: every test of the engine runs on both.
pub enum Server {
    Single(Redis),
    Cluster(RedisCluster),
}

impl Server {
    pub async fn single() -> Self {
        Self::Single(Redis::start_with(RedisOptions::default()).await)
    }

    pub async fn cluster() -> Self {
        Self::Cluster(RedisCluster::start(3).await)
    }

    pub fn url(&self) -> String {
        match self {
            Self::Single(redis) => redis.url(),
            Self::Cluster(cluster) => cluster.url(),
        }
    }

    /// One command to the server that holds `key`, which must be its first argument.
    pub fn cli(&self, command: &[&str]) -> String {
        match self {
            Self::Single(redis) => redis.cli(command),
            Self::Cluster(cluster) => cluster.nodes()[cluster.node_of(command[1])].cli(command),
        }
    }

    /// One command to every server.
    pub fn cli_everywhere(&self, command: &[&str]) {
        match self {
            Self::Single(redis) => drop(redis.cli(command)),
            Self::Cluster(cluster) => cluster.nodes().iter().for_each(|node| drop(node.cli(command))),
        }
    }
}

/// A server with an engine whose shards are set up.
pub struct Harness {
    pub server: Server,
    pub engine: Engine,
}

pub const SHARDS: u16 = 4;

impl Harness {
    pub async fn single() -> Self {
        Self::on(Server::single().await).await
    }

    pub async fn cluster() -> Self {
        Self::on(Server::cluster().await).await
    }

    pub async fn on(server: Server) -> Self {
        Self::with(server, |_| ()).await
    }

    pub async fn with(server: Server, change: impl FnOnce(&mut EngineSettings)) -> Self {
        let mut settings = EngineSettings { redis_url: server.url(), ..EngineSettings::default() };
        change(&mut settings);
        let engine = Engine::connect(settings, deployment()).await.expect("the engine connects");
        for shard in engine.shards() {
            set_up(&engine, shard).await;
        }
        Self { server, engine }
    }

    /// Opens a drop of `stock` units, on sale now.
    pub async fn open(&self, id: &str, stock: u32, limit: u32) -> Arc<DropTerms> {
        self.open_with(definition(id, stock, limit)).await
    }

    pub async fn open_with(&self, definition: DropDefinition) -> Arc<DropTerms> {
        self.engine.open_drop(&definition).await.expect("the drop opens");
        Arc::new(DropTerms { id: definition.id, sku: definition.sku, unit_price: definition.price })
    }

    pub async fn order(
        &self,
        drop: &Arc<DropTerms>,
        user: &str,
        key: &str,
        units: u16,
    ) -> Result<Decision, EngineError> {
        self.engine.place_order(request(drop, user, key, units), Duration::from_millis(200)).await
    }

    pub async fn drop_now(&self, id: &DropId) -> LiveDrop {
        let reading = self.engine.read_drops(self.engine.shard_of(id), std::slice::from_ref(id)).await;
        reading.expect("the shard answers").drops.pop().flatten().expect("the drop is there")
    }
}

pub fn deployment() -> Deployment {
    Deployment { id: "test".to_owned(), shards: ShardCount::try_from(SHARDS).expect("in range") }
}

/// What a recovery of an empty shard does.
pub async fn set_up(engine: &Engine, shard: Shard) {
    let token = engine.inspect_shard(shard).await.expect("the server answers").token;
    let guard = RecoveryGuard { shard, epoch: Epoch(1), token };
    engine.begin_recovery(&guard).await.expect("begun");
    engine.recovery_align(&guard, 0).await.expect("aligned");
    engine.recovery_adopt(&guard, 0, LogId::default()).await.expect("adopted");
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

pub fn user(name: &str) -> UserId {
    name.parse().expect("a user id")
}

pub fn request(drop: &Arc<DropTerms>, user_name: &str, key: &str, units: u16) -> OrderRequest {
    OrderRequest {
        drop: Arc::clone(drop),
        user_id: user(user_name),
        key: key.parse().expect("a key"),
        units,
        expected_total: None,
    }
}
