//! Drops and products over HTTP, as operators and shoppers meet them.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use stampede_testkit::{Answer, Caller, TestApp};

#[tokio::test(flavor = "multi_thread")]
async fn a_product_is_created_once() {
    let app = TestApp::start().await;
    let operator = app.operator();
    let product = json!({"sku": "AIR-1", "name": "Air", "price": {"amount_minor": 12_900, "currency": "EUR"}});
    let created = operator.post("/products", &product).await.expect(201);
    assert_eq!(operator.post("/products", &product).await.expect(200).body, created.body);
    let mut other = product.clone();
    other["name"] = json!("Other");
    operator.post("/products", &other).await.expect_problem(409, "product-exists");
    assert_eq!(app.with_token(None).get("/products/AIR-1").await.expect(200).body, created.body);
    app.with_token(None).get("/products/AIR-2").await.expect_problem(404, "not-found");
    let list = app.with_token(None).get("/products").await.expect(200);
    assert_eq!(list.body["items"], json!([created.body]));
    let mut bad = product;
    bad["price"]["currency"] = json!("euros");
    operator.post("/products", &bad).await.expect_problem(422, "invalid-request");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drop_is_defined_once_and_does_not_overlap_another_of_its_sku() {
    let app = TestApp::start().await;
    let operator = app.operator();
    let product = json!({"sku": "AIR-1", "name": "Air", "price": {"amount_minor": 12_900, "currency": "EUR"}});
    operator.post("/products", &product).await.expect(201);
    let body = |id: &str, starts: &str, ends: Value| json!({"id": id, "sku": "AIR-1", "mode": "instant", "stock_units": 5, "starts_at": starts, "ends_at": ends});
    let first = body("first", "2090-01-01T00:00:00Z", json!("2090-01-02T00:00:00Z"));
    let created = operator.post("/drops", &first).await.expect(201);
    assert_eq!((created.text("/phase"), created.number("/stock/available")), ("scheduled", 5));
    operator.post("/drops", &first).await.expect(200);
    let mut changed = first.clone();
    changed["stock_units"] = json!(6);
    operator.post("/drops", &changed).await.expect_problem(409, "drop-exists");
    let overlapping = body("second", "2090-01-01T12:00:00Z", Value::Null);
    operator.post("/drops", &overlapping).await.expect_problem(409, "drop-overlaps");
    operator.post("/drops", &body("second", "2090-01-02T00:00:00Z", Value::Null)).await.expect(201);
    operator.post("/drops/first/cancel", &json!({})).await.expect(200);
    let freed = body("third", "2090-01-01T00:00:00Z", json!("2090-01-02T00:00:00Z"));
    operator.post("/drops", &freed).await.expect(201);
    let unknown = json!({"id": "x", "sku": "NONE", "mode": "instant", "stock_units": 5});
    assert!(operator.post("/drops", &unknown).await.status >= 400);
    let lottery = json!({"id": "x", "sku": "AIR-1", "mode": "lottery", "stock_units": 5});
    operator.post("/drops", &lottery).await.expect_problem(422, "invalid-request");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_pauses_resumes_restocks_amends_and_closes() {
    let app = TestApp::start().await;
    let operator = app.operator();
    operator.create_drop("run", 1, 1, &json!({})).await;
    app.shopper("a").order("run", 1, "k").await.expect(201);
    assert_eq!(operator.get("/drops/run").await.expect(200).text("/phase"), "sold_out");

    let restock = |caller: &Caller, key: Option<&str>, units: u32| {
        let request = caller.request(Method::POST, "/drops/run/restock").json(&json!({"units": units}));
        key.into_iter().fold(request, |request, key| request.header("Idempotency-Key", key))
    };
    operator.send(restock(&operator, None, 2)).await.expect_problem(400, "idempotency-key-required");
    let restocked = operator.send(restock(&operator, Some("r1"), 2)).await.expect(200);
    assert_eq!((restocked.number("/stock/total"), restocked.text("/phase")), (3, "sold_out"));
    assert_eq!((restocked.number("/stock/held"), restocked.number("/stock/available")), (2, 0), "for a moment");
    while operator.get("/drops/run").await.expect(200).text("/phase") != "live" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(operator.send(restock(&operator, Some("r1"), 2)).await.expect(200).number("/stock/total"), 3);
    operator.send(restock(&operator, Some("r1"), 3)).await.expect_problem(422, "idempotency-key-reused");

    for _ in 0..2 {
        assert_eq!(operator.post("/drops/run/pause", &json!({})).await.expect(200).text("/phase"), "paused");
    }
    app.shopper("b").order("run", 1, "k").await.expect_problem(400, "sale-not-active");
    assert_eq!(operator.post("/drops/run/resume", &json!({})).await.expect(200).text("/phase"), "live");
    let amended = operator.patch("/drops/run", &json!({"ends_at": "2090-01-01T00:00:00Z"})).await.expect(200);
    assert_eq!(amended.text("/ends_at"), "2090-01-01T00:00:00.000Z");
    operator.patch("/drops/run", &json!({"limit_per_user": 2})).await.expect_problem(409, "invalid-transition");
    operator
        .patch("/drops/run", &json!({"ends_at": "2020-01-01T00:00:00Z"}))
        .await
        .expect_problem(422, "invalid-request");

    for _ in 0..2 {
        assert_eq!(operator.post("/drops/run/close", &json!({})).await.expect(200).text("/phase"), "ended");
    }
    operator.post("/drops/run/resume", &json!({})).await.expect_problem(409, "invalid-transition");
    operator.send(restock(&operator, Some("r2"), 2)).await.expect_problem(409, "invalid-transition");
    let replay = app.shopper("a").order("run", 1, "k").await.expect(201);
    assert_eq!(replay.header("idempotent-replayed"), "true", "an ended drop still knows its orders");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_drop_cancels_its_orders_one_after_another() {
    let app = TestApp::start().await;
    app.operator().create_drop("off", 20, 1, &json!({})).await;
    let mut orders = Vec::new();
    for n in 0..20 {
        let shopper = app.shopper(&format!("u{n}"));
        let id = shopper.order("off", 1, "k").await.expect(201).text("/id").to_owned();
        orders.push((shopper, id));
    }
    assert_eq!(app.operator().post("/drops/off/cancel", &json!({})).await.expect(200).text("/phase"), "cancelled");
    for (shopper, id) in orders {
        loop {
            let order = shopper.get(&format!("/orders/{id}")).await.expect(200);
            if order.text("/status") == "cancelled" {
                break;
            }
            assert_eq!(order.text("/status"), "confirmed");
            tokio::task::yield_now().await;
        }
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sale_status_shows_the_drop_that_matters_and_follows_changes() {
    let app = TestApp::start().await;
    let (operator, anyone) = (app.operator(), app.with_token(None));
    anyone.get("/products/SKU-show/sale-status").await.expect_problem(404, "not-found");
    operator.create_drop("show", 2, 1, &json!({"ends_at": "2090-01-01T00:00:00Z"})).await;
    let next = json!({"id": "next", "sku": "SKU-show", "mode": "instant", "stock_units": 1, "starts_at": "2091-01-01T00:00:00Z"});
    operator.post("/drops", &next).await.expect(201);

    let status = await_status(&anyone, |status| status.text("/drop_id") == "show").await;
    assert_eq!((status.text("/phase"), status.number("/available"), status.number("/total")), ("live", 2, 2));
    for field in ["/sku", "/starts_at", "/ends_at", "/as_of", "/server_time"] {
        assert!(!status.text(field).is_empty(), "{field}");
    }
    assert_eq!(status.number("/limit_per_user"), 1);
    let etag = status.header("etag").to_owned();
    let conditional = anyone.request(Method::GET, "/products/SKU-show/sale-status").header("If-None-Match", &etag);
    assert_eq!(anyone.send(conditional).await.status, 304);

    app.shopper("a").order("show", 1, "k").await.expect(201);
    app.shopper("b").order("show", 1, "k").await.expect(201);
    let sold_out = await_status(&anyone, |status| status.text("/phase") == "sold_out").await;
    assert!(sold_out.number("/version") > status.number("/version"));
    assert_ne!(sold_out.header("etag"), etag);
    operator.post("/drops/show/close", &json!({})).await.expect(200);
    let scheduled = await_status(&anyone, |status| status.text("/drop_id") == "next").await;
    assert_eq!(scheduled.text("/phase"), "scheduled");
    let live = anyone.get("/drops?phase=scheduled").await.expect(200);
    assert_eq!(live.text("/items/0/id"), "next");
    app.finish().await;
}

async fn await_status(caller: &Caller, reached: impl Fn(&Answer) -> bool) -> Answer {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        let status = caller.get("/products/SKU-show/sale-status").await;
        if status.status == 200 && reached(&status) {
            return status;
        }
        assert!(tokio::time::Instant::now() < deadline, "{status:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
