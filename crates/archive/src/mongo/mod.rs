//! The archive in MongoDB.
//!
//! Any deployment of MongoDB will do, a single server included: nothing here needs a session, a transaction or a pipeline
//! update. What must not be torn lies in one document, and changes by compare-and-set.

mod client;
mod dead_letters;
mod documents;
mod drops;
mod epochs;
mod errors;
mod fact_documents;
mod facts;
mod orders;
mod products;
mod reconciliations;
mod schema;
mod unordered;
mod windows;

use std::ops::RangeInclusive;

use async_trait::async_trait;
use stampede_domain::{
    Closing, DeadLetter, Deployment, DropDefinition, DropId, Epoch, Fact, FactId, Fingerprint, KeyDigest, LogId,
    OrderId, Product, Shard, Sku, Timestamp, UserId, Window,
};

use crate::{
    Archive, ArchiveError, ArchivedOrder, CreateProduct, DefineDrop, DropCursor, DropRecord, DropStage, FactCursor,
    FactRange, OrderFilter, Reconciliation, Refusal, SchemaStatus, StockRecord, WindowChange,
};
use client::{Collections, in_time};

/// The archive in a database of a MongoDB.
pub struct MongoArchive {
    collections: Collections,
}

impl MongoArchive {
    /// Prepares to speak to the MongoDB at `uri`; it is not contacted yet. Whatever `uri` says, reads go to the primary
    /// and writes wait for the journals of a majority.
    ///
    /// # Errors
    /// [`ArchiveError::Unavailable`] if the driver does not understand `uri`, or its hosts cannot be looked up.
    pub async fn connect(uri: &str, database: &str) -> Result<Self, ArchiveError> {
        Ok(Self { collections: client::connect(uri, database).await? })
    }
}

