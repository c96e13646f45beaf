//! The windows that are kept for the drops of a sku, so that no two of them overlap.
//!
//! They lie in the product's document, with a version that rises with each change: a process reads them, decides, and
//! writes them back if the version is still the same. Adding a window is what defines a drop; its entry holds the whole
//! definition. So if a process dies before it has inserted the drop's record, whoever meets the entry next inserts it in
//! its place, and no clock has to say when an entry is stale.

use std::time::Duration;

use mongodb::bson::{Bson, Document, doc};
use serde::{Deserialize, Serialize};
use stampede_domain::{DropDefinition, DropId, Sku, Window};

use super::client::Collections;
use super::documents::{Fields, from_document, malformed, to_document};
use super::drops;
use super::errors::not_yet_readable;
use crate::{ArchiveError, DefineDrop, DropRecord, WindowChange};

const WHAT: &str = "window of a drop";

/// How often a change is tried against other processes. Each failure is another one's success, so running out of tries
/// takes more operators than any shop has.
const ATTEMPTS: u32 = 64;

/// The windows of a sku at one version.
struct Kept {
    version: i64,
    windows: Vec<KeptWindow>,
}

#[derive(Clone, Serialize, Deserialize)]
struct KeptWindow {
    drop_id: DropId,
    window: Window,
    definition: DropDefinition,
}

pub(super) async fn define(collections: &Collections, definition: &DropDefinition) -> Result<DefineDrop, ArchiveError> {
    let sku = &definition.sku;
    for attempt in 0..ATTEMPTS {
        if let Some(record) = drops::one(collections, &definition.id).await? {
            return Ok(DefineDrop::Exists(Box::new(record)));
        }
        let Some(mut kept) = read(collections, sku).await? else { return Ok(DefineDrop::UnknownSku) };
        if let Some(begun) = kept.of(&definition.id) {
            // Another process is about to insert the record, or died before it did.
            let record = complete(collections, &begun.definition).await?;
            return Ok(DefineDrop::Exists(Box::new(record)));
        }
        let overlapping = kept.overlapping(&definition.id, &definition.window);
        if !overlapping.is_empty() {
            if !are_drops(collections, sku, &overlapping).await? {
                continue;
            }
            return Ok(DefineDrop::Overlaps(drop_ids(&overlapping)));
        }
        let (drop_id, window) = (definition.id.clone(), definition.window);
        kept.windows.push(KeptWindow { drop_id, window, definition: definition.clone() });
        if kept.write(collections, sku).await? {
            let record = complete(collections, definition).await?;
            // Someone else may have inserted it in our place; it is ours all the same.
            return Ok(if record.definition == *definition {
                DefineDrop::Defined
            } else {
                DefineDrop::Exists(Box::new(record))
            });
        }
        pause(attempt).await;
    }
    Err(contended())
}

pub(super) async fn release(collections: &Collections, sku: &Sku, id: &DropId) -> Result<(), ArchiveError> {
    for attempt in 0..ATTEMPTS {
        let Some(mut kept) = read(collections, sku).await? else { return Ok(()) };
        if kept.of(id).is_none() {
            return Ok(());
        }
        kept.windows.retain(|kept| kept.drop_id != *id);
        if kept.write(collections, sku).await? {
            return Ok(());
        }
        pause(attempt).await;
    }
    Err(contended())
}

/// A process that dies between the two writes leaves the old window in the record until the change is asked for again.
pub(super) async fn change(
    collections: &Collections,
    sku: &Sku,
    id: &DropId,
    window: &Window,
) -> Result<WindowChange, ArchiveError> {
    for attempt in 0..ATTEMPTS {
        let Some(mut kept) = read(collections, sku).await? else { return Ok(WindowChange::NotKept) };
        let overlapping = kept.overlapping(id, window);
        let Some(own) = kept.windows.iter_mut().find(|kept| kept.drop_id == *id) else {
            return Ok(WindowChange::NotKept);
        };
        if !overlapping.is_empty() {
            if !are_drops(collections, sku, &overlapping).await? {
                continue;
            }
            return Ok(WindowChange::Overlaps(drop_ids(&overlapping)));
        }
        complete(collections, &own.definition).await?;
        let before = std::mem::replace(&mut own.window, *window);
        if kept.write(collections, sku).await? {
            drops::set_window(collections, id, window, kept.version + 1).await?;
            return Ok(WindowChange::Changed(before));
        }
        pause(attempt).await;
    }
    Err(contended())
}

