//! `replica`: what waits, what is refused, and what survives the primary.

use std::time::Duration;

use stampede_domain::{CancelledBy, Durability, GrantState, KeyDigest};
use stampede_engine::{
    Cancellation, Decision, DropChange, DropChangeOutcome, EngineError, EngineSettings, OrderRef, Refusal,
};
use stampede_testkit::Redis;

use crate::servers::{Sale, calls, confirmed, options, replica_of, trust_again, waiting};
use crate::support::{connect, request, until};

/// A primary and its replica, each with a file.
async fn pair() -> (Redis, Redis) {
    let primary = Redis::start_with(options(1)).await;
    let replica = replica_of(&primary, Some("everysec")).await;
    (primary, replica)
}

/// A deployment that waits for its replicas, and gives up soon.
fn impatient(settings: &mut EngineSettings) {
    settings.durability = Durability::Replica;
    settings.durability_wait = Duration::from_secs(1);
}

/// The same, and does not give up.
fn patient(settings: &mut EngineSettings) {
    settings.durability = Durability::Replica;
    settings.durability_wait = Duration::from_secs(60);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_frozen_replica_lacks_is_unknown_until_it_has_it() {
    let (primary, replica) = pair().await;
    let sale = Sale::start(&primary.url(), impatient).await;
    let drop = sale.open("frozen", None).await;
    let Ok(Decision::Granted(first)) = sale.order(&drop, "a").await else { panic!("the replica is there") };
    let Ok(Decision::Granted(second)) = sale.order(&drop, "b").await else { panic!("the replica is there") };

    replica.freeze();
    let cancelled = OrderRef::from(&second);
    let restock = DropChange::Restock { key: KeyDigest([1; 8]), units: 5 };
    let (grant, replay, cancel, change, refusal) = tokio::join!(
        sale.order(&drop, "c"),
        sale.order(&drop, "a"),
        sale.engine.cancel_order(&cancelled, CancelledBy::Shopper),
        sale.engine.change_drop(&drop.id, &restock),
        sale.engine.place_order(request(&drop, "d", "k", 6), Duration::ZERO),
    );
    assert_eq!(grant, Err(EngineError::OutcomeUnknown));
    assert_eq!(replay, Err(EngineError::OutcomeUnknown), "a replay waits as a grant does");
    assert_eq!(cancel, Err(EngineError::OutcomeUnknown));
    assert_eq!(change.err(), Some(EngineError::OutcomeUnknown));
    assert_eq!(
        refusal,
        Ok(Decision::Refused(Refusal::LimitReached { limit: 5, owned: 0 })),
        "a refusal waits for nothing"
    );
    assert_eq!(sale.granted(&primary), 3);

    replica.thaw();
    sale.until_refused(Durability::Replica, "").await;
    until("the replica has caught up", async || matches!(sale.order(&drop, "c").await, Ok(Decision::Replayed(_))))
        .await;
    assert_eq!(sale.order(&drop, "a").await, Ok(Decision::Replayed(first)));
    let again = sale.engine.cancel_order(&cancelled, CancelledBy::Shopper).await;
    assert_eq!(again, Ok(Cancellation::Already(GrantState::Cancelled)));
    let again = sale.engine.change_drop(&drop.id, &restock).await;
    let Ok(DropChangeOutcome::Unchanged(live)) = again else { panic!("{again:?}") };
    assert_eq!((live.total_units, live.sold_units), (1_005, 2));
    assert_eq!(sale.granted(&primary), 3, "nothing was granted twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_decided_during_a_wait_and_share_the_next() {
    let (primary, replica) = pair().await;
    let sale = Sale::start(&primary.url(), patient).await;
    let drop = sale.open("groups", None).await;
    sale.order(&drop, "first").await.expect("granted");
    let (waits, groups) = (calls(&primary, "wait"), calls(&primary, "evalsha"));
    replica.freeze();
    let mut orders = Vec::new();
    for n in 0..20 {
        orders.push(tokio::spawn(sale.order(&drop, &format!("user-{n}"))));
        // Each in a group of its own, although no answer was given yet.
        until("the order is granted", async || sale.granted(&primary) == n + 2).await;
    }
    assert!(orders.iter().all(|order| !order.is_finished()), "answered before the replica has it");
    replica.thaw();
    for order in orders {
        assert!(matches!(order.await.expect("no panic"), Ok(Decision::Granted(_))));
    }
    assert_eq!(calls(&primary, "evalsha") - groups, 20);
    let waits = calls(&primary, "wait") - waits;
    assert!(waits < 10, "{waits} waits for 20 groups");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_without_its_replica_grants_nothing() {
    let (primary, mut replica) = pair().await;
    let sale = Sale::start(&primary.url(), impatient).await;
    let drop = sale.open("short", None).await;
    sale.order(&drop, "a").await.expect("granted");
    replica.kill().await;
    until("the primary has noticed", async || primary.cli(&["INFO", "replication"]).contains("connected_slaves:0"))
        .await;
    // Redis refuses before it grants, and so does the process as soon as it has looked.
    let refused = sale.order(&drop, "b").await;
    assert!(matches!(&refused, Err(EngineError::Unavailable(_))), "{refused:?}");
    sale.until_refused(Durability::Replica, "no replica").await;
    let scripts = calls(&primary, "evalsha");
    let refused = sale.order(&drop, "b").await;
    assert!(matches!(&refused, Err(EngineError::Unavailable(reason)) if reason.contains("no replica")), "{refused:?}");
    assert_eq!(calls(&primary, "evalsha"), scripts, "no script was called");
    assert_eq!(sale.granted(&primary), 1);
    replica.restart().await;
    sale.until_refused(Durability::Replica, "").await;
    assert!(matches!(sale.order(&drop, "b").await, Ok(Decision::Granted(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_more_must_be_waited_for_too() {
    let (primary, first) = pair().await;
    let sale = Sale::start(&primary.url(), impatient).await;
    let drop = sale.open("more", None).await;
    let second = replica_of(&primary, Some("everysec")).await;
    sale.until_refused(Durability::Replica, "set it to 2").await;
    assert_eq!(primary.cli(&["CONFIG", "SET", "min-replicas-to-write", "2"]), "OK");
    sale.until_refused(Durability::Replica, "").await;
    sale.order(&drop, "a").await.expect("granted");
    for replica in [&first, &second] {
        replica.freeze();
        assert_eq!(sale.order(&drop, "a").await, Err(EngineError::OutcomeUnknown), "one of two is not enough");
        replica.thaw();
        until("both have it", async || sale.order(&drop, "a").await.is_ok()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_is_the_first_command_of_its_connection_does_not_count() {
    let (primary, replica) = pair().await;
    let sale = Sale::start(&primary.url(), patient).await;
    let drop = sale.open("first", None).await;
    replica.freeze();
    let order = tokio::spawn(sale.order(&drop, "a"));
    let mut killed = 0;
    for _ in 0..3 {
        until("it is waited for, on a new connection", async || waiting(&primary).is_some_and(|id| id > killed)).await;
        assert!(!order.is_finished());
        killed = waiting(&primary).expect("it waits");
        assert_eq!(primary.cli(&["CLIENT", "KILL", "ID", &killed.to_string()]), "1");
    }
    until("it is waited for once more", async || waiting(&primary).is_some_and(|id| id > killed)).await;
    assert!(!order.is_finished());
    replica.thaw();
    let granted = order.await.expect("no panic");
    assert!(matches!(granted, Ok(Decision::Granted(_))), "{granted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_at_a_server_that_is_replaced_is_unknown() {
    let (primary, replica) = pair().await;
    let sale = Sale::start(&primary.url(), |settings| {
        patient(settings);
        settings.durability_wait = Duration::from_secs(10);
    })
    .await;
    let drop = sale.open("replaced", None).await;
    replica.freeze();
    let order = tokio::spawn(sale.order(&drop, "a"));
    until("it is waited for", async || waiting(&primary).is_some()).await;
    // Demoted and promoted again: the same process, with another token.
    let nobody = stampede_testkit::free_port().to_string();
    assert_eq!(primary.cli(&["REPLICAOF", "127.0.0.1", &nobody]), "OK");
    primary.lead();
    replica.thaw();
    replica.wait_until_level_with(&primary).await;
    // The replica holds the order now, and yet nobody can say what the promotion cost.
    assert_eq!(order.await.expect("no panic"), Err(EngineError::OutcomeUnknown));
    let sale = trust_again(&primary.url(), sale.shard, 2).await;
    assert!(matches!(sale.order(&drop, "a").await, Ok(Decision::Replayed(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_confirmed_survives_the_primary() {
    let (mut primary, replica) = pair().await;
    let sale = Sale::start(&primary.url(), impatient).await;
    let drop = sale.open("survives", None).await;
    let order = |n: usize| {
        let user = format!("user-{n}");
        (user.clone(), tokio::spawn(sale.order(&drop, &user)))
    };
    let mut orders: Vec<_> = (0..100).map(order).collect();
    until("some are confirmed", async || orders.iter().filter(|(_, order)| order.is_finished()).count() > 20).await;
    orders.extend((100..200).map(order));
    primary.kill().await;
    let confirmed = confirmed(orders).await;
    assert!(confirmed.len() > 20);
    replica.lead();
    let after = trust_again(&replica.url(), sale.shard, 2).await;
    for (user, order) in confirmed {
        assert_eq!(after.order(&drop, &user).await, Ok(Decision::Replayed(order)), "{user}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drop_may_ask_for_more_than_the_deployment_or_less() {
    let (primary, replica) = pair().await;
    let soon = |settings: &mut EngineSettings| settings.durability_wait = Duration::from_secs(1);
    let sale = Sale::start(&primary.url(), soon).await;
    let (plain, careful) = (sale.open("plain", None).await, sale.open("careful", Some(Durability::Replica)).await);
    let read = sale.engine.read_drops(sale.shard, std::slice::from_ref(&careful.id)).await.expect("readable");
    assert_eq!(read.drops[0].as_ref().expect("there").durability, Some(Durability::Replica));
    let waiting = Sale { engine: connect(&primary.url(), impatient).await, shard: sale.shard };
    let careless = waiting.open("careless", Some(Durability::Memory)).await;
    let other = connect(&primary.url(), soon).await;
    replica.freeze();
    let (of_plain, of_careful, of_careless, of_waiting, paused) = tokio::join!(
        sale.order(&plain, "a"),
        sale.order(&careful, "a"),
        waiting.order(&careless, "a"),
        waiting.order(&plain, "b"),
        // Another process finds in Redis what the drop says.
        other.change_drop(&careful.id, &DropChange::Resume),
    );
    assert!(matches!(of_plain, Ok(Decision::Granted(_))), "{of_plain:?}");
    assert_eq!(of_careful, Err(EngineError::OutcomeUnknown));
    assert!(matches!(of_careless, Ok(Decision::Granted(_))), "{of_careless:?}");
    assert_eq!(of_waiting, Err(EngineError::OutcomeUnknown));
    assert_eq!(paused.err(), Some(EngineError::OutcomeUnknown));
    replica.thaw();
}
