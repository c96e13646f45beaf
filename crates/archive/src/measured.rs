//! An archive that counts what is asked of it, and how long that takes.

use std::ops::RangeInclusive;

use async_trait::async_trait;
use stampede_domain::{
    Closing, DeadLetter, Deployment, DropDefinition, DropId, Epoch, Fact, FactId, Fingerprint, KeyDigest, LogId,
    OrderId, Product, Shard, Sku, Timestamp, UserId, Window,
};

use crate::metrics::Operation;
use crate::{
    Archive, ArchiveError, ArchivedOrder, CreateProduct, DefineDrop, DropCursor, DropRecord, DropStage, FactCursor,
    FactRange, OrderFilter, Reconciliation, Refusal, SchemaStatus, StockRecord, WindowChange,
};

/// An archive around another, which does the work.
pub(crate) struct Measured<A>(pub(crate) A);

macro_rules! measured {
    ($($operation:ident($($arg:ident: $ty:ty),*) -> $out:ty;)*) => {
        #[async_trait]
        impl<A: Archive> Archive for Measured<A> {
            fn kind(&self) -> &'static str {
                self.0.kind()
            }

            $(async fn $operation(&self, $($arg: $ty),*) -> Result<$out, ArchiveError> {
                static OPERATION: Operation = Operation::new(stringify!($operation));
                OPERATION.counted(self.0.$operation($($arg),*)).await
            })*
        }
    };
}

measured! {
    ping() -> ();
    schema_status() -> SchemaStatus;
    migrate() -> ();
    deployment(proposed: &Deployment) -> Deployment;
    create_product(product: &Product) -> CreateProduct;
    product(sku: &Sku) -> Option<Product>;
    products(after: Option<&(Timestamp, Sku)>, limit: usize) -> Vec<Product>;
    define_drop(definition: &DropDefinition) -> DefineDrop;
    move_drop(id: &DropId, from: DropStage, to: DropStage) -> bool;
    release_window(sku: &Sku, id: &DropId) -> ();
    change_window(sku: &Sku, id: &DropId, window: &Window) -> WindowChange;
    drop_record(id: &DropId) -> Option<DropRecord>;
    drops(sku: Option<&Sku>, after: Option<&DropCursor>, limit: usize) -> Vec<DropRecord>;
    drops_around(sku: &Sku, now: Timestamp, limit: usize) -> Vec<DropRecord>;
    drops_of_shard(shard: Shard, after: Option<&DropId>, limit: usize) -> Vec<DropRecord>;
    unopened_drops(defined_before: Timestamp, limit: usize) -> Vec<DropRecord>;
    insert_facts(facts: &[Fact]) -> Vec<Refusal>;
    facts_by_ids(ids: &[FactId]) -> Vec<Fact>;
    order(id: OrderId) -> Option<ArchivedOrder>;
    orders(filter: &OrderFilter, before: Option<OrderId>, limit: usize) -> Vec<ArchivedOrder>;
    order_of_key(drop_id: &DropId, user_id: &UserId, key: KeyDigest) -> Option<(ArchivedOrder, Fingerprint)>;
    facts(shard: Shard, range: FactRange, after: Option<FactCursor>, limit: usize) -> Vec<Fact>;
    order_facts(ids: &[OrderId]) -> Vec<Fact>;
    count_facts(shard: Shard, epoch: Epoch, numbers: RangeInclusive<u64>) -> u64;
    highest_log_id(shard: Shard) -> Option<LogId>;
    note_dead_letters(letters: &[DeadLetter]) -> Vec<Refusal>;
    dead_letters(shard: Shard, range: FactRange, after: Option<FactCursor>, limit: usize) -> Vec<DeadLetter>;
    epoch(shard: Shard) -> Epoch;
    raise_epoch(shard: Shard) -> Epoch;
    close_epoch(closing: &Closing) -> Closing;
    closings(shard: Shard) -> Vec<Closing>;
    stocks(shard: Shard, drops: &[DropId]) -> Vec<StockRecord>;
    put_stocks(stocks: &[StockRecord]) -> ();
    put_reconciliation(record: &Reconciliation, keep: usize) -> ();
    reconciliations(drop_id: &DropId, limit: usize) -> Vec<Reconciliation>;
}
