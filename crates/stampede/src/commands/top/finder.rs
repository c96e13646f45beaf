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

#[cfg(test)]
mod tests {
    use stampede_archive::{DefineDrop, SqliteArchive};
    use stampede_domain::{Deployment, DropDefinition, Mode, Money, Product, ShardCount};

    use super::*;

    async fn archive(dir: &tempfile::TempDir) -> Arc<dyn Archive> {
        let archive = SqliteArchive::open(&dir.path().join("archive.db")).await.expect("opened");
        archive.migrate().await.expect("migrated");
        let shards = ShardCount::try_from(1).expect("a number of shards");
        archive.deployment(&Deployment { id: "test".to_owned(), shards }).await.expect("a deployment");
        let product = Product {
            sku: "AIR-1".parse().expect("valid"),
            name: "Air".to_owned(),
            description: None,
            image_url: None,
            price: price(),
            created_at: Timestamp::from_ms(1),
        };
        archive.create_product(&product).await.expect("created");
        Arc::new(archive)
    }

    fn price() -> Money {
        Money { amount_minor: 900, currency: "EUR".parse().expect("valid") }
    }

    /// Each drop has its own second, so that no windows overlap.
    async fn define(archive: &dyn Archive, second: i64, created_at_ms: i64) {
        let at = |second: i64| Timestamp::from_ms(second * 1_000);
        let definition = DropDefinition {
            id: format!("drop-{second}").parse().expect("valid"),
            sku: "AIR-1".parse().expect("valid"),
            mode: Mode::Instant,
            stock_units: 1,
            limit_per_user: 1,
            window: Window { starts_at: at(second), ends_at: Some(at(second + 1)) },
            price: price(),
            cancellable_for_s: 0,
            cancellations_per_user: 0,
            durability: None,
            stripes: Default::default(),
            hold_ms: 0,
            created_at: Timestamp::from_ms(created_at_ms),
        };
        assert_eq!(archive.define_drop(&definition).await.expect("defined"), DefineDrop::Defined);
    }

    #[tokio::test]
    async fn all_drops_are_found_once_and_new_ones_at_the_next_look() {
        let dir = tempfile::tempdir().expect("a folder");
        let archive = archive(&dir).await;
        let many = PAGE as i64 * 2 + 7;
        for n in 0..many {
            define(&*archive, n, n).await;
        }
        let mut finder = Finder::new(Arc::clone(&archive), None);
        finder.look().await;
        let ids = |finder: &Finder| finder.found().drops.iter().map(|drop| drop.id.to_string()).collect::<HashSet<_>>();
        assert_eq!((finder.found().drops.len(), ids(&finder).len()), (many as usize, many as usize));
        assert_eq!((&finder.found().archive, finder.found().older), (&Reach::Up, false));

        // One that a process defined whose clock is behind, and a whole page of others.
        define(&*archive, many, many - 3).await;
        for n in 1..=PAGE as i64 {
            define(&*archive, many + n, many + n).await;
        }
        finder.look().await;
        assert_eq!(ids(&finder).len(), many as usize + 1 + PAGE);
        finder.look().await;
        assert_eq!(finder.found().drops.len(), many as usize + 1 + PAGE, "none twice");
    }

    #[tokio::test]
    async fn a_drop_that_is_named_is_found_or_missed() {
        let dir = tempfile::tempdir().expect("a folder");
        let archive = archive(&dir).await;
        define(&*archive, 1, 1).await;
        define(&*archive, 2, 2).await;
        for (id, found) in [("drop-1", true), ("none", false)] {
            let mut finder = Finder::new(Arc::clone(&archive), Some(id.parse().expect("valid")));
            finder.look().await;
            assert_eq!((finder.found().drops.len(), finder.missing().is_none()), (usize::from(found), found), "{id}");
        }
    }

    #[test]
    fn a_store_is_away_since_it_was_first_found_to_be() {
        let Reach::Away { since, .. } = Reach::Up.away("first".to_owned()) else { panic!("it is away") };
        let later = Reach::Away { since, why: "first".to_owned() }.away("second".to_owned());
        assert_eq!(later, Reach::Away { since, why: "second".to_owned() });
    }
}
