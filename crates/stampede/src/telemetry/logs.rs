//! Logs, to standard error.

use std::io::{IsTerminal, stderr};

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat};

/// Starts writing logs, to standard error.
///
/// # Errors
/// If the filter is none.
pub fn start_logs(config: &Config) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.log).context("log is not a filter")?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    match config.log_format {
        LogFormat::Pretty => logs.with_ansi(stderr().is_terminal()).init(),
        // There is one span, the request; a list of it would say everything twice.
        LogFormat::Json => logs.json().flatten_event(true).with_span_list(false).init(),
    }
    Ok(())
}
