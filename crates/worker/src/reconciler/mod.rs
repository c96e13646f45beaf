//! The reconciler: proves that Redis and the archive tell the same of every drop, while it sells.
//!
//! A script says what a drop is and which entry of the log was the last one then: a cut. Once everything up to that entry is
//! acknowledged, the archive's facts up to it must fold to that drop, whatever has happened since. So a difference is never
//! a race; and while the archive is behind or away there is no verdict, rather than a false one.

mod checked;
mod findings;
mod fold;
mod older;
mod orphans;
mod report;
mod sources;
mod transit;
mod users;
mod windows;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use stampede_archive::{Archive, Drift, DriftKind, DropRecord, DropStage, StockRecord};
use stampede_domain::{Closing, DropId, Shard, Stock};
use stampede_engine::Engine;
use tokio_util::sync::CancellationToken;

use crate::WorkerSettings;
use crate::looping::Pause;
use crate::metrics;
use checked::{Checked, from_start};
use findings::{Findings, compare};
use fold::{Folding, Place, fold};
use orphans::Orphans;
use sources::Sources;
use users::{Pass, Passed};
use windows::{Kept, Windows};

pub use older::Unknown;
pub use report::{ReconcileReport, ShardReport, Verdict};
pub use sources::ReconcileError;

/// Reconciliations that the archive keeps of each drop.
const RECORDS_KEPT: usize = 20;

/// How far a stock in the archive may lie behind, in entries of its shard, before it is written again although its drop
/// did not change. A process that starts reads on from there.
const ENTRIES_BEHIND: u64 = 1_000;

/// How often the age of the last clean round is told.
const TELL_AGE: Duration = Duration::from_secs(1);

/// Compares Redis with the archive, for all shards of a deployment.
pub struct Reconciler {
    sources: Sources,
    settings: WorkerSettings,
    shards: HashMap<Shard, ShardState>,
    known: HashMap<Part, Known>,
    /// What the last whole pass over a drop's users found, where it found something.
    users: HashMap<Part, Findings>,
    windows: Windows,
    whole_due: Instant,
    clean_at: Instant,
}

/// What a shard has of a drop: all of it, or a stripe.
type Part = (Shard, DropId);

/// What is remembered of a shard between rounds.
#[derive(Default)]
struct ShardState {
    orphans: Orphans,
    /// What the archive lacked when that was looked at last.
    unknown: Unknown,
    /// The users that are being gone through.
    pass: Option<Pass>,
    /// The drop of the last pass that is done.
    passed: Option<DropId>,
}

/// What is remembered of a drop in a shard between rounds.
struct Known {
    stock: Stock,
    at: Place,
    /// Up to where the archive has the stock.
    stored: u64,
    drift: Vec<Drift>,
}

impl Reconciler {
    /// A reconciler for all shards of the engine's deployment.
    pub fn new(engine: Engine, archive: Arc<dyn Archive>, settings: WorkerSettings) -> Self {
        let sources = Sources { engine, archive, patience: settings.reconcile_patience };
        let now = Instant::now();
        let whole_due = now + settings.reconcile_whole_every;
        Self {
            sources,
            settings,
            shards: HashMap::new(),
            known: HashMap::new(),
            users: HashMap::new(),
            windows: Windows::default(),
            whole_due,
            clean_at: now,
        }
    }

    /// One round: the stock of every drop, from where the round before ended, and a few of the users.
    pub async fn step(&mut self) -> ReconcileReport {
        let whole = self.whole_due <= Instant::now();
        let report = self.round(None, whole, false).await;
        if whole && report.verdict() != Verdict::Unknown {
            self.whole_due = Instant::now() + self.settings.reconcile_whole_every;
        }
        report
    }

    /// Everything, from the first fact on and with all users: of one drop, or of all.
    pub async fn whole(&mut self, only: Option<&DropId>) -> ReconcileReport {
        let report = self.round(only, true, true).await;
        if !self.windows.is_waiting() {
            return report;
        }
        // A window may be changing right now. Whoever changes it is done by then, or will never be.
        tokio::time::sleep(self.settings.reconcile_window_after).await;
        self.round(only, true, true).await
    }

    async fn round(&mut self, only: Option<&DropId>, whole: bool, all_users: bool) -> ReconcileReport {
        let mut report = ReconcileReport::default();
        for shard in self.sources.shards(only).await {
            let mut of_shard = ShardReport::new(shard);
            if let Err(error) = self.check_shard(&mut of_shard, only, whole, all_users).await {
                tracing::debug!(%shard, %error, "nobody can tell now whether the shard is sound");
                of_shard.failed = Some(error);
            }
            report.shards.push(of_shard);
        }
        self.tell(&report);
        report
    }

