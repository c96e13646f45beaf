//! Figures of one reading, on their way into Prometheus's text format.

use prometheus::core::Collector;
use prometheus::{Counter, GaugeVec, Opts, Registry, TextEncoder};
use stampede_domain::{Metric, MetricKind};

/// Figures that were read at one moment. Each reading has a registry of its own, so what is gone leaves no series behind.
#[derive(Default)]
pub struct Figures(Registry);

impl Figures {
    /// A figure without labels.
    pub fn one(&mut self, metric: &Metric, value: f64) {
        let added = match metric.kind {
            MetricKind::Counter => Counter::with_opts(opts(metric)).and_then(|counter| {
                counter.inc_by(value);
                self.0.register(Box::new(counter))
            }),
            MetricKind::Gauge | MetricKind::Histogram(_) => self.gauges(metric, [(Vec::new(), value)]),
        };
        tell(metric, added);
    }

    /// One figure for each set of values of the metric's labels.
    pub fn each<'a>(&mut self, metric: &Metric, values: impl IntoIterator<Item = (Vec<&'a str>, f64)>) {
        let added = self.gauges(metric, values);
        tell(metric, added);
    }

    /// The text.
    pub fn text(&self) -> String {
        TextEncoder::new().encode_to_string(&self.0.gather()).unwrap_or_else(|error| {
            tracing::error!(%error, "what was read for the metrics cannot be shown");
            String::new()
        })
    }

    fn gauges<'a>(
        &self,
        metric: &Metric,
        values: impl IntoIterator<Item = (Vec<&'a str>, f64)>,
    ) -> prometheus::Result<()> {
        let gauges = GaugeVec::new(opts(metric), metric.labels)?;
        for (labels, value) in values {
            gauges.get_metric_with_label_values(&labels)?.set(value);
        }
        // A family without series is no family.
        if gauges.collect().iter().all(|family| family.get_metric().is_empty()) {
            return Ok(());
        }
        self.0.register(Box::new(gauges))
    }
}

fn opts(metric: &Metric) -> Opts {
    Opts::new(metric.name, metric.help)
}

fn tell(metric: &Metric, added: prometheus::Result<()>) {
    if let Err(error) = added {
        tracing::error!(metric = metric.name, %error, "a figure cannot be shown");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STOCK: Metric = Metric::gauge("stock_units", &["drop", "state"], "Units.");

    #[test]
    fn figures_are_written_with_their_labels_and_help() {
        let mut figures = Figures::default();
        figures.each(&STOCK, [(vec!["a\"b", "sold"], 2.0), (vec!["c", "held"], 0.0)]);
        figures.one(&Metric::counter("seconds_total", &[], "Seconds."), 1.5);
        let text = figures.text();
        for line in [
            "# HELP seconds_total Seconds.",
            "# TYPE seconds_total counter",
            "seconds_total 1.5",
            "# TYPE stock_units gauge",
            r#"stock_units{drop="a\"b",state="sold"} 2"#,
            r#"stock_units{drop="c",state="held"} 0"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is in:\n{text}");
        }
    }

    #[test]
    fn a_metric_without_figures_is_left_out() {
        let mut figures = Figures::default();
        figures.each(&STOCK, []);
        assert_eq!(figures.text(), "");
    }
}
