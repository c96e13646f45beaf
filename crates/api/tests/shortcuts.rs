//! The shortcuts past the router answer as the router does, to the last header.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use stampede_api::{ApiSettings, RateLimit, RateLimitSettings};
use stampede_testkit::{Answer, AppOptions, Caller, TestApp};

const SHOP: &str = "https://shop.example";

/// What differs from answer to answer: times, and what is left of a rate limit.
const PASSING_HEADERS: [&str; 3] = ["date", "ratelimit-remaining", "ratelimit-reset"];
const PASSING_FIELDS: [&str; 2] = ["server_time", "as_of"];

/// Everything that adds to an answer is on.
async fn start() -> TestApp {
    let limit = RateLimit::per_second(1_000, 10_000);
    let rate_limits = RateLimitSettings { front: limit, user: limit, ..RateLimitSettings::default() };
    let api = ApiSettings { cors_origins: vec![SHOP.to_owned()], rate_limits, ..AppOptions::default().api };
    TestApp::start_with(AppOptions { api, ..AppOptions::default() }).await
}

/// An answer without what passes.
fn lasting(mut answer: Answer) -> (u16, Vec<(String, String)>, Value) {
    if let Value::Object(fields) = &mut answer.body {
        PASSING_FIELDS.iter().for_each(|field| drop(fields.remove(*field)));
    }
    let text = |value: &reqwest::header::HeaderValue| value.to_str().expect("text").to_owned();
    let headers = answer.headers.iter().filter(|(name, _)| !PASSING_HEADERS.contains(&name.as_str()));
    let mut headers: Vec<_> = headers.map(|(name, value)| (name.to_string(), text(value))).collect();
    headers.sort();
    (answer.status, headers, answer.body)
}

/// Sends a request both ways, from the shop's page and under one id, and asserts that the answers are alike.
async fn assert_alike(
    app: &TestApp,
    router: &str,
    caller: &Caller,
    request: impl Fn(&Caller) -> RequestBuilder,
) -> Answer {
    let send = async |origin: &str| {
        let caller = caller.at(origin);
        caller.send(request(&caller).header("origin", SHOP).header("x-request-id", "the-id")).await
    };
    let short = send(&app.origin).await;
    assert_eq!(lasting(short.clone()), lasting(send(router).await));
    assert_eq!(short.header("access-control-allow-origin"), SHOP);
    short
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_is_the_same_by_the_shortcut_and_by_the_router() {
    let mut app = start().await;
    let router = app.router_alone();
    app.operator().create_drop("sale", 5, 1, &json!({})).await;
    let nobody = app.with_token(None);
    let get = |path: &'static str| move |caller: &Caller| caller.request(Method::GET, path);
    let status = assert_alike(&app, &router, &nobody, get("/products/SKU-sale/sale-status")).await.expect(200);
    assert_eq!((status.text("/phase"), status.header("ratelimit-limit")), ("live", "10000"));
    let etag = status.header("etag");
    let again =
        |caller: &Caller| caller.request(Method::GET, "/products/SKU-sale/sale-status").header("if-none-match", etag);
    assert_alike(&app, &router, &nobody, again).await.expect(304);
    assert_alike(&app, &router, &nobody, get("/products/absent/sale-status")).await.expect_problem(404, "not-found");
    for path in ["/products//sale-status", "/products/a/b/sale-status", "/products/%20/sale-status"] {
        assert_alike(&app, &router, &nobody, get(path)).await.expect_problem(404, "not-found");
    }
    let encoded = assert_alike(&app, &router, &nobody, get("/products/%53KU-sale/sale-status")).await.expect(200);
    assert_eq!(encoded.header("etag"), etag);
    let head = |caller: &Caller| caller.request(Method::HEAD, "/products/SKU-sale/sale-status");
    let head = assert_alike(&app, &router, &nobody, head).await.expect(200);
    assert_eq!((head.header("etag"), &head.body), (etag, &Value::Null));
    let large = |caller: &Caller| {
        caller.request(Method::GET, "/products/SKU-sale/sale-status").header("x-large", "x".repeat(20_000))
    };
    assert_alike(&app, &router, &nobody, large).await.expect_problem(431, "headers-too-large");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_the_same_by_the_shortcut_and_by_the_router() {
    let mut app = start().await;
    let router = app.router_alone();
    app.operator().create_drop("sale", 2, 1, &json!({})).await;
    let shopper = app.shopper("a");
    shopper.order("sale", 1, "k").await.expect(201);
    let order = |quantity, key: &'static str| move |caller: &Caller| caller.order_request("sale", quantity, key);
    let replayed = assert_alike(&app, &router, &shopper, order(1, "k")).await.expect(201);
    assert_eq!(replayed.header("idempotent-replayed"), "true");
    assert_alike(&app, &router, &shopper, order(2, "k")).await.expect_problem(422, "idempotency-key-reused");
    assert_alike(&app, &router, &shopper, order(1, "other")).await.expect_problem(403, "limit-reached");
    assert_alike(&app, &router, &shopper, order(0, "k")).await.expect_problem(422, "invalid-request");
    assert_alike(&app, &router, &app.with_token(None), order(1, "k")).await.expect_problem(401, "unauthenticated");
    let text = |caller: &Caller| caller.request(Method::POST, "/orders").header("idempotency-key", "k").body("{}");
    assert_alike(&app, &router, &shopper, text).await.expect_problem(415, "unsupported-media-type");
    let broken = |caller: &Caller| {
        caller
            .request(Method::POST, "/orders")
            .header("idempotency-key", "k")
            .header("content-type", "application/json")
            .body("{")
    };
    assert_alike(&app, &router, &shopper, broken).await.expect_problem(400, "malformed-request");
    // One way grants, the other says that it was granted.
    let second = app.shopper("b").at(&router).order("sale", 1, "k").await.expect(201);
    let again = app.shopper("b").order("sale", 1, "k").await.expect(201);
    assert_eq!((&again.body, again.header("idempotent-replayed")), (&second.body, "true"));
    assert_alike(&app, &router, &app.shopper("c"), order(1, "k")).await.expect_problem(409, "sold-out");
    let list = |caller: &Caller| caller.request(Method::GET, "/orders");
    assert_alike(&app, &router, &shopper, list).await.expect(200);
    let other = |caller: &Caller| caller.request(Method::PUT, "/orders");
    assert_alike(&app, &router, &shopper, other).await.expect_problem(405, "method-not-allowed");
    app.finish().await;
}
