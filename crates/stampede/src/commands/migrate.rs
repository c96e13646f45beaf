//! `stampede migrate`.

use std::time::Duration;

use anyhow::bail;
use stampede_archive::{SCHEMA_VERSION, SchemaStatus};

use super::print;
use crate::config::Loaded;
use crate::roles;

/// Brings the archive to this version's schema.
///
/// Run it before the roles of a new version start; it may be run again at any time. Every version works with the schema of
/// the one before until then.
#[derive(clap::Args)]
pub struct Options {
    /// Changes nothing; the exit code says whether the schema is up to date (0) or not (1).
    #[arg(long)]
    check: bool,
}

/// Moves the schema on, or says where it is.
///
/// # Errors
/// If the archive cannot be reached or is newer than this program, or, with `--check`, is not up to date.
pub async fn run(options: &Options, loaded: &Loaded) -> anyhow::Result<()> {
    let archive = roles::open_archive(&loaded.config, Duration::from_millis(loaded.config.startup_timeout_ms)).await?;
    let before = match archive.schema_status().await? {
        SchemaStatus::Current => return print(&format!("The archive is up to date (version {SCHEMA_VERSION}).\n")),
        SchemaStatus::Newer(found) => return Err(roles::newer(found).into()),
        SchemaStatus::Missing => "empty".to_owned(),
        SchemaStatus::Older(version) => format!("at version {version}"),
    };
    if options.check {
        bail!("the archive is {before}, this stampede needs version {SCHEMA_VERSION}: run `stampede migrate`");
    }
    archive.migrate().await?;
    print(&format!("The archive is at version {SCHEMA_VERSION} now; it was {before}.\n"))
}
