//! A Redis Cluster of private servers.

use std::time::{Duration, Instant};

use crate::{Redis, RedisOptions};

const SLOTS: usize = 16_384;
const READY_LIMIT: Duration = Duration::from_secs(60);

/// Masters that share the slots evenly; there are no replicas.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
}

impl RedisCluster {
    /// Starts a cluster and waits until every node knows all others and serves its slots.
    pub async fn start(masters: usize) -> RedisCluster {
        Self::start_with(masters, RedisOptions::default()).await
    }

    /// As [`RedisCluster::start`], each node as `options` say.
    ///
    /// # Panics
    /// When a directory is given (nodes cannot share one), or when the cluster does not form.
    pub async fn start_with(masters: usize, options: RedisOptions) -> RedisCluster {
        assert!(masters > 0, "a cluster has a node");
        assert!(options.dir.is_none(), "each node of a cluster has a directory of its own");

        let mut own = vec![
            ("cluster-enabled".to_owned(), "yes".to_owned()),
            ("cluster-node-timeout".to_owned(), "5000".to_owned()),
        ];
        own.extend(options.extra.iter().cloned());
        let options = RedisOptions { extra: own, ..options };

        let mut nodes = Vec::with_capacity(masters);
        for _ in 0..masters {
            nodes.push(Redis::start_with(options.clone()).await);
        }
        let cluster = RedisCluster { nodes };
        cluster.assign_slots();
        cluster.introduce_nodes();
        cluster.wait_until_ready().await;
        cluster
    }

    /// The cluster's address for a client: its first node, and the others to try.
    pub fn url(&self) -> String {
        let (first, others) = self.nodes.split_first().expect("a cluster has a node");
        let mut url = format!("redis-cluster://127.0.0.1:{}", first.port());
        for (index, node) in others.iter().enumerate() {
            let separator = if index == 0 { '?' } else { '&' };
            url.push_str(&format!("{separator}node=127.0.0.1:{}", node.port()));
        }
        url
    }

    /// The nodes, in the order of their slots.
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// The nodes, to stop and start them.
    pub fn nodes_mut(&mut self) -> &mut [Redis] {
        &mut self.nodes
    }

    /// The index of the node that serves `key`.
    pub fn node_of(&self, key: &str) -> usize {
        let slot: usize = self.nodes[0].cli(&["CLUSTER", "KEYSLOT", key]).parse().expect("a slot number");
        (0..self.nodes.len()).find(|&index| slot <= self.slots(index).1).expect("every slot has a node")
    }

    /// Waits until every node knows all others and serves its slots, as after the restart of one.
    ///
    /// # Panics
    /// When that does not come true within a minute.
    pub async fn wait_until_ready(&self) {
        let deadline = Instant::now() + READY_LIMIT;
        while let Some(reason) = self.nodes.iter().find_map(|node| self.unready(node)) {
            assert!(Instant::now() < deadline, "the cluster did not form: {reason}");
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    fn assign_slots(&self) {
        for (index, node) in self.nodes.iter().enumerate() {
            let (first, last) = self.slots(index);
            expect_ok(node, &["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]);
            // Distinct from the start, so that the nodes need not settle a tie.
            expect_ok(node, &["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]);
        }
    }

    fn introduce_nodes(&self) {
        // Each to each: gossip would come to the same, seconds later.
        for (index, node) in self.nodes.iter().enumerate() {
            for other in &self.nodes[index + 1..] {
                expect_ok(node, &["CLUSTER", "MEET", "127.0.0.1", &other.port().to_string()]);
            }
        }
    }

    fn slots(&self, index: usize) -> (usize, usize) {
        let count = self.nodes.len();
        (index * SLOTS / count, (index + 1) * SLOTS / count - 1)
    }

    fn unready(&self, node: &Redis) -> Option<String> {
        let Ok(info) = node.try_cli(&["CLUSTER", "INFO"]) else {
            return Some(format!("the node on port {} does not answer", node.port()));
        };
        let known = format!("cluster_known_nodes:{}", self.nodes.len());
        let wanted = ["cluster_state:ok", "cluster_slots_ok:16384", &known];
        let has = |line: &str| info.lines().any(|found| found.trim_end() == line);
        if let Some(missing) = wanted.into_iter().find(|line| !has(line)) {
            return Some(format!("the node on port {} does not say {missing}", node.port()));
        }
        let nodes = node.cli(&["CLUSTER", "NODES"]);
        let linked = nodes.lines().filter(|line| line.contains(" connected ")).count();
        (linked != self.nodes.len()).then(|| format!("the node on port {} has {linked} links", node.port()))
    }
}

fn expect_ok(node: &Redis, command: &[&str]) {
    assert_eq!(node.cli(command), "OK", "{command:?}");
}
