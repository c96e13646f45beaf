//! Acknowledging what is archived for good.

use stampede_archive::{Archive, ArchiveError};
use stampede_domain::{Closing, Epoch, Shard};
use stampede_engine::{Acknowledged, Engine, EngineError, EntryReceipt, LetterChange};

use super::batch::Moving;
use crate::keeping::Letters;

/// Entries that are acknowledged by one script: Redis does nothing else meanwhile.
pub(super) const AT_ONCE: usize = 128;

/// An entry whose facts are kept, and what that makes of dead letters.
pub(super) struct Kept<'a> {
    pub(super) moving: &'a Moving,
    pub(super) letters: Letters,
}

/// What became of acknowledging.
#[derive(Default)]
pub(super) struct Done<'a> {
    /// Entries that were acknowledged.
    pub(super) kept: Vec<&'a Kept<'a>>,
    /// Entries with more dead letters than there may be.
    pub(super) held_back: Vec<&'a Kept<'a>>,
}

/// What the archive says of a shard's epochs after entries were put into it.
pub(super) struct Fence {
    shard: Shard,
    epoch: Epoch,
    /// Those of the epochs since the oldest of the entries'.
    closings: Vec<Closing>,
}

impl Fence {
    /// To be asked for once the facts of these entries are archived.
    pub(super) async fn behind(archive: &dyn Archive, shard: Shard, kept: &[Kept<'_>]) -> Result<Self, ArchiveError> {
        let epoch = archive.epoch(shard).await?;
        let sealed = kept.iter().any(|kept| kept.moving.epoch < epoch);
        let closings = if sealed { archive.closings(shard).await? } else { Vec::new() };
        Ok(Self { shard, epoch, closings })
    }

    /// Acknowledges the entries that are archived for good: those whose epoch is not sealed, or that every closing since
    /// covers.
    pub(super) async fn acknowledge<'a>(&self, engine: &Engine, kept: &'a [Kept<'a>]) -> Result<Done<'a>, EngineError> {
        let (shard, epoch) = (self.shard, self.epoch);
        let archived = |kept: &&Kept<'_>| is_archived(kept.moving.epoch, kept.moving.number, epoch, &self.closings);
        let archived: Vec<&Kept<'_>> = kept.iter().filter(archived).collect();
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
