//! The id under which a request is spoken of.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;

/// The header with the request's id.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

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
        match headers.get(X_REQUEST_ID).filter(sane) {
            Some(value) => Self(value.clone()),
            None => Self::new(),
        }
    }

    /// A new id: random for the process, then counted, which is cheaper than random for each and as unique.
    pub fn new() -> Self {
        static PROCESS: LazyLock<Vec<u8>> = LazyLock::new(|| {
            let mut text = Vec::with_capacity(HEX_DIGITS + 1);
            write_hex(rand::random(), HEX_DIGITS, &mut text);
            text.push(b'-');
            text
        });
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let (process, digits) = (PROCESS.as_slice(), digits(count));
        // Exactly as much as is needed: otherwise the bytes would be copied, or counted in another allocation.
        let mut text = Vec::with_capacity(process.len() + digits);
        text.extend_from_slice(process);
        write_hex(count, digits, &mut text);
        Self(HeaderValue::from_maybe_shared(Bytes::from(text)).unwrap_or(HeaderValue::from_static("unnamed")))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// Takes the id out, as the header of the answer; nothing is left of it.
    pub fn take_header(&mut self) -> HeaderValue {
        std::mem::replace(&mut self.0, HeaderValue::from_static(""))
    }
}

/// The digits of a whole number of 64 bits.
const HEX_DIGITS: usize = 16;

/// The digits that a number needs.
const fn digits(number: u64) -> usize {
    let bits = u64::BITS - number.leading_zeros();
    if bits == 0 { 1 } else { bits.div_ceil(4) as usize }
}

/// Writes the lowest digits of a number: every request has an id, and formatting one took 900 instructions.
fn write_hex(number: u64, digits: usize, out: &mut Vec<u8>) {
    out.extend((0..digits).rev().map(|digit| b"0123456789abcdef"[(number >> (4 * digit) & 0xf) as usize]));
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

    #[test]
    fn numbers_are_written_as_the_library_writes_them() {
        for number in [0, 1, 0xf, 0x10, 0xabc, 0x1000, u64::MAX >> 1, u64::MAX] {
            let mut text = Vec::new();
            write_hex(number, digits(number), &mut text);
            assert_eq!(String::from_utf8_lossy(&text), format!("{number:x}"));
        }
    }
}
