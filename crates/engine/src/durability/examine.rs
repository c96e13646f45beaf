//! Examining the primaries, again and again: a server may be told something else at any time, or be another one.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use fred::types::Value;
use futures_util::future::join_all;
use stampede_domain::Durability;
use tokio::sync::{Notify, watch};

use super::info::{Replication, keeps_a_file};
use super::judge::{Findings, Promoter, ServerConfig, Syncing, name};
use crate::metrics;
use crate::redis::{Primary, Redis, SentinelAddress};

/// How often each primary is examined, beside at each reconnection and when a token is met that nobody examined.
const EXAMINE_EVERY: Duration = Duration::from_secs(3);

/// The shortest pause between two examinations.
const EXAMINE_PAUSE: Duration = Duration::from_millis(20);

/// What a primary can keep now.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    /// The token under which it was examined.
    pub(crate) token: String,
    /// When its file is synced; or why `fsync` cannot be kept.
    pub(crate) fsync: Result<Syncing, String>,
    /// The replicas to wait for; or why `replica` cannot be kept.
    pub(crate) replica: Result<BTreeSet<(String, u16)>, String>,
}

/// All primaries, each with its standing or why it could not be examined.
pub(crate) type Standings = HashMap<Primary, Result<Arc<Standing>, String>>;

impl Standing {
    /// Whether an answer may be promised this much; if not, why.
    pub(crate) fn offers(&self, durability: Durability) -> Result<(), String> {
        match durability {
            Durability::Memory => Ok(()),
            Durability::Fsync => self.fsync.as_ref().map(drop).map_err(Clone::clone),
            Durability::Replica => self.replica.as_ref().map(drop).map_err(Clone::clone),
        }
    }
}

/// Examines all primaries once.
pub(crate) async fn examine_all(redis: &Redis) -> Standings {
    let primaries = redis.primaries();
    let examined = join_all(primaries.iter().map(|primary| examine(redis, primary))).await;
    let standings: Standings =
        primaries.into_iter().zip(examined.into_iter().map(|standing| standing.map(Arc::new))).collect();
    for (primary, standing) in &standings {
        for durability in [Durability::Fsync, Durability::Replica] {
            let offered = standing.as_ref().is_ok_and(|standing| standing.offers(durability).is_ok());
            metrics::durability_offered(&redis.name_of(primary), durability, offered);
        }
    }
    standings
}

/// Examines until nobody asks for the standings any more.
pub(crate) async fn run(redis: Redis, look: Arc<Notify>, standings: watch::Sender<Standings>) {
    let mut reconnections = redis.reconnections();
    loop {
        tokio::select! {
            () = standings.closed() => return,
            () = tokio::time::sleep(EXAMINE_EVERY) => {}
            () = look.notified() => {}
            // A receiver that lags has missed reconnections, which one examination answers as well.
            () = reconnections.next() => {}
        }
        redis.agree_on_primaries().await;
        let now = examine_all(&redis).await;
        tell_changes(&redis, &standings.borrow(), &now);
        for primary in standings.borrow().keys().filter(|primary| !now.contains_key(primary)) {
            for durability in [Durability::Fsync, Durability::Replica] {
                metrics::durability_offered(&redis.name_of(primary), durability, false);
            }
        }
        standings.send_replace(now);
        tokio::time::sleep(EXAMINE_PAUSE).await;
    }
}

/// Tells what can be kept no more, or again.
fn tell_changes(redis: &Redis, before: &Standings, now: &Standings) {
    for (primary, standing) in now {
        let Some(before) = before.get(primary) else { continue };
        for durability in [Durability::Fsync, Durability::Replica] {
            let primary = redis.name_of(primary);
            match (offer(before, durability), offer(standing, durability)) {
                (Ok(()), Err(reason)) => tracing::warn!(primary, %durability, reason, "it cannot be kept any more"),
                (Err(_), Ok(())) => tracing::info!(primary, %durability, "it can be kept"),
                _ => {}
            }
        }
    }
}

/// Whether an answer may be promised this much; if not, why.
pub(crate) fn offer(standing: &Result<Arc<Standing>, String>, durability: Durability) -> Result<(), String> {
    match standing {
        _ if durability == Durability::Memory => Ok(()),
        Ok(standing) => standing.offers(durability),
        Err(reason) => Err(reason.clone()),
    }
}

/// Examines one primary. All that is found must belong to one token.
async fn examine(redis: &Redis, primary: &Primary) -> Result<Standing, String> {
    let replication = replication(redis, primary).await?;
    if !replication.is_primary {
        return Err("it is no primary".to_owned());
    }
    let persistence = text(ask(redis, primary, "INFO", &["persistence"]).await?)?;
    let config = config(redis, primary).await?;
    let knows_waitaof = redis.ask(primary, "WAITAOF", &["0", "0", "1"]).await.is_ok();
    let (promoter, promotable) = promotable(redis, primary, &replication).await;
    let bad_replica = bad_replica(redis, &replication).await;
    let after = self::replication(redis, primary).await?;
    if after.token != replication.token {
        return Err("another server took over while it was examined".to_owned());
    }
    let token = replication.token.clone();
    let keeps_a_file = keeps_a_file(&persistence);
    let findings = Findings { replication, keeps_a_file, config, knows_waitaof, promoter, promotable, bad_replica };
    Ok(Standing { token, fsync: findings.syncing(), replica: findings.replicas() })
}

