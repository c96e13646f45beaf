//! Breaking things.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use stampede_testkit::Proxy;
use tokio::time::{Instant, sleep};

use super::kinds::Kind;
use super::report::Report;
use super::roles::Role;
use super::site::{SHARDS, Site};
use super::stores::{HotState, Store};

/// How long a replica may take to become the primary.
const TAKEOVER_LIMIT: Duration = Duration::from_secs(60);

/// Injects one fault after another, each of its kinds in turn before one comes again.
pub struct Injector {
    site: Arc<Site>,
    report: Arc<Report>,
    rng: StdRng,
    kinds: Vec<Kind>,
    deck: Vec<Kind>,
    /// The longest that an archive is away.
    away: Duration,
}

impl Injector {
    pub fn new(site: &Arc<Site>, report: &Arc<Report>, rng: StdRng, kinds: Vec<Kind>, away: Duration) -> Self {
        Self { site: Arc::clone(site), report: Arc::clone(report), rng, kinds, deck: Vec::new(), away }
    }

    /// Goes on until then; what is broken at last is mended by the site.
    pub async fn run(&mut self, until: Instant) {
        while Instant::now() < until && !self.kinds.is_empty() {
            let pause = self.rng.random_range(20..700);
            sleep(Duration::from_millis(pause)).await;
            if self.deck.is_empty() {
                self.deck.clone_from(&self.kinds);
                self.deck.shuffle(&mut self.rng);
            }
            if let Some(kind) = self.deck.pop()
                && self.inject(kind).await
            {
                self.report.injected(kind);
            }
        }
    }

