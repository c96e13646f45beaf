//! Reading the stripes of a drop.

use std::collections::{BTreeMap, HashMap};

use fred::types::Value;
use futures_util::future::{join_all, try_join_all};
use stampede_domain::{DropId, DropState, Epoch, Shard, Timestamp};

use super::transfer::Transfer;
use crate::call::Call;
use crate::engine::Engine;
use crate::keys::Keys;
use crate::redis::{CallError, Fields};
use crate::sale::{LiveDrop, read_live_drop};
use crate::{EngineError, scripts};

pub(crate) static READ: Call<()> = Call::fenced(&scripts::STRIPES_READ, &[("read", ())]);

/// One stripe, what it has on its way, and how far its log is archived.
#[derive(Clone, Debug)]
pub(crate) struct Stripe {
    pub(crate) shard: Shard,
    pub(crate) live: LiveDrop,
    /// The number up to which every entry of its log is archived.
    pub(crate) archived: u64,
    /// When the oldest entry was written that is not archived.
    pub(crate) oldest: Option<Timestamp>,
    /// The last transfer to each other stripe.
    outbox: BTreeMap<Shard, Moved>,
    /// The last transfer from each other stripe.
    inbox: BTreeMap<Shard, Moved>,
}

/// A transfer as one end of it has it.
#[derive(Clone, Copy, Debug)]
struct Moved {
    number: u64,
    units: u32,
    /// The number of its entry in that end's log.
    entry: u64,
}

/// All stripes of a drop, each as it was at its own moment.
#[derive(Clone, Debug)]
pub(crate) struct StripedDrop {
    pub(crate) stripes: Vec<Stripe>,
}

impl StripedDrop {
    /// The last transfer from one stripe to another.
    pub(crate) fn last(&self, from: &Stripe, to: &Stripe) -> Option<Transfer> {
        let moved = from.outbox.get(&to.shard)?;
        Some(Transfer { from: from.shard, to: to.shard, number: moved.number, units: moved.units })
    }

    /// Whether the last transfer from one stripe to another, if there was one, has not arrived.
    pub(crate) fn is_on_its_way(&self, from: &Stripe, to: &Stripe) -> bool {
        from.outbox.get(&to.shard).is_some_and(|sent| to.received(from.shard) < sent.number)
    }

    /// Whether the units may be added to the other stripe: that they left this one is archived.
    pub(crate) fn may_arrive(&self, from: &Stripe, to: &Stripe) -> bool {
        self.is_on_its_way(from, to) && from.outbox.get(&to.shard).is_some_and(|sent| sent.entry <= from.archived)
    }

    /// Whether all of it is done and archived at both ends, so that the outbox may forget it.
    pub(crate) fn is_free(&self, from: &Stripe, to: &Stripe) -> bool {
        let Some(sent) = from.outbox.get(&to.shard) else { return true };
        let arrived = to.inbox.get(&from.shard).filter(|arrived| arrived.number >= sent.number);
        arrived.is_some_and(|arrived| arrived.entry <= to.archived)
    }

    /// Units that nobody has ordered, wherever they are, but for those in stripes that are over.
    pub(crate) fn units_left(&self) -> u64 {
        let mut whole: Option<LiveDrop> = None;
        for stripe in &self.stripes {
            match &mut whole {
                Some(whole) => whole.join(&stripe.live),
                None => whole = Some(stripe.live.clone()),
            }
        }
        let is_over = |stripe: &&Stripe| matches!(stripe.live.state, DropState::Ended | DropState::Cancelled);
        let over: u64 = self.stripes.iter().filter(is_over).map(|stripe| stripe.live.available_units).sum();
        whole.map_or(0, |mut whole| {
            whole.count_in_transit();
            whole.available_units.saturating_sub(over)
        })
    }

    /// The stripe in this shard.
    pub(crate) fn of(&self, shard: Shard) -> Option<&Stripe> {
        self.stripes.iter().find(|stripe| stripe.shard == shard)
    }
}

impl Stripe {
    /// The last transfer that arrived from another stripe.
    fn received(&self, from: Shard) -> u64 {
        self.inbox.get(&from).map_or(0, |moved| moved.number)
    }
}

