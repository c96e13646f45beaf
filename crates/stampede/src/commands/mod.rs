//! One file for each command: its options, and what it does.

pub mod api;
pub mod config;
pub mod dead_letters;
pub mod dev;
pub mod health;
pub mod migrate;
pub mod purge;
pub mod rebuild;
pub mod reconcile;
pub mod seed;
pub mod token;
pub mod top;
pub mod worker;

use std::io::{ErrorKind, Write, stdout};
use std::time::Duration;

/// A flag that sets a setting.
type Flag = (String, String, String);

/// What `flag` sets `name` to, if it was given.
fn flag(name: &str, flag: &str, value: Option<impl ToString>) -> Option<Flag> {
    value.map(|value| (name.to_owned(), flag.to_owned(), value.to_string()))
}

/// Writes to standard output. Whoever stopped reading, as `head` does, has read enough.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// A time such as `90s`, `30m`, `12h` or `7d`.
fn duration(text: &str) -> Result<Duration, String> {
    const FORM: &str = "write a number and a unit: 90s, 30m, 12h or 7d";
    let unit_at = text.len().saturating_sub(1);
    let (number, unit) = text.split_at_checked(unit_at).ok_or(FORM)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(FORM.to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| FORM)?;
    number
        .checked_mul(seconds)
        .filter(|seconds| *seconds <= LONGEST_S)
        .map(Duration::from_secs)
        .ok_or_else(|| format!("at most {} days", LONGEST_S / 86_400))
}

/// The longest time that an option takes: ten years.
const LONGEST_S: u64 = 3_650 * 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(604_800)));
        for text in ["", "s", "12", "1.5h", "-1s", "5 s", "9ü", "99999999999d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
