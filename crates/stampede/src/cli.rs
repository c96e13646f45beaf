//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};

use crate::commands::{
    api, config, dead_letters, dev, health, migrate, purge, rebuild, reconcile, seed, token, top, worker,
};
use crate::config::{CONFIG_VARIABLE, Loaded, Sources, dev_file};

/// How long what still runs in the background may take at the very end.
const LAST_GRACE: Duration = Duration::from_secs(2);

const ABOUT: &str = "\
Stampede sells a few units to many shoppers at the same second: it decides who gets them, never sells one unit twice, \
never loses a sale that it has confirmed, and keeps a record of every decision.

One program has every role. `stampede dev` is all of it on this machine, with a Redis and an archive of its own. In \
production `stampede api` answers shoppers and operators, and `stampede worker` moves what was decided into the archive; \
both may run any number of times, against the same Redis and the same archive.";

const EXAMPLES: &str = "\
Examples:
  Try it: everything on this machine, with a sale that is live, and lines to paste
      stampede dev

  Production: prepare the archive once, then start the roles. `stampede config` shows the settings
      stampede migrate
      stampede api
      stampede worker

  Be an operator of the deployment that `stampede dev` runs
      TOKEN=$(stampede --dir .stampede token --operator)";

#[derive(Parser)]
#[command(name = "stampede", version, about = "A flash-sale engine", long_about = ABOUT, after_long_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    scope: Scope,
    #[command(subcommand)]
    command: Command,
}

/// Which settings count.
#[derive(Args)]
#[command(next_help_heading = "Settings")]
struct Scope {
    /// The settings file (TOML); STAMPEDE_CONFIG names it too. The environment counts more than it, flags count most.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The folder of a `stampede dev`: where it keeps everything (.stampede if it is not said), or, for the other
    /// commands, whose deployment they are about.
    #[arg(long, global = true, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Sets any setting but a secret, such as --set log=debug. May be repeated.
    #[arg(long = "set", global = true, value_name = "NAME=VALUE")]
    set: Vec<String>,
}

/// What each does is said where its options are.
#[derive(Subcommand)]
enum Command {
    Dev(dev::Options),
    Api(api::Options),
    Worker(worker::Options),
    Health(health::Options),
    Migrate(migrate::Options),
    Purge(purge::Options),
    Rebuild(rebuild::Options),
    Reconcile(reconcile::Options),
    Seed(seed::Options),
    Token(token::Options),
    Top(top::Options),
    Config(config::Options),
    DeadLetters(dead_letters::Options),
}

impl Scope {
    fn sources(&self, flags: Vec<(String, String, String)>) -> anyhow::Result<Sources> {
        let named = || std::env::var_os(CONFIG_VARIABLE).filter(|name| !name.is_empty()).map(PathBuf::from);
        let mut sources = Sources { file: self.config.clone().or_else(named), dev_file: None, flags: Vec::new() };
        for set in &self.set {
            let (name, value) = set.split_once('=').with_context(|| format!("--set {set}: write --set NAME=VALUE"))?;
            sources.flags.push((name.to_owned(), format!("--set {name}"), value.to_owned()));
        }
        sources.flags.extend(flags);
        Ok(sources)
    }

    /// The settings of a command that is about a deployment.
    fn load(&self, flags: Vec<(String, String, String)>) -> anyhow::Result<Loaded> {
        let mut sources = self.sources(flags)?;
        if let Some(dir) = &self.dir {
            if self.config.is_some() {
                bail!("--dir and --config name two deployments: give one of them");
            }
            sources.dev_file = Some(dev_file(dir)?);
        }
        sources.load()
    }
}

/// Does what the command line says; the exit code is 0 if that worked, 1 if not, 2 if it was not understood. `reconcile` says
/// more by it.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&anyhow::Error::from(error).context("the program cannot start threads")),
    };
    // The command itself runs on this thread, which lives as long as the process: `dev` relies on that.
    let done = runtime.block_on(dispatch(cli));
    runtime.shutdown_timeout(LAST_GRACE);
    match done {
        Ok(code) => code,
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}

async fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let scope = &cli.scope;
    let done = match cli.command {
        // What it finds is told by the exit code.
        Command::Reconcile(options) => return reconcile::run(&options, || scope.load(Vec::new())).await,
        Command::Dev(options) => {
            let sources = scope.sources(options.flags())?;
            dev::run(options, scope.dir.as_deref(), &sources).await
        }
        Command::Api(options) => api::run(&scope.load(options.flags())?).await,
        Command::Worker(options) => worker::run(&scope.load(options.flags())?).await,
        Command::Health(options) => health::run(&options, || scope.load(Vec::new())).await,
        Command::Migrate(options) => migrate::run(&options, &scope.load(Vec::new())?).await,
        Command::Purge(options) => purge::run(&options, &scope.load(Vec::new())?).await,
        Command::Rebuild(options) => rebuild::run(&options, &scope.load(Vec::new())?).await,
        Command::Seed(options) => seed::run(&options, &scope.load(Vec::new())?).await,
        Command::Token(options) => token::run(&options, &scope.load(Vec::new())?),
        Command::Top(options) => top::run(&options, scope.load(Vec::new())?).await,
        Command::DeadLetters(options) => dead_letters::run(&options, &scope.load(Vec::new())?).await,
        Command::Config(options) => config::run(&options, || scope.load(Vec::new())),
    };
    done.map(|()| ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_every_option_is_explained() {
        let mut cli = Cli::command();
        cli.clone().debug_assert();
        cli.build();
        for command in std::iter::once(&cli).chain(cli.get_subcommands()) {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
            }
        }
    }
}
