//! The entries that a closing says are to be applied, read from the archive in chunks.

use stampede_archive::{Archive, FactCursor, FactRange};
use stampede_domain::{Closing, Epoch, Fact, Shard, counts};

use super::RecoveryError;
use super::kept_facts::{cursor, kept_facts};

/// Facts that one read of the archive takes. More than the most that one entry can hold, so that every read ends at least
/// one entry.
const FACTS_AT_ONCE: usize = 2_048;

/// Facts that one script applies; an entry of more goes alone. Redis serves nobody else meanwhile, so it is some
/// milliseconds' worth.
const FACTS_PER_SCRIPT: usize = 1_024;

pub(super) struct History {
    shard: Shard,
    closing: Closing,
    after: Option<FactCursor>,
    /// Facts that were read and not handed out; the last entry of them may go on in the archive.
    read: Vec<Fact>,
    ended: bool,
}

impl History {
    pub(super) fn new(shard: Shard, closing: &Closing) -> Self {
        Self { shard, closing: closing.clone(), after: None, read: Vec::new(), ended: false }
    }

    /// The next whole entries, in order; none at the end. What reached the archive after the closing was written is in its
    /// holes or beyond it, and is passed over.
    pub(super) async fn next_chunk(
        &mut self,
        archive: &dyn Archive,
        closings: &[Closing],
    ) -> Result<Vec<Fact>, RecoveryError> {
        let range = FactRange { from_epoch: Epoch(0), beyond_number: self.closing.base };
        loop {
            let whole = self.whole_entries();
            if whole > 0 {
                return Ok(self.read.drain(..whole).collect());
            }
            if self.ended {
                return Ok(Vec::new());
            }
            let facts = kept_facts(archive, self.shard, range, self.after, FACTS_AT_ONCE).await?;
            match facts.last() {
                Some(last) => self.after = Some(cursor(last)),
                None => self.ended = true,
            }
            let applies = |fact: &Fact| self.closing.covers(fact.number) && counts(fact.epoch, fact.number, closings);
            self.read.extend(facts.into_iter().filter(applies));
        }
    }

    /// How many of the facts that were read make whole entries for one script.
    fn whole_entries(&self) -> usize {
        let mut end = 0;
        while let Some(fact) = self.read.get(end) {
            let next = end + usize::from(fact.entry_facts);
            if next > self.read.len() || (end > 0 && next > FACTS_PER_SCRIPT) {
                break;
            }
            end = next;
        }
        end
    }
}
