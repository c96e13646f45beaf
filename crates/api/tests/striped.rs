//! Drops whose stock is divided over several shards, over HTTP: to shoppers and operators they are drops like any other.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use serde_json::json;
use stampede_testkit::{AppOptions, TestApp};

const UNITS: u32 = 20;
const SHOPPERS: usize = 80;
const AT_ONCE: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_buys_every_unit_of_all_stripes_and_none_twice() {
    crowd(AppOptions { shards: 6, ..AppOptions::default() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_cluster_too() {
    crowd(AppOptions { cluster: true, shards: 8, ..AppOptions::default() }).await;
}

async fn crowd(options: AppOptions) {
    let app = TestApp::start_with(options).await;
    let operator = app.operator();
    let created = operator.create_drop("wide", UNITS, 1, &json!({"stripes": 3, "cancellable_for_s": 600})).await;
    assert_eq!(created.body["stripes"], 3);
    assert_eq!(created.body["stock"]["total"], UNITS);
    let answers: Vec<(usize, _)> = stream::iter(0..SHOPPERS)
        .map(|n| {
            let shopper = app.shopper(&format!("shopper-{n}"));
            async move { (n, shopper.order("wide", 1, "k").await) }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let granted: Vec<(usize, String)> =
        answers.iter().filter(|(_, a)| a.status == 201).map(|(n, a)| (*n, a.text("/id").to_owned())).collect();
    assert_eq!(granted.iter().map(|(_, id)| id).collect::<HashSet<_>>().len(), UNITS as usize);
    for (n, answer) in answers.iter().filter(|(_, answer)| answer.status != 201) {
        assert_eq!(answer.code(), "sold-out", "shopper-{n}");
    }
    let stock = operator.get("/drops/wide/stock").await.expect(200);
    assert_eq!(
        (&stock.body["total"], &stock.body["sold"], &stock.body["available"]),
        (&json!(20), &json!(20), &json!(0))
    );

    // One comes back, in the stripe of its buyer, and is held for a moment; then a shopper of any other stripe may have it.
    let (first, id) = &granted[0];
    let shopper = app.shopper(&format!("shopper-{first}"));
    shopper.delete(&format!("/orders/{id}")).await.expect(200);
    while operator.get("/drops/wide/stock").await.expect(200).body["available"] != 1 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    app.shopper("late").order("wide", 1, "k").await.expect(201);
    app.shopper("too-late").order("wide", 1, "k").await.expect(409);

    // Replays, single orders and lists find everything, in whichever shard it is.
    for (n, id) in &granted[1..] {
        let shopper = app.shopper(&format!("shopper-{n}"));
        let again = shopper.order("wide", 1, "k").await.expect(201);
        assert_eq!(again.text("/id"), id);
        assert_eq!(shopper.get(&format!("/orders/{id}")).await.expect(200).text("/status"), "confirmed");
        let mine = shopper.get("/orders?drop_id=wide").await.expect(200);
        assert_eq!(mine.body["items"].as_array().expect("a list").len(), 1);
    }
    let all = operator.get("/orders?drop_id=wide&limit=100").await.expect(200);
    assert_eq!(all.body["items"].as_array().expect("a list").len(), UNITS as usize + 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_changes_it_as_one() {
    let app = TestApp::start_with(AppOptions { shards: 4, ..AppOptions::default() }).await;
    let operator = app.operator();
    let more = json!({"stripes": 4, "limit_per_user": 2});
    let created = operator.create_drop("wide", 6, 2, &more).await;
    let again = json!({"id": "wide", "mode": "instant", "stock_units": 6, "limit_per_user": 2, "stripes": 4, "sku": created.text("/sku")});
    operator.post("/drops", &again).await.expect(200);
    let other =
        json!({"id": "wide", "mode": "instant", "stock_units": 6, "limit_per_user": 2, "sku": created.text("/sku")});
    assert_eq!(operator.post("/drops", &other).await.expect(409).code(), "drop-exists");

    assert_eq!(operator.post("/drops/wide/pause", &json!({})).await.expect(200).text("/phase"), "paused");
    for n in 0..8 {
        let refused = app.shopper(&format!("shopper-{n}")).order("wide", 1, "early").await.expect(400);
        assert_eq!(refused.code(), "sale-not-active");
    }
    operator.post("/drops/wide/resume", &json!({})).await.expect(200);
    let restock = operator.request(reqwest::Method::POST, "/drops/wide/restock").header("Idempotency-Key", "r");
    let restocked = operator.send(restock.json(&json!({"units": 4}))).await.expect(200);
    assert_eq!(restocked.body["stock"]["total"], 10);
    for n in 0..5 {
        app.shopper(&format!("shopper-{n}")).order("wide", 2, "k").await.expect(201);
    }
    assert_eq!(app.shopper("shopper-9").order("wide", 1, "k").await.expect(409).code(), "sold-out");
    assert_eq!(operator.post("/drops/wide/cancel", &json!({})).await.expect(200).text("/phase"), "cancelled");
    for n in 0..5 {
        let refused = app.shopper(&format!("shopper-{n}")).order("wide", 1, "k2").await.expect(400);
        assert_eq!(refused.code(), "sale-not-active");
    }
    // Its orders are cancelled one after another, in each stripe.
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    loop {
        let stock = operator.get("/drops/wide/stock").await.expect(200);
        if stock.body["sold"] == 0 {
            assert_eq!((&stock.body["total"], &stock.body["available"]), (&json!(10), &json!(10)));
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{stock:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_no_more_stripes_than_shards() {
    let app = TestApp::start_with(AppOptions { shards: 2, ..AppOptions::default() }).await;
    let drop = |stripes: u32| {
        json!({
            "mode": "instant", "stock_units": 1, "stripes": stripes,
            "product": {"sku": "AIR-1", "name": "Air", "price": {"amount_minor": 1, "currency": "EUR"}},
        })
    };
    for stripes in [0, 3, 65] {
        let refused = app.operator().post("/drops", &drop(stripes)).await.expect(422);
        assert_eq!(refused.body["errors"][0]["pointer"], "/stripes", "{stripes}");
    }
    app.finish().await;
}