    async fn check_shard(
        &mut self,
        report: &mut ShardReport,
        only: Option<&DropId>,
        whole: bool,
        all_users: bool,
    ) -> Result<(), ReconcileError> {
        let shard = report.shard;
        let mut records = self.sources.drops(shard, only).await?;
        self.look_for_unknown(report, only.is_none().then(|| older::ids(&records))).await?;
        // One that is being opened may or may not be in Redis.
        records.retain(|record| record.stage == DropStage::Opened);
        let ids: Vec<DropId> = records.iter().map(|record| record.definition.id.clone()).collect();
        let cuts = self.sources.cuts(shard, &ids).await?;
        self.sources.wait_until_archived(shard, cuts.last).await?;
        let closings = self.sources.closings(shard, cuts.last.epoch).await?;
        if !whole {
            self.recall(shard, &ids).await?;
        }
        let mut checked: Vec<Checked> = Vec::with_capacity(ids.len());
        for (record, (cut, live)) in records.into_iter().zip(cuts.drops) {
            let folding = self.begin(&record, shard, cut, &closings, whole);
            checked.push(Checked {
                record,
                shard,
                cut,
                live,
                folding,
                findings: Findings::default(),
                users: 0,
                orders: 0,
            });
        }
        self.check_stocks(shard, &closings, &mut checked).await?;
        self.check_transit(shard, &mut checked).await?;
        let archive = Arc::clone(&self.sources.archive);
        let orphans = &mut self.shards.entry(shard).or_default().orphans;
        report.orphans = orphans.count(&*archive, shard, cuts.last.epoch, &closings, whole).await?;
        metrics::orphans(shard, report.orphans);
        // What is known by now is told even if the users cannot be looked at.
        let users = self.check_users(shard, &closings, &mut checked, all_users).await;
        self.check_windows(report, &mut checked).await?;
        self.keep(report, checked, whole, all_users).await?;
        users
    }

    /// Counts what Redis knows and the archive does not; drops too, if the archive's are `listed`.
    async fn look_for_unknown(
        &mut self,
        report: &mut ShardReport,
        listed: Option<HashSet<DropId>>,
    ) -> Result<(), ReconcileError> {
        let shard = report.shard;
        let epoch = self.sources.engine.cut(shard, &[]).await?.epoch;
        let state = self.shards.entry(shard).or_default();
        state.unknown.epochs = Unknown::epochs(&self.sources, shard, epoch).await?;
        if let Some(listed) = listed {
            state.unknown.look(&self.sources, shard, &listed).await?;
        }
        report.unknown = state.unknown.clone();
        Ok(())
    }

    /// Reads the stocks that the archive has of drops that this process does not know yet.
    async fn recall(&mut self, shard: Shard, ids: &[DropId]) -> Result<(), ReconcileError> {
        let is_known = |id: &DropId| self.known.contains_key(&(shard, id.clone()));
        let unknown: Vec<DropId> = ids.iter().filter(|id| !is_known(id)).cloned().collect();
        for record in self.sources.archive.stocks(shard, &unknown).await? {
            let at = Place { epoch: record.epoch, number: record.number };
            let (stock, stored) = (record.stock, record.number);
            let known = Known { stock, at, stored, drift: Vec::new() };
            self.known.insert((shard, record.drop_id), known);
        }
        Ok(())
    }

    /// From where a drop's facts are folded up to its cut.
    fn begin(&self, record: &DropRecord, shard: Shard, cut: Place, closings: &[Closing], whole: bool) -> Folding {
        let known = self.known.get(&(shard, record.definition.id.clone())).filter(|_| !whole);
        // Another process may have gone further than this one's cut; and a Redis that came back with less has another history.
        match known.filter(|known| known.at <= cut && known.at.number <= cut.number && known.at.holds(closings)) {
            Some(known) => Folding::new(known.stock.clone(), known.at, cut),
            None => from_start(record, shard, cut),
        }
    }

