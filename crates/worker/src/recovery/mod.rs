//! Recovery: what has to happen before a Redis process that restarted, or took over, may sell again.
//!
//! Redis's state is a prefix of the history, and the archive may know more. A recovery raises the shard's epoch in the
//! archive, which seals the older ones; says once and for all, in a closing, which of their entries it builds on; applies
//! those that Redis lost; and adopts the process. It goes in steps, each of which another recovery can follow: one that
//! dies is taken over, one that wakes up late is refused.

mod history;
mod kept_facts;
mod letters;
mod others;
mod plan;
mod watch;

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use stampede_archive::{Archive, ArchiveError, DropRecord, DropStage, OrderFilter};
use stampede_domain::{Closing, DropId, Epoch, FactId, LogId, Shard, counts};
use stampede_engine::{DropPresence, Engine, EngineError, HistoryChunk, Purges, RecoveryGuard, ShardLine};

use history::History;
pub(crate) use kept_facts::{cursor, kept_facts};
use letters::restore_letters;
pub(crate) use others::Others;
pub(crate) use plan::plan_closing;

use crate::keeping::{Refused, facts_of, keep};

pub use watch::Watchman;
pub(crate) use watch::run;

/// Drops of a shard that one read, or one script, deals with.
const DROPS_AT_ONCE: usize = 200;

/// Orders that one read looks through for one of this shard.
const ORDERS_AT_ONCE: usize = 1_000;

/// Entries that one read of a log takes while a recovery keeps them.
const SALVAGE_ENTRIES: u64 = 100;

/// Why a recovery stopped. It is begun again from the start, and goes on where Redis stands.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The archive failed. A shard stays fenced while the archive is away.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Redis failed, or the recovery was superseded.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// What the archive holds contradicts itself.
    #[error("the archive contradicts itself: {0}")]
    Contradiction(String),
    /// What Redis's log holds can be kept nowhere, so Redis must not be wiped.
    #[error("the archive keeps neither the fact {0} of the log nor a note of it; nothing was wiped")]
    NotKept(FactId),
}

/// The steps of a recovery, as they follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoveryStep {
    /// Raise the epoch in the archive, and void those that were given up.
    Raise,
    /// Fence the shard in Redis.
    Begin,
    /// Compare what Redis holds with the history.
    Compare,
    /// Keep the log's entries and take the shard back to nothing, because it holds no prefix of the history.
    Wipe,
    /// Note in Redis that it holds a prefix of the history.
    Align,
    /// Decide what to build on, and close the epochs before this one.
    Close,
    /// Apply a chunk of what Redis lost.
    Apply,
    /// Make the dead letters what the archive's notes say.
    Letters,
    /// Trust the process and open the fence.
    Adopt,
    /// Nothing is left to do.
    Done,
}

/// What a recovery found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// The epoch that began.
    pub epoch: Epoch,
    /// The last entry that Redis had.
    pub base: u64,
    /// The last entry that was applied from the archive.
    pub through: u64,
    /// Entries between the two that the archive lacked.
    pub holes: u64,
    /// Which ones.
    pub missing: Vec<RangeInclusive<u64>>,
    /// Facts that are to be applied.
    pub planned_facts: u64,
    /// Facts that were applied, with those of purged drops that their tombstones stand for.
    pub applied_facts: u64,
    /// Drops that were put into Redis again.
    pub created_drops: u64,
    /// Dead letters that Redis had lost and that came back.
    pub restored_letters: u64,
    /// Whether what Redis held was taken away first.
    pub wiped: bool,
}

/// One recovery of one shard.
pub struct Recovery {
    engine: Engine,
    archive: Arc<dyn Archive>,
    guard: RecoveryGuard,
    next: RecoveryStep,
    line: ShardLine,
    closings: Vec<Closing>,
    drops: HashMap<DropId, DropRecord>,
    present: HashSet<DropId>,
    history: Option<History>,
    /// Drops of which only the tombstone is applied.
    purges: Purges,
    /// The highest log id among the notes of refused facts.
    highest_noted: LogId,
    report: RecoveryReport,
}

impl Recovery {
    /// A recovery of `shard` in the Redis process that has this token. Nothing happens before the first step.
    pub fn new(engine: Engine, archive: Arc<dyn Archive>, shard: Shard, token: String) -> Self {
        let line = ShardLine {
            trusted_epoch: Epoch(0),
            line: Epoch(0),
            number: 0,
            last_id: LogId::default(),
            complete: false,
        };
        Self {
            engine,
            archive,
            guard: RecoveryGuard { shard, epoch: Epoch(0), token },
            next: RecoveryStep::Raise,
            line,
            closings: Vec::new(),
            drops: HashMap::new(),
            present: HashSet::new(),
            history: None,
            purges: Purges::new(),
            highest_noted: LogId::default(),
            report: RecoveryReport::default(),
        }
    }