async fn replication(redis: &Redis, primary: &Primary) -> Result<Replication, String> {
    let info = text(ask(redis, primary, "INFO", &["replication"]).await?)?;
    Replication::parse(&info).ok_or_else(|| "its replication cannot be read".to_owned())
}

/// The settings; none where `CONFIG` is forbidden.
async fn config(redis: &Redis, primary: &Primary) -> Result<Option<ServerConfig>, String> {
    let mut values = Vec::with_capacity(4);
    for setting in ["appendfsync", "no-appendfsync-on-rewrite", "min-replicas-to-write", "min-replicas-max-lag"] {
        match redis.ask(primary, "CONFIG", &["GET", setting]).await {
            Ok(value) => match value.into_array().into_iter().nth(1).and_then(|value| value.as_string()) {
                Some(text) => values.push(text),
                None => return Ok(None),
            },
            // An answer that refuses is none that was lost.
            Err(error) if error.refused => return Ok(None),
            Err(error) => return Err(error.text),
        }
    }
    let number = |text: &String| text.parse().unwrap_or(0usize);
    let min_replicas = if number(&values[3]) == 0 { 0 } else { number(&values[2]) };
    let no_fsync_on_rewrite = values[1] != "no";
    Ok(Some(ServerConfig { append_fsync: values.swap_remove(0), no_fsync_on_rewrite, min_replicas }))
}

/// Who may promote replicas of this primary, and how many there are, connected or not.
async fn promotable(redis: &Redis, primary: &Primary, replication: &Replication) -> (Promoter, Result<usize, String>) {
    match (primary, redis.sentinels()) {
        (Primary::Node(_), _) => {
            let nodes = ask(redis, primary, "CLUSTER", &["NODES"]).await.and_then(text);
            (Promoter::Cluster, nodes.and_then(|nodes| replicas_of_myself(&nodes)))
        }
        (Primary::Only, Some(sentinels)) => (Promoter::Sentinel, replicas_by_sentinel(redis, &sentinels).await),
        (Primary::Only, None) => (Promoter::Operator, Ok(replication.replicas.len())),
    }
}

/// Counts, in what a node says of its cluster, its own replicas, failed ones too.
fn replicas_of_myself(nodes: &str) -> Result<usize, String> {
    let rows: Vec<Vec<&str>> = nodes.lines().map(|line| line.split_whitespace().collect()).collect();
    let flags = |row: &Vec<&str>, flag: &str| row.get(2).is_some_and(|flags| flags.split(',').any(|one| one == flag));
    let myself = rows.iter().find(|row| flags(row, "myself")).and_then(|row| row.first().copied());
    let myself = myself.ok_or_else(|| "its cluster cannot be read".to_owned())?;
    Ok(rows.iter().filter(|row| flags(row, "slave") && row.get(3) == Some(&myself)).count())
}

/// How many replicas Sentinel knows: the most that one of them does. Each may lead a failover.
async fn replicas_by_sentinel(redis: &Redis, sentinels: &SentinelAddress) -> Result<usize, String> {
    let asked = sentinels
        .hosts
        .iter()
        .map(|host| redis.ask_directly(host, &sentinels.credentials, "SENTINEL", vec!["REPLICAS", &sentinels.service]));
    let answers = join_all(asked).await;
    let counts = answers.into_iter().filter_map(Result::ok).map(|value| value.into_array().len());
    counts.max().ok_or_else(|| "no Sentinel answers".to_owned())
}

/// Asks each replica whether it keeps a file: one that comes back without would know nothing.
async fn bad_replica(redis: &Redis, replication: &Replication) -> Option<String> {
    let asked = replication.replicas.iter().map(|replica| async move {
        let server = fred::types::config::Server::new(replica.address.0.as_str(), replica.address.1);
        let name = name(&replica.address);
        match redis.ask_directly(&server, &redis.credentials(), "INFO", vec!["persistence"]).await.and_then(text) {
            Ok(info) if keeps_a_file(&info) => None,
            Ok(_) => Some(format!("its replica {name} keeps no append-only file: set `appendonly yes` there")),
            Err(error) => Some(format!("its replica {name} cannot be asked whether it keeps a file: {error}")),
        }
    });
    join_all(asked).await.into_iter().flatten().next()
}

async fn ask(redis: &Redis, primary: &Primary, command: &'static str, args: &[&str]) -> Result<Value, String> {
    redis.ask(primary, command, args).await.map_err(|error| error.text)
}

fn text(value: Value) -> Result<String, String> {
    value.as_string().ok_or_else(|| "its answer cannot be read".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_counts_its_replicas_and_failed_ones_too() {
        let nodes = "aa 127.0.0.1:7001@17001 myself,master - 0 0 1 connected 0-5460\n\
            bb 127.0.0.1:7002@17002 master - 0 0 2 connected 5461-16383\n\
            cc 127.0.0.1:7003@17003 slave aa 0 0 1 connected\n\
            dd 127.0.0.1:7004@17004 slave,fail aa 0 0 1 disconnected\n\
            ee 127.0.0.1:7005@17005 slave bb 0 0 2 connected\n";
        assert_eq!(replicas_of_myself(nodes), Ok(2));
        assert!(replicas_of_myself("").is_err());
    }
}
