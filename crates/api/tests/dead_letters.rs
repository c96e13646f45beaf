//! Orders that the archive refuses: their owners see no difference, until they are told that theirs was given back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use stampede_domain::Fact;
use stampede_engine::{LetterCompensation, LetterReplay};
use stampede_testkit::{Answer, Caller, SqliteFault, TestApp};

/// Waits until this many dead letters are left, and nothing else waits for the archive.
async fn until_letters(app: &TestApp, letters: u64) {
    for _ in 0..2_000 {
        let (mut found, mut entries) = (0, 0);
        for shard in app.engine.shards() {
            found += app.engine.count_letters(shard).await.expect("answers");
            entries += app.engine.log_status(shard).await.expect("answers").entries;
        }
        if (found, entries) == (letters, 0) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("never {letters} dead letters");
}

async fn dead_facts(app: &TestApp) -> Vec<Fact> {
    let mut facts = Vec::new();
    for shard in app.engine.shards() {
        facts.extend(app.engine.letters(shard).await.expect("answers").into_iter().map(|kept| kept.letter.fact));
    }
    facts
}

/// What everybody who may see the order sees of it, everywhere.
async fn assert_seen(app: &TestApp, owner: &Caller, order: &Answer, status: &str) {
    let mut seen: Value = order.body.clone();
    seen["status"] = json!(status);
    let path = format!("/orders/{}", order.text("/id"));
    for caller in [owner, &app.operator()] {
        assert_eq!(caller.get(&path).await.expect(200).body, seen);
    }
    app.shopper("somebody-else").get(&path).await.expect_problem(404, "not-found");
    for list in ["/orders", "/orders?drop_id=dead"] {
        for caller in [owner, &app.operator()] {
            let listed = caller.get(list).await.expect(200);
            let items = listed.body["items"].as_array().expect("a list");
            let found: Vec<_> = items.iter().filter(|item| item["id"] == seen["id"]).collect();
            assert_eq!(found, [&seen], "{list}");
        }
    }
    let replayed = owner.order("dead", 2, "k").await.expect(201);
    assert_eq!((replayed.header("idempotent-replayed"), &replayed.body), ("true", &seen));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_order_is_like_any_other_until_its_owner_is_told_that_it_was_given_back() {
    let app = TestApp::start().await;
    app.operator().create_drop("dead", 10, 2, &json!({})).await;
    SqliteFault::open(&app.archive_url).refuse_orders_of("bad");
    let (owner, good) = (app.shopper("bad"), app.shopper("good"));
    let order = owner.order("dead", 2, "k").await.expect(201);
    good.order("dead", 1, "k").await.expect(201);
    until_letters(&app, 1).await;
    assert_seen(&app, &owner, &order, "confirmed").await;
    let stock = app.operator().get("/drops/dead/stock").await.expect(200);
    assert_eq!((stock.number("/sold"), stock.number("/available")), (3, 7));

    let fact = dead_facts(&app).await.remove(0);
    assert_eq!(app.engine.compensate_letter(&fact).await, Ok(LetterCompensation::Compensated));
    // At once, and when the archive knows.
    assert_seen(&app, &owner, &order, "compensated").await;
    until_letters(&app, 0).await;
    assert_seen(&app, &owner, &order, "compensated").await;
    let stock = app.operator().get("/drops/dead/stock").await.expect(200);
    assert_eq!((stock.number("/sold"), stock.number("/available")), (1, 9));
    let path = format!("/orders/{}", order.text("/id"));
    assert_eq!(app.operator().delete(&path).await.expect(200).text("/status"), "compensated");
    SqliteFault::open(&app.archive_url).accept_all();
    owner.order("dead", 2, "another").await.expect(201);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_orders_of_a_drop_that_is_called_off_are_cancelled_though_they_are_dead() {
    let app = TestApp::start().await;
    app.operator().create_drop("dead", 10, 2, &json!({})).await;
    let file = SqliteFault::open(&app.archive_url);
    file.refuse_orders_of("bad");
    let owner = app.shopper("bad");
    let order = owner.order("dead", 2, "k").await.expect(201);
    until_letters(&app, 1).await;
    app.operator().post("/drops/dead/cancel", &json!({})).await.expect(200);
    let path = format!("/orders/{}", order.text("/id"));
    while owner.get(&path).await.expect(200).text("/status") != "cancelled" {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    file.accept_all();
    let fact = dead_facts(&app).await.remove(0);
    assert_eq!(app.engine.replay_letter(&fact).await, Ok(LetterReplay::Replayed));
    until_letters(&app, 0).await;
    assert_eq!(owner.get(&path).await.expect(200).text("/status"), "cancelled");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_never_misses_an_order_while_it_dies_and_is_settled() {
    const READERS: usize = 24;
    let app = Arc::new(TestApp::start().await);
    app.operator().create_drop("dying", 200, 1, &json!({})).await;
    let file = SqliteFault::open(&app.archive_url);
    file.refuse_orders_of("bad");
    let done = Arc::new(AtomicBool::new(false));
    let mut readers = Vec::new();
    for n in 0..READERS {
        let shopper = app.shopper(&format!("bad-{n}"));
        let granted = shopper.order("dying", 1, "k").await.expect(201);
        let done = Arc::clone(&done);
        readers.push(tokio::spawn(async move {
            let id = granted.text("/id").to_owned();
            let (mut reads, mut compensated) = (0, false);
            while !done.load(Ordering::Relaxed) || reads < 3 {
                let read = shopper.get(&format!("/orders/{id}")).await;
                assert_eq!(read.status, 200, "after {reads} reads: {:?}", read.body);
                let list = shopper.get("/orders").await.expect(200);
                assert_eq!(list.text("/items/0/id"), id, "after {reads} reads");
                assert!(!compensated || read.text("/status") == "compensated", "never an older status");
                compensated = list.text("/items/0/status") == "compensated";
                assert!(compensated || read.text("/status") == "confirmed");
                reads += 1;
            }
            compensated
        }));
    }
    until_letters(&app, READERS as u64).await;
    file.accept_all();
    for (n, fact) in dead_facts(&app).await.iter().enumerate() {
        if n % 2 == 0 {
            assert_eq!(app.engine.replay_letter(fact).await, Ok(LetterReplay::Replayed));
        } else {
            assert_eq!(app.engine.compensate_letter(fact).await, Ok(LetterCompensation::Compensated));
        }
    }
    until_letters(&app, 0).await;
    done.store(true, Ordering::Relaxed);
    let mut compensated = 0;
    for reader in readers {
        compensated += usize::from(reader.await.expect("the reader saw its order each time"));
    }
    assert_eq!(compensated, READERS / 2);
    Arc::into_inner(app).expect("nobody else uses it").finish().await;
}
