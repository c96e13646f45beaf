//! What is true of a sale without any I/O: money, windows, limits, ids, facts.
//!
//! Nothing in this crate is async or knows a client of any server. The engine, the archive, the API and the workers all
//! speak in these types, so a rule that is written here (which facts count, what phase a drop is in, how an order id is
//! made) is written once.

mod closing;
mod codec;
mod dead_letter;
mod deployment;
mod digest;
mod drop;
mod fact;
mod fact_id;
mod grant_record;
mod group;
mod ids;
mod metric;
mod money;
mod order;
mod order_id;
mod phase;
mod position;
mod product;
mod shard;
mod stock;
mod stripes;
mod time;
mod trace;

pub use closing::{Closing, counts, uncovered};
pub use codec::Malformed;
pub use dead_letter::DeadLetter;
pub use deployment::Deployment;
pub use digest::{Fingerprint, KeyDigest, UserDigest, nonce};
pub use drop::{DropDefinition, Durability, Mode, Tombstone, Window};
pub use fact::{CancelledBy, ClosedBy, Compensation, Entry, Fact, FactBody, Grant, Withdrawal};
pub use fact_id::{FactId, InvalidFactId};
pub use grant_record::{GrantRecord, GrantState};
pub use group::{GroupData, GroupDrop, GroupOrder, MAX_GROUP_DROPS, MAX_GROUP_ORDERS, picked};
pub use ids::{DropId, IdempotencyKey, InvalidId, Sku, UserId};
pub use metric::{Buckets, Metric, MetricKind};
pub use money::{Currency, InvalidCurrency, Money};
pub use order::{Order, OrderStatus};
pub use order_id::{InvalidOrderId, OrderId};
pub use phase::{DropState, Phase};
pub use position::{Epoch, InvalidLogId, LogId, Position, Version};
pub use product::Product;
pub use shard::{InvalidShardCount, Shard, ShardCount};
pub use stock::Stock;
pub use stripes::Stripes;
pub use time::{InvalidTimestamp, Timestamp};
pub use trace::{MAX_GROUP_TRACES, TraceContext, TraceId, Traceparent};
