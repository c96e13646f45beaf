//! How a drop opens once.
//!
//! `defined`, `opening`, `opened` in the archive, each by compare-and-set. Putting the drop into Redis happens in between
//! and may be repeated while the stage is `opening`. From `opened` on it never happens again: a drop that is missing in
//! Redis then was lost, and is recovered with its orders, not opened with all its units.

use std::future::Future;

use crate::{Archive, ArchiveError, DropRecord, DropStage};

/// Why a drop could not be opened; it is tried again later.
#[derive(Debug, thiserror::Error)]
pub enum OpenError<E> {
    /// The archive failed.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Putting the drop into Redis failed.
    #[error("the drop could not be put into Redis: {0}")]
    Put(E),
}

/// Opens a drop: `put` puts it into Redis, and must find it there when it is repeated. Returns what `put` returned, or
/// nothing if the drop was open already.
///
/// # Errors
/// [`OpenError`]; whoever calls this again, in any process, goes on from there.
pub async fn open_once<T, E, F: Future<Output = Result<T, E>>>(
    archive: &dyn Archive,
    record: &DropRecord,
    put: impl FnOnce() -> F,
) -> Result<Option<T>, OpenError<E>> {
    let id = &record.definition.id;
    if record.stage == DropStage::Opened {
        return Ok(None);
    }
    if !archive.move_drop(id, DropStage::Defined, DropStage::Opening).await? {
        let stage = archive.drop_record(id).await?.map(|record| record.stage);
        if stage != Some(DropStage::Opening) {
            return Ok(None);
        }
    }
    let put = put().await.map_err(OpenError::Put)?;
    archive.move_drop(id, DropStage::Opening, DropStage::Opened).await?;
    Ok(Some(put))
}
