//! The sale status of a sku: which of its drops to show, and the bytes to show it with.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use axum::http::HeaderValue;
use bytes::{Bytes, BytesMut};
use parking_lot::{Mutex, RwLock};
use serde::Serialize;
use stampede_domain::{DropId, Money, Phase, Sku, Timestamp, Version};

use super::load::is_open;
use super::{DropWatch, Reading, Snapshots};
use crate::minute::Minute;
use crate::problem::Problem;
use crate::products::NO_SUCH_PRODUCT;
use crate::reply::Template;
use crate::sale_status;

/// How many drops before now and how many after it may be the one to show.
const AROUND: usize = 4;

const NO_DROP: Problem = Problem::NotFound("This product has no drop.");

/// A sku whose status is kept up.
pub(crate) struct SkuWatch {
    sku: Sku,
    /// The drops that may be the one to show.
    candidates: RwLock<Vec<Arc<DropWatch>>>,
    rendered: RwLock<Option<Arc<SaleStatus>>>,
    looked_up: Mutex<Instant>,
    due: AtomicBool,
    asked_at_s: AtomicU32,
}

/// A status, written once and shown until something changes.
#[derive(Debug)]
pub(crate) struct SaleStatus {
    /// The body up to `server_time`.
    head: Bytes,
    reading: Arc<Reading>,
    minute: Minute,
    /// The entity tag: the version, and the phase, as the clock changes that without a new version.
    pub etag: HeaderValue,
    /// The headers of its answer.
    pub headers: Template,
    /// When it must be written anew: the phase turns, or the reading grows too old.
    good_until: Instant,
}

/// The body of a status.
#[derive(Serialize)]
struct Body<'a> {
    drop_id: &'a DropId,
    sku: &'a Sku,
    phase: Phase,
    starts_at: Timestamp,
    ends_at: Option<Timestamp>,
    available: u64,
    total: u64,
    limit_per_user: u32,
    price: Money,
    version: Version,
    as_of: Timestamp,
    server_time: &'static str,
}

impl SaleStatus {
    fn write(reading: Arc<Reading>, at: Instant, good_until: Instant) -> Option<Self> {
        let (live, phase) = (&reading.live, reading.phase_at(at));
        let body = Body {
            drop_id: &live.id,
            sku: &live.sku,
            phase,
            starts_at: live.window.starts_at,
            ends_at: live.window.ends_at,
            available: live.available_units,
            total: live.total_units,
            limit_per_user: live.limit_per_user,
            price: live.unit_price,
            version: live.version,
            as_of: live.as_of,
            server_time: "",
        };
        let mut head = serde_json::to_vec(&body).ok()?;
        // Without the closing quote and brace: each answer puts its time there.
        head.truncate(head.len().checked_sub(2)?);
        let etag = HeaderValue::try_from(format!("\"{}-{}-{}\"", live.version, phase.as_str(), live.id)).ok()?;
        let minute = Minute::of(reading.clock_at(at));
        let headers = sale_status::headers(&etag);
        Some(Self { head: head.into(), minute, etag, headers, good_until, reading })
    }

    /// The body of an answer that is given now.
    pub fn body(&self, now: Instant) -> Bytes {
        let mut body = BytesMut::with_capacity(self.head.len() + 32);
        body.extend_from_slice(&self.head);
        self.minute.write(self.reading.clock_at(now), &mut body);
        body.extend_from_slice(b"\"}");
        body.freeze()
    }
}

impl SkuWatch {
    fn new(sku: Sku, candidates: Vec<Arc<DropWatch>>, second: u32) -> Self {
        Self {
            sku,
            candidates: RwLock::new(candidates),
            rendered: RwLock::new(None),
            looked_up: Mutex::new(Instant::now()),
            due: AtomicBool::new(false),
            asked_at_s: AtomicU32::new(second),
        }
    }

    /// Whether the sku's drops are to be looked up: a change is waited for no longer than `soon`, but a stream of changes
    /// does not make a stream of look-ups.
    pub fn is_due(&self, soon: Duration, every: Duration) -> bool {
        let age = self.looked_up.lock().elapsed();
        age >= every || (age >= soon && self.due.load(Ordering::Relaxed))
    }

    pub fn is_idle(&self, second: u32, idle: Duration) -> bool {
        u64::from(second.saturating_sub(self.asked_at_s.load(Ordering::Relaxed))) > idle.as_secs()
    }

    fn asked(&self, second: u32) {
        if self.asked_at_s.load(Ordering::Relaxed) != second {
            self.asked_at_s.store(second, Ordering::Relaxed);
        }
    }

    /// The status as it is written, while it is good.
    fn current(&self, now: Instant) -> Option<Arc<SaleStatus>> {
        let rendered = self.rendered.read();
        rendered.as_ref().filter(|status| status.good_until > now).cloned()
    }
}

