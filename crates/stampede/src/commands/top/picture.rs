//! What is shown: the stores, the shards and the drops at one moment.

use stampede_domain::{DropId, Phase, Shard, Sku, Timestamp, Window};
use stampede_engine::{LogBound, LogStatus};

/// Everything at one moment.
#[derive(Clone, Debug)]
pub struct Picture {
    /// When it was taken, by the clock of this machine.
    pub as_of: Timestamp,
    /// The deployment's id.
    pub deployment: String,
    /// Whether Redis answers.
    pub redis: Reach,
    /// Which archive it is: `sqlite` or `mongodb`.
    pub archive_kind: &'static str,
    /// Whether the archive answers.
    pub archive: Reach,
    /// The bound of each shard's log.
    pub log_bound: LogBound,
    /// All shards.
    pub shards: Vec<ShardPicture>,
    /// The drops that are shown.
    pub drops: Vec<DropPicture>,
    /// Drops that are not shown.
    pub not_shown: NotShown,
}

/// Whether a store answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It does.
    Up,
    /// It does not.
    Away {
        /// Since when, by the clock of this machine.
        since: Timestamp,
        /// Why, in its own words.
        why: String,
    },
}

/// A shard at one moment.
#[derive(Clone, Debug)]
pub struct ShardPicture {
    /// The shard.
    pub shard: Shard,
    /// What it does.
    pub state: ShardState,
}

/// What a shard does.
#[derive(Clone, Debug)]
pub enum ShardState {
    /// It decides orders.
    Trusted {
        /// Its log.
        log: LogStatus,
        /// Its dead letters.
        dead_letters: u64,
    },
    /// It waits for a worker to recover it.
    Fenced,
    /// It is on its way to another Redis process.
    Moving,
    /// Redis does not answer for it.
    Away,
}

/// A drop at one moment.
#[derive(Clone, Debug)]
pub struct DropPicture {
    /// The drop.
    pub id: DropId,
    /// What it sells.
    pub sku: Sku,
    /// Its phase.
    pub phase: Phase,
    /// When it sells.
    pub window: Window,
    /// All units.
    pub total_units: u64,
    /// Units that can be ordered.
    pub available_units: u64,
    /// Units that nobody can order yet: they came back a moment ago to the drop that was sold out.
    pub held_units: u64,
    /// Units that are sold.
    pub sold_units: u64,
    /// Units that are sold each second; none while nobody can tell.
    pub units_per_s: Option<f64>,
    /// When it was read, by Redis's clock.
    pub as_of: Timestamp,
    /// Whether it could not be read now, so that these are the figures of `as_of`.
    pub is_stale: bool,
}

/// Drops that are not shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NotShown {
    /// Drops that are over.
    pub over: usize,
    /// Drops that are not over, or of which nobody knows, beyond what is read each time.
    pub current: usize,
    /// Whether there are older drops that were not looked at.
    pub older: bool,
}

/// What comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Sort {
    /// Live ones, then paused, sold out, scheduled, and what is over.
    Phase,
    /// The most units sold.
    Sold,
    /// The fewest units left.
    Available,
    /// The fastest.
    Rate,
    /// The next to end.
    Ends,
    /// By id.
    Id,
}

/// What all shards make together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Totals {
    /// Orders that are not archived.
    pub backlog_orders: u64,
    /// Bytes that are not archived.
    pub backlog_bytes: u64,
    /// The age of the oldest entry of any log, in ms.
    pub oldest_ms: u64,
    /// How full the fullest log is, from 0 to 1.
    pub fullest_log: f64,
    /// Dead letters.
    pub dead_letters: u64,
}