    /// Takes the next step and says which one comes then.
    ///
    /// # Errors
    /// [`RecoveryError`]: this recovery is over; a new one may begin.
    pub async fn step(&mut self) -> Result<RecoveryStep, RecoveryError> {
        self.next = match self.next {
            RecoveryStep::Raise => self.raise().await?,
            RecoveryStep::Begin => self.begin().await?,
            RecoveryStep::Compare => self.compare().await?,
            RecoveryStep::Wipe => self.wipe().await?,
            RecoveryStep::Align => self.align().await?,
            RecoveryStep::Close => self.close().await?,
            RecoveryStep::Apply => self.apply().await?,
            RecoveryStep::Letters => self.restore_letters().await?,
            RecoveryStep::Adopt => self.adopt().await?,
            RecoveryStep::Done => RecoveryStep::Done,
        };
        Ok(self.next)
    }

    /// Takes all steps.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub async fn finish(mut self) -> Result<RecoveryReport, RecoveryError> {
        while self.step().await? != RecoveryStep::Done {}
        Ok(self.report)
    }

    /// What it found and did so far.
    pub const fn report(&self) -> &RecoveryReport {
        &self.report
    }

    const fn shard(&self) -> Shard {
        self.guard.shard
    }

    async fn raise(&mut self) -> Result<RecoveryStep, RecoveryError> {
        self.guard.epoch = self.archive.raise_epoch(self.shard()).await?;
        self.report.epoch = self.guard.epoch;
        self.closings = self.archive.closings(self.shard()).await?;
        let closed: HashSet<Epoch> = self.closings.iter().map(|closing| closing.epoch).collect();
        for epoch in (1..self.guard.epoch.0).map(Epoch).filter(|epoch| !closed.contains(epoch)) {
            // The first closing of an epoch wins: if its recovery was faster than we thought, we get its own.
            let closing = self.archive.close_epoch(&Closing::void(self.shard(), epoch)).await?;
            self.closings.push(closing);
        }
        Ok(RecoveryStep::Begin)
    }

    async fn begin(&mut self) -> Result<RecoveryStep, RecoveryError> {
        self.line = self.engine.begin_recovery(&self.guard).await?;
        Ok(RecoveryStep::Compare)
    }

    /// Redis holds a prefix of the history unless it went past something that a later epoch does not build on, or keys
    /// are missing.
    async fn compare(&mut self) -> Result<RecoveryStep, RecoveryError> {
        let later = self.closings.iter().filter(|closing| closing.epoch > self.line.line);
        let on_the_line = later.into_iter().all(|closing| closing.covers_all_up_to(self.line.number));
        self.load_drops().await?;
        let ids: Vec<DropId> = self.drops.keys().cloned().collect();
        let mut damaged = false;
        for chunk in ids.chunks(DROPS_AT_ONCE) {
            let presence = self.engine.recovery_presence(&self.guard, chunk).await?;
            for (id, presence) in chunk.iter().zip(presence) {
                damaged |= presence == DropPresence::Damaged;
                match presence {
                    DropPresence::Present => {
                        self.present.insert(id.clone());
                    }
                    DropPresence::Absent => damaged |= self.was_sold(id).await?,
                    DropPresence::Damaged => {}
                }
            }
        }
        let sound = self.line.complete && on_the_line && !damaged;
        Ok(if sound { RecoveryStep::Align } else { RecoveryStep::Wipe })
    }

    /// Whether Redis, at the entry where it stands, must have had a drop that it does not have: the archive knows an order of
    /// it up to there. To open it as new would sell its units again.
    async fn was_sold(&self, id: &DropId) -> Result<bool, RecoveryError> {
        if self.line.number == 0 {
            return Ok(false);
        }
        let filter = OrderFilter { drop_id: Some(id.clone()), user_id: None };
        let striped = self.drops.get(id).is_some_and(|record| record.definition.stripes.is_striped());
        let at_once = if striped { ORDERS_AT_ONCE } else { 1 };
        let mut before = None;
        loop {
            let newest = self.archive.orders(&filter, before, at_once).await?;
            // Orders of other stripes say nothing of this one.
            if let Some(order) = newest.iter().find(|order| order.order.id.shard() == self.shard()) {
                return Ok(order.number <= self.line.number);
            }
            before = newest.last().map(|order| order.order.id);
            if newest.len() < at_once || before.is_none() {
                return Ok(false);
            }
        }
    }

    async fn load_drops(&mut self) -> Result<(), RecoveryError> {
        let mut after: Option<DropId> = None;
        loop {
            let records = self.archive.drops_of_shard(self.shard(), after.as_ref(), DROPS_AT_ONCE).await?;
            let Some(last) = records.last() else { return Ok(()) };
            after = Some(last.definition.id.clone());
            self.drops.extend(records.into_iter().map(|record| (record.definition.id.clone(), record)));
        }
    }

    /// What the log holds is put into the archive first: it may be confirmed, or it is evidence.
    async fn wipe(&mut self) -> Result<RecoveryStep, RecoveryError> {
        // A cluster lets no script make a key of a slot on its way, not even one that the script has just deleted.
        if self.engine.is_moving(self.shard()).await? {
            return Err(EngineError::ShardMoving.into());
        }
        tracing::warn!(shard = %self.shard(), number = self.line.number, "what Redis holds is no prefix of the history; the shard is rebuilt from the archive");
        let mut after = None;
        loop {
            let entries = self.engine.read_untrusted_log(self.shard(), after, SALVAGE_ENTRIES).await?;
            let Some(last) = entries.last() else { break };
            after = Some(last.id);
            let facts: Vec<_> = entries.iter().filter_map(|entry| facts_of(entry).ok()).flatten().collect();
            for (place, refused) in keep(&*self.archive, &facts).await? {
                if let Refused::NotKept(reason) = refused {
                    tracing::error!(shard = %self.shard(), fact = %facts[place].id(), reason, "a fact of the log is kept nowhere");
                    return Err(RecoveryError::NotKept(facts[place].id()));
                }
            }
        }
        let ids: Vec<DropId> = self.drops.keys().cloned().collect();
        for chunk in ids.chunks(DROPS_AT_ONCE) {
            self.engine.recovery_wipe(&self.guard, chunk).await?;
        }
        self.engine.recovery_reset(&self.guard).await?;
        self.present.clear();
        self.line.number = 0;
        self.line.last_id = LogId::default();
        self.report.wiped = true;
        Ok(RecoveryStep::Align)
    }

    async fn align(&mut self) -> Result<RecoveryStep, RecoveryError> {
        self.engine.recovery_align(&self.guard, self.line.number).await?;
        Ok(RecoveryStep::Close)
    }

    async fn close(&mut self) -> Result<RecoveryStep, RecoveryError> {
        let counted = |epoch, number| counts(epoch, number, &self.closings);
        let (shard, epoch) = (self.guard.shard, self.guard.epoch);
        let plan = plan_closing(&*self.archive, shard, epoch, self.line.number, counted).await?;
        let closing = plan.closing;
        let stored = self.archive.close_epoch(&closing).await?;
        if stored != closing {
            // A later recovery gave this epoch up.
            return Err(EngineError::Superseded.into());
        }
        self.report.base = closing.base;
        self.report.through = closing.through;
        self.report.holes = closing.holes.iter().map(|hole| hole.end() - hole.start() + 1).sum();
        self.report.missing = closing.holes.clone();
        self.report.planned_facts = plan.facts;
        self.purges = plan.purges;
        self.history = Some(History::new(self.shard(), &closing));
        self.closings.push(closing);
        Ok(RecoveryStep::Apply)
    }

    async fn apply(&mut self) -> Result<RecoveryStep, RecoveryError> {
        let Some(history) = &mut self.history else { return Ok(RecoveryStep::Letters) };
        let facts = history.next_chunk(&*self.archive, &self.closings).await?;
        if facts.is_empty() {
            return Ok(RecoveryStep::Letters);
        }
        // A drop whose opening is in a hole was opened all the same: the archive's record says how.
        let mut create = Vec::new();
        for fact in facts.iter().filter(|fact| !HistoryChunk::is_purged(&self.purges, fact)) {
            if self.present.insert(fact.drop_id.clone()) {
                let record = self.drops.get(&fact.drop_id);
                let record = record.ok_or_else(|| RecoveryError::Contradiction(format!("no drop {}", fact.drop_id)))?;
                create.push(&record.definition);
            }
        }
        self.report.created_drops += create.len() as u64;
        self.report.applied_facts += facts.len() as u64;
        let chunk = HistoryChunk { create, facts: &facts, purges: Some(&self.purges) };
        let applied = self.engine.recovery_apply(&self.guard, self.line.number, self.line.last_id, &chunk).await?;
        (self.line.number, self.line.last_id) = applied;
        Ok(RecoveryStep::Apply)
    }

    async fn restore_letters(&mut self) -> Result<RecoveryStep, RecoveryError> {
        let restored = restore_letters(&self.engine, &*self.archive, &self.guard, &self.closings).await?;
        self.report.restored_letters = restored.letters;
        self.highest_noted = restored.highest;
        Ok(RecoveryStep::Adopt)
    }

    async fn adopt(&mut self) -> Result<RecoveryStep, RecoveryError> {
        let missing: Vec<_> = self
            .drops
            .values()
            .filter(|record| record.stage == DropStage::Opened && !self.present.contains(&record.definition.id))
            .map(|record| &record.definition)
            .collect();
        for create in missing.chunks(DROPS_AT_ONCE) {
            self.report.created_drops += create.len() as u64;
            let chunk = HistoryChunk { create: create.to_vec(), ..HistoryChunk::default() };
            self.engine.recovery_apply(&self.guard, self.line.number, self.line.last_id, &chunk).await?;
        }
        let highest = self.archive.highest_log_id(self.shard()).await?.unwrap_or_default();
        let highest = highest.max(self.highest_noted).max(self.line.last_id);
        self.engine.recovery_adopt(&self.guard, self.line.number, highest).await?;
        Ok(RecoveryStep::Done)
    }
}