#[async_trait]
impl Archive for MongoArchive {
    fn kind(&self) -> &'static str {
        "mongodb"
    }

    async fn ping(&self) -> Result<(), ArchiveError> {
        in_time(self.collections.ping()).await
    }

    async fn schema_status(&self) -> Result<SchemaStatus, ArchiveError> {
        in_time(schema::status(&self.collections)).await
    }

    async fn migrate(&self) -> Result<(), ArchiveError> {
        // Without a limit: an index over a large collection takes its time.
        schema::migrate(&self.collections).await
    }

    async fn deployment(&self, proposed: &Deployment) -> Result<Deployment, ArchiveError> {
        in_time(epochs::deployment(&self.collections, proposed)).await
    }

    async fn create_product(&self, product: &Product) -> Result<CreateProduct, ArchiveError> {
        in_time(products::create(&self.collections, product)).await
    }

    async fn product(&self, sku: &Sku) -> Result<Option<Product>, ArchiveError> {
        in_time(products::one(&self.collections, sku)).await
    }

    async fn products(&self, after: Option<&(Timestamp, Sku)>, limit: usize) -> Result<Vec<Product>, ArchiveError> {
        in_time(products::page(&self.collections, after, limit)).await
    }

    async fn define_drop(&self, definition: &DropDefinition) -> Result<DefineDrop, ArchiveError> {
        in_time(windows::define(&self.collections, definition)).await
    }

    async fn move_drop(&self, id: &DropId, from: DropStage, to: DropStage) -> Result<bool, ArchiveError> {
        in_time(drops::move_stage(&self.collections, id, from, to)).await
    }

    async fn release_window(&self, sku: &Sku, id: &DropId) -> Result<(), ArchiveError> {
        in_time(windows::release(&self.collections, sku, id)).await
    }

    async fn change_window(&self, sku: &Sku, id: &DropId, window: &Window) -> Result<WindowChange, ArchiveError> {
        in_time(windows::change(&self.collections, sku, id, window)).await
    }

    async fn drop_record(&self, id: &DropId) -> Result<Option<DropRecord>, ArchiveError> {
        in_time(drops::one(&self.collections, id)).await
    }

    async fn drops(
        &self,
        sku: Option<&Sku>,
        after: Option<&DropCursor>,
        limit: usize,
    ) -> Result<Vec<DropRecord>, ArchiveError> {
        in_time(drops::page(&self.collections, sku, after, limit)).await
    }

    async fn drops_around(&self, sku: &Sku, now: Timestamp, limit: usize) -> Result<Vec<DropRecord>, ArchiveError> {
        in_time(drops::around(&self.collections, sku, now, limit)).await
    }

    async fn drops_of_shard(
        &self,
        shard: Shard,
        after: Option<&DropId>,
        limit: usize,
    ) -> Result<Vec<DropRecord>, ArchiveError> {
        in_time(drops::of_shard(&self.collections, shard, after, limit)).await
    }

    async fn unopened_drops(&self, defined_before: Timestamp, limit: usize) -> Result<Vec<DropRecord>, ArchiveError> {
        in_time(drops::unopened(&self.collections, defined_before, limit)).await
    }

    async fn insert_facts(&self, facts: &[Fact]) -> Result<Vec<Refusal>, ArchiveError> {
        in_time(facts::insert(&self.collections, facts)).await
    }

    async fn facts_by_ids(&self, ids: &[FactId]) -> Result<Vec<Fact>, ArchiveError> {
        in_time(facts::by_ids(&self.collections, ids)).await
    }

    async fn order(&self, id: OrderId) -> Result<Option<ArchivedOrder>, ArchiveError> {
        in_time(orders::one(&self.collections, id)).await
    }

    async fn orders(
        &self,
        filter: &OrderFilter,
        before: Option<OrderId>,
        limit: usize,
    ) -> Result<Vec<ArchivedOrder>, ArchiveError> {
        in_time(orders::page(&self.collections, filter, before, limit)).await
    }

    async fn order_of_key(
        &self,
        drop_id: &DropId,
        user_id: &UserId,
        key: KeyDigest,
    ) -> Result<Option<(ArchivedOrder, Fingerprint)>, ArchiveError> {
        in_time(orders::of_key(&self.collections, drop_id, user_id, key)).await
    }

    async fn facts(
        &self,
        shard: Shard,
        range: FactRange,
        after: Option<FactCursor>,
        limit: usize,
    ) -> Result<Vec<Fact>, ArchiveError> {
        in_time(facts::range(&self.collections, shard, range, after, limit)).await
    }

    async fn order_facts(&self, ids: &[OrderId]) -> Result<Vec<Fact>, ArchiveError> {
        in_time(facts::of_orders(&self.collections, ids)).await
    }

    async fn count_facts(&self, shard: Shard, epoch: Epoch, numbers: RangeInclusive<u64>) -> Result<u64, ArchiveError> {
        in_time(facts::count(&self.collections, shard, epoch, &numbers)).await
    }

    async fn highest_log_id(&self, shard: Shard) -> Result<Option<LogId>, ArchiveError> {
        in_time(facts::highest_log_id(&self.collections, shard)).await
    }

    async fn note_dead_letters(&self, letters: &[DeadLetter]) -> Result<Vec<Refusal>, ArchiveError> {
        in_time(dead_letters::insert(&self.collections, letters)).await
    }

    async fn dead_letters(
        &self,
        shard: Shard,
        range: FactRange,
        after: Option<FactCursor>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, ArchiveError> {
        in_time(dead_letters::range(&self.collections, shard, range, after, limit)).await
    }

    async fn epoch(&self, shard: Shard) -> Result<Epoch, ArchiveError> {
        in_time(epochs::current(&self.collections, shard)).await
    }

    async fn raise_epoch(&self, shard: Shard) -> Result<Epoch, ArchiveError> {
        in_time(epochs::raise(&self.collections, shard)).await
    }

    async fn close_epoch(&self, closing: &Closing) -> Result<Closing, ArchiveError> {
        in_time(epochs::close(&self.collections, closing)).await
    }

    async fn closings(&self, shard: Shard) -> Result<Vec<Closing>, ArchiveError> {
        in_time(epochs::closings(&self.collections, shard)).await
    }

    async fn stocks(&self, shard: Shard, drops: &[DropId]) -> Result<Vec<StockRecord>, ArchiveError> {
        in_time(reconciliations::stocks(&self.collections, shard, drops)).await
    }

    async fn put_stocks(&self, stocks: &[StockRecord]) -> Result<(), ArchiveError> {
        in_time(reconciliations::put_stocks(&self.collections, stocks)).await
    }

    async fn put_reconciliation(&self, record: &Reconciliation, keep: usize) -> Result<(), ArchiveError> {
        in_time(reconciliations::insert(&self.collections, record, keep)).await
    }

    async fn reconciliations(&self, drop_id: &DropId, limit: usize) -> Result<Vec<Reconciliation>, ArchiveError> {
        in_time(reconciliations::newest(&self.collections, drop_id, limit)).await
    }
}
