//! Clients that take their time, and those that leave.

use std::time::Duration;

use serde_json::json;
use stampede_testkit::{AppOptions, TestApp};
use tokio::time::sleep;

use super::wire::{Wire, order};

/// Short, so that the tests are; still far longer than an honest request takes.
const HEADERS: Duration = Duration::from_secs(1);
const BODY: Duration = Duration::from_secs(1);
const BETWEEN_BYTES: Duration = Duration::from_millis(50);

async fn impatient() -> TestApp {
    let mut options = AppOptions::default();
    options.api.header_read_timeout = HEADERS;
    options.api.body_read_timeout = BODY;
    TestApp::start_with(options).await
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_do_not_end_are_hung_up_on() {
    let app = impatient().await;
    let mut silent = Wire::open(&app).await;
    let mut stuck = Wire::open(&app).await;
    stuck.send("POST /api/v1/orders HTTP/1.1\r\nhost: x\r\nx-a").await;
    let mut drip = Wire::open(&app).await;
    drip.send("GET /api/v1/drops HTTP/1.1\r\n").await;
    // Each byte is in time, and the head never is.
    while !drip.is_closed_now() {
        drip.send("x").await;
        sleep(BETWEEN_BYTES).await;
    }
    assert!(silent.is_closed().await && stuck.is_closed().await);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_arrive_is_told_so_and_nothing_has_happened() {
    let app = impatient().await;
    app.operator().create_drop("slow", 5, 5, &json!({})).await;
    let token = app.shopper("a").token().to_owned();
    let whole = order(&token, "k", "", br#"{"drop_id":"slow"}"#);

    let mut stuck = Wire::open(&app).await;
    stuck.send(&whole[..whole.len() - 1]).await;
    let reply = stuck.reply().await.expect("an answer").expect_problem(400, "malformed-request");
    assert!(reply.body["errors"][0]["detail"].as_str().expect("a detail").contains("within 1 s"), "{reply:?}");
    assert!(stuck.is_closed().await, "the rest is not taken for another request");

    let mut drip = Wire::open(&app).await;
    let padded = [vec![b' '; 10_000], br#"{"drop_id":"slow"}"#.to_vec()].concat();
    let whole_drip = order(&token, "k", "", padded);
    let mut sent = whole_drip.len() - 10_000;
    drip.send(&whole_drip[..sent]).await;
    let refused = loop {
        drip.send(&whole_drip[sent..=sent]).await;
        sent += 1;
        tokio::select! {
            reply = drip.reply() => break reply,
            () = sleep(BETWEEN_BYTES) => {}
        }
    };
    refused.expect("an answer").expect_problem(400, "malformed-request");

    let mut again = Wire::open(&app).await;
    again.send(&whole).await;
    let granted = again.reply().await.expect("an answer");
    assert_eq!(granted.status, 201, "{granted:?}");
    assert!(!granted.head.contains("idempotent-replayed"), "the key was never used");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_tells_what_became_of_a_request_that_was_left() {
    let app = TestApp::start().await;
    app.operator().create_drop("left", 100, 100, &json!({})).await;
    let shopper = app.shopper("a");
    let body = br#"{"drop_id":"left"}"#;

    for end in [1, 20, 100, order(shopper.token(), "half", "", body).len() - 1] {
        let bytes = order(shopper.token(), "half", "", body);
        Wire::open(&app).await.send(&bytes[..end]).await;
    }
    let granted = shopper.order("left", 1, "half").await.expect(201);
    assert_eq!(granted.header("idempotent-replayed"), "", "half a request does nothing");

    let mut ids = std::collections::HashSet::from([granted.text("/id").to_owned()]);
    for n in 0..50 {
        let key = format!("whole-{n}");
        Wire::open(&app).await.send(order(shopper.token(), &key, "", body)).await;
        let (one, two) = tokio::join!(shopper.order("left", 1, &key), shopper.order("left", 1, &key));
        assert_eq!(one.expect(201).text("/id"), two.text("/id"));
        assert!(ids.insert(two.text("/id").to_owned()), "each key has an order of its own");
    }
    assert_eq!(app.operator().get("/drops/left/stock").await.expect(200).number("/sold"), 51);
    app.finish().await;
}