impl Engine {
    /// Reads all stripes of a drop, each once.
    pub(crate) async fn read_striped(&self, id: &DropId, shards: &[Shard]) -> Result<StripedDrop, EngineError> {
        let stripes = try_join_all(shards.iter().map(|shard| self.read_stripe(*shard, id, shards))).await?;
        Ok(StripedDrop { stripes })
    }

    async fn read_stripe(&self, shard: Shard, id: &DropId, shards: &[Shard]) -> Result<Stripe, EngineError> {
        let k = &self.shared.handle(shard)?.keys;
        let keys = vec![k.meta.clone(), k.log.clone(), Keys::drop(shard, id)];
        let others = || shards.iter().filter(|other| **other != shard);
        let args = others().map(|other| Value::from(other.to_string())).collect();
        let mut fields = self.shared.read(&READ, keys, args).await?;
        let epoch = Epoch(fields.parse()?);
        let as_of = Timestamp::from_ms(fields.parse()?);
        let archived = fields.parse()?;
        let oldest = fields.optional()?.map(Timestamp::from_ms);
        let drop = fields.list()?;
        if drop.len() == 0 {
            return Err(EngineError::ShardRecovering);
        }
        let live = read_live_drop(id, epoch, as_of, drop)?;
        let mut stripe = Stripe { shard, live, archived, oldest, outbox: BTreeMap::new(), inbox: BTreeMap::new() };
        for other in others() {
            if let Some([number, units, entry]) = read_moved(&mut fields)? {
                let units = u32::try_from(units).map_err(|_| fields.malformed("units"))?;
                stripe.outbox.insert(*other, Moved { number, units, entry });
            }
            if let Some([number, entry]) = read_moved(&mut fields)? {
                stripe.inbox.insert(*other, Moved { number, units: 0, entry });
            }
        }
        Ok(stripe)
    }

    /// Makes whole drops of those that have only their home's stripe yet; none of those of which a stripe cannot be read.
    pub(crate) async fn join_stripes(&self, home: Shard, drops: &mut [Option<LiveDrop>]) -> Result<(), EngineError> {
        let mut wanted: BTreeMap<Shard, Vec<DropId>> = BTreeMap::new();
        for live in drops.iter().flatten().filter(|live| live.stripes.is_striped()) {
            for shard in live.stripes.shards(home).into_iter().filter(|shard| *shard != home) {
                wanted.entry(shard).or_default().push(live.id.clone());
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let readings = wanted.iter().map(|(shard, ids)| async move { (*shard, self.read_stripes(*shard, ids).await) });
        let mut found: HashMap<(Shard, DropId), LiveDrop> = HashMap::new();
        for (shard, reading) in join_all(readings).await {
            match reading {
                Ok(reading) => {
                    found.extend(reading.drops.into_iter().flatten().map(|live| ((shard, live.id.clone()), live)))
                }
                // The drops of the other shards can be shown all the same.
                Err(EngineError::ShardRecovering | EngineError::ShardMoving) => {}
                Err(error) => return Err(error),
            }
        }
        for slot in drops.iter_mut() {
            let Some(live) = slot.as_mut().filter(|live| live.stripes.is_striped()) else { continue };
            let others: Option<Vec<LiveDrop>> = live
                .stripes
                .shards(home)
                .into_iter()
                .filter(|shard| *shard != home)
                .map(|shard| found.remove(&(shard, live.id.clone())))
                .collect();
            match others {
                Some(others) if live.state != DropState::Opening => {
                    others.iter().for_each(|stripe| live.join(stripe));
                    live.count_in_transit();
                }
                _ => *slot = None,
            }
        }
        Ok(())
    }
}

/// Numbers with slashes between them; none where nothing was moved.
fn read_moved<const N: usize>(fields: &mut Fields) -> Result<Option<[u64; N]>, CallError> {
    let text = fields.text()?;
    if text.is_empty() {
        return Ok(None);
    }
    let numbers: Option<Vec<u64>> = text.split('/').map(|number| number.parse().ok()).collect();
    numbers.and_then(|numbers| numbers.try_into().ok()).map(Some).ok_or_else(|| fields.malformed("a transfer"))
}
