//! `stampede config`.

use super::print;
use crate::config::{Loaded, Shown, example};

/// Prints every setting, its value, and where it came from.
///
/// The value of a secret is never printed.
#[derive(clap::Args)]
pub struct Options {
    /// Prints the page that lists all settings with their defaults, as .env.example has it.
    #[arg(long)]
    example: bool,
}

/// Prints the settings.
///
/// # Errors
/// If the settings cannot be used.
pub fn run(options: &Options, load: impl FnOnce() -> anyhow::Result<Loaded>) -> anyhow::Result<()> {
    if options.example {
        return print(&example());
    }
    print(&table(&load()?.shown()))
}

fn table(settings: &[Shown]) -> String {
    let width = |of: fn(&Shown) -> usize| settings.iter().map(of).max().unwrap_or_default();
    let (names, values) = (width(|shown| shown.name.len()), width(|shown| shown.value.len()).min(48));
    let mut page = String::new();
    for Shown { name, value, origin } in settings {
        page.push_str(&format!("{name:<names$}  {value:<values$}  {origin}\n"));
    }
    page
}
