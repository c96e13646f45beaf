//! What the API can be told.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use stampede_domain::DropDefinition;

/// How the API behaves, and its limits.
#[derive(Clone, Debug)]
pub struct ApiSettings {
    /// The origins under which browsers reach this service itself, such as `https://shop.example`. A write that is
    /// authenticated by the cookie must come from one of these or of `cors_origins`.
    pub public_origins: Vec<String>,
    /// Other origins whose pages may call the API with the shopper's cookie; exact, never a pattern.
    pub cors_origins: Vec<String>,
    /// Whether the cookie is `__Host-stampede` and `Secure`. Off only for plain HTTP in development, where browsers would
    /// throw such a cookie away.
    pub secure_cookies: bool,
    /// Who may get a token from `POST /sessions`.
    pub sign_in: SignIn,
    /// The tokens that are issued and believed.
    pub tokens: TokenSettings,
    /// Whether `POST /orders` without an `Idempotency-Key` is refused. Off by default: a first integration works without,
    /// and the key that the server makes is in its answer.
    pub require_idempotency_key: bool,
    /// The longest time for one request. Longer than any wait inside it, so that clients learn the outcome; shorter than
    /// the patience of balancers (commonly 30 s or 60 s).
    pub request_timeout: Duration,
    /// How long a client may take to send a request's headers, and how long an idle connection is kept. Bounds what a
    /// slow sender can hold; longer than the pauses between a shopper's clicks.
    pub header_read_timeout: Duration,
    /// How long a client may take to send a request's body. Bodies are small; shorter than `request_timeout`, so that a slow
    /// client is told what is wrong.
    pub body_read_timeout: Duration,
    /// The most connections at a time. At it, those that have kept us waiting for longest are closed, so that clients who
    /// open connections and send nothing do not keep others out. Bounds memory (about 32 KiB for each at worst) and files.
    pub max_connections: usize,
    /// How many requests are answered; all of them by default.
    pub rate_limits: RateLimitSettings,
    /// How long the process goes on as before once it is told to stop, but for `/readyz`, which says so, and for connections,
    /// which end with their next answer. Longer than the balancer takes to send nothing more here; zero where there is none.
    pub shutdown_delay: Duration,
    /// How long requests in flight may go on once nothing new is accepted. Longer than `request_timeout`, so that all
    /// of them are answered.
    pub shutdown_grace: Duration,
    /// The largest request body, in bytes. The largest request of the API, a product, has about 10 KiB.
    pub body_max_bytes: usize,
    /// The most bytes of request line and headers together; room for large tokens.
    pub header_max_bytes: usize,
    /// The deepest nesting of a JSON body. Nothing in the API nests deeper than three.
    pub json_max_depth: usize,
    /// The most units of one order; at most [`DropDefinition::MAX_LIMIT_PER_USER`], as no user may hold more.
    pub quantity_max: u16,
    /// What `Retry-After` says on 503: short, since recoveries and failovers take seconds.
    pub retry_after: Duration,
    /// How often the snapshots of drops are read anew.
    pub snapshot_refresh: Duration,
    /// How old a snapshot may grow before it is not shown any more.
    pub snapshot_max_age: Duration,
    /// How long a drop's snapshot is kept up after the last question about it.
    pub snapshot_idle: Duration,
    /// The most drops, and the most skus, that one process keeps snapshots of; others are read when they are asked for.
    pub snapshot_max_drops: usize,
    /// For how long after it was asked for a confirmation that a drop is sold out lets this process refuse orders without
    /// Redis. A drop that is defined here holds units that come back for as long, so no confirmation counts for longer than
    /// its drop holds. Zero turns both off.
    pub filter_max_age: Duration,
    /// The most buyers of one filter (about nine bits for each, and 50 bytes while it is made); drops with more go without.
    pub filter_max_buyers: usize,
    /// The most filters at a time.
    pub filters_max: usize,
    /// How often the drops of a watched sku are looked up in the archive, beside at once on a change message.
    pub sku_refresh: Duration,
    /// For how long an answer of `/readyz` is reused, so that probes cost nothing.
    pub ready_max_age: Duration,
    /// Which requests are traced; none at all unless the process exports spans.
    pub traces: Option<TraceSettings>,
}

/// Which requests are traced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TraceSettings {
    /// The share of the requests that are recorded, from 0 to 1.
    pub sample_ratio: f64,
    /// Whether a client that sends a context decides whether its request is recorded, instead of the ratio. Only where all
    /// clients are ours.
    pub trust_clients: bool,
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            public_origins: Vec::new(),
            cors_origins: Vec::new(),
            secure_cookies: true,
            sign_in: SignIn::Off,
            tokens: TokenSettings::default(),
            require_idempotency_key: false,
            request_timeout: Duration::from_secs(10),
            header_read_timeout: Duration::from_secs(30),
            body_read_timeout: Duration::from_secs(5),
            max_connections: 10_000,
            rate_limits: RateLimitSettings::default(),
            shutdown_delay: Duration::ZERO,
            shutdown_grace: Duration::from_secs(15),
            body_max_bytes: 64 * 1024,
            header_max_bytes: 16 * 1024,
            json_max_depth: 32,
            quantity_max: DropDefinition::MAX_LIMIT_PER_USER as u16,
            retry_after: Duration::from_secs(1),
            snapshot_refresh: Duration::from_millis(250),
            snapshot_max_age: Duration::from_secs(10),
            snapshot_idle: Duration::from_secs(600),
            snapshot_max_drops: 10_000,
            filter_max_age: Duration::from_millis(250),
            filter_max_buyers: 1_000_000,
            filters_max: 64,
            sku_refresh: Duration::from_secs(3),
            ready_max_age: Duration::from_secs(1),
            traces: None,
        }
    }
}

