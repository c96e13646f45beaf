//! What operators see: the dashboards, the alert rules and their runbooks, held to what a running sale really tells.

mod dashboards;
mod files;
mod prometheus;
mod promql;
mod proof;
mod rules;
mod sale;
#[path = "../process/support.rs"]
#[expect(dead_code, reason = "it has more than these tests need")]
mod support;
