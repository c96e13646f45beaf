//! The binary as its users meet it: processes that are started, asked, killed and started again.

mod care;
mod commands;
mod dead_letters;
mod deployed;
mod dev;
mod limits;
mod logs;
mod metrics;
mod metrics_of_roles;
mod page;
mod purge;
mod receiver;
mod roles;
mod rolling;
mod scrape;
mod stopping;
mod support;
mod top;
mod tracing;
