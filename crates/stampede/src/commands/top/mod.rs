//! `stampede top`.

mod columns;
mod finder;
mod format;
mod keys;
mod picture;
mod rates;
mod reader;
mod screen;
mod text;
mod view;

#[cfg(test)]
mod tests;

use std::io::{IsTerminal, stdout};
use std::time::Duration;

use anyhow::bail;
use stampede_domain::{DropId, Durability};

use self::finder::Finder;
use self::picture::{Picture, Sort};
use self::reader::Reader;
use super::print;
use crate::config::Loaded;
use crate::roles::{self, Stores};

/// The longest pause between two readings.
const LONGEST_INTERVAL: Duration = Duration::from_secs(3_600);

const EXAMPLES: &str = "\
Keys:
  q, Ctrl-C   quits              p           stops the picture, and lets it go on
  s           the next order     ?           explains the figures
  arrows, PgUp, PgDn, Home, End  scroll

Examples:
  stampede top
  stampede --dir .stampede top --drop friday
  stampede top --once --format json";

/// Shows the drops and how they sell, on a terminal.
///
/// It reads Redis and the archive with the settings of the deployment, as the other commands do, and needs no API, no worker
/// and no metrics to be reachable. The figures are those that the next order will be judged by. Lag, backlog, dead letters
/// and fences are those of the shards. It changes nothing. While a store is away it says so, and goes on trying.
///
/// Without a terminal, with --once or as JSON it prints one table and ends: with 0 if both stores answered, with 1 if not.
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Options {
    /// The pause between two readings; 1s or longer.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    interval: Duration,
    /// Prints once and ends. It reads twice, an interval apart, as a rate needs that.
    #[arg(long)]
    once: bool,
    /// Shows this drop only.
    #[arg(long, value_name = "ID")]
    drop: Option<DropId>,
    /// How it is printed; JSON is printed once.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// What comes first.
    #[arg(long, value_enum, default_value_t = Sort::Phase)]
    sort: Sort,
}

/// How it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A table.
    Table,
    /// One JSON document.
    Json,
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = super::duration(text)?;
    if (Duration::from_secs(1)..=LONGEST_INTERVAL).contains(&interval) {
        Ok(interval)
    } else {
        Err("write a time from 1s to 1h".to_owned())
    }
}

/// Shows what there is, until it is told to stop.
///
/// # Errors
/// In words that say what to do.
pub async fn run(options: &Options, mut loaded: Loaded) -> anyhow::Result<()> {
    // It only looks, so a Redis that cannot keep what the deployment promises is no reason to see nothing.
    loaded.config.durability = Durability::Memory;
    if options.once || options.format == Format::Json || !stdout().is_terminal() {
        once(options, &loaded).await
    } else {
        screen::run(options, loaded).await
    }
}

async fn once(options: &Options, loaded: &Loaded) -> anyhow::Result<()> {
    let stores = roles::connect(loaded, Duration::from_millis(loaded.config.startup_timeout_ms)).await?;
    let read = read_twice(options, &stores).await;
    stores.engine.quit().await;
    let picture = read?;
    print(&match options.format {
        Format::Table => text::table(&picture),
        Format::Json => format!("{:#}\n", text::json(&picture)),
    })?;
    match picture.trouble() {
        None => Ok(()),
        Some(trouble) => bail!(trouble),
    }
}

async fn read_twice(options: &Options, stores: &Stores) -> anyhow::Result<Picture> {
    let mut finder = Finder::new(stores.archive.clone(), options.drop.clone());
    let mut reader = Reader::new(stores);
    finder.look().await;
    if let Some(id) = finder.missing() {
        bail!("there is no drop {id}");
    }
    reader.read(finder.found()).await;
    tokio::time::sleep(options.interval).await;
    finder.look().await;
    let mut picture = reader.read(finder.found()).await;
    picture.sort(options.sort);
    Ok(picture)
}
