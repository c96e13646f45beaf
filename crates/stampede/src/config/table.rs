//! The settings: one table with name, type, default, range and meaning of each.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::LazyLock;

use secrecy::SecretString;
use serde::Deserialize;
use stampede_api::{SignIn, TokenKey, TrustedIssuer};
use stampede_domain::Durability;

/// One setting, as pages and messages show it.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Under which heading it stands.
    pub group: &'static str,
    /// Its name, as files write it; the environment writes it in capitals, after `STAMPEDE_`.
    pub name: &'static str,
    /// What it means, in one line.
    pub doc: &'static str,
    /// What holds if nobody sets it; null if nothing does.
    pub default: serde_json::Value,
    /// How its text is read.
    pub kind: Kind,
    /// Whether it is never shown.
    pub secret: bool,
    /// What a number may be.
    pub range: Option<RangeInclusive<u64>>,
}

/// How a setting is written as text, in the environment and in flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As it is.
    Text,
    /// A whole number.
    Number,
    /// A number from 0 to 1.
    Ratio,
    /// `true` or `false`.
    Flag,
    /// Items with commas between them.
    List,
    /// A JSON document.
    Json,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// A share of something.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "f64")]
pub struct Ratio(f64);

impl Ratio {
    /// The share, from 0 to 1.
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Ratio {
    type Error = &'static str;

    fn try_from(share: f64) -> Result<Self, Self::Error> {
        if (0.0..=1.0).contains(&share) { Ok(Self(share)) } else { Err("it must be from 0 to 1") }
    }
}

/// A type that a setting can have.
trait SettingType {
    const KIND: Kind;
    const SECRET: bool = false;
}

macro_rules! setting_types {
    ($($ty:ty: $kind:ident $($secret:literal)?;)*) => {
        $(impl SettingType for $ty {
            const KIND: Kind = Kind::$kind;
            $(const SECRET: bool = $secret;)?
        })*
    };
}

setting_types! {
    SocketAddr: Text;
    String: Text;
    SignIn: Text;
    Durability: Text;
    LogFormat: Text;
    u64: Number;
    Ratio: Ratio;
    bool: Flag;
    Vec<String>: List;
    SecretString: Text true;
    Vec<TokenKey>: Json true;
    Vec<TrustedIssuer>: Json true;
}

impl<T: SettingType> SettingType for Option<T> {
    const KIND: Kind = T::KIND;
    const SECRET: bool = T::SECRET;
}

macro_rules! settings {
    ($($group:literal {
        $(#[doc = $doc:literal] $name:ident: $ty:ty = $default:tt $(in $range:expr)?;)*
    })*) => {
        /// Every setting, with its value.
        #[allow(rustdoc::bare_urls, rustdoc::broken_intra_doc_links, reason = "the lines are plain text for .env.example")]
        #[derive(Clone, Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Config {
            $($(#[doc = $doc] pub $name: $ty,)*)*
        }

        /// Every setting, in the order of the pages.
        pub static SETTINGS: LazyLock<Vec<Setting>> = LazyLock::new(|| vec![$($(Setting {
            group: $group,
            name: stringify!($name),
            doc: $doc.trim_ascii(),
            default: serde_json::json!($default),
            kind: <$ty as SettingType>::KIND,
            secret: <$ty as SettingType>::SECRET,
            range: None$(.or(Some($range)))?,
        },)*)*]);
    };
}

/// An hour; no setting in milliseconds needs more.
const HOUR_MS: u64 = 3_600_000;

settings! {
    "Listeners and logs" {
        /// Address and port of the API. `PORT` sets its port too.
        listen: SocketAddr = "0.0.0.0:4000";
        /// Address and port of /metrics and /healthz; not for the public.
        admin_listen: SocketAddr = "127.0.0.1:4009";
        /// What is logged: a level, or a filter such as `info,stampede_worker=debug`. `RUST_LOG` sets it too.
        log: String = "info";
        /// How logs are written: `pretty` or `json`.
        log_format: LogFormat = "pretty";
        /// The most drops that /metrics shows one by one; those on sale first.
        metrics_drops_max: u64 = 100 in 0..=10_000;
        /// How long a starting process waits for Redis, the archive and its migration, as containers start in any order.
        startup_timeout_ms: u64 = 30_000 in 0..=HOUR_MS;
    }
    "Traces" {
        /// Where traces are sent: an OTLP receiver over HTTP, such as http://collector:4318. Nowhere unless it is set.
        otlp_endpoint: Option<String> = null;
        /// Headers that go with them, as name=value with commas between them; for a receiver that wants a password.
        otlp_headers: Option<SecretString> = null;
        /// The share of the requests that are traced, from 0 to 1.
        trace_sample_ratio: Ratio = 0.01;
        /// Whether a client's `traceparent` decides what is traced, not the ratio; only where no client is a stranger.
        trace_trust_clients: bool = false;
    }
    "Stores" {
        /// Redis: redis://, rediss://, redis-cluster:// or redis-sentinel://, with user and password if it wants them.
        redis_url: SecretString = "redis://127.0.0.1:6379";
        /// The archive: sqlite:///var/lib/stampede/archive.db or mongodb://user:password@host:27017/database.
        archive_url: Option<SecretString> = null;
        /// How many shards a new deployment gets. It never changes afterwards.
        shards: u64 = 8 in 1..=4_096;
    }
    "Tokens and sign-in" {
        /// The deployment's HS256 secret, at least 32 bytes; the key `main`. Make one: openssl rand -hex 32
        token_secret: Option<SecretString> = null;
        /// More keys, as [[token_keys]] with kid, algorithm (HS256, RS256, ES256, EdDSA) and their material; here as JSON.
        token_keys: Vec<TokenKey> = [];
        /// The `iss` of our own tokens.
        token_issuer: String = "stampede";
        /// The `aud` of our own tokens.
        token_audience: String = "stampede";
        /// How long a token from POST /sessions is good for.
        token_lifetime_s: u64 = 86_400 in 1..=31_536_000;
        /// Other issuers to believe, as [[trusted_issuers]] with name, issuer, audience, keys and roles; here as JSON.
        trusted_issuers: Vec<TrustedIssuer> = [];
        /// Verified tokens that a process remembers until they expire, in bytes, so that it need not verify them again; 0: none.
        token_cache_max_bytes: u64 = 33_554_432 in 0..=17_179_869_184;
        /// Who gets a token from POST /sessions: `off`, `anonymous` (a random id) or `handle` (development only).
        sign_in: SignIn = "off";
        /// The origins under which browsers reach this service, such as https://shop.example; with commas between them.
        public_origins: Vec<String> = [];
        /// Other origins whose pages may call the API with the shopper's cookie; exact, with commas between them.
        cors_origins: Vec<String> = [];
        /// Whether the cookie is for HTTPS only. Off only for plain HTTP in development.
        secure_cookies: bool = true;
    }
    "Requests" {
        /// Whether an order without an Idempotency-Key is refused.
        require_idempotency_key: bool = false;
        /// The longest time for one request; longer than command_timeout_ms.
        request_timeout_ms: u64 = 10_000 in 100..=HOUR_MS;
        /// How long a client may take for its headers, and how long an idle connection is kept.
        header_read_timeout_ms: u64 = 30_000 in 100..=HOUR_MS;
        /// How long a client may take for a request's body; shorter than request_timeout_ms.
        body_read_timeout_ms: u64 = 5_000 in 10..=HOUR_MS;
        /// The most connections at a time; at it, those that have kept the server waiting for longest are closed.
        max_connections: u64 = 10_000 in 16..=1_000_000;
        /// How long a process that is told to stop goes on before it stops accepting, so that balancers notice; 0 without one.
        shutdown_delay_ms: u64 = 0 in 0..=HOUR_MS;
        /// How long requests in flight may go on after that.
        shutdown_grace_ms: u64 = 15_000 in 0..=HOUR_MS;
        /// The largest body of a request.
        body_max_bytes: u64 = 65_536 in 1_024..=16_777_216;
        /// The most bytes of request line and headers together.
        header_max_bytes: u64 = 16_384 in 1_024..=1_048_576;
        /// The deepest nesting of a JSON body.
        json_max_depth: u64 = 32 in 4..=128;
        /// The most units of one order.
        quantity_max_units: u64 = 1_000 in 1..=1_000;
        /// What Retry-After says on 503.
        retry_after_s: u64 = 1 in 1..=3_600;
    }
    "Rate limits, of each api process" {
        /// Requests in a second for each client address, in front of everything; 0 is off.
        rate_limit_front_per_s: u64 = 0 in 0..=1_000_000;
        /// The most of them at once.
        rate_limit_front_burst: u64 = 100 in 1..=1_000_000;
        /// Requests in a second for each user with a valid token, whatever the address; 0 is off.
        rate_limit_user_per_s: u64 = 0 in 0..=1_000_000;
        /// The most of them at once.
        rate_limit_user_burst: u64 = 20 in 1..=1_000_000;
        /// The most addresses, and the most users, that are remembered; beyond it newcomers are not limited.
        rate_limit_keys_max: u64 = 262_144 in 1_024..=16_777_216;
        /// Proxies whose X-Forwarded-For is believed: addresses and networks such as 10.0.0.0/8, with commas between them.
        trusted_proxies: Vec<String> = [];
    }
    "Snapshots of drops" {
        /// How often the snapshots of drops are read anew.
        snapshot_refresh_ms: u64 = 250 in 1..=HOUR_MS;
        /// How old a snapshot may grow before it is not shown any more.
        snapshot_max_age_ms: u64 = 10_000 in 1..=HOUR_MS;
        /// How long a drop's snapshot is kept up after the last question about it.
        snapshot_idle_ms: u64 = 600_000 in 1..=86_400_000;
        /// The most drops, and the most skus, that one process keeps snapshots of.
        snapshot_max_drops: u64 = 10_000 in 1..=1_000_000;
        /// How often the drops of a watched sku are looked up in the archive.
        sku_refresh_ms: u64 = 3_000 in 1..=HOUR_MS;
        /// For how long an answer of /readyz is reused.
        ready_max_age_ms: u64 = 1_000 in 0..=60_000;
    }
    "Refusals without Redis" {
        /// For how long the api may refuse orders by what it knew; units that come back are held as long. 0 is off.
        filter_max_age_ms: u64 = 250 in 0..=10_000;
        /// The most buyers of a drop whose orders are refused so; a filter takes nine bits for each.
        filter_max_buyers: u64 = 1_000_000 in 1..=100_000_000;
        /// The most drops at a time, in each api process.
        filters_max: u64 = 64 in 1..=10_000;
    }
    "Deciding orders" {
        /// How long a Redis command may take before its outcome counts as unknown.
        command_timeout_ms: u64 = 2_000 in 10..=HOUR_MS;
        /// How long a call may lie in a queue and still take effect; not shorter than command_timeout_ms.
        call_deadline_ms: u64 = 3_000 in 10..=HOUR_MS;
        /// The most orders that one script call decides.
        group_max_orders: u64 = 1_024 in 1..=1_024;
        /// How far apart a shard's script calls are at least while each decides few orders; the first goes at once.
        group_interval_ms: u64 = 1 in 0..=100;
        /// The most orders that wait for one shard in this process; more are answered `unavailable` at once.
        queue_max_orders: u64 = 65_536 in 1..=16_777_216;
        /// The most orders in one shard's log that are not archived yet; at it new orders are refused.
        log_max_orders: u64 = 2_000_000 in 1..=1_000_000_000;
        /// The same bound, in bytes.
        log_max_bytes: u64 = 268_435_456 in 1_048_576..=1_099_511_627_776;
        /// The most dead letters of one shard; at it, entries with facts that the archive refuses stay in the log.
        dead_letters_max: u64 = 10_000 in 1..=1_000_000;
        /// What an answer waits for, unless its drop says else: `memory`, `fsync` (Redis's disk) or `replica` (all of them).
        durability: Durability = "memory";
        /// How long it may wait for that before its outcome counts as unknown; shorter than request_timeout_ms.
        durability_wait_ms: u64 = 3_000 in 10..=HOUR_MS;
    }
    "Workers" {
        /// Log entries that the persister takes from one shard at a time.
        persist_batch_entries: u64 = 64 in 1..=10_000;
        /// Orders and other facts with which a batch of the persister is full; it reads until then, or until there is no more.
        persist_batch_facts: u64 = 4_096 in 1..=1_000_000;
        /// The shortest pause of the persister between two batches, in which entries gather; none behind a full one.
        persist_poll_min_ms: u64 = 25 in 1..=60_000;
        /// The longest, while nothing happens.
        persist_poll_max_ms: u64 = 100 in 1..=60_000;
        /// How long an entry must wait for its persister before another process's takes it over.
        claim_idle_ms: u64 = 30_000 in 100..=HOUR_MS;
        /// How long a consumer of the log must have been idle before its name is forgotten.
        forget_idle_ms: u64 = 3_600_000 in 1_000..=86_400_000;
        /// How often the shards are checked for a fence, so for a Redis that restarted.
        recovery_poll_ms: u64 = 200 in 10..=60_000;
        /// How often some of the drops are checked for lost keys.
        damage_poll_ms: u64 = 2_000 in 10..=HOUR_MS;
        /// How long a key must have been missing from a trusted Redis before its shard is rebuilt from the archive.
        loss_patience_ms: u64 = 10_000 in 0..=HOUR_MS;
        /// How long another process's recovery may stand still before it is taken over.
        takeover_after_ms: u64 = 5_000 in 100..=HOUR_MS;
        /// How often due timers are looked for.
        timer_poll_ms: u64 = 200 in 10..=60_000;
        /// How old a drop must be that is not opened before a worker opens it in the place of a process that died.
        open_after_ms: u64 = 5_000 in 100..=HOUR_MS;
        /// How long a drop that is over stays whole in Redis, in seconds; later the archive alone knows its orders.
        purge_after_s: u64 = 604_800 in 0..=315_360_000;
        /// How often Redis and the archive are compared.
        reconcile_period_ms: u64 = 60_000 in 100..=86_400_000;
        /// How often all facts are folded for that, from the first one on, and not only the new ones.
        reconcile_whole_ms: u64 = 21_600_000 in 1_000..=604_800_000;
        /// Users whose records are compared with their orders each time, about.
        reconcile_users: u64 = 4_000 in 1..=10_000_000;
        /// How long the archive may take to catch up with a comparison before it ends without a verdict.
        reconcile_patience_ms: u64 = 5_000 in 0..=HOUR_MS;
        /// How long a window in the archive may differ from Redis's before it is put right; longer than request_timeout_ms.
        reconcile_window_ms: u64 = 15_000 in 100..=2 * HOUR_MS;
        /// The longest pause after a failure.
        backoff_max_ms: u64 = 5_000 in 10..=HOUR_MS;
        /// How long the persister may go on once the process is told to stop.
        drain_limit_ms: u64 = 5_000 in 0..=HOUR_MS;
    }
}

impl Setting {
    /// The setting of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.name == name)
    }

    /// The variable that sets it.
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.name.to_ascii_uppercase())
    }
}

/// What our variables begin with.
pub const PREFIX: &str = "STAMPEDE_";
