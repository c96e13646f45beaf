//! Striped drops when Redis comes back with less: units on their way arrive, once, and the stripes stay one drop.

mod support;

use std::sync::Arc;
use std::time::Duration;

use stampede_archive::{Archive, DriftKind, DropStage};
use stampede_domain::{ClosedBy, DropDefinition, DropState, Product, Shard, Stripes, UserDigest};
use stampede_engine::{
    Decision, DropChange, DropTerms, Engine, EngineSettings, LiveDrop, OrderRequest, PurgeOutcome, PurgeRefusal,
    PurgeTerms, Refusal, Sending, Transfer,
};
use stampede_testkit::{Redis, RedisOptions};
use stampede_worker::{Persister, Reconciler, Recovery, Timekeeper, Verdict, WorkerSettings};
use support::{assert_agreement, definition, open_archive_in, open_drop, request};
use tempfile::TempDir;

const STRIPES: u16 = 3;
const UNITS: u32 = 9;
const WAIT: Duration = Duration::from_secs(10);

struct Stage {
    redis: Redis,
    engine: Engine,
    archive: Arc<dyn Archive>,
    settings: WorkerSettings,
    _dir: TempDir,
}

impl Stage {
    async fn set() -> Self {
        let dir = TempDir::new().expect("a temporary folder");
        let redis = Redis::start_with(RedisOptions { append_fsync: Some("always"), ..RedisOptions::default() }).await;
        let (archive, deployment) = open_archive_in(&dir, STRIPES + 1).await;
        let settings = EngineSettings { redis_url: redis.url(), ..EngineSettings::default() };
        let engine = Engine::connect(settings, deployment).await.expect("the engine connects");
        let settings = WorkerSettings {
            poll_min: Duration::from_millis(1),
            claim_idle: Duration::from_millis(50),
            purge_after: Duration::ZERO,
            ..WorkerSettings::default()
        };
        let stage = Self { redis, engine, archive, settings, _dir: dir };
        stage.recover().await;
        stage
    }

