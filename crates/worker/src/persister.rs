//! The persister: moves facts from the logs into the archive.
//!
//! Reads by consumer group, waits until Redis keeps what it read as its drops promise (so that the persister of a primary
//! that was cut off archives nothing), writes a batch, waits for the archive's own durable acknowledgement, then
//! acknowledges and trims. What fails in between stays pending and is delivered again; the archive recognises what it has. It adds nothing
//! of its own, so entries may reach the archive in any order.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;
use rand::RngExt;
use stampede_archive::{Archive, ArchiveError};
use stampede_domain::{Closing, Epoch, Fact, LogId, Shard, Timestamp};
use stampede_engine::{Engine, EngineError, EntryReceipt, LogEntry, PendingClaim, Source};
use tokio_util::sync::CancellationToken;

use crate::WorkerSettings;
use crate::looping::Pause;
use crate::metrics;

/// One process's persister, for all shards.
pub struct Persister {
    engine: Engine,
    archive: Arc<dyn Archive>,
    settings: WorkerSettings,
    consumer: String,
    shards: Vec<ShardState>,
    claimed_at: Instant,
}

/// What the persister remembers of a shard between steps.
struct ShardState {
    shard: Shard,
    /// While set, what is pending under our own name is read first, from behind this entry on.
    draining: Option<LogId>,
    /// Entries that cannot be archived and were reported; they stay pending.
    reported: HashSet<LogId>,
}

/// What a step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Persisted {
    /// Entries that were archived and acknowledged.
    pub entries: usize,
    /// Their facts.
    pub facts: usize,
    /// Entries that were read and could not be archived or acknowledged yet.
    pub left: usize,
}

/// Why a step could not finish; what it had read stays pending.
#[derive(Debug, thiserror::Error)]
pub enum PersistError {
    /// The archive failed.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Redis failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Entries on their way, and all of their facts.
#[derive(Default)]
struct Batch {
    entries: Vec<Moving>,
    facts: Vec<Fact>,
    /// What each shard's entries were read from.
    sources: HashMap<Shard, Source>,
}

/// An entry on its way.
struct Moving {
    shard: Shard,
    epoch: Epoch,
    number: u64,
    receipt: EntryReceipt,
    facts: usize,
}

impl Persister {
    /// A persister with a consumer name of its own.
    pub fn new(engine: Engine, archive: Arc<dyn Archive>, settings: WorkerSettings) -> Self {
        let consumer = format!("{}-{:016x}", std::process::id(), rand::rng().random::<u64>());
        let shards = engine
            .shards()
            .map(|shard| ShardState { shard, draining: Some(LogId::default()), reported: HashSet::new() })
            .collect();
        Self { engine, archive, settings, consumer, shards, claimed_at: Instant::now() }
    }

    /// Moves at most one batch of each shard, all in one go.
    ///
    /// # Errors
    /// [`PersistError`] if the archive or Redis failed: the same entries come again with the next step.
    pub async fn step(&mut self) -> Result<Persisted, PersistError> {
        if self.claimed_at.elapsed() >= self.settings.claim_idle {
            self.claimed_at = Instant::now();
            self.take_over().await?;
        }
        let batch = self.read().await?;
        let read = batch.entries.len();
        if read == 0 {
            return Ok(Persisted::default());
        }
        let batch = self.confirm(batch).await?;
        match self.archive_and_acknowledge(batch).await {
            Ok((entries, facts)) => Ok(Persisted { entries, facts, left: read - entries }),
            Err(error) => {
                self.drain_again();
                Err(error)
            }
        }
    }

    /// Makes the next steps begin with what is pending under our own name.
    fn drain_again(&mut self) {
        for state in &mut self.shards {
            state.draining = Some(LogId::default());
        }
    }

    async fn read(&mut self) -> Result<Batch, PersistError> {
        let (engine, consumer, limit) = (&self.engine, &self.consumer, self.settings.batch_entries);
        let reads = self.shards.iter().map(|state| async move {
            if let Some(after) = state.draining {
                let claim = engine.read_pending(state.shard, consumer, after, limit).await?;
                if !claim.entries.is_empty() || !claim.deleted.is_empty() {
                    let last = claim.entries.iter().map(|entry| entry.id).chain(claim.deleted.iter().copied()).max();
                    return Ok((claim, last));
                }
            }
            engine.read_new(state.shard, consumer, limit).await.map(|claim| (claim, None))
        });
        let claims: Vec<Result<_, EngineError>> = join_all(reads).await;
        let mut batch = Batch::default();
        let mut failed = None;
        for (state, claim) in self.shards.iter_mut().zip(claims) {
            match claim {
                Ok((claim, draining)) => {
                    state.draining = draining;
                    batch.add(state, claim);
                }
                // A shard that was never set up has no log yet, and one whose node is away does not answer; the others go on.
                Err(error) => {
                    state.draining = Some(LogId::default());
                    failed = Some(error);
                }
            }
        }
        match failed {
            Some(error) if batch.entries.is_empty() => Err(error.into()),
            _ => Ok(batch),
        }
    }

