//! Tokens: JWTs that are issued here and verified here, and those of trusted issuers.

use std::collections::BTreeMap;
use std::time::Duration;

use jsonwebtoken::{Header, Validation, decode, decode_header, encode};
use serde::{Deserialize, Serialize};
use stampede_domain::{Timestamp, UserId};

use verified::Verified;

use super::keys::{InvalidTokens, SigningKey, VerifyingKey};
use crate::settings::{Role, TokenKey, TokenSettings};

mod verified;

/// Another issuer's clock may be off by as much.
const FOREIGN_LEEWAY_S: u64 = 30;

/// The longest token that is looked at.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Whom a token names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user; a foreign subject with its issuer's name and a colon before it.
    pub user_id: UserId,
    /// What the user may do.
    pub role: Role,
    /// When the token expires.
    pub expires_at: Timestamp,
}

/// A token, and until when it is good.
#[derive(Clone, Debug)]
pub struct IssuedToken {
    /// The token.
    pub token: String,
    /// When it expires.
    pub expires_at: Timestamp,
}

/// A token is not believed. Why, for logs and tests; clients only learn that it is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    /// It is no token.
    #[error("malformed")]
    Malformed,
    /// No key of ours or of a trusted issuer has its `kid`.
    #[error("unknown key")]
    UnknownKey,
    /// It is signed in another way than its key admits.
    #[error("wrong algorithm for its key")]
    WrongAlgorithm,
    /// It is signed with another key, expired, or from or for somebody else.
    #[error("signature or claims are not valid")]
    NotValid,
}

/// Issues and verifies tokens.
pub struct Tokens {
    own_issuer: String,
    own_audience: String,
    signing: Option<SigningKey>,
    issuers: Vec<Issuer>,
    verified: Verified,
}

/// Whose tokens are believed, and how they are read. The first is ourselves.
struct Issuer {
    /// What its subjects are prefixed with; none for our own.
    prefix: Option<String>,
    keys: Vec<IssuerKey>,
    /// Which words in `role` mean which role.
    roles: BTreeMap<String, Role>,
}

struct IssuerKey {
    key: VerifyingKey,
    validation: Validation,
    /// The encoded header, with its dot, of the tokens that we sign with this key: saves reading it.
    own_header: Option<String>,
}

#[derive(Serialize)]
struct OwnClaims<'a> {
    sub: &'a str,
    iss: &'a str,
    aud: &'a str,
    iat: i64,
    exp: i64,
    role: Role,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: f64,
    #[serde(default)]
    role: RoleClaim,
}

/// A foreign `role` may be anything.
#[derive(Default, Deserialize)]
#[serde(untagged)]
enum RoleClaim {
    Word(String),
    #[default]
    None,
    Other(serde::de::IgnoredAny),
}

impl Tokens {
    /// Reads the keys.
    ///
    /// # Errors
    /// [`InvalidTokens`] if one cannot be used as it is set.
    pub fn new(settings: &TokenSettings) -> Result<Self, InvalidTokens> {
        let mut signing = None;
        for key in &settings.keys {
            signing = signing.or(SigningKey::read(key)?);
        }
        let words = [Role::Shopper, Role::Operator].map(|role| (role.as_str().to_owned(), role));
        let own_keys = Issuer::read_keys(&settings.keys, &settings.issuer, &settings.audience, 0, true)?;
        let mut issuers = vec![Issuer { prefix: None, keys: own_keys, roles: BTreeMap::from(words) }];
        for trusted in &settings.trusted {
            let prefix = format!("{}:", trusted.name);
            let formed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            let taken = issuers.iter().any(|issuer| issuer.prefix.as_ref() == Some(&prefix));
            if taken || !(1..=32).contains(&trusted.name.len()) || !trusted.name.bytes().all(formed) {
                return Err(InvalidTokens::IssuerName(trusted.name.clone()));
            }
            let keys = Issuer::read_keys(&trusted.keys, &trusted.issuer, &trusted.audience, FOREIGN_LEEWAY_S, false)?;
            issuers.push(Issuer { prefix: Some(prefix), keys, roles: trusted.roles.clone() });
        }
        Ok(Self {
            own_issuer: settings.issuer.clone(),
            own_audience: settings.audience.clone(),
            signing,
            issuers,
            verified: Verified::new(settings.cache_max_bytes),
        })
    }

    /// Whether tokens can be issued.
    pub fn can_sign(&self) -> bool {
        self.signing.is_some()
    }

