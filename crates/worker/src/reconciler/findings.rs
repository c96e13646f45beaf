//! What differs, gathered by kind.

use std::collections::BTreeMap;

use stampede_archive::{Drift, DriftKind};
use stampede_domain::{OrderId, Stock};
use stampede_engine::LiveDrop;

/// Orders that are named for each kind; the rest is only counted.
const ORDERS_NAMED: usize = 10;

/// What was found to differ.
#[derive(Clone, Debug, Default)]
pub(super) struct Findings(BTreeMap<DriftKind, Drift>);

impl Findings {
    /// Notes that `units` differ; none for what is not counted in units.
    pub(super) fn add(&mut self, kind: DriftKind, units: u64, order: Option<OrderId>) {
        let drift = self.0.entry(kind).or_insert_with(|| Drift { kind, units: 0, count: 0, orders: Vec::new() });
        drift.units += units;
        drift.count += 1;
        if drift.orders.len() < ORDERS_NAMED {
            drift.orders.extend(order);
        }
    }

    /// Takes in what was found of the same drop at another time: of each kind, the greater.
    pub(super) fn merge(&mut self, other: &Self) {
        for (kind, drift) in &other.0 {
            match self.0.get(kind) {
                Some(known) if (known.units, known.count) >= (drift.units, drift.count) => {}
                _ => {
                    self.0.insert(*kind, drift.clone());
                }
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn into_drift(self) -> Vec<Drift> {
        self.0.into_values().collect()
    }
}

/// Compares what Redis holds of a drop with what its facts make of it.
pub(super) fn compare(live: &LiveDrop, stock: &Stock) -> Findings {
    let signed = |units: u64| i64::try_from(units).unwrap_or(i64::MAX);
    let (total, available) = (signed(live.total_units), signed(live.available_units));
    let (held, sold) = (signed(live.held_units), signed(live.sold_units));
    let mut findings = Findings::default();
    let parts = available.saturating_add(held).saturating_add(sold);
    for (kind, one, other) in [
        (DriftKind::Sum, total, parts),
        (DriftKind::Total, total, stock.total_units),
        (DriftKind::Available, available, stock.available_units),
        (DriftKind::Held, held, stock.held_units),
        (DriftKind::Sold, sold, stock.sold_units),
        (DriftKind::Transit, signed(live.sent_units), stock.sent_units),
        (DriftKind::Transit, signed(live.received_units), stock.received_units),
    ] {
        if one != other {
            findings.add(kind, one.abs_diff(other), None);
        }
    }
    for (kind, equal) in [
        (DriftKind::State, live.state == stock.state),
        (DriftKind::Window, live.window == stock.window),
        (DriftKind::Limit, live.limit_per_user == stock.limit_per_user),
    ] {
        if !equal {
            findings.add(kind, 0, None);
        }
    }
    findings
}