    async fn recover(&self) {
        for shard in self.engine.shards() {
            let token = loop {
                match self.engine.inspect_shard(shard).await {
                    Ok(inspection) => break inspection.token,
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            };
            let recovery = Recovery::new(self.engine.clone(), Arc::clone(&self.archive), shard, token);
            recovery.finish().await.expect("recovered");
        }
    }

    /// Redis comes back with nothing.
    async fn lose_redis(&mut self) {
        self.redis.stop().await;
        self.redis.wipe();
        self.redis.restart().await;
        self.recover().await;
    }

    fn define(&self, name: &str) -> DropDefinition {
        let definition = DropDefinition { cancellable_for_s: 0, ..definition(name, UNITS, 3) };
        let home = self.engine.shard_of(&definition.id);
        let others = self.engine.shards().filter(|shard| *shard != home).take(usize::from(STRIPES) - 1);
        let stripes = Stripes::over(std::iter::once(home).chain(others).collect()).expect("distinct");
        DropDefinition { stripes, ..definition }
    }

    async fn open(&self, name: &str) -> (Arc<DropTerms>, Vec<Shard>) {
        let definition = self.define(name);
        let shards = definition.stripes.shards(self.engine.shard_of(&definition.id));
        let drop = open_drop(&self.engine, &*self.archive, definition.clone()).await;
        self.engine.activate_drop(&definition).await.expect("activated");
        (drop, shards)
    }

    async fn persist_all(&self) {
        let mut persister = Persister::new(self.engine.clone(), Arc::clone(&self.archive), self.settings.clone());
        for _ in 0..500 {
            persister.step().await.expect("archived");
            let mut left = 0;
            for shard in self.engine.shards() {
                left += self.engine.log_status(shard).await.expect("the shard answers").entries;
            }
            if left == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the logs do not drain");
    }

    fn timekeeper(&self) -> Timekeeper {
        Timekeeper::new(self.engine.clone(), Arc::clone(&self.archive), self.settings.clone())
    }

    async fn stripe(&self, shard: Shard, drop: &DropTerms) -> LiveDrop {
        let reading = self.engine.read_stripes(shard, std::slice::from_ref(&drop.id)).await;
        reading.expect("the shard answers").drops.pop().flatten().expect("the stripe is there")
    }

    async fn order(&self, drop: &Arc<DropTerms>, user: &str) -> Decision {
        self.engine.place_order(request(drop, user, "key"), WAIT).await.expect("decided")
    }

    /// Sells what is left to new users, and ends with everything that must be true.
    async fn sell_out(&self, drop: &Arc<DropTerms>, left: usize) {
        let running = tokio_util::sync::CancellationToken::new();
        let workers = stampede_worker::spawn(
            self.engine.clone(),
            Arc::clone(&self.archive),
            self.settings.clone(),
            running.clone(),
        );
        for n in 0..left {
            let decision = self.order(drop, &format!("late-{n}")).await;
            assert!(matches!(decision, Decision::Granted(_)), "{n}: {decision:?}");
        }
        assert_eq!(self.order(drop, "too-late").await, Decision::Refused(Refusal::SoldOut));
        running.cancel();
        workers.await.expect("the workers stop");
        self.persist_all().await;
        assert_agreement(&self.engine, &*self.archive, &drop.id).await;
        let mut reconciler = Reconciler::new(self.engine.clone(), Arc::clone(&self.archive), self.settings.clone());
        let report = reconciler.whole(None).await;
        assert_eq!(report.verdict(), Verdict::Clean, "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn units_on_their_way_survive_the_loss_of_redis_and_arrive_once() {
    let mut stage = Stage::set().await;
    let (drop, shards) = stage.open("on-their-way").await;
    let transfer = Transfer { from: shards[1], to: shards[2], number: 1, units: 2 };
    assert_eq!(stage.engine.send_units(&drop.id, transfer).await, Ok(Sending::Sent));
    stage.persist_all().await;
    stage.lose_redis().await;
    let from = stage.stripe(transfer.from, &drop).await;
    assert_eq!((from.total_units, from.sent_units, from.state), (1, 2, DropState::Open));
    assert_eq!(stage.engine.finish_transfers(transfer.from, &drop.id).await, Ok(1));
    stage.persist_all().await;
    stage.lose_redis().await;
    let to = stage.stripe(transfer.to, &drop).await;
    assert_eq!((to.total_units, to.received_units), (5, 2));
    assert_eq!(stage.engine.finish_transfers(transfer.from, &drop.id).await, Ok(0), "it knows that they arrived");
    stage.sell_out(&drop, UNITS as usize).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reaches_the_limit_while_another_order_waits_for_units_is_told_so() {
    let stage = Stage::set().await;
    let running = tokio_util::sync::CancellationToken::new();
    let (engine, archive) = (stage.engine.clone(), Arc::clone(&stage.archive));
    let workers = stampede_worker::spawn(engine, archive, stage.settings.clone(), running.clone());
    for n in 0..6 {
        let (drop, shards) = stage.open(&format!("rivals-{n}")).await;
        let of_stripe = |shard: Shard, name: &'static str| {
            let stripe_of =
                |user: &str| drop.stripes.of_user(shards[0], UserDigest::of(&user.parse().expect("a user id")));
            (0..).map(move |number| format!("{name}-{number}")).find(|user| stripe_of(user) == shard).expect("one")
        };
        // Three units are left, none in the stripe of one who wants four in two orders, and may have three.
        for shard in &shards[..2] {
            let buyer = OrderRequest { units: 3, ..request(&drop, &of_stripe(*shard, "buyer"), "key") };
            let decision = stage.engine.place_order(buyer, WAIT).await.expect("decided");
            assert!(matches!(decision, Decision::Granted(_)), "{decision:?}");
        }
        let user = of_stripe(shards[0], "late");
        let orders = [(3, "first"), (1, "second")].map(|(units, key)| {
            let order = OrderRequest { units, ..request(&drop, &user, key) };
            stage.engine.place_order(order, WAIT)
        });
        let decisions = futures_util::future::try_join_all(orders).await.expect("decided");
        let granted = decisions.iter().filter(|decision| matches!(decision, Decision::Granted(_))).count();
        let limited = |decision: &&Decision| matches!(decision, Decision::Refused(Refusal::LimitReached { .. }));
        assert_eq!((granted, decisions.iter().filter(limited).count()), (1, 1), "{decisions:?}");
    }
    running.cancel();
    workers.await.expect("the workers stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_arrival_that_a_restart_loses_happens_again() {
    let mut stage = Stage::set().await;
    let (drop, shards) = stage.open("again").await;
    let transfer = Transfer { from: shards[2], to: shards[0], number: 1, units: 3 };
    assert_eq!(stage.engine.send_units(&drop.id, transfer).await, Ok(Sending::Sent));
    stage.persist_all().await;
    assert_eq!(stage.engine.finish_transfers(transfer.from, &drop.id).await, Ok(1));
    assert_eq!(stage.stripe(transfer.to, &drop).await.total_units, 6);
    // Nobody archived that.
    stage.lose_redis().await;
    assert_eq!(stage.stripe(transfer.to, &drop).await.total_units, 3);
    let mut timekeeper = stage.timekeeper();
    assert!(timekeeper.step().await.expect("fired") > 0, "the transfer is due again");
    assert_eq!(stage.stripe(transfer.to, &drop).await.total_units, 6);
    let mut steps = 0;
    while timekeeper.step().await.expect("fired") > 0 {
        steps += 1;
        assert!(steps < 50, "nothing more arrives");
    }
    stage.sell_out(&drop, UNITS as usize).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_that_a_restart_loses_never_was() {
    let mut stage = Stage::set().await;
    let (drop, shards) = stage.open("never").await;
    stage.persist_all().await;
    let transfer = Transfer { from: shards[0], to: shards[1], number: 1, units: 3 };
    assert_eq!(stage.engine.send_units(&drop.id, transfer).await, Ok(Sending::Sent));
    assert_eq!(stage.engine.finish_transfers(transfer.from, &drop.id).await, Ok(0), "the archive does not have it");
    stage.lose_redis().await;
    assert_eq!(stage.stripe(transfer.from, &drop).await.total_units, 3);
    assert_eq!(stage.engine.finish_transfers(transfer.from, &drop.id).await, Ok(0));
    stage.sell_out(&drop, UNITS as usize).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drop_whose_process_died_is_activated_by_a_worker() {
    let mut stage = Stage::set().await;
    let definition = stage.define("left");
    let drop = open_drop(&stage.engine, &*stage.archive, definition.clone()).await;
    stage.persist_all().await;
    stage.lose_redis().await;
    for shard in definition.stripes.shards(stage.engine.shard_of(&drop.id)) {
        assert_eq!(stage.stripe(shard, &drop).await.state, DropState::Opening);
    }
    assert!(stage.timekeeper().step().await.expect("fired") > 0);
    stage.sell_out(&drop, UNITS as usize).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stripe_that_is_not_opened_yet_sells_nothing_and_is_not_activated() {
    let stage = Stage::set().await;
    let definition = stage.define("half");
    let sku = definition.sku.clone();
    let product = Product {
        sku,
        name: "half".to_owned(),
        description: None,
        image_url: None,
        price: definition.price,
        created_at: definition.created_at,
    };
    stage.archive.create_product(&product).await.expect("created");
    stage.archive.define_drop(&definition).await.expect("defined");
    assert!(stage.archive.move_drop(&definition.id, DropStage::Defined, DropStage::Opening).await.expect("moved"));
    // The process dies between its stripes and the archive.
    stage.engine.open_drop(&definition).await.expect("opened");
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    stage.timekeeper().step().await.expect("nothing to fire");
    for shard in definition.stripes.shards(stage.engine.shard_of(&definition.id)) {
        let reading = stage.engine.read_stripes(shard, std::slice::from_ref(&definition.id)).await.expect("readable");
        assert_eq!(reading.drops[0].as_ref().map(|live| live.state), Some(DropState::Opening));
    }
    let record = stage.archive.drop_record(&definition.id).await.expect("read").expect("defined");
    let open = || stage.engine.open_drop(&definition);
    stampede_archive::open_once(&*stage.archive, &record, open).await.expect("opened");
    assert!(stage.timekeeper().step().await.expect("fired") > 0);
    let now = support::drop_now(&stage.engine, &definition.id).await;
    assert_eq!((now.state, now.total_units), (DropState::Open, u64::from(UNITS)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_striped_drop_is_purged_and_comes_back_as_tombstones() {
    let mut stage = Stage::set().await;
    let (drop, shards) = stage.open("over").await;
    let transfer = Transfer { from: shards[1], to: shards[0], number: 1, units: 1 };
    assert_eq!(stage.engine.send_units(&drop.id, transfer).await, Ok(Sending::Sent));
    for n in 0..4 {
        assert!(matches!(stage.order(&drop, &format!("user-{n}")).await, Decision::Granted(_)));
    }
    let closed = DropChange::Close(ClosedBy::Operator);
    stage.engine.change_drop(&drop.id, &closed).await.expect("closed");
    stage.persist_all().await;
    let terms = PurgeTerms { keep_for: Duration::ZERO, look_again: None };
    let purge = async |stage: &Stage| stage.engine.purge_drop(&drop.id, terms).await.expect("an outcome");
    let early = purge(&stage).await;
    assert_eq!(early, PurgeOutcome::Refused(PurgeRefusal::Unsettled), "units are on their way");
    assert_eq!(stage.engine.finish_transfers(transfer.from, &drop.id).await, Ok(1));
    let deadline = std::time::Instant::now() + WAIT;
    while !matches!(purge(&stage).await, PurgeOutcome::Purged(_) | PurgeOutcome::AlreadyPurged(_)) {
        assert!(std::time::Instant::now() < deadline, "it is never purged");
        stage.persist_all().await;
        stage.timekeeper().step().await.expect("fired");
    }
    stage.persist_all().await;
    let figures = |live: &LiveDrop| {
        (live.total_units, live.available_units, live.sold_units, live.sent_units, live.received_units, live.purged)
    };
    let before = support::drop_now(&stage.engine, &drop.id).await;
    assert_eq!(figures(&before), (u64::from(UNITS), u64::from(UNITS) - 4, 4, 1, 1, true));
    stage.lose_redis().await;
    let after = support::drop_now(&stage.engine, &drop.id).await;
    assert_eq!((figures(&after), after.state), (figures(&before), DropState::Ended));
    assert!(matches!(stage.order(&drop, "user-0").await, Decision::Purged(_)), "the archive knows its orders");
    let mut reconciler = Reconciler::new(stage.engine.clone(), Arc::clone(&stage.archive), stage.settings.clone());
    let report = reconciler.whole(None).await;
    assert_eq!(report.verdict(), Verdict::Clean, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn units_that_came_from_nowhere_are_found() {
    let stage = Stage::set().await;
    let (drop, shards) = stage.open("nowhere").await;
    // As if another stripe had sent them: the script believes whoever calls it.
    let transfer = Transfer { from: shards[1], to: shards[0], number: 1, units: 4 };
    stage.engine.receive_units(&drop.id, transfer).await.expect("received");
    stage.persist_all().await;
    let report = Reconciler::new(stage.engine.clone(), Arc::clone(&stage.archive), stage.settings.clone())
        .whole(Some(&drop.id))
        .await;
    let found: Vec<_> = report
        .shards
        .iter()
        .flat_map(|shard| &shard.drops)
        .flat_map(|drop| drop.drift.iter().map(move |drift| (drop.stripe, drift.kind, drift.units)))
        .collect();
    assert_eq!(found, [(Some(shards[0]), DriftKind::Transit, 4)]);
}
