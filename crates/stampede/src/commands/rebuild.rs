//! `stampede rebuild`.

use std::fmt::Write;
use std::io::IsTerminal;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures_util::{StreamExt, TryStreamExt, stream};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use stampede_domain::{DropId, Shard};
use stampede_worker::{RebuildPlan, RebuildReason, Rebuilder, Rebuilt, RecoveryReport, RecoveryStep};

use super::print;
use crate::config::Loaded;
use crate::roles;

/// Shards that are rebuilt at a time: while Redis applies the facts of one, those of another are read.
const SHARDS_AT_ONCE: usize = 4;

/// How often a line is printed where there is no terminal to show a bar on.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// Ranges of missing entries that are printed for a shard; the JSON document has all.
const RANGES_SHOWN: usize = 10;

const EXAMPLES: &str = "\
Examples:
  See what would be done, after Redis was lost
      stampede rebuild --all --dry-run

  Do it, and keep the report
      stampede rebuild --all --json > report.json";

/// Rebuilds what Redis lost from the archive.
///
/// A shard that is sound is left as it is. Workers do the same by themselves when Redis restarts or has lost keys: this is for
/// whoever wants to see it happen, or to know before. If it is interrupted, the next run, or a worker, goes on.
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Options {
    /// Rebuilds the shard in which this drop lives.
    #[arg(long, value_name = "ID")]
    drop: Option<DropId>,
    /// Rebuilds every shard that needs it.
    #[arg(long, required_unless_present = "drop", conflicts_with = "drop")]
    all: bool,
    /// Says what would be done, and changes nothing.
    #[arg(long)]
    dry_run: bool,
    /// Prints the report as one JSON document.
    #[arg(long)]
    json: bool,
}

/// Rebuilds what the options say, and reports.
///
/// # Errors
/// If Redis or the archive cannot be reached, or contradict themselves.
pub async fn run(options: &Options, loaded: &Loaded) -> anyhow::Result<()> {
    let stores = roles::connect(loaded, Duration::from_millis(loaded.config.startup_timeout_ms)).await?;
    let shards: Vec<Shard> = match &options.drop {
        None => stores.engine.shards().collect(),
        Some(id) => match stores.archive.drop_record(id).await? {
            Some(record) => record.definition.stripes.shards(stores.engine.shard_of(id)),
            None => bail!("there is no drop {id}"),
        },
    };
    let settings = loaded.config.worker_settings();
    let rebuilder = Rebuilder::new(stores.engine.clone(), Arc::clone(&stores.archive), settings);
    let done = if options.dry_run {
        plan(options, &rebuilder, &shards).await
    } else {
        rebuild(options, &rebuilder, &shards).await
    };
    stores.engine.quit().await;
    done
}

async fn plan(options: &Options, rebuilder: &Rebuilder, shards: &[Shard]) -> anyhow::Result<()> {
    let mut plans = Vec::new();
    for shard in shards {
        plans.push(rebuilder.plan(*shard).await.with_context(|| format!("shard {shard}"))?);
    }
    if options.json {
        let shards: Vec<Value> = plans.iter().map(plan_json).collect();
        return print(&format!("{:#}\n", json!({ "dry_run": true, "shards": shards })));
    }
    let needed = plans.iter().filter(|plan| plan.reason.is_some()).count();
    let end = match needed {
        0 => "Every shard is sound: nothing would be done.\n".to_owned(),
        needed => format!("{needed} of {} shards would be rebuilt. Nothing was changed.\n", plans.len()),
    };
    print(&(plans.iter().map(plan_lines).collect::<String>() + &end))
}

async fn rebuild(options: &Options, rebuilder: &Rebuilder, shards: &[Shard]) -> anyhow::Result<()> {
    let started = Instant::now();
    let progress = Progress::new();
    let mut rebuilt: Vec<(Shard, Rebuilt)> = stream::iter(shards.iter().copied())
        .map(|shard| {
            let mut shown = progress.of(shard);
            async move {
                let rebuilt = rebuilder.rebuild(shard, |step, report| shown.show(step, report)).await;
                shown.finish();
                rebuilt.map(|rebuilt| (shard, rebuilt)).with_context(|| format!("shard {shard}"))
            }
        })
        .buffer_unordered(SHARDS_AT_ONCE)
        .try_collect()
        .await?;
    rebuilt.sort_unstable_by_key(|(shard, _)| *shard);
    let seconds = started.elapsed().as_secs_f64();
    if options.json {
        let shards: Vec<Value> = rebuilt.iter().map(|(shard, rebuilt)| rebuilt_json(*shard, rebuilt)).collect();
        return print(&format!("{:#}\n", json!({ "dry_run": false, "seconds": seconds, "shards": shards })));
    }
    let mut page: String = rebuilt.iter().map(|(shard, rebuilt)| rebuilt_lines(*shard, rebuilt)).collect();
    let applied = |rebuilt: &Rebuilt| match rebuilt {
        Rebuilt::Done(report) => Some(report.applied_facts),
        _ => None,
    };
    let done: Vec<u64> = rebuilt.iter().filter_map(|(_, rebuilt)| applied(rebuilt)).collect();
    let _ = match done.len() {
        0 => writeln!(page, "Every shard is sound: nothing was changed."),
        count => writeln!(page, "{count} shards rebuilt with {} facts in {seconds:.1} s.", done.iter().sum::<u64>()),
    };
    print(&page)
}

/// Bars on a terminal, lines elsewhere; both on standard error.
struct Progress {
    bars: Option<MultiProgress>,
}

