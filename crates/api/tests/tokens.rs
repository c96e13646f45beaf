//! Who may do what: for every route, what each kind of caller gets.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reqwest::Method;
use serde_json::{Value, json};
use stampede_testkit::TestApp;

/// The kinds of callers, and what they hold.
const CALLERS: [&str; 10] = [
    "anonymous",
    "owner",
    "other shopper",
    "operator",
    "expired",
    "alg none",
    "wrong key",
    "wrong issuer",
    "wrong audience",
    "unknown kid",
];

const BELIEVED: usize = 4;

/// A request, and the status that each believed caller gets: anonymous, owner, another shopper, operator. All others get
/// what an invalid token gets: 401 where a token is needed, and the anonymous answer where none is.
struct Row(Method, &'static str, Value, [u16; BELIEVED]);

#[tokio::test(flavor = "multi_thread")]
async fn each_route_gives_each_caller_what_is_theirs() {
    let app = TestApp::start().await;
    app.operator().create_drop("table", 50, 1, &json!({})).await;
    let owner = app.shopper("owner");
    let id = owner.order("table", 1, "k").await.expect(201).text("/id").to_owned();
    let order: &'static str = format!("/orders/{id}").leak();
    let body = |name: &str| json!({"sku": name, "name": name, "price": {"amount_minor": 1, "currency": "EUR"}});
    let drop = json!({"id": "new", "sku": "NEW", "mode": "instant", "stock_units": 1});
    let rows = [
        Row(Method::GET, "/sessions/current", Value::Null, [401, 200, 200, 200]),
        Row(Method::POST, "/products", body("NEW"), [401, 403, 403, 201]),
        Row(Method::GET, "/products", Value::Null, [200; 4]),
        Row(Method::GET, "/products/SKU-table", Value::Null, [200; 4]),
        Row(Method::GET, "/products/SKU-table/sale-status", Value::Null, [200; 4]),
        Row(Method::POST, "/drops", drop, [401, 403, 403, 201]),
        Row(Method::GET, "/drops", Value::Null, [200; 4]),
        Row(Method::GET, "/drops/table", Value::Null, [200; 4]),
        Row(Method::GET, "/drops/table/stock", Value::Null, [200; 4]),
        Row(Method::PATCH, "/drops/table", json!({"ends_at": null}), [401, 403, 403, 200]),
        Row(Method::POST, "/drops/table/pause", json!({}), [401, 403, 403, 200]),
        Row(Method::POST, "/drops/table/resume", json!({}), [401, 403, 403, 200]),
        Row(Method::POST, "/drops/table/restock", json!({"units": 1}), [401, 403, 403, 400]),
        Row(Method::POST, "/orders", json!({"drop_id": "table"}), [401, 403, 201, 201]),
        Row(Method::GET, "/orders", Value::Null, [401, 200, 200, 200]),
        Row(Method::GET, order, Value::Null, [401, 200, 404, 200]),
        Row(Method::DELETE, order, Value::Null, [401, 409, 404, 200]),
        Row(Method::POST, "/drops/table/close", json!({}), [401, 403, 403, 200]),
        Row(Method::POST, "/drops/new/cancel", json!({}), [401, 403, 403, 200]),
        Row(Method::DELETE, "/sessions/current", Value::Null, [401, 204, 204, 204]),
    ];
    for Row(method, path, body, statuses) in rows {
        for (n, kind) in CALLERS.iter().enumerate() {
            let caller = app.with_token(token(&app, kind).as_deref());
            let mut request = caller.request(method.clone(), path);
            if !body.is_null() {
                request = request.json(&body);
            }
            let answer = caller.send(request).await;
            let expected = if n < BELIEVED { statuses[n] } else { statuses[0] };
            assert_eq!(answer.status, expected, "{method} {path} as {kind}: {:?}", answer.body);
            if expected == 401 {
                answer.expect_problem(401, "unauthenticated");
            }
        }
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_gives_a_token_and_a_cookie_that_writes_only_from_our_origin() {
    let app = TestApp::start().await;
    app.operator().create_drop("cookie", 5, 5, &json!({})).await;
    let anyone = app.with_token(None);
    anyone.post("/sessions", &json!({"handle": "x"})).await.expect_problem(422, "invalid-request");
    let session = anyone.post("/sessions", &json!({"handle": "some_one"})).await.expect(201);
    assert_eq!((session.text("/user_id"), session.header("cache-control")), ("some_one", "no-store"));
    let cookie = session.header("set-cookie").split(';').next().expect("a cookie").to_owned();
    assert!(session.header("set-cookie").contains("HttpOnly"), "{}", session.header("set-cookie"));
    let me = app.with_token(Some(session.text("/token"))).get("/sessions/current").await.expect(200);
    assert_eq!(me.text("/user_id"), "some_one");

    let order = |origin: Option<&str>| {
        let request = anyone.order_request("cookie", 1, "k").header("cookie", &cookie);
        origin.into_iter().fold(request, |request, origin| request.header("origin", origin))
    };
    anyone.send(order(None)).await.expect_problem(403, "forbidden");
    anyone.send(order(Some("https://evil.example"))).await.expect_problem(403, "forbidden");
    anyone.send(order(Some(&app.origin))).await.expect(201);
    let read = anyone.request(Method::GET, "/orders").header("cookie", &cookie);
    assert_eq!(anyone.send(read).await.expect(200).body["items"].as_array().map(Vec::len), Some(1));
    app.finish().await;
}

fn token(app: &TestApp, kind: &str) -> Option<String> {
    let good = app.shopper("owner").token().to_owned();
    let claims = |change: Value| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        let mut claims = json!({
            "sub": "operator", "iss": "stampede", "aud": "stampede", "iat": now - 7_200, "exp": now + 3_600,
            "role": "operator",
        });
        for (name, value) in change.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        claims
    };
    let sign = |kid: &str, secret: &str, claims: Value| {
        let header = Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::HS256) };
        encode(&header, &claims, &EncodingKey::from_secret(secret.as_bytes())).expect("a token")
    };
    const SECRET: &str = "a secret of the tests, long enough for HS256";
    Some(match kind {
        "anonymous" => return None,
        "owner" => good,
        "other shopper" => app.shopper("other").token().to_owned(),
        "operator" => sign("test", SECRET, claims(json!({}))),
        "expired" => sign("test", SECRET, claims(json!({"exp": 1_700_000_000}))),
        "alg none" => {
            let parts: Vec<&str> = good.split('.').collect();
            // {"alg":"none","typ":"JWT","kid":"test"}
            format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIiwia2lkIjoidGVzdCJ9.{}.", parts[1])
        }
        "wrong key" => sign("test", "another secret, just as long as the first one", claims(json!({}))),
        "wrong issuer" => sign("test", SECRET, claims(json!({"iss": "somebody"}))),
        "wrong audience" => sign("test", SECRET, claims(json!({"aud": "somebody"}))),
        _ => sign("unknown", SECRET, claims(json!({}))),
    })
}
