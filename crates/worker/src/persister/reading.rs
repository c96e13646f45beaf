//! Reading a batch: in parts, so that Redis is never held up for long, until there is no more or the batch is full.

use std::collections::{BTreeSet, HashMap, HashSet};

use futures_util::future::join_all;
use stampede_domain::{DropId, LogId, Shard};
use stampede_engine::{EngineError, PendingClaim};

use super::batch::Batch;
use super::{PersistError, Persister, ShardState, report_lost};

/// Entries of one shard that were read at once.
struct Part {
    claim: PendingClaim,
    /// Where to go on if they had been pending under our own name.
    draining: Option<LogId>,
}

impl Persister {
    pub(super) async fn read(&mut self) -> Result<Batch, PersistError> {
        let mut batch = Batch::default();
        let mut failed = None;
        let mut places: Vec<usize> = (0..self.shards.len()).collect();
        while !places.is_empty() && batch.facts.len() < self.settings.batch_facts {
            let parts = join_all(places.iter().map(|place| self.read_part(&self.shards[*place]))).await;
            let mut unfinished = Vec::new();
            for (place, part) in places.into_iter().zip(parts) {
                let state = &mut self.shards[place];
                match part {
                    Ok(part) => {
                        if state.take(part, &mut batch, self.settings.batch_entries) {
                            unfinished.push(place);
                        }
                    }
                    // A shard that was never set up has no log yet, and one whose node is away does not answer; the others go on.
                    Err(error) => {
                        state.draining = Some(LogId::default());
                        failed = Some(error);
                    }
                }
            }
            places = unfinished;
        }
        match failed {
            Some(error) if batch.entries.is_empty() => Err(error.into()),
            _ => Ok(batch),
        }
    }

    async fn read_part(&self, state: &ShardState) -> Result<Part, EngineError> {
        let (shard, consumer, limit) = (state.shard, &self.consumer, self.settings.batch_entries);
        if let Some(after) = state.draining {
            let claim = self.engine.read_pending(shard, consumer, after, limit).await?;
            let last = claim.entries.iter().map(|entry| entry.id).chain(claim.deleted.iter().copied()).max();
            if last.is_some() {
                return Ok(Part { claim, draining: last });
            }
        }
        Ok(Part { claim: self.engine.read_new(shard, consumer, limit).await?, draining: None })
    }

    /// Waits until the entries are as durable as their drops promise; takes those out for which that cannot be said yet.
    pub(super) async fn confirm(&mut self, mut batch: Batch) -> Result<Batch, PersistError> {
        let mut drops: HashMap<Shard, BTreeSet<&DropId>> = HashMap::new();
        for alike in batch.facts.chunk_by(|one, next| one.shard == next.shard && one.drop_id == next.drop_id) {
            drops.entry(alike[0].shard).or_default().insert(&alike[0].drop_id);
        }
        let waits = batch.sources.values().map(|source| {
            let (engine, drops) = (&self.engine, drops.remove(&source.shard()).unwrap_or_default());
            async move { (source.shard(), engine.confirm_drops(source, &drops).await) }
        });
        let (mut failed, mut error) = (HashSet::new(), None);
        for (shard, outcome) in join_all(waits).await {
            if let Err(reason) = outcome {
                tracing::debug!(%shard, error = %reason, "entries that may yet be lost are not archived");
                self.shards[usize::from(shard.number())].draining = Some(LogId::default());
                failed.insert(shard);
                error = Some(reason);
            }
        }
        batch.leave_out(&failed);
        match error {
            Some(error) if batch.entries.is_empty() => Err(error.into()),
            _ => Ok(batch),
        }
    }
}

impl ShardState {
    /// Adds a part to the batch. Returns whether the shard may have more.
    fn take(&mut self, part: Part, batch: &mut Batch, limit: u64) -> bool {
        let Part { claim, draining } = part;
        let before = batch.sources.get(&self.shard);
        if before.is_some_and(|before| claim.source.as_ref() != Some(before)) {
            // Another server than the one that had the parts before: each is waited for by itself, this one with the next batch.
            self.draining = Some(LogId::default());
            return false;
        }
        self.draining = draining;
        report_lost(self.shard, &claim.deleted);
        let more = draining.is_some() || claim.entries.len() as u64 >= limit;
        let unreadable = batch.add(self.shard, claim);
        self.report_unreadable(&unreadable);
        more
    }
}
