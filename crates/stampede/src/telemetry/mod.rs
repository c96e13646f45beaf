//! What a process tells of itself: logs, metrics and traces.

pub use logs::start_logs;
pub use metrics::{Metrics, Role};
pub use traces::start_traces;

mod catalogue;
mod logs;
mod metrics;
mod scrape;
mod traces;
