//! `stampede dead-letters`.

mod report;

use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use stampede_domain::{DropId, FactId, Shard};
use stampede_engine::{Engine, EngineError, KeptLetter, LetterCompensation, LetterReplay, LetterState};
use tokio::time::{Instant, sleep};

use super::{duration, print};
use crate::config::Loaded;
use crate::roles;
use report::{Outcome, Verdict};

/// The pause between two looks at letters that are on their way to the archive.
const LOOK: Duration = Duration::from_millis(100);

const EXAMPLES: &str = "\
Examples:
  stampede dead-letters list
  stampede dead-letters list --drop friday --json
  stampede dead-letters replay --all
  stampede dead-letters compensate --id 0199d2f0-1c38-8001-8000-000000000000";

/// Shows the facts that the archive refuses for good, has them archived after all, or gives their orders back.
///
/// A dead letter is an alert: an order that was confirmed, or another decision, that the archive will not take. Nothing is lost:
/// its shopper can read it as before. Find out from the reason what is wrong with the archive and set it right; then replay.
/// Where that cannot be, compensate: units and limit are given back, and the order says so to its shopper.
#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Shows the dead letters, oldest first.
    List {
        #[command(flatten)]
        place: Place,
        /// Writes them as JSON, each whole.
        #[arg(long)]
        json: bool,
    },
    /// Gives facts to the archive once more, and waits for what it says.
    ///
    /// The exit code is 0 if it took all of them, and 1 if it refused one again, or did not answer in time.
    Replay {
        #[command(flatten)]
        choice: Choice,
        /// How long to wait for the archive: 90s, 30m.
        #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
        wait: Duration,
    },
    /// Gives orders back: units to the drop, and to the limit of their shoppers, who read `compensated` from then on.
    ///
    /// This is final. The exit code is 0 if all of them are given back, and 1 if one is not.
    Compensate {
        #[command(flatten)]
        choice: Choice,
    },
}

/// Where to look.
#[derive(Args)]
struct Place {
    /// Only in the shard of this number.
    #[arg(long, value_name = "N")]
    shard: Option<u16>,
    /// Only of this drop.
    #[arg(long, value_name = "ID")]
    drop: Option<DropId>,
}

/// Which letters are meant.
#[derive(Args)]
struct Choice {
    /// The letter of this fact, as `list` shows its id; may be repeated.
    #[arg(long, value_name = "FACT", required_unless_present = "all", conflicts_with = "all")]
    id: Vec<FactId>,
    /// All letters there are, in the shard and of the drop that are named.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    place: Place,
    /// Writes what became of them as JSON.
    #[arg(long)]
    json: bool,
}

/// Does what the options say.
///
/// # Errors
/// If Redis or the archive cannot be reached, or a letter did not become what was asked for.
pub async fn run(options: &Options, loaded: &Loaded) -> anyhow::Result<()> {
    let patience = Duration::from_millis(loaded.config.startup_timeout_ms);
    let engine = roles::connect(loaded, patience).await?.engine;
    let done = match &options.action {
        Action::List { place, json } => list(&engine, place, *json).await,
        Action::Replay { choice, wait } => replay(&engine, choice, *wait).await,
        Action::Compensate { choice } => compensate(&engine, choice).await,
    };
    engine.quit().await;
    done
}

async fn list(engine: &Engine, place: &Place, json: bool) -> anyhow::Result<()> {
    let letters = letters(engine, place).await?;
    print(&if json { report::letters_json(&letters)? } else { report::letters_table(&letters) })
}

async fn replay(engine: &Engine, choice: &Choice, wait: Duration) -> anyhow::Result<()> {
    let deadline = Instant::now() + wait;
    let mut outcomes = Vec::new();
    let mut underway = Vec::new();
    for kept in chosen(engine, choice, &mut outcomes).await? {
        let id = kept.letter.fact.id();
        match engine.replay_letter(&kept.letter.fact).await {
            Ok(LetterReplay::Replayed | LetterReplay::Replaying) => underway.push(id),
            Ok(LetterReplay::Compensated) => outcomes.push(Outcome::failed(id, "its order was compensated")),
            Ok(LetterReplay::Gone) => outcomes.push(Outcome::failed(id, GONE)),
            Ok(LetterReplay::Unknown) => outcomes.push(Outcome::failed(id, UNKNOWN)),
            Err(error) => outcomes.push(Outcome::failed(id, &failure(&error))),
        }
    }
    for id in underway {
        outcomes.push(await_archive(engine, id, deadline).await);
    }
    finish(&outcomes, choice.json)
}

