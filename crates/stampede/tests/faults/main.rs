//! Sells over HTTP while processes are killed, connections break and stores go away; then proves that nothing confirmed was
//! lost, doubled or oversold, and that every answer was right.
//!
//! The processes are the real binary's, and so are their Redis and their archive. `cargo test` runs a short bounded set;
//! `scripts/faults.sh --minutes N` goes on for as long as one likes.

mod checks;
mod crowd;
mod inject;
mod kinds;
mod options;
mod report;
mod roles;
mod scenario;
mod shop;
mod site;
mod stores;
#[path = "../process/support.rs"]
#[allow(dead_code, reason = "shared with the tests of the process")]
mod support;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use inject::Injector;
use options::{Options, Wanted};
use report::Report;
use scenario::Scenario;
use shop::Shop;
use site::Site;

/// How long a sale goes on with faults, in a bounded run and in a long one.
const SHORT_ROUND: Duration = Duration::from_secs(20);
const LONG_ROUND: Duration = Duration::from_secs(30);

/// Rounds that a site serves in a long run before a new one takes its place.
const ROUNDS_PER_SITE: u64 = 3;

/// How long an archive is away at most: longer than a statement of SQLite waits for its lock; in a long run a minute.
const SHORT_AWAY: Duration = Duration::from_secs(6);
const LONG_AWAY: Duration = Duration::from_secs(60);

/// How long the crowd may take to get its last answers after everything is mended.
const CROWD_LIMIT: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    let options = match options::read(std::env::args().skip(1)) {
        Ok(Wanted::Run(options)) => options,
        Ok(Wanted::Help) => {
            println!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Ok(Wanted::List) => {
            println!("fault_suite: test");
            return ExitCode::SUCCESS;
        }
        Ok(Wanted::Nothing) => return ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
    let clean = runtime.block_on(async {
        tokio::select! {
            clean = run(options) => clean,
            // Everything that was started ends with what holds it.
            () = told_to_stop() => false,
        }
    });
    if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Ends when somebody wants the run to.
async fn told_to_stop() {
    let mut terminate = signal(SignalKind::terminate()).expect("signals can be listened to");
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

/// All sites of a run; whether nothing was found.
async fn run(options: Options) -> bool {
    let report = Arc::new(Report::default());
    let folder = tempfile::Builder::new().prefix("stampede-faults-").tempdir().expect("a folder for logs and evidence");
    // It is removed when nothing was found; a run that is ended from outside leaves it.
    let folder = folder.keep();
    println!("seed {}; logs and evidence are in {}", options.seed, folder.display());
    let scenarios: Vec<Scenario> =
        options.scenarios.iter().copied().filter(|scenario| is_possible(*scenario, &report)).collect();
    let over = options.lasts.map(|lasts| Instant::now() + lasts);
    for (sites, scenario) in scenarios.iter().cycle().enumerate() {
        let is_over = over.map_or(sites == scenarios.len(), |over| Instant::now() >= over);
        if is_over || !report.counts().is_clean() {
            break;
        }
        let seed = options.seed.wrapping_add(sites as u64);
        let dir = folder.join(format!("{}-{seed}", scenario.name()));
        println!("\n{} with seed {seed}", scenario.name());
        // A task of its own, so that the evidence is kept if it panics.
        let site = tokio::spawn(run_site(options.clone(), *scenario, seed, dir.clone(), Arc::clone(&report), over));
        match site.await {
            Ok(Ok(())) => {}
            Ok(Err(problem)) => report.problem(problem),
            Err(error) => report.problem(format!("the suite itself failed: {error}")),
        }
        if !report.counts().is_clean() {
            println!("to begin with the same: ./scripts/faults.sh --seed {seed} --scenario {}", scenario.name());
        } else if !options.keep {
            let _ = std::fs::remove_dir_all(&dir);
        }
    }
    let moved_none = report.counts().is_clean() && report.counts().rounds > 0 && report.counts().transfers == 0;
    if moved_none {
        report.problem("no units moved between stripes, so nothing was seen of that".to_owned());
    }
    let counts = report.counts().clone();
    counts.print(options.seed);
    if options.keep || !counts.is_clean() {
        println!("logs and evidence are kept in {}", folder.display());
    } else {
        let _ = std::fs::remove_dir_all(&folder);
    }
    if counts.rounds == 0 {
        println!("not a single round was finished");
    }
    counts.is_clean() && counts.rounds > 0
}

/// Whether a scenario can be had here; says why not.
fn is_possible(scenario: Scenario, report: &Report) -> bool {
    let why_not = match scenario {
        Scenario::Cluster if !site::knows(site::DURABILITY) => {
            "the cluster is left out: this binary does not wait for replicas, so a failover may lose orders"
        }
        Scenario::Mongodb if !stampede_testkit::OwnMongo::can_start() => {
            "mongodb is left out: neither mongod nor Java with Maven is installed"
        }
        _ => return true,
    };
    report.note(why_not);
    false
}

async fn run_site(
    options: Options,
    scenario: Scenario,
    seed: u64,
    dir: PathBuf,
    report: Arc<Report>,
    over: Option<Instant>,
) -> Result<(), String> {
    std::fs::create_dir_all(&dir).map_err(|error| error.to_string())?;
    let mut rng = StdRng::seed_from_u64(seed);
    let site = Arc::new(Site::start(scenario, &mut rng, &dir, &report).await?);
    let rounds = if options.lasts.is_some() { ROUNDS_PER_SITE } else { 1 };
    for round in 1..=rounds {
        run_round(&options, &site, round, &mut rng, &report).await?;
        if !report.counts().is_clean() || over.is_some_and(|over| Instant::now() >= over) {
            break;
        }
    }
    Ok(())
}

/// A sale with faults; then everything is mended and checked.
async fn run_round(
    options: &Options,
    site: &Arc<Site>,
    round: u64,
    rng: &mut StdRng,
    report: &Arc<Report>,
) -> Result<(), String> {
    let (lasts, away) = match options.lasts {
        Some(_) => (LONG_ROUND, LONG_AWAY),
        None => (SHORT_ROUND, SHORT_AWAY),
    };
    let shop = Arc::new(Shop::open(site, round, rng).await?);
    let mut crowd = crowd::start(&shop, rng.random());
    let until = Instant::now() + lasts;
    let mut hands = JoinSet::new();
    for kinds in inject::hands(site, &options.only, report).into_values() {
        let mut injector = Injector::new(site, report, StdRng::seed_from_u64(rng.random()), kinds, away);
        hands.spawn(async move { injector.run(until).await });
    }
    tokio::time::sleep_until(until).await;
    while let Some(ended) = hands.join_next().await {
        ended.map_err(|error| format!("a fault could not be taken back: {error}"))?;
    }
    site.mend().await;
    site.wait_until_ready().await?;
    shop.close();
    let everybody = async {
        while let Some(ended) = crowd.join_next().await {
            ended.map_err(|error| format!("one of the crowd: {error}"))?;
        }
        Ok::<_, String>(())
    };
    timeout(CROWD_LIMIT, everybody).await.map_err(|_| format!("the crowd has no answers within {CROWD_LIMIT:?}"))??;
    shop.sell_out(rng).await?;
    checks::check_round(site, &shop, report).await?;
    let mut counts = report.counts();
    counts.rounds += 1;
    let (requests, unknown, confirmed) = (counts.requests, counts.unknown, counts.confirmed);
    let faults: u64 = counts.faults.values().sum();
    println!(
        "round {round}: {faults} faults, {requests} requests, {unknown} without an answer, {confirmed} confirmed so far"
    );
    Ok(())
}
