//! The durable records: one trait, with SQLite and MongoDB behind it.
//!
//! The archive only inserts facts; what an order or a drop has become is folded from them when it is read. So a fact may be
//! delivered any number of times and in any order. Products and drops are the only records that change, each by
//! compare-and-set. Both implementations hold the same contract, and one test proves it for both.

mod accept;
mod connect;
mod error;
mod fold;
mod measured;
mod metrics;
mod mongo;
mod opening;
mod reconciliation;
mod records;
mod sqlite;

use std::ops::RangeInclusive;

use async_trait::async_trait;
use stampede_domain::{
    Closing, DeadLetter, Deployment, DropDefinition, DropId, Epoch, Fact, FactId, Fingerprint, KeyDigest, LogId,
    OrderId, Product, Shard, Sku, Timestamp, UserId, Window,
};

pub use connect::{ArchiveUrl, InvalidArchiveUrl, connect};
pub use error::ArchiveError;
pub use metrics::METRICS;
pub use mongo::MongoArchive;
pub use opening::{OpenError, open_once};
pub use reconciliation::{Drift, DriftKind, Reconciliation, StockFigures, StockRecord};
pub use records::{
    ArchivedOrder, CreateProduct, DefineDrop, DropCursor, DropRecord, DropStage, FactCursor, FactRange, OrderFilter,
    Refusal, RefusalReason, SchemaStatus, WindowChange,
};
pub use sqlite::SqliteArchive;

/// The version of the schema that this software writes. `stampede migrate` moves an archive to it.
pub const SCHEMA_VERSION: u32 = 4;

