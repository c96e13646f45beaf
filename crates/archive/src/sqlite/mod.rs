//! The embedded archive: one SQLite file.
//!
//! One connection writes, a few others read. The file is in WAL mode, so that reads neither wait for a batch that is being
//! written nor hold it up, and every commit is on the disk before it is acknowledged.

mod columns;
mod connections;
mod dead_letters;
mod drops;
mod epochs;
mod errors;
mod events;
mod facts;
mod grants;
mod inserting;
mod moving;
mod orders;
mod products;
mod reconciliations;
mod schema;
#[cfg(test)]
mod tests;
mod user_index;
mod windows;

use std::ops::RangeInclusive;
use std::path::Path;

use async_trait::async_trait;
use stampede_domain::{
    Closing, DeadLetter, Deployment, DropDefinition, DropId, Epoch, Fact, FactId, Fingerprint, KeyDigest, LogId,
    OrderId, Product, Shard, Sku, Timestamp, UserId, Window,
};

use crate::{
    Archive, ArchiveError, ArchivedOrder, CreateProduct, DefineDrop, DropCursor, DropRecord, DropStage, FactCursor,
    FactRange, OrderFilter, Reconciliation, Refusal, SchemaStatus, StockRecord, WindowChange,
};
use connections::Connections;

/// The archive in a SQLite file.
pub struct SqliteArchive {
    connections: Connections,
}

impl SqliteArchive {
    /// Opens the file, and creates it and its folder if they are missing. Its schema is [`Archive::migrate`]'s affair.
    ///
    /// # Errors
    /// [`ArchiveError::Unavailable`] if it cannot be opened.
    pub async fn open(path: &Path) -> Result<Self, ArchiveError> {
        Ok(Self { connections: Connections::open(path).await? })
    }
}

