//! Which drops there are: the archive knows.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use stampede_archive::{Archive, ArchiveError, DropCursor, DropRecord};
use stampede_domain::{DropId, Timestamp, Window};
use tokio::time::timeout;

use super::picture::Reach;

/// How long the archive may take for one answer.
const ANSWER: Duration = Duration::from_secs(3);
/// Records of one answer.
const PAGE: usize = 200;
/// The most drops that are looked at, the newest ones: what an operator must see is among them, or is named by --drop.
const MAX_DROPS: usize = 20_000;

/// Finds the drops: all of them once, then the new ones.
pub struct Finder {
    archive: Arc<dyn Archive>,
    only: Option<DropId>,
    found: Found,
    ids: HashSet<DropId>,
}

/// The drops that the archive knows of.
#[derive(Clone, Debug)]
pub struct Found {
    /// Whether the archive answers.
    pub archive: Reach,
    /// Which archive it is.
    pub kind: &'static str,
    /// The drops, the newest definition first.
    pub drops: Arc<[FoundDrop]>,
    /// Whether there are more, older ones.
    pub older: bool,
}

/// A drop that the archive knows of.
#[derive(Clone, Debug)]
pub struct FoundDrop {
    /// The drop.
    pub id: DropId,
    /// Its window, as it was when the drop was found.
    pub window: Window,
}

impl From<DropRecord> for FoundDrop {
    fn from(record: DropRecord) -> Self {
        Self { id: record.definition.id, window: record.window }
    }
}

impl Finder {
    /// Finds all drops, or just this one.
    pub fn new(archive: Arc<dyn Archive>, only: Option<DropId>) -> Self {
        let found = Found { archive: Reach::Up, kind: archive.kind(), drops: Arc::new([]), older: false };
        Self { archive, only, found, ids: HashSet::new() }
    }

    /// What was found so far.
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// The drop that was asked for, if the archive answered and does not know it.
    pub fn missing(&self) -> Option<&DropId> {
        self.only.as_ref().filter(|_| self.found.archive == Reach::Up && self.found.drops.is_empty())
    }

    /// Looks for drops that are new. What was found stays if the archive is away.
    pub async fn look(&mut self) {
        let looked = match self.only.clone() {
            Some(id) => self.look_for(&id).await,
            None => self.look_for_new().await,
        };
        self.found.archive = match looked {
            Ok(()) => Reach::Up,
            Err(error) => self.found.archive.away(error.to_string()),
        };
    }

    async fn look_for(&mut self, id: &DropId) -> Result<(), ArchiveError> {
        let record = answer(self.archive.drop_record(id)).await?;
        self.found.drops = record.map(FoundDrop::from).into_iter().collect();
        Ok(())
    }

    async fn look_for_new(&mut self) -> Result<(), ArchiveError> {
        let mut new: Vec<FoundDrop> = Vec::new();
        let mut after: Option<DropCursor> = None;
        let mut met_known = false;
        // Clocks differ, so a new drop may stand a little behind known ones: a page with one that is known is gone through.
        while !met_known && new.len() < MAX_DROPS {
            let page = answer(self.archive.drops(None, after.as_ref(), PAGE)).await?;
            let is_last = page.len() < PAGE;
            after = page.last().map(|record| DropCursor {
                created_at: record.definition.created_at,
                id: record.definition.id.clone(),
            });
            for record in page {
                if self.ids.contains(&record.definition.id) {
                    met_known = true;
                } else {
                    new.push(record.into());
                }
            }
            if is_last {
                break;
            }
        }
        if !new.is_empty() {
            self.ids.extend(new.iter().map(|drop| drop.id.clone()));
            new.extend(self.found.drops.iter().cloned());
            self.found.older |= new.len() >= MAX_DROPS;
            for drop in new.drain(MAX_DROPS.min(new.len())..) {
                self.ids.remove(&drop.id);
            }
            self.found.drops = new.into();
        }
        Ok(())
    }
}

impl Reach {
    /// That it is away: since it was found to be, if it was before.
    pub fn away(&self, why: String) -> Self {
        match self {
            Self::Up => Self::Away { since: Timestamp::now(), why },
            Self::Away { since, .. } => Self::Away { since: *since, why },
        }
    }
}

async fn answer<T>(call: impl Future<Output = Result<T, ArchiveError>>) -> Result<T, ArchiveError> {
    let late = |_| ArchiveError::Unavailable(format!("no answer within {} s", ANSWER.as_secs()));
    timeout(ANSWER, call).await.map_err(late)?
}
