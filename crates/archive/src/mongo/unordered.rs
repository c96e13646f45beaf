//! Inserting many documents of which each is taken or refused by itself.

use futures_util::{StreamExt, stream};
use mongodb::Collection;
use mongodb::bson::{Document, RawDocumentBuf};
use stampede_domain::Fact;

use super::errors::{Cause, Failure, failures};
use crate::{ArchiveError, Refusal, RefusalReason, accept};

/// How many documents one command inserts.
const COMMAND_DOCUMENTS: usize = 1_000;

/// How many commands of one insert are under way at a time.
const COMMANDS: usize = 4;

/// What became of an insert, by the places of the items given.
pub(super) struct Inserted {
    /// Items that are refused for good.
    pub(super) refusals: Vec<Refusal>,
    /// Items whose id is taken; whether by themselves is for the caller to find out.
    pub(super) duplicates: Vec<usize>,
}

/// Inserts what can be. `fact` is what an item is about; `write` makes its document.
///
/// Several commands are under way at a time: while the server works at one, the next is written. What one of them inserted is
/// there whatever becomes of the others, as with one command that comes in parts.
pub(super) async fn insert<T>(
    collection: &Collection<Document>,
    items: &[T],
    fact: impl Fn(&T) -> &Fact,
    write: impl Fn(&T) -> Result<RawDocumentBuf, ArchiveError>,
) -> Result<Inserted, ArchiveError> {
    let mut inserted = Inserted { refusals: Vec::new(), duplicates: Vec::new() };
    let mut places = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        match accept::rejection(fact(item)) {
            Some(why) => {
                let reason = RefusalReason::Rejected(why.to_owned());
                inserted.refusals.push(refusal(fact(item), index, reason));
            }
            None => places.push(index),
        }
    }
    let collection = collection.clone_with_type();
    let mut commands = Vec::new();
    for places in places.chunks(COMMAND_DOCUMENTS) {
        commands.push(insert_some(&collection, items, places, &write));
    }
    // All are waited for, even if one fails: a command that nobody waits for costs its connection.
    let done: Vec<_> = stream::iter(commands).buffered(COMMANDS).collect().await;
    for failed in done {
        for (index, cause) in failed? {
            match cause {
                Cause::Duplicate => inserted.duplicates.push(index),
                Cause::Rejected(why) => {
                    inserted.refusals.push(refusal(fact(&items[index]), index, RefusalReason::Rejected(why)));
                }
            }
        }
    }
    Ok(inserted)
}

/// One command: inserts the items at these places. Returns the places of those that were not inserted.
async fn insert_some<T>(
    collection: &Collection<RawDocumentBuf>,
    items: &[T],
    places: &[usize],
    write: impl Fn(&T) -> Result<RawDocumentBuf, ArchiveError>,
) -> Result<Vec<(usize, Cause)>, ArchiveError> {
    let documents = places.iter().map(|place| write(&items[*place])).collect::<Result<Vec<_>, _>>()?;
    let failed = match collection.insert_many(documents).ordered(false).await {
        Ok(_) => return Ok(Vec::new()),
        Err(error) => failures(error)?,
    };
    let place = |failure: Failure| {
        // An index beyond what was sent cannot be; everything is given again then.
        let place = places
            .get(failure.index)
            .copied()
            .ok_or_else(|| ArchiveError::Unavailable("MongoDB: an error of a document that was not sent".to_owned()));
        place.map(|place| (place, failure.cause))
    };
    failed.into_iter().map(place).collect()
}

/// The refusal of the item at a place.
pub(super) fn refusal(fact: &Fact, index: usize, reason: RefusalReason) -> Refusal {
    Refusal { fact: fact.id(), index, reason }
}
