//! A slot on its way from one node of a cluster to another, as an operator moves it: a test may stop half-way.

use crate::RedisCluster;
use crate::cluster::{expect_ok, node_id};

/// The move of one slot. Nothing goes on by itself, and nothing is undone when it is dropped.
#[derive(Debug, Clone, Copy)]
pub struct SlotMove {
    slot: usize,
    from: usize,
    to: usize,
}

impl SlotMove {
    pub(crate) fn begin(cluster: &RedisCluster, slot: usize, from: usize, to: usize) -> SlotMove {
        assert_ne!(from, to, "the slot {slot} is there already");
        let moving = SlotMove { slot, from, to };
        let (source, target) = (&cluster.nodes()[from], &cluster.nodes()[to]);
        // The target first, so that nobody is sent to a node that does not expect the slot.
        expect_ok(target, &["CLUSTER", "SETSLOT", &moving.slot(), "IMPORTING", &node_id(source)]);
        expect_ok(source, &["CLUSTER", "SETSLOT", &moving.slot(), "MIGRATING", &node_id(target)]);
        moving
    }

    /// The index of the node that the slot leaves.
    pub fn from(&self) -> usize {
        self.from
    }

    /// The index of the node that the slot comes to.
    pub fn to(&self) -> usize {
        self.to
    }

    /// The keys that have not moved yet, at most a thousand, in no order.
    pub fn keys(&self, cluster: &RedisCluster) -> Vec<String> {
        self.keys_at(cluster, self.from, 1_000)
    }

    /// Moves one key.
    pub fn move_key(&self, cluster: &RedisCluster, key: &str) {
        migrate(cluster, self.from, self.to, &[key.to_owned()]);
    }

    /// Moves at most `count` of the keys that have not moved yet. Returns how many it moved.
    pub fn move_keys(&self, cluster: &RedisCluster, count: usize) -> usize {
        let keys = self.keys_at(cluster, self.from, count);
        migrate(cluster, self.from, self.to, &keys);
        keys.len()
    }

    /// Gives the slot to its new node, and tells the others.
    ///
    /// # Panics
    /// When keys have not moved yet.
    pub fn finish(self, cluster: &RedisCluster) {
        assert!(self.keys(cluster).is_empty(), "keys of slot {} have not moved", self.slot);
        let owner = node_id(&cluster.nodes()[self.to]);
        let give = ["CLUSTER", "SETSLOT", &self.slot(), "NODE", &owner];
        expect_ok(&cluster.nodes()[self.to], &give);
        expect_ok(&cluster.nodes()[self.from], &give);
        let others = cluster.nodes().iter().enumerate().filter(|(index, _)| ![self.from, self.to].contains(index));
        for (_, node) in others.filter(|(_, node)| node.is_awake() && node.is_primary()) {
            expect_ok(node, &give);
        }
    }

    /// Gives the move up at the node that the slot was to leave: it serves the slot as before, without the keys that have
    /// moved. Those are brought back, or left behind.
    pub fn give_up(&self, cluster: &RedisCluster) {
        expect_ok(&cluster.nodes()[self.from], &["CLUSTER", "SETSLOT", &self.slot(), "STABLE"]);
    }

    /// Brings back the keys that had moved before the move was given up.
    pub fn bring_back(self, cluster: &RedisCluster) {
        loop {
            let keys = self.keys_at(cluster, self.to, 100);
            if keys.is_empty() {
                break;
            }
            migrate(cluster, self.to, self.from, &keys);
        }
        self.leave_behind(cluster);
    }

    /// Loses the keys that had moved before the move was given up, as a careless operator does.
    pub fn leave_behind(self, cluster: &RedisCluster) {
        expect_ok(&cluster.nodes()[self.to], &["CLUSTER", "SETSLOT", &self.slot(), "STABLE"]);
    }

    fn slot(&self) -> String {
        self.slot.to_string()
    }

    fn keys_at(&self, cluster: &RedisCluster, node: usize, count: usize) -> Vec<String> {
        let reply = cluster.nodes()[node].cli(&["CLUSTER", "GETKEYSINSLOT", &self.slot(), &count.to_string()]);
        reply.lines().map(str::to_owned).collect()
    }
}

fn migrate(cluster: &RedisCluster, from: usize, to: usize, keys: &[String]) {
    if keys.is_empty() {
        return;
    }
    let port = cluster.nodes()[to].port().to_string();
    let mut command = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "30000", "KEYS"];
    command.extend(keys.iter().map(String::as_str));
    expect_ok(&cluster.nodes()[from], &command);
}
