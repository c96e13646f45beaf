//! Inserting many documents of which each is taken or refused by itself.

use mongodb::Collection;
use mongodb::bson::Document;
use stampede_domain::Fact;

use super::errors::{Cause, failures};
use crate::{ArchiveError, Refusal, RefusalReason, accept};

/// What became of an insert, by the places of the items given.
pub(super) struct Inserted {
    /// Items that are refused for good.
    pub(super) refusals: Vec<Refusal>,
    /// Items whose id is taken; whether by themselves is for the caller to find out.
    pub(super) duplicates: Vec<usize>,
}

/// Inserts what can be. `fact` is what an item is about; `write` makes its document.
pub(super) async fn insert<T>(
    collection: &Collection<Document>,
    items: &[T],
    fact: impl Fn(&T) -> &Fact,
    write: impl Fn(&T) -> Result<Document, ArchiveError>,
) -> Result<Inserted, ArchiveError> {
    let mut inserted = Inserted { refusals: Vec::new(), duplicates: Vec::new() };
    let mut places = Vec::with_capacity(items.len());
    let mut documents = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        if let Some(why) = accept::rejection(fact(item)) {
            inserted.refusals.push(refusal(fact(item), index, RefusalReason::Rejected(why.to_owned())));
        } else {
            places.push(index);
            documents.push(write(item)?);
        }
    }
    if documents.is_empty() {
        return Ok(inserted);
    }
    let failed = match collection.insert_many(&documents).ordered(false).await {
        Ok(_) => Vec::new(),
        Err(error) => failures(error)?,
    };
    for failure in failed {
        // An index beyond what was sent cannot be; everything is given again then.
        let Some(&index) = places.get(failure.index) else {
            return Err(ArchiveError::Unavailable("MongoDB: an error of a document that was not sent".to_owned()));
        };
        match failure.cause {
            Cause::Duplicate => inserted.duplicates.push(index),
            Cause::Rejected(why) => {
                inserted.refusals.push(refusal(fact(&items[index]), index, RefusalReason::Rejected(why)));
            }
        }
    }
    Ok(inserted)
}

/// The refusal of the item at a place.
pub(super) fn refusal(fact: &Fact, index: usize, reason: RefusalReason) -> Refusal {
    Refusal { fact: fact.id(), index, reason }
}
