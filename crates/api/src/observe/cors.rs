//! Which pages of other origins may read the answers.

use axum::extract::Request;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};

/// What pages may read of an answer beside its body.
const EXPOSED: &str = "Location, ETag, Retry-After, Idempotency-Key, Idempotent-Replayed, X-Request-Id, \
                       RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset";
/// What pages may send.
const ADMITTED_HEADERS: &str =
    "Authorization, Content-Type, Idempotency-Key, If-None-Match, Traceparent, Tracestate, X-Request-Id";
const ADMITTED_METHODS: &str = "GET, POST, PATCH, DELETE";
/// For how long a browser may remember the answer to a preflight, in seconds.
const MAX_AGE_S: &str = "600";

/// The exact list of origins.
pub(super) struct Cors(Vec<HeaderValue>);

impl Cors {
    /// Admits these origins and no other.
    pub fn new(origins: &[String]) -> Self {
        Self(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()).collect())
    }

    /// Whether any other origin is admitted.
    pub fn enabled(&self) -> bool {
        !self.0.is_empty()
    }

    /// The answer to a browser that asks before it sends; `None` for any other request.
    pub fn preflight(&self, request: &Request) -> Option<Response> {
        let headers = request.headers();
        let asks = self.enabled()
            && request.method() == Method::OPTIONS
            && headers.contains_key(ORIGIN)
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if !asks {
            return None;
        }
        let mut response = StatusCode::NO_CONTENT.into_response();
        if self.admits(headers.get(ORIGIN)) {
            let headers = response.headers_mut();
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(ADMITTED_METHODS));
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(ADMITTED_HEADERS));
            headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE_S));
        }
        Some(response)
    }

    /// Tells the browser whether the page may read the answer.
    pub fn mark(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        if !self.enabled() {
            return;
        }
        headers.append(VARY, HeaderValue::from_static("origin"));
        if let Some(origin) = origin.filter(|origin| self.admits(Some(origin))) {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        }
    }

    fn admits(&self, origin: Option<&HeaderValue>) -> bool {
        origin.is_some_and(|origin| self.0.contains(origin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn preflight(origin: &'static str) -> Request {
        let request = Request::builder().method(Method::OPTIONS).uri("/").header(ORIGIN, origin);
        request.header(ACCESS_CONTROL_REQUEST_METHOD, "POST").body(Body::empty()).expect("a request")
    }

    #[test]
    fn only_listed_origins_may_read() {
        let cors = Cors::new(&["https://shop.example".to_owned()]);
        let headers = |origin: &'static str| {
            let mut headers = HeaderMap::new();
            cors.mark(Some(&HeaderValue::from_static(origin)), &mut headers);
            headers
        };
        assert_eq!(headers("https://shop.example")[ACCESS_CONTROL_ALLOW_ORIGIN], "https://shop.example");
        assert_eq!(headers("https://shop.example")[ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
        let foreign = headers("https://evil.example");
        assert!(!foreign.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) && foreign.contains_key(VARY));
    }

    #[test]
    fn a_preflight_is_answered_and_nothing_else() {
        let cors = Cors::new(&["https://shop.example".to_owned()]);
        let answer = cors.preflight(&preflight("https://shop.example")).expect("a preflight");
        assert!(answer.headers().contains_key(ACCESS_CONTROL_ALLOW_METHODS));
        assert!(
            answer.headers()[ACCESS_CONTROL_ALLOW_HEADERS].to_str().is_ok_and(|names| names.contains("Traceparent"))
        );
        let foreign = cors.preflight(&preflight("https://evil.example")).expect("a preflight");
        assert!(!foreign.headers().contains_key(ACCESS_CONTROL_ALLOW_METHODS));
        assert!(cors.preflight(&Request::new(Body::empty())).is_none());
        assert!(Cors::new(&[]).preflight(&preflight("https://shop.example")).is_none());
    }
}
