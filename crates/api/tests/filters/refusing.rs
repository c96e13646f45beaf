//! A sold-out drop to which nothing happens.

use std::time::Duration;

use serde_json::json;
use stampede_testkit::TestApp;

use crate::{grant_calls, live, options, stranger, until_refused_here, watch_commands};

/// Long, so that a busy machine does not keep a confirmation from coming in time.
const AGE: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_refused_without_redis_and_buyers_never() {
    const STRANGERS: usize = 200;
    let mut app = TestApp::start_with(options(AGE)).await;
    let more = json!({"cancellable_for_s": 300});
    app.operator().create_drop("gone", 3, 2, &more).await;
    let (ann, bob) = (app.shopper("ann"), app.shopper("bob"));
    let bought = ann.order("gone", 2, "k").await.expect(201);
    bob.order("gone", 1, "k").await.expect(201);
    watch_commands(&mut app);
    let origin = app.origin.clone();
    until_refused_here(&mut app, &origin, "gone").await;

    for n in 0..STRANGERS {
        let refused = stranger(&app, &origin, 1_000 + n).order("gone", 1, "k").await.expect_problem(409, "sold-out");
        assert_eq!((refused.number("/available"), refused.body["retryable"].as_bool()), (0, Some(true)));
    }
    // A filter takes one in 250 for a buyer.
    let asked = grant_calls(&mut app);
    assert!(asked < STRANGERS / 10, "{asked} of {STRANGERS} strangers were asked about");

    // Everything that Redis looks at before the stock is as if there was no filter.
    let replayed = ann.order("gone", 2, "k").await.expect(201);
    assert_eq!((&replayed.body, replayed.header("idempotent-replayed")), (&bought.body, "true"));
    ann.order("gone", 1, "k").await.expect_problem(422, "idempotency-key-reused");
    ann.order("gone", 1, "other").await.expect_problem(403, "limit-reached");
    bob.order("gone", 1, "other").await.expect_problem(409, "sold-out");
    let greedy = app.shopper("greedy").order("gone", 3, "k").await.expect_problem(403, "limit-reached");
    assert_eq!(greedy.number("/owned"), 0);
    let dear = json!({"drop_id": "gone", "expected_total": {"amount_minor": 1, "currency": "EUR"}});
    app.shopper("dear").post("/orders", &dear).await.expect_problem(409, "price-changed");
    let exact = json!({"drop_id": "gone", "expected_total": {"amount_minor": 12_900, "currency": "EUR"}});
    app.shopper("exact").post("/orders", &exact).await.expect_problem(409, "sold-out");
    app.with_token(None).order("gone", 1, "k").await.expect_problem(401, "unauthenticated");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_to_a_drop_is_known_at_once_here_and_soon_elsewhere() {
    let mut app = TestApp::start_with(options(AGE)).await;
    let other = app.another_api().await;
    let operator = app.operator();
    operator.create_drop("stop", 1, 1, &json!({})).await;
    app.shopper("ann").order("stop", 1, "k").await.expect(201);
    watch_commands(&mut app);
    for origin in [app.origin.clone(), other.clone()] {
        until_refused_here(&mut app, &origin, "stop").await;
    }
    operator.post("/drops/stop/pause", &json!({})).await.expect(200);
    let paused = app.shopper("bob").order("stop", 1, "k").await.expect_problem(400, "sale-not-active");
    assert_eq!(paused.text("/phase"), "paused");
    let paused_at = std::time::Instant::now();
    loop {
        let told = app.shopper("bob").at(&other).order("stop", 1, "k").await;
        if told.status == 400 {
            break;
        }
        told.expect_problem(409, "sold-out");
        assert!(paused_at.elapsed() < AGE, "it is taken for sold out, though it was paused long ago");
    }
    operator.post("/drops/stop/resume", &json!({})).await.expect(200);
    app.shopper("bob").order("stop", 1, "k").await.expect_problem(409, "sold-out");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_window_is_kept_without_asking() {
    let mut app = TestApp::start_with(options(Duration::from_secs(10))).await;
    let now = app.engine.read_drops(app.engine.shards().next().expect("a shard"), &[]).await.expect("a clock").as_of;
    let ends_at = now.plus_ms(3_000);
    app.operator().create_drop("ends", 1, 1, &json!({"ends_at": ends_at})).await;
    app.shopper("ann").order("ends", 1, "k").await.expect(201);
    watch_commands(&mut app);
    let origin = app.origin.clone();
    until_refused_here(&mut app, &origin, "ends").await;
    loop {
        let id = "ends".parse().expect("a drop id");
        let before = app.engine.read_drops(app.engine.shard_of(&id), &[]).await.expect("a clock").as_of;
        let told = app.shopper("bob").order("ends", 1, "k").await;
        if told.status == 400 {
            break;
        }
        told.expect_problem(409, "sold-out");
        assert!(before < ends_at, "sold out, after the end");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn zero_turns_it_off() {
    const ORDERS: usize = 30;
    let mut app = TestApp::start_with(options(Duration::ZERO)).await;
    app.operator().create_drop("off", 1, 1, &json!({"cancellable_for_s": 300})).await;
    let ann = app.shopper("ann");
    let bought = ann.order("off", 1, "k").await.expect(201);
    watch_commands(&mut app);
    let origin = app.origin.clone();
    for n in 0..ORDERS {
        stranger(&app, &origin, n).order("off", 1, "k").await.expect_problem(409, "sold-out");
    }
    assert_eq!(grant_calls(&mut app), ORDERS, "each order is decided by Redis");
    ann.delete(&format!("/orders/{}", bought.text("/id"))).await.expect(200);
    let now = live(&app, "off").await;
    assert_eq!((now.available_units, now.held_units, now.hold_ms), (1, 0, 0));
    app.shopper("bob").order("off", 1, "k").await.expect(201);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_with_a_longer_age_keeps_to_what_the_drop_holds() {
    let mut app = TestApp::start_with(options(Duration::ZERO)).await;
    app.operator().create_drop("short", 1, 1, &json!({})).await;
    app.shopper("ann").order("short", 1, "k").await.expect(201);
    app.change_api(|api| api.filter_max_age = AGE);
    let other = app.another_api().await;
    watch_commands(&mut app);
    const ORDERS: usize = 30;
    for n in 0..ORDERS {
        stranger(&app, &other, n).order("short", 1, "k").await.expect_problem(409, "sold-out");
        tokio::time::sleep(AGE / 60).await;
    }
    assert_eq!(grant_calls(&mut app), ORDERS, "the drop was defined where nothing is held");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drop_with_too_many_buyers_goes_without() {
    let mut options = options(AGE);
    options.api.filter_max_buyers = 2;
    let mut app = TestApp::start_with(options).await;
    app.operator().create_drop("many", 3, 1, &json!({})).await;
    for user in ["ann", "bob", "cat"] {
        app.shopper(user).order("many", 1, "k").await.expect(201);
    }
    watch_commands(&mut app);
    let origin = app.origin.clone();
    const ORDERS: usize = 30;
    for n in 0..ORDERS {
        stranger(&app, &origin, n).order("many", 1, "k").await.expect_problem(409, "sold-out");
        tokio::time::sleep(AGE / 60).await;
    }
    assert_eq!(grant_calls(&mut app), ORDERS);
    app.finish().await;
}
