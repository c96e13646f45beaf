//! The persister: moves facts from the logs into the archive.
//!
//! Reads by consumer group, waits until Redis keeps what it read as its drops promise (so that the persister of a primary
//! that was cut off archives nothing), writes a batch, waits for the archive's own durable acknowledgement, then
//! acknowledges and trims. What fails in between stays pending and is delivered again; the archive recognises what it has.
//! It adds nothing of its own, so entries may reach the archive in any order. A fact that the archive refuses for good
//! becomes a dead letter.

mod batch;
mod traces;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::join_all;
use rand::RngExt;
use stampede_archive::{Archive, ArchiveError};
use stampede_domain::{Closing, Epoch, Fact, LogId, Malformed, Shard, Timestamp};
use stampede_engine::{Acknowledged, Engine, EngineError, EntryReceipt, LetterChange};
use tokio_util::sync::CancellationToken;

use self::batch::{Batch, Moving};
use crate::WorkerSettings;
use crate::keeping::{Letters, Refused, keep};
use crate::looping::Pause;
use crate::metrics;

/// How often entries are looked for that others handed over when they stopped, or left behind for too long.
const CLAIM_POLL: Duration = Duration::from_secs(1);

/// How long handing over may take at the end, should Redis not answer.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(2);

/// One process's persister, for all shards.
pub struct Persister {
    engine: Engine,
    archive: Arc<dyn Archive>,
    settings: WorkerSettings,
    consumer: String,
    shards: Vec<ShardState>,
    claimed_at: Instant,
    looked_again_at: Instant,
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

/// An entry whose facts are kept, and what that makes of dead letters.
struct Kept<'a> {
    moving: &'a Moving,
    letters: Letters,
}

impl Persister {
    /// A persister with a consumer name of its own.
    pub fn new(engine: Engine, archive: Arc<dyn Archive>, settings: WorkerSettings) -> Self {
        let consumer = format!("{}-{:016x}", std::process::id(), rand::rng().random::<u64>());
        let shards = engine
            .shards()
            .map(|shard| ShardState { shard, draining: Some(LogId::default()), reported: HashSet::new() })
            .collect();
        let now = Instant::now();
        Self { engine, archive, settings, consumer, shards, claimed_at: now, looked_again_at: now }
    }

