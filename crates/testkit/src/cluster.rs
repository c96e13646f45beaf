//! A Redis Cluster of private servers.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::slot_move::SlotMove;
use crate::{Redis, RedisOptions};

pub(crate) const SLOTS: usize = 16_384;
const READY_LIMIT: Duration = Duration::from_secs(60);

/// So that a node whose primary is gone takes over in about three seconds, and a busy machine makes none do so.
const REPLICATED: [(&str, &str); 5] = [
    ("cluster-node-timeout", "2000"),
    // A replica stands for election however long it has been cut off: how old its data may be is for the test to say.
    ("cluster-replica-validity-factor", "0"),
    // Nodes keep the roles that the test gives them.
    ("cluster-allow-replica-migration", "no"),
    ("repl-diskless-sync-delay", "0"),
    ("repl-ping-replica-period", "1"),
];

/// Masters that share the slots evenly, and perhaps replicas of them.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
    masters: usize,
}

impl RedisCluster {
    /// Starts a cluster without replicas and waits until every node knows all others and serves its slots.
    pub async fn start(masters: usize) -> RedisCluster {
        Self::start_with(masters, RedisOptions::default()).await
    }

    /// As [`RedisCluster::start`], each node as `options` say.
    ///
    /// # Panics
    /// When a directory is given (nodes cannot share one), or when the cluster does not form.
    pub async fn start_with(masters: usize, options: RedisOptions) -> RedisCluster {
        let cluster = Self::form(masters, 0, options.with_defaults(&[("cluster-node-timeout", "5000")])).await;
        cluster.wait_until_ready().await;
        cluster
    }

