//! How the drops stand: Redis knows.

use std::collections::{HashMap, HashSet};

use futures_util::{StreamExt, stream};
use stampede_domain::{DropId, Epoch, Shard, Timestamp};
use stampede_engine::{Engine, EngineError, LiveDrop, LogStatus};

use super::finder::{Found, FoundDrop};
use super::picture::{DropPicture, NotShown, Picture, Reach, ShardPicture, ShardState};
use super::rates::Rates;
use crate::roles::Stores;

/// Drops that are not over that one reading reads.
const READ_MAX: usize = 1_000;
/// Drops that are over that are shown: those that ended last.
const OVER_SHOWN: usize = 20;
/// A drop whose window passed so long ago is over, whatever this machine's clock says: it need not be asked about. In ms.
const SURELY_OVER_MS: i64 = 3_600_000;
/// Drops that one call reads.
const AT_ONCE: usize = 100;
/// Shards that are read at a time.
const SHARDS_AT_ONCE: usize = 32;

/// Reads how the drops stand, again and again.
pub struct Reader {
    engine: Engine,
    redis: Reach,
    epochs: HashMap<Shard, Epoch>,
    judged: HashMap<DropId, Judged>,
    rates: Rates,
    shown: HashMap<DropId, DropPicture>,
}

/// What is known of a drop.
#[derive(Clone, Copy)]
enum Judged {
    /// It may sell yet.
    Current,
    /// It is over, since about then.
    Over(Timestamp),
}

/// What one shard answered.
struct Answer {
    shard: Shard,
    asked: Vec<DropId>,
    state: ShardState,
    drops: Vec<LiveDrop>,
    /// Why it is away.
    why: Option<EngineError>,
}

impl Reader {
    /// Reads from these stores.
    pub fn new(stores: &Stores) -> Self {
        Self {
            engine: stores.engine.clone(),
            redis: Reach::Up,
            epochs: HashMap::new(),
            judged: HashMap::new(),
            rates: Rates::default(),
            shown: HashMap::new(),
        }
    }

    /// How the drops stand that were found.
    pub async fn read(&mut self, found: &Found) -> Picture {
        let mut of_shards: HashMap<Shard, Vec<DropId>> = HashMap::new();
        for id in self.plan(found) {
            of_shards.entry(self.engine.shard_of(&id)).or_default().push(id);
        }
        let engine = &self.engine;
        let calls = engine.shards().map(|shard| ask(engine, shard, of_shards.remove(&shard).unwrap_or_default()));
        // Collected first: a stream of borrowing futures would not be `Send`.
        let calls: Vec<_> = calls.collect();
        let mut answers: Vec<Answer> = stream::iter(calls).buffered(SHARDS_AT_ONCE).collect().await;
        self.redis = match answers.iter_mut().find_map(|answer| answer.why.take()) {
            None => Reach::Up,
            Some(why) => self.redis.away(why.to_string()),
        };
        for answer in &mut answers {
            self.take_in(answer);
        }
        let (drops, not_shown) = self.select(found);
        let shards = answers.into_iter().map(|Answer { shard, state, .. }| ShardPicture { shard, state });
        Picture {
            as_of: Timestamp::now(),
            deployment: self.engine.deployment().id.clone(),
            redis: self.redis.clone(),
            archive_kind: found.kind,
            archive: found.archive.clone(),
            log_bound: self.engine.settings().log_bound,
            shards: shards.collect(),
            drops,
            not_shown,
        }
    }

    /// Which drops to read: those that are shown, and those of which nothing is known.
    fn plan(&mut self, found: &Found) -> Vec<DropId> {
        let surely = Timestamp::now().plus_ms(-SURELY_OVER_MS);
        let mut unknown = Vec::new();
        for drop in found.drops.iter() {
            if self.judged.contains_key(&drop.id) {
                continue;
            }
            match drop.window.ends_at.filter(|end| *end <= surely) {
                // The one that was asked for by its name is read however long it has been over.
                Some(end) if found.drops.len() > 1 => {
                    self.judged.insert(drop.id.clone(), Judged::Over(end));
                }
                _ => unknown.push(drop.id.clone()),
            }
        }
        let (shown, _) = self.choose(found);
        unknown.into_iter().chain(shown.into_iter().cloned()).collect()
    }

