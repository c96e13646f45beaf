//! Whatever clients put into headers, addresses and bodies: it is read or refused, never a panic, and what was written
//! here is read again as it was.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, COOKIE};
use axum::http::{HeaderMap, HeaderValue, Uri};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use stampede_domain::{DropId, IdempotencyKey, OrderId, Sku, UserId};

use crate::auth::{Origins, SessionCookie, Tokens};
use crate::extract::{IDEMPOTENCY_KEY, Query, RequestKey, decode_cursor, encode_cursor, read_json};
use crate::problem::{Code, Problem};
use crate::settings::{ApiSettings, Role, TokenAlgorithm, TokenKey, TokenSettings, TrustedIssuer};

/// Any bytes that may stand in a header, and those that quotes, cookies and tokens are made of.
fn header_values() -> impl Strategy<Value = HeaderValue> {
    let bytes = prop_oneof![
        any::<Vec<u8>>(),
        "[ -~]{0,300}".prop_map(String::into_bytes),
        "[\"\\\\a=;, .]{0,40}".prop_map(String::into_bytes)
    ];
    bytes.prop_filter_map("not a header", |bytes| HeaderValue::from_bytes(&bytes).ok())
}

fn headers(name: axum::http::HeaderName, value: HeaderValue) -> HeaderMap {
    HeaderMap::from_iter([(name, value)])
}

fn key(kid: &str) -> TokenKey {
    TokenKey {
        kid: kid.to_owned(),
        algorithm: TokenAlgorithm::Hs256,
        secret: Some(format!("a secret of {kid} that is long enough for HS256").into()),
        private_key: None,
        public_key: None,
    }
}

/// Our own tokens, and those of an issuer whose `boss` is an operator.
fn tokens() -> Tokens {
    let trusted = TrustedIssuer {
        name: "acme".to_owned(),
        issuer: "acme".to_owned(),
        audience: "shop".to_owned(),
        keys: vec![key("theirs")],
        roles: [("boss".to_owned(), Role::Operator)].into(),
    };
    Tokens::new(&TokenSettings { keys: vec![key("ours")], trusted: vec![trusted], ..TokenSettings::default() })
        .expect("usable keys")
}

fn user_ids() -> impl Strategy<Value = UserId> {
    "[a-z|#ü€😀\"\\\\ ]{1,40}".prop_map(|text: String| text.parse().expect("an id"))
}

/// What reading a body of these bytes comes to.
fn body<T: DeserializeOwned>(bytes: Vec<u8>) -> Result<T, Problem> {
    let headers = headers(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let settings = ApiSettings::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(read_json::<T, _>(&headers, Body::from(bytes), &settings))
}

/// Text that is nearly JSON of the API: its words, its marks, numbers of all sizes.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"drop_id\"",
        "\"quantity\"",
        "\"expected_total\"",
        "\"amount_minor\"",
        "\"currency\"",
        "\"EUR\"",
        "\"id\"",
        "\"product\"",
        "\"sku\"",
        "\"units\"",
        "\"ends_at\"",
        "null",
        "true",
        "1",
        "-0",
        "1e400",
        "1.5",
        "18446744073709551616",
        "\"\\u0000\"",
        "\"\\ud800\"",
        "\u{feff}",
        " ",
        "\"2026-11-27T09:00:00Z\"",
    ]);
    prop_oneof![
        any::<Vec<u8>>(),
        prop::collection::vec(word, 0..30).prop_map(|words| words.concat().into_bytes()),
        (0usize..200).prop_map(|depth| [vec![b'['; depth], vec![b']'; depth]].concat()),
    ]
}

fn refused_politely(problem: &Problem) -> bool {
    let json: serde_json::Value = serde_json::from_slice(&problem.to_json("r")).expect("a problem is JSON");
    (400..500).contains(&problem.status().as_u16()) && json["code"] == problem.code().as_str()
}