/// Waits until the archive has taken a fact that was replayed, or refused it again.
async fn await_archive(engine: &Engine, id: FactId, deadline: Instant) -> Outcome {
    loop {
        match engine.letter(id).await {
            Ok(None) => return Outcome { id, verdict: Verdict::Archived, detail: String::new() },
            Ok(Some(KeptLetter { letter, state: LetterState::Dead })) => {
                return Outcome::failed(id, &format!("refused again: {}", letter.reason));
            }
            Ok(Some(_)) if Instant::now() >= deadline => {
                return Outcome::failed(id, "it is in the log; no worker has moved it yet: see `list` later");
            }
            Err(error) if Instant::now() >= deadline => return Outcome::failed(id, &failure(&error)),
            Ok(Some(_)) | Err(_) => sleep(LOOK).await,
        }
    }
}

async fn compensate(engine: &Engine, choice: &Choice) -> anyhow::Result<()> {
    let mut outcomes = Vec::new();
    for kept in chosen(engine, choice, &mut outcomes).await? {
        let id = kept.letter.fact.id();
        outcomes.push(match engine.compensate_letter(&kept.letter.fact).await {
            Ok(LetterCompensation::Compensated) => Outcome { id, verdict: Verdict::Compensated, detail: String::new() },
            Ok(LetterCompensation::Already(stampede_domain::GrantState::Compensated)) => {
                Outcome { id, verdict: Verdict::Compensated, detail: "before".to_owned() }
            }
            Ok(LetterCompensation::Already(_)) => {
                Outcome::failed(id, "its order was cancelled, so nothing is to be given back: replay it")
            }
            Ok(LetterCompensation::Replaying) => Outcome::failed(id, "it is on its way to the archive once more"),
            Ok(LetterCompensation::Gone) => Outcome::failed(id, GONE),
            Ok(LetterCompensation::Unknown) => Outcome::failed(id, UNKNOWN),
            Ok(LetterCompensation::NotAnOrder) => Outcome::failed(id, "it is no order: it can only be replayed"),
            Err(error) => Outcome::failed(id, &failure(&error)),
        });
    }
    finish(&outcomes, choice.json)
}

const GONE: &str = "there is no such dead letter";
const UNKNOWN: &str = "the record of its user does not know it";

fn failure(error: &EngineError) -> String {
    match error {
        EngineError::OutcomeUnknown => "it may have happened or not: run the command again".to_owned(),
        error => error.to_string(),
    }
}

fn finish(outcomes: &[Outcome], json: bool) -> anyhow::Result<()> {
    print(&if json { report::outcomes_json(outcomes)? } else { report::outcomes_table(outcomes) })?;
    let failed = outcomes.iter().filter(|outcome| outcome.verdict == Verdict::Failed).count();
    if failed > 0 {
        bail!("{failed} of {} dead letters did not become what was asked for", outcomes.len());
    }
    Ok(())
}

/// The letters that are meant; those that are not there are reported.
async fn chosen(engine: &Engine, choice: &Choice, outcomes: &mut Vec<Outcome>) -> anyhow::Result<Vec<KeptLetter>> {
    if choice.all {
        return letters(engine, &choice.place).await;
    }
    let mut found = Vec::new();
    for id in &choice.id {
        match engine.letter(*id).await.with_context(|| format!("the letter of {id} cannot be read"))? {
            Some(kept) if choice.place.holds(&kept) => found.push(kept),
            _ => outcomes.push(Outcome::failed(*id, GONE)),
        }
    }
    Ok(found)
}

async fn letters(engine: &Engine, place: &Place) -> anyhow::Result<Vec<KeptLetter>> {
    if let Some(number) = place.shard
        && number >= engine.deployment().shards.get()
    {
        bail!("there is no shard {number}: this deployment has {}", engine.deployment().shards.get());
    }
    let mut found = Vec::new();
    for shard in engine.shards().filter(|shard| place.may_hold(*shard)) {
        let letters = engine.letters(shard).await;
        let letters = letters.with_context(|| format!("the dead letters of {shard} cannot be read"))?;
        found.extend(letters.into_iter().filter(|kept| place.holds(kept)));
    }
    found.sort_by_key(|kept| kept.letter.fact.position);
    Ok(found)
}

impl Place {
    fn may_hold(&self, shard: Shard) -> bool {
        self.shard.is_none_or(|number| number == shard.number())
    }

    fn holds(&self, kept: &KeptLetter) -> bool {
        let fact = &kept.letter.fact;
        let of_drop = self.drop.as_ref().is_none_or(|id| *id == fact.drop_id);
        of_drop && self.shard.is_none_or(|number| number == fact.shard.number())
    }
}
