//! A drop that was purged, over HTTP: nothing that was confirmed is forgotten.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use stampede_engine::{PurgeOutcome, PurgeRefusal, PurgeTerms};
use stampede_testkit::{Answer, AppOptions, Caller, TestApp};

/// Purges a drop as soon as the archive holds all of it.
async fn purge(app: &TestApp, id: &str) {
    let terms = PurgeTerms { keep_for: Duration::ZERO, look_again: None };
    loop {
        match app.engine.purge_drop(&id.parse().expect("a drop id"), terms).await.expect("an outcome") {
            PurgeOutcome::Purged(_) => return,
            PurgeOutcome::Refused(PurgeRefusal::Unsettled) => tokio::time::sleep(Duration::from_millis(5)).await,
            other => panic!("{id} is not purged: {other:?}"),
        }
    }
}

fn id_of(answer: &Answer) -> String {
    answer.text("/id").to_owned()
}

async fn a_purged_drop_answers(options: AppOptions) {
    let app = TestApp::start_with(options).await;
    let operator = app.operator();
    operator.create_drop("gone", 10, 2, &json!({"cancellable_for_s": 0})).await;
    let (ann, bob) = (app.shopper("ann"), app.shopper("bob"));
    let kept = ann.order("gone", 1, "kept").await.expect(201);
    let cancelled = ann.order("gone", 1, "cancelled").await.expect(201);
    let bobs = bob.order("gone", 2, "kept").await.expect(201);
    let cancelled = operator.delete(&format!("/orders/{}", id_of(&cancelled))).await.expect(200);
    operator.post("/drops/gone/close", &json!({})).await.expect(200);
    let before = operator.get("/drops/gone").await.expect(200);
    purge(&app, "gone").await;

    // A replay finds its order as it stands; the key of another request, or of another user, is what it was.
    let replayed = ann.order("gone", 1, "kept").await.expect(201);
    assert_eq!((&replayed.body, replayed.header("idempotent-replayed")), (&kept.body, "true"));
    assert_eq!(replayed.header("location"), format!("/api/v1/orders/{}", id_of(&kept)));
    let replayed = ann.order("gone", 1, "cancelled").await.expect(201);
    assert_eq!((&replayed.body, replayed.text("/status")), (&cancelled.body, "cancelled"));
    assert_eq!(bob.order("gone", 2, "kept").await.expect(201).body, bobs.body);
    ann.order("gone", 2, "kept").await.expect_problem(422, "idempotency-key-reused");
    for (caller, key) in [(&ann, "new"), (&bob, "cancelled"), (&app.shopper("cid"), "kept")] {
        let refused = caller.order("gone", 1, key).await.expect_problem(400, "sale-not-active");
        assert_eq!((refused.text("/phase"), refused.body["retryable"].as_bool()), ("ended", Some(false)));
    }

    // Its orders are read as before, by owners and operators.
    assert_eq!(ann.get(&format!("/orders/{}", id_of(&kept))).await.expect(200).body, kept.body);
    assert_eq!(operator.get(&format!("/orders/{}", id_of(&cancelled))).await.expect(200).body, cancelled.body);
    bob.get(&format!("/orders/{}", id_of(&kept))).await.expect_problem(404, "not-found");
    let list = ann.get("/orders").await.expect(200);
    assert_eq!(list.body["items"], json!([cancelled.body, kept.body]));
    let all = operator.get("/orders?drop_id=gone").await.expect(200);
    assert_eq!(all.body["items"].as_array().map(Vec::len), Some(3));

    // Nothing changes them any more.
    for caller in [&ann, &operator] {
        caller.delete(&format!("/orders/{}", id_of(&kept))).await.expect_problem(409, "cancellation-closed");
        let again = caller.delete(&format!("/orders/{}", id_of(&cancelled))).await.expect(200);
        assert_eq!(again.body, cancelled.body);
    }

    // Nor the drop, which is shown as it was.
    for verb in ["pause", "resume", "cancel"] {
        let refused = operator.post(&format!("/drops/gone/{verb}"), &json!({})).await;
        let refused = refused.expect_problem(409, "invalid-transition");
        assert!(refused.text("/detail").contains("purged"), "{:?}", refused.body);
    }
    let restock = operator.request(Method::POST, "/drops/gone/restock").header("Idempotency-Key", "r");
    operator.send(restock.json(&json!({"units": 1}))).await.expect_problem(409, "invalid-transition");
    let later = json!({"ends_at": "2090-01-01T00:00:00Z"});
    operator.patch("/drops/gone", &later).await.expect_problem(409, "invalid-transition");
    let closed = operator.post("/drops/gone/close", &json!({})).await.expect(200);
    assert_eq!(stripped(&closed), stripped(&before));
    assert_eq!(stripped(&operator.get("/drops/gone").await.expect(200)), stripped(&before));
    let stock = operator.get("/drops/gone/stock").await.expect(200);
    assert_eq!((stock.number("/total"), stock.number("/available"), stock.number("/sold")), (10, 7, 3));
    assert_eq!(anyones_status(&app).await.text("/phase"), "ended");
    app.finish().await;
}

