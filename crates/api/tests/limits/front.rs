//! The limiter in front of everything, by the client's address.

use reqwest::Method;
use serde_json::json;
use stampede_testkit::{AppOptions, TestApp, http_client};

use super::{behind_proxy, expect_limited, forwarded, get_for, get_root, limit, standing};

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_limited_whatever_an_untrusted_client_forwards() {
    let mut options = AppOptions::default();
    options.api.rate_limits.front = limit(5);
    let app = TestApp::start_with(options).await;
    for n in 0..5 {
        let answer = get_for(&app.with_token(None), "/drops", &format!("198.51.100.{n}")).await.expect(200);
        assert_eq!(standing(&answer), Some((5, 4 - n)));
    }
    for n in 5..8 {
        expect_limited(get_for(&app.shopper("ann"), "/drops", &format!("198.51.100.{n}")).await, 5);
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_says_who_asks() {
    let mut options = behind_proxy();
    options.api.rate_limits.front = limit(2);
    let app = TestApp::start_with(options).await;
    let nobody = app.with_token(None);
    for client in ["198.51.100.1", "203.0.113.9, 198.51.100.2", "[2001:db8::1]:4711"] {
        for _ in 0..2 {
            get_for(&nobody, "/drops", client).await.expect(200);
        }
        expect_limited(get_for(&nobody, "/drops", client).await, 2);
    }
    // What the client wrote before the proxy's entry, another port or another address of its own do not make it another.
    for same in ["192.0.2.77, 198.51.100.1", "198.51.100.1:80", "::ffff:198.51.100.1", "2001:db8::ffff:2"] {
        expect_limited(get_for(&nobody, "/drops", same).await, 2);
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_limited_before_it_costs_anything_and_health_never_is() {
    let mut options = AppOptions::default();
    options.api.rate_limits.front = limit(1);
    let app = TestApp::start_with(options).await;
    for _ in 0..3 {
        for probe in ["/healthz", "/readyz"] {
            let answer = get_root(&app, probe).await.expect(200);
            assert_eq!(standing(&answer), None, "{probe}");
        }
    }
    get_root(&app, "/problems/rate-limited").await.expect(200);
    for path in ["/problems/rate-limited", "/docs/", "/api/v1/openapi.json", "/nothing"] {
        expect_limited(get_root(&app, path).await, 1);
    }
    // Neither the token nor the body is looked at.
    expect_limited(app.with_token(Some("forged")).get("/orders").await, 1);
    expect_limited(app.operator().post("/drops", &json!({"nonsense": true})).await, 1);
    expect_limited(app.with_token(None).delete("/drops").await, 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limited_order_has_no_effect_and_the_same_key_is_good_later() {
    let mut options = behind_proxy();
    options.api.rate_limits.front = limit(2);
    let app = TestApp::start_with(options).await;
    app.operator().create_drop("limited", 10, 5, &json!({})).await;
    let ann = app.shopper("ann");
    let order = |key: &str, client: &str| ann.send(forwarded(ann.order_request("limited", 1, key), client));
    order("k1", "198.51.100.1").await.expect(201);
    order("k1", "198.51.100.1").await.expect(201); // A replay is a request like any other.
    expect_limited(order("k1", "198.51.100.1").await, 2);
    expect_limited(order("k2", "198.51.100.1").await, 2);
    let answer = order("k2", "198.51.100.2").await.expect(201);
    assert_eq!(answer.header("idempotent-replayed"), "", "it is decided only now");
    let replay = order("k2", "198.51.100.2").await.expect(201);
    assert_eq!((replay.header("idempotent-replayed"), &replay.body), ("true", &answer.body));
    let stock = get_for(&app.operator(), "/drops/limited/stock", "198.51.100.3").await.expect(200);
    assert_eq!(stock.number("/sold"), 2);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_listed_origins_can_read_what_is_left_and_their_preflights_are_free() {
    let mut options = AppOptions::default();
    options.api.rate_limits.front = limit(1);
    options.api.cors_origins = vec!["https://shop.example".to_owned()];
    let app = TestApp::start_with(options).await;
    let nobody = app.with_token(None);
    for _ in 0..3 {
        let preflight =
            http_client().build().expect("a client").request(Method::OPTIONS, format!("{}/api/v1/drops", app.origin));
        let preflight =
            preflight.header("origin", "https://shop.example").header("access-control-request-method", "GET");
        assert_eq!(standing(&nobody.send(preflight).await.expect(204)), None);
    }
    let asked = || nobody.send(nobody.request(Method::GET, "/drops").header("origin", "https://shop.example"));
    let answered = [asked().await.expect(200), expect_limited(asked().await, 1)];
    for answer in answered {
        assert_eq!(answer.header("access-control-allow-origin"), "https://shop.example");
        let exposed = answer.header("access-control-expose-headers").to_ascii_lowercase();
        for name in ["retry-after", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"] {
            assert!(exposed.split(", ").any(|word| word == name), "{name} in {exposed}");
        }
    }
    app.finish().await;
}
