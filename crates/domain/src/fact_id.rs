//! The archive's key of a fact.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Epoch, OrderId, Position, Shard};

/// What makes a fact the same fact, however often it is delivered: for an order its id, for anything else shard, epoch,
/// log id and index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum FactId {
    /// A granted order.
    Order(OrderId),
    /// Any other fact.
    Event {
        /// The shard.
        shard: Shard,
        /// The epoch.
        epoch: Epoch,
        /// The entry and the index in it.
        position: Position,
    },
}

impl fmt::Display for FactId {
    /// An order's UUID, or `s03-e2-1764234000120-5.0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Order(id) => id.fmt(f),
            Self::Event { shard, epoch, position } => write!(f, "{shard}-e{epoch}-{position}"),
        }
    }
}

/// The text is not the id of a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the id of a fact is an order's id, or like s03-e2-1764234000120-5.0")]
pub struct InvalidFactId;

impl FromStr for FactId {
    type Err = InvalidFactId;

    /// Reads what [`fmt::Display`] writes, and no other spelling of it.
    fn from_str(text: &str) -> Result<Self, InvalidFactId> {
        let id = text.parse().map(Self::Order).ok().or_else(|| event(text));
        id.filter(|id| id.to_string() == text).ok_or(InvalidFactId)
    }
}

fn event(text: &str) -> Option<FactId> {
    let (shard, rest) = text.strip_prefix('s')?.split_once("-e")?;
    let (epoch, position) = rest.split_once('-')?;
    let (log_id, index) = position.split_once('.')?;
    Some(FactId::Event {
        shard: Shard::new(shard.parse().ok()?)?,
        epoch: Epoch(epoch.parse().ok()?),
        position: Position { log_id: log_id.parse().ok()?, index: index.parse().ok()? },
    })
}

impl TryFrom<String> for FactId {
    type Error = InvalidFactId;

    fn try_from(text: String) -> Result<Self, InvalidFactId> {
        text.parse()
    }
}

impl From<FactId> for String {
    fn from(id: FactId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    use crate::LogId;

    proptest! {
        #[test]
        fn an_id_is_read_as_it_was_written(
            number in 0u16..4096, epoch: u32, ms in 0u64..1 << 48, sequence: u16, index in 0u16..1024, nonce in 0u64..1 << 36,
        ) {
            let shard = Shard::new(number).expect("in range");
            let position = Position { log_id: LogId { ms, sequence }, index };
            for id in [
                FactId::Event { shard, epoch: Epoch(epoch), position },
                FactId::Order(OrderId::new(shard, position, nonce)),
            ] {
                prop_assert_eq!(id.to_string().parse(), Ok(id));
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _: Result<FactId, InvalidFactId> = text.parse();
        }
    }

    #[test]
    fn an_id_has_one_spelling() {
        for text in ["", "s3-e2-1-5.0", "s03-e+2-1-5.0", "s03-e2-1-5", "s9999-e2-1-5.0", "s03-e2-01-5.0"] {
            assert_eq!(text.parse::<FactId>(), Err(InvalidFactId), "{text}");
        }
    }
}
