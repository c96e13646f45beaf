//! The cookie that carries a token for browsers.

use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue};
use stampede_domain::Timestamp;

/// How the cookie is called and marked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionCookie {
    secure: bool,
}

impl SessionCookie {
    /// The `__Host-` cookie, which browsers take over HTTPS only, or the plain one for development.
    pub const fn new(secure: bool) -> Self {
        Self { secure }
    }

    const fn name(self) -> &'static str {
        if self.secure { "__Host-stampede" } else { "stampede" }
    }

    /// The token in the request's cookies.
    pub fn find(self, headers: &HeaderMap) -> Option<&str> {
        let cookies = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
        cookies
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(name, _)| *name == self.name())
            .map(|(_, token)| token)
    }

    /// The `Set-Cookie` that gives a browser the token.
    pub fn give(self, token: &str, expires_at: Timestamp) -> Option<HeaderValue> {
        let seconds = (expires_at.as_ms() - Timestamp::now().as_ms()).max(0) / 1_000;
        self.set(token, seconds)
    }

    /// The `Set-Cookie` that takes it away again.
    pub fn take(self) -> Option<HeaderValue> {
        self.set("", 0)
    }

    fn set(self, token: &str, max_age_s: i64) -> Option<HeaderValue> {
        let secure = if self.secure { "; Secure" } else { "" };
        let name = self.name();
        HeaderValue::try_from(format!("{name}={token}; Path=/; Max-Age={max_age_s}; HttpOnly; SameSite=Lax{secure}"))
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("a=b; stampede=x.y.z"));
        headers.append(COOKIE, HeaderValue::from_static("__Host-stampede=s"));
        assert_eq!(SessionCookie::new(false).find(&headers), Some("x.y.z"));
        assert_eq!(SessionCookie::new(true).find(&headers), Some("s"));
    }

    #[test]
    fn a_secure_cookie_holds_what_its_prefix_promises() {
        let cookie = SessionCookie::new(true).take().expect("a header");
        assert_eq!(cookie, "__Host-stampede=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure");
    }
}