    async fn check_stocks(
        &self,
        shard: Shard,
        closings: &[Closing],
        checked: &mut [Checked],
    ) -> Result<(), ReconcileError> {
        let all: Vec<usize> = (0..checked.len()).collect();
        self.fold_and_compare(shard, closings, checked, &all).await?;
        // A fact may have come to its place after a round that went past it, as one that was set aside and is put back does.
        // So nothing counts as wrong before its facts were read from the first one on.
        let doubted: Vec<usize> = all
            .into_iter()
            .filter(|index| !checked[*index].findings.is_empty() && checked[*index].folding.from != Place::START)
            .collect();
        for index in &doubted {
            let drop = &mut checked[*index];
            drop.folding = from_start(&drop.record, shard, drop.cut);
            drop.findings = Findings::default();
        }
        self.fold_and_compare(shard, closings, checked, &doubted).await
    }

    async fn fold_and_compare(
        &self,
        shard: Shard,
        closings: &[Closing],
        checked: &mut [Checked],
        chosen: &[usize],
    ) -> Result<(), ReconcileError> {
        let id = |index: &usize, checked: &[Checked]| checked[*index].record.definition.id.clone();
        let mut drops: HashMap<DropId, Folding> =
            chosen.iter().map(|index| (id(index, checked), checked[*index].folding.clone())).collect();
        fold(&*self.sources.archive, shard, closings, &mut drops).await?;
        for index in chosen {
            let Some(folding) = drops.remove(&id(index, checked)) else { continue };
            let drop = &mut checked[*index];
            drop.folding = folding;
            drop.findings = match &drop.live {
                Some(live) => compare(live, &drop.folding.stock),
                None => {
                    let mut findings = Findings::default();
                    findings.add(DriftKind::Drop, drop.folding.stock.total_units.unsigned_abs(), None);
                    findings
                }
            };
        }
        Ok(())
    }

    /// Goes on with the users of a shard: all of them, or as many as a round may.
    async fn check_users(
        &mut self,
        shard: Shard,
        closings: &[Closing],
        checked: &mut [Checked],
        all: bool,
    ) -> Result<(), ReconcileError> {
        if all {
            for drop in checked.iter_mut().filter(|drop| drop.live.is_some()) {
                let mut pass = drop.pass();
                while pass.step(&self.sources, closings).await? == Passed::Some {}
                drop.users = pass.users();
                drop.orders = pass.orders;
                drop.findings.merge(&pass.findings);
            }
            return Ok(());
        }
        let shards = self.sources.engine.shards().len() as u64;
        let mut left = self.settings.reconcile_users.div_ceil(shards);
        let mut done = 0;
        // Each drop once in a round at most: with few users there is nothing to be gained from a second pass.
        while left > 0 && done < checked.len() {
            let state = self.shards.entry(shard).or_default();
            let Some((mut pass, index)) = state.next_pass(checked) else { return Ok(()) };
            let (users, orders) = (pass.users(), pass.orders);
            let passed = match pass.step(&self.sources, closings).await {
                Ok(passed) => passed,
                // The pass is of no use after a recovery; otherwise it goes on with the same users.
                Err(error) => {
                    if !matches!(error, ReconcileError::Recovered(..)) {
                        state.pass = Some(pass);
                    }
                    return Err(error);
                }
            };
            let drop = &mut checked[index];
            drop.users += pass.users() - users;
            drop.orders += pass.orders - orders;
            left = left.saturating_sub((pass.users() - users).max(1));
            drop.findings.merge(&pass.findings);
            if passed == Passed::All {
                done += 1;
                state.passed = Some(pass.drop_id.clone());
                if pass.findings.is_empty() {
                    self.users.remove(&(shard, pass.drop_id));
                } else {
                    self.users.insert((shard, pass.drop_id), pass.findings);
                }
            } else {
                state.pass = Some(pass);
            }
        }
        Ok(())
    }

    async fn check_windows(&mut self, report: &mut ShardReport, checked: &mut [Checked]) -> Result<(), ReconcileError> {
        for drop in checked {
            // The archive keeps one window for a drop: that of its home.
            let is_home = self.sources.engine.shard_of(&drop.record.definition.id) == drop.shard;
            let Some(live) = drop.live.as_ref().filter(|_| is_home) else { continue };
            let after = self.settings.reconcile_window_after;
            match self.windows.check(&self.sources, &drop.record, live, after).await? {
                Kept::Fine => {}
                Kept::Repaired => report.windows_repaired.push(drop.record.definition.id.clone()),
                Kept::Wrong => drop.findings.add(DriftKind::KeptWindow, 0, None),
            }
        }
        Ok(())
    }

