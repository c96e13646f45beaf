//! The one setting of Redis without which nothing else holds.

use fred::interfaces::{ClientLike, ClusterInterface};
use fred::types::config::Server;

use super::Redis;
use crate::ConnectError;

impl Redis {
    /// Refuses a Redis that would evict keys when it is full, on any of its nodes.
    pub(crate) async fn check_eviction(&self) -> Result<(), ConnectError> {
        let unreachable = |error: fred::error::Error| ConnectError::Unreachable(error.to_string());
        let client = self.reader();
        let nodes: Vec<Option<Server>> = if client.is_clustered() {
            client
                .cached_cluster_state()
                .map(|state| state.unique_primary_nodes())
                .unwrap_or_default()
                .into_iter()
                .map(Some)
                .collect()
        } else {
            vec![None]
        };
        for node in nodes {
            // INFO, not CONFIG: managed services forbid the latter.
            let section = Some(fred::types::InfoKind::Memory);
            let info: String = match node {
                Some(node) => client.with_cluster_node(node).info(section).await,
                None => client.info(section).await,
            }
            .map_err(unreachable)?;
            let policy = info.lines().find_map(|line| line.trim().strip_prefix("maxmemory_policy:"));
            match policy {
                Some("noeviction") | None => {}
                Some(other) => return Err(ConnectError::Evicting(other.to_owned())),
            }
        }
        Ok(())
    }
}
