//! The recorder of metrics.

use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Buckets for times, in seconds: from a script call on the same machine to the longest request.
const SECONDS: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Buckets for sizes of groups and batches; the largest group has 1,024 orders, a batch many groups.
const COUNTS: [f64; 16] =
    [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0, 2_048.0, 4_096.0, 8_192.0, 16_384.0, 65_536.0];

/// How often what histograms were given is put into their buckets; unread samples would pile up otherwise.
const UPKEEP: Duration = Duration::from_secs(5);

/// Starts counting. To be called within the runtime, once, before anything counts.
///
/// # Errors
/// If counting was started before.
pub fn start_metrics() -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_orders".to_owned()), &COUNTS)?
        .set_buckets_for_metric(Matcher::Suffix("_facts".to_owned()), &COUNTS)?
        .install_recorder()?;
    stampede_engine::describe_metrics();
    stampede_api::describe_metrics();
    stampede_worker::describe_metrics();
    let upkeep = handle.clone();
    tokio::spawn(async move {
        let mut every = tokio::time::interval(UPKEEP);
        loop {
            every.tick().await;
            upkeep.run_upkeep();
        }
    });
    Ok(handle)
}
