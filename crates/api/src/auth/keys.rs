//! Keys of tokens: each with a name and one algorithm.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use secrecy::ExposeSecret;

use crate::settings::{TokenAlgorithm, TokenKey};

/// The settings of tokens cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidTokens {
    /// A secret is guessable.
    #[error("the secret of key {kid} has {bytes} bytes: an HS256 secret needs at least {MIN_SECRET_BYTES}")]
    ShortSecret {
        /// The key.
        kid: String,
        /// How long its secret is.
        bytes: usize,
    },
    /// A key lacks its material, or has that of another algorithm.
    #[error("key {kid} cannot be used: {reason}")]
    Key {
        /// The key.
        kid: String,
        /// Why not.
        reason: String,
    },
    /// Two keys of one issuer have one name.
    #[error("two keys of {issuer} are called {kid}")]
    DuplicateKid {
        /// The issuer.
        issuer: String,
        /// The name.
        kid: String,
    },
    /// An issuer's name cannot be a prefix.
    #[error("a trusted issuer's name is 1 to 32 of a-z, 0-9 and -, and there once: {0:?}")]
    IssuerName(String),
    /// A token was to be issued, but no key can sign.
    #[error("no key can sign: give an HS256 secret or a private key")]
    NoSigningKey,
    /// A token could not be made.
    #[error("the token could not be made: {0}")]
    Issue(String),
}

/// The fewest bytes of an HS256 secret: as many as the hash has.
pub(super) const MIN_SECRET_BYTES: usize = 32;

/// A key that tokens are verified with.
pub(super) struct VerifyingKey {
    pub kid: String,
    pub algorithm: Algorithm,
    pub decoding: DecodingKey,
}

/// A key that tokens are signed with.
pub(super) struct SigningKey {
    pub kid: String,
    pub algorithm: Algorithm,
    pub encoding: EncodingKey,
}

impl TokenAlgorithm {
    /// The same in the words of the library that signs.
    pub(super) const fn pinned(self) -> Algorithm {
        match self {
            Self::Hs256 => Algorithm::HS256,
            Self::Rs256 => Algorithm::RS256,
            Self::Es256 => Algorithm::ES256,
            Self::EdDsa => Algorithm::EdDSA,
        }
    }
}

impl VerifyingKey {
    /// Reads a key's verifying half.
    pub fn read(key: &TokenKey) -> Result<Self, InvalidTokens> {
        let decoding = match key.algorithm {
            TokenAlgorithm::Hs256 => DecodingKey::from_secret(secret(key)?),
            TokenAlgorithm::Rs256 => pem(key, DecodingKey::from_rsa_pem)?,
            TokenAlgorithm::Es256 => pem(key, DecodingKey::from_ec_pem)?,
            TokenAlgorithm::EdDsa => pem(key, DecodingKey::from_ed_pem)?,
        };
        Ok(Self { kid: key.kid.clone(), algorithm: key.algorithm.pinned(), decoding })
    }
}

impl SigningKey {
    /// Reads a key's signing half, if it has one.
    pub fn read(key: &TokenKey) -> Result<Option<Self>, InvalidTokens> {
        let private = key.private_key.as_ref().map(|pem| pem.expose_secret().as_bytes());
        let encoding = match (key.algorithm, private) {
            (TokenAlgorithm::Hs256, _) => EncodingKey::from_secret(secret(key)?),
            (_, None) => return Ok(None),
            (TokenAlgorithm::Rs256, Some(pem)) => {
                EncodingKey::from_rsa_pem(pem).map_err(|error| unusable(key, error))?
            }
            (TokenAlgorithm::Es256, Some(pem)) => {
                EncodingKey::from_ec_pem(pem).map_err(|error| unusable(key, error))?
            }
            (TokenAlgorithm::EdDsa, Some(pem)) => {
                EncodingKey::from_ed_pem(pem).map_err(|error| unusable(key, error))?
            }
        };
        Ok(Some(Self { kid: key.kid.clone(), algorithm: key.algorithm.pinned(), encoding }))
    }
}

fn secret(key: &TokenKey) -> Result<&[u8], InvalidTokens> {
    let secret = key.secret.as_ref().ok_or_else(|| unusable(key, "it has no secret"))?.expose_secret().as_bytes();
    if secret.len() < MIN_SECRET_BYTES {
        return Err(InvalidTokens::ShortSecret { kid: key.kid.clone(), bytes: secret.len() });
    }
    Ok(secret)
}

fn pem(
    key: &TokenKey,
    read: fn(&[u8]) -> jsonwebtoken::errors::Result<DecodingKey>,
) -> Result<DecodingKey, InvalidTokens> {
    let pem = key.public_key.as_ref().ok_or_else(|| unusable(key, "it has no public key"))?;
    read(pem.as_bytes()).map_err(|error| unusable(key, error))
}

fn unusable(key: &TokenKey, reason: impl ToString) -> InvalidTokens {
    InvalidTokens::Key { kid: key.kid.clone(), reason: reason.to_string() }
}
