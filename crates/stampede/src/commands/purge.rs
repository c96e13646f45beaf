//! `stampede purge`.

use std::time::Duration;

use anyhow::bail;
use stampede_domain::DropId;
use stampede_engine::{PurgeOutcome, PurgeRefusal, PurgeTerms};

use super::print;
use crate::config::Loaded;
use crate::roles::{self, Stores};

const EXAMPLES: &str = "\
Examples:
  stampede purge --drop friday
  stampede --dir .stampede purge --drop demo";

/// Takes a drop that is over out of Redis, before `purge_after_s` has passed.
///
/// It may be purged when it has ended, or was called off and all of its orders are cancelled; when the archive holds all of
/// it; and when its shoppers can no longer cancel. Its figures stay where they are. Its orders are read from the archive from
/// then on, repeated requests included, and nothing changes them any more. It needs Redis and the archive. With the same drop
/// again it changes nothing.
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Options {
    /// The drop.
    #[arg(long, value_name = "ID")]
    drop: DropId,
}

/// Purges the drop, or says why that may not be yet.
///
/// # Errors
/// In words that say what to do.
pub async fn run(options: &Options, loaded: &Loaded) -> anyhow::Result<()> {
    let stores = roles::connect(loaded, Duration::from_millis(loaded.config.startup_timeout_ms)).await?;
    let done = purge(&stores, &options.drop).await;
    stores.engine.quit().await;
    print(&done?)
}

async fn purge(stores: &Stores, id: &DropId) -> anyhow::Result<String> {
    if stores.archive.drop_record(id).await?.is_none() {
        bail!("there is no drop {id}");
    }
    let terms = PurgeTerms { keep_for: Duration::ZERO, look_again: None };
    let refusal = match stores.engine.purge_drop(id, terms).await? {
        PurgeOutcome::Purged(_) => return Ok(format!("Drop {id} is purged: the archive holds its orders.\n")),
        PurgeOutcome::AlreadyPurged(_) => return Ok(format!("Drop {id} was purged before.\n")),
        PurgeOutcome::Refused(refusal) => refusal,
    };
    match refusal {
        PurgeRefusal::NotOver => bail!("drop {id} is not over: close it first, or cancel it"),
        PurgeRefusal::OrdersStand => {
            bail!("orders of drop {id} are still being cancelled: is a worker running? Try again when they are")
        }
        PurgeRefusal::TooEarly(until) => bail!("shoppers may still cancel their orders of drop {id}: until {until}"),
        PurgeRefusal::Unsettled => {
            bail!(
                "the archive does not hold all of drop {id} yet: is a worker running, and has the archive refused nothing? \
                 Try again in a moment"
            )
        }
    }
}
