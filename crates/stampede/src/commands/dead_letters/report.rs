//! What `stampede dead-letters` prints.

use serde::Serialize;
use serde_json::{Value, json};
use stampede_domain::{FactBody, FactId};
use stampede_engine::{KeptLetter, LetterState};

/// What became of a letter.
pub struct Outcome {
    /// Its fact.
    pub id: FactId,
    /// Whether it became what was asked for.
    pub verdict: Verdict,
    /// Why not, or what else there is to say.
    pub detail: String,
}

/// Whether a letter became what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The archive has its fact.
    Archived,
    /// Its order is given back.
    Compensated,
    /// It did not.
    Failed,
}

impl Outcome {
    /// It did not become what was asked for.
    pub fn failed(id: FactId, why: &str) -> Self {
        Self { id, verdict: Verdict::Failed, detail: why.to_owned() }
    }
}

impl Verdict {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Archived => "archived",
            Self::Compensated => "compensated",
            Self::Failed => "failed",
        }
    }
}

const fn state(kept: &KeptLetter) -> &'static str {
    match kept.state {
        LetterState::Dead => "dead",
        LetterState::Replaying => "replaying",
        LetterState::Compensated => "compensated",
    }
}

/// A line for each letter.
pub fn letters_table(letters: &[KeptLetter]) -> String {
    if letters.is_empty() {
        return "There are no dead letters.\n".to_owned();
    }
    let rows = letters.iter().map(|kept| {
        let fact = &kept.letter.fact;
        [
            fact.id().to_string(),
            fact.shard.to_string(),
            fact.drop_id.to_string(),
            fact.body.kind().to_owned(),
            fact.position.log_id.time().to_string(),
            state(kept).to_owned(),
            one_line(&kept.letter.reason),
        ]
    });
    table(["FACT", "SHARD", "DROP", "KIND", "HAPPENED AT", "STATE", "REASON"], rows)
}

/// A document for each letter, with all of its fact.
pub fn letters_json(letters: &[KeptLetter]) -> anyhow::Result<String> {
    let document = |kept: &KeptLetter| {
        let fact = &kept.letter.fact;
        let mut document = json!({
            "id": fact.id(), "shard": fact.shard, "drop_id": fact.drop_id, "kind": fact.body.kind(), "state": state(kept),
            "happened_at": fact.position.log_id.time(), "reason": kept.letter.reason, "fact": fact,
        });
        if let FactBody::Granted(grant) = &fact.body {
            document["user_id"] = json!(grant.user_id);
            document["units"] = json!(grant.units);
        }
        document
    };
    lines(&letters.iter().map(document).collect())
}

/// A line for each letter that something was asked of.
pub fn outcomes_table(outcomes: &[Outcome]) -> String {
    if outcomes.is_empty() {
        return "There are no dead letters.\n".to_owned();
    }
    let rows = outcomes
        .iter()
        .map(|outcome| [outcome.id.to_string(), outcome.verdict.as_str().to_owned(), one_line(&outcome.detail)]);
    table(["FACT", "RESULT", ""], rows)
}

/// A document for each letter that something was asked of.
pub fn outcomes_json(outcomes: &[Outcome]) -> anyhow::Result<String> {
    let document = |outcome: &Outcome| json!({ "id": outcome.id, "result": outcome.verdict, "detail": outcome.detail });
    lines(&outcomes.iter().map(document).collect())
}

fn lines(documents: &Vec<Value>) -> anyhow::Result<String> {
    Ok(format!("{}\n", serde_json::to_string_pretty(documents)?))
}

/// An archive's words on one line; a terminal must not take any of them for a command.
fn one_line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// Columns as wide as their widest cell.
fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut all = vec![head.map(str::to_owned)];
    all.extend(rows);
    let width = |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in &all {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}", width = *width));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_tail() {
        let rows = [["a".to_owned(), "ü".to_owned()], ["bcd".to_owned(), String::new()]];
        assert_eq!(table(["ID", "WHY"], rows.into_iter()), "ID   WHY\na    ü\nbcd\n");
    }

    #[test]
    fn words_of_an_archive_stay_on_their_line() {
        assert_eq!(one_line("no\n\u{1b}[2J room"), "no  [2J room");
    }
}
