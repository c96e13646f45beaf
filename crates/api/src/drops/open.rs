//! Opening a drop that is defined.

use stampede_archive::{Archive, DropRecord, OpenError, open_once};
use stampede_engine::{Engine, EngineError, LiveDrop, Opening};

/// Puts a defined drop into the hot state, once; `None` if it was open already. May be called again by any process after
/// one that failed or died.
///
/// # Errors
/// [`OpenError`]: the drop stays defined or opening, and is opened by the next call.
pub async fn open_drop(
    engine: &Engine,
    archive: &dyn Archive,
    record: &DropRecord,
) -> Result<Option<LiveDrop>, OpenError<EngineError>> {
    let opening = open_once(archive, record, || engine.open_drop(&record.definition)).await?;
    // Only now does the archive say that all stripes are there.
    let activated = engine.activate_drop(&record.definition).await.map_err(OpenError::Put)?;
    Ok(opening.map(|opening| match opening {
        Opening::Opened(live) | Opening::AlreadyOpen(live) => activated.unwrap_or(live),
    }))
}