impl Snapshots {
    /// The status to show for a sku.
    pub async fn sale_status(&self, sku: &Sku) -> Result<Arc<SaleStatus>, Problem> {
        let watch = match self.kept(sku.as_str()) {
            Some(watch) => watch,
            // Boxed, as every look carries room for it and hardly any needs it.
            None => Box::pin(self.watch_sku(sku)).await?,
        };
        self.kept_status(&watch, Instant::now())
    }

    /// The watch over a sku whose status is kept up.
    pub fn kept(&self, sku: &str) -> Option<Arc<SkuWatch>> {
        self.skus.read().get(sku).cloned()
    }

    /// The status to show for a sku that is kept up.
    pub fn kept_status(&self, watch: &SkuWatch, now: Instant) -> Result<Arc<SaleStatus>, Problem> {
        watch.asked(self.second_at(now));
        match watch.current(now) {
            Some(status) => Ok(status),
            None => self.render(watch),
        }
    }

    /// Looks up a sku that is asked about for the first time.
    async fn watch_sku(&self, sku: &Sku) -> Result<Arc<SkuWatch>, Problem> {
        if self.absent_products.has(sku) {
            return Err(NO_SUCH_PRODUCT);
        }
        if self.absent_skus.has(sku) {
            return Err(NO_DROP);
        }
        let candidates = self.candidates(sku).await?;
        if candidates.is_empty() {
            let (absent, problem) = match self.archive.product(sku).await? {
                Some(_) => (&self.absent_skus, NO_DROP),
                None => (&self.absent_products, NO_SUCH_PRODUCT),
            };
            absent.note(sku.clone());
            return Err(problem);
        }
        let watch = Arc::new(SkuWatch::new(sku.clone(), candidates, self.second()));
        let mut skus = self.skus.write();
        if let Some(known) = skus.get(sku) {
            return Ok(Arc::clone(known));
        }
        if skus.len() < self.limits.max_drops {
            skus.insert(sku.clone(), Arc::clone(&watch));
        }
        Ok(watch)
    }

    /// The drops that may be the one to show, each watched.
    async fn candidates(&self, sku: &Sku) -> Result<Vec<Arc<DropWatch>>, Problem> {
        let records = self.archive.drops_around(sku, Timestamp::now(), AROUND).await?;
        let mut candidates = Vec::with_capacity(records.len());
        for record in records.iter().filter(|record| is_open(record)) {
            let id = &record.definition.id;
            let known = self.watch_of(id);
            let watch = match known {
                Some(watch) => watch,
                None => {
                    let shard = self.engine.shard_of(id);
                    let found = self.read_live(shard, std::slice::from_ref(id)).await.map_err(Problem::of_read)?;
                    let live = found.into_iter().next().flatten().ok_or(Problem::ShardRecovering)?;
                    self.watch(live, true)
                }
            };
            watch.asked(self.second());
            candidates.push(watch);
        }
        Ok(candidates)
    }

    /// Looks up a sku's drops again. If that fails, those that are known stay.
    pub(super) async fn reload_sku(&self, watch: &Arc<SkuWatch>) {
        *watch.looked_up.lock() = Instant::now();
        watch.due.store(false, Ordering::Relaxed);
        match self.candidates(&watch.sku).await {
            Ok(candidates) => {
                *watch.candidates.write() = candidates;
                *watch.rendered.write() = None;
            }
            Err(problem) => {
                let code = problem.code().as_str();
                tracing::debug!(sku = %watch.sku, code, "the drops of a sku could not be looked up");
                let known = watch.candidates.read();
                known.iter().for_each(|drop| drop.asked(self.second()));
            }
        }
    }

    /// Writes a sku's status anew, if anybody asks about it: one of its drops was read.
    pub(super) fn render_sku(&self, sku: &Sku) {
        let watch = self.skus.read().get(sku).cloned();
        if let Some(watch) = watch
            && self.render(&watch).is_err()
        {
            *watch.rendered.write() = None;
        }
    }

    fn render(&self, watch: &SkuWatch) -> Result<Arc<SaleStatus>, Problem> {
        let at = Instant::now();
        let candidates = watch.candidates.read().clone();
        let readings: Vec<Arc<Reading>> = candidates.iter().map(|drop| drop.reading()).collect();
        let is_fresh = |reading: &&Arc<Reading>| reading.good_until(self.limits.max_age) > at;
        let old = readings.iter().find(|reading| !is_fresh(reading));
        let fresh: Vec<&Arc<Reading>> = readings.iter().filter(is_fresh).collect();
        let chosen = choose(&fresh, at);
        // Two drops of one sku never sell at once, so one that sells is the one to show, whatever became of the others.
        let settled = chosen.is_some_and(|reading| Rank::of(reading.phase_at(at)) == Rank::Now);
        if let Some(old) = old.filter(|_| !settled) {
            return Err(self.too_old(&old.live.id));
        }
        let chosen = chosen.ok_or(NO_DROP)?;
        let turns = fresh.iter().filter_map(|reading| reading.next_turn(at));
        let good_until = turns.chain([chosen.good_until(self.limits.max_age)]).min().unwrap_or(at);
        let status = SaleStatus::write(Arc::clone(chosen), at, good_until).ok_or(Problem::Internal)?;
        let status = Arc::new(status);
        *watch.rendered.write() = Some(Arc::clone(&status));
        Ok(status)
    }

