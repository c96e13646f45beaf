//! What a run is told on its command line.

use std::time::Duration;

use super::kinds::Kind;
use super::scenario::Scenario;

pub const HELP: &str = "\
Sells while everything breaks, and proves afterwards that nothing confirmed was lost, doubled or oversold.

  --minutes N       goes on for so long; without it, a short bounded set of rounds
  --seed N          what is drawn follows from it: drops, shoppers, faults and their moments
  --scenario A,B    only these
  --only KIND,...   injects only these faults
  --keep            keeps the logs of a run that found nothing as well

A run that found something prints the seed of its site; --seed with it, and --scenario, begins with the same plan. The
moments at which processes meet are the machine's own, so it may take a few runs to meet the same again.";

/// What a run is told.
#[derive(Clone, Debug)]
pub struct Options {
    pub lasts: Option<Duration>,
    pub seed: u64,
    pub scenarios: Vec<Scenario>,
    pub only: Vec<Kind>,
    pub keep: bool,
}

/// What is to be done.
pub enum Wanted {
    Run(Options),
    Help,
    /// The names of the tests, for tools that ask.
    List,
    /// Another test was asked for.
    Nothing,
}

/// Reads the arguments, those of the usual test programs included.
pub fn read(arguments: impl Iterator<Item = String>) -> Result<Wanted, String> {
    let mut options = Options {
        lasts: None,
        seed: rand::random_range(0..1_000_000_000),
        scenarios: Scenario::ALL.to_vec(),
        only: Vec::new(),
        keep: false,
    };
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--help" | "-h" => return Ok(Wanted::Help),
            "--list" => return Ok(Wanted::List),
            "--minutes" => {
                let minutes: f64 = number(&argument, &value()?)?;
                if !(0.1..=10_000.0).contains(&minutes) {
                    return Err("--minutes is from 0.1 to 10000".to_owned());
                }
                options.lasts = Some(Duration::from_secs_f64(minutes * 60.0));
            }
            "--seed" => options.seed = number(&argument, &value()?)?,
            "--scenario" => options.scenarios = names(&value()?, &Scenario::ALL, Scenario::name)?,
            "--only" => options.only = names(&value()?, &Kind::ALL, Kind::name)?,
            "--keep" => options.keep = true,
            "--nocapture" | "--no-capture" | "--quiet" | "-q" | "--include-ignored" => {}
            option if option.starts_with("--test-threads=") || option.starts_with("--color=") => {}
            option if option.starts_with('-') => {
                return Err(format!("{option} is not known; --help lists the options"));
            }
            name if "fault_suite".contains(name) => {}
            _ => return Ok(Wanted::Nothing),
        }
    }
    Ok(Wanted::Run(options))
}

fn number<T: std::str::FromStr>(option: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{option} is a number, not {text:?}"))
}

fn names<T: Copy>(text: &str, all: &[T], name: impl Fn(T) -> &'static str) -> Result<Vec<T>, String> {
    let known = || all.iter().map(|one| name(*one)).collect::<Vec<_>>().join(", ");
    let find = |word: &str| all.iter().copied().find(|one| name(*one) == word);
    text.split(',').map(|word| find(word).ok_or_else(|| format!("{word:?} is none of: {}", known()))).collect()
}
