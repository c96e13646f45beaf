//! What each drop promises, and waits that follow from it.

use std::collections::{BTreeSet, HashMap};

use parking_lot::Mutex;
use stampede_domain::{DropId, Durability, Shard};

use super::{Keeper, Source};
use crate::engine::Engine;
use crate::{EngineError, LiveDrop};

/// The most drops that are remembered; what a drop promises never changes, so the whole is forgotten when it is full.
const MAX_DROPS: usize = 100_000;

/// The drops whose promise was read.
#[derive(Default)]
pub(crate) struct Promises(Mutex<HashMap<DropId, Option<Durability>>>);

impl Promises {
    fn of(&self, id: &DropId) -> Option<Option<Durability>> {
        self.0.lock().get(id).copied()
    }

    fn note(&self, id: &DropId, promise: Option<Durability>) {
        let mut known = self.0.lock();
        if known.contains_key(id) {
            return;
        }
        if known.len() >= MAX_DROPS {
            known.clear();
        }
        known.insert(id.clone(), promise);
    }
}

impl Keeper {
    /// Remembers what these drops promise.
    pub(crate) fn heard<'a>(&self, drops: impl IntoIterator<Item = &'a LiveDrop>) {
        for drop in drops {
            self.promises.note(&drop.id, drop.durability);
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

    /// What an answer about this drop waits for.
    pub(crate) async fn promised(&self, id: &DropId) -> Result<Durability, EngineError> {
        let promised = self.promised_by(self.shard_of(id), &BTreeSet::from([id])).await?;
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
            let reading = self.read_drops(shard, &unknown).await.map_err(|error| match error {
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