    /// Starts a cluster in which each master has replicas that take its place by themselves, a few seconds after it has
    /// gone. That needs three masters, as most of them must agree.
    ///
    /// # Panics
    /// As [`RedisCluster::start_with`].
    pub async fn start_with_replicas(masters: usize, replicas_each: usize, options: RedisOptions) -> RedisCluster {
        let cluster = Self::form(masters, replicas_each, options.with_defaults(&REPLICATED)).await;
        // A master must be known before it can be followed.
        cluster.wait_until_ready().await;
        for (index, replica) in cluster.nodes.iter().enumerate().skip(masters) {
            let master = &cluster.nodes[(index - masters) / replicas_each];
            expect_ok(replica, &["CLUSTER", "REPLICATE", &node_id(master)]);
        }
        cluster.wait_until_healed().await;
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

    /// The nodes: the first masters in the order of their slots, then the replicas of the first one, and so on.
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// The nodes, to stop and start them.
    pub fn nodes_mut(&mut self) -> &mut [Redis] {
        &mut self.nodes
    }

    /// The index of the node that serves `key` now.
    ///
    /// # Panics
    /// When none does: its primary is gone and no replica has taken over yet.
    pub fn node_of(&self, key: &str) -> usize {
        self.primary_of(key).unwrap_or_else(|| panic!("no node serves {key}"))
    }

    /// As [`RedisCluster::node_of`]; none while a primary is gone and no replica has taken over. Of two nodes that both
    /// take themselves for the primary it is the one that was elected later.
    pub fn primary_of(&self, key: &str) -> Option<usize> {
        let slot = self.slot_of(key);
        let serving = self.awake().filter_map(|index| {
            let view = self.view(index);
            let own = view.iter().find(|node| node.is_itself && node.is_primary && node.serves(slot))?;
            Some((own.epoch, index))
        });
        serving.max().map(|(_, index)| index)
    }

    /// The slot of `key`.
    pub fn slot_of(&self, key: &str) -> usize {
        let node = self.awake().next().expect("a node that answers");
        self.nodes[node].cli(&["CLUSTER", "KEYSLOT", key]).parse().expect("a slot number")
    }

    /// Begins to move the slot of `key` to another node: none of its keys has moved yet.
    ///
    /// # Panics
    /// When no node serves `key`, or `to` serves it already.
    pub fn begin_move(&self, key: &str, to: usize) -> SlotMove {
        SlotMove::begin(self, self.slot_of(key), self.node_of(key), to)
    }

    /// Moves the slot of `key`, with all of its keys, to another node.
    ///
    /// # Panics
    /// As [`RedisCluster::begin_move`].
    pub fn move_slot(&self, key: &str, to: usize) {
        let moving = self.begin_move(key, to);
        while moving.move_keys(self, 100) > 0 {}
        moving.finish(self);
    }

    /// Waits until every node knows all others and serves its slots, as after the restart of one.
    ///
    /// # Panics
    /// When that does not come true within a minute.
    pub async fn wait_until_ready(&self) {
        self.wait(|| (0..self.nodes.len()).find_map(|index| self.unready(index))).await;
    }

    /// Waits until the nodes that run agree on who serves each slot, those run as well, and their replicas follow them.
    ///
    /// # Panics
    /// When that does not come true within a minute.
    pub async fn wait_until_healed(&self) {
        self.wait(|| self.unhealed()).await;
    }

    async fn form(masters: usize, replicas_each: usize, options: RedisOptions) -> RedisCluster {
        assert!(masters > 0, "a cluster has a node");
        assert!(options.dir.is_none(), "each node of a cluster has a directory of its own");
        let options = options.with_defaults(&[("cluster-enabled", "yes")]);
        let mut nodes = Vec::with_capacity(masters * (1 + replicas_each));
        for _ in 0..masters * (1 + replicas_each) {
            nodes.push(Redis::start_with(options.clone()).await);
        }
        let cluster = RedisCluster { nodes, masters };
        cluster.assign_slots();
        cluster.introduce_nodes();
        cluster
    }

    fn assign_slots(&self) {
        for (index, node) in self.nodes.iter().enumerate().take(self.masters) {
            let (first, last) = (index * SLOTS / self.masters, (index + 1) * SLOTS / self.masters - 1);
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

    async fn wait(&self, reason: impl Fn() -> Option<String>) {
        let deadline = Instant::now() + READY_LIMIT;
        while let Some(reason) = reason() {
            assert!(Instant::now() < deadline, "the cluster did not form: {reason}");
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    fn awake(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.nodes.len()).filter(|&index| self.nodes[index].is_awake())
    }

    fn unready(&self, index: usize) -> Option<String> {
        let node = &self.nodes[index];
        let Ok(info) = node.try_cli(&["CLUSTER", "INFO"]) else {
            return Some(format!("the node on port {} does not answer", node.port()));
        };
        let known = format!("cluster_known_nodes:{}", self.nodes.len());
        let wanted = ["cluster_state:ok", "cluster_slots_ok:16384", &known];
        let has = |line: &str| info.lines().any(|found| found.trim_end() == line);
        if let Some(missing) = wanted.into_iter().find(|line| !has(line)) {
            return Some(format!("the node on port {} does not say {missing}", node.port()));
        }
        let linked = self.view(index).iter().filter(|node| node.is_linked).count();
        (linked != self.nodes.len()).then(|| format!("the node on port {} has {linked} links", node.port()))
    }

    fn unhealed(&self) -> Option<String> {
        let awake: Vec<usize> = self.awake().collect();
        let ports: BTreeSet<u16> = awake.iter().map(|&index| self.nodes[index].port()).collect();
        let mut agreed = None;
        for &index in &awake {
            let node = &self.nodes[index];
            let says = |what: String| Some(format!("the node on port {} says {what}", node.port()));
            if !node.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok") {
                return says("that the cluster is not".to_owned());
            }
            let mut primaries: BTreeSet<u16> = BTreeSet::new();
            let mut owners: Vec<(usize, usize, u16)> = Vec::new();
            for other in self.view(index).into_iter().filter(|other| other.is_primary) {
                owners.extend(other.slots.iter().map(|&(first, last)| (first, last, other.port)));
                primaries.extend(ports.get(&other.port));
            }
            if let Some((.., gone)) = owners.iter().find(|(.., port)| !ports.contains(port)) {
                return says(format!("that {gone} serves slots, which is gone"));
            }
            owners.sort_unstable();
            let count: usize = owners.iter().map(|(first, last, _)| last - first + 1).sum();
            if count != SLOTS {
                return says(format!("that only {count} slots are served"));
            }
            let view = (owners, primaries);
            if *agreed.get_or_insert_with(|| view.clone()) != view {
                return says(format!("something else than another: {view:?}"));
            }
            if !node.is_primary() && node.replication("master_link_status") != "up" {
                return says("that it follows nobody yet".to_owned());
            }
        }
        None
    }

    /// What the node knows of all nodes.
    fn view(&self, index: usize) -> Vec<KnownNode> {
        self.nodes[index].cli(&["CLUSTER", "NODES"]).lines().filter_map(KnownNode::parse).collect()
    }
}

/// A line of `CLUSTER NODES`.
struct KnownNode {
    port: u16,
    is_itself: bool,
    is_primary: bool,
    is_linked: bool,
    epoch: u64,
    slots: Vec<(usize, usize)>,
}

impl KnownNode {
    fn parse(line: &str) -> Option<KnownNode> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, address, flags, _, _, _, epoch, link, slots @ ..] = words.as_slice() else { return None };
        let (_, port) = address.split_once('@')?.0.rsplit_once(':')?;
        let flags: Vec<&str> = flags.split(',').collect();
        // In brackets stand the slots that are being moved.
        let slots = slots.iter().filter(|slot| !slot.starts_with('[')).filter_map(|slot| {
            let (first, last) = slot.split_once('-').unwrap_or((slot, slot));
            Some((first.parse().ok()?, last.parse().ok()?))
        });
        Some(KnownNode {
            port: port.parse().ok()?,
            is_itself: flags.contains(&"myself"),
            is_primary: flags.contains(&"master"),
            is_linked: *link == "connected",
            epoch: epoch.parse().ok()?,
            slots: slots.collect(),
        })
    }

    fn serves(&self, slot: usize) -> bool {
        self.slots.iter().any(|&(first, last)| (first..=last).contains(&slot))
    }
}

pub(crate) fn node_id(node: &Redis) -> String {
    node.cli(&["CLUSTER", "MYID"])
}

pub(crate) fn expect_ok(node: &Redis, command: &[&str]) {
    assert_eq!(node.cli(command), "OK", "{command:?}");
}
