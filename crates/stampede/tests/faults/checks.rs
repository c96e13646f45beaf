//! What must be true after a round, when everything is mended.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use stampede_archive::{Archive, ArchiveUrl, FactCursor, FactRange, OrderFilter};
use stampede_domain::{Closing, Deployment, Epoch, Fact, Order, OrderId, Shard, ShardCount};
use stampede_engine::{Engine, EngineSettings};
use stampede_testkit::history::{
    Answer, Event, History, Operation, StripedSale, Verdict, check, check_striped, witness,
};
use tokio::time::{Instant, sleep};

use super::report::Report;
use super::shop::{DropPlan, Shop};
use super::site::{SHARDS, Site};

/// How long the workers may take to archive what a round left.
const DRAIN_LIMIT: Duration = Duration::from_secs(120);

/// Facts and orders that one read takes.
const AT_ONCE: usize = 10_000;

/// Checks a round; what is wrong goes into the report, with the evidence beside the logs.
pub async fn check_round(site: &Site, shop: &Shop, report: &Arc<Report>) -> Result<(), String> {
    let engine = connect(site).await?;
    let url: ArchiveUrl = site.archive_url.parse().map_err(|error| format!("{error}"))?;
    let archive = stampede_archive::connect(&url).await.map_err(|error| error.to_string())?;
    wait_until_drained(&engine).await?;

    let (checked_engine, checked_archive) = (engine.clone(), Arc::clone(&archive));
    let invariants = tokio::spawn(async move {
        stampede_testkit::assert_invariants(&checked_engine, &*checked_archive).await;
    });
    if let Err(error) = invariants.await {
        let text = error.try_into_panic().ok().and_then(|panic| panic.downcast::<String>().ok());
        report.problem(format!("an invariant is broken: {}", text.unwrap_or_default()));
    }
    for problem in shop.problems.lock().expect("nobody panics with it").drain(..) {
        report.problem(problem);
    }
    for panic in site.panics() {
        report.problem(panic);
    }
    check_histories(site, shop, &engine, &*archive, report).await?;
    engine.quit().await;
    Ok(())
}

async fn connect(site: &Site) -> Result<Engine, String> {
    let url: ArchiveUrl = site.archive_url.parse().map_err(|error| format!("{error}"))?;
    let archive = stampede_archive::connect(&url).await.map_err(|error| error.to_string())?;
    let shards = ShardCount::try_from(SHARDS).map_err(|error| error.to_string())?;
    let deployment = archive.deployment(&Deployment { id: String::new(), shards }).await;
    let deployment = deployment.map_err(|error| error.to_string())?;
    let settings = EngineSettings { redis_url: site.redis_url.clone(), ..EngineSettings::default() };
    Engine::connect(settings, deployment).await.map_err(|error| error.to_string())
}

