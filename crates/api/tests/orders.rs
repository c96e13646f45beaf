//! Orders over HTTP, as the contract says them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::Method;
use serde_json::{Value, json};
use stampede_testkit::{AppOptions, TestApp};

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_granted_replayed_read_and_cancelled() {
    let app = TestApp::start().await;
    app.operator().create_drop("life", 2, 1, &json!({"cancellable_for_s": 300})).await;
    let shopper = app.shopper("auth0|abc");
    let granted = shopper.order("life", 1, "\"quoted key\"").await;
    granted.expect_problem(400, "malformed-request");
    let granted = shopper.order("life", 1, "\"quoted-key\"").await.expect(201);
    let id = granted.text("/id").to_owned();
    assert_eq!(granted.header("location"), format!("/api/v1/orders/{id}"));
    assert_eq!(granted.header("cache-control"), "no-store");
    assert_eq!(granted.text("/status"), "confirmed");
    assert_eq!(granted.body["total_price"], json!({"amount_minor": 12_900, "currency": "EUR"}));
    assert_eq!(granted.text("/user_id"), "auth0|abc");

    let replayed = shopper.order("life", 1, "quoted-key").await.expect(201);
    assert_eq!((replayed.text("/id"), replayed.header("idempotent-replayed")), (id.as_str(), "true"));
    shopper.order("life", 2, "quoted-key").await.expect_problem(422, "idempotency-key-reused");
    let limited = shopper.order("life", 1, "other").await.expect_problem(403, "limit-reached");
    assert_eq!((limited.number("/limit"), limited.number("/owned")), (1, 1));

    assert_eq!(shopper.get(&format!("/orders/{id}")).await.expect(200).body, granted.body);
    let list = shopper.get("/orders").await.expect(200);
    assert_eq!(list.body, json!({"items": [granted.body], "next_cursor": null}));
    app.shopper("other").get(&format!("/orders/{id}")).await.expect_problem(404, "not-found");
    app.shopper("other").delete(&format!("/orders/{id}")).await.expect_problem(404, "not-found");
    assert_eq!(app.operator().get(&format!("/orders/{id}")).await.expect(200).body, granted.body);

    let cancelled = shopper.delete(&format!("/orders/{id}")).await.expect(200);
    assert_eq!(cancelled.text("/status"), "cancelled");
    assert_eq!(shopper.delete(&format!("/orders/{id}")).await.expect(200).body, cancelled.body);
    assert_eq!(shopper.order("life", 1, "quoted-key").await.expect(201).text("/status"), "cancelled");
    assert_eq!(shopper.get("/orders").await.expect(200).body["items"], json!([cancelled.body]));
    shopper.order("life", 1, "another-key").await.expect(201);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_says_what_to_change() {
    let app = TestApp::start().await;
    let operator = app.operator();
    operator.create_drop("small", 3, 3, &json!({})).await;
    operator.create_drop("later", 3, 3, &json!({"starts_at": "2090-01-01T00:00:00Z"})).await;
    let shopper = app.shopper("a");

    let later = shopper.order("later", 1, "k").await.expect_problem(400, "sale-not-active");
    assert_eq!((later.text("/phase"), later.text("/starts_at")), ("scheduled", "2090-01-01T00:00:00.000Z"));
    assert_eq!(later.body["ends_at"], Value::Null);
    shopper.order("absent", 1, "k").await.expect_problem(404, "not-found");

    let with_total = |amount: i64| json!({"drop_id": "small", "quantity": 2, "expected_total": {"amount_minor": amount, "currency": "EUR"}});
    let changed = shopper.post("/orders", &with_total(1)).await.expect_problem(409, "price-changed");
    assert_eq!(changed.number("/total_price/amount_minor"), 25_800);
    assert!(!changed.header("idempotency-key").is_empty(), "the server says the key that it made");
    shopper.post("/orders", &with_total(25_800)).await.expect(201);

    let short = app.shopper("b").order("small", 2, "k").await.expect_problem(409, "insufficient-stock");
    assert_eq!(short.number("/available"), 1);
    app.shopper("b").order("small", 1, "k").await.expect(201);
    let out = app.shopper("c").order("small", 1, "k").await.expect_problem(409, "sold-out");
    assert_eq!(out.number("/available"), 0);
    operator.post("/drops/small/pause", &json!({})).await.expect(200);
    assert_eq!(
        app.shopper("c").order("small", 1, "k").await.expect_problem(400, "sale-not-active").text("/phase"),
        "paused"
    );
    operator.post("/drops/small/cancel", &json!({})).await.expect(200);
    assert_eq!(
        app.shopper("c").order("small", 1, "k").await.expect_problem(400, "sale-not-active").text("/phase"),
        "cancelled"
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_refused_by_name() {
    let app = TestApp::start().await;
    app.operator().create_drop("bad", 3, 3, &json!({})).await;
    let shopper = app.shopper("a");
    for (body, pointer) in [
        (json!({"drop_id": "bad", "colour": "red"}), "/colour"),
        (json!({"drop_id": "bad", "quantity": 0}), "/quantity"),
        (json!({"drop_id": "bad", "quantity": 1_001}), "/quantity"),
        (json!({"drop_id": "bad", "quantity": "two"}), "/quantity"),
        (json!({"quantity": 1}), "/drop_id"),
        (json!({"drop_id": "BAD"}), "/drop_id"),
        (
            json!({"drop_id": "bad", "expected_total": {"amount_minor": 1, "currency": "euro"}}),
            "/expected_total/currency",
        ),
    ] {
        let answer = shopper.post("/orders", &body).await.expect_problem(422, "invalid-request");
        assert_eq!(answer.text("/errors/0/pointer"), pointer, "{body}: {:?}", answer.body);
    }
    let raw = |body: &'static str| {
        shopper.request(Method::POST, "/orders").header("content-type", "application/json").body(body)
    };
    shopper.send(raw("{")).await.expect_problem(400, "malformed-request");
    shopper.send(raw("{\"drop_id\":\"bad\",\"drop_id\":\"bad\"}")).await;
    let typed = shopper.request(Method::POST, "/orders").header("content-type", "text/plain").body("{}");
    shopper.send(typed).await.expect_problem(415, "unsupported-media-type");
    let large = format!("{{\"drop_id\":\"{}\"}}", "a".repeat(70_000));
    let large = shopper.request(Method::POST, "/orders").header("content-type", "application/json").body(large);
    assert_eq!(shopper.send(large).await.expect_problem(413, "body-too-large").number("/limit"), 65_536);
    let header = shopper.request(Method::GET, "/orders").header("x-large", "a".repeat(20_000));
    assert_eq!(shopper.send(header).await.expect_problem(431, "headers-too-large").number("/limit"), 16_384);
    shopper.get("/orders?limit=101").await.expect_problem(422, "invalid-request");
    shopper.get("/orders?cursor=nonsense").await.expect_problem(422, "invalid-request");
    shopper.get("/orders?colour=red").await.expect_problem(422, "invalid-request");
    shopper.get("/orders/not-an-id").await.expect_problem(404, "not-found");
    shopper.get("/nowhere").await.expect_problem(404, "not-found");
    let put = shopper.send(shopper.request(Method::PUT, "/orders")).await.expect_problem(405, "method-not-allowed");
    assert!(put.header("allow").contains("POST"));
    let keyed = shopper.order_request("bad", 1, "k").header("Idempotency-Key", "two keys");
    shopper.send(keyed).await.expect_problem(400, "malformed-request");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_can_be_required() {
    let mut options = AppOptions::default();
    options.api.require_idempotency_key = true;
    let app = TestApp::start_with(options).await;
    app.operator().create_drop("keyed", 1, 1, &json!({})).await;
    let body = json!({"drop_id": "keyed"});
    app.shopper("a").post("/orders", &body).await.expect_problem(400, "idempotency-key-required");
    app.shopper("a").order("keyed", 1, "k").await.expect(201);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_never_misses_an_order_while_it_moves_into_the_archive() {
    let app = Arc::new(TestApp::start().await);
    app.operator().create_drop("moving", 200, 1, &json!({})).await;
    let done = Arc::new(AtomicBool::new(false));
    let mut readers = Vec::new();
    for n in 0..40 {
        let shopper = app.shopper(&format!("reader-{n}"));
        let granted = shopper.order("moving", 1, "k").await.expect(201);
        let done = Arc::clone(&done);
        readers.push(tokio::spawn(async move {
            let id = granted.text("/id").to_owned();
            let mut reads = 0;
            while !done.load(Ordering::Relaxed) || reads < 3 {
                let read = shopper.get(&format!("/orders/{id}")).await;
                assert_eq!(read.status, 200, "after {reads} reads: {:?}", read.body);
                let list = shopper.get("/orders").await.expect(200);
                assert_eq!(list.text("/items/0/id"), id, "after {reads} reads");
                reads += 1;
            }
        }));
    }
    for shard in app.engine.shards() {
        while app.engine.log_status(shard).await.expect("answers").entries > 0 {
            tokio::task::yield_now().await;
        }
    }
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.expect("the reader saw its order each time");
    }
    Arc::into_inner(app).expect("nobody else uses it").finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_paged_newest_first_and_operators_see_everybodys() {
    let app = TestApp::start().await;
    let operator = app.operator();
    operator.create_drop("pages", 100, 10, &json!({})).await;
    let mut ids = Vec::new();
    for n in 0..7 {
        let shopper = app.shopper(["a", "b"][n % 2]);
        ids.push(shopper.order("pages", 1, &format!("k{n}")).await.expect(201).text("/id").to_owned());
    }
    ids.reverse();
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = operator.get(&format!("/orders?drop_id=pages&limit=3{cursor}")).await.expect(200);
        let items = page.body["items"].as_array().expect("a list").clone();
        assert!(items.len() <= 3);
        seen.extend(items.iter().map(|item| item["id"].as_str().expect("an id").to_owned()));
        if page.body["next_cursor"].is_null() {
            break;
        }
        cursor = format!("&cursor={}", page.text("/next_cursor"));
    }
    assert_eq!(seen, ids);
    let of_a = operator.get("/orders?user_id=a").await.expect(200);
    assert_eq!(of_a.body["items"].as_array().map(Vec::len), Some(4));
    app.shopper("b").get("/orders?user_id=a").await.expect_problem(403, "forbidden");
    app.finish().await;
}
