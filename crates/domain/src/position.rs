//! Where a fact happened: epochs, log ids, positions, versions.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// The n-th server token that a shard has trusted; 0 before the first. Rises with every restart and failover.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u32);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The id of a log entry, as Redis Streams write it: milliseconds and a sequence within them.
///
/// The scripts set it themselves, never below the last one, and never let the sequence pass 16 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogId {
    /// Milliseconds since the Unix epoch: the log's clock, 48 bits.
    pub ms: u64,
    /// The entry's place within the millisecond.
    pub sequence: u16,
}

/// The text is not a log id of the form `1764234000120-3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a log id")]
pub struct InvalidLogId;

impl LogId {
    /// The log's clock at this entry.
    pub const fn time(self) -> Timestamp {
        Timestamp::from_ms(self.ms.cast_signed())
    }

    /// The smallest id above this one.
    #[must_use]
    pub const fn next(self) -> Self {
        match self.sequence.checked_add(1) {
            Some(sequence) => Self { ms: self.ms, sequence },
            None => Self { ms: self.ms + 1, sequence: 0 },
        }
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.sequence)
    }
}

impl FromStr for LogId {
    type Err = InvalidLogId;

    fn from_str(text: &str) -> Result<Self, InvalidLogId> {
        let (ms, sequence) = text.split_once('-').ok_or(InvalidLogId)?;
        let ms: u64 = ms.parse().map_err(|_| InvalidLogId)?;
        if ms >> 48 != 0 {
            return Err(InvalidLogId);
        }
        Ok(Self { ms, sequence: sequence.parse().map_err(|_| InvalidLogId)? })
    }
}

/// A log entry's id and an index within the entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The entry.
    pub log_id: LogId,
    /// The fact's place in its entry, below 1,024.
    pub index: u16,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.log_id, self.index)
    }
}

/// How often a drop has changed: rises with each change, a restart of Redis included.
///
/// It is the epoch (times 2^32) plus the number of the log entry that changed the drop last, and at least the start of the
/// shard's epoch: a tail of the log that a restart lost may take a drop back, but never its version. Stays below 2^53, so
/// that JSON readers keep it exact, for the first two million epochs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u64);

impl Version {
    /// The version of a drop whose last change is the entry `number` of `epoch`.
    pub const fn new(epoch: Epoch, number: u64) -> Self {
        Self(((epoch.0 as u64) << 32).saturating_add(number))
    }

    /// This version, or the first of `epoch` if that is higher.
    #[must_use]
    pub fn at_least(self, epoch: Epoch) -> Self {
        self.max(Self::new(epoch, 0))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_ids_are_read_as_redis_writes_them() {
        let id = LogId { ms: 1_764_234_000_120, sequence: 3 };
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in ["", "1", "1-", "-1", "1-65536", "281474976710656-0", "1-2-3"] {
            assert_eq!(text.parse::<LogId>(), Err(InvalidLogId), "{text}");
        }
    }

    #[test]
    fn the_next_id_of_a_used_up_millisecond_lies_in_the_next_one() {
        let id = LogId { ms: 5, sequence: u16::MAX };
        assert_eq!(id.next(), LogId { ms: 6, sequence: 0 });
    }

    #[test]
    fn a_new_epoch_raises_every_version() {
        let old = Version::new(Epoch(1), 900);
        assert!(old.at_least(Epoch(2)) > old);
        assert_eq!(old.at_least(Epoch(1)), old);
    }
}