    /// Waits until the entries are as durable as their drops promise; takes those out for which that cannot be said yet.
    async fn confirm(&mut self, mut batch: Batch) -> Result<Batch, PersistError> {
        let waits = batch.sources.values().map(|source| {
            let facts = batch.facts.iter().filter(|fact| fact.shard == source.shard());
            let drops: BTreeSet<_> = facts.map(|fact| &fact.drop_id).collect();
            let engine = &self.engine;
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
        batch.entries.retain(|moving| !failed.contains(&moving.shard));
        batch.facts.retain(|fact| !failed.contains(&fact.shard));
        match error {
            Some(error) if batch.entries.is_empty() => Err(error.into()),
            _ => Ok(batch),
        }
    }

    async fn archive_and_acknowledge(&mut self, batch: Batch) -> Result<(usize, usize), PersistError> {
        let Batch { entries: moving, facts, .. } = batch;
        let refusals = self.archive.insert_facts(&facts).await.inspect_err(|_| metrics::archive_failed())?;
        metrics::archived(facts.len() - refusals.len());
        let mut refused = HashSet::new();
        for refusal in refusals {
            let fact = &facts[refusal.index];
            refused.insert((fact.shard, fact.position.log_id));
            let state = &mut self.shards[usize::from(fact.shard.number())];
            if state.reported.insert(fact.position.log_id) {
                metrics::refused(1);
                tracing::error!(fact = %refusal.fact, reason = ?refusal.reason, "the archive refuses a fact for good; its entry stays in the log");
            }
        }
        let (mut entries, mut acknowledged_facts) = (0, 0);
        for state in &mut self.shards {
            let of_shard: Vec<&Moving> = moving
                .iter()
                .filter(|moving| moving.shard == state.shard)
                .filter(|moving| !refused.contains(&(state.shard, moving.receipt.id)))
                .collect();
            if of_shard.is_empty() {
                continue;
            }
            match acknowledge(&self.engine, &*self.archive, state.shard, &of_shard).await {
                Ok(done) => {
                    entries += done;
                    acknowledged_facts += of_shard.iter().map(|moving| moving.facts).sum::<usize>();
                    if done < of_shard.len() {
                        state.draining = Some(LogId::default());
                    }
                }
                // The fence: the entries stay pending, and are acknowledged when the shard is trusted again.
                Err(PersistError::Engine(error)) => {
                    tracing::debug!(shard = %state.shard, %error, "archived entries could not be acknowledged yet");
                    state.draining = Some(LogId::default());
                }
                Err(error) => return Err(error),
            }
        }
        Ok((entries, acknowledged_facts))
    }

    /// Takes over what dead consumers left pending, and forgets their names.
    async fn take_over(&mut self) -> Result<(), PersistError> {
        let (idle, limit) = (self.settings.claim_idle, self.settings.batch_entries);
        for state in &mut self.shards {
            let claim = match self.engine.claim_idle(state.shard, &self.consumer, idle, limit).await {
                Ok(claim) => claim,
                Err(error) => {
                    tracing::debug!(shard = %state.shard, %error, "could not look for entries of dead consumers");
                    continue;
                }
            };
            report_lost(state.shard, &claim.deleted);
            if !claim.entries.is_empty() {
                tracing::info!(shard = %state.shard, entries = claim.entries.len(), "took over entries of a dead consumer");
            }
            // Also looks again at what could not be archived before.
            state.draining = Some(LogId::default());
            let _ = self.engine.forget_consumers(state.shard, self.settings.forget_idle).await;
        }
        Ok(())
    }

    async fn observe(&self) {
        for shard in self.engine.shards() {
            if let Ok(status) = self.engine.log_status(shard).await {
                metrics::log_status(shard, &status);
                metrics::clock_skew(status.now_ms.cast_signed() - Timestamp::now().as_ms());
            }
        }
    }
}

impl Batch {
    /// Adds the entries of a claim with their facts; what cannot be read is reported once and stays pending.
    fn add(&mut self, state: &mut ShardState, claim: PendingClaim) {
        report_lost(state.shard, &claim.deleted);
        self.sources.extend(claim.source.map(|source| (state.shard, source)));
        for entry in claim.entries {
            match entry.facts() {
                Ok(facts) => self.push(&entry, facts),
                Err(error) => {
                    if state.reported.insert(entry.id) {
                        metrics::refused(1);
                        tracing::error!(shard = %state.shard, entry = %entry.id, %error, "a log entry cannot be read; it stays in the log");
                    }
                }
            }
        }
    }

    fn push(&mut self, entry: &LogEntry, facts: Vec<Fact>) {
        let (shard, epoch, number) = (entry.shard, entry.epoch, entry.number);
        self.entries.push(Moving { shard, epoch, number, receipt: entry.receipt(&facts), facts: facts.len() });
        self.facts.extend(facts);
    }
}

fn report_lost(shard: Shard, ids: &[LogId]) {
    if !ids.is_empty() {
        metrics::lost_entries(ids.len());
        tracing::error!(%shard, ?ids, "pending entries no longer exist: something other than Stampede trims the log");
    }
}

/// Acknowledges the entries that are archived for good: those whose epoch is not sealed, or that every closing since covers.
async fn acknowledge(
    engine: &Engine,
    archive: &dyn Archive,
    shard: Shard,
    moving: &[&Moving],
) -> Result<usize, PersistError> {
    let epoch = archive.epoch(shard).await?;
    let sealed = moving.iter().any(|moving| moving.epoch < epoch);
    let closings = if sealed { archive.closings(shard).await? } else { Vec::new() };
    let receipts: Vec<EntryReceipt> = moving
        .iter()
        .filter(|moving| is_archived(moving.epoch, moving.number, epoch, &closings))
        .map(|moving| moving.receipt)
        .collect();
    if receipts.is_empty() {
        return Ok(0);
    }
    engine.acknowledge(shard, epoch, &receipts).await?;
    Ok(receipts.len())
}

/// Whether an entry of `entry_epoch` belongs to the history now that `epoch` was raised: each epoch since has a closing,
/// and all of them cover it. While a closing is missing, nobody can know.
fn is_archived(entry_epoch: Epoch, number: u64, epoch: Epoch, closings: &[Closing]) -> bool {
    (entry_epoch.0 + 1..=epoch.0).all(|later| {
        closings.iter().find(|closing| closing.epoch.0 == later).is_some_and(|closing| closing.covers(number))
    })
}

/// Steps until the shutdown, then until nothing is left or the limit for draining has passed.
pub(crate) async fn run(mut persister: Persister, shutdown: CancellationToken) {
    let settings = persister.settings.clone();
    let mut idle = Pause::new(settings.poll_min, settings.poll_max);
    let mut failing = Pause::new(settings.poll_max, settings.backoff_max);
    let mut observed_at = Instant::now();
    loop {
        let go_on = match persister.step().await {
            Ok(persisted) => {
                failing.reset();
                if persisted.entries > 0 {
                    idle.reset();
                }
                idle.wait(&shutdown).await
            }
            // Another worker sets the shard up, or recovers it.
            Err(PersistError::Engine(EngineError::ShardRecovering)) => idle.wait(&shutdown).await,
            Err(error) => {
                tracing::warn!(%error, "the persister will try again");
                failing.wait(&shutdown).await
            }
        };
        if observed_at.elapsed().as_secs() >= 1 {
            observed_at = Instant::now();
            persister.observe().await;
        }
        if !go_on {
            break;
        }
    }
    let drain = async { while !matches!(persister.step().await, Ok(Persisted { entries: 0, .. }) | Err(_)) {} };
    if tokio::time::timeout(settings.drain_limit, drain).await.is_err() {
        tracing::info!("stopped before the log was empty; another persister goes on");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_a_sealed_epoch_waits_for_its_closing() {
        let shard = Shard::new(0).expect("in range");
        let closing =
            |epoch, base| Closing { shard, epoch: Epoch(epoch), base, through: base, holes: Vec::new(), void: false };
        let archived = |number, epoch, closings: &[Closing]| is_archived(Epoch(1), number, Epoch(epoch), closings);
        assert!(archived(9, 1, &[]), "not sealed");
        assert!(!archived(9, 2, &[]), "sealed, and nobody knows yet what the next epoch builds on");
        assert!(archived(9, 2, &[closing(2, 9)]));
        assert!(!archived(10, 2, &[closing(2, 9)]), "an orphan");
        assert!(!archived(9, 3, &[closing(2, 9)]), "the third epoch's closing is still to come");
    }
}