#[async_trait]
impl Archive for SqliteArchive {
    fn kind(&self) -> &'static str {
        "sqlite"
    }

    async fn ping(&self) -> Result<(), ArchiveError> {
        self.connections.read(|db| Ok(db.query_row("SELECT 1", [], |_| Ok(()))?)).await
    }

    async fn schema_status(&self) -> Result<SchemaStatus, ArchiveError> {
        self.connections.read(schema::status).await
    }

    async fn migrate(&self) -> Result<(), ArchiveError> {
        self.connections.write(schema::migrate).await
    }

    async fn deployment(&self, proposed: &Deployment) -> Result<Deployment, ArchiveError> {
        let proposed = proposed.clone();
        self.connections.write(move |db| epochs::deployment(db, &proposed)).await
    }

    async fn create_product(&self, product: &Product) -> Result<CreateProduct, ArchiveError> {
        let product = product.clone();
        self.connections.write(move |db| products::create(db, &product)).await
    }

    async fn product(&self, sku: &Sku) -> Result<Option<Product>, ArchiveError> {
        let sku = sku.clone();
        self.connections.read(move |db| products::one(db, &sku)).await
    }

    async fn products(&self, after: Option<&(Timestamp, Sku)>, limit: usize) -> Result<Vec<Product>, ArchiveError> {
        let after = after.cloned();
        self.connections.read(move |db| products::page(db, after, limit)).await
    }

    async fn define_drop(&self, definition: &DropDefinition) -> Result<DefineDrop, ArchiveError> {
        let definition = definition.clone();
        self.connections.write(move |db| windows::define(db, &definition)).await
    }

    async fn move_drop(&self, id: &DropId, from: DropStage, to: DropStage) -> Result<bool, ArchiveError> {
        let id = id.clone();
        self.connections.write(move |db| drops::move_stage(db, &id, from, to)).await
    }

    async fn release_window(&self, sku: &Sku, id: &DropId) -> Result<(), ArchiveError> {
        let (sku, id) = (sku.clone(), id.clone());
        self.connections.write(move |db| windows::release(db, &sku, &id)).await
    }

    async fn change_window(&self, sku: &Sku, id: &DropId, window: &Window) -> Result<WindowChange, ArchiveError> {
        let (sku, id, window) = (sku.clone(), id.clone(), *window);
        self.connections.write(move |db| windows::change(db, &sku, &id, &window)).await
    }

    async fn drop_record(&self, id: &DropId) -> Result<Option<DropRecord>, ArchiveError> {
        let id = id.clone();
        self.connections.read(move |db| drops::one(db, &id)).await
    }

    async fn drops(
        &self,
        sku: Option<&Sku>,
        after: Option<&DropCursor>,
        limit: usize,
    ) -> Result<Vec<DropRecord>, ArchiveError> {
        let (sku, after) = (sku.cloned(), after.cloned());
        self.connections.read(move |db| drops::page(db, sku.as_ref(), after, limit)).await
    }

    async fn drops_around(&self, sku: &Sku, now: Timestamp, limit: usize) -> Result<Vec<DropRecord>, ArchiveError> {
        let sku = sku.clone();
        self.connections.read(move |db| drops::around(db, &sku, now, limit)).await
    }

    async fn drops_of_shard(
        &self,
        shard: Shard,
        after: Option<&DropId>,
        limit: usize,
    ) -> Result<Vec<DropRecord>, ArchiveError> {
        let after = after.cloned();
        self.connections.read(move |db| drops::of_shard(db, shard, after.as_ref(), limit)).await
    }

    async fn unopened_drops(&self, defined_before: Timestamp, limit: usize) -> Result<Vec<DropRecord>, ArchiveError> {
        self.connections.read(move |db| drops::unopened(db, defined_before, limit)).await
    }

    async fn insert_facts(&self, facts: &[Fact]) -> Result<Vec<Refusal>, ArchiveError> {
        let facts = facts.to_vec();
        self.connections.write(move |db| inserting::insert(db, &facts)).await
    }

    async fn facts_by_ids(&self, ids: &[FactId]) -> Result<Vec<Fact>, ArchiveError> {
        let ids = ids.to_vec();
        self.connections.read(move |db| facts::by_ids(db, &ids)).await
    }

    async fn order(&self, id: OrderId) -> Result<Option<ArchivedOrder>, ArchiveError> {
        self.connections.read(move |db| orders::one(db, id)).await
    }

    async fn orders(
        &self,
        filter: &OrderFilter,
        before: Option<OrderId>,
        limit: usize,
    ) -> Result<Vec<ArchivedOrder>, ArchiveError> {
        let filter = filter.clone();
        self.connections.read(move |db| orders::page(db, &filter, before, limit)).await
    }

    async fn order_of_key(
        &self,
        drop_id: &DropId,
        user_id: &UserId,
        key: KeyDigest,
    ) -> Result<Option<(ArchivedOrder, Fingerprint)>, ArchiveError> {
        let (drop_id, user_id) = (drop_id.clone(), user_id.clone());
        self.connections.read(move |db| orders::of_key(db, &drop_id, &user_id, key)).await
    }

    async fn facts(
        &self,
        shard: Shard,
        range: FactRange,
        after: Option<FactCursor>,
        limit: usize,
    ) -> Result<Vec<Fact>, ArchiveError> {
        self.connections.read(move |db| facts::range(db, shard, range, after, limit)).await
    }

    async fn order_facts(&self, ids: &[OrderId]) -> Result<Vec<Fact>, ArchiveError> {
        let ids = ids.to_vec();
        self.connections.read(move |db| facts::of_orders(db, &ids)).await
    }

    async fn count_facts(&self, shard: Shard, epoch: Epoch, numbers: RangeInclusive<u64>) -> Result<u64, ArchiveError> {
        self.connections.read(move |db| facts::count(db, shard, epoch, &numbers)).await
    }

    async fn highest_log_id(&self, shard: Shard) -> Result<Option<LogId>, ArchiveError> {
        self.connections.read(move |db| facts::highest_log_id(db, shard)).await
    }

    async fn note_dead_letters(&self, letters: &[DeadLetter]) -> Result<Vec<Refusal>, ArchiveError> {
        let letters = letters.to_vec();
        self.connections.write(move |db| dead_letters::insert(db, &letters)).await
    }

    async fn dead_letters(
        &self,
        shard: Shard,
        range: FactRange,
        after: Option<FactCursor>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, ArchiveError> {
        self.connections.read(move |db| dead_letters::range(db, shard, range, after, limit)).await
    }

    async fn epoch(&self, shard: Shard) -> Result<Epoch, ArchiveError> {
        self.connections.read(move |db| epochs::current(db, shard)).await
    }

    async fn raise_epoch(&self, shard: Shard) -> Result<Epoch, ArchiveError> {
        self.connections.write(move |db| epochs::raise(db, shard)).await
    }

    async fn close_epoch(&self, closing: &Closing) -> Result<Closing, ArchiveError> {
        let closing = closing.clone();
        self.connections.write(move |db| epochs::close(db, &closing)).await
    }

    async fn closings(&self, shard: Shard) -> Result<Vec<Closing>, ArchiveError> {
        self.connections.read(move |db| epochs::closings(db, shard)).await
    }

    async fn stocks(&self, shard: Shard, drops: &[DropId]) -> Result<Vec<StockRecord>, ArchiveError> {
        let drops = drops.to_vec();
        self.connections.read(move |db| reconciliations::stocks(db, shard, &drops)).await
    }

    async fn put_stocks(&self, stocks: &[StockRecord]) -> Result<(), ArchiveError> {
        let stocks = stocks.to_vec();
        self.connections.write(move |db| reconciliations::put_stocks(db, &stocks)).await
    }

    async fn put_reconciliation(&self, record: &Reconciliation, keep: usize) -> Result<(), ArchiveError> {
        let record = record.clone();
        self.connections.write(move |db| reconciliations::insert(db, &record, keep)).await
    }

    async fn reconciliations(&self, drop_id: &DropId, limit: usize) -> Result<Vec<Reconciliation>, ArchiveError> {
        let drop_id = drop_id.clone();
        self.connections.read(move |db| reconciliations::newest(db, &drop_id, limit)).await
    }
}
