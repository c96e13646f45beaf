//! What a process tells of itself: logs, metrics and traces.

pub use logs::start_logs;
pub use metrics::start_metrics;
pub use traces::start_traces;

mod logs;
mod metrics;
mod traces;
