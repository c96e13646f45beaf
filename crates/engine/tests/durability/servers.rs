//! Servers that keep files and follow each other, and an engine on a shard of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use stampede_domain::{Durability, Epoch, LogId, Shard};
use stampede_engine::{Decision, DropTerms, Engine, EngineError, EngineSettings, Keys, RecoveryGuard};
use stampede_testkit::{Redis, RedisOptions};

use crate::support::{connect, definition, id_in, request, set_up, until};

/// How long orders wait behind a fence.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Lines of a configuration.
pub fn lines(lines: &[(&str, &str)]) -> Vec<(String, String)> {
    lines.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Settings of a server with replicas, which need not wait for more of them when one comes.
pub fn options(min_replicas: usize) -> RedisOptions {
    let min = min_replicas.to_string();
    let extra = lines(&[("repl-diskless-sync-delay", "0"), ("min-replicas-to-write", &min)]);
    RedisOptions { append_fsync: Some("everysec"), extra, ..RedisOptions::default() }
}

/// A replica of `primary` that has all that it has.
pub async fn replica_of(primary: &Redis, append_fsync: Option<&'static str>) -> Redis {
    let replica_of = Some(primary.port());
    let replica = Redis::start_with(RedisOptions { replica_of, append_fsync, ..options(0) }).await;
    replica.wait_until_level_with(primary).await;
    // The primary hears a moment later that it has loaded the copy.
    let online =
        |info: &str| info.lines().filter(|line| line.starts_with("slave")).all(|line| line.contains("state=online"));
    until("the replica is online", async || online(&primary.cli(&["INFO", "replication"]))).await;
    replica
}

/// An engine on a shard that is set up.
pub struct Sale {
    pub engine: Engine,
    pub shard: Shard,
}

impl Sale {
    pub async fn start(url: &str, change: impl FnOnce(&mut EngineSettings)) -> Self {
        Self::on(url, Shard::new(0).expect("in range"), change).await
    }

    pub async fn on(url: &str, shard: Shard, change: impl FnOnce(&mut EngineSettings)) -> Self {
        let engine = connect(url, change).await;
        set_up(&engine, shard).await;
        Self { engine, shard }
    }

    /// Opens a drop of a thousand units, five for each user.
    pub async fn open(&self, name: &str, durability: Option<Durability>) -> Arc<DropTerms> {
        let mut drop = definition(id_in(self.shard, name));
        (drop.stock_units, drop.limit_per_user, drop.durability) = (1_000, 5, durability);
        // The first wait sets its connection up.
        until("the drop opens", async || self.engine.open_drop(&drop).await.is_ok()).await;
        Arc::new(DropTerms { id: drop.id, sku: drop.sku, unit_price: drop.price, durability, stripes: drop.stripes })
    }

    /// An order of one unit, as a future of its own. Each user has one key.
    pub fn order(
        &self,
        drop: &Arc<DropTerms>,
        user: &str,
    ) -> impl Future<Output = Result<Decision, EngineError>> + Send + use<> {
        let (engine, order) = (self.engine.clone(), request(drop, user, "k", 1));
        async move { engine.place_order(order, PATIENCE).await }
    }

    /// Whether this can be kept now; if not, why.
    pub fn refusal(&self, durability: Durability) -> String {
        match self.engine.offers(self.shard, durability) {
            Ok(()) => String::new(),
            Err(EngineError::Unavailable(reason)) => reason,
            Err(other) => panic!("{other}"),
        }
    }

    /// Waits until this is refused, for a reason that names `word`; or offered, if there is none.
    pub async fn until_refused(&self, durability: Durability, word: &str) {
        until(&format!("{durability} is judged: {word:?}"), async || {
            let reason = self.refusal(durability);
            if word.is_empty() { reason.is_empty() } else { reason.contains(word) }
        })
        .await;
    }

    /// How many orders were granted, as the server itself says.
    pub fn granted(&self, server: &Redis) -> usize {
        server.cli(&["HGET", &Keys::of(self.shard).meta, "appended_orders"]).parse().expect("a number")
    }
}

/// A process that finds a server with what it has, and trusts it: what a recovery does where nothing is missing.
pub async fn trust_again(url: &str, shard: Shard, epoch: u32) -> Sale {
    let engine = connect(url, |_| ()).await;
    let token = engine.inspect_shard(shard).await.expect("the server answers").token;
    let guard = RecoveryGuard { shard, epoch: Epoch(epoch), token };
    let line = engine.begin_recovery(&guard).await.expect("begun");
    engine.recovery_align(&guard, line.number).await.expect("aligned");
    engine.recovery_adopt(&guard, line.number, LogId::default()).await.expect("adopted");
    Sale { engine, shard }
}

/// How often a server was asked to do something.
pub fn calls(server: &Redis, command: &str) -> u64 {
    let info = server.cli(&["INFO", "commandstats"]);
    let prefix = format!("cmdstat_{command}:calls=");
    let calls = info.lines().find_map(|line| line.strip_prefix(&prefix)?.split(',').next());
    calls.map_or(0, |calls| calls.parse().expect("a number"))
}

/// The connection on which a server has somebody wait for replicas.
pub fn waiting(server: &Redis) -> Option<u64> {
    let list = server.cli(&["CLIENT", "LIST"]);
    let line = list.lines().find(|line| line.contains(" cmd=wait "))?;
    line.strip_prefix("id=")?.split(' ').next()?.parse().ok()
}

/// Whether a server knows `WAITAOF`.
pub fn knows_waitaof(server: &Redis) -> bool {
    !server.cli(&["WAITAOF", "0", "0", "1"]).contains("unknown command")
}

/// Orders that were granted, by user, until nothing more is granted.
pub async fn confirmed(
    orders: Vec<(String, tokio::task::JoinHandle<Result<Decision, EngineError>>)>,
) -> HashMap<String, stampede_domain::Order> {
    let mut confirmed = HashMap::new();
    for (user, order) in orders {
        if let Ok(Decision::Granted(order) | Decision::Replayed(order)) = order.await.expect("no panic") {
            confirmed.insert(user, order);
        }
    }
    confirmed
}
