//! The directory of drops: what an order must know of its drop before the script decides.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use stampede_archive::{DropRecord, DropStage};
use stampede_domain::{DropId, DropState};
use stampede_engine::{DropTerms, EngineError};

use crate::problem::Problem;
use crate::state::ApiState;

/// The most drops that are remembered; terms never change, so the whole is forgotten when it is full.
const MAX_DROPS: usize = 100_000;

/// There is no such drop.
pub(crate) const NO_SUCH_DROP: Problem = Problem::NotFound("There is no such drop.");

/// A drop that is written down and not yet in the hot state.
pub(crate) const OPENING: Problem = Problem::Unavailable("The drop is being opened");

/// The terms of the drops that were asked for.
#[derive(Default)]
pub(crate) struct Terms {
    known: RwLock<HashMap<DropId, Arc<DropTerms>>>,
    absent: Absent<DropId>,
}

impl Terms {
    /// The drop's terms: remembered, from the hot state, or from the archive.
    pub async fn find(&self, id: &str, state: &ApiState) -> Result<Arc<DropTerms>, Problem> {
        if let Some(terms) = self.known.read().get(id) {
            return Ok(Arc::clone(terms));
        }
        // Boxed, as every order carries room for it and hardly any needs it.
        Box::pin(self.look_up(id, state)).await
    }

    async fn look_up(&self, id: &str, state: &ApiState) -> Result<Arc<DropTerms>, Problem> {
        let id: DropId =
            id.parse().map_err(|error: stampede_domain::InvalidId| Problem::field("/drop_id", error.to_string()))?;
        if self.absent.has(&id) {
            return Err(NO_SUCH_DROP);
        }
        let engine = state.engine();
        let found = engine.read_stripes(engine.shard_of(&id), std::slice::from_ref(&id)).await;
        let live = match found {
            Ok(reading) => reading.drops.into_iter().next().flatten(),
            // The order itself waits for the recovery.
            Err(EngineError::ShardRecovering | EngineError::ShardMoving) => {
                let record = self.record(&id, state).await?;
                return Ok(self.remember(terms_of(&record)));
            }
            Err(error) => return Err(Problem::of_read(error)),
        };
        match live {
            // Its orders would wait in the queue of the shard, and hold up those of other drops.
            Some(live) if live.state == DropState::Opening => Err(OPENING),
            Some(live) => Ok(self.remember(live.terms())),
            // Opened once and gone from the hot state: it needs recovery.
            None => self.record(&id, state).await.and(Err(Problem::ShardRecovering)),
        }
    }

    /// The record of a drop that is open.
    async fn record(&self, id: &DropId, state: &ApiState) -> Result<DropRecord, Problem> {
        match state.archive().drop_record(id).await? {
            Some(record) if record.stage == DropStage::Opened => Ok(record),
            Some(_) => Err(OPENING),
            None => {
                self.absent.note(id.clone());
                Err(NO_SUCH_DROP)
            }
        }
    }

    fn remember(&self, terms: DropTerms) -> Arc<DropTerms> {
        let terms = Arc::new(terms);
        let mut known = self.known.write();
        if known.len() >= MAX_DROPS {
            known.clear();
        }
        known.insert(terms.id.clone(), Arc::clone(&terms));
        terms
    }

    /// A drop was defined by this process: it is absent no more.
    pub fn defined(&self, id: &DropId) {
        self.absent.forget(id);
    }
}

fn terms_of(record: &DropRecord) -> DropTerms {
    let definition = &record.definition;
    DropTerms {
        id: definition.id.clone(),
        sku: definition.sku.clone(),
        unit_price: definition.price,
        durability: definition.durability,
        stripes: definition.stripes.clone(),
    }
}

/// What was looked for in vain a moment ago, so that asking for it again and again costs nothing.
pub(crate) struct Absent<K>(Mutex<HashMap<K, Instant>>);

impl<K> Default for Absent<K> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<K: Hash + Eq> Absent<K> {
    /// For how long an answer is reused.
    const TTL: Duration = Duration::from_secs(1);
    /// The most keys; the whole is forgotten when it is full.
    const MAX: usize = 10_000;

    /// Whether the key was looked for in vain a moment ago.
    pub fn has(&self, key: &K) -> bool {
        self.0.lock().get(key).is_some_and(|since| since.elapsed() < Self::TTL)
    }

    /// The key was looked for in vain.
    pub fn note(&self, key: K) {
        let mut absent = self.0.lock();
        if absent.len() >= Self::MAX {
            absent.clear();
        }
        absent.insert(key, Instant::now());
    }

    /// The key may exist now.
    pub fn forget(&self, key: &K) {
        self.0.lock().remove(key);
    }
}
