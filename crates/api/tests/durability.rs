//! What a 201 survives, over HTTP: a drop asks for it, and what cannot be kept yet is neither confirmed nor shown.

use std::time::Duration;

use serde_json::json;
use stampede_domain::{Durability, UserDigest};
use stampede_engine::{EngineError, EngineSettings};
use stampede_testkit::{AppOptions, Redis, RedisOptions, TestApp};

/// A service that gives up a wait soon.
async fn start() -> TestApp {
    let engine = EngineSettings { durability_wait: Duration::from_secs(2), ..EngineSettings::default() };
    TestApp::start_with(AppOptions { engine, ..AppOptions::default() }).await
}

/// Gives the service's Redis a replica that must be there, and waits until the service has found that out.
async fn with_replica(app: &mut TestApp) -> Redis {
    let primary = app.redis();
    assert_eq!(primary.cli(&["CONFIG", "SET", "repl-diskless-sync-delay", "0", "min-replicas-to-write", "1"]), "OK");
    let replica_of = Some(primary.port());
    let options = RedisOptions { append_fsync: Some("everysec"), replica_of, ..RedisOptions::default() };
    let replica = Redis::start_with(options).await;
    replica.wait_until_level_with(primary).await;
    let offered =
        |app: &TestApp| app.engine.shards().all(|shard| app.engine.offers(shard, Durability::Replica).is_ok());
    // A first replica changes the token, which costs an empty recovery.
    while !offered(app) || !app.engine.fenced_shards().await.is_ok_and(|fenced| fenced.is_empty()) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    replica
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drop_that_wants_more_than_the_server_can_keep_is_not_created() {
    let mut app = start().await;
    let product = json!({"sku": "A", "name": "A", "price": {"amount_minor": 1, "currency": "EUR"}});
    let body = |durability: &str| json!({"id": "careful", "mode": "instant", "stock_units": 5, "product": product, "durability": durability});
    let refused = app.operator().post("/drops", &body("replica")).await.expect_problem(422, "invalid-request");
    assert_eq!(refused.text("/errors/0/pointer"), "/durability");
    assert!(refused.text("/errors/0/detail").contains("no replica"), "{:?}", refused.body);
    let refused = app.operator().post("/drops", &body("disk")).await.expect_problem(422, "invalid-request");
    assert_eq!(refused.text("/errors/0/pointer"), "/durability");
    app.operator().get("/drops/careful").await.expect_problem(404, "not-found");

    let _replica = with_replica(&mut app).await;
    let created = app.operator().post("/drops", &body("replica")).await.expect(201);
    assert_eq!(created.text("/durability"), "replica");
    assert_eq!(app.operator().get("/drops/careful").await.expect(200).text("/durability"), "replica");
    app.operator().create_drop("plain", 5, 1, &json!({})).await;
    assert_eq!(app.operator().get("/drops/plain").await.expect(200).text("/durability"), "memory", "the deployment's");
    app.shopper("a").order("careful", 1, "k").await.expect(201);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_replica_lacks_is_neither_confirmed_nor_shown() {
    let mut app = start().await;
    let replica = with_replica(&mut app).await;
    let operator = app.operator();
    let drop = operator.create_drop("careful", 5, 1, &json!({"durability": "replica", "cancellable_for_s": 300})).await;
    assert_eq!(drop.text("/durability"), "replica");
    let (early, late) = (app.shopper("early"), app.shopper("late"));
    let archived = early.order("careful", 1, "k").await.expect(201).text("/id").to_owned();
    while app.archive.order(archived.parse().expect("an id")).await.expect("readable").is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    replica.freeze();
    late.order("careful", 1, "k").await.expect_problem(503, "outcome-unknown");
    // It is there, and may yet be lost: so it is told to nobody.
    let id = order_of(&app, "late").await;
    late.get(&format!("/orders/{id}")).await.expect_problem(503, "unavailable");
    late.get("/orders").await.expect_problem(503, "unavailable");
    operator.get("/orders?drop_id=careful").await.expect_problem(503, "unavailable");
    // What the archive has is told at once.
    early.get(&format!("/orders/{archived}")).await.expect(200);
    assert_eq!(early.get("/orders").await.expect(200).body["items"].as_array().map(Vec::len), Some(1));

    replica.thaw();
    let replayed = loop {
        let answer = late.order("careful", 1, "k").await;
        if answer.status == 201 {
            break answer;
        }
        assert_eq!(answer.status, 503, "{:?}", answer.body);
    };
    assert_eq!((replayed.text("/id"), replayed.header("idempotent-replayed")), (id.as_str(), "true"));
    assert_eq!(late.get(&format!("/orders/{id}")).await.expect(200).body, replayed.body);
    let listed = operator.get("/orders?drop_id=careful").await.expect(200);
    assert_eq!(listed.body["items"].as_array().map(Vec::len), Some(2));
    app.finish().await;
}

/// The id of the user's order, as Redis has it.
async fn order_of(app: &TestApp, user: &str) -> String {
    let (drop, user) = ("careful".parse().expect("an id"), user.parse().expect("a user id"));
    let asked = [(drop, UserDigest::of(&user))];
    let shard = app.engine.shard_of(&asked[0].0);
    let read = app.engine.user_grants(shard, &asked).await.expect("readable").remove(0);
    let (terms, records) = read.grants.expect("the drop is there");
    let confirmed = app.engine.confirm(&read.source, terms.durability).await;
    assert_eq!(confirmed, Err(EngineError::OutcomeUnknown));
    app.engine.order_of(shard, &user, &terms, &records[0]).id.to_string()
}
