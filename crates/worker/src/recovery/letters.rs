//! Dead letters after a restart: the archive's notes say which there are.

use stampede_archive::{Archive, FactRange};
use stampede_domain::{Closing, DeadLetter, Epoch, Fact, FactId, LogId, counts};
use stampede_engine::{Engine, LetterNote, RecoveryGuard};

use super::RecoveryError;
use super::kept_facts::cursor;
use crate::keeping::is_given_back;

/// Notes that one read of the archive, and one script, deals with.
const NOTES_AT_ONCE: usize = 200;

/// What was done about dead letters.
pub(super) struct Restored {
    /// Letters that came back.
    pub(super) letters: u64,
    /// The highest log id among the notes.
    pub(super) highest: LogId,
}

/// Goes through all notes of the shard and makes Redis's dead letters what they say.
pub(super) async fn restore_letters(
    engine: &Engine,
    archive: &dyn Archive,
    guard: &RecoveryGuard,
    closings: &[Closing],
) -> Result<Restored, RecoveryError> {
    let all = FactRange { from_epoch: Epoch(0), beyond_number: 0 };
    let mut restored = Restored { letters: 0, highest: LogId::default() };
    let mut after = None;
    loop {
        let notes = archive.dead_letters(guard.shard, all, after, NOTES_AT_ONCE).await?;
        let Some(last) = notes.last() else { return Ok(restored) };
        after = Some(cursor(&last.fact));
        let ids: Vec<FactId> = notes.iter().map(|letter| letter.fact.id()).collect();
        let archived = archive.facts_by_ids(&ids).await?;
        let mut seen = Vec::with_capacity(notes.len());
        for letter in notes {
            restored.highest = restored.highest.max(letter.fact.position.log_id);
            let settled = is_settled(archive, &letter, &archived, closings).await?;
            seen.push(LetterNote { letter, settled });
        }
        restored.letters += engine.recovery_restore_letters(guard, &seen).await?;
    }
}

/// Whether nothing is left to do about a note: its fact was archived after all, its order given back, or its history given up.
async fn is_settled(
    archive: &dyn Archive,
    letter: &DeadLetter,
    archived: &[Fact],
    closings: &[Closing],
) -> Result<bool, RecoveryError> {
    let fact = &letter.fact;
    if archived.contains(fact) || !counts(fact.epoch, fact.number, closings) {
        return Ok(true);
    }
    match fact.id() {
        FactId::Order(id) => Ok(is_given_back(archive, id).await?),
        FactId::Event { .. } => Ok(false),
    }
}