    /// Moves at most one batch of each shard, all in one go.
    ///
    /// # Errors
    /// [`PersistError`] if the archive or Redis failed: the same entries come again with the next step.
    pub async fn step(&mut self) -> Result<Persisted, PersistError> {
        if self.claimed_at.elapsed() >= self.settings.claim_idle.min(CLAIM_POLL) {
            self.claimed_at = Instant::now();
            self.take_over().await?;
        }
        let began_at = SystemTime::now();
        let batch = self.read().await?;
        let read = batch.entries.len();
        if read == 0 {
            return Ok(Persisted::default());
        }
        let batch = self.confirm(batch).await?;
        match self.archive_and_acknowledge(batch, began_at).await {
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
                    report_lost(state.shard, &claim.deleted);
                    let unreadable = batch.add(state.shard, claim);
                    state.report_unreadable(&unreadable);
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
        batch.leave_out(&failed);
        match error {
            Some(error) if batch.entries.is_empty() => Err(error.into()),
            _ => Ok(batch),
        }
    }

    async fn archive_and_acknowledge(
        &mut self,
        batch: Batch,
        began_at: SystemTime,
    ) -> Result<(usize, usize), PersistError> {
        let Batch { entries: moving, facts, .. } = batch;
        let refused = keep(&*self.archive, &facts).await.inspect_err(|_| metrics::archive_failed())?;
        metrics::archived(facts.len() - refused.len());
        let now_ms = Timestamp::now().as_ms();
        for moving in &moving {
            metrics::persister_lag(now_ms - moving.receipt.id.time().as_ms());
        }
        let (mut entries, mut acknowledged_facts) = (0, 0);
        for state in &mut self.shards {
            let mut kept = Vec::new();
            let shard = state.shard;
            for moving in moving.iter().filter(|moving| moving.shard == shard) {
                kept.extend(state.letters(moving, &facts, &refused).map(|letters| Kept { moving, letters }));
            }
            if kept.is_empty() {
                continue;
            }
            match acknowledge(&self.engine, &*self.archive, state.shard, &kept).await {
                Ok(done) => {
                    for kept in &done.kept {
                        state.finished(kept);
                        traces::record(kept.moving, began_at, moving.len());
                        acknowledged_facts += kept.moving.facts.len();
                    }
                    entries += done.kept.len();
                    state.report_held_back(&done.held_back);
                    if done.kept.len() + done.held_back.len() < kept.len() {
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

    /// Takes over what other consumers handed over or left pending for too long, and forgets the names of those that are gone.
    async fn take_over(&mut self) -> Result<(), PersistError> {
        let (idle, limit) = (self.settings.claim_idle, self.settings.batch_entries);
        let look_again = self.looked_again_at.elapsed() >= idle;
        if look_again {
            self.looked_again_at = Instant::now();
        }
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
                tracing::info!(shard = %state.shard, entries = claim.entries.len(), "took over entries of another consumer");
            }
            // Now and then also looks again at what could not be archived before.
            if look_again || !claim.entries.is_empty() {
                state.draining = Some(LogId::default());
            }
            if look_again {
                let _ = self.engine.forget_consumers(state.shard, self.settings.forget_idle).await;
            }
        }
        Ok(())
    }

    /// Leaves what is pending under our name to whoever claims next, at once: we will not read any more. What cannot be
    /// handed over now is claimed after its time, like a dead consumer's.
    async fn hand_over(&self) {
        for shard in self.engine.shards() {
            match self.engine.hand_over(shard, &self.consumer).await {
                Ok(0) => {}
                Ok(entries) => {
                    metrics::handed_over(entries);
                    tracing::info!(%shard, entries, "handed entries over to another persister");
                }
                Err(error) => tracing::debug!(%shard, %error, "entries could not be handed over"),
            }
        }
    }
}

impl ShardState {
    /// What an entry makes of dead letters; none if one of its facts is not kept, which is reported once.
    fn letters(&mut self, moving: &Moving, facts: &[Fact], refused: &HashMap<usize, Refused>) -> Option<Letters> {
        let places = moving.facts.clone();
        for (place, fact) in places.clone().zip(&facts[places.clone()]) {
            if let Some(Refused::NotKept(reason)) = refused.get(&place)
                && self.reported.insert(moving.receipt.id)
            {
                metrics::refused(1);
                tracing::error!(fact = %fact.id(), reason, "the archive refuses a fact and a note of it; its entry stays in the log");
            }
        }
        Letters::of(moving.receipt.id, places.map(|place| (&facts[place], refused.get(&place))))
    }

    /// Entries that cannot be read stay pending; each is reported once.
    fn report_unreadable(&mut self, unreadable: &[(LogId, Malformed)]) {
        for (entry, error) in unreadable {
            if self.reported.insert(*entry) {
                metrics::refused(1);
                tracing::error!(shard = %self.shard, %entry, %error, "a log entry cannot be read; it stays in the log");
            }
        }
    }

    /// An entry was acknowledged.
    fn finished(&mut self, kept: &Kept<'_>) {
        self.reported.remove(&kept.moving.receipt.id);
        let Letters { changes, replayed, compensated } = &kept.letters;
        metrics::letters_changed(kept.letters.written(), *replayed, *compensated);
        for letter in changes.iter().filter_map(|change| change.letter.as_ref()) {
            tracing::error!(fact = %letter.fact.id(), reason = letter.reason, "the archive refuses a fact for good: it is a dead letter now; see `stampede dead-letters`");
        }
    }

    /// Entries were not acknowledged because there are too many dead letters.
    fn report_held_back(&mut self, held_back: &[&Kept<'_>]) {
        for kept in held_back {
            if self.reported.insert(kept.moving.receipt.id) {
                metrics::refused(kept.letters.written());
                tracing::error!(shard = %self.shard, entry = %kept.moving.receipt.id, "there are as many dead letters as there may be; an entry with more stays in the log");
            }
        }
    }
}

fn report_lost(shard: Shard, ids: &[LogId]) {
    if !ids.is_empty() {
        metrics::lost_entries(ids.len());
        tracing::error!(%shard, ?ids, "pending entries no longer exist: something other than Stampede trims the log");
    }
}

/// What became of acknowledging.
#[derive(Default)]
struct Done<'a> {
    /// Entries that were acknowledged.
    kept: Vec<&'a Kept<'a>>,
    /// Entries with more dead letters than there may be.
    held_back: Vec<&'a Kept<'a>>,
}

/// Acknowledges the entries that are archived for good: those whose epoch is not sealed, or that every closing since covers.
async fn acknowledge<'a>(
    engine: &Engine,
    archive: &dyn Archive,
    shard: Shard,
    kept: &'a [Kept<'a>],
) -> Result<Done<'a>, PersistError> {
    let epoch = archive.epoch(shard).await?;
    let sealed = kept.iter().any(|kept| kept.moving.epoch < epoch);
    let closings = if sealed { archive.closings(shard).await? } else { Vec::new() };
    let archived: Vec<&Kept<'_>> =
        kept.iter().filter(|kept| is_archived(kept.moving.epoch, kept.moving.number, epoch, &closings)).collect();
    if archived.is_empty() {
        return Ok(Done::default());
    }
    if send_receipts(engine, shard, epoch, &archived).await? == Acknowledged::TooManyLetters {
        let (held_back, rest): (Vec<_>, Vec<_>) = archived.into_iter().partition(|kept| kept.letters.written() > 0);
        if !rest.is_empty() {
            send_receipts(engine, shard, epoch, &rest).await?;
        }
        return Ok(Done { kept: rest, held_back });
    }
    Ok(Done { kept: archived, held_back: Vec::new() })
}

async fn send_receipts(
    engine: &Engine,
    shard: Shard,
    epoch: Epoch,
    kept: &[&Kept<'_>],
) -> Result<Acknowledged, EngineError> {
    let receipts: Vec<EntryReceipt> = kept.iter().map(|kept| kept.moving.receipt).collect();
    let letters: Vec<LetterChange> = kept.iter().flat_map(|kept| kept.letters.changes.iter().cloned()).collect();
    engine.acknowledge_with_letters(shard, epoch, &receipts, &letters).await
}

/// Whether an entry of `entry_epoch` belongs to the history now that `epoch` was raised: each epoch since has a closing,
/// and all of them cover it. While a closing is missing, nobody can know.
fn is_archived(entry_epoch: Epoch, number: u64, epoch: Epoch, closings: &[Closing]) -> bool {
    (entry_epoch.0 + 1..=epoch.0).all(|later| {
        closings.iter().find(|closing| closing.epoch.0 == later).is_some_and(|closing| closing.covers(number))
    })
}

/// Steps until the shutdown, then until nothing is left, a step fails, or the limit for draining has passed. What is left is
/// handed over.
pub(crate) async fn run(mut persister: Persister, shutdown: CancellationToken) {
    let limit = persister.settings.drain_limit;
    let too_late = async {
        shutdown.cancelled().await;
        tokio::time::sleep(limit).await;
    };
    // A step may be cut off anywhere: what it has read stays pending, and what it has archived is recognised.
    tokio::select! {
        () = step_and_drain(&mut persister, &shutdown) => {}
        () = too_late => tracing::info!("stopped before the log was empty; another persister goes on"),
    }
    if tokio::time::timeout(HAND_OVER_LIMIT, persister.hand_over()).await.is_err() {
        tracing::info!("Redis does not answer; what is pending is taken over later");
    }
}

async fn step_and_drain(persister: &mut Persister, shutdown: &CancellationToken) {
    let settings = persister.settings.clone();
    let mut idle = Pause::new(settings.poll_min, settings.poll_max);
    let mut failing = Pause::new(settings.poll_max, settings.backoff_max);
    loop {
        let go_on = match persister.step().await {
            Ok(persisted) => {
                failing.reset();
                if persisted.entries > 0 {
                    idle.reset();
                }
                idle.wait(shutdown).await
            }
            // Another worker sets the shard up, or recovers it; or it is on its way to another server.
            Err(PersistError::Engine(EngineError::ShardRecovering | EngineError::ShardMoving)) => {
                idle.wait(shutdown).await
            }
            Err(error) => {
                tracing::warn!(%error, "the persister will try again");
                failing.wait(shutdown).await
            }
        };
        if !go_on {
            break;
        }
    }
    while !matches!(persister.step().await, Ok(Persisted { entries: 0, .. }) | Err(_)) {}
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
