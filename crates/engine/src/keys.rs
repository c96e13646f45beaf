//! The names of all keys, in one place.

use stampede_domain::{DropId, Shard};

/// The keys of one shard. They share its hash tag, `{s00}`, and so one slot of a cluster.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Hash: deployment, trusted token, epoch, last id and number, floor, counters.
    pub meta: String,
    /// Stream: every change of a drop's state.
    pub log: String,
    /// Sorted set: drops with facts that the archive may not hold yet, by the number of their last entry.
    pub unsettled: String,
    /// Sorted set: what falls due, by its time in ms.
    pub timers: String,
    /// Set: the drops that were opened here.
    pub drops: String,
    /// Hash: facts that the archive refuses for good, by their ids.
    pub dead: String,
    /// Channel: ids of drops that changed.
    pub changes: String,
    /// String: written before each wait for durability, so that there is a write to wait for. It decides nothing.
    pub wait: String,
}

impl Keys {
    /// The consumer group that moves the log into the archive.
    pub const GROUP: &str = "persister";

    /// The keys of a shard.
    pub fn of(shard: Shard) -> Self {
        let key = |name: &str| format!("{{{shard}}}:{name}");
        Self {
            meta: key("meta"),
            log: key("log"),
            unsettled: key("unsettled"),
            timers: key("timers"),
            drops: key("drops"),
            dead: key("dead"),
            changes: key("changes"),
            wait: key("wait"),
        }
    }

    /// A key that always exists, and one that never does.
    pub(crate) fn with_one_that_never_exists(&self) -> Vec<String> {
        vec![self.meta.clone(), format!("{}:never", self.meta)]
    }

    /// The hash of a drop: phase, window, limit, price and stock.
    pub fn drop(shard: Shard, id: &DropId) -> String {
        format!("{{{shard}}}:drop:{id}")
    }

    /// The hash of a drop's users: digest of the user to the packed list of that user's grants.
    pub fn users(shard: Shard, id: &DropId) -> String {
        format!("{{{shard}}}:drop:{id}:users")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_names_of_the_design() {
        let shard = Shard::new(3).expect("in range");
        let keys = Keys::of(shard);
        let id: DropId = "demo".parse().expect("valid");
        assert_eq!(
            [keys.meta, keys.log, keys.unsettled, keys.timers, keys.drops, keys.dead, keys.changes, keys.wait],
            [
                "{s03}:meta",
                "{s03}:log",
                "{s03}:unsettled",
                "{s03}:timers",
                "{s03}:drops",
                "{s03}:dead",
                "{s03}:changes",
                "{s03}:wait"
            ]
        );
        assert_eq!(Keys::drop(shard, &id), "{s03}:drop:demo");
        assert_eq!(Keys::users(shard, &id), "{s03}:drop:demo:users");
    }
}
