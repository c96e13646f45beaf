//! Which shard a drop lives in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{DropId, Malformed};

/// A part of the hot state whose keys share one hash tag, `{s00}`, so that one script may touch them together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Shard(u16);

/// How many shards a deployment has: 1 to 4,096, fixed when it is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct ShardCount(u16);

/// The number of shards is not between 1 and 4,096.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a deployment has 1 to 4096 shards")]
pub struct InvalidShardCount;

impl Shard {
    /// The highest shard number that an order id can say (12 bits).
    pub const MAX: u16 = 4_095;

    /// The shard with this number, if an order id can say it.
    pub const fn new(number: u16) -> Option<Self> {
        if number <= Self::MAX { Some(Self(number)) } else { None }
    }

    /// The shard that the low twelve bits of an order id's head say.
    pub(crate) const fn from_order_id_bits(bits: u64) -> Self {
        Self((bits & Self::MAX as u64) as u16)
    }

    /// The shard's number.
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{:02}", self.0)
    }
}

impl FromStr for Shard {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let number = text.strip_prefix('s').and_then(|number| number.parse().ok()).and_then(Self::new);
        number.ok_or(Malformed { what: "shard" })
    }
}

impl ShardCount {
    /// The number of shards.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// All shards, in order.
    pub fn shards(self) -> impl DoubleEndedIterator<Item = Shard> + ExactSizeIterator {
        (0..self.0).map(Shard)
    }

    /// The shard in which a drop lives: the first eight bytes of SHA-256 over its id, modulo the count. It never changes
    /// for a deployment, whatever language computes it.
    pub fn shard_of(self, drop_id: &DropId) -> Shard {
        let digest = Sha256::digest(drop_id.as_str().as_bytes());
        let mut head = [0; 8];
        head.copy_from_slice(&digest[..8]);
        let number = u64::from_be_bytes(head) % u64::from(self.0);
        Shard(u16::try_from(number).unwrap_or_default())
    }
}

impl TryFrom<u16> for ShardCount {
    type Error = InvalidShardCount;

    fn try_from(count: u16) -> Result<Self, InvalidShardCount> {
        if (1..=Shard::MAX + 1).contains(&count) { Ok(Self(count)) } else { Err(InvalidShardCount) }
    }
}

impl From<ShardCount> for u16 {
    fn from(count: ShardCount) -> Self {
        count.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drop_keeps_its_shard() {
        // Known answers: a change here would strand every drop that is already stored.
        let count = ShardCount::try_from(8).expect("8 is in range");
        let shard = |id: &str| count.shard_of(&id.parse().expect("valid id")).number();
        assert_eq!([shard("demo"), shard("sneaker-2026"), shard("a")], [4, 2, 2]);
    }

    #[test]
    fn a_shard_is_read_as_it_is_written() {
        for number in [0, 7, 42, Shard::MAX] {
            let shard = Shard::new(number).expect("in range");
            assert_eq!(shard.to_string().parse(), Ok(shard));
        }
        assert!("s4096".parse::<Shard>().is_err() && "7".parse::<Shard>().is_err());
    }

    #[test]
    fn a_count_outside_an_order_id_is_refused() {
        assert_eq!(ShardCount::try_from(0), Err(InvalidShardCount));
        assert_eq!(ShardCount::try_from(4_097), Err(InvalidShardCount));
        assert!(ShardCount::try_from(4_096).is_ok());
    }
}
