//! A sale with its workers and a crowd that sends again under the same key, while servers come and go.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stampede_archive::Archive;
use stampede_domain::{Deployment, DropDefinition, DropId, Epoch, Order, OrderId, Shard};
use stampede_engine::{Decision, DropTerms, Engine, EngineError, EngineSettings, Refusal};
use stampede_worker::WorkerSettings;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{archived_orders, assert_agreement, definition, drop_now, open_archive, open_drop, request};

/// Longer than any failover takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);
const CLIENTS: usize = 16;
/// How long a shopper looks on before the next one buys: a failover must fall into the sale.
const PAUSE: Duration = Duration::from_millis(100);

/// A deployment whose first shard sells one drop.
pub struct Sale {
    /// The process that takes orders.
    pub engine: Engine,
    pub archive: Arc<dyn Archive>,
    pub drop: Arc<DropTerms>,
    deployment: Deployment,
    settings: WorkerSettings,
    workers: Vec<(CancellationToken, JoinHandle<()>)>,
    dir: TempDir,
}

/// What answers a crash of Redis may have lost.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Those that the archive did not have: answers waited for nothing but Redis's memory.
    Tail,
    /// None: answers waited for more, or nothing crashed.
    None,
}

impl Sale {
    pub async fn start(url: &str, stock: u32) -> Self {
        Self::start_with(url, stock, |_| ()).await
    }

    pub async fn start_with(url: &str, stock: u32, change: impl FnOnce(&mut WorkerSettings)) -> Self {
        let (archive, deployment, dir) = open_archive(4).await;
        let mut settings = WorkerSettings {
            poll_min: Duration::from_millis(1),
            claim_idle: Duration::from_millis(500),
            recovery_poll: Duration::from_millis(50),
            damage_poll: Duration::from_millis(100),
            takeover_after: Duration::from_millis(500),
            backoff_max: Duration::from_millis(500),
            ..WorkerSettings::default()
        };
        change(&mut settings);
        let engine = connect(url, &deployment).await;
        let drop_id = id_in(&deployment, Shard::new(0).expect("in range"));
        let terms = definition(drop_id.as_str(), stock, 1);
        let (id, sku) = (terms.id.clone(), terms.sku.clone());
        let drop = DropTerms {
            id,
            sku,
            unit_price: terms.price,
            durability: terms.durability,
            stripes: terms.stripes.clone(),
        };
        let mut sale = Self { engine, archive, drop: Arc::new(drop), deployment, settings, workers: Vec::new(), dir };
        sale.start_workers(url).await;
        sale.until("all shards are set up", async |sale| sale.is_whole().await).await;
        sale.open(terms).await;
        sale
    }

    /// Another drop of this sale's deployment.
    pub async fn open(&self, definition: DropDefinition) -> Arc<DropTerms> {
        open_drop(&self.engine, &*self.archive, definition).await
    }

    /// Another process of the same deployment, which reaches Redis by this address.
    pub async fn process(&self, url: &str) -> Engine {
        connect(url, &self.deployment).await
    }

    /// Workers in a process of their own.
    pub async fn start_workers(&mut self, url: &str) {
        let shutdown = CancellationToken::new();
        let engine = self.process(url).await;
        let workers =
            stampede_worker::spawn(engine, Arc::clone(&self.archive), self.settings.clone(), shutdown.clone());
        self.workers.push((shutdown, workers));
    }

    /// Ends all workers, in order.
    pub async fn stop_workers(&mut self) {
        for (shutdown, workers) in self.workers.drain(..) {
            shutdown.cancel();
            workers.await.expect("the workers end");
        }
    }

    pub fn shard(&self) -> Shard {
        self.engine.shard_of(&self.drop.id)
    }

    /// The epoch that the shard trusts; none behind the fence.
    pub async fn epoch(&self) -> Option<Epoch> {
        let inspection = self.engine.inspect_shard(self.shard()).await.ok()?;
        inspection.epoch.filter(|_| inspection.is_trusted())
    }

    pub async fn is_whole(&self) -> bool {
        self.engine.fenced_shards().await.is_ok_and(|fenced| fenced.is_empty())
    }

    /// One order, decided within `wait` or not at all.
    pub async fn order(&self, user: &str, wait: Duration) -> Result<Decision, EngineError> {
        self.engine.place_order(request(&self.drop, user, "key"), wait).await
    }

    /// What the archive has, of what counts.
    pub async fn archived(&self) -> Vec<Order> {
        archived_orders(&*self.archive, &self.drop.id).await
    }

    pub async fn archived_ids(&self) -> HashSet<OrderId> {
        self.archived().await.into_iter().map(|order| order.id).collect()
    }

