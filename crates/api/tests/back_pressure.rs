//! The archive is away: the sale goes on up to the log's bound, and recovers by itself.

use std::time::{Duration, Instant};

use serde_json::json;
use stampede_engine::{EngineSettings, LogBound};
use stampede_testkit::{Answer, AppOptions, Caller, MongoServer, Proxy, SqliteFault, TestApp};

fn bounded(orders: u64, bytes: u64) -> AppOptions {
    let engine = EngineSettings { log_bound: LogBound { orders, bytes }, ..EngineSettings::default() };
    AppOptions { engine, shards: 1, ..AppOptions::default() }
}

/// Two drops that the process knows, and whose openings are archived.
async fn open_drops(app: &TestApp) {
    let cancellable = json!({"cancellable_for_s": 600});
    app.operator().create_drop("sale", 50, 50, &cancellable).await;
    app.operator().create_drop("other", 50, 50, &json!({})).await;
    for id in ["sale", "other"] {
        app.operator().get(&format!("/drops/{id}")).await.expect(200);
    }
    for shard in app.engine.shards() {
        while app.engine.log_status(shard).await.expect("answers").entries > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Orders until the log is at its bound; returns the orders that were granted.
async fn fill(shopper: &Caller) -> Vec<Answer> {
    let mut granted = Vec::new();
    loop {
        let answer = shopper.order("sale", 1, &format!("k{}", granted.len())).await;
        if answer.status != 201 {
            let behind = answer.expect_problem(503, "archive-behind");
            assert_eq!(behind.body["retryable"], true);
            assert!(behind.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0));
            return granted;
        }
        granted.push(answer);
    }
}

/// Everything but a new grant goes on at the bound.
async fn assert_all_else_works(app: &TestApp, shopper: &Caller, granted: &[Answer]) {
    let (operator, first) = (app.operator(), &granted[0]);
    let replayed = shopper.order("sale", 1, "k0").await.expect(201);
    assert_eq!((replayed.header("idempotent-replayed"), replayed.text("/id")), ("true", first.text("/id")));
    shopper.order("sale", 2, "k0").await.expect_problem(422, "idempotency-key-reused");
    let path = format!("/orders/{}", first.text("/id"));
    assert_eq!(shopper.get(&path).await.expect(200).text("/status"), "confirmed");
    assert_eq!(shopper.delete(&path).await.expect(200).text("/status"), "cancelled");
    assert_eq!(shopper.get(&path).await.expect(200).text("/status"), "cancelled");
    shopper.order("sale", 1, "after").await.expect_problem(503, "archive-behind");
    for (step, phase) in [("pause", "paused"), ("resume", "live")] {
        let changed = operator.post(&format!("/drops/sale/{step}"), &json!({})).await.expect(200);
        assert_eq!(changed.text("/phase"), phase);
    }
    assert_eq!(operator.post("/drops/other/close", &json!({})).await.expect(200).text("/phase"), "ended");
    shopper.get("/sale-status-of-nothing").await.expect_problem(404, "not-found");
    shopper.get("/products/SKU-sale/sale-status").await.expect(200);
}

/// The same key is granted once the archive has caught up, without anybody's help.
async fn recovers(shopper: &Caller, key: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = shopper.order("sale", 1, key).await;
        if answer.status == 201 {
            assert_eq!(answer.header("idempotent-replayed"), "", "it was refused before");
            return;
        }
        answer.expect_problem(503, "archive-behind");
        assert!(Instant::now() < deadline, "the sale does not recover");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_archive_holds_up_new_orders_at_the_bound_of_orders() {
    let app = TestApp::start_with(bounded(5, u64::MAX >> 1)).await;
    open_drops(&app).await;
    let file = SqliteFault::open(&app.archive_url);
    file.lock();
    let shopper = app.shopper("a");
    let granted = fill(&shopper).await;
    assert_eq!(granted.len(), 5, "sales go on below the bound");
    assert_all_else_works(&app, &shopper, &granted).await;
    let listed = shopper.get("/orders").await.expect(200);
    assert_eq!(listed.body["items"].as_array().map(Vec::len), Some(5));
    file.unlock();
    recovers(&shopper, "after").await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_archive_holds_up_new_orders_at_the_bound_of_bytes() {
    let app = TestApp::start_with(bounded(1_000_000, 500)).await;
    open_drops(&app).await;
    let file = SqliteFault::open(&app.archive_url);
    file.lock();
    let shopper = app.shopper("a");
    let granted = fill(&shopper).await;
    let status = app.engine.log_status(app.engine.shards().next().expect("a shard")).await.expect("answers");
    assert!(granted.len() > 2 && status.backlog_bytes <= 500, "{} orders: {status:?}", granted.len());
    assert_all_else_works(&app, &shopper, &granted).await;
    file.unlock();
    recovers(&shopper, "after").await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mongodb_that_is_away_holds_up_new_orders_at_the_bound_only() {
    let server = MongoServer::local();
    let proxy = Proxy::start(server.port()).await;
    let url = server.database("pressure").url.replace(&server.port().to_string(), &proxy.port().to_string());
    let app = TestApp::start_with(AppOptions { archive_url: Some(url), ..bounded(5, u64::MAX >> 1) }).await;
    open_drops(&app).await;
    let shopper = app.shopper("a");
    shopper.get("/products/SKU-sale/sale-status").await.expect(200);
    proxy.refuse(true);
    proxy.cut();
    let granted = fill(&shopper).await;
    assert_eq!(granted.len(), 5, "sales go on below the bound");
    assert_all_else_works(&app, &shopper, &granted).await;
    proxy.refuse(false);
    recovers(&shopper, "after").await;
    app.finish().await;
}
