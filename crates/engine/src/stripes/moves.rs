//! Moving units to where they are wanted.
//!
//! A transfer is two facts: the units leave one stripe, and, once that is archived, arrive in the other. The number of the
//! transfer makes the second happen once, whoever does it and however often. The next one between the two begins when both
//! facts of the last are archived; so a restart at either end finds all that is needed at the other end or in the archive.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use parking_lot::Mutex;
use stampede_domain::{DropId, DropState, Shard};

use super::balance::{Balance, Seen};
use super::reading::{Stripe, StripedDrop};
use super::transfer::{Receiving, Sending, Transfer};
use crate::engine::Engine;
use crate::{EngineError, TimerKind};

/// How long an entry may wait for the archive before no more units are sent: they could not arrive.
const ARCHIVE_BEHIND_MS: i64 = 1_000;

impl Engine {
    /// Looks at all stripes once: has units arrive whose leaving is archived, and sends others to where they are wanted.
    pub(super) async fn move_units(
        &self,
        id: &DropId,
        shards: &[Shard],
        balance: &Balance,
    ) -> Result<Seen, EngineError> {
        let drop = self.read_striped(id, shards).await?;
        let mut available: BTreeMap<Shard, u64> = drop
            .stripes
            .iter()
            .filter(|stripe| stripe.live.state == DropState::Open)
            .map(|stripe| (stripe.shard, stripe.live.available_units))
            .collect();
        for arrived in self.deliver(id, &drop).await? {
            if let Some(units) = available.get_mut(&arrived.to) {
                *units += u64::from(arrived.units);
            }
        }
        let sends = plan(&drop, &balance.wanted());
        try_join_all(sends.into_iter().map(|transfer| async move {
            if self.send_units(id, transfer).await? == Sending::Stale {
                tracing::debug!(drop = %id, ?transfer, "a stripe changed before its units were sent; it is looked at again");
            }
            Ok::<(), EngineError>(())
        }))
        .await?;
        let versions = drop.stripes.iter().map(|stripe| stripe.live.version).collect();
        Ok(Seen { versions, available, left: drop.units_left(), claimed: Mutex::default() })
    }

    /// Has everything arrive that may; returns it.
    async fn deliver(&self, id: &DropId, drop: &StripedDrop) -> Result<Vec<Transfer>, EngineError> {
        let due = pairs(drop).filter(|(from, to)| drop.may_arrive(from, to));
        let arrivals = due.filter_map(|(from, to)| drop.last(from, to)).map(|transfer| async move {
            match self.receive_units(id, transfer).await? {
                Receiving::Received => Ok(Some(transfer)),
                Receiving::Already => Ok(None),
                Receiving::Gap => Err(EngineError::Malformed(format!(
                    "drop {id}: {} has not received what {} sent before transfer {}",
                    transfer.to, transfer.from, transfer.number
                ))),
            }
        });
        Ok(try_join_all(arrivals).await?.into_iter().flatten().collect())
    }

    /// Finishes what one stripe has sent, as far as the archive allows, and forgets its timer when nothing is left to do.
    /// Returns how many transfers arrived.
    ///
    /// # Errors
    /// [`EngineError::ShardRecovering`] while one of the stripes is behind the fence.
    pub async fn finish_transfers(&self, shard: Shard, id: &DropId) -> Result<usize, EngineError> {
        let shards = self.stripes_of(id).await?;
        let drop = self.read_striped(id, &shards).await?;
        let arrived = self.deliver(id, &drop).await?.len();
        let Some(from) = drop.of(shard) else { return Ok(arrived) };
        if drop.stripes.iter().all(|to| drop.is_free(from, to)) {
            self.clear_timer(shard, &TimerKind::Transfer(id.clone()), from.live.version).await?;
        }
        Ok(arrived)
    }
}

/// All ordered pairs of two stripes.
fn pairs(drop: &StripedDrop) -> impl Iterator<Item = (&Stripe, &Stripe)> {
    let all = drop.stripes.iter().flat_map(|from| drop.stripes.iter().map(move |to| (from, to)));
    all.filter(|(from, to)| from.shard != to.shard)
}

/// What to send: to each stripe that lacks units which are waited for, from those that have most.
///
/// More is sent than is wanted, so that both have the same afterwards: the next who come need not wait.
fn plan(drop: &StripedDrop, wanted: &BTreeMap<Shard, u64>) -> Vec<Transfer> {
    let want = |shard: Shard| wanted.get(&shard).copied().unwrap_or_default();
    let mut has: BTreeMap<Shard, u64> =
        drop.stripes.iter().map(|stripe| (stripe.shard, stripe.live.available_units)).collect();
    let mut sends = Vec::new();
    for to in &drop.stripes {
        let coming = |from: &&Stripe| drop.is_on_its_way(from, to);
        let units = |from: &Stripe| drop.last(from, to).map_or(0, |transfer| u64::from(transfer.units));
        let expected: u64 = has[&to.shard] + drop.stripes.iter().filter(coming).map(units).sum::<u64>();
        let mut lacking = want(to.shard).saturating_sub(expected);
        let mut sources: Vec<&Stripe> = drop.stripes.iter().filter(|from| may_send(drop, from, to)).collect();
        sources.sort_by_key(|from| std::cmp::Reverse(has[&from.shard]));
        for from in sources {
            let spare = spare(has[&from.shard], want(from.shard), to.shard < from.shard);
            let half = spare.saturating_sub(has[&to.shard]).div_ceil(2);
            let units = u32::try_from(spare.min(lacking.max(half))).unwrap_or(u32::MAX);
            if lacking == 0 || units == 0 {
                continue;
            }
            let number = drop.last(from, to).map_or(0, |transfer| transfer.number) + 1;
            sends.push(Transfer { from: from.shard, to: to.shard, number, units });
            has.entry(from.shard).and_modify(|has| *has -= u64::from(units));
            lacking = lacking.saturating_sub(u64::from(units));
        }
    }
    sends
}

/// Units that a stripe can do without. One that cannot give its own buyers what they wait for gives what it has to a stripe
/// in front of it: or else both would keep too little for ever.
fn spare(has: u64, wanted: u64, to_one_in_front: bool) -> u64 {
    match has.checked_sub(wanted) {
        Some(spare) => spare,
        None if to_one_in_front => has,
        None => 0,
    }
}

/// Whether units may leave one stripe for the other now.
fn may_send(drop: &StripedDrop, from: &Stripe, to: &Stripe) -> bool {
    let waits_since = |stripe: &Stripe| stripe.oldest.map_or(0, |oldest| stripe.live.as_of.as_ms() - oldest.as_ms());
    from.shard != to.shard
        && from.live.state == DropState::Open
        && to.live.state == DropState::Open
        && drop.is_free(from, to)
        && waits_since(from) < ARCHIVE_BEHIND_MS
        && waits_since(to) < ARCHIVE_BEHIND_MS
}
