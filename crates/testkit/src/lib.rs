//! Real servers for tests: a private Redis, one with replicas and sentinels, a Redis Cluster, a MongoDB-protocol server,
//! and cut connections between.
//!
//! Nothing here imitates a server. A fault is a killed process, a stopped one, or a cut connection.

#[cfg(feature = "app")]
mod app;
mod cluster;
pub mod history;
mod mongo;
mod port;
mod process;
mod proxy;
mod redis;
mod replication;
mod resp;
mod rewrite;
mod sentinels;
mod slot_move;

#[cfg(feature = "app")]
pub use app::{Answer, AppOptions, Caller, TestApp};
pub use cluster::RedisCluster;
pub use mongo::{MongoDatabase, MongoServer};
pub use port::free_port;
pub use proxy::Proxy;
pub use redis::{Redis, RedisOptions};
pub use sentinels::Sentinels;
pub use slot_move::SlotMove;
