//! What is on its way between the stripes of a drop.

use stampede_archive::DriftKind;
use stampede_domain::Shard;

use super::Reconciler;
use super::checked::Checked;
use super::sources::ReconcileError;

impl Reconciler {
    /// Over the whole drop, no more units arrived than left. Each stripe was cut at its own moment, so what left is read after
    /// all of these moments: then it can only be more. Told with the stripe in the drop's home.
    pub(super) async fn check_transit(&self, shard: Shard, checked: &mut [Checked]) -> Result<(), ReconcileError> {
        let engine = &self.sources.engine;
        for drop in checked.iter_mut() {
            let definition = &drop.record.definition;
            let (id, home) = (&definition.id, engine.shard_of(&definition.id));
            if !definition.stripes.is_striped() || home != shard {
                continue;
            }
            let others = definition.stripes.shards(home).into_iter().filter(|stripe| *stripe != home);
            let known = others.filter_map(|stripe| self.known.get(&(stripe, id.clone())));
            let arrived =
                drop.folding.stock.received_units + known.map(|known| known.stock.received_units).sum::<i64>();
            let reading = engine.read_drops(home, std::slice::from_ref(id)).await?;
            // While one of the stripes is away there is nothing to compare with.
            let Some(live) = reading.drops.into_iter().next().flatten() else { continue };
            let left = i64::try_from(live.sent_units).unwrap_or(i64::MAX);
            if arrived > left {
                drop.findings.add(DriftKind::Transit, arrived.abs_diff(left), None);
            }
        }
        Ok(())
    }
}
