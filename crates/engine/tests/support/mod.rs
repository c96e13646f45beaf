//! What the engine's tests share: servers, an engine on a shard of its own, drops and shoppers.

#![allow(dead_code, unused_imports)]

mod faults;
mod host;
mod keys;
mod raw;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use stampede_domain::{
    Deployment, DropDefinition, DropId, Epoch, Fact, FactBody, LogId, Mode, Money, Order, Shard, ShardCount, Timestamp,
    UserId, Window,
};
use stampede_engine::{
    Decision, DropTerms, Engine, EngineError, EngineSettings, Keys, LiveDrop, LogEntry, OrderRequest, RecoveryGuard,
    Refusal,
};
use stampede_testkit::Redis;

pub use faults::{Alone, Faults, Locked};
pub use host::{Host, Kind, Lease, OnHost, Server};
pub use keys::{Image, Probe, run_script};
pub use raw::{grant_call, results};

/// More than any binary has tests: each has a shard of its own.
pub const SHARDS: u16 = 96;

/// Long enough for anything but a fence that stays.
pub const WAIT: Duration = Duration::from_millis(200);

/// An engine whose shard is set up.
pub struct Harness {
    pub engine: Engine,
    /// The test's own shard. All of its drops live there.
    pub shard: Shard,
    pub keys: Keys,
    /// Dropped before the lease, whose last one looks at it.
    alone: Option<Locked>,
    lease: Lease,
}

impl OnHost for Harness {
    async fn on(lease: Lease) -> Self {
        let engine = connect(&lease.server.url(), |_| ()).await;
        set_up(&engine, lease.shard).await;
        Self { engine, shard: lease.shard, keys: Keys::of(lease.shard), alone: None, lease }
    }
}

impl Harness {
    /// The server that holds the test's shard.
    pub fn redis(&self) -> &Redis {
        &self.lease.server.nodes()[self.lease.node]
    }

    pub fn node(&self) -> usize {
        self.lease.node
    }

    pub fn server(&self) -> &Server {
        &self.lease.server
    }

    pub fn probe(&self) -> Probe<'_> {
        Probe::new(self.redis(), self.shard)
    }

    /// Another process of the same deployment.
    pub async fn another(&self, change: impl FnOnce(&mut EngineSettings)) -> Engine {
        connect(&self.lease.server.url(), change).await
    }

    /// An id that begins with `name`, of a drop in the test's shard.
    pub fn id(&self, name: &str) -> DropId {
        id_in(self.shard, name)
    }

    /// Opens a drop of `stock` units, on sale now.
    pub async fn open(&self, name: &str, stock: u32, limit: u32) -> Arc<DropTerms> {
        self.open_with(name, |drop| (drop.stock_units, drop.limit_per_user) = (stock, limit)).await
    }

    pub async fn open_with(&self, name: &str, change: impl FnOnce(&mut DropDefinition)) -> Arc<DropTerms> {
        let mut definition = definition(self.id(name));
        change(&mut definition);
        self.engine.open_drop(&definition).await.expect("the drop opens");
        Arc::new(DropTerms {
            id: definition.id,
            sku: definition.sku,
            unit_price: definition.price,
            durability: definition.durability,
            stripes: definition.stripes,
        })
    }

    pub async fn order(
        &self,
        drop: &Arc<DropTerms>,
        user: &str,
        key: &str,
        units: u16,
    ) -> Result<Decision, EngineError> {
        self.engine.place_order(request(drop, user, key, units), WAIT).await
    }

    /// An order that must be granted.
    pub async fn buy(&self, drop: &Arc<DropTerms>, user: &str, key: &str, units: u16) -> Order {
        match self.order(drop, user, key, units).await {
            Ok(Decision::Granted(order)) => order,
            other => panic!("not granted: {other:?}"),
        }
    }

    /// An order that must be refused.
    pub async fn refusal(&self, drop: &Arc<DropTerms>, user: &str, key: &str, units: u16) -> Refusal {
        match self.order(drop, user, key, units).await {
            Ok(Decision::Refused(refusal)) => refusal,
            other => panic!("not refused: {other:?}"),
        }
    }

    /// Decides these orders in one group, in this order.
    ///
    /// They wait behind a fence that only this shard has. A last one, which does not wait, is answered when a call has
    /// found the fence with all of them; the next call takes them together.
    pub async fn in_one_group(&self, orders: Vec<OrderRequest>) -> Vec<Result<Decision, EngineError>> {
        let token = self.meta("token");
        self.set_meta("token", "foreign");
        let last = request(&orders[0].drop, "last", "last", 1);
        let last = self.engine.place_order(last, Duration::ZERO);
        let orders = orders.into_iter().map(|order| self.engine.place_order(order, Duration::from_secs(30)));
        let mut all = Box::pin(join_in_order(orders.collect()));
        tokio::select! {
            biased;
            decisions = &mut all => panic!("decided behind the fence: {decisions:?}"),
            fenced = last => assert_eq!(fenced, Err(EngineError::ShardRecovering)),
        }
        self.set_meta("token", token);
        all.await
    }

    pub async fn drop_now(&self, id: &DropId) -> LiveDrop {
        let reading = self.engine.read_drops(self.shard, std::slice::from_ref(id)).await;
        reading.expect("the shard answers").drops.pop().flatten().expect("the drop is there")
    }

    /// The whole log of the shard.
    pub async fn log(&self) -> Vec<LogEntry> {
        self.engine.read_untrusted_log(self.shard, None, 100_000).await.expect("the server answers")
    }

    /// The facts of the whole log.
    pub async fn facts(&self) -> Vec<Fact> {
        self.log().await.iter().flat_map(|entry| entry.facts().expect("decodable")).collect()
    }

    pub async fn grants(&self) -> usize {
        self.facts().await.iter().filter(|fact| matches!(fact.body, FactBody::Granted(_))).count()
    }

    /// Sets a field of the shard's `meta`.
    pub fn set_meta(&self, field: &str, value: impl ToString) {
        self.redis().cli(&["HSET", &self.keys.meta, field, &value.to_string()]);
    }

    pub fn meta(&self, field: &str) -> String {
        self.redis().cli(&["HGET", &self.keys.meta, field])
    }

    /// Makes the last entry's id one that lies ahead of Redis's clock, as after that one was set back.
    pub fn set_last_id(&self, id: LogId) {
        self.set_meta("last_ms", id.ms);
        self.set_meta("last_sequence", id.sequence);
        assert_eq!(self.redis().cli(&["XSETID", &self.keys.log, &id.to_string()]), "OK");
    }

    /// Redis's own clock.
    pub fn redis_ms(&self) -> u64 {
        redis_ms(self.redis())
    }
}

