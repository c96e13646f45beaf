//! The binary as its users meet it: processes that are started, asked, killed and started again.

mod care;
mod commands;
mod dead_letters;
mod dev;
mod logs;
mod page;
mod purge;
mod receiver;
mod roles;
mod rolling;
mod stopping;
mod support;
mod tracing;