proptest! {
    #[test]
    fn any_text_is_no_token(text in prop_oneof![any::<String>(), "[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,60}"]) {
        prop_assert!(tokens().verify(&text).is_err());
    }

    #[test]
    fn a_token_says_whom_it_was_made_for_and_a_spoiled_one_nobody(
        user in user_ids(), operator: bool, at: prop::sample::Index, letter in "[A-Za-z0-9_.-]", how in 0u8..3,
    ) {
        let (tokens, role) = (tokens(), if operator { Role::Operator } else { Role::Shopper });
        let token = tokens.issue(&user, role, Duration::from_secs(60)).expect("issued").token;
        let identity = tokens.verify(&token).expect("ours");
        prop_assert_eq!((identity.user_id, identity.role), (user, role));
        let (at, mut spoiled) = (at.index(token.len()), token.clone());
        match how {
            0 => spoiled.replace_range(at..=at, &letter),
            1 => spoiled.insert_str(at, &letter),
            _ => drop(spoiled.remove(at)),
        }
        // The last letter of a signature has bits that mean nothing; unless they are zero it is none.
        prop_assert!(spoiled == token || tokens.verify(&spoiled).is_err(), "{} for {}", spoiled, token);
    }

    #[test]
    fn any_header_is_a_key_or_malformed(value in header_values()) {
        match RequestKey::sent(&headers(IDEMPOTENCY_KEY, value.clone())) {
            Ok(key) => {
                let key = key.expect("there is one");
                prop_assert!((1..=255).contains(&key.as_str().len()));
                prop_assert!(value.as_bytes().starts_with(b"\"") || value.as_bytes() == key.as_str().as_bytes());
            }
            Err(problem) => prop_assert!(refused_politely(&problem)),
        }
    }

    #[test]
    fn a_key_is_the_same_quoted_and_bare(text in "[!-~]{1,255}") {
        let key: IdempotencyKey = text.parse().expect("a key");
        let quoted = format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        let sent = |text: &str| RequestKey::sent(&headers(IDEMPOTENCY_KEY, text.parse().expect("a header"))).ok().flatten();
        prop_assert_eq!(sent(&quoted), Some(key.clone()));
        prop_assert!(text.starts_with('"') || sent(&text) == Some(key));
    }

    #[test]
    fn any_cookies_hold_a_token_or_none(value in header_values()) {
        let headers = headers(COOKIE, value.clone());
        if let Some(found) = SessionCookie::new(false).find(&headers) {
            let pair = ["stampede=", found].concat();
            prop_assert!(value.to_str().expect("visible").contains(&pair));
        }
        prop_assert!(SessionCookie::new(true).find(&headers).is_none_or(|_| value.as_bytes().starts_with(b"__Host-")
            || value.to_str().is_ok_and(|text| text.contains("__Host-stampede="))));
    }

    #[test]
    fn a_cookie_is_found_among_any_others(before in "[ -:<-~]{0,40}", token in "[A-Za-z0-9_.-]{1,60}") {
        prop_assume!(!before.contains("stampede"));
        let value = HeaderValue::from_str(&format!("{before}; stampede={token}; a=b")).expect("a header");
        let headers = headers(COOKIE, value);
        prop_assert_eq!(SessionCookie::new(false).find(&headers), Some(token.as_str()));
    }

    #[test]
    fn only_an_origin_that_is_listed_is_admitted(value in header_values(), host in "[a-z.-]{1,20}") {
        let listed = format!("https://{host}");
        let origins = Origins::new(std::slice::from_ref(&listed), &[]);
        prop_assert!(origins.admit(Some(&HeaderValue::from_str(&listed).expect("a header"))));
        prop_assert_eq!(origins.admit(Some(&value)), value.as_bytes() == listed.as_bytes());
        let _ = value.to_str().map(Origins::is_origin);
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written(t: i64, k in "[A-Za-z0-9._-]{1,64}", order: u128) {
        let sku: Sku = k.parse().expect("a sku");
        prop_assert_eq!(decode_cursor::<(i64, Sku)>(&encode_cursor(&(t, sku.clone()))).ok(), Some((t, sku)));
        let id = uuid::Builder::from_custom_bytes(order.to_be_bytes()).into_uuid();
        let id = OrderId::try_from(id).expect("marked as ours");
        prop_assert_eq!(decode_cursor::<OrderId>(&encode_cursor(&id)).ok(), Some(id));
    }

    #[test]
    fn any_text_is_a_cursor_or_refused(text in prop_oneof![any::<String>(), "[A-Za-z0-9_-]{0,100}"], json: Vec<u8>) {
        use base64::Engine as _;
        let encoded = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&json);
        for text in [text, encoded] {
            prop_assert!(decode_cursor::<OrderId>(&text).is_ok_and(|id| encode_cursor(&id) == text)
                || decode_cursor::<OrderId>(&text).is_err());
            let _ = decode_cursor::<(i64, DropId)>(&text);
        }
    }

    #[test]
    fn any_query_is_read_or_refused_by_name(text in "[!-~]{0,80}") {
        let Ok(uri) = format!("/x?{text}").parse::<Uri>() else { return Ok(()) };
        match Query::read(&uri, &["sku", "drop_id"]) {
            Ok(query) => {
                let read = query.get::<Sku>("sku").map(drop).and(query.page::<OrderId>().map(drop));
                prop_assert!(read.is_ok() || read.is_err_and(|problem| refused_politely(&problem)));
            }
            Err(problem) => prop_assert!(refused_politely(&problem)),
        }
    }

    #[test]
    fn any_body_is_read_or_refused_where_it_is_wrong(bytes in bodies()) {
        let read = [
            body::<crate::orders::PlaceOrder>(bytes.clone()).map(drop),
            body::<crate::products::CreateProduct>(bytes.clone()).and_then(|asked| {
                asked.check("").map(drop).map_err(Problem::InvalidRequest)
            }),
            body::<crate::drops::AmendDrop>(bytes.clone()).map(drop),
            body::<crate::drops::Restock>(bytes.clone()).map(drop),
            body::<crate::drops::CreateDrop>(bytes).map(drop),
        ];
        for problem in read.into_iter().filter_map(Result::err) {
            let (Problem::MalformedRequest(errors) | Problem::InvalidRequest(errors)) = &problem else {
                panic!("{problem:?}")
            };
            prop_assert!(!errors.is_empty() && refused_politely(&problem));
            prop_assert!(errors.iter().all(|error| error.pointer.is_empty() || error.pointer.starts_with('/')));
        }
    }

    #[test]
    fn any_text_is_a_code_or_none(text: String) {
        prop_assert!(Code::parse(&text).is_none_or(|code| code.as_str() == text));
    }
}