/// A drop but for what tells when it was read.
fn stripped(drop: &Answer) -> Value {
    let mut body = drop.body.clone();
    for field in ["version", "as_of"] {
        body["stock"][field] = Value::Null;
    }
    body
}

async fn anyones_status(app: &TestApp) -> Answer {
    let anyone: Caller = app.with_token(None);
    anyone.get("/products/SKU-gone/sale-status").await.expect(200)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purged_drop_answers_from_the_archive() {
    a_purged_drop_answers(AppOptions::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purged_drop_answers_on_a_cluster_and_mongodb() {
    a_purged_drop_answers(AppOptions { cluster: true, mongodb: true, ..AppOptions::default() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purged_drop_that_was_called_off_says_so() {
    let app = TestApp::start().await;
    let (operator, ann) = (app.operator(), app.shopper("ann"));
    operator.create_drop("off", 10, 2, &json!({"cancellable_for_s": 3_600})).await;
    let order = ann.order("off", 1, "k").await.expect(201);
    operator.post("/drops/off/cancel", &json!({})).await.expect(200);
    let path = format!("/orders/{}", id_of(&order));
    while ann.get(&path).await.expect(200).text("/status") == "confirmed" {
        tokio::task::yield_now().await;
    }
    purge(&app, "off").await;
    assert_eq!(ann.order("off", 1, "k").await.expect(201).text("/status"), "cancelled");
    let refused = ann.order("off", 1, "new").await.expect_problem(400, "sale-not-active");
    assert_eq!(refused.text("/phase"), "cancelled");
    assert_eq!(ann.delete(&path).await.expect(200).text("/status"), "cancelled");
    assert_eq!(operator.post("/drops/off/cancel", &json!({})).await.expect(200).text("/phase"), "cancelled");
    operator.post("/drops/off/close", &json!({})).await.expect_problem(409, "invalid-transition");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_never_sees_an_older_status_while_a_drop_is_purged() {
    let app = TestApp::start().await;
    let operator = app.operator();
    for round in 0..10 {
        let drop = format!("purge-{round}");
        operator.create_drop(&drop, 1, 1, &json!({})).await;
        let shopper = app.shopper("reader");
        let order = shopper.order(&drop, 1, "k").await.expect(201);
        operator.delete(&format!("/orders/{}", id_of(&order))).await.expect(200);
        operator.post(&format!("/drops/{drop}/close"), &json!({})).await.expect(200);
        let (reader, as_operator) = (shopper.clone(), operator.clone());
        let (path, listed) = (format!("/orders/{}", id_of(&order)), format!("/orders?drop_id={drop}"));
        let done = Arc::new(AtomicBool::new(false));
        let purged = Arc::clone(&done);
        let reading = tokio::spawn(async move {
            let mut after = 0;
            while after < 3 {
                after += u32::from(purged.load(Ordering::Relaxed));
                assert_eq!(reader.get(&path).await.expect(200).text("/status"), "cancelled");
                for caller in [&reader, &as_operator] {
                    assert_eq!(caller.get(&listed).await.expect(200).text("/items/0/status"), "cancelled");
                }
            }
        });
        purge(&app, &drop).await;
        done.store(true, Ordering::Relaxed);
        reading.await.expect("the reader saw the cancellation each time");
    }
    app.finish().await;
}
