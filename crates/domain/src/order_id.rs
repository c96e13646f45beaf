//! Order ids: UUIDv8 values that sort by time and say where their fact is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{LogId, Position, Shard};

/// The id of an order.
///
/// A UUIDv8 (RFC 9562, section 5.8). From the top: 48 bits of the log id's milliseconds, version, 12 bits of shard, variant,
/// 16 bits of the log id's sequence, 10 bits of index within the entry, 36 bits of nonce (see [`crate::nonce`]).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Uuid", into = "Uuid")]
pub struct OrderId(Uuid);

/// The text or the bytes are not an id that Stampede gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an order id")]
pub struct InvalidOrderId;

const INDEX_BITS: u32 = 10;
const NONCE_BITS: u32 = 36;

impl OrderId {
    /// How long an id is as text.
    pub const TEXT_BYTES: usize = 36;

    /// The id of the order at `position` of `shard`'s log. Bits of the arguments beyond their width are cut off; the
    /// scripts never hand out such positions.
    pub fn new(shard: Shard, position: Position, nonce: u64) -> Self {
        let low = (u64::from(position.log_id.sequence) << (INDEX_BITS + NONCE_BITS))
            | (u64::from(position.index & 0x3ff) << NONCE_BITS)
            | (nonce & ((1 << NONCE_BITS) - 1));
        let high = (position.log_id.ms << 16) | u64::from(shard.number());
        // The builder puts the version over bits 12 to 15 of `high` and the variant over the top two of `low`.
        let bytes = ((u128::from(high) << 64) | u128::from(low)).to_be_bytes();
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }

    /// The shard whose log holds the order's fact.
    pub fn shard(self) -> Shard {
        let (high, _) = self.0.as_u64_pair();
        Shard::from_order_id_bits(high)
    }

    /// Where the order's fact is in that log.
    pub fn position(self) -> Position {
        let (high, low) = self.0.as_u64_pair();
        Position {
            log_id: LogId { ms: high >> 16, sequence: (low >> (INDEX_BITS + NONCE_BITS)) as u16 },
            index: ((low >> NONCE_BITS) & 0x3ff) as u16,
        }
    }

    /// The 36 bits that make the id different from any other order's at the same position.
    pub fn nonce(self) -> u64 {
        self.0.as_u64_pair().1 & ((1 << NONCE_BITS) - 1)
    }

    /// The id's sixteen bytes; they sort as the ids do, by time.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The id as text, written into a buffer: for less than by its [`fmt::Display`].
    pub fn write<'a>(&self, buffer: &'a mut [u8; Self::TEXT_BYTES]) -> &'a str {
        self.0.hyphenated().encode_lower(buffer)
    }

    /// The id that these bytes are.
    ///
    /// # Errors
    /// [`InvalidOrderId`] if they are not sixteen bytes of a UUIDv8.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidOrderId> {
        Uuid::from_slice(bytes).map_err(|_| InvalidOrderId)?.try_into()
    }
}

impl TryFrom<Uuid> for OrderId {
    type Error = InvalidOrderId;

    fn try_from(uuid: Uuid) -> Result<Self, InvalidOrderId> {
        let ours = uuid.get_version() == Some(uuid::Version::Custom) && uuid.get_variant() == uuid::Variant::RFC4122;
        if ours { Ok(Self(uuid)) } else { Err(InvalidOrderId) }
    }
}

impl From<OrderId> for Uuid {
    fn from(id: OrderId) -> Self {
        id.0
    }
}

impl FromStr for OrderId {
    type Err = InvalidOrderId;

    /// Reads the hyphenated form only: an id has one spelling.
    fn from_str(text: &str) -> Result<Self, InvalidOrderId> {
        if text.len() != Self::TEXT_BYTES || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(InvalidOrderId);
        }
        Uuid::try_parse(text).map_err(|_| InvalidOrderId)?.try_into()
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_id_says_what_it_was_made_of(
            ms in 0u64..1 << 48, sequence: u16, index in 0u16..1024, number in 0u16..4096, nonce in 0u64..1 << 36,
        ) {
            let position = Position { log_id: LogId { ms, sequence }, index };
            let shard = Shard::new(number).expect("in range");
            let id = OrderId::new(shard, position, nonce);
            prop_assert_eq!((id.shard(), id.position(), id.nonce()), (shard, position, nonce));
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            let mut buffer = [0; OrderId::TEXT_BYTES];
            prop_assert_eq!(id.write(&mut buffer), id.to_string());
            prop_assert_eq!(OrderId::from_bytes(id.as_bytes()), Ok(id));
        }

        #[test]
        fn ids_of_one_shard_sort_by_position(a in 0u64..1 << 48, b in 0u64..1 << 48, s: u16, t: u16, i in 0u16..1024, j in 0u16..1024) {
            let shard = Shard::new(7).expect("in range");
            let (p, q) = (
                Position { log_id: LogId { ms: a, sequence: s }, index: i },
                Position { log_id: LogId { ms: b, sequence: t }, index: j },
            );
            prop_assert_eq!(OrderId::new(shard, p, 1).cmp(&OrderId::new(shard, q, 1)), p.cmp(&q));
        }

        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _: Result<OrderId, InvalidOrderId> = text.parse();
        }
    }

    #[test]
    fn foreign_ids_are_refused() {
        for text in [
            "",
            "5e8b1f7e-30a5-4b6f-8f2f-5c9d1d4f1a2b",
            "0199D2F0-1C38-8001-8000-000000000000",
            "0199d2f01c3880018000000000000000",
            "0199d2f0-1c38-8001-0000-000000000000",
        ] {
            assert_eq!(text.parse::<OrderId>(), Err(InvalidOrderId), "{text}");
        }
    }
}
