//! A drop in a round.

use stampede_archive::{DropRecord, Reconciliation, StockFigures};
use stampede_domain::{Shard, Stock, Timestamp};
use stampede_engine::LiveDrop;

use super::findings::Findings;
use super::fold::{Folding, Place};
use super::users::Pass;

/// What was seen of what a shard has of a drop, and what was found.
pub(super) struct Checked {
    pub(super) record: DropRecord,
    pub(super) shard: Shard,
    pub(super) cut: Place,
    pub(super) live: Option<LiveDrop>,
    pub(super) folding: Folding,
    pub(super) findings: Findings,
    pub(super) users: u64,
    pub(super) orders: u64,
}

impl Checked {
    /// A pass over its users that begins with its cut.
    pub(super) fn pass(&self) -> Pass {
        Pass::new(self.shard, &self.record.definition, self.cut, self.folding.stock.clone())
    }

    pub(super) fn reconciliation(&mut self, whole: bool) -> Reconciliation {
        let signed = |units: u64| i64::try_from(units).unwrap_or(i64::MAX);
        Reconciliation {
            drop_id: self.record.definition.id.clone(),
            stripe: self.record.definition.stripes.is_striped().then_some(self.shard),
            reconciled_at: Timestamp::now(),
            epoch: self.cut.epoch,
            number: self.cut.number,
            whole,
            redis: self.live.as_ref().map(|live| StockFigures {
                total: signed(live.total_units),
                available: signed(live.available_units),
                held: signed(live.held_units),
                sold: signed(live.sold_units),
            }),
            archive: StockFigures::from(&self.folding.stock),
            users_checked: self.users,
            orders_checked: self.orders,
            drift: std::mem::take(&mut self.findings).into_drift(),
        }
    }
}

/// The way of a drop's stock in a shard from its first fact up to a cut.
pub(super) fn from_start(record: &DropRecord, shard: Shard, cut: Place) -> Folding {
    Folding::new(Stock::opened(&record.definition, shard), Place::START, cut)
}
