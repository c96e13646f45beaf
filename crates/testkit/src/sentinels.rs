//! Sentinels that watch a primary and its replicas, and put a replica in its place.

use std::time::{Duration, Instant};

use crate::redis::Role;
use crate::{Redis, RedisOptions};

const SENTINELS: usize = 3;
const SERVICE: &str = "stampede";
const READY_LIMIT: Duration = Duration::from_secs(60);

/// Three sentinels over one primary and its replicas.
#[derive(Debug)]
pub struct Sentinels {
    nodes: Vec<Redis>,
    sentinels: Vec<Redis>,
}

impl Sentinels {
    /// Starts a primary with replicas and the sentinels, and waits until these know all of them. They replace a primary
    /// about two seconds after it has gone.
    pub async fn start(replicas: usize) -> Sentinels {
        Self::start_with(replicas, RedisOptions::default()).await
    }

    /// As [`Sentinels::start`], primary and replicas as `options` say.
    ///
    /// # Panics
    /// When a directory is given (servers cannot share one), or when the sentinels do not find each other.
    pub async fn start_with(replicas: usize, options: RedisOptions) -> Sentinels {
        assert!(options.dir.is_none(), "each server has a directory of its own");
        let options = options.with_defaults(&[("repl-diskless-sync-delay", "0"), ("repl-ping-replica-period", "1")]);
        let mut nodes = vec![Redis::start_with(options.clone()).await];
        for _ in 0..replicas {
            let replica_of = Some(nodes[0].port());
            nodes.push(Redis::start_with(RedisOptions { replica_of, ..options.clone() }).await);
        }
        for replica in &nodes[1..] {
            replica.wait_until_level_with(&nodes[0]).await;
        }
        let mut sentinels = Vec::with_capacity(SENTINELS);
        for _ in 0..SENTINELS {
            sentinels.push(Redis::start_as(Role::Sentinel, sentinel_options(nodes[0].port())).await);
        }
        let service = Sentinels { nodes, sentinels };
        service.wait_until_healed().await;
        service
    }

    /// The service's address for a client: the first sentinel, the others to try, and the service's name.
    pub fn url(&self) -> String {
        let (first, others) = self.sentinels.split_first().expect("a sentinel");
        let others: String = others.iter().map(|other| format!("&node=127.0.0.1:{}", other.port())).collect();
        format!("redis-sentinel://127.0.0.1:{}?sentinelServiceName={SERVICE}{others}", first.port())
    }

    /// The servers: the first primary, then its first replicas.
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// The servers, to stop and start them.
    pub fn nodes_mut(&mut self) -> &mut [Redis] {
        &mut self.nodes
    }

    /// The index of the server that all sentinels call the primary; none while they disagree.
    pub fn primary(&self) -> Option<usize> {
        let mut named = self.sentinels.iter().map(|sentinel| {
            let address = sentinel.cli(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE]);
            address.lines().nth(1).and_then(|port| port.parse::<u16>().ok())
        });
        let port = named.next().flatten()?;
        let agreed = named.all(|other| other == Some(port));
        self.nodes.iter().position(|node| node.port() == port).filter(|_| agreed)
    }

    /// Lets the sentinels replace a primary that is well, and waits until they have. Returns the index of the new one.
    ///
    /// # Panics
    /// When the sentinels refuse, or do not come to an end within a minute.
    pub async fn fail_over(&self) -> usize {
        let before = self.primary().expect("a primary");
        assert_eq!(self.sentinels[0].cli(&["SENTINEL", "FAILOVER", SERVICE]), "OK");
        self.wait_until_replaced(before).await
    }

    /// Waits until another server than `before` is the primary, and all is healed. Returns its index.
    ///
    /// # Panics
    /// When that does not come true within a minute.
    pub async fn wait_until_replaced(&self, before: usize) -> usize {
        self.wait(|| match self.primary() {
            Some(now) if now != before => self.unhealed(),
            _ => Some(format!("the primary on port {} was not replaced", self.nodes[before].port())),
        })
        .await;
        self.primary().expect("it was agreed on")
    }

    /// Waits until the sentinels agree on a primary that runs and takes itself for one, and know its replicas, all of which
    /// that run follow it.
    ///
    /// # Panics
    /// When that does not come true within a minute.
    pub async fn wait_until_healed(&self) {
        self.wait(|| self.unhealed()).await;
    }

    async fn wait(&self, reason: impl Fn() -> Option<String>) {
        let deadline = Instant::now() + READY_LIMIT;
        while let Some(reason) = reason() {
            assert!(Instant::now() < deadline, "the sentinels do not come to rest: {reason}");
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    fn unhealed(&self) -> Option<String> {
        let Some(primary) = self.primary() else { return Some("they disagree".to_owned()) };
        let node = &self.nodes[primary];
        if !node.is_awake() || !node.is_primary() {
            return Some(format!("the server on port {} is no primary", node.port()));
        }
        let port = node.port().to_string();
        let followers = self.nodes.iter().enumerate().filter(|(index, other)| *index != primary && other.is_awake());
        for (_, other) in followers {
            if other.replication("master_port") != port || other.replication("master_link_status") != "up" {
                return Some(format!("the server on port {} does not follow {port}", other.port()));
            }
        }
        self.sentinels.iter().find_map(|sentinel| self.unsure(sentinel))
    }

    /// What a sentinel does not know yet that it needs for replacing the primary.
    fn unsure(&self, sentinel: &Redis) -> Option<String> {
        let says = |what: &str| Some(format!("the sentinel on port {} {what}", sentinel.port()));
        if !sentinel.cli(&["SENTINEL", "CKQUORUM", SERVICE]).starts_with("OK ") {
            return says("has no quorum");
        }
        let state = sentinel.cli(&["SENTINEL", "MASTER", SERVICE]);
        let value = |name: &str| state.lines().skip_while(|line| *line != name).nth(1).unwrap_or_default().to_owned();
        if value("flags") != "master" {
            return says(&format!("finds the primary {}", value("flags")));
        }
        if value("num-other-sentinels") != (SENTINELS - 1).to_string() {
            return says("does not know the others");
        }
        let replicas = sentinel.cli(&["SENTINEL", "REPLICAS", SERVICE]);
        let linked = replicas.lines().filter(|line| *line == "ok").count();
        let running = self.nodes.iter().filter(|node| node.is_awake()).count() - 1;
        if linked < running { says(&format!("knows {linked} replicas of {running}")) } else { None }
    }
}

fn sentinel_options(primary: u16) -> RedisOptions {
    let line = |name: &str, value: String| (format!("sentinel {name}"), value);
    let extra = vec![
        line("monitor", format!("{SERVICE} 127.0.0.1 {primary} {}", SENTINELS / 2 + 1)),
        line("down-after-milliseconds", format!("{SERVICE} 1500")),
        line("failover-timeout", format!("{SERVICE} 5000")),
        line("parallel-syncs", format!("{SERVICE} 1")),
    ];
    RedisOptions { extra, ..RedisOptions::default() }
}
