//! What each drop promises, and waits that follow from it.

use std::collections::{BTreeSet, HashMap};

use parking_lot::Mutex;
use stampede_domain::{DropId, Durability, Shard, Stripes};

use super::{Keeper, Source};
use crate::engine::Engine;
use crate::{EngineError, LiveDrop};

/// The most drops that are remembered; what a drop promises never changes, so the whole is forgotten when it is full.
const MAX_DROPS: usize = 100_000;

/// The drops whose promise was read.
#[derive(Default)]
pub(crate) struct Promises(Mutex<HashMap<DropId, Promise>>);

/// What never changes of a drop, and is needed again and again.
struct Promise {
    durability: Option<Durability>,
    stripes: Stripes,
}

impl Promises {
    fn of(&self, id: &DropId) -> Option<Option<Durability>> {
        self.0.lock().get(id).map(|promise| promise.durability)
    }

    fn stripes_of(&self, id: &DropId) -> Option<Stripes> {
        self.0.lock().get(id).map(|promise| promise.stripes.clone())
    }

    fn note(&self, id: &DropId, promise: impl FnOnce() -> Promise) {
        let mut known = self.0.lock();
        if known.contains_key(id) {
            return;
        }
        if known.len() >= MAX_DROPS {
            known.clear();
        }
        known.insert(id.clone(), promise());
    }
}

impl Keeper {
    /// Remembers what these drops promise.
    pub(crate) fn heard<'a>(&self, drops: impl IntoIterator<Item = &'a LiveDrop>) {
        for drop in drops {
            let promise = || Promise { durability: drop.durability, stripes: drop.stripes.clone() };
            self.promises.note(&drop.id, promise);
        }
    }
}

impl Engine {
    /// What an answer about a drop waits for: what the drop says, or else the deployment.
    pub fn durability(&self, of_drop: Option<Durability>) -> Durability {
        of_drop.unwrap_or(self.settings().durability)
    }

    /// Whether the server of a shard can keep this now.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`] says why not, and what to change.
    pub fn offers(&self, shard: Shard, durability: Durability) -> Result<(), EngineError> {
        self.shared.keeper.offers(self.shared.handle(shard)?, durability)
    }

    /// Waits until what was read is as durable as it is promised to be: before it is told to anybody, if it is nowhere else.
    ///
    /// # Errors
    /// [`EngineError::OutcomeUnknown`] if it may be lost yet.
    pub async fn confirm(&self, source: &Source, of_drop: Option<Durability>) -> Result<(), EngineError> {
        let handle = self.shared.handle(source.shard)?;
        self.shared.keeper.keep(handle, &source.token, self.durability(of_drop)).await
    }

    /// The same, for facts of any drops of the shard: before they are archived.
    ///
    /// # Errors
    /// As [`Self::confirm`]; [`EngineError::ShardRecovering`] behind the fence.
    pub async fn confirm_drops(&self, source: &Source, drops: &BTreeSet<&DropId>) -> Result<(), EngineError> {
        let promised = self.promised_by(source.shard, drops).await?;
        for durability in promised {
            self.confirm(source, Some(durability)).await?;
        }
        Ok(())
    }

    /// The shards in which a drop's stock lives, its home first. One that Redis does not have lives in its home.
    ///
    /// # Errors
    /// [`EngineError::ShardRecovering`] behind the fence; [`EngineError::Unavailable`] if Redis does not answer.
    pub async fn stripes_of(&self, id: &DropId) -> Result<Vec<Shard>, EngineError> {
        let home = self.shard_of(id);
        if let Some(stripes) = self.shared.keeper.promises.stripes_of(id) {
            return Ok(stripes.shards(home));
        }
        let reading = self.read_stripes(home, std::slice::from_ref(id)).await?;
        let stripes = reading.drops.into_iter().next().flatten().map(|live| live.stripes).unwrap_or_default();
        Ok(stripes.shards(home))
    }

    /// What an answer about what a shard has of this drop waits for.
    pub(crate) async fn promised(&self, shard: Shard, id: &DropId) -> Result<Durability, EngineError> {
        let promised = self.promised_by(shard, &BTreeSet::from([id])).await?;
        Ok(promised.first().copied().unwrap_or(self.settings().durability))
    }

    /// What answers about these drops wait for. A drop that Redis does not have promises what the deployment does.
    async fn promised_by(&self, shard: Shard, drops: &BTreeSet<&DropId>) -> Result<BTreeSet<Durability>, EngineError> {
        let known = &self.shared.keeper.promises;
        let mut promised = BTreeSet::new();
        let mut unknown = Vec::new();
        for id in drops {
            match known.of(id) {
                Some(promise) => drop(promised.insert(self.durability(promise))),
                None => unknown.push((*id).clone()),
            }
        }
        if !unknown.is_empty() {
            let reading = self.read_stripes(shard, &unknown).await.map_err(|error| match error {
                // Nothing was asked for yet.
                EngineError::OutcomeUnknown => EngineError::Unavailable("Redis does not answer".to_owned()),
                other => other,
            })?;
            for live in reading.drops {
                promised.insert(self.durability(live.and_then(|live| live.durability)));
            }
        }
        Ok(promised)
    }
}
