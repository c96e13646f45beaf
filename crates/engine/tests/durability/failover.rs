//! Where Sentinel or a cluster may promote another server by itself.

use std::time::Duration;

use stampede_domain::{Durability, Shard};
use stampede_engine::{Decision, EngineError, EngineSettings, Keys};
use stampede_testkit::{Redis, RedisCluster, RedisOptions, Sentinels};

use crate::servers::{Sale, lines, trust_again};
use crate::support::until;

fn options(replicas: &str) -> RedisOptions {
    let extra = lines(&[("min-replicas-to-write", replicas)]);
    RedisOptions { append_fsync: Some("everysec"), extra, ..RedisOptions::default() }
}

fn impatient(settings: &mut EngineSettings) {
    settings.durability = Durability::Replica;
    settings.durability_wait = Duration::from_secs(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinel_names_the_replicas_that_are_waited_for() {
    let mut service = Sentinels::start_with(2, options("2")).await;
    let sale = Sale::start(&service.url(), impatient).await;
    assert!(sale.refusal(Durability::Fsync).contains("Sentinel"));
    let drop = sale.open("sentinel", None).await;
    let Ok(Decision::Granted(order)) = sale.order(&drop, "a").await else { panic!("both replicas are there") };

    let primary = service.primary().expect("a primary");
    let other = (0..3).find(|index| *index != primary).expect("a replica");
    service.nodes()[other].freeze();
    assert_eq!(sale.order(&drop, "a").await, Err(EngineError::OutcomeUnknown), "one of two is not enough");
    service.nodes()[other].thaw();
    until("both have it", async || sale.order(&drop, "a").await.is_ok()).await;

    // One that is away may be promoted when it is back.
    service.nodes_mut()[other].kill().await;
    sale.until_refused(Durability::Replica, "2 of its replicas may be promoted, and 1 are connected").await;
    let granted = sale.granted(&service.nodes()[primary]);
    assert!(matches!(sale.order(&drop, "b").await, Err(EngineError::Unavailable(_))));
    assert_eq!(sale.granted(&service.nodes()[primary]), granted);
    service.nodes_mut()[other].restart().await;
    service.wait_until_healed().await;
    sale.until_refused(Durability::Replica, "").await;

    // What was confirmed is at the next primary, and the gate finds its way there.
    service.fail_over().await;
    service.wait_until_healed().await;
    trust_again(&service.url(), sale.shard, 2).await;
    sale.until_refused(Durability::Replica, "").await;
    until(
        "the sale goes on",
        async || matches!(sale.order(&drop, "a").await, Ok(Decision::Replayed(found)) if found == order),
    )
    .await;
    until("it grants again", async || sale.order(&drop, "c").await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_primary_of_a_cluster_waits_for_its_own_replicas() {
    let mut cluster = RedisCluster::start_with_replicas(3, 1, options("1")).await;
    let shards: Vec<Shard> = (0..64).map(|number| Shard::new(number).expect("in range")).collect();
    let primary_of =
        |cluster: &RedisCluster, shard: Shard| cluster.primary_of(&Keys::of(shard).meta).expect("a primary");
    let one = shards[0];
    let two =
        *shards.iter().find(|shard| primary_of(&cluster, **shard) != primary_of(&cluster, one)).expect("elsewhere");
    let (one, two) = (Sale::on(&cluster.url(), one, impatient).await, Sale::on(&cluster.url(), two, impatient).await);
    assert!(one.refusal(Durability::Fsync).contains("the cluster"));
    let (first, second) = (one.open("one", None).await, two.open("two", None).await);
    let Ok(Decision::Granted(order)) = one.order(&first, "a").await else { panic!("its replica is there") };
    two.order(&second, "a").await.expect("granted");

    // The replica of one primary says nothing of the other.
    let primary = primary_of(&cluster, one.shard);
    let replica = replica_of(&cluster, primary);
    cluster.nodes()[replica].freeze();
    assert_eq!(one.order(&first, "a").await, Err(EngineError::OutcomeUnknown));
    assert!(two.order(&second, "a").await.is_ok());
    cluster.nodes()[replica].thaw();
    until("it has caught up", async || one.order(&first, "a").await.is_ok()).await;

    // What was confirmed is at the replica that takes over; it has no replica of its own, so it grants nothing.
    cluster.nodes_mut()[primary].kill().await;
    cluster.wait_until_healed().await;
    assert_eq!(primary_of(&cluster, one.shard), replica);
    one.until_refused(Durability::Replica, "no replica").await;
    cluster.nodes_mut()[primary].restart().await;
    cluster.wait_until_healed().await;
    trust_again(&cluster.url(), one.shard, 2).await;
    until(
        "the sale goes on",
        async || matches!(one.order(&first, "a").await, Ok(Decision::Replayed(found)) if found == order),
    )
    .await;
}

/// The index of the node that follows this one.
fn replica_of(cluster: &RedisCluster, primary: usize) -> usize {
    let follows = |node: &Redis| {
        let port = cluster.nodes()[primary].port().to_string();
        node.cli(&["ROLE"]).lines().nth(2) == Some(&port)
    };
    cluster.nodes().iter().position(follows).expect("a replica")
}
