//! What a process tells of itself: logs and metrics.

pub use logs::start_logs;
pub use metrics::{Metrics, Role};

mod catalogue;
mod logs;
mod metrics;
mod scrape;