    /// Makes a token for a user.
    ///
    /// # Errors
    /// [`InvalidTokens::NoSigningKey`] if there is none, [`InvalidTokens::Issue`] if the user's id is in the space of a
    /// trusted issuer's subjects.
    pub fn issue(&self, user_id: &UserId, role: Role, lifetime: Duration) -> Result<IssuedToken, InvalidTokens> {
        let signing = self.signing.as_ref().ok_or(InvalidTokens::NoSigningKey)?;
        if self.is_foreign(user_id.as_str()) {
            return Err(InvalidTokens::Issue(format!("{user_id} belongs to a trusted issuer")));
        }
        let iat = Timestamp::now().as_ms() / 1_000;
        let exp = iat.saturating_add(i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX));
        let expires_at = Timestamp::from_ms(exp.saturating_mul(1_000));
        let claims = OwnClaims {
            sub: user_id.as_str(),
            iss: &self.own_issuer,
            aud: &self.own_audience,
            iat,
            exp: expires_at.as_ms() / 1_000,
            role,
        };
        let token = encode(&own_header(&signing.kid, signing.algorithm), &claims, &signing.encoding)
            .map_err(|error| InvalidTokens::Issue(error.to_string()))?;
        Ok(IssuedToken { token, expires_at })
    }

    /// Whom a token names, if it is to be believed.
    ///
    /// # Errors
    /// [`TokenRefused`] if not.
    pub fn verify(&self, token: &str) -> Result<Identity, TokenRefused> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenRefused::Malformed);
        }
        let now_s = Timestamp::now().as_ms() / 1_000;
        if let Some(identity) = self.verified.find(token, now_s) {
            return Ok(identity);
        }
        let identity = self.verify_whole(token)?;
        self.verified.remember(token, &identity, now_s);
        Ok(identity)
    }

    /// Verifies signature and claims.
    fn verify_whole(&self, token: &str) -> Result<Identity, TokenRefused> {
        let ours = self.issuers[0].keys.iter().find(|key| key.signed_header_of(token));
        if let Some(key) = ours {
            return self.verify_with(&self.issuers[0], key, token);
        }
        let header = decode_header(token).map_err(|_| TokenRefused::Malformed)?;
        let kid = header.kid.ok_or(TokenRefused::UnknownKey)?;
        let mut refused = TokenRefused::UnknownKey;
        // Issuers choose their own names for keys, so two may have chosen the same.
        for issuer in &self.issuers {
            for key in issuer.keys.iter().filter(|key| key.key.kid == kid) {
                if key.key.algorithm != header.alg {
                    refused = TokenRefused::WrongAlgorithm;
                    continue;
                }
                match self.verify_with(issuer, key, token) {
                    Ok(identity) => return Ok(identity),
                    Err(error) => refused = error,
                }
            }
        }
        Err(refused)
    }

    fn verify_with(&self, issuer: &Issuer, key: &IssuerKey, token: &str) -> Result<Identity, TokenRefused> {
        let claims: Claims =
            decode(token, &key.key.decoding, &key.validation).map_err(|_| TokenRefused::NotValid)?.claims;
        let expires_at = Timestamp::from_ms((claims.exp * 1_000.0) as i64);
        let word = match &claims.role {
            RoleClaim::Word(word) => Some(word.as_str()),
            RoleClaim::None | RoleClaim::Other(_) => None,
        };
        let role = word.and_then(|word| issuer.roles.get(word).copied());
        let (user_id, role) = match &issuer.prefix {
            None if self.is_foreign(&claims.sub) => return Err(TokenRefused::NotValid),
            None => (claims.sub.parse(), role.ok_or(TokenRefused::NotValid)?),
            Some(prefix) => (format!("{prefix}{}", claims.sub).parse(), role.unwrap_or(Role::Shopper)),
        };
        let user_id = user_id.map_err(|_| TokenRefused::NotValid)?;
        Ok(Identity { user_id, role, expires_at })
    }

    /// Whether a subject lies in the space of a trusted issuer.
    fn is_foreign(&self, subject: &str) -> bool {
        self.issuers.iter().filter_map(|issuer| issuer.prefix.as_deref()).any(|prefix| subject.starts_with(prefix))
    }
}

impl Issuer {
    fn read_keys(
        keys: &[TokenKey],
        issuer: &str,
        audience: &str,
        leeway_s: u64,
        own: bool,
    ) -> Result<Vec<IssuerKey>, InvalidTokens> {
        let mut read: Vec<IssuerKey> = Vec::with_capacity(keys.len());
        for key in keys {
            if read.iter().any(|other| other.key.kid == key.kid) {
                return Err(InvalidTokens::DuplicateKid { issuer: issuer.to_owned(), kid: key.kid.clone() });
            }
            let key = VerifyingKey::read(key)?;
            let mut validation = Validation::new(key.algorithm);
            validation.leeway = leeway_s;
            validation.validate_nbf = true;
            validation.set_issuer(&[issuer]);
            validation.set_audience(&[audience]);
            validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
            let own_header = own.then(|| encoded_header(&key)).flatten();
            read.push(IssuerKey { key, validation, own_header });
        }
        Ok(read)
    }
}

impl IssuerKey {
    fn signed_header_of(&self, token: &str) -> bool {
        self.own_header.as_ref().is_some_and(|header| token.starts_with(header.as_str()))
    }
}

fn own_header(kid: &str, algorithm: jsonwebtoken::Algorithm) -> Header {
    Header { kid: Some(kid.to_owned()), ..Header::new(algorithm) }
}

fn encoded_header(key: &VerifyingKey) -> Option<String> {
    use base64::Engine as _;
    let json = serde_json::to_vec(&own_header(&key.kid, key.algorithm)).ok()?;
    Some(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json) + ".")
}

#[cfg(test)]
mod tests;