/// What every archive can do.
///
/// Reads see everything that was acknowledged before they began (the primary is read). A write returns once it is durable:
/// on disk for SQLite, acknowledged by a majority's journals for MongoDB.
#[async_trait]
pub trait Archive: Send + Sync + 'static {
    /// Which archive this is, for logs and metrics: `sqlite` or `mongodb`.
    fn kind(&self) -> &'static str;

    /// Whether it answers at all.
    async fn ping(&self) -> Result<(), ArchiveError>;

    /// The version of the schema that the archive is at.
    async fn schema_status(&self) -> Result<SchemaStatus, ArchiveError>;

    /// Creates tables, collections and indexes, or moves them to [`SCHEMA_VERSION`]; may be run again.
    ///
    /// # Errors
    /// [`ArchiveError::NewerSchema`] if the archive is at a version that this software does not know.
    async fn migrate(&self) -> Result<(), ArchiveError>;

    /// The deployment that this archive belongs to: `proposed` if there was none yet, otherwise the one that was stored
    /// first. Also makes sure that every shard has its row of epochs.
    async fn deployment(&self, proposed: &Deployment) -> Result<Deployment, ArchiveError>;

    // --- products ---

    /// Creates a product, unless the sku is taken.
    async fn create_product(&self, product: &Product) -> Result<CreateProduct, ArchiveError>;

    /// One product.
    async fn product(&self, sku: &Sku) -> Result<Option<Product>, ArchiveError>;

    /// Products, newest first (then by sku, descending): at most `limit` that come after `(created_at, sku)`.
    async fn products(&self, after: Option<&(Timestamp, Sku)>, limit: usize) -> Result<Vec<Product>, ArchiveError>;

    // --- drops ---

    /// Defines a drop in stage [`DropStage::Defined`], unless its id is taken or its window overlaps one that is kept for
    /// another drop of the same sku. Races on one sku are decided by compare-and-set: of two overlapping drops one loses.
    /// The product must exist, and [`Archive::deployment`] must have been asked, since it says the drop's shard.
    async fn define_drop(&self, definition: &DropDefinition) -> Result<DefineDrop, ArchiveError>;

    /// Moves a drop from one stage to the next; `false` if it was not in `from`.
    async fn move_drop(&self, id: &DropId, from: DropStage, to: DropStage) -> Result<bool, ArchiveError>;

    /// Gives up the window that is kept for `id` among its sku's drops, because the drop is over. May be repeated.
    async fn release_window(&self, sku: &Sku, id: &DropId) -> Result<(), ArchiveError>;

    /// Changes the window that is kept for `id`, unless it would overlap another drop's of the same sku, and the window in
    /// the drop's record with it.
    async fn change_window(&self, sku: &Sku, id: &DropId, window: &Window) -> Result<WindowChange, ArchiveError>;

    /// One drop.
    async fn drop_record(&self, id: &DropId) -> Result<Option<DropRecord>, ArchiveError>;

    /// Drops, newest first (by time of definition, then by id, descending): at most `limit` that come after `after`.
    async fn drops(
        &self,
        sku: Option<&Sku>,
        after: Option<&DropCursor>,
        limit: usize,
    ) -> Result<Vec<DropRecord>, ArchiveError>;

    /// The drops of one sku that a shopper may care about at `now`, by the windows in their records: the `limit` that
    /// started last, at or before `now`, and the `limit` that start next, after it; all in order of their start.
    async fn drops_around(&self, sku: &Sku, now: Timestamp, limit: usize) -> Result<Vec<DropRecord>, ArchiveError>;

    /// All drops with stock in one shard that are past [`DropStage::Defined`], striped ones included, in order of id: at most `limit` with an id above
    /// `after`.
    async fn drops_of_shard(
        &self,
        shard: Shard,
        after: Option<&DropId>,
        limit: usize,
    ) -> Result<Vec<DropRecord>, ArchiveError>;

    /// Drops that were defined before `defined_before` and have not reached [`DropStage::Opened`], oldest first: what a
    /// process left behind that died while it opened them.
    async fn unopened_drops(&self, defined_before: Timestamp, limit: usize) -> Result<Vec<DropRecord>, ArchiveError>;

    // --- facts ---

    /// Inserts facts, in any order, each whether or not the others can be. A fact that is already there with equal content
    /// is a success. Returns those that are refused for good; all others are durable.
    ///
    /// # Errors
    /// If anything failed that may succeed later; then any part of the facts may have been inserted, and all are to be
    /// given again.
    async fn insert_facts(&self, facts: &[Fact]) -> Result<Vec<Refusal>, ArchiveError>;

    /// The facts that have these ids, in any order, whether they count or not. What cannot be read is left out.
    async fn facts_by_ids(&self, ids: &[FactId]) -> Result<Vec<Fact>, ArchiveError>;

    /// An order, if its fact, or that of its compensation, is here and counts, with its status folded from the facts that
    /// count.
    async fn order(&self, id: OrderId) -> Result<Option<ArchivedOrder>, ArchiveError>;

    /// Orders whose facts count, newest first (by id, descending): at most `limit` with an id below `before`.
    async fn orders(
        &self,
        filter: &OrderFilter,
        before: Option<OrderId>,
        limit: usize,
    ) -> Result<Vec<ArchivedOrder>, ArchiveError>;

    /// The order that this user was granted in this drop under this key, with the fingerprint of its request, if its fact is
    /// here and counts. For drops that Redis has no users of any more; it looks through the user's orders.
    async fn order_of_key(
        &self,
        drop_id: &DropId,
        user_id: &UserId,
        key: KeyDigest,
    ) -> Result<Option<(ArchivedOrder, Fingerprint)>, ArchiveError>;

    /// Facts of one shard in `range`, ordered by epoch, number and index: at most `limit` that come after `after`. Whether
    /// they count is the caller's to judge.
    async fn facts(
        &self,
        shard: Shard,
        range: FactRange,
        after: Option<FactCursor>,
        limit: usize,
    ) -> Result<Vec<Fact>, ArchiveError>;

    /// The facts of these orders: their grants, from the notes of refused ones where they are not among the facts, and what
    /// took them back. Whether they count is the caller's to judge.
    async fn order_facts(&self, ids: &[OrderId]) -> Result<Vec<Fact>, ArchiveError>;

    /// How many facts there are of a shard's entries with these numbers in this epoch, whether they count or not.
    async fn count_facts(&self, shard: Shard, epoch: Epoch, numbers: RangeInclusive<u64>) -> Result<u64, ArchiveError>;

    /// The highest log id among the shard's facts, whether they count or not.
    async fn highest_log_id(&self, shard: Shard) -> Result<Option<LogId>, ArchiveError>;

    // --- dead letters ---

    /// Notes facts that are refused for good, each once and for ever, so that they can be rebuilt. A note of the same fact is
    /// a success, whatever its reason. Returns those that cannot even be noted; all others are durable.
    async fn note_dead_letters(&self, letters: &[DeadLetter]) -> Result<Vec<Refusal>, ArchiveError>;

    /// The notes of one shard whose facts are in `range`, ordered by epoch, number and index: at most `limit` that come after
    /// `after`. Whether their facts were archived later, or count, is the caller's to judge.
    async fn dead_letters(
        &self,
        shard: Shard,
        range: FactRange,
        after: Option<FactCursor>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, ArchiveError>;

    // --- epochs ---

    /// The highest epoch that was raised for the shard; 0 if none was.
    async fn epoch(&self, shard: Shard) -> Result<Epoch, ArchiveError>;

    /// Raises the shard's epoch by one and returns it. Seals all epochs before it.
    async fn raise_epoch(&self, shard: Shard) -> Result<Epoch, ArchiveError>;

    /// Inserts a closing, unless its epoch has one, and returns the one that is there: the first wins.
    async fn close_epoch(&self, closing: &Closing) -> Result<Closing, ArchiveError>;

    /// All closings of the shard, in order of their epochs.
    async fn closings(&self, shard: Shard) -> Result<Vec<Closing>, ArchiveError>;

    // --- reconciliations ---

    /// The folded stocks, in one shard, of those of these drops that have one.
    async fn stocks(&self, shard: Shard, drops: &[DropId]) -> Result<Vec<StockRecord>, ArchiveError>;

    /// Puts folded stocks in the place of those that are there.
    async fn put_stocks(&self, stocks: &[StockRecord]) -> Result<(), ArchiveError>;

    /// Adds what a reconciliation found, and forgets all but the drop's newest `keep`.
    async fn put_reconciliation(&self, record: &Reconciliation, keep: usize) -> Result<(), ArchiveError>;

    /// The newest reconciliations of a drop, newest first: at most `limit`.
    async fn reconciliations(&self, drop_id: &DropId, limit: usize) -> Result<Vec<Reconciliation>, ArchiveError>;
}

impl OrderFilter {
    /// Orders of one user, in any drop.
    pub fn of_user(user_id: UserId) -> Self {
        Self { user_id: Some(user_id), drop_id: None }
    }
}
