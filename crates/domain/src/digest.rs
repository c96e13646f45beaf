//! Fixed-length digests: of users, of idempotency keys, of requests.
//!
//! All are heads of SHA-256. Inputs of variable length come last or alone, so no delimiter is needed and no two different
//! inputs can be joined into the same bytes.

use std::fmt;
use std::sync::LazyLock;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::{DropId, Epoch, IdempotencyKey, Money, UserId};

const HEX: [u8; 16] = *b"0123456789abcdef";

/// Declares a digest of a fixed number of bytes.
macro_rules! digest {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $bytes]);

        impl $name {
            /// The digest that these bytes are, if there are exactly as many as it has.
            pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            fn hex(self) -> [u8; 2 * $bytes] {
                let mut hex = [0; 2 * $bytes];
                for (pair, byte) in hex.as_chunks_mut().0.iter_mut().zip(self.0) {
                    *pair = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
                }
                hex
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(std::str::from_utf8(&self.hex()).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                // Without the formatting machinery, as the archive writes two for each order.
                serializer.serialize_str(std::str::from_utf8(&self.hex()).map_err(serde::ser::Error::custom)?)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                from_hex(&text).map(Self).ok_or_else(|| serde::de::Error::custom("not a digest in hex"))
            }
        }
    };
}

digest! {
    /// The digest of a user id: the field under which a drop keeps what it knows of the user.
    UserDigest, 16
}

digest! {
    /// The digest of a user and an idempotency key. It is compared only among one user's orders of one drop, so eight
    /// bytes are plenty.
    KeyDigest, 8
}

digest! {
    /// The digest of what a request asks for: a key that comes again with another fingerprint is refused.
    Fingerprint, 4
}

impl UserDigest {
    /// The digest of this user.
    pub fn of(user: &UserId) -> Self {
        Self(head(Sha256::digest(user.as_str().as_bytes())))
    }
}

impl KeyDigest {
    /// The digest of a key that belongs to a drop and to no user: an operator's, of a restock.
    pub fn of_drop(drop_id: &DropId, key: &IdempotencyKey) -> Self {
        let drop_digest = Sha256::digest(drop_id.as_str().as_bytes());
        Self(head(Sha256::new().chain_update(drop_digest).chain_update(key.as_str()).finalize()))
    }

    /// The digest of this user's key.
    pub fn of(user: UserDigest, key: &IdempotencyKey) -> Self {
        Self(head(Sha256::new().chain_update(user.0).chain_update(key.as_str()).finalize()))
    }
}

impl Fingerprint {
    /// The fingerprint of a request for `units` units which, if it says so, expects to pay `expected_total`.
    pub fn of(units: u32, expected_total: Option<Money>) -> Self {
        /// What most requests ask for: a few units at whatever they cost.
        static USUAL: LazyLock<[Fingerprint; 16]> =
            LazyLock::new(|| std::array::from_fn(|units| Fingerprint::compute(units as u32, None)));
        let usual = usize::try_from(units).ok().filter(|_| expected_total.is_none());
        match usual.and_then(|units| USUAL.get(units)) {
            Some(usual) => *usual,
            None => Self::compute(units, expected_total),
        }
    }

    fn compute(units: u32, expected_total: Option<Money>) -> Self {
        let mut hash = Sha256::new().chain_update(units.to_be_bytes());
        if let Some(total) = expected_total {
            hash.update(total.amount_minor.to_be_bytes());
            hash.update(total.currency.as_str());
        }
        Self(head(hash.finalize()))
    }
}

/// The nonce of an order's id: 36 bits from the digest of epoch, user, key and drop.
///
/// It differs for each order even if a failover hands out a position twice, and all of its inputs stand in the user's
/// record, so the id of a replayed order can be made again.
pub fn nonce(epoch: Epoch, user: UserDigest, key: KeyDigest, drop_id: &DropId) -> u64 {
    let hash = Sha256::new()
        .chain_update(epoch.0.to_be_bytes())
        .chain_update(user.0)
        .chain_update(key.0)
        .chain_update(drop_id.as_str());
    let bytes: [u8; 8] = head(hash.finalize());
    u64::from_be_bytes(bytes) >> 28
}

fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
    }
    Some(bytes)
}

fn head<const N: usize>(digest: impl AsRef<[u8]>) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&digest.as_ref()[..N]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_keep_their_values() {
        // Known answers: records that are already stored are found by these bytes.
        let user = UserDigest::of(&"auth0|abc".parse().expect("valid"));
        let key = KeyDigest::of(user, &"k1".parse().expect("valid"));
        assert_eq!(format!("{user:?}"), "c5d09a77163332e87cd67f4fdec08160");
        assert_eq!(format!("{key:?}"), "7bc34f352e610be9");
        assert_eq!(nonce(Epoch(1), user, key, &"demo".parse().expect("valid")), 0xfce388aeb);
        assert_eq!(Fingerprint::of(1, None), Fingerprint([0xb4, 0x07, 0x11, 0xa8]));
    }

    #[test]
    fn a_key_belongs_to_its_user() {
        let of = |user: &str, key: &str| {
            KeyDigest::of(UserDigest::of(&user.parse().expect("valid")), &key.parse().expect("valid"))
        };
        assert_ne!(of("a", "bc"), of("ab", "c"));
    }

    #[test]
    fn a_fingerprint_tells_requests_apart() {
        let total = |amount_minor| Some(Money { amount_minor, currency: "EUR".parse().expect("valid") });
        assert_ne!(Fingerprint::of(1, None), Fingerprint::of(2, None));
        assert_ne!(Fingerprint::of(1, None), Fingerprint::of(1, total(0)));
        assert_ne!(Fingerprint::of(1, total(1)), Fingerprint::of(1, total(2)));
        for units in [0, 1, 15, 16, 1_000, u32::MAX] {
            assert_eq!(Fingerprint::of(units, None), Fingerprint::compute(units, None), "{units}");
        }
    }
}
