//! What answers wait for: replicas and files of real servers, which are frozen, killed, told something else and promoted.

mod failover;
mod fsync;
mod replica;
mod servers;
mod start;
#[path = "../support/mod.rs"]
mod support;
