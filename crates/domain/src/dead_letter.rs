//! Facts that the archive refuses for good.

use serde::{Deserialize, Serialize};

use crate::{Fact, Malformed};

/// A fact that the archive refuses for good, and why. It is kept until it was archived all the same, or given back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The fact, with its position, epoch and number.
    pub fact: Fact,
    /// Why it was refused, in the archive's words.
    pub reason: String,
}

impl DeadLetter {
    /// The longest reason that is kept, in bytes: an archive's words may be of any length.
    pub const MAX_REASON_BYTES: usize = 500;

    /// A letter; what is too long of the reason is cut off.
    pub fn new(fact: Fact, reason: &str) -> Self {
        let mut kept = String::new();
        for character in reason.chars() {
            if kept.len() + character.len_utf8() > Self::MAX_REASON_BYTES {
                break;
            }
            kept.push(character);
        }
        Self { fact, reason: kept }
    }

    /// The letter as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The letter that [`Self::to_json`] wrote.
    ///
    /// # Errors
    /// [`Malformed`] if this version did not write it.
    pub fn from_json(json: &[u8]) -> Result<Self, Malformed> {
        serde_json::from_slice(json).map_err(|_| Malformed { what: "dead letter" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Epoch, FactBody, Fingerprint, Grant, KeyDigest, LogId, Position, Shard};

    #[test]
    fn a_letter_is_read_as_it_was_written() {
        let grant = Grant {
            sku: "AIR-1".parse().expect("valid"),
            user_id: "did:web:a#b \"ü\"".parse().expect("valid"),
            units: 2,
            unit_price: crate::Money { amount_minor: i64::MAX, currency: "EUR".parse().expect("valid") },
            key: KeyDigest([255; 8]),
            fingerprint: Fingerprint([0, 1, 2, 3]),
        };
        let fact = Fact {
            shard: Shard::new(4_095).expect("in range"),
            epoch: Epoch(u32::MAX),
            number: u64::MAX,
            position: Position { log_id: LogId { ms: (1 << 48) - 1, sequence: u16::MAX }, index: 1_023 },
            entry_facts: 1_024,
            drop_id: "demo".parse().expect("valid"),
            body: FactBody::Granted(grant),
        };
        let letter = DeadLetter::new(fact, &"ä".repeat(1_000));
        assert_eq!(letter.reason.len(), DeadLetter::MAX_REASON_BYTES);
        assert_eq!(DeadLetter::from_json(letter.to_json().as_bytes()), Ok(letter));
        assert!(DeadLetter::from_json(b"{}").is_err());
    }
}
