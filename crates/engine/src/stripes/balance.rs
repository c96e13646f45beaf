//! Looking at all stripes of a drop, on behalf of everybody who waits for units of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use stampede_domain::{DropId, Shard, Version};

use crate::EngineError;
use crate::engine::Engine;

/// The most drops that are remembered; those that nobody waits for are forgotten then.
const MAX_DROPS: usize = 10_000;

/// The striped drops for whose units somebody waits, or waited.
#[derive(Default)]
pub(crate) struct Balances(Mutex<HashMap<DropId, Arc<Balance>>>);

impl Balances {
    /// That of one drop.
    pub(super) fn of(&self, id: &DropId) -> Arc<Balance> {
        let mut known = self.0.lock();
        if let Some(balance) = known.get(id) {
            return Arc::clone(balance);
        }
        if known.len() >= MAX_DROPS {
            known.retain(|_, balance| Arc::strong_count(balance) > 1);
        }
        Arc::clone(known.entry(id.clone()).or_default())
    }
}

/// Who waits for units of one drop, and what was seen of its stripes.
///
/// Looks are shared: one that began after somebody had come is as good as one of their own. So however many are refused at a
/// time, the stripes are read one look after another.
#[derive(Default)]
pub(super) struct Balance {
    /// Looks that have begun.
    begun: AtomicU64,
    last: tokio::sync::Mutex<Option<Look>>,
    /// Units that are waited for, by stripe.
    wanted: Mutex<BTreeMap<Shard, u64>>,
}

/// A look that is over.
struct Look {
    /// The how manieth it was.
    number: u64,
    seen: Result<Arc<Seen>, EngineError>,
}

/// What a look saw.
#[derive(Debug)]
pub(super) struct Seen {
    /// Of each stripe, in order. If two looks see the same, nothing changed between them.
    pub(super) versions: Vec<Version>,
    /// Units that can be ordered in each stripe that sells, with those that arrived by the look.
    pub(super) available: BTreeMap<Shard, u64>,
    /// Units that nobody has ordered, wherever they are.
    pub(super) left: u64,
    /// Units of each stripe for which somebody who waited asks again because of this look.
    pub(super) claimed: Mutex<BTreeMap<Shard, u64>>,
}

impl Seen {
    /// Sets units of a stripe aside for one who waits. Returns whether there are as many that nobody else asks for: were all
    /// who wait to ask again for a few units, most would only make small groups of orders that are refused.
    pub(super) fn claim(&self, shard: Shard, units: u64) -> bool {
        let available = self.available.get(&shard).copied().unwrap_or_default();
        let mut claimed = self.claimed.lock();
        let claimed = claimed.entry(shard).or_default();
        let is_enough = available.saturating_sub(*claimed) >= units;
        if is_enough {
            *claimed += units;
        }
        is_enough
    }
}

/// Units that somebody waits for, as long as this is kept.
pub(super) struct Wanted<'a> {
    balance: &'a Balance,
    shard: Shard,
    units: u64,
}

impl Balance {
    /// Notes that units are waited for in a stripe.
    pub(super) fn want(&self, shard: Shard, units: u64) -> Wanted<'_> {
        *self.wanted.lock().entry(shard).or_default() += units;
        Wanted { balance: self, shard, units }
    }

    /// Units that are waited for, by stripe.
    pub(super) fn wanted(&self) -> BTreeMap<Shard, u64> {
        self.wanted.lock().clone()
    }

    /// What a look sees that begins now or later.
    pub(super) async fn look(&self, engine: &Engine, id: &DropId, shards: &[Shard]) -> Result<Arc<Seen>, EngineError> {
        let before = self.begun.load(Ordering::Acquire);
        let mut last = self.last.lock().await;
        if let Some(look) = last.as_ref().filter(|look| look.number > before) {
            return look.seen.clone();
        }
        let number = self.begun.fetch_add(1, Ordering::AcqRel) + 1;
        let seen = engine.move_units(id, shards, self).await.map(Arc::new);
        *last = Some(Look { number, seen: seen.clone() });
        seen
    }
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        let mut wanted = self.balance.wanted.lock();
        if let Some(units) = wanted.get_mut(&self.shard) {
            *units = units.saturating_sub(self.units);
        }
        wanted.retain(|_, units| *units > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_units_are_claimed_than_a_look_saw() {
        let [one, two, other] = [1, 2, 3].map(|number| Shard::new(number).expect("in range"));
        let available = BTreeMap::from([(one, 5), (two, 1)]);
        let seen = Seen { versions: Vec::new(), available, left: 6, claimed: Mutex::default() };
        let claims = [(one, 2), (one, 4), (two, 1), (two, 1), (one, 3), (one, 1), (other, 1)];
        assert_eq!(
            claims.map(|(shard, units)| seen.claim(shard, units)),
            [true, false, true, false, true, false, false]
        );
    }
}
