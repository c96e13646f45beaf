//! The binary as its users meet it: processes that are started, asked, killed and started again.

mod care;
mod commands;
mod dev;
mod page;
mod roles;
mod support;
