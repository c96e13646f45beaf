//! Rebuilding shards when somebody asks for it: what a recovery would do, and doing it.
//!
//! A worker recovers a shard that is fenced or damaged by itself. This is the same for whoever wants to see it happen, or to
//! know before; a shard that is sound is left as it is.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use stampede_archive::{Archive, DropStage};
use stampede_domain::{DropId, Epoch, Shard, counts};
use stampede_engine::{DropPresence, Engine, EngineError, ShardInspection};

use crate::WorkerSettings;
use crate::recovery::{Others, Recovery, RecoveryError, RecoveryReport, RecoveryStep, plan_closing};

/// Drops that one read, or one script, deals with.
const DROPS_AT_ONCE: usize = 200;

/// How often a recovery of another process is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Why a shard has to be rebuilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RebuildReason {
    /// Redis holds nothing of it.
    Empty,
    /// Redis was restarted or another one took over, and nobody has recovered the shard since.
    Fenced,
    /// Keys are lost: of the shard, or of this many drops.
    KeysLost {
        /// Drops of which at least one key is missing.
        drops: usize,
    },
}

/// What rebuilding a shard would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RebuildPlan {
    /// The shard.
    pub shard: Shard,
    /// Why; none if it is sound and would be left as it is.
    pub reason: Option<RebuildReason>,
    /// The last entry that Redis has.
    pub number: u64,
    /// Whether what Redis holds would be taken away first. Its log would be kept in the archive.
    pub wipes: bool,
    /// The last entry that would be built on as Redis has it.
    pub base: u64,
    /// The last entry that would be applied from the archive.
    pub through: u64,
    /// Facts that would be applied.
    pub facts: u64,
    /// Drops of the archive.
    pub drops: usize,
    /// Entries between `base` and `through` that the archive lacks.
    pub missing: Vec<RangeInclusive<u64>>,
}

/// What became of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rebuilt {
    /// It was sound, and was left as it is.
    Sound {
        /// The last entry that Redis has.
        number: u64,
    },
    /// It was rebuilt.
    Done(RecoveryReport),
    /// Another process rebuilt it meanwhile.
    ByAnother,
}

/// Rebuilds shards.
pub struct Rebuilder {
    engine: Engine,
    archive: Arc<dyn Archive>,
    settings: WorkerSettings,
}

/// What was seen of a shard.
struct Look {
    inspection: ShardInspection,
    /// Drops of the archive, and of those the ones that Redis should have and has not.
    drops: usize,
    damaged: usize,
}

impl Rebuilder {
    /// A rebuilder for shards of the engine's deployment.
    pub const fn new(engine: Engine, archive: Arc<dyn Archive>, settings: WorkerSettings) -> Self {
        Self { engine, archive, settings }
    }

    /// What [`Self::rebuild`] would do. Nothing is changed, in Redis or in the archive.
    ///
    /// # Errors
    /// [`RecoveryError`] if Redis or the archive failed.
    pub async fn plan(&self, shard: Shard) -> Result<RebuildPlan, RecoveryError> {
        let look = self.look_at(shard).await?;
        let number = look.inspection.number.unwrap_or_default();
        let mut plan = RebuildPlan {
            shard,
            reason: look.reason(),
            number,
            wipes: false,
            base: number,
            through: number,
            facts: 0,
            drops: look.drops,
            missing: Vec::new(),
        };
        if plan.reason.is_none() {
            return Ok(plan);
        }
        let closings = self.archive.closings(shard).await?;
        let line = look.inspection.line.unwrap_or_default();
        let later = closings.iter().filter(|closing| closing.epoch > line);
        let on_the_line = later.into_iter().all(|closing| closing.covers_all_up_to(number));
        let is_prefix = look.inspection.is_whole() && on_the_line && look.damaged == 0;
        plan.wipes = !is_prefix && !look.inspection.is_empty();
        plan.base = if is_prefix { number } else { 0 };
        let epoch = Epoch(self.archive.epoch(shard).await?.0.saturating_add(1));
        let counted = |epoch, number| counts(epoch, number, &closings);
        let planned = plan_closing(&*self.archive, shard, epoch, plan.base, counted).await?;
        plan.through = planned.closing.through;
        plan.facts = planned.facts;
        plan.missing = planned.closing.holes;
        Ok(plan)
    }

    /// Rebuilds a shard unless it is sound. One that another process is rebuilding is left to it as long as it gets on.
    /// `progress` is told after each step which one comes next, and what was done so far.
    ///
    /// # Errors
    /// [`RecoveryError`] if Redis or the archive failed; whoever calls this again goes on from there.
    pub async fn rebuild(
        &self,
        shard: Shard,
        mut progress: impl FnMut(RecoveryStep, &RecoveryReport),
    ) -> Result<Rebuilt, RecoveryError> {
        let mut others = Others::new(self.settings.takeover_after);
        let mut met_another = false;
        loop {
            let look = self.look_at(shard).await?;
            if look.reason().is_none() {
                let number = look.inspection.number.unwrap_or_default();
                return Ok(if met_another { Rebuilt::ByAnother } else { Rebuilt::Sound { number } });
            }
            if others.are_recovering(shard, &look.inspection) {
                met_another = true;
                tokio::time::sleep(LOOK_AGAIN).await;
                continue;
            }
            let (engine, archive) = (self.engine.clone(), Arc::clone(&self.archive));
            let mut recovery = Recovery::new(engine, archive, shard, look.inspection.token);
            let finished = loop {
                match recovery.step().await {
                    Ok(RecoveryStep::Done) => break true,
                    Ok(next) => progress(next, recovery.report()),
                    Err(RecoveryError::Engine(EngineError::Superseded)) => break false,
                    Err(error) => return Err(error),
                }
            };
            if finished {
                return Ok(Rebuilt::Done(recovery.report().clone()));
            }
            met_another = true;
        }
    }

    async fn look_at(&self, shard: Shard) -> Result<Look, RecoveryError> {
        let inspection = self.engine.inspect_shard(shard).await?;
        let (mut drops, mut damaged) = (0, 0);
        let mut after: Option<DropId> = None;
        loop {
            let records = self.archive.drops_of_shard(shard, after.as_ref(), DROPS_AT_ONCE).await?;
            let Some(last) = records.last() else { break };
            after = Some(last.definition.id.clone());
            let ids: Vec<DropId> = records.iter().map(|record| record.definition.id.clone()).collect();
            let presence = self.engine.inspect_drops(shard, &ids).await?;
            let lacks = |(record, presence): &(&stampede_archive::DropRecord, &DropPresence)| match presence {
                DropPresence::Present => false,
                DropPresence::Damaged => true,
                // A drop that is open has been in Redis, unless Redis is older than that.
                DropPresence::Absent => record.stage == DropStage::Opened && inspection.is_trusted(),
            };
            damaged += records.iter().zip(&presence).filter(lacks).count();
            drops += records.len();
        }
        Ok(Look { inspection, drops, damaged })
    }
}

impl Look {
    fn reason(&self) -> Option<RebuildReason> {
        if self.inspection.is_empty() {
            Some(RebuildReason::Empty)
        } else if self.damaged > 0 || !self.inspection.is_whole() {
            Some(RebuildReason::KeysLost { drops: self.damaged })
        } else if !self.inspection.is_trusted() {
            Some(RebuildReason::Fenced)
        } else {
            None
        }
    }
}
