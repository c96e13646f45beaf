//! What an answer waits for before it is given, so that it survives what it is promised to.
//!
//! Each primary is examined for what it can keep; what it cannot is refused before a script is called. What a script
//! decided is answered when the wait is over, and only if the server that decided is the one that kept it.

mod examine;
mod gate;
mod info;
mod judge;
mod promises;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use stampede_domain::{Durability, Shard};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use self::examine::{Standing, Standings, offer};
use self::gate::{Ticket, Wanted};
use self::judge::Syncing;
use self::promises::Promises;
use crate::engine::ShardHandle;
use crate::redis::{Primary, Redis};
use crate::{ConnectError, EngineError, metrics};

/// The Redis process that something was read from, or that decided something: of which shard, under which token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    shard: Shard,
    token: String,
}

impl Source {
    pub(crate) const fn new(shard: Shard, token: String) -> Self {
        Self { shard, token }
    }

    /// The shard.
    pub const fn shard(&self) -> Shard {
        self.shard
    }
}

/// Keeps what the answers of one engine are promised to survive.
pub(crate) struct Keeper {
    redis: Redis,
    limit: Duration,
    standings: watch::Receiver<Standings>,
    /// Asks for an examination now.
    look: Arc<Notify>,
    gates: Mutex<HashMap<Primary, mpsc::Sender<(Ticket, String)>>>,
    promises: Promises,
}

impl Keeper {
    /// Examines all primaries, and goes on doing so.
    pub(crate) async fn start(redis: &Redis) -> Self {
        let (sender, standings) = watch::channel(examine::examine_all(redis).await);
        let look = Arc::new(Notify::new());
        tokio::spawn(examine::run(redis.clone(), Arc::clone(&look), sender));
        let limit = redis.settings().durability_wait;
        let (gates, promises) = (Mutex::default(), Promises::default());
        Self { redis: redis.clone(), limit, standings, look, gates, promises }
    }

    /// Refuses to start on a server that cannot keep the deployment's own durability.
    pub(crate) fn check(&self, durability: Durability) -> Result<(), ConnectError> {
        for (primary, standing) in self.standings.borrow().iter() {
            if let Err(reason) = offer(standing, durability) {
                let primary = self.redis.name_of(primary);
                return Err(ConnectError::NotDurable { durability, primary, reason });
            }
        }
        Ok(())
    }

    /// Whether an answer about this shard may be promised this much now.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`] says why not.
    pub(crate) fn offers(&self, handle: &ShardHandle, durability: Durability) -> Result<(), EngineError> {
        if durability == Durability::Memory {
            return Ok(());
        }
        let offered = match self.redis.primary_of(&handle.keys.meta) {
            None => Err("the cluster has no primary for this shard".to_owned()),
            Some(primary) => match self.standings.borrow().get(&primary) {
                Some(standing) => offer(standing, durability),
                None => {
                    self.look.notify_one();
                    Err("its primary is being examined".to_owned())
                }
            },
        };
        offered
            .map_err(|reason| EngineError::Unavailable(format!("durability `{durability}` cannot be kept: {reason}")))
    }

    /// Waits until everything that the shard's Redis had answered under this token is as durable as that.
    ///
    /// # Errors
    /// [`EngineError::OutcomeUnknown`] if that is not so within the limit: what was decided may be lost, or not.
    pub(crate) async fn keep(
        &self,
        handle: &ShardHandle,
        token: &str,
        durability: Durability,
    ) -> Result<(), EngineError> {
        if durability == Durability::Memory {
            return Ok(());
        }
        let started = Instant::now();
        let kept = tokio::time::timeout(self.limit, self.is_kept(handle, token, durability)).await.unwrap_or(false);
        metrics::durability_wait(durability, kept, started.elapsed());
        if kept {
            return Ok(());
        }
        // Counted, and told once where the reason is found: under load this would be a line for each group.
        tracing::debug!(shard = %handle.shard, %durability, "what was decided is not durable yet; its outcome is unknown");
        Err(EngineError::OutcomeUnknown)
    }

    async fn is_kept(&self, handle: &ShardHandle, token: &str, durability: Durability) -> bool {
        let Some(primary) = self.redis.primary_of(&handle.keys.meta) else { return false };
        let standing = self.standing_under(&primary, token).await;
        let wanted = match durability {
            Durability::Memory => return true,
            Durability::Fsync => match standing.fsync {
                Ok(Syncing::BeforeTheAnswer) => return true,
                Ok(Syncing::AfterTheAnswer) => Wanted::Synced,
                Err(_) => return false,
            },
            Durability::Replica => match &standing.replica {
                Ok(replicas) => Wanted::Held(replicas.clone()),
                Err(_) => return false,
            },
        };
        let (answer, kept) = oneshot::channel();
        let ticket = Ticket { token: token.to_owned(), wanted, answer, doubted: false };
        let Some(gate) = self.gate(primary) else { return false };
        // As many as may wait wait already: this one would not be served within the limit.
        if gate.try_send((ticket, handle.keys.wait.clone())).is_err() {
            return false;
        }
        kept.await.unwrap_or(false)
    }

    /// What the primary can keep, examined under this token: an older examination says nothing of a server that restarted.
    async fn standing_under(&self, primary: &Primary, token: &str) -> Arc<Standing> {
        let mut standings = self.standings.clone();
        loop {
            if let Some(Ok(standing)) = standings.borrow_and_update().get(primary)
                && standing.token == token
            {
                return Arc::clone(standing);
            }
            self.look.notify_one();
            if standings.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// The gate of a primary. Gates of servers that decide no more are given up.
    fn gate(&self, primary: Primary) -> Option<mpsc::Sender<(Ticket, String)>> {
        let mut gates = self.gates.lock();
        if let Some(gate) = gates.get(&primary) {
            return Some(gate.clone());
        }
        let known = self.redis.primaries();
        gates.retain(|primary, _| known.contains(primary));
        let client = match self.redis.waiter(&primary) {
            Ok(client) => client,
            Err(error) => {
                tracing::error!(%error, "no connection for waits could be set up");
                return None;
            }
        };
        let most = self.redis.settings().queue_max_orders;
        let gate = gate::spawn(client, self.limit, most, Arc::clone(&self.look));
        gates.insert(primary, gate.clone());
        Some(gate)
    }
}
