//! `stampede health`.

use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::Client;

use super::print;
use crate::config::Loaded;
use crate::roles::reachable;

/// The longest that the answer may take; shorter than what container engines allow a check by default (30 s).
const PATIENCE: Duration = Duration::from_secs(5);

const EXAMPLES: &str = "\
Examples:
  stampede health                                       # any role: does its process live?
  stampede health --api                                 # an api: has it reached its stores, and does it answer?
  stampede health --url http://127.0.0.1:4000/readyz    # an api: may it be sent orders right now?";

/// Asks a process on this machine how it is; the exit code is 0 if it is well, 1 if not.
///
/// For the health checks of containers, which need no other program then. It asks /healthz on the setting `admin_listen`,
/// which every role has. A process whose Redis is away is well by that: to restart it would help nobody.
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Options {
    /// Asks /healthz on the setting `listen`, which answers once the api has reached Redis and the archive.
    #[arg(long, conflicts_with = "url")]
    api: bool,
    /// Asks this address; every success (2xx) is good.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

/// Asks, and says what was answered.
///
/// # Errors
/// If there is no answer in time, or none that is good.
pub async fn run(options: &Options, load: impl FnOnce() -> anyhow::Result<Loaded>) -> anyhow::Result<()> {
    let url = match &options.url {
        Some(url) => url.clone(),
        None => {
            let config = load()?.config;
            let listen = if options.api { config.listen } else { config.admin_listen };
            format!("http://{}/healthz", reachable(listen))
        }
    };
    // What a proxy says of it is not what was asked.
    let client = Client::builder().timeout(PATIENCE).no_proxy().build()?;
    let answer = client.get(&url).send().await.with_context(|| format!("{url} does not answer"))?;
    let status = answer.status();
    let body = answer.text().await.with_context(|| format!("{url} does not answer whole"))?;
    if !status.is_success() {
        bail!("{url} answers {status}: {body}");
    }
    print(&format!("{body}\n"))
}
