//! `stampede reconcile`.

use std::fmt::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use serde_json::{Value, json};
use stampede_archive::{Drift, Reconciliation, StockFigures};
use stampede_domain::DropId;
use stampede_worker::{ReconcileReport, Reconciler, ShardReport, Unknown, Verdict};

use super::print;
use crate::config::Loaded;
use crate::roles;

const EXAMPLES: &str = "\
Exit code:
  0  everything is sound
  1  something differs
  2  nobody can tell: Redis or the archive is away, or the archive is behind

Examples:
  stampede reconcile
  stampede --dir .stampede reconcile --drop friday --json";

/// Proves that Redis and the archive tell the same of every drop, or says what differs.
///
/// All facts are folded, from the first one on, and all users' records are compared with their orders. It may run at any time:
/// what it compares is what was true at one moment, so a sale that goes on is no difference. What it finds is also kept in
/// the archive. The workers do the same all the time, a part at a time.
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Options {
    /// Looks at this drop only.
    #[arg(long, value_name = "ID")]
    drop: Option<DropId>,
    /// Prints what was found as one JSON document.
    #[arg(long)]
    json: bool,
}

/// Compares, and says what was found by the exit code too.
pub async fn run(options: &Options, load: impl FnOnce() -> anyhow::Result<Loaded>) -> anyhow::Result<ExitCode> {
    match reconcile(options, load).await {
        Ok(verdict) => Ok(exit_code(verdict)),
        // That it could not be done is told from what it may find.
        Err(error) => {
            eprintln!("error: {error:#}");
            Ok(exit_code(Verdict::Unknown))
        }
    }
}

fn exit_code(verdict: Verdict) -> ExitCode {
    ExitCode::from(match verdict {
        Verdict::Clean => 0,
        Verdict::Drift => 1,
        Verdict::Unknown => 2,
    })
}

async fn reconcile(options: &Options, load: impl FnOnce() -> anyhow::Result<Loaded>) -> anyhow::Result<Verdict> {
    let loaded = load()?;
    let stores = roles::connect(&loaded, Duration::from_millis(loaded.config.startup_timeout_ms)).await?;
    if let Some(id) = &options.drop
        && stores.archive.drop_record(id).await?.is_none()
    {
        bail!("there is no drop {id}");
    }
    let settings = loaded.config.worker_settings();
    let mut reconciler = Reconciler::new(stores.engine.clone(), Arc::clone(&stores.archive), settings);
    let report = reconciler.whole(options.drop.as_ref()).await;
    stores.engine.quit().await;
    print(&if options.json { format!("{:#}\n", as_json(&report)) } else { as_text(&report) })?;
    Ok(report.verdict())
}

fn as_json(report: &ReconcileReport) -> Value {
    let shard = |shard: &ShardReport| {
        json!({
            "shard": shard.shard.to_string(),
            "verdict": shard.verdict().as_str(),
            "unknown_epochs": shard.unknown.epochs,
            "unknown_drops": shard.unknown.drops,
            "unknown_drops_named": shard.unknown.named,
            "orphan_facts": shard.orphans,
            "windows_repaired": shard.windows_repaired,
            "failed": shard.failed.as_ref().map(ToString::to_string),
            "drops": shard.drops,
        })
    };
    json!({ "verdict": report.verdict().as_str(), "shards": report.shards.iter().map(shard).collect::<Vec<_>>() })
}

fn as_text(report: &ReconcileReport) -> String {
    let mut page = String::new();
    for shard in &report.shards {
        for drop in &shard.drops {
            page.push_str(&drop_lines(drop));
        }
        for id in &shard.windows_repaired {
            let _ = writeln!(page, "drop {id}: the archive kept a window that it never got; it was put right");
        }
        page.push_str(&unknown_lines(shard));
        if shard.orphans > 0 {
            let _ = writeln!(page, "shard {}: {} facts of closed epochs do not count", shard.shard, shard.orphans);
        }
        if let Some(error) = &shard.failed {
            let _ = writeln!(page, "shard {}: nobody can tell: {error}", shard.shard);
        }
    }
    page.push_str(match report.verdict() {
        Verdict::Clean => "Redis and the archive tell the same.\n",
        Verdict::Drift => "Redis and the archive differ.\n",
        Verdict::Unknown => "Nobody can tell whether Redis and the archive differ; try again.\n",
    });
    page
}

fn unknown_lines(shard: &ShardReport) -> String {
    let mut lines = String::new();
    let Unknown { epochs, drops, named } = &shard.unknown;
    if *epochs > 0 {
        let _ = writeln!(
            lines,
            "shard {}: the archive lacks the last {epochs} epochs: is it a backup, older than Redis?",
            shard.shard
        );
    }
    if *drops > 0 {
        let named = named.iter().map(|id| format!(" {id}")).collect::<String>();
        let _ =
            writeln!(lines, "shard {}: Redis has {drops} drops that the archive does not know:{named}", shard.shard);
    }
    lines
}

fn drop_lines(drop: &Reconciliation) -> String {
    let Reconciliation { drop_id, epoch, number, users_checked, orders_checked, .. } = drop;
    let mut lines = format!(
        "drop {drop_id}: {} at entry {number} of epoch {epoch}; {users_checked} users with {orders_checked} orders\n",
        if drop.is_clean() { "sound" } else { "DIFFERS" }
    );
    if drop.is_clean() {
        return lines;
    }
    let redis = drop.redis.as_ref().map_or_else(|| "nothing".to_owned(), figures);
    let _ = writeln!(lines, "  Redis has {redis}");
    let _ = writeln!(lines, "  the archive has {}", figures(&drop.archive));
    for Drift { kind, units, count, orders } in &drop.drift {
        let named = orders.iter().map(|id| format!(" {id}")).collect::<String>();
        let _ = writeln!(lines, "  {}: {units} units, {count} times{named}", kind.as_str());
    }
    lines
}

fn figures(of: &StockFigures) -> String {
    format!("total {}, available {}, held {}, sold {}", of.total, of.available, of.held, of.sold)
}
