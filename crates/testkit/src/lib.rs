//! Real servers for tests: a private Redis, one with replicas and sentinels, a Redis Cluster, a MongoDB-protocol server,
//! and cut connections between.
//!
//! Nothing here imitates a server. A fault is a killed process, a stopped one, or a cut connection.

#[cfg(feature = "app")]
mod app;
mod clock;
mod cluster;
#[cfg(feature = "app")]
mod fill;
pub mod history;
#[cfg(feature = "app")]
mod http;
mod mongo;
mod own_mongo;
mod port;
mod process;
mod program;
mod proxy;
mod redis;
mod replication;
mod resp;
mod rewrite;
mod sentinels;
mod slot_move;
mod sqlite;

#[cfg(feature = "app")]
pub use app::{Answer, AppOptions, Caller, TestApp, assert_invariants};
pub use clock::can_set_clock_back;
pub use cluster::RedisCluster;
#[cfg(feature = "app")]
pub use fill::fill_archive;
#[cfg(feature = "app")]
pub use http::http_client;
pub use mongo::{MongoDatabase, MongoServer};
pub use own_mongo::OwnMongo;
pub use port::free_port;
pub use program::Program;
pub use proxy::Proxy;
pub use redis::{Redis, RedisOptions};
pub use sentinels::Sentinels;
pub use slot_move::SlotMove;
pub use sqlite::SqliteFault;
