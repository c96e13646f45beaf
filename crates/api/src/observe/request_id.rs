//! The id under which a request is spoken of.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{HeaderMap, HeaderValue};

/// The longest id that is taken over from a client.
const MAX_BYTES: usize = 128;

/// The client's or balancer's id if it is sane, or else a new one.
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    /// The id of a request with these headers.
    pub fn of(headers: &HeaderMap) -> Self {
        let sane = |value: &&HeaderValue| {
            (1..=MAX_BYTES).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic)
        };
        match headers.get("x-request-id").filter(sane) {
            Some(value) => Self(value.clone()),
            None => Self::new(),
        }
    }

    /// A new id: random for the process, then counted, which is cheaper than random for each and as unique.
    pub fn new() -> Self {
        static PROCESS: LazyLock<u64> = LazyLock::new(rand::random);
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let text = format!("{:016x}-{count:x}", *PROCESS);
        Self(HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("unnamed")))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// The id as the header of the answer.
    pub fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(value: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert("x-request-id", HeaderValue::from_str(value).expect("a header"));
        RequestId::of(&headers).as_str().to_owned()
    }

    #[test]
    fn a_sane_id_is_kept_and_any_other_is_replaced() {
        assert_eq!(id("abc-123"), "abc-123");
        let long = "a".repeat(129);
        for value in ["", "a b", "a\tb", long.as_str()] {
            assert_ne!(id(value), value);
        }
        assert_ne!(RequestId::new().as_str(), RequestId::new().as_str());
    }
}