    /// Waits until the archive has whatever the log had.
    pub async fn drain(&self) {
        self.until("the log has drained", async |sale| {
            sale.engine.log_status(sale.shard()).await.is_ok_and(|status| status.entries == 0)
        })
        .await;
    }

    pub async fn until(&self, what: &str, mut holds: impl AsyncFnMut(&Self) -> bool) {
        let deadline = Instant::now() + LIMIT;
        while !holds(self).await {
            assert!(Instant::now() < deadline, "never: {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// A crowd that buys until nothing is left.
    pub fn crowd(&self) -> Crowd {
        let (answers, answered) = watch::channel(Vec::new());
        let hurry = CancellationToken::new();
        let clients = (0..CLIENTS).map(|client| {
            let (engine, drop, answers) = (self.engine.clone(), Arc::clone(&self.drop), answers.clone());
            let hurry = hurry.clone();
            tokio::spawn(async move {
                for n in 0.. {
                    let Some(order) = buy(&engine, &drop, &format!("shopper-{client}-{n}")).await else { return };
                    answers.send_modify(|all: &mut Vec<Order>| all.push(order));
                    let _ = tokio::time::timeout(PAUSE, hurry.cancelled()).await;
                }
            })
        });
        Crowd { clients: clients.collect(), answered, hurry }
    }

    /// What must hold when the drop is sold out and the log has drained: of what was answered, the archive has everything but
    /// perhaps what was lost; no unit was sold twice, and none is left.
    ///
    /// `kept` is what the archive had before the fault, `before` what had been answered until all was well again.
    pub async fn assert_sold_out(&self, crowd: Crowd, loss: Loss, kept: &HashSet<OrderId>, before: usize) {
        let answered = crowd.all().await;
        self.until("all shards are trusted", async |sale| sale.is_whole().await).await;
        self.drain().await;
        assert_agreement(&self.engine, &*self.archive, &self.drop.id).await;
        let now = drop_now(&self.engine, &self.drop.id).await;
        assert_eq!((now.available_units, now.sold_units), (0, now.total_units));
        let archived = self.archived_ids().await;
        assert_eq!(archived.len() as u64, now.total_units, "each unit is one order's");
        assert!(kept.is_subset(&archived), "the archive never takes back");
        for (place, order) in answered.iter().enumerate().filter(|(_, order)| !archived.contains(&order.id)) {
            assert!(loss == Loss::Tail && place < before, "order {place} was answered and is gone: {order:?}");
        }
    }
}

/// Shoppers who buy one after another.
pub struct Crowd {
    clients: Vec<JoinHandle<()>>,
    answered: watch::Receiver<Vec<Order>>,
    hurry: CancellationToken,
}

impl Crowd {
    /// How many have been answered.
    pub fn answered(&self) -> usize {
        self.answered.borrow().len()
    }

    /// Waits until so many more have been answered than now.
    pub async fn more(&mut self, count: usize) {
        let wanted = self.answered() + count;
        let waiting = self.answered.wait_for(|all| all.len() >= wanted);
        tokio::time::timeout(LIMIT, waiting).await.expect("in time").expect("they are still buying");
    }

    /// Buys what is left, as fast as may be; everything that was answered, in that order.
    async fn all(self) -> Vec<Order> {
        self.hurry.cancel();
        for client in self.clients {
            tokio::time::timeout(LIMIT, client).await.expect("in time").expect("no panic");
        }
        self.answered.borrow().clone()
    }
}

/// Buys one unit, under one key until there is an answer; none if nothing is left.
async fn buy(engine: &Engine, drop: &Arc<DropTerms>, user: &str) -> Option<Order> {
    loop {
        match engine.place_order(request(drop, user, "key"), Duration::from_secs(2)).await {
            Ok(Decision::Granted(order) | Decision::Replayed(order)) => return Some(order),
            Ok(Decision::Refused(Refusal::SoldOut)) => return None,
            Err(
                EngineError::ShardRecovering
                | EngineError::ShardMoving
                | EngineError::OutcomeUnknown
                | EngineError::Unavailable(_),
            ) => tokio::time::sleep(Duration::from_millis(20)).await,
            other => panic!("{user}: {other:?}"),
        }
    }
}

async fn connect(url: &str, deployment: &Deployment) -> Engine {
    let settings = EngineSettings {
        redis_url: url.to_owned(),
        call_deadline: Duration::from_millis(1_200),
        command_timeout: Duration::from_secs(1),
        ..EngineSettings::default()
    };
    Engine::connect(settings, deployment.clone()).await.expect("the engine connects")
}

fn id_in(deployment: &Deployment, shard: Shard) -> DropId {
    let ids = (0..).map(|n: u32| format!("failover-{n}").parse::<DropId>().expect("a drop id"));
    ids.into_iter().find(|id| deployment.shard_of(id) == shard).expect("endless")
}
