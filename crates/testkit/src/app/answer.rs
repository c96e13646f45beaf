//! What a service answered.

use reqwest::header::HeaderMap;
use serde_json::Value;

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, if it is JSON; null otherwise.
    pub body: Value,
}

impl Answer {
    pub(super) async fn read(response: reqwest::Response) -> Result<Self, reqwest::Error> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await?;
        Ok(Self { status, headers, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) })
    }

    /// A field of the body, as text; empty if it is not there.
    pub fn text(&self, pointer: &str) -> &str {
        self.body.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// A field of the body, as a number.
    ///
    /// # Panics
    /// If there is no such number.
    pub fn number(&self, pointer: &str) -> u64 {
        self.body.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("no {pointer} in {self:?}"))
    }

    /// The problem's code; empty if the answer is none.
    pub fn code(&self) -> &str {
        self.text("/code")
    }

    /// A header's value; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Asserts the status.
    ///
    /// # Panics
    /// If it is another one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?}", self.body);
        self
    }

    /// Asserts a problem: its status, its code, and that it says what a problem must say.
    ///
    /// # Panics
    /// If the answer is something else.
    #[track_caller]
    pub fn expect_problem(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status, self.code()), (status, code), "{:?}", self.body);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.number("/status"), u64::from(status));
        for field in ["/type", "/title", "/detail", "/request_id"] {
            assert!(!self.text(field).is_empty(), "no {field} in {:?}", self.body);
        }
        assert!(self.body.pointer("/retryable").is_some_and(Value::is_boolean), "{:?}", self.body);
        assert_eq!(self.header("x-request-id"), self.text("/request_id"));
        self
    }
}