    /// The sku may have a drop by now.
    pub(super) fn forget_absent(&self, sku: &Sku) {
        self.absent_skus.forget(sku);
        self.absent_products.forget(sku);
    }

    /// The drops of this sku may have changed their places.
    pub(super) fn sku_due(&self, sku: &Sku) {
        self.forget_absent(sku);
        if let Some(watch) = self.skus.read().get(sku) {
            watch.due.store(true, Ordering::Relaxed);
            self.skus_wake.notify_one();
        }
    }

    pub(super) fn all_skus_due(&self) {
        self.skus.read().values().for_each(|watch| watch.due.store(true, Ordering::Relaxed));
        self.skus_wake.notify_one();
    }

    /// Finds out whose drops the strangers are.
    pub(super) async fn meet_strangers(&self) {
        let strangers = std::mem::take(&mut *self.strangers.lock());
        for id in strangers {
            let shard = self.engine.shard_of(&id);
            if let Ok(found) = self.read_live(shard, std::slice::from_ref(&id)).await {
                found.iter().flatten().for_each(|live| self.sku_due(&live.sku));
            }
        }
    }
}

/// What a shopper wants to see first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Over,
    Next,
    Now,
}

impl Rank {
    const fn of(phase: Phase) -> Self {
        match phase {
            Phase::Live | Phase::SoldOut | Phase::Paused => Self::Now,
            Phase::Scheduled => Self::Next,
            Phase::Ended | Phase::Cancelled => Self::Over,
        }
    }
}

/// The drop that sells, else the next that will, else the last that did.
fn choose<'a>(readings: &[&'a Arc<Reading>], at: Instant) -> Option<&'a Arc<Reading>> {
    readings.iter().copied().max_by_key(|reading| {
        let rank = Rank::of(reading.phase_at(at));
        let starts_at_ms = reading.live.window.starts_at.as_ms();
        (rank, if rank == Rank::Next { -starts_at_ms } else { starts_at_ms })
    })
}

#[cfg(test)]
mod tests {
    use super::super::reading::tests::live;
    use super::*;
    use stampede_domain::{DropState, Window};
    use stampede_engine::LiveDrop;

    fn reading(id: &str, state: DropState, starts_s: i64, ends_s: i64) -> Arc<Reading> {
        let second = |s: i64| Timestamp::from_ms(s * 1_000);
        let window = Window { starts_at: second(starts_s), ends_at: Some(second(ends_s)) };
        Arc::new(Reading::new(LiveDrop { state, window, ..live(id, 100, 5) }))
    }

    fn chosen(readings: &[&Arc<Reading>]) -> String {
        choose(readings, Instant::now()).expect("one").live.id.to_string()
    }

    #[test]
    fn what_sells_comes_before_what_will_and_that_before_what_did() {
        let ended = reading("ended", DropState::Open, 10, 20);
        let older = reading("older", DropState::Ended, 1, 5);
        let now = reading("now", DropState::Open, 50, 200);
        let paused = reading("paused", DropState::Paused, 50, 200);
        let next = reading("next", DropState::Open, 300, 400);
        let later = reading("later", DropState::Open, 500, 600);
        assert_eq!(chosen(&[&ended, &now, &next]), "now");
        assert_eq!(chosen(&[&ended, &paused, &next]), "paused");
        assert_eq!(chosen(&[&later, &ended, &next]), "next");
        assert_eq!(chosen(&[&older, &ended]), "ended");
        assert!(choose(&[], Instant::now()).is_none());
    }

    #[test]
    fn a_body_ends_with_the_time_of_its_answer() {
        let reading = reading("now", DropState::Open, 50, 200);
        let at = Instant::now();
        let status = SaleStatus::write(reading, at, at).expect("written");
        assert_eq!(status.etag, "\"4294967303-live-now\"");
        let body: serde_json::Value = serde_json::from_slice(&status.body(Instant::now())).expect("JSON");
        assert_eq!((body["phase"].as_str(), body["available"].as_u64()), (Some("live"), Some(5)));
        assert!(body["server_time"].as_str().expect("a time").starts_with("1970-01-01T00:01:40."));
    }
}
