//! What was injected, and what came of it.

use std::collections::BTreeMap;
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::kinds::Kind;

/// What a whole run counts.
#[derive(Default)]
pub struct Report {
    counts: Mutex<Counts>,
}

/// The figures.
#[derive(Clone, Default)]
pub struct Counts {
    pub faults: BTreeMap<Kind, u64>,
    pub rounds: u64,
    pub requests: usize,
    pub unknown: usize,
    pub confirmed: usize,
    pub cancelled: usize,
    pub lost: usize,
    pub doubled: usize,
    pub oversold: usize,
    /// Times that units arrived in another stripe of their drop.
    pub transfers: usize,
    /// Processes that ended by themselves, by name and status.
    pub ended: BTreeMap<String, u64>,
    /// Everything that must not be, in words.
    pub problems: Vec<String>,
    /// What could not be injected here, and why.
    pub notes: Vec<String>,
}

impl Report {
    pub fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn injected(&self, kind: Kind) {
        *self.counts().faults.entry(kind).or_default() += 1;
    }

    /// A process ended although nobody ended it: a supervisor starts it again, as in production.
    pub fn ended(&self, name: &str, status: ExitStatus) {
        *self.counts().ended.entry(format!("{name}, {status}")).or_default() += 1;
    }

    pub fn problem(&self, what: String) {
        println!("PROBLEM: {what}");
        self.counts().problems.push(what);
    }

    /// Says once what cannot be injected.
    pub fn note(&self, what: &str) {
        let mut counts = self.counts();
        if !counts.notes.iter().any(|noted| noted == what) {
            println!("note: {what}");
            counts.notes.push(what.to_owned());
        }
    }
}

impl Counts {
    /// Whether nothing was found so far.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty() && (self.lost, self.doubled, self.oversold) == (0, 0, 0)
    }

    /// The figures, in lines.
    pub fn print(&self, seed: u64) {
        println!("\n== faults injected: {} ==", self.faults.values().sum::<u64>());
        for (kind, count) in &self.faults {
            println!("{count:>8}  {}", kind.name());
        }
        println!("== what came of it ==");
        let figures = [
            ("rounds", self.rounds as usize),
            ("requests", self.requests),
            ("without an answer that says what happened", self.unknown),
            ("orders confirmed", self.confirmed),
            ("of them cancelled", self.cancelled),
            ("lost", self.lost),
            ("doubled", self.doubled),
            ("oversold", self.oversold),
            ("transfers between stripes", self.transfers),
            ("problems", self.problems.len()),
        ];
        for (what, figure) in figures {
            println!("{figure:>8}  {what}");
        }
        for (what, times) in &self.ended {
            println!("{times:>8}  ended by itself and was started again: {what}");
        }
        println!("seed {seed}");
    }
}
