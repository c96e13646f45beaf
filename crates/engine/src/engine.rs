//! The engine: connections, and one committer per shard.

use std::sync::Arc;

use fred::interfaces::PubsubInterface;
use stampede_domain::{Deployment, DropId, LogId, Shard};

use crate::clock::ShardClock;
use crate::committer::{self, Queue};
use crate::durability::Keeper;
use crate::keys::Keys;
use crate::redis::{self, Redis};
use crate::stripes::Balances;
use crate::{ConnectError, DropChanges, EngineError, EngineSettings, metrics};

/// The hot state of one deployment. Cheap to clone; all clones share connections and committers.
#[derive(Clone)]
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
    queues: Arc<[Queue]>,
}

/// What calls need, apart from the queues: the committers hold this, and end when the last [`Engine`] is gone.
pub(crate) struct Shared {
    pub(crate) redis: Redis,
    pub(crate) settings: EngineSettings,
    pub(crate) deployment: Deployment,
    pub(crate) keeper: Keeper,
    pub(crate) balances: Balances,
    shards: Vec<ShardHandle>,
}

/// One shard, as this process sees it.
pub(crate) struct ShardHandle {
    pub(crate) shard: Shard,
    pub(crate) keys: Keys,
    pub(crate) clock: ShardClock,
}

impl Engine {
    /// Connects to Redis and checks that it may be trusted with a sale.
    ///
    /// A Redis that belongs to nobody yet is accepted; its shards stay fenced until a worker has set them up.
    ///
    /// # Errors
    /// [`ConnectError`] says what is wrong with the address, the server's settings, or whom it belongs to; also if the server
    /// cannot keep the deployment's durability.
    pub async fn connect(settings: EngineSettings, deployment: Deployment) -> Result<Self, ConnectError> {
        metrics::start(settings.log_bound);
        let redis = redis::connect(&settings).await?;
        redis.check_eviction().await?;
        let keeper = Keeper::start(&redis).await;
        keeper.check(settings.durability)?;
        let shards: Vec<ShardHandle> = deployment
            .shards
            .shards()
            .map(|shard| ShardHandle { shard, keys: Keys::of(shard), clock: ShardClock::new() })
            .collect();
        let channels: Vec<String> = shards.iter().map(|handle| handle.keys.changes.clone()).collect();
        redis.subscriber().subscribe(channels).await.map_err(|error| ConnectError::Unreachable(error.to_string()))?;
        let shared = Arc::new(Shared { redis, settings, deployment, keeper, balances: Balances::default(), shards });
        let next = shared.check_owner().await?;
        let queues = shared.shards.iter().zip(next);
        let queues = queues.map(|(handle, next)| committer::spawn(Arc::clone(&shared), handle.shard, next)).collect();
        Ok(Self { shared, queues })
    }

    /// The deployment that this engine serves.
    pub fn deployment(&self) -> &Deployment {
        &self.shared.deployment
    }

    /// What this engine was told.
    pub fn settings(&self) -> &EngineSettings {
        &self.shared.settings
    }

    /// The home of a drop: the shard in which it lives, or the first of its stripes.
    pub fn shard_of(&self, id: &DropId) -> Shard {
        self.shared.deployment.shard_of(id)
    }

    /// All shards.
    pub fn shards(&self) -> impl ExactSizeIterator<Item = Shard> + use<> {
        self.shared.deployment.shards.shards()
    }

    /// Messages about drops that changed, from now on.
    pub fn changes(&self) -> DropChanges {
        DropChanges::new(&self.shared.redis)
    }

    /// Whether every shard answers, fenced or not.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`] if one does not.
    pub async fn ping(&self) -> Result<(), EngineError> {
        self.fenced_shards().await.map(drop)
    }

    /// The shards that wait for a recovery, or that are being moved.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`] if a shard does not answer.
    pub async fn fenced_shards(&self) -> Result<Vec<Shard>, EngineError> {
        let mut fenced = Vec::new();
        for shard in self.shards() {
            match self.inspect_shard(shard).await {
                Ok(inspection) if inspection.is_trusted() => {}
                Ok(_) | Err(EngineError::ShardMoving) => fenced.push(shard),
                Err(error) => return Err(error),
            }
        }
        Ok(fenced)
    }

    /// Whether this process has its connections to Redis.
    pub fn is_connected(&self) -> bool {
        self.shared.redis.is_connected()
    }

    /// Looks for the primary again: something told that the server which answers is none any more.
    pub fn look_for_primary(&self) {
        self.shared.redis.look_for_primary();
    }

    /// Closes the connections. Orders that still wait are answered first, as far as Redis answers.
    pub async fn quit(&self) {
        self.shared.redis.quit().await;
    }

    pub(crate) fn queue(&self, shard: Shard) -> Option<&Queue> {
        self.queues.get(usize::from(shard.number()))
    }
}

impl Shared {
    /// The shard's handle.
    ///
    /// # Errors
    /// [`EngineError::Malformed`] for a shard that this deployment does not have.
    pub(crate) fn handle(&self, shard: Shard) -> Result<&ShardHandle, EngineError> {
        self.shards
            .get(usize::from(shard.number()))
            .ok_or_else(|| EngineError::Malformed(format!("no shard {shard} in this deployment")))
    }

    /// Makes sure that Redis belongs to this deployment, or to nobody. Returns, for each shard, where its next entry could
    /// stand.
    async fn check_owner(&self) -> Result<Vec<LogId>, ConnectError> {
        let mut next = Vec::with_capacity(self.shards.len());
        for handle in &self.shards {
            let inspection = match self.inspect(handle).await {
                Ok(inspection) => inspection,
                // Whom it belongs to is asked again before it is recovered.
                Err(EngineError::ShardMoving) => {
                    next.push(LogId::default());
                    continue;
                }
                Err(error) => return Err(ConnectError::Unreachable(error.to_string())),
            };
            next.push(inspection.last_id.map(LogId::next).unwrap_or_default());
            let Some((found, shards)) = inspection.owner else { continue };
            if found != self.deployment.id {
                return Err(ConnectError::ForeignDeployment { found, expected: self.deployment.id.clone() });
            }
            let expected = self.deployment.shards.get();
            if shards != expected {
                return Err(ConnectError::ForeignShards { found: shards, expected });
            }
        }
        Ok(next)
    }
}