/// How many requests this process answers. Each process counts for itself: with so many of them behind a balancer, as many
/// times the limits may pass.
#[derive(Clone, Debug)]
pub struct RateLimitSettings {
    /// For each client address (IPv6: its first 64 bits), in front of everything; off if there is none.
    pub front: Option<RateLimit>,
    /// For each user, as the token names them, whatever the address; off if there is none.
    pub user: Option<RateLimit>,
    /// The most keys that each limiter remembers, and with that its memory (about 64 bytes for each at worst). Only a key
    /// that is not at rest needs to be remembered, and a request keeps one from rest for at most a second. So the default is
    /// reached by more requests in a second than a process answers.
    pub keys_max: usize,
    /// Addresses and networks of the proxies whose `X-Forwarded-For` is believed, as [`TrustedProxies`] reads them.
    ///
    /// [`TrustedProxies`]: crate::TrustedProxies
    pub trusted_proxies: Vec<String>,
}

impl Default for RateLimitSettings {
    fn default() -> Self {
        Self { front: None, user: None, keys_max: 262_144, trusted_proxies: Vec::new() }
    }
}

/// A limit: so many requests at once, and then one in each period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// After how long one more request may be sent.
    pub period: Duration,
    /// The most requests at once, after none for long enough.
    pub burst: NonZeroU32,
}

impl RateLimit {
    /// So many requests in a second; none if either is zero.
    pub fn per_second(requests: u32, burst: u32) -> Option<Self> {
        let period = Duration::from_secs(1).checked_div(requests)?;
        Some(Self { period, burst: NonZeroU32::new(burst)? })
    }

    /// Whether it can be counted: a whole burst comes back within a year.
    pub(crate) fn is_sound(&self) -> bool {
        const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
        !self.period.is_zero() && self.period.checked_mul(self.burst.get()).is_some_and(|whole| whole <= YEAR)
    }
}

/// Who may get a token from `POST /sessions`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignIn {
    /// Nobody: tokens come from elsewhere.
    #[default]
    Off,
    /// Anyone gets a random id: the shop without accounts.
    Anonymous,
    /// Anyone gets the id that they ask for: development only.
    Handle,
}

impl SignIn {
    /// The setting's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Anonymous => "anonymous",
            Self::Handle => "handle",
        }
    }
}

/// The tokens that are issued and believed.
#[derive(Clone, Debug)]
pub struct TokenSettings {
    /// The `iss` of our own tokens.
    pub issuer: String,
    /// The `aud` of our own tokens.
    pub audience: String,
    /// How long a token from `POST /sessions` is good for.
    pub lifetime: Duration,
    /// Our keys. The first one that can sign does; all of them verify, so that a key can be rotated: add the new one
    /// behind the old, swap them once every process knows both, take the old one away when its tokens have expired.
    pub keys: Vec<TokenKey>,
    /// Other issuers whose tokens are believed.
    pub trusted: Vec<TrustedIssuer>,
    /// How many bytes of verified tokens are remembered; 0: none.
    pub cache_max_bytes: u64,
}

impl Default for TokenSettings {
    fn default() -> Self {
        Self {
            issuer: "stampede".to_owned(),
            audience: "stampede".to_owned(),
            lifetime: Duration::from_secs(24 * 60 * 60),
            keys: Vec::new(),
            trusted: Vec::new(),
            cache_max_bytes: 32 * 1024 * 1024,
        }
    }
}

/// A key for tokens, with the one algorithm that it is good for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenKey {
    /// The key's name, as tokens say it in their header.
    pub kid: String,
    /// The only algorithm that is accepted with this key.
    pub algorithm: TokenAlgorithm,
    /// For HS256: the secret, at least 32 bytes.
    #[serde(default)]
    pub secret: Option<SecretString>,
    /// For the others: the private key as PEM (PKCS#8), only where tokens are issued.
    #[serde(default)]
    pub private_key: Option<SecretString>,
    /// For the others: the public key as PEM.
    #[serde(default)]
    pub public_key: Option<String>,
}

/// How a token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TokenAlgorithm {
    /// HMAC with SHA-256.
    #[serde(rename = "HS256")]
    Hs256,
    /// RSA (PKCS#1 v1.5) with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

/// Another issuer whose tokens are believed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedIssuer {
    /// What its subjects are prefixed with, and a colon, so that they never meet ours: 1 to 32 of `a-z0-9-`.
    pub name: String,
    /// Its tokens' `iss`.
    pub issuer: String,
    /// The `aud` that its tokens must have.
    pub audience: String,
    /// Its keys; only their public halves are needed.
    pub keys: Vec<TokenKey>,
    /// Which of the words in its tokens' `role` mean which role here. Any other word, or none, means a shopper.
    #[serde(default)]
    pub roles: BTreeMap<String, Role>,
}

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Buys.
    Shopper,
    /// Runs sales, and sees every order.
    Operator,
}

impl Role {
    /// The role's word in a token.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shopper => "shopper",
            Self::Operator => "operator",
        }
    }
}
