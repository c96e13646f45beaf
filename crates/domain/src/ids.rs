//! Names that come from outside: of drops, products, users and requests.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

/// The text does not have the form of the id that it should be; the message says the form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidId(&'static str);

/// Declares an id that is a checked string, cheap to clone: requests copy ids into groups, answers and facts.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $max:expr, $valid:expr, $form:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The greatest length, in bytes.
            pub const MAX_BYTES: usize = $max;

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let valid: fn(&str) -> bool = $valid;
                if !text.is_empty() && text.len() <= Self::MAX_BYTES && valid(text) {
                    Ok(Self(Arc::from(text)))
                } else {
                    Err(InvalidId($form))
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id! {
    /// The id of a drop: lower-case letters, digits and hyphens. It stands in key names and in JSON unescaped. A hyphen
    /// alone is the sentinel of empty collections.
    DropId, 64,
    |text| {
        text != "-" && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    },
    "a drop's id is 1 to 64 of a-z, 0-9 and -, and not a hyphen alone"
}

text_id! {
    /// The id of a product: a shop's own article number.
    Sku, 64,
    |text| text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')),
    "a sku is 1 to 64 of A-Z, a-z, 0-9, dot, underscore and -"
}

text_id! {
    /// The subject of a token. `auth0|5f7c` and `did:web:a#b` are real ones, so any visible text is admitted, and ids are
    /// never joined with a delimiter.
    UserId, 255,
    |text| !text.chars().any(char::is_control),
    "a user id is 1 to 255 bytes without control characters"
}

text_id! {
    /// What a client sends to make a retry recognisable. It belongs to one user and one drop.
    IdempotencyKey, 255,
    |text| text.bytes().all(|b| b.is_ascii_graphic()),
    "an idempotency key is 1 to 255 visible ASCII characters"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_admit_what_they_say_and_nothing_else() {
        assert!("sneaker-2026".parse::<DropId>().is_ok());
        assert!("Sneaker".parse::<DropId>().is_err());
        assert!("-".parse::<DropId>().is_err());
        assert!("a".repeat(65).parse::<DropId>().is_err());
        assert!("AIR-1_b.2".parse::<Sku>().is_ok());
        assert!("a b".parse::<Sku>().is_err());
        assert!("auth0|5f7c|ü".parse::<UserId>().is_ok());
        assert!("a\nb".parse::<UserId>().is_err());
        assert!("".parse::<UserId>().is_err());
        assert!("a b".parse::<IdempotencyKey>().is_err());
        assert!("~!\"k".parse::<IdempotencyKey>().is_ok());
    }
}
