//! Reading what the archive keeps of a shard's history: facts, and notes of those that it refused.

use std::collections::BTreeMap;

use stampede_archive::{Archive, ArchiveError, FactCursor, FactRange};
use stampede_domain::{Fact, Shard};

/// Facts in order of epoch, number and index, like [`Archive::facts`], with those of the notes among them. Where both are, the
/// fact counts. Empty only at the end.
pub(crate) async fn kept_facts(
    archive: &dyn Archive,
    shard: Shard,
    range: FactRange,
    after: Option<FactCursor>,
    limit: usize,
) -> Result<Vec<Fact>, ArchiveError> {
    let facts = archive.facts(shard, range, after, limit).await?;
    let notes = archive.dead_letters(shard, range, after, limit).await?;
    if notes.is_empty() {
        return Ok(facts);
    }
    let noted: Vec<Fact> = notes.into_iter().map(|letter| letter.fact).collect();
    // A full page may go on: only up to its end is known what comes.
    let end_of = |page: &[Fact]| page.last().filter(|_| page.len() >= limit).map(cursor);
    let end = end_of(&facts).into_iter().chain(end_of(&noted)).min();
    let mut kept: BTreeMap<FactCursor, Fact> = noted.into_iter().map(|fact| (cursor(&fact), fact)).collect();
    kept.extend(facts.into_iter().map(|fact| (cursor(&fact), fact)));
    Ok(kept.into_iter().filter(|(at, _)| end.is_none_or(|end| *at <= end)).map(|(_, fact)| fact).collect())
}

/// Where a fact stands.
pub(crate) const fn cursor(fact: &Fact) -> FactCursor {
    FactCursor { epoch: fact.epoch, number: fact.number, index: fact.position.index }
}
