//! Looking for keys that are lost although the server's token is trusted: evicted, deleted by hand, left behind by a slot's
//! move. While a slot moves, nothing is lost yet.

use bytes::Bytes;
use fred::interfaces::{ClientLike, KeysInterface};
use fred::types::{ClusterHash, CustomCommand, Value};
use stampede_domain::{DropId, Shard, UserDigest};

use crate::EngineError;
use crate::engine::Engine;
use crate::metrics::Operation;
use crate::redis::{Fields, counted};

static SCAN: Operation = Operation::new("sscan");
static EXISTS: Operation = Operation::new("exists");

/// What looking at a few of a shard's drops found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DamageCheck {
    /// Where the next look begins; 0 at the end.
    pub next: u64,
    /// Whether a drop that was opened here lacks a key.
    pub damaged: bool,
}

impl Engine {
    /// Looks at about `count` of the drops that a shard opened, from `cursor` on (0 to begin).
    ///
    /// # Errors
    /// [`EngineError::Unavailable`] if Redis does not answer, [`EngineError::ShardMoving`] while a part of the keys is
    /// elsewhere.
    pub async fn check_damage(&self, shard: Shard, cursor: u64, count: u32) -> Result<DamageCheck, EngineError> {
        let (next, ids) = self.scan_drops(shard, cursor, count).await?;
        let drops: Vec<_> = ids.into_iter().map(|id| (id, UserDigest::default())).collect();
        let damaged = match self.user_grants(shard, &drops).await {
            Ok(found) => found.iter().any(|found| found.grants.is_none()),
            Err(EngineError::ShardRecovering) => self.inspect_shard(shard).await?.is_trusted(),
            Err(error) => return Err(error),
        };
        Ok(DamageCheck { next, damaged })
    }

    /// About `count` of the drops that a shard opened, purged ones too, from `cursor` on (0 to begin), and where the next
    /// look begins; 0 at the end. A drop may come twice.
    ///
    /// # Errors
    /// As [`Self::check_damage`].
    pub async fn scan_drops(&self, shard: Shard, cursor: u64, count: u32) -> Result<(u64, Vec<DropId>), EngineError> {
        let key = self.shared.handle(shard)?.keys.drops.clone();
        let command = CustomCommand::new_static("SSCAN", ClusterHash::FirstKey, false);
        let args: Vec<Value> = vec![key.into(), cursor.to_string().into(), "COUNT".into(), i64::from(count).into()];
        let redis = &self.shared.redis;
        let scanned = counted(&SCAN, redis.reader().custom(command, args)).await;
        let value = scanned.map_err(|error| redis.read_failed(error))?;
        let mut fields = Fields::of("SSCAN", value)?;
        let next = fields.parse()?;
        let mut members = fields.list()?;
        let mut drops: Vec<DropId> = Vec::with_capacity(members.len());
        for _ in 0..members.len() {
            let member: Bytes = members.bytes()?;
            drops.extend(members.parse_bytes::<DropId>(&member).ok());
        }
        // The sentinel, a hyphen, has the form of an id.
        drops.retain(|id| id.as_str() != "-");
        Ok((next, drops))
    }

    /// Whether a cluster is moving the shard to another node. What is missing then is not lost, but on its way.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`] if Redis does not answer.
    pub async fn is_moving(&self, shard: Shard) -> Result<bool, EngineError> {
        let redis = &self.shared.redis;
        // No node of a cluster answers for keys of a slot on its way one of which it does not have; nobody has the second.
        let keys = self.shared.handle(shard)?.keys.with_one_that_never_exists();
        match counted(&EXISTS, redis.reader().exists::<i64, _>(keys)).await.map_err(|error| redis.read_failed(error)) {
            Ok(_) => Ok(false),
            Err(EngineError::ShardMoving) => Ok(true),
            Err(error) => Err(error),
        }
    }
}
