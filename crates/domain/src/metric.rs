//! How a metric is listed. Each crate that counts has one table of these: names, labels and help texts stand nowhere else.

use std::fmt;

/// One metric, as the recorder and the pages know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name, with its unit.
    pub name: &'static str,
    /// How it counts.
    pub kind: MetricKind,
    /// The names of its labels, in order. The values of each are few, or bounded by a setting.
    pub labels: &'static [&'static str],
    /// What it means, in a sentence.
    pub help: &'static str,
}

/// How a metric counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// It only rises, from 0 at the start of the process.
    Counter,
    /// It rises and falls.
    Gauge,
    /// It counts how many values fell into each of these buckets.
    Histogram(Buckets),
}

/// The buckets of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buckets {
    /// For calls and requests, in seconds: from a script call on the same machine to the longest request.
    Latency,
    /// For what may wait while a store is away, in seconds: up to hours.
    Lag,
    /// For sizes of groups and batches: the largest group has 1,024 orders, a batch many groups.
    Size,
}

impl Metric {
    /// A counter.
    pub const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, kind: MetricKind::Counter, labels, help }
    }

    /// A gauge.
    pub const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, kind: MetricKind::Gauge, labels, help }
    }

    /// A histogram.
    pub const fn histogram(
        name: &'static str,
        buckets: Buckets,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self { name, kind: MetricKind::Histogram(buckets), labels, help }
    }
}

impl Buckets {
    /// The upper bounds of the buckets, rising; above the last there is one more.
    pub const fn bounds(self) -> &'static [f64] {
        match self {
            Self::Latency => {
                &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0]
            }
            Self::Lag => &[
                0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0,
                14_400.0,
            ],
            Self::Size => &[
                1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0, 2_048.0, 4_096.0, 8_192.0,
                16_384.0, 65_536.0,
            ],
        }
    }
}

impl fmt::Display for MetricKind {
    /// The word for it in Prometheus's text format.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_rise() {
        for buckets in [Buckets::Latency, Buckets::Lag, Buckets::Size] {
            assert!(buckets.bounds().is_sorted_by(|a, b| a < b), "{buckets:?}");
        }
    }
}