impl Picture {
    /// Orders the drops.
    pub fn sort(&mut self, by: Sort) {
        self.drops.sort_by(|a, b| a.id.cmp(&b.id));
        let end = |drop: &DropPicture| drop.window.ends_at.unwrap_or(Timestamp::MAX);
        match by {
            Sort::Phase => self.drops.sort_by_key(|drop| (rank(drop.phase), drop.turn())),
            Sort::Sold => self.drops.sort_by_key(|drop| std::cmp::Reverse(drop.sold_units)),
            Sort::Available => self.drops.sort_by_key(|drop| (drop.phase.is_over(), drop.available_units)),
            Sort::Rate => self.drops.sort_by(|a, b| rate(b).total_cmp(&rate(a))),
            Sort::Ends => self.drops.sort_by_key(|drop| (drop.phase.is_over(), end(drop))),
            Sort::Id => {}
        }
    }

    /// The sum over all shards that could be read.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for shard in &self.shards {
            let ShardState::Trusted { log, dead_letters } = &shard.state else { continue };
            totals.backlog_orders += log.backlog_orders;
            totals.backlog_bytes += log.backlog_bytes;
            totals.oldest_ms = totals.oldest_ms.max(oldest_age_ms(log));
            let orders = log.backlog_orders as f64 / self.log_bound.orders.max(1) as f64;
            let bytes = log.backlog_bytes as f64 / self.log_bound.bytes.max(1) as f64;
            totals.fullest_log = totals.fullest_log.max(orders).max(bytes);
            totals.dead_letters += dead_letters;
        }
        totals
    }

    /// The shards that do not decide, by what they do.
    pub fn shards_that(&self, is: impl Fn(&ShardState) -> bool) -> Vec<Shard> {
        self.shards.iter().filter(|shard| is(&shard.state)).map(|shard| shard.shard).collect()
    }

    /// What keeps this picture from being whole.
    pub fn trouble(&self) -> Option<String> {
        let away = |what: &str, reach: &Reach| match reach {
            Reach::Up => None,
            Reach::Away { why, .. } => Some(format!("{what} does not answer: {why}")),
        };
        let all: Vec<String> =
            [away("Redis", &self.redis), away("the archive", &self.archive)].into_iter().flatten().collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

impl ShardState {
    /// The word for it.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Trusted { .. } => "trusted",
            Self::Fenced => "fenced",
            Self::Moving => "moving",
            Self::Away => "away",
        }
    }
}

impl DropPicture {
    /// The part that is sold or held, from 0 to 1.
    pub fn part_sold(&self) -> f64 {
        if self.total_units == 0 { 0.0 } else { (self.sold_units + self.held_units) as f64 / self.total_units as f64 }
    }

    /// When the last unit goes at this rate, in seconds.
    pub fn sells_out_in_s(&self) -> Option<f64> {
        let rate = self.units_per_s.filter(|rate| *rate > 0.0)?;
        (self.phase == Phase::Live).then(|| self.available_units as f64 / rate)
    }

    /// The moment at which its clock turns: its start, then its end.
    fn turn(&self) -> Timestamp {
        match self.phase {
            Phase::Scheduled => self.window.starts_at,
            // The latest end first.
            Phase::Ended | Phase::Cancelled => {
                let end = self.window.ends_at.unwrap_or(self.window.starts_at);
                Timestamp::from_ms(Timestamp::MAX.as_ms() - end.as_ms())
            }
            _ => self.window.ends_at.unwrap_or(Timestamp::MAX),
        }
    }
}

/// How long the oldest entry has waited to be archived.
pub fn oldest_age_ms(log: &LogStatus) -> u64 {
    log.oldest_ms.map_or(0, |oldest| log.now_ms.saturating_sub(oldest))
}

const fn rank(phase: Phase) -> u8 {
    match phase {
        Phase::Live => 0,
        Phase::Paused => 1,
        Phase::SoldOut => 2,
        Phase::Scheduled => 3,
        Phase::Ended => 4,
        Phase::Cancelled => 5,
    }
}

fn rate(drop: &DropPicture) -> f64 {
    drop.units_per_s.unwrap_or(f64::NEG_INFINITY)
}