    fn for_ms(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.rng.random_range(range))
    }

    /// Injects a fault and takes it back; `false` if it could not be injected.
    async fn inject(&mut self, kind: Kind) -> bool {
        let site = Arc::clone(&self.site);
        match kind {
            Kind::KillApi => site.any_role("api", &mut self.rng).kill(self.for_ms(0..800)).await,
            Kind::KillWorker => site.any_role("worker", &mut self.rng).kill(self.for_ms(0..1_500)).await,
            Kind::FreezeApi => site.any_role("api", &mut self.rng).freeze(self.for_ms(300..3_000)).await,
            Kind::FreezeWorker => site.any_role("worker", &mut self.rng).freeze(self.for_ms(300..4_000)).await,
            Kind::RollingRestart => self.restart_all(&site).await,
            Kind::KillRedis | Kind::ClockBack => return self.restart_redis(&site, kind == Kind::ClockBack).await,
            Kind::FreezeRedis => {
                let redis = site.redis.lock().await;
                let HotState::Single(redis) = &*redis else { return false };
                redis.freeze();
                sleep(self.for_ms(200..2_500)).await;
                redis.thaw();
            }
            Kind::StopArchive | Kind::KillArchive | Kind::FreezeArchive | Kind::LockArchive | Kind::FullDisk => {
                return self.break_archive(&site, kind).await;
            }
            Kind::LosePrimary => return self.lose_primary(&site).await,
            Kind::FreezePrimaryAndWorker => return self.freeze_primary_and_worker(&site).await,
            Kind::FlushScripts => return site.redis.lock().await.tell(&["SCRIPT", "FLUSH"]),
            Kind::KillConnections => return site.redis.lock().await.tell(&["CLIENT", "KILL", "TYPE", "normal"]),
            Kind::CutRedis | Kind::CutClients | Kind::Delay | Kind::HalfOpen | Kind::LateCommand => {
                return self.break_connections(&site, kind).await;
            }
        }
        true
    }

    /// One process after another, as an update does it.
    async fn restart_all(&mut self, site: &Site) {
        for role in &site.roles {
            if let Err(problem) = role.restart().await {
                self.report.problem(problem);
            }
            sleep(self.for_ms(100..600)).await;
        }
    }

    async fn restart_redis(&mut self, site: &Site, clock_back: bool) -> bool {
        let (away, back_s) = (self.for_ms(0..1_000), self.rng.random_range(5..600));
        let mut redis = site.redis.lock().await;
        let HotState::Single(redis) = &mut *redis else { return false };
        redis.kill().await;
        if clock_back {
            // Back, and the next time right again: that is a jump ahead.
            let is_back = site.clock_is_back.fetch_xor(true, Ordering::Relaxed);
            redis.set_clock_back(if is_back { 0 } else { back_s });
        }
        sleep(away).await;
        redis.restart().await;
        true
    }

    async fn break_archive(&mut self, site: &Site, kind: Kind) -> bool {
        let longest_ms = u64::try_from(self.away.as_millis()).unwrap_or(u64::MAX);
        let (moment, away) = (self.for_ms(300..3_000), self.for_ms(500..longest_ms.max(501)));
        let mut store = site.store.lock().await;
        match (&mut *store, kind) {
            (Store::Mongo(mongo), Kind::StopArchive) => {
                mongo.stop().await;
                sleep(away).await;
                mongo.restart().await;
            }
            (Store::Mongo(mongo), Kind::KillArchive) => {
                mongo.kill();
                sleep(moment).await;
                mongo.restart().await;
            }
            (Store::Mongo(mongo), Kind::FreezeArchive) => {
                mongo.freeze();
                sleep(moment).await;
                mongo.thaw();
            }
            (store @ Store::Sqlite { .. }, Kind::LockArchive) => {
                let Ok(Some(lock)) = store.lock() else { return false };
                sleep(away).await;
                drop(lock);
            }
            (store @ Store::Sqlite { .. }, Kind::FullDisk) => {
                let Some(disk) = store.disk() else { return false };
                disk.fill();
                sleep(moment).await;
                disk.clear();
            }
            _ => return false,
        }
        true
    }

    /// Kills a primary, waits until its replica has taken over, and brings it back as the replica.
    async fn lose_primary(&mut self, site: &Site) -> bool {
        let key = format!("{{s{:02}}}:meta", self.rng.random_range(0..SHARDS));
        let mut redis = site.redis.lock().await;
        let HotState::Cluster(cluster) = &mut *redis else { return false };
        let Some(lost) = cluster.primary_of(&key) else { return false };
        cluster.nodes_mut()[lost].kill().await;
        if !taken_over(cluster, &key, lost).await {
            self.report.problem(format!("no replica took over within {TAKEOVER_LIMIT:?}"));
        }
        cluster.nodes_mut()[lost].restart().await;
        cluster.wait_until_healed().await;
        true
    }

    /// Freezes a primary together with a worker until the replica has taken over, and wakes both.
    async fn freeze_primary_and_worker(&mut self, site: &Site) -> bool {
        let key = format!("{{s{:02}}}:meta", self.rng.random_range(0..SHARDS));
        let worker: Arc<Role> = site.any_role("worker", &mut self.rng);
        let redis = site.redis.lock().await;
        let HotState::Cluster(cluster) = &*redis else { return false };
        let Some(frozen) = cluster.primary_of(&key) else { return false };
        let worker = worker.program.lock().await;
        worker.iter().for_each(stampede_testkit::Program::freeze);
        cluster.nodes()[frozen].freeze();
        if !taken_over(cluster, &key, frozen).await {
            self.report.problem(format!("no replica took over within {TAKEOVER_LIMIT:?}"));
        }
        sleep(self.for_ms(0..1_500)).await;
        cluster.nodes()[frozen].thaw();
        worker.iter().for_each(stampede_testkit::Program::thaw);
        cluster.wait_until_healed().await;
        true
    }

    async fn break_connections(&mut self, site: &Site, kind: Kind) -> bool {
        let proxies =
            |of: fn(&Role) -> Option<&Proxy>| site.roles.iter().filter_map(|role| of(role)).collect::<Vec<_>>();
        let mut proxies: Vec<&Proxy> = match kind {
            Kind::CutRedis => proxies(|role| role.redis.as_ref()),
            Kind::CutClients => proxies(|role| role.clients.as_ref()),
            Kind::LateCommand => proxies(|role| role.redis.as_ref().filter(|_| role.clients.is_some())),
            _ => site.roles.iter().flat_map(|role| role.redis.iter().chain(&role.clients)).collect(),
        };
        if proxies.is_empty() {
            return false;
        }
        // One of them, or all: a cable, or a switch.
        if kind == Kind::LateCommand || self.rng.random_bool(0.7) {
            proxies = vec![proxies[self.rng.random_range(0..proxies.len())]];
        }
        let (moment, other_way) = (self.for_ms(50..2_500), self.rng.random_bool(0.5));
        match kind {
            Kind::CutRedis | Kind::CutClients => {
                for proxy in &proxies {
                    proxy.refuse(other_way);
                    proxy.cut();
                }
                if other_way {
                    sleep(moment / 2).await;
                }
                proxies.iter().for_each(|proxy| proxy.refuse(false));
            }
            Kind::Delay => {
                let delay = self.for_ms(5..400);
                let set = |delay| match other_way {
                    true => proxies.iter().for_each(|proxy| proxy.delay_to_server(delay)),
                    false => proxies.iter().for_each(|proxy| proxy.delay_to_client(delay)),
                };
                set(delay);
                sleep(moment).await;
                set(Duration::ZERO);
            }
            Kind::HalfOpen => {
                for proxy in &proxies {
                    if other_way { proxy.hold_to_server(true) } else { proxy.hold_to_client(true) }
                }
                sleep(moment).await;
                for proxy in &proxies {
                    if self.rng.random_bool(0.5) {
                        proxy.cut();
                    }
                    proxy.release();
                }
            }
            Kind::LateCommand => {
                for proxy in &proxies {
                    proxy.hold_to_server(true);
                }
                // Meanwhile shoppers ask again through the other API. Then its commands arrive, after their sender's end.
                sleep(moment).await;
                for proxy in &proxies {
                    proxy.cut_clients();
                    proxy.release();
                }
            }
            _ => return false,
        }
        true
    }
}