    /// Remembers what was found, and writes down what is new.
    async fn keep(
        &mut self,
        report: &mut ShardReport,
        checked: Vec<Checked>,
        whole: bool,
        all_users: bool,
    ) -> Result<(), ReconcileError> {
        let mut stocks = Vec::new();
        let mut records = Vec::new();
        for mut drop in checked {
            let id = drop.record.definition.id.clone();
            let part = (drop.shard, id.clone());
            let before = self.known.remove(&part);
            let stored = before.as_ref().map_or(0, |known| known.stored);
            // What a pass found stays true until the next one is through; all users at once need no such memory.
            if let Some(found) = self.users.get(&part).filter(|_| !all_users) {
                drop.findings.merge(found);
            }
            let changed = before.as_ref().is_none_or(|known| known.stock != drop.folding.stock);
            let behind = drop.cut.number.saturating_sub(stored) >= ENTRIES_BEHIND;
            let store = changed || behind || drop.cut.number < stored;
            let record = drop.reconciliation(whole);
            let told = before.is_some_and(|known| known.drift == record.drift);
            if all_users || changed || !told || record.users_checked > 0 {
                records.push(record.clone());
            }
            if store {
                let Place { epoch, number } = drop.cut;
                let stock = drop.folding.stock.clone();
                stocks.push(StockRecord { drop_id: id, shard: drop.shard, epoch, number, stock });
            }
            let stored = if store { drop.cut.number } else { stored };
            let (stock, at, drift) = (drop.folding.stock, drop.cut, record.drift.clone());
            self.known.insert(part, Known { stock, at, stored, drift });
            report.drops.push(record);
        }
        if !stocks.is_empty() {
            self.sources.archive.put_stocks(&stocks).await?;
        }
        for record in &records {
            self.sources.archive.put_reconciliation(record, RECORDS_KEPT).await?;
        }
        Ok(())
    }

    fn tell(&mut self, report: &ReconcileReport) {
        let verdict = report.verdict();
        metrics::reconciled(verdict);
        for drop in report.shards.iter().flat_map(|shard| &shard.drops) {
            metrics::reconciled_drop(drop.users_checked);
            if !drop.is_clean() {
                tracing::error!(drop = %drop.drop_id, epoch = %drop.epoch, number = drop.number, drift = ?drop.drift, "Redis and the archive differ");
            }
        }
        for shard in report.shards.iter().filter(|shard| !shard.unknown.is_nothing()) {
            tracing::error!(shard = %shard.shard, unknown = ?shard.unknown, "the archive is older than Redis: was it restored from a backup?");
        }
        let unknown = |count: fn(&Unknown) -> u64| self.shards.values().map(|state| count(&state.unknown)).sum();
        metrics::unknown(unknown(|unknown| u64::from(unknown.epochs)), unknown(|unknown| unknown.drops));
        for kind in DriftKind::ALL {
            let drift = self.known.values().flat_map(|known| &known.drift).filter(|drift| drift.kind == kind);
            // What has no units is counted by itself.
            metrics::drift(kind, drift.map(|drift| drift.units.max(drift.count)).sum());
        }
        if verdict == Verdict::Clean {
            self.clean_at = Instant::now();
        }
    }
}

impl ShardState {
    /// The pass that is under way, or one over the users of the next drop; with the drop's place in the round.
    fn next_pass(&mut self, checked: &[Checked]) -> Option<(Pass, usize)> {
        let place = |id: &DropId| checked.iter().position(|drop| drop.record.definition.id == *id);
        if let Some(pass) = self.pass.take()
            && let Some(index) = place(&pass.drop_id)
        {
            return Some((pass, index));
        }
        let after = self.passed.as_ref().and_then(place).map_or(0, |index| index + 1);
        let next = (after..checked.len()).chain(0..after).find(|index| checked[*index].live.is_some())?;
        Some((checked[next].pass(), next))
    }
}

/// Steps until the shutdown.
pub(crate) async fn run(mut reconciler: Reconciler, shutdown: CancellationToken) {
    let period = reconciler.settings.reconcile_period;
    let mut idle = Pause::new(period, period);
    loop {
        let waiting = idle.wait(&shutdown);
        tokio::pin!(waiting);
        let go_on = loop {
            metrics::clean_age(reconciler.clean_at.elapsed());
            tokio::select! {
                go_on = &mut waiting => break go_on,
                () = tokio::time::sleep(TELL_AGE) => {}
            }
        };
        if !go_on {
            return;
        }
        tokio::select! {
            report = reconciler.step() => {
                if report.verdict() == Verdict::Unknown {
                    tracing::debug!("a round came to no verdict");
                }
            }
            // A round only reads, and what it writes may be written again: it is left where it is.
            () = shutdown.cancelled() => return,
        }
    }
}