/// The progress of one shard.
struct Shown {
    shard: Shard,
    bars: Option<MultiProgress>,
    bar: Option<ProgressBar>,
    told: Instant,
}

impl Progress {
    fn new() -> Self {
        Self { bars: std::io::stderr().is_terminal().then(MultiProgress::new) }
    }

    fn of(&self, shard: Shard) -> Shown {
        Shown { shard, bars: self.bars.clone(), bar: None, told: Instant::now() }
    }
}

impl Shown {
    fn show(&mut self, next: RecoveryStep, report: &RecoveryReport) {
        let (applied, planned) = (report.applied_facts, report.planned_facts);
        let doing = match next {
            RecoveryStep::Close => "reads the archive",
            RecoveryStep::Apply => "applies facts",
            RecoveryStep::Adopt => "opens the fence",
            _ => "prepares",
        };
        let Some(bars) = &self.bars else {
            if next == RecoveryStep::Close || self.told.elapsed() >= LINE_EVERY {
                self.told = Instant::now();
                eprintln!("shard {}: {doing} ({applied} of {planned} facts)", self.shard);
            }
            return;
        };
        let bar = self.bar.get_or_insert_with(|| {
            let style = ProgressStyle::with_template("{prefix} {wide_bar} {human_pos}/{human_len} facts, {msg}");
            let bar = ProgressBar::new(planned).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bars.add(bar.with_prefix(format!("shard {}", self.shard)))
        });
        bar.set_length(planned);
        bar.set_position(applied);
        bar.set_message(doing);
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn reason(reason: RebuildReason) -> String {
    match reason {
        RebuildReason::Empty => "Redis holds nothing of it".to_owned(),
        RebuildReason::Fenced => "Redis was restarted, or another one took over".to_owned(),
        RebuildReason::KeysLost { drops: 0 } => "keys of it are lost".to_owned(),
        RebuildReason::KeysLost { drops } => format!("keys of {drops} drops are lost"),
    }
}

fn plan_lines(plan: &RebuildPlan) -> String {
    let RebuildPlan { shard, number, base, through, facts, drops, .. } = plan;
    let Some(why) = plan.reason else {
        return format!("shard {shard}: sound, at entry {number} with {drops} drops\n");
    };
    let mut lines = format!("shard {shard}: would be rebuilt: {}\n", reason(why));
    if plan.wipes {
        lines.push_str("  what Redis holds of it would be taken away; its log would be put into the archive first\n");
    }
    let _ = writeln!(lines, "  entries up to {base} as Redis has them, then {facts} facts up to entry {through}");
    let _ = writeln!(lines, "  {drops} drops");
    lines + &missing_lines(&plan.missing)
}

fn rebuilt_lines(shard: Shard, rebuilt: &Rebuilt) -> String {
    let report = match rebuilt {
        Rebuilt::Sound { number } => return format!("shard {shard}: sound, at entry {number}; left as it is\n"),
        Rebuilt::ByAnother => return format!("shard {shard}: another process rebuilt it meanwhile\n"),
        Rebuilt::Done(report) => report,
    };
    let RecoveryReport { epoch, base, through, applied_facts, created_drops, .. } = report;
    let mut lines = format!("shard {shard}: rebuilt, in epoch {epoch}\n");
    if report.wiped {
        lines.push_str("  what Redis held of it was taken away; its log was put into the archive first\n");
    }
    let _ =
        writeln!(lines, "  entries up to {base} as Redis had them, then {applied_facts} facts up to entry {through}");
    let _ = writeln!(lines, "  {created_drops} drops were put into Redis again");
    lines.push_str(&missing_lines(&report.missing));
    let _ = writeln!(lines, "  what Redis had beyond entry {through} and never reached the archive is not known");
    lines
}

fn missing_lines(missing: &[RangeInclusive<u64>]) -> String {
    if missing.is_empty() {
        return String::new();
    }
    let entries: u64 = missing.iter().map(|range| range.end() - range.start() + 1).sum();
    let shown: Vec<String> = missing.iter().take(RANGES_SHOWN).map(range_text).collect();
    let more = if missing.len() > RANGES_SHOWN { ", …" } else { "" };
    format!("  {entries} entries that the archive lacks, and that nobody knows any more: {}{more}\n", shown.join(", "))
}

fn range_text(range: &RangeInclusive<u64>) -> String {
    if range.start() == range.end() {
        range.start().to_string()
    } else {
        format!("{}–{}", range.start(), range.end())
    }
}

fn ranges_json(ranges: &[RangeInclusive<u64>]) -> Vec<[u64; 2]> {
    ranges.iter().map(|range| [*range.start(), *range.end()]).collect()
}

fn plan_json(plan: &RebuildPlan) -> Value {
    json!({
        "shard": plan.shard.to_string(), "reason": plan.reason.map(reason), "number": plan.number, "wipes": plan.wipes,
        "base": plan.base, "through": plan.through, "facts": plan.facts, "drops": plan.drops,
        "missing_entries": ranges_json(&plan.missing),
    })
}

fn rebuilt_json(shard: Shard, rebuilt: &Rebuilt) -> Value {
    let shard = shard.to_string();
    match rebuilt {
        Rebuilt::Sound { number } => json!({ "shard": shard, "outcome": "sound", "number": number }),
        Rebuilt::ByAnother => json!({ "shard": shard, "outcome": "by_another" }),
        Rebuilt::Done(report) => json!({
            "shard": shard, "outcome": "rebuilt", "epoch": report.epoch, "base": report.base, "through": report.through,
            "facts": report.applied_facts, "drops": report.created_drops, "wiped": report.wiped,
            "missing_entries": ranges_json(&report.missing),
        }),
    }
}
