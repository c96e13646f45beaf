//! What goes into the archive and comes out of it, apart from facts.

use stampede_domain::{DropDefinition, DropId, Epoch, FactId, Order, Product, Timestamp, UserId, Window};

/// How an archive's schema compares with [`crate::SCHEMA_VERSION`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaStatus {
    /// The archive is empty.
    Missing,
    /// It is at an older version: `stampede migrate` moves it on.
    Older(u32),
    /// It is at this version.
    Current,
    /// It is at a newer version: this software must not touch it.
    Newer(u32),
}

/// What creating a product did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CreateProduct {
    /// It was created.
    Created,
    /// The sku is taken by this product, which may say the same.
    Exists(Product),
}

/// What defining a drop did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DefineDrop {
    /// It was defined.
    Defined,
    /// The id is taken by this drop, which may say the same.
    Exists(Box<DropRecord>),
    /// Its window overlaps those that are kept for these drops of the same sku.
    Overlaps(Vec<DropId>),
    /// There is no such product.
    UnknownSku,
}

/// What changing a window did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WindowChange {
    /// It was changed; this one was kept before.
    Changed(Window),
    /// It would overlap those that are kept for these drops of the same sku.
    Overlaps(Vec<DropId>),
    /// No window is kept for this drop.
    NotKept,
}

/// How far a drop's opening has come. A drop that is `Opened` here and missing in Redis needs recovery; it is never opened
/// again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropStage {
    /// It is written down.
    Defined,
    /// A process is putting it into Redis.
    Opening,
    /// It is in Redis.
    Opened,
}

impl DropStage {
    /// The word that the archive stores.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Defined => "defined",
            Self::Opening => "opening",
            Self::Opened => "opened",
        }
    }

    /// The stage that a stored word means.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Defined, Self::Opening, Self::Opened].into_iter().find(|stage| stage.as_str() == word)
    }
}

/// A drop, as the archive keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropRecord {
    /// The drop as it was defined. Its window and limit are the first ones.
    pub definition: DropDefinition,
    /// The window as it was last changed; what searches go by.
    pub window: Window,
    /// How far its opening has come.
    pub stage: DropStage,
}

/// A place in the list of drops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropCursor {
    /// When the drop was defined.
    pub created_at: Timestamp,
    /// The drop.
    pub id: DropId,
}

/// Which orders to list; both fields narrow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OrderFilter {
    /// Those of this user.
    pub user_id: Option<UserId>,
    /// Those of this drop.
    pub drop_id: Option<DropId>,
}

/// An order whose fact counts, with the status that the archive's facts give it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedOrder {
    /// The order.
    pub order: Order,
    /// The epoch of its fact.
    pub epoch: Epoch,
    /// The number of its entry.
    pub number: u64,
}

/// Which facts of a shard to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FactRange {
    /// Facts of this epoch and later ones.
    pub from_epoch: Epoch,
    /// Of entries with a higher number than this.
    pub beyond_number: u64,
}

/// A place among a shard's facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FactCursor {
    /// The epoch.
    pub epoch: Epoch,
    /// The number of the entry.
    pub number: u64,
    /// The index in the entry.
    pub index: u16,
}

/// A fact that the archive will never take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The fact.
    pub fact: FactId,
    /// Its place in the slice that was given.
    pub index: usize,
    /// Why.
    pub reason: RefusalReason,
}

/// Why a fact is refused for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefusalReason {
    /// Another fact with other content has its id.
    Conflict,
    /// The archive rejects the record itself, as too large or invalid; in its own words.
    Rejected(String),
}

impl FactRange {
    /// The number and index behind which a reader that has come to `after` goes on in `epoch`.
    pub(crate) fn start_in(self, epoch: Epoch, after: Option<FactCursor>) -> (u64, u16) {
        let beyond = (self.beyond_number, u16::MAX);
        match after.filter(|after| after.epoch == epoch) {
            Some(after) => beyond.max((after.number, after.index)),
            None => beyond,
        }
    }
}
