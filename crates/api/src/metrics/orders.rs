//! What is counted of orders, and of their refusals without Redis.

use metrics::{Counter, Gauge, counter, gauge};

use super::{FILTER_BUILDS, FILTER_BYTES, FILTERS, LOCAL_REFUSALS, ORDERED_UNITS, ORDERS};

/// What an order can come to, as the label says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OrderOutcome {
    Granted,
    Replayed,
    KeyReused,
    RateLimited,
    NotActive,
    PriceChanged,
    LimitReached,
    SoldOut,
    InsufficientStock,
    ArchiveBehind,
    ShardRecovering,
    OutcomeUnknown,
    Unavailable,
    Invalid,
}

impl OrderOutcome {
    /// In the order of their numbers; the last one says how many there are.
    const ALL: [Self; Self::Invalid as usize + 1] = [
        Self::Granted,
        Self::Replayed,
        Self::KeyReused,
        Self::RateLimited,
        Self::NotActive,
        Self::PriceChanged,
        Self::LimitReached,
        Self::SoldOut,
        Self::InsufficientStock,
        Self::ArchiveBehind,
        Self::ShardRecovering,
        Self::OutcomeUnknown,
        Self::Unavailable,
        Self::Invalid,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Replayed => "replayed",
            Self::KeyReused => "key_reused",
            Self::RateLimited => "rate_limited",
            Self::NotActive => "not_active",
            Self::PriceChanged => "price_changed",
            Self::LimitReached => "limit_reached",
            Self::SoldOut => "sold_out",
            Self::InsufficientStock => "insufficient_stock",
            Self::ArchiveBehind => "archive_behind",
            Self::ShardRecovering => "shard_recovering",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::Unavailable => "unavailable",
            Self::Invalid => "invalid",
        }
    }
}

/// The counters of orders: all are there from the start, so that the first of each kind is seen as a change.
pub(crate) struct OrderMetrics {
    outcomes: [Counter; OrderOutcome::ALL.len()],
    units: Counter,
}

impl OrderMetrics {
    /// Begins to count, at 0.
    pub fn new() -> Self {
        Self {
            outcomes: OrderOutcome::ALL.map(|outcome| counter!(ORDERS.name, "outcome" => outcome.as_str())),
            units: counter!(ORDERED_UNITS.name),
        }
    }

    /// Counts one answer.
    pub fn count(&self, outcome: OrderOutcome) {
        self.outcomes[outcome as usize].increment(1);
    }

    /// Counts an order that was granted now.
    pub fn granted(&self, units: u16) {
        self.count(OrderOutcome::Granted);
        self.units.increment(u64::from(units));
    }
}

/// What became of a filter of buyers that was to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FilterBuild {
    /// It was made.
    Built,
    /// The drop changed, or is not sold out.
    Changed,
    /// It has more buyers than a filter may have.
    TooLarge,
    /// Redis did not answer.
    Error,
}

impl FilterBuild {
    /// In the order of their numbers.
    const ALL: [Self; 4] = [Self::Built, Self::Changed, Self::TooLarge, Self::Error];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Built => "built",
            Self::Changed => "changed",
            Self::TooLarge => "too_large",
            Self::Error => "error",
        }
    }
}

/// What is counted of filters of buyers.
pub(crate) struct FilterMetrics {
    refusals: Counter,
    filters: Gauge,
    bytes: Gauge,
    builds: [Counter; FilterBuild::ALL.len()],
}

impl FilterMetrics {
    /// Begins to count, at 0.
    pub fn new() -> Self {
        Self {
            refusals: counter!(LOCAL_REFUSALS.name),
            filters: gauge!(FILTERS.name),
            bytes: gauge!(FILTER_BYTES.name),
            builds: FilterBuild::ALL.map(|outcome| counter!(FILTER_BUILDS.name, "outcome" => outcome.as_str())),
        }
    }

    /// An order was refused here.
    pub fn refused(&self) {
        self.refusals.increment(1);
    }

    /// So many filters are held now, in so many bytes.
    pub fn held(&self, filters: usize, bytes: usize) {
        self.filters.set(filters as f64);
        self.bytes.set(bytes as f64);
    }

    /// A filter was to be made.
    pub fn built(&self, outcome: FilterBuild) {
        self.builds[outcome as usize].increment(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_needs_no_recorder() {
        OrderMetrics::new().count(OrderOutcome::Invalid);
    }

    #[test]
    fn an_outcome_is_its_place_in_the_list() {
        for (place, outcome) in OrderOutcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, place, "{outcome:?}");
        }
    }
}
