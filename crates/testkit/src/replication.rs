//! One server as a replica of another.

use std::time::{Duration, Instant};

use crate::Redis;

const LEVEL_LIMIT: Duration = Duration::from_secs(60);

impl Redis {
    /// Whether the server takes itself for a primary.
    ///
    /// # Panics
    /// As [`Redis::cli`].
    pub fn is_primary(&self) -> bool {
        self.cli(&["ROLE"]).lines().next() == Some("master")
    }

    /// Makes the server a replica of `primary`; it gives up its own data once it has found it.
    ///
    /// # Panics
    /// As [`Redis::cli`].
    pub fn follow(&self, primary: &Redis) {
        assert_eq!(self.cli(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]), "OK");
    }

    /// Makes a replica a primary.
    ///
    /// # Panics
    /// As [`Redis::cli`].
    pub fn lead(&self) {
        assert_eq!(self.cli(&["REPLICAOF", "NO", "ONE"]), "OK");
    }

    /// Waits until this replica has what `primary` has written so far.
    ///
    /// # Panics
    /// When that does not come true within a minute.
    pub async fn wait_until_level_with(&self, primary: &Redis) {
        let wanted: u64 = primary.replication("master_repl_offset").parse().expect("an offset");
        let deadline = Instant::now() + LEVEL_LIMIT;
        loop {
            let offset: u64 = self.replication("master_repl_offset").parse().expect("an offset");
            if self.replication("master_link_status") == "up" && offset >= wanted {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "the replica on port {} stays at {offset} of {wanted}{}",
                self.port(),
                self.log_tail()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// A value of `INFO replication`; empty where the server does not say it.
    pub(crate) fn replication(&self, name: &str) -> String {
        let info = self.cli(&["INFO", "replication"]);
        let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.unwrap_or_default().trim_end().to_owned()
    }
}
