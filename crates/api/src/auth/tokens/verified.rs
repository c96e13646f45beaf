//! Tokens that were verified before: whoever sends one again is believed without its signature being computed again.
//!
//! The whole token is what is looked up, so that nothing but the very bytes that were verified is found. A token counts no
//! longer than its claims say; what a clock that was set back makes uncertain is verified again.

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::Identity;
use crate::metrics::TokenMetrics;

/// The longest token that is remembered. Ours have less than 300 bytes; those of other issuers may carry a lot.
const MAX_REMEMBERED_BYTES: usize = 2 * 1024;

/// What an entry costs besides its texts.
const ENTRY_BYTES: u64 = 160;

/// Verified tokens, as many as there is room for.
pub(super) struct Verified {
    tokens: Option<Cache<Box<str>, Remembered, Bytes>>,
    metrics: TokenMetrics,
}

/// Whom a token names, and when that holds, in seconds since the Unix epoch.
#[derive(Clone)]
struct Remembered {
    identity: Identity,
    from_s: i64,
    until_s: i64,
}

/// What an entry costs, in bytes.
#[derive(Clone)]
struct Bytes;

impl Weighter<Box<str>, Remembered> for Bytes {
    fn weight(&self, token: &Box<str>, remembered: &Remembered) -> u64 {
        (token.len() + remembered.identity.user_id.as_str().len()) as u64 + ENTRY_BYTES
    }
}

impl Verified {
    /// Room for so many bytes of tokens; without any, each is verified each time.
    pub fn new(max_bytes: u64) -> Self {
        const USUAL_BYTES: u64 = 512;
        let items = usize::try_from(max_bytes / USUAL_BYTES).unwrap_or(usize::MAX);
        let tokens = (max_bytes > 0).then(|| Cache::with_weighter(items, max_bytes, Bytes));
        Self { tokens, metrics: TokenMetrics::new() }
    }

    /// Whom the token names, if it was verified before and still holds at `now_s`.
    pub fn find(&self, token: &str, now_s: i64) -> Option<Identity> {
        let found = self.tokens.as_ref()?.get(token)?;
        (found.from_s..found.until_s).contains(&now_s).then(|| {
            self.metrics.remembered();
            found.identity
        })
    }

    /// Remembers a token that was verified at `now_s`. Its claims hold until it expires.
    pub fn remember(&self, token: &str, identity: &Identity, now_s: i64) {
        self.metrics.verified();
        let until_s = identity.expires_at.as_ms() / 1_000;
        if let Some(tokens) = &self.tokens
            && token.len() <= MAX_REMEMBERED_BYTES
            && now_s < until_s
        {
            tokens.insert(token.into(), Remembered { identity: identity.clone(), from_s: now_s, until_s });
        }
    }

    /// How many are remembered.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.tokens.as_ref().map_or(0, Cache::len)
    }
}