pub fn redis_ms(redis: &Redis) -> u64 {
    let time = redis.cli(&["TIME"]);
    let (seconds, micros) = time.split_once('\n').expect("two lines");
    seconds.parse::<u64>().expect("seconds") * 1000 + micros.parse::<u64>().expect("microseconds") / 1000
}

pub async fn connect(url: &str, change: impl FnOnce(&mut EngineSettings)) -> Engine {
    let mut settings = EngineSettings { redis_url: url.to_owned(), ..EngineSettings::default() };
    change(&mut settings);
    Engine::connect(settings, deployment()).await.expect("the engine connects")
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

pub fn id_in(shard: Shard, name: &str) -> DropId {
    (0..)
        .map(|n: u32| format!("{name}-{n}").parse::<DropId>().expect("a drop id"))
        .find(|id| deployment().shard_of(id) == shard)
        .expect("endless")
}

/// A drop of ten units, two for each user, on sale now.
pub fn definition(id: DropId) -> DropDefinition {
    DropDefinition {
        sku: format!("SKU-{id}").parse().expect("a sku"),
        id,
        mode: Mode::Instant,
        stock_units: 10,
        limit_per_user: 2,
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
        trace: None,
    }
}

/// Waits for all; each begins in its turn.
pub async fn join_in_order<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    poll_fn(|cx| {
        for (future, output) in running.iter_mut().filter(|(_, output)| output.is_none()) {
            if let Poll::Ready(value) = future.as_mut().poll(cx) {
                *output = Some(value);
            }
        }
        if running.iter().all(|(_, output)| output.is_some()) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    running.into_iter().map(|(_, output)| output.expect("it is ready")).collect()
}

/// Waits until something holds for every server.
pub async fn until_all(nodes: &[Redis], what: &str, holds: impl Fn(&Redis) -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while let Some(node) = nodes.iter().find(|node| !holds(node)) {
        assert!(std::time::Instant::now() < deadline, "the server on port {} never {what}", node.port());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until something that only can be looked at has come about.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !holds().await {
        assert!(std::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