/// Waits until another node serves the key.
async fn taken_over(cluster: &stampede_testkit::RedisCluster, key: &str, lost: usize) -> bool {
    let deadline = Instant::now() + TAKEOVER_LIMIT;
    while Instant::now() < deadline {
        if cluster.primary_of(key).is_some_and(|primary| primary != lost) {
            return true;
        }
        sleep(Duration::from_millis(50)).await;
    }
    false
}

/// The kinds that a site can have, in the two hands that inject them: processes, and connections.
pub fn hands(site: &Site, only: &[Kind], report: &Report) -> BTreeMap<bool, Vec<Kind>> {
    let mut hands: BTreeMap<bool, Vec<Kind>> = BTreeMap::new();
    for kind in Kind::ALL {
        let wanted = only.is_empty() || only.contains(&kind);
        if wanted && site.scenario.has(kind) && is_possible(site, kind, report) {
            hands.entry(kind.is_of_the_network()).or_default().push(kind);
        }
    }
    hands
}

fn is_possible(site: &Site, kind: Kind, report: &Report) -> bool {
    let store = site.store.try_lock().ok();
    let why_not = match (kind, store.as_deref()) {
        (Kind::ClockBack, _) if !stampede_testkit::can_set_clock_back() => {
            "clock-back is left out: libfaketime is not installed (the package faketime)"
        }
        (Kind::FullDisk, Some(store)) if store.disk().is_none() => {
            "full-disk is left out: a small disk cannot be mounted here, which takes root"
        }
        (Kind::KillArchive, Some(Store::Mongo(mongo))) if !mongo.survives_a_kill() => {
            "mongo-java-server may lose its last second when it is killed: it is stopped in order and frozen instead"
        }
        _ => return true,
    };
    report.note(why_not);
    false
}