    /// Takes in what a shard answered.
    fn take_in(&mut self, answer: &mut Answer) {
        let Answer { shard, asked, state, drops, .. } = answer;
        if let ShardState::Trusted { log, .. } = state
            && self.epochs.insert(*shard, log.epoch).is_some_and(|before| before != log.epoch)
        {
            // A recovery may have taken figures back, and with them that a drop is over.
            self.judged.retain(|id, _| self.engine.shard_of(id) != *shard);
            asked.iter().for_each(|id| self.rates.forget(id));
        }
        for id in &*asked {
            if let Some(shown) = self.shown.get_mut(id) {
                (shown.is_stale, shown.units_per_s) = (true, None);
            }
        }
        for live in drops.drain(..) {
            self.judge(&live);
            let units_per_s = self.rates.add(&live.id, live.as_of, live.sold_units);
            self.shown.insert(live.id.clone(), picture(live, units_per_s));
        }
    }

    fn judge(&mut self, live: &LiveDrop) {
        let judged = match (live.phase().is_over(), self.judged.get(&live.id)) {
            (false, _) => Judged::Current,
            (true, Some(over @ Judged::Over(_))) => *over,
            // It ended while it was watched.
            (true, Some(Judged::Current)) => Judged::Over(live.as_of),
            (true, None) => Judged::Over(live.window.ends_at.unwrap_or(live.window.starts_at).min(live.as_of)),
        };
        self.judged.insert(live.id.clone(), judged);
    }

    /// The drops that are shown: those that are not over, the newest first, and those that ended last.
    fn choose<'a>(&self, found: &'a Found) -> (Vec<&'a DropId>, NotShown) {
        let mut current: Vec<&FoundDrop> = Vec::new();
        let mut over: Vec<(Timestamp, &FoundDrop)> = Vec::new();
        for drop in found.drops.iter() {
            match self.judged.get(&drop.id) {
                Some(Judged::Over(since)) => over.push((*since, drop)),
                Some(Judged::Current) => current.push(drop),
                None => {}
            }
        }
        over.sort_by_key(|(since, _)| std::cmp::Reverse(*since));
        let not_shown = NotShown {
            over: over.len().saturating_sub(OVER_SHOWN),
            current: current.len().saturating_sub(READ_MAX),
            older: found.older,
        };
        let recent = over.into_iter().take(OVER_SHOWN).map(|(_, drop)| drop);
        (current.into_iter().take(READ_MAX).chain(recent).map(|drop| &drop.id).collect(), not_shown)
    }

    fn select(&mut self, found: &Found) -> (Vec<DropPicture>, NotShown) {
        let (ids, not_shown) = self.choose(found);
        let ids: HashSet<&DropId> = ids.into_iter().collect();
        self.rates.keep(&ids);
        self.shown.retain(|id, _| ids.contains(id));
        (self.shown.values().cloned().collect(), not_shown)
    }
}

/// How a shard does, and how these drops of it stand.
async fn ask(engine: &Engine, shard: Shard, asked: Vec<DropId>) -> Answer {
    let (state, drops, why) = match ask_trusted(engine, shard, &asked).await {
        Ok((log, dead_letters, drops)) => (ShardState::Trusted { log, dead_letters }, drops, None),
        Err(EngineError::ShardRecovering) => (ShardState::Fenced, Vec::new(), None),
        Err(EngineError::ShardMoving) => (ShardState::Moving, Vec::new(), None),
        Err(why) => (ShardState::Away, Vec::new(), Some(why)),
    };
    Answer { shard, asked, state, drops, why }
}

async fn ask_trusted(
    engine: &Engine,
    shard: Shard,
    ids: &[DropId],
) -> Result<(LogStatus, u64, Vec<LiveDrop>), EngineError> {
    let log = engine.log_status(shard).await?;
    let dead_letters = engine.count_letters(shard).await?;
    let mut drops = Vec::with_capacity(ids.len());
    for chunk in ids.chunks(AT_ONCE) {
        // One that is not open yet is not there.
        drops.extend(engine.read_drops(shard, chunk).await?.drops.into_iter().flatten());
    }
    Ok((log, dead_letters, drops))
}

fn picture(live: LiveDrop, units_per_s: Option<f64>) -> DropPicture {
    let phase = live.phase();
    let LiveDrop { id, sku, window, total_units, available_units, held_units, sold_units, as_of, .. } = live;
    let is_stale = false;
    DropPicture {
        id,
        sku,
        phase,
        window,
        total_units,
        available_units,
        held_units,
        sold_units,
        units_per_s,
        as_of,
        is_stale,
    }
}
