//! The binary as its users meet it: processes that are started, asked, killed and started again.

mod care;
mod commands;
mod dead_letters;
mod deployed;
mod dev;
mod page;
mod purge;
mod roles;
mod rolling;
mod stopping;
mod support;
