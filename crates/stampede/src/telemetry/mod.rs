//! What a process tells of itself: logs and metrics.

pub use logs::start_logs;
pub use metrics::start_metrics;

mod logs;
mod metrics;
