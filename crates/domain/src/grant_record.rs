//! What a drop's hot state keeps of one grant: 28 bytes in the user's record.

use crate::codec::Reader;
use crate::{DropId, Epoch, Fingerprint, KeyDigest, LogId, Malformed, OrderId, Position, Shard, UserDigest, nonce};

/// What has become of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GrantState {
    /// It stands.
    Confirmed,
    /// It was cancelled; its units went back.
    Cancelled,
    /// The archive could not keep it and an operator gave its units back.
    Compensated,
}

impl GrantState {
    const fn from_bits(bits: u16) -> Option<Self> {
        match bits {
            0 => Some(Self::Confirmed),
            1 => Some(Self::Cancelled),
            2 => Some(Self::Compensated),
            _ => None,
        }
    }

    const fn bits(self) -> u16 {
        match self {
            Self::Confirmed => 0,
            Self::Cancelled => 1,
            Self::Compensated => 2,
        }
    }
}

/// One grant in a user's record.
///
/// The bytes, big-endian: milliseconds (6) and sequence (2) of the log id, epoch (4), digest of user and key (8),
/// fingerprint (4), units (2), and state (6 bits) with index (10 bits). Twenty-eight bytes keep a record of one grant, with
/// Redis's own overhead, within 32 bytes of memory. `lua/sale/grant.lua` writes the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrantRecord {
    /// Where the grant's fact is in the log.
    pub position: Position,
    /// The epoch in which it was granted.
    pub epoch: Epoch,
    /// The digest of its idempotency key.
    pub key: KeyDigest,
    /// The fingerprint of the request.
    pub fingerprint: Fingerprint,
    /// How many units.
    pub units: u16,
    /// What has become of it.
    pub state: GrantState,
}

const WHAT: &str = "record of a user";

impl GrantRecord {
    /// The length of a record, in bytes.
    pub const BYTES: usize = 28;

    /// The record's bytes.
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[..6].copy_from_slice(&self.position.log_id.ms.to_be_bytes()[2..]);
        out[6..8].copy_from_slice(&self.position.log_id.sequence.to_be_bytes());
        out[8..12].copy_from_slice(&self.epoch.0.to_be_bytes());
        out[12..20].copy_from_slice(&self.key.0);
        out[20..24].copy_from_slice(&self.fingerprint.0);
        out[24..26].copy_from_slice(&self.units.to_be_bytes());
        out[26..].copy_from_slice(&(self.state.bits() << 10 | self.position.index & 0x3ff).to_be_bytes());
        out
    }

    /// Reads one record.
    ///
    /// # Errors
    /// [`Malformed`] if there are not exactly 28 bytes, or the state is none that this version knows.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes, WHAT);
        let log_id = LogId { ms: reader.u48()?, sequence: reader.u16()? };
        let epoch = Epoch(reader.u32()?);
        let key = KeyDigest(reader.array()?);
        let fingerprint = Fingerprint(reader.array()?);
        let units = reader.u16()?;
        let tail = reader.u16()?;
        let state = GrantState::from_bits(tail >> 10).ok_or_else(|| reader.malformed())?;
        reader.finish()?;
        Ok(Self { position: Position { log_id, index: tail & 0x3ff }, epoch, key, fingerprint, units, state })
    }

    /// Reads a user's whole packed list, oldest first.
    ///
    /// # Errors
    /// [`Malformed`] if the length is no multiple of 28, or a record is malformed.
    pub fn decode_list(bytes: &[u8]) -> Result<Vec<Self>, Malformed> {
        if !bytes.len().is_multiple_of(Self::BYTES) {
            return Err(Malformed { what: WHAT });
        }
        bytes.chunks_exact(Self::BYTES).map(Self::decode).collect()
    }

    /// The id of the order that this grant is.
    pub fn order_id(&self, shard: Shard, drop_id: &DropId, user: UserDigest) -> OrderId {
        OrderId::new(shard, self.position, nonce(self.epoch, user, self.key, drop_id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_record_is_read_as_it_was_written(
            ms in 0u64..1 << 48, sequence: u16, index in 0u16..1024, epoch: u32, key: [u8; 8], fingerprint: [u8; 4],
            units: u16, state in prop::sample::select(vec![GrantState::Confirmed, GrantState::Cancelled, GrantState::Compensated]),
        ) {
            let record = GrantRecord {
                position: Position { log_id: LogId { ms, sequence }, index },
                epoch: Epoch(epoch),
                key: KeyDigest(key),
                fingerprint: Fingerprint(fingerprint),
                units,
                state,
            };
            prop_assert_eq!(GrantRecord::decode_list(&record.encode()), Ok(vec![record]));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            if let Ok(records) = GrantRecord::decode_list(&bytes) {
                let again: Vec<u8> = records.iter().flat_map(GrantRecord::encode).collect();
                prop_assert_eq!(again, bytes);
            }
        }
    }
}
