//! The limiter by user.

use std::num::NonZeroU32;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use stampede_api::RateLimit;
use stampede_testkit::{Answer, AppOptions, TestApp, http_client};

use super::{behind_proxy, expect_limited, forwarded, get_root, limit, standing};

/// A request of a user over a connection of its own, from an address of its own.
async fn ask(app: &TestApp, method: Method, user: &str, path: &str, client: &str) -> Answer {
    let url = format!("{}/api/v1{path}", app.origin);
    let user = app.shopper(user);
    user.send(forwarded(
        http_client().build().expect("a client").request(method, url).bearer_auth(user.token()),
        client,
    ))
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_limited_across_connections_and_addresses() {
    let mut options = behind_proxy();
    options.api.rate_limits.user = limit(3);
    let app = TestApp::start_with(options).await;
    for n in 0..3 {
        let client = format!("198.51.100.{n}");
        let answer = ask(&app, Method::GET, "ann", "/sessions/current", &client).await.expect(200);
        assert_eq!(standing(&answer), Some((3, 2 - n)));
    }
    let refused = expect_limited(ask(&app, Method::GET, "ann", "/orders", "198.51.100.9").await, 3);
    assert!(refused.text("/detail").contains("your user id"), "{:?}", refused.body);
    ask(&app, Method::GET, "bob", "/orders", "198.51.100.9").await.expect(200);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_valid_token_counts_and_only_where_it_is_looked_at() {
    let mut options = AppOptions::default();
    options.api.rate_limits.user = limit(2);
    let app = TestApp::start_with(options).await;
    for _ in 0..5 {
        let answer = app.with_token(Some("forged")).get("/orders").await.expect_problem(401, "unauthenticated");
        assert_eq!(standing(&answer), None);
        assert_eq!(standing(&app.shopper("ann").get("/drops").await.expect(200)), None);
        get_root(&app, "/readyz").await.expect(200);
    }
    // A token that a route need not have counts if it is there, and can be left away.
    app.operator().create_drop("seen", 10, 5, &json!({})).await;
    for _ in 0..2 {
        app.shopper("ann").get("/drops/seen/stock").await.expect(200);
    }
    expect_limited(app.shopper("ann").get("/drops/seen/stock").await, 2);
    app.with_token(None).get("/drops/seen/stock").await.expect(200);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_and_sends_the_same_key_again_gets_the_order_once() {
    let mut options = AppOptions::default();
    let period = Duration::from_secs(1);
    options.api.rate_limits.user = Some(RateLimit { period, burst: NonZeroU32::MIN });
    let app = TestApp::start_with(options).await;
    app.operator().create_drop("waited", 1_000, 1_000, &json!({})).await;
    let ann = app.shopper("ann");
    let mut sold = 0;
    let (refused, key) = loop {
        let key = format!("k{sold}");
        let answer = ann.order("waited", 1, &key).await;
        if answer.status == 429 {
            break (answer.expect_problem(429, "rate-limited"), key);
        }
        answer.expect(201);
        sold += 1;
    };
    assert_eq!(refused.header("retry-after"), "1");
    tokio::time::sleep(period).await;
    let answer = ann.order("waited", 1, &key).await.expect(201);
    assert_eq!(answer.header("idempotent-replayed"), "", "it is decided only now");
    assert_eq!(app.operator().get("/drops/waited/stock").await.expect(200).number("/sold"), sold + 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_both_are_on_the_tighter_one_is_said() {
    let mut options = behind_proxy();
    options.api.rate_limits.front = limit(10);
    options.api.rate_limits.user = limit(3);
    let app = TestApp::start_with(options).await;
    let asked = async |client: &str| ask(&app, Method::GET, "ann", "/sessions/current", client).await;
    assert_eq!(standing(&asked("198.51.100.1").await.expect(200)), Some((3, 2)));
    assert_eq!(standing(&asked("198.51.100.1").await.expect(200)), Some((3, 1)));
    assert_eq!(standing(&asked("198.51.100.1").await.expect(200)), Some((3, 0)));
    expect_limited(asked("198.51.100.1").await, 3);
    for remaining in (0..6).rev() {
        let answer = ask(&app, Method::GET, &format!("user-{remaining}"), "/sessions/current", "198.51.100.1").await;
        let tighter = if remaining < 2 { (10, remaining) } else { (3, 2) };
        assert_eq!(standing(&answer.expect(200)), Some(tighter));
    }
    expect_limited(ask(&app, Method::GET, "new", "/sessions/current", "198.51.100.1").await, 10);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_limited_unless_it_is_set() {
    let app = TestApp::start().await;
    let ann = app.shopper("ann");
    for _ in 0..300 {
        assert_eq!(standing(&ann.get("/sessions/current").await.expect(200)), None);
    }
    app.finish().await;
}