/// Inserts the record of a drop whose window is kept, unless it is there, and returns the one that is. If that is of
/// another sku, which was given the id first, the window is given up.
async fn complete(collections: &Collections, definition: &DropDefinition) -> Result<DropRecord, ArchiveError> {
    if drops::one(collections, &definition.id).await?.is_none() {
        drops::insert(collections, definition).await?;
    }
    let record = drops::one(collections, &definition.id).await?;
    let record = record.ok_or_else(|| not_yet_readable("drop"))?;
    if record.definition.sku != definition.sku {
        release(collections, &definition.sku, &definition.id).await?;
    }
    Ok(record)
}

/// Whether all of these windows belong to drops of this sku. Those that do not are given up.
async fn are_drops(collections: &Collections, sku: &Sku, windows: &[KeptWindow]) -> Result<bool, ArchiveError> {
    let mut all = true;
    for kept in windows {
        all &= complete(collections, &kept.definition).await?.definition.sku == *sku;
    }
    Ok(all)
}

impl Kept {
    fn of(&self, id: &DropId) -> Option<&KeptWindow> {
        self.windows.iter().find(|kept| kept.drop_id == *id)
    }

    /// The windows of other drops that overlap `window`, in order of their start.
    fn overlapping(&self, id: &DropId, window: &Window) -> Vec<KeptWindow> {
        let overlaps = |kept: &&KeptWindow| kept.drop_id != *id && kept.window.overlaps(window);
        let mut overlapping: Vec<_> = self.windows.iter().filter(overlaps).cloned().collect();
        overlapping.sort_by(|a, b| (a.window.starts_at, &a.drop_id).cmp(&(b.window.starts_at, &b.drop_id)));
        overlapping
    }

    /// Writes the windows back, if no other process has changed them since they were read.
    async fn write(&self, collections: &Collections, sku: &Sku) -> Result<bool, ArchiveError> {
        let windows: Vec<Bson> =
            self.windows.iter().map(|kept| to_document(kept, WHAT).map(Bson::Document)).collect::<Result<_, _>>()?;
        let filter = doc! { "_id": sku.as_str(), "windows_version": self.version };
        let set = doc! { "windows_version": self.version + 1, "windows": windows };
        let updated = collections.products.update_one(filter, doc! { "$set": set }).await?;
        Ok(updated.matched_count == 1)
    }
}

/// The windows of a sku, if there is such a product.
async fn read(collections: &Collections, sku: &Sku) -> Result<Option<Kept>, ArchiveError> {
    let projection = doc! { "windows": 1, "windows_version": 1 };
    let found = collections.products.find_one(doc! { "_id": sku.as_str() }).projection(projection).await?;
    let Some(product) = found else { return Ok(None) };
    let version = Fields::of(&product, WHAT).number("windows_version")?;
    let windows = product.get_array("windows").map_err(|error| malformed(WHAT, &error))?;
    let windows = windows.iter().map(read_window).collect::<Result<_, _>>()?;
    Ok(Some(Kept { version, windows }))
}

fn read_window(window: &Bson) -> Result<KeptWindow, ArchiveError> {
    let document: Option<&Document> = window.as_document();
    from_document(document.cloned().ok_or_else(|| malformed(WHAT, &"not a document"))?, WHAT)
}

fn drop_ids(windows: &[KeptWindow]) -> Vec<DropId> {
    windows.iter().map(|kept| kept.drop_id.clone()).collect()
}

/// Waits a little longer after each failure, so that those who change the same windows fall out of step.
async fn pause(attempt: u32) {
    tokio::time::sleep(Duration::from_millis(u64::from(attempt.min(16)))).await;
}

fn contended() -> ArchiveError {
    ArchiveError::Unavailable("MongoDB: too many changes of the windows of one product at once".to_owned())
}
