//! Keeping facts in the archive: as they are, or, where it refuses one for good, as a note from which it can be rebuilt.
//!
//! A fact that is noted becomes a dead letter in Redis; the note brings it back when Redis is lost, and keeps its entry whole,
//! so that one refused order costs none of the others that were granted with it.

use std::collections::HashMap;

use stampede_archive::{Archive, ArchiveError, RefusalReason};
use stampede_domain::{DeadLetter, Fact, FactBody, FactId, LogId, Malformed, OrderId, OrderStatus};
use stampede_engine::{LetterChange, LogEntry};

/// What became of a fact that the archive refuses for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It is noted.
    Noted(DeadLetter),
    /// Its order was given back, and the archive knows.
    GivenBack,
    /// The archive refuses even the note.
    NotKept(String),
}

/// All facts that an entry brings to the archive: its own, and the one that it replays.
pub(crate) fn facts_of(entry: &LogEntry) -> Result<Vec<Fact>, Malformed> {
    let mut facts = entry.facts()?;
    facts.extend(entry.replayed()?);
    Ok(facts)
}

/// Inserts facts. Returns, by their places, those that the archive refuses for good; all others are durable, and so are the
/// notes.
pub(crate) async fn keep(archive: &dyn Archive, facts: &[Fact]) -> Result<HashMap<usize, Refused>, ArchiveError> {
    let mut refused = HashMap::new();
    let (mut places, mut letters) = (Vec::new(), Vec::new());
    for refusal in archive.insert_facts(facts).await? {
        let fact = &facts[refusal.index];
        if let FactId::Order(id) = refusal.fact
            && is_given_back(archive, id).await?
        {
            refused.insert(refusal.index, Refused::GivenBack);
            continue;
        }
        places.push(refusal.index);
        letters.push(DeadLetter::new(fact.clone(), &words(refusal.reason)));
    }
    if letters.is_empty() {
        return Ok(refused);
    }
    let unnoted = archive.note_dead_letters(&letters).await?;
    refused.extend(places.iter().copied().zip(letters.into_iter().map(Refused::Noted)));
    for refusal in unnoted {
        refused.insert(places[refusal.index], Refused::NotKept(words(refusal.reason)));
    }
    Ok(refused)
}

/// Whether the archive knows that the order was compensated.
pub(crate) async fn is_given_back(archive: &dyn Archive, id: OrderId) -> Result<bool, ArchiveError> {
    match archive.order(id).await {
        Ok(order) => Ok(order.is_some_and(|archived| archived.order.status == OrderStatus::Compensated)),
        // What stands at the order's place cannot be read: that is why it was refused.
        Err(ArchiveError::Malformed { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

fn words(reason: RefusalReason) -> String {
    match reason {
        RefusalReason::Conflict => "another fact has its id or its place in the log".to_owned(),
        RefusalReason::Rejected(why) => why,
    }
}

/// What acknowledging an entry does to dead letters.
#[derive(Debug, Default)]
pub(crate) struct Letters {
    pub(crate) changes: Vec<LetterChange>,
    /// Facts that were archived after all.
    pub(crate) replayed: usize,
    /// Compensations that were archived.
    pub(crate) compensated: usize,
}

impl Letters {
    /// Of an entry that brought these facts, each with what became of it if it was refused. `None` if one was not kept.
    pub(crate) fn of<'a>(entry: LogId, facts: impl Iterator<Item = (&'a Fact, Option<&'a Refused>)>) -> Option<Self> {
        let mut letters = Self::default();
        let change = |fact: FactId, of: &Fact, letter| {
            let drop_id = of.drop_id.clone();
            LetterChange { entry, fact, drop_id, letter }
        };
        for (fact, refused) in facts {
            match refused {
                Some(Refused::NotKept(_)) => return None,
                Some(Refused::Noted(letter)) => letters.changes.push(change(fact.id(), fact, Some(letter.clone()))),
                // A letter that this fact had, or that tells of it, is settled.
                Some(Refused::GivenBack) => letters.changes.push(change(fact.id(), fact, None)),
                None => {
                    if fact.position.log_id != entry {
                        letters.replayed += 1;
                        letters.changes.push(change(fact.id(), fact, None));
                    }
                    if let FactBody::Compensated(given_back) = &fact.body {
                        letters.compensated += 1;
                        letters.changes.push(change(FactId::Order(given_back.order_id), fact, None));
                    }
                }
            }
        }
        Some(letters)
    }

    /// How many letters it writes.
    pub(crate) fn written(&self) -> usize {
        self.changes.iter().filter(|change| change.letter.is_some()).count()
    }
}
