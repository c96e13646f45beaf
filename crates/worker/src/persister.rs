//! The persister: moves facts from the logs into the archive.
//!
//! Reads by consumer group, waits until Redis keeps what it read as its drops promise (so that the persister of a primary
//! that was cut off archives nothing), writes a batch, waits for the archive's own durable acknowledgement, then
//! acknowledges and trims. What fails in between stays pending and is delivered again; the archive recognises what it has.
//! It adds nothing of its own, so entries may reach the archive in any order. A fact that the archive refuses for good
//! becomes a dead letter.
//!
//! What a batch costs hardly depends on its size: the read, the transaction, the acknowledgement. So it lets entries gather for
//! a moment between two batches, unless there is more than one batch takes.

mod acknowledging;
mod batch;
mod reading;
mod traces;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rand::RngExt;
use stampede_archive::{Archive, ArchiveError};
use stampede_domain::{Fact, LogId, Malformed, Shard, Timestamp};
use stampede_engine::{Engine, EngineError};
use tokio_util::sync::CancellationToken;

use self::acknowledging::{AT_ONCE, Fence, Kept};
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
            let fence = Fence::behind(&*self.archive, shard, &kept).await?;
            for part in kept.chunks(AT_ONCE) {
                let done = match fence.acknowledge(&self.engine, part).await {
                    Ok(done) => done,
                    // The fence: the entries stay pending, and are acknowledged when the shard is trusted again.
                    Err(error) => {
                        tracing::debug!(%shard, %error, "archived entries could not be acknowledged yet");
                        state.draining = Some(LogId::default());
                        break;
                    }
                };
                for kept in &done.kept {
                    state.finished(kept);
                    traces::record(kept.moving, began_at, moving.len());
                    acknowledged_facts += kept.moving.facts.len();
                }
                entries += done.kept.len();
                state.report_held_back(&done.held_back);
                if done.kept.len() + done.held_back.len() < part.len() {
                    state.draining = Some(LogId::default());
                }
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
                // Where there was more than a batch, there is no need to let entries gather.
                if persisted.facts >= settings.batch_facts {
                    !shutdown.is_cancelled()
                } else {
                    idle.wait(shutdown).await
                }
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
