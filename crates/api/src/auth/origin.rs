//! Which pages may make a browser write with the shopper's cookie.

use std::collections::HashSet;

use axum::http::HeaderValue;

/// Our own origins and the listed ones.
#[derive(Clone, Debug)]
pub(crate) struct Origins(HashSet<String>);

impl Origins {
    /// The origins of these two settings.
    pub fn new(public: &[String], listed: &[String]) -> Self {
        Self(public.iter().chain(listed).cloned().collect())
    }

    /// Whether a request with this `Origin` comes from one of them. Without one it does not: every browser that matters
    /// sends it with a write.
    pub fn admit(&self, origin: Option<&HeaderValue>) -> bool {
        origin.and_then(|value| value.to_str().ok()).is_some_and(|origin| self.0.contains(origin))
    }

    /// Whether this is an origin as browsers write it: scheme, host and perhaps port, nothing else, in lower case.
    pub fn is_origin(text: &str) -> bool {
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        host.is_some_and(|host| {
            let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b'?' | b'#' | b'@' | b'*');
            !host.is_empty() && host.bytes().all(|byte| plain(byte) && !byte.is_ascii_uppercase())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_origins_are_admitted() {
        let origins = Origins::new(&["https://shop.example".to_owned()], &["http://localhost:5173".to_owned()]);
        let admit = |origin: &'static str| origins.admit(Some(&HeaderValue::from_static(origin)));
        assert!(admit("https://shop.example") && admit("http://localhost:5173"));
        assert!(!admit("https://shop.example.evil") && !admit("http://shop.example") && !admit("null"));
        assert!(!origins.admit(None));
    }

    #[test]
    fn an_origin_is_no_address_and_no_pattern() {
        assert!(Origins::is_origin("https://shop.example") && Origins::is_origin("http://[::1]:80"));
        for text in ["shop.example", "https://", "https://shop.example/", "https://*.example", "https://Shop.example"] {
            assert!(!Origins::is_origin(text), "{text}");
        }
    }
}