/// Nothing is pending: every entry of every log is archived and acknowledged.
async fn wait_until_drained(engine: &Engine) -> Result<(), String> {
    let deadline = Instant::now() + DRAIN_LIMIT;
    for shard in engine.shards() {
        loop {
            let status = engine.log_status(shard).await;
            if status.as_ref().is_ok_and(|status| status.entries == 0) {
                break;
            }
            if Instant::now() > deadline {
                return Err(format!("the log of {shard} does not drain: {status:?}"));
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

/// What one shard's part of the archive holds.
struct Archived {
    facts: Vec<Fact>,
    closings: Vec<Closing>,
}

async fn check_histories(
    site: &Site,
    shop: &Shop,
    engine: &Engine,
    archive: &dyn Archive,
    report: &Report,
) -> Result<(), String> {
    let history = shop.recorder.take();
    let mut shards: HashMap<Shard, Archived> = HashMap::new();
    for drop in &shop.drops {
        let record = archive.drop_record(&drop.id).await.map_err(|error| error.to_string())?;
        let stripes = record.ok_or_else(|| format!("{} is not archived", drop.id))?.definition.stripes;
        let home = engine.shard_of(&drop.id);
        let mut facts: Vec<Fact> = Vec::new();
        let mut events: Vec<Vec<Event>> = Vec::new();
        for shard in stripes.shards(home) {
            if let std::collections::hash_map::Entry::Vacant(entry) = shards.entry(shard) {
                entry.insert(read_shard(archive, shard).await?);
            }
            let archived = &shards[&shard];
            events.push(witness(&drop.id, &archived.facts, &archived.closings)?);
            facts.extend(archived.facts.iter().filter(|fact| fact.drop_id == drop.id).cloned());
        }
        let operations = history.get(&drop.id).map_or(&[][..], Vec::as_slice);
        let arrived = |event: &&Event| matches!(event, Event::Received { .. });
        report.counts().transfers += events.iter().flatten().filter(arrived).count();
        let verdict = if stripes.is_striped() {
            check_striped(&drop.rules, &StripedSale { stripes, home, events }, operations)
        } else {
            check(&drop.rules, &events.concat(), operations)
        };
        if !verdict.is_right() {
            let file = format!("{}.history", drop.id);
            write_evidence(&site.dir.join(&file), drop, &verdict, &facts, operations);
            let first = &verdict.violations[0];
            report.problem(format!(
                "{}: {} violations, see {file}; the first: {first}",
                drop.id,
                verdict.violations.len()
            ));
        }
        count(report, &verdict, operations);
    }
    compare_contents(shop, archive, report).await?;
    count_requests(report, &history);
    Ok(())
}

fn count(report: &Report, verdict: &Verdict, operations: &[Operation]) {
    let mut counts = report.counts();
    counts.confirmed += verdict.confirmed;
    counts.cancelled += verdict.cancelled;
    counts.lost += verdict.lost();
    counts.doubled += verdict.doubled();
    counts.oversold += verdict.oversold();
    counts.requests += operations.len();
}

fn count_requests(report: &Report, history: &History) {
    let unknown = history.values().flatten().filter(|operation| operation.answer == Answer::Unknown).count();
    report.counts().unknown += unknown;
}

async fn read_shard(archive: &dyn Archive, shard: Shard) -> Result<Archived, String> {
    let range = FactRange { from_epoch: Epoch(0), beyond_number: 0 };
    let mut facts: Vec<Fact> = Vec::new();
    loop {
        let after =
            facts.last().map(|fact| FactCursor { epoch: fact.epoch, number: fact.number, index: fact.position.index });
        let read = archive.facts(shard, range, after, AT_ONCE).await.map_err(|error| error.to_string())?;
        if read.is_empty() {
            break;
        }
        facts.extend(read);
    }
    let closings = archive.closings(shard).await.map_err(|error| error.to_string())?;
    Ok(Archived { facts, closings })
}

/// Every order that a client was told of is archived once, and says there what the client was told.
async fn compare_contents(shop: &Shop, archive: &dyn Archive, report: &Report) -> Result<(), String> {
    let mut archived: BTreeMap<OrderId, Value> = BTreeMap::new();
    for drop in &shop.drops {
        let filter = OrderFilter { drop_id: Some(drop.id.clone()), user_id: None };
        let mut before = None;
        loop {
            let page = archive.orders(&filter, before, AT_ONCE).await.map_err(|error| error.to_string())?;
            let Some(last) = page.last() else { break };
            before = Some(last.order.id);
            for found in page {
                let id = found.order.id;
                if archived.insert(id, content(&found.order)).is_some() {
                    report.counts().doubled += 1;
                    report.problem(format!("order {id} is archived twice"));
                }
            }
        }
    }
    let told = shop.told.lock().expect("nobody panics with it").clone();
    for (id, told) in told {
        match archived.get(&id) {
            Some(kept) if *kept == told => {}
            // Counted by the history's check.
            None => report.problem(format!("order {id} was told and is not archived: {told}")),
            Some(kept) => report.problem(format!("order {id} was told as {told} and is archived as {kept}")),
        }
    }
    Ok(())
}

/// An order as the contract shows it, without its status.
fn content(order: &Order) -> Value {
    json!({
        "id": order.id, "drop_id": order.drop_id, "sku": order.sku, "user_id": order.user_id, "quantity": order.quantity,
        "unit_price": order.unit_price, "total_price": order.total_price(), "placed_at": order.placed_at,
    })
}

/// Everything that one needs to follow what happened.
fn write_evidence(file: &Path, drop: &DropPlan, verdict: &Verdict, facts: &[Fact], operations: &[Operation]) {
    let mut text = format!("{drop:?}\n\n");
    for violation in &verdict.violations {
        let _ = writeln!(text, "{violation}");
    }
    let _ = writeln!(text, "\nWhat the archive has, orphans included:");
    for fact in facts {
        let _ = writeln!(text, "{} epoch {} number {}: {:?}", fact.id(), fact.epoch, fact.number, fact.body);
    }
    let mut operations: Vec<&Operation> = operations.iter().collect();
    operations.sort_by_key(|operation| operation.called_ns);
    let _ = writeln!(text, "\nWhat clients asked and were told:");
    for operation in operations {
        let _ = writeln!(text, "{operation}");
    }
    if let Err(error) = std::fs::write(file, text) {
        println!("the evidence cannot be written to {}: {error}", file.display());
    }
}
