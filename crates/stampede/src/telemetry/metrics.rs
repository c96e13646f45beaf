//! The recorder of metrics, and the page that shows them.

use std::sync::Arc;
use std::time::Duration;

use metrics::{describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use stampede_domain::MetricKind;
use stampede_engine::Engine;

use super::catalogue;
use super::scrape::Scraper;
use crate::config::Config;

/// How often what histograms were given is put into their buckets; unread samples would pile up otherwise.
const UPKEEP: Duration = Duration::from_secs(5);

/// What a process is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It answers shoppers and operators.
    Api,
    /// It moves, recovers, compares.
    Worker,
    /// It does everything.
    Dev,
}

impl Role {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Worker => "worker",
            Self::Dev => "dev",
        }
    }

    /// Whether it tells how shards and drops stand: it is enough if the workers do.
    const fn reads_stores(self) -> bool {
        matches!(self, Self::Worker | Self::Dev)
    }
}

/// The metrics of this process; cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    recorder: PrometheusHandle,
    scraper: Arc<Scraper>,
}

impl Metrics {
    /// Starts counting. To be called within the runtime, once, before anything counts.
    ///
    /// # Errors
    /// If counting was started before.
    pub fn start(role: Role, config: &Config) -> anyhow::Result<Self> {
        let mut builder = PrometheusBuilder::new();
        for metric in catalogue::all() {
            if let MetricKind::Histogram(buckets) = metric.kind {
                builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), buckets.bounds())?;
            }
        }
        let recorder = builder.install_recorder()?;
        for metric in catalogue::all() {
            match metric.kind {
                MetricKind::Counter => describe_counter!(metric.name, metric.help),
                MetricKind::Gauge => describe_gauge!(metric.name, metric.help),
                MetricKind::Histogram(_) => describe_histogram!(metric.name, metric.help),
            }
        }
        gauge!(catalogue::BUILD_INFO.name, "version" => env!("CARGO_PKG_VERSION"), "role" => role.as_str()).set(1.0);
        let upkeep = recorder.clone();
        tokio::spawn(async move {
            let mut every = tokio::time::interval(UPKEEP);
            loop {
                every.tick().await;
                upkeep.run_upkeep();
            }
        });
        let drops_max = usize::try_from(config.metrics_drops_max).unwrap_or(usize::MAX);
        let scraper = Arc::new(Scraper::new(role.reads_stores(), drops_max));
        Ok(Self { recorder, scraper })
    }

    /// From now on the hot state can be read too.
    pub fn connected(&self, engine: &Engine) {
        self.scraper.connected(engine);
    }

    /// The page, in Prometheus's text format: what was counted, and what is read now.
    pub async fn render(&self) -> String {
        let read = self.scraper.read().await;
        let mut page = self.recorder.render();
        page.push_str(&read);
        page
    }
}
