//! What a recovery builds on.

use stampede_archive::{Archive, FactRange};
use stampede_domain::{Closing, Epoch, FactBody, Shard};
use stampede_engine::Purges;

use super::RecoveryError;
use super::kept_facts::{cursor, kept_facts};

/// Facts that one read of the archive takes.
const FACTS_AT_ONCE: usize = 5_000;

/// What a recovery will do.
pub(crate) struct Plan {
    /// What it will build on.
    pub(crate) closing: Closing,
    /// Facts that it will apply.
    pub(crate) facts: u64,
    /// Drops of which only the tombstone will be applied.
    pub(crate) purges: Purges,
}

/// Reads the facts beyond Redis's last entry and says which entries will be applied: those that count and that the archive
/// has whole. Between them are holes. Also says which drops are purged on the way.
pub(crate) async fn plan_closing(
    archive: &dyn Archive,
    shard: Shard,
    epoch: Epoch,
    base: u64,
    counted: impl Fn(Epoch, u64) -> bool,
) -> Result<Plan, RecoveryError> {
    let range = FactRange { from_epoch: Epoch(0), beyond_number: base };
    let mut entries = Entries { through: base, holes: Vec::new(), facts: 0, current: None };
    let (mut purges, mut after) = (Purges::new(), None);
    loop {
        let facts = kept_facts(archive, shard, range, after, FACTS_AT_ONCE).await?;
        let Some(last) = facts.last() else { break };
        after = Some(cursor(last));
        for fact in facts.iter().filter(|fact| counted(fact.epoch, fact.number)) {
            entries.add(fact.epoch, fact.number, fact.entry_facts)?;
            if let FactBody::Purged(_) = fact.body {
                purges.insert(fact.drop_id.clone(), fact.number);
            }
        }
    }
    entries.finish_current();
    let closing = Closing { shard, epoch, base, through: entries.through, holes: entries.holes, void: false };
    Ok(Plan { closing, facts: entries.facts, purges })
}

/// The entries seen so far, in order of their numbers.
struct Entries {
    through: u64,
    holes: Vec<std::ops::RangeInclusive<u64>>,
    /// Facts of whole entries.
    facts: u64,
    current: Option<Current>,
}

/// The entry whose facts are being counted.
struct Current {
    epoch: Epoch,
    number: u64,
    expected: u16,
    seen: u16,
}

impl Entries {
    fn add(&mut self, epoch: Epoch, number: u64, expected: u16) -> Result<(), RecoveryError> {
        match &mut self.current {
            Some(current) if current.epoch == epoch && current.number == number => current.seen += 1,
            Some(current) if number <= current.number => {
                let text =
                    format!("entry {number} of epoch {epoch} and entry {} of epoch {}", current.number, current.epoch);
                return Err(RecoveryError::Contradiction(text));
            }
            _ => {
                self.finish_current();
                self.current = Some(Current { epoch, number, expected, seen: 1 });
            }
        }
        Ok(())
    }

    fn finish_current(&mut self) {
        let Some(current) = self.current.take().filter(|current| current.seen == current.expected) else { return };
        if current.number > self.through + 1 {
            self.holes.push(self.through + 1..=current.number - 1);
        }
        self.through = current.number;
        self.facts += u64::from(current.expected);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(facts: &[(u64, u16)]) -> (u64, Vec<std::ops::RangeInclusive<u64>>) {
        let mut entries = Entries { through: 10, holes: Vec::new(), facts: 0, current: None };
        for (number, expected) in facts {
            entries.add(Epoch(1), *number, *expected).expect("ascending");
        }
        entries.finish_current();
        (entries.through, entries.holes)
    }

    #[test]
    fn missing_and_partial_entries_are_holes() {
        assert_eq!(closed(&[]), (10, vec![]));
        assert_eq!(closed(&[(11, 1), (12, 2), (12, 2)]), (12, vec![]));
        assert_eq!(closed(&[(11, 1), (12, 2), (14, 1)]), (14, vec![12..=13]), "12 is half there, 13 not at all");
        assert_eq!(closed(&[(11, 1), (12, 2)]), (11, vec![]), "what is not applied at the end is no hole but beyond");
    }

    #[test]
    fn one_number_in_two_epochs_is_a_contradiction() {
        let mut entries = Entries { through: 0, holes: Vec::new(), facts: 0, current: None };
        entries.add(Epoch(1), 5, 1).expect("first");
        assert!(entries.add(Epoch(2), 5, 1).is_err());
    }
}
