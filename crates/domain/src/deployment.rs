//! Which archive and which Redis belong together.

use serde::{Deserialize, Serialize};

use crate::{DropId, Shard, ShardCount};

/// Whom an archive and a Redis belong to. Both must say the same, or a process refuses to start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// A random id (a UUID), made when the deployment is created.
    pub id: String,
    /// How many shards it has; fixed.
    pub shards: ShardCount,
}

impl Deployment {
    /// The shard of a drop in this deployment.
    pub fn shard_of(&self, id: &DropId) -> Shard {
        self.shards.shard_of(id)
    }
}
