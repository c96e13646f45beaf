//! The idempotency key of a request.

use std::borrow::Cow;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use stampede_domain::IdempotencyKey;

use crate::problem::{FieldError, Problem};

/// The header.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A key, and whether the client chose it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestKey {
    /// The key.
    pub key: IdempotencyKey,
    /// Whether it was made here, so that the answer must say it.
    pub made_here: bool,
}

impl RequestKey {
    /// The client's key, if it sent one. `"k"` and `k` are the same key.
    pub fn sent(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Problem> {
        let mut values = headers.get_all(IDEMPOTENCY_KEY).into_iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(malformed("send it once"));
        }
        let text = value.to_str().ok().and_then(unquoted);
        let key = text.and_then(|text| text.parse().ok());
        key.map(Some).ok_or_else(|| malformed("a key is 1 to 255 visible ASCII characters, quoted or bare"))
    }

    /// The client's key, or else a new one, unless keys are required.
    pub fn sent_or_made(headers: &HeaderMap, required: bool) -> Result<Self, Problem> {
        match Self::sent(headers)? {
            Some(key) => Ok(Self { key, made_here: false }),
            None if required => Err(Problem::IdempotencyKeyRequired),
            None => {
                let uuid = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
                let key = uuid.to_string().parse().map_err(|_| Problem::Internal)?;
                Ok(Self { key, made_here: true })
            }
        }
    }

    /// The header for the answer.
    pub fn header(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(self.key.as_str()).ok()
    }
}

fn malformed(detail: &'static str) -> Problem {
    Problem::MalformedRequest(vec![FieldError::new("/idempotency-key", detail)])
}

/// The text within quotes, with `\"` and `\\` read as RFC 8941 writes strings; a bare text as it is.
fn unquoted(text: &str) -> Option<Cow<'_, str>> {
    let Some(rest) = text.strip_prefix('"') else { return Some(text.into()) };
    let inner = rest.strip_suffix('"')?;
    if !inner.contains(['"', '\\']) {
        return Some(inner.into());
    }
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => out.push(chars.next().filter(|next| matches!(next, '"' | '\\'))?),
            '"' => return None,
            other => out.push(other),
        }
    }
    Some(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(value: &str) -> Result<Option<String>, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_str(value).expect("a header"));
        RequestKey::sent(&headers).map(|key| key.map(|key| key.to_string()))
    }

    #[test]
    fn quoted_and_bare_are_the_same_key() {
        for value in ["k-1", "\"k-1\""] {
            assert_eq!(sent(value).ok(), Some(Some("k-1".to_owned())), "{value}");
        }
        assert_eq!(sent("\"a\\\"b\\\\\"").ok(), Some(Some("a\"b\\".to_owned())));
        assert_eq!(sent("a\"b").ok(), Some(Some("a\"b".to_owned())), "visible ASCII, not quoted");
    }

    #[test]
    fn what_is_no_key_is_malformed() {
        let long = "k".repeat(256);
        for value in ["", "\"\"", "a b", "\"", "\"a", "\"a\"b\"", "\"a\\n\"", long.as_str()] {
            assert!(matches!(sent(value), Err(Problem::MalformedRequest(_))), "{value}");
        }
        assert!(sent(&long[1..]).is_ok());
    }

    #[test]
    fn two_headers_are_no_key() {
        let mut headers = HeaderMap::new();
        headers.append(IDEMPOTENCY_KEY, HeaderValue::from_static("a"));
        headers.append(IDEMPOTENCY_KEY, HeaderValue::from_static("b"));
        assert!(RequestKey::sent(&headers).is_err());
    }

    #[test]
    fn a_key_is_made_unless_one_is_required() {
        let none = HeaderMap::new();
        assert!(RequestKey::sent_or_made(&none, false).expect("made").made_here);
        assert!(matches!(RequestKey::sent_or_made(&none, true), Err(Problem::IdempotencyKeyRequired)));
    }
}
