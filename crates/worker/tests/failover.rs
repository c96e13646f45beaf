//! A replica takes over, or a slot moves: the sale goes on, and no unit is sold twice.

mod support;

use std::time::Duration;

use stampede_domain::{ClosedBy, LogId, Phase, Timestamp, Window};
use stampede_engine::{Decision, DropChange, DropChanged, EngineError, Refusal};
use stampede_testkit::{Redis, RedisCluster, RedisOptions, Sentinels};
use support::sale::{Loss, Sale};
use support::{definition, drop_now, request};

const HOUR_MS: u64 = 3_600_000;
const META: &str = "{s00}:meta";
const PATIENCE: Duration = Duration::from_secs(30);
/// More than the crowd buys while servers are replaced.
const STOCK: u32 = 3_000;

fn with_files() -> RedisOptions {
    RedisOptions { append_fsync: Some("always"), ..RedisOptions::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_loses_a_primary_sells_on() {
    let mut cluster = RedisCluster::start_with_replicas(3, 1, RedisOptions::default()).await;
    let sale = Sale::start(&cluster.url(), STOCK).await;
    let mut crowd = sale.crowd();
    crowd.more(100).await;
    let (old, kept) = (cluster.node_of(META), sale.archived_ids().await);
    cluster.nodes_mut()[old].kill().await;
    cluster.wait_until_healed().await;
    assert_ne!(cluster.node_of(META), old);
    sale.until("the shard is recovered", async |sale| sale.is_whole().await).await;
    let before = crowd.answered();
    crowd.more(50).await;
    cluster.nodes_mut()[old].restart().await;
    cluster.wait_until_healed().await;
    sale.assert_sold_out(crowd, Loss::Tail, &kept, before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clusters_primary_that_stands_still_is_replaced() {
    let cluster = RedisCluster::start_with_replicas(3, 1, RedisOptions::default()).await;
    let sale = Sale::start(&cluster.url(), STOCK).await;
    let mut crowd = sale.crowd();
    crowd.more(100).await;
    let (old, kept) = (cluster.node_of(META), sale.archived_ids().await);
    cluster.nodes()[old].freeze();
    cluster.wait_until_healed().await;
    sale.until("the shard is recovered", async |sale| sale.is_whole().await).await;
    let before = crowd.answered();
    crowd.more(50).await;
    // It runs what was sent to it, and is told at once that it is a replica.
    cluster.nodes()[old].thaw();
    cluster.wait_until_healed().await;
    assert!(!cluster.nodes()[old].is_primary());
    sale.assert_sold_out(crowd, Loss::Tail, &kept, before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_replace_a_primary_and_everybody_follows() {
    let sentinels = Sentinels::start(1).await;
    let sale = Sale::start(&sentinels.url(), STOCK).await;
    let watched = sale.open(definition(&in_the_shard_of(&sale, "watched"), 1, 1)).await;
    let mut crowd = sale.crowd();
    let mut changes = sale.engine.changes();
    crowd.more(100).await;
    let (kept, epoch) = (sale.archived_ids().await, sale.epoch().await.expect("trusted"));
    // The new primary knows no script; nor does it after it was told to forget them.
    sentinels.nodes()[1].cli(&["SCRIPT", "FLUSH"]);
    assert_eq!(sentinels.fail_over().await, 1);
    sale.until("the shard is recovered", async |sale| sale.epoch().await > Some(epoch)).await;
    let before = crowd.answered();
    crowd.more(50).await;
    sentinels.nodes()[1].cli(&["SCRIPT", "FLUSH"]);
    crowd.more(50).await;
    // Those who watch the drop hear of it from the new primary.
    sale.until("a message comes through", async |sale| {
        sale.engine.change_drop(&watched.id, &DropChange::Pause).await.expect("paused");
        sale.engine.change_drop(&watched.id, &DropChange::Resume).await.expect("resumed");
        let heard = tokio::time::timeout(Duration::from_millis(200), async {
            while changes.next().await != Some(DropChanged::One(watched.id.clone())) {}
        });
        heard.await.is_ok()
    })
    .await;
    sale.assert_sold_out(crowd, Loss::Tail, &kept, before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_primary_is_replaced_and_comes_back_as_a_replica() {
    let mut sentinels = Sentinels::start_with(1, with_files()).await;
    let sale = Sale::start(&sentinels.url(), STOCK).await;
    let mut crowd = sale.crowd();
    crowd.more(100).await;
    let kept = sale.archived_ids().await;
    sentinels.nodes_mut()[0].kill().await;
    sentinels.wait_until_replaced(0).await;
    sale.until("the shard is recovered", async |sale| sale.is_whole().await).await;
    let before = crowd.answered();
    crowd.more(50).await;
    sentinels.nodes_mut()[0].restart().await;
    sentinels.wait_until_healed().await;
    sale.assert_sold_out(crowd, Loss::Tail, &kept, before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_primary_that_stood_still_grants_afterwards_never_counts() {
    let sentinels = Sentinels::start(1).await;
    let sale = Sale::start(&sentinels.url(), STOCK).await;
    // Processes that only reach the old primary: a shopper's, and one whose persister writes what it finds there.
    let alone = sale.process(&sentinels.nodes()[0].url()).await;
    let mut crowd = sale.crowd();
    crowd.more(100).await;
    let kept = sale.archived_ids().await;
    sentinels.nodes()[0].freeze();
    sentinels.wait_until_replaced(0).await;
    sale.until("the shard is recovered", async |sale| sale.is_whole().await).await;
    let before = crowd.answered();
    crowd.more(50).await;

    // It thaws, and takes itself for the primary until the sentinels have told it.
    sentinels.nodes()[0].thaw();
    assert!(sentinels.nodes()[0].is_primary());
    let Ok(Decision::Granted(late)) = alone.place_order(request(&sale.drop, "late", "key"), PATIENCE).await else {
        panic!("the old primary does not know better")
    };
    let entries = alone.read_untrusted_log(sale.shard(), None, 10_000).await.expect("readable");
    let facts: Vec<_> = entries.iter().flat_map(|entry| entry.facts().expect("readable")).collect();
    assert!(facts.iter().any(|fact| fact.order().is_some_and(|order| order.id == late.id)));
    assert_eq!(sale.archive.insert_facts(&facts).await.expect("the archive takes all evidence"), vec![]);

    sentinels.wait_until_healed().await;
    let refused = alone.place_order(request(&sale.drop, "later", "key"), Duration::ZERO).await;
    assert_eq!(refused, Err(EngineError::ShardMoving), "a replica decides nothing");
    let read = alone.read_drops(sale.shard(), std::slice::from_ref(&sale.drop.id)).await;
    assert_eq!(read.err(), Some(EngineError::ShardMoving), "nor does it tell what it may not know");
    sale.assert_sold_out(crowd, Loss::Tail, &kept, before).await;
    assert_eq!(sale.archive.order(late.id).await.expect("readable"), None, "an orphan");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_an_older_file_that_is_promoted_sells_nothing_twice() {
    let mut sentinels = Sentinels::start_with(1, with_files()).await;
    let sale = Sale::start(&sentinels.url(), STOCK).await;
    let mut crowd = sale.crowd();
    crowd.more(100).await;
    sentinels.nodes_mut()[0].kill().await;
    sentinels.wait_until_replaced(0).await;
    crowd.more(100).await;
    let kept = sale.archived_ids().await;
    // What was sold since is gone from every server; the archive has nearly all of it.
    sentinels.nodes_mut()[1].kill().await;
    sentinels.nodes_mut()[0].restart().await;
    sentinels.wait_until_replaced(1).await;
    sale.until("the shard is recovered", async |sale| sale.is_whole().await).await;
    let before = crowd.answered();
    sale.assert_sold_out(crowd, Loss::Tail, &kept, before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demoted_primary_that_is_promoted_again_sells_nothing_twice() {
    let first = Redis::start().await;
    let mut second =
        Redis::start_with(RedisOptions { replica_of: Some(first.port()), ..RedisOptions::default() }).await;
    let mut sale = Sale::start(&first.url(), 3).await;
    let sold = |decision: Result<Decision, EngineError>| match decision {
        Ok(Decision::Granted(order)) => order,
        other => panic!("not granted: {other:?}"),
    };
    let a = sold(sale.order("a", PATIENCE).await);
    sale.drain().await;
    second.wait_until_level_with(&first).await;
    let run_id = |redis: &Redis| {
        redis.cli(&["INFO", "server"]).lines().find(|line| line.starts_with("run_id")).map(str::to_owned)
    };
    let (token, run) = (token(&sale).await, run_id(&first));

    // The replica is cut off and leads; two units are sold there.
    sale.stop_workers().await;
    second.lead();
    let there = sale.process(&second.url()).await;
    sale.start_workers(&second.url()).await;
    let b = sold(there.place_order(request(&sale.drop, "b", "key"), PATIENCE).await);
    let c = sold(there.place_order(request(&sale.drop, "c", "key"), PATIENCE).await);
    sale.until("both are archived", async |sale| sale.archived().await.len() == 3).await;
    sale.stop_workers().await;

    // The first one is made a replica, cannot learn anything, and is promoted again: the same process, with older data.
    first.follow(&second);
    second.kill().await;
    first.lead();
    assert_eq!(run_id(&first), run);
    assert_eq!(sale.order("d", Duration::ZERO).await, Err(EngineError::ShardRecovering), "fenced");
    sale.start_workers(&first.url()).await;
    assert_eq!(sale.order("d", PATIENCE).await, Ok(Decision::Refused(Refusal::SoldOut)));
    for (user, order) in [("a", a), ("b", b), ("c", c)] {
        assert_eq!(sale.order(user, PATIENCE).await, Ok(Decision::Replayed(order)));
    }
    assert_ne!(self::token(&sale).await, token);
    sale.drain().await;
    support::assert_agreement(&sale.engine, &*sale.archive, &sale.drop.id).await;
}

async fn token(sale: &Sale) -> String {
    sale.engine.inspect_shard(sale.shard()).await.expect("the server answers").token
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_primary_whose_clock_is_behind_reopens_nothing() {
    let first = Redis::start().await;
    let second = Redis::start_with(RedisOptions { replica_of: Some(first.port()), ..RedisOptions::default() }).await;
    let mut sale = Sale::start(&first.url(), 10).await;
    let now_ms = Timestamp::now().as_ms();
    let ends_at = Some(Timestamp::from_ms(now_ms + HOUR_MS.cast_signed()));
    let mut drops = Vec::new();
    for name in ["seen", "unseen"] {
        let id = in_the_shard_of(&sale, name);
        let window = Window { starts_at: Timestamp::from_ms(0), ends_at };
        drops.push(sale.open(stampede_domain::DropDefinition { window, ..definition(&id, 5, 1) }).await);
    }
    second.wait_until_level_with(&first).await;
    second.lead();

    // From here on the second one knows nothing. The first one's clock, an hour ahead, ends the windows.
    let ahead = LogId { ms: now_ms.cast_unsigned() + HOUR_MS, sequence: 0 };
    first.cli(&["HSET", META, "last_ms", &ahead.ms.to_string(), "last_sequence", "0"]);
    assert_eq!(first.cli(&["XSETID", "{s00}:log", &ahead.to_string()]), "OK");
    let order = |drop: &std::sync::Arc<stampede_engine::DropTerms>| request(drop, "shopper", "key");
    let refused = sale.engine.place_order(order(&drops[0]), PATIENCE).await;
    assert!(matches!(refused, Ok(Decision::Refused(Refusal::NotActive { phase: Phase::Ended, .. }))), "{refused:?}");
    sale.drain().await;
    sale.stop_workers().await;

    let there = sale.process(&second.url()).await;
    sale.start_workers(&second.url()).await;
    for drop in &drops {
        let refused = there.place_order(order(drop), PATIENCE).await;
        assert!(
            matches!(refused, Ok(Decision::Refused(Refusal::NotActive { phase: Phase::Ended, .. }))),
            "{refused:?}"
        );
        assert_eq!(drop_now(&there, &drop.id).await.phase(), Phase::Ended);
        there.change_drop(&drop.id, &DropChange::Close(ClosedBy::Clock)).await.expect("closed");
    }
    let Ok(Decision::Granted(order)) = there.place_order(order(&sale.drop), PATIENCE).await else {
        panic!("a drop without an end goes on")
    };
    assert!(order.id.position().log_id > ahead, "positions go on above all that were seen");
}

fn in_the_shard_of(sale: &Sale, name: &str) -> String {
    let ids = (0..).map(|n: u32| format!("{name}-{n}"));
    ids.into_iter().find(|id| sale.engine.shard_of(&id.parse().expect("an id")) == sale.shard()).expect("endless")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_moves_while_its_shard_sells() {
    let cluster = RedisCluster::start(3).await;
    let sale = Sale::start(&cluster.url(), STOCK).await;
    let mut crowd = sale.crowd();
    crowd.more(100).await;
    let epoch = sale.epoch().await.expect("trusted");
    let to = (cluster.node_of(META) + 1) % 3;
    let moving = cluster.begin_move(META, to);
    // Whatever has moved after the first key, which every script names: the orders wait, and nobody recovers what is only
    // half there.
    let mut keys = moving.keys(&cluster);
    keys.sort_by_key(|key| (key != META, key.contains(":drop:")));
    for key in keys {
        moving.move_key(&cluster, &key);
        let waiting = sale.order("waits", Duration::from_millis(300)).await;
        assert_eq!(waiting, Err(EngineError::ShardMoving), "with {key} at the other node");
    }
    assert_eq!(sale.archive.epoch(sale.shard()).await.expect("readable"), epoch);
    let waiting = sale.order("waits", PATIENCE);
    let finish = async { moving.finish(&cluster) };
    let (decision, ()) = tokio::join!(waiting, finish);
    assert!(matches!(decision, Ok(Decision::Granted(_))), "{decision:?}");
    assert!(sale.epoch().await > Some(epoch), "another process, another token");
    crowd.more(50).await;
    sale.assert_sold_out(crowd, Loss::None, &Default::default(), 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_is_given_up_costs_nothing() {
    let cluster = RedisCluster::start(3).await;
    let sale = Sale::start(&cluster.url(), STOCK).await;
    let mut crowd = sale.crowd();
    crowd.more(100).await;
    let epoch = sale.epoch().await.expect("trusted");
    let moving = cluster.begin_move(META, (cluster.node_of(META) + 1) % 3);
    moving.move_key(&cluster, "{s00}:log");
    moving.move_key(&cluster, &format!("{{s00}}:drop:{}:users", sale.drop.id));
    moving.give_up(&cluster);
    // Keys are missing now, and nothing tells that they will come back.
    assert_eq!(sale.order("waits", Duration::from_millis(500)).await, Err(EngineError::ShardRecovering));
    moving.bring_back(&cluster);
    assert!(matches!(sale.order("waits", PATIENCE).await, Ok(Decision::Granted(_))));
    assert_eq!(sale.epoch().await, Some(epoch));
    sale.assert_sold_out(crowd, Loss::None, &Default::default(), 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_a_move_left_behind_are_rebuilt_from_the_archive() {
    let cluster = RedisCluster::start(3).await;
    let sale =
        Sale::start_with(&cluster.url(), STOCK, |settings| settings.loss_patience = Duration::from_millis(300)).await;
    let mut crowd = sale.crowd();
    crowd.more(100).await;
    let (epoch, kept) = (sale.epoch().await.expect("trusted"), sale.archived_ids().await);
    let moving = cluster.begin_move(META, (cluster.node_of(META) + 1) % 3);
    moving.move_key(&cluster, "{s00}:log");
    moving.move_key(&cluster, &format!("{{s00}}:drop:{}", sale.drop.id));
    moving.give_up(&cluster);
    moving.leave_behind(&cluster);
    sale.until("the shard is rebuilt", async |sale| sale.epoch().await > Some(epoch)).await;
    let before = crowd.answered();
    sale.assert_sold_out(crowd, Loss::Tail, &kept, before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_restarts_while_a_slot_leaves_it_is_not_recovered_before_the_move_is_over() {
    let mut cluster = RedisCluster::start_with(3, with_files()).await;
    let sale = Sale::start(&cluster.url(), STOCK).await;
    let mut crowd = sale.crowd();
    crowd.more(100).await;
    let epoch = sale.epoch().await.expect("trusted");
    let from = cluster.node_of(META);
    let moving = cluster.begin_move(META, (from + 1) % 3);
    moving.move_key(&cluster, &format!("{{s00}}:drop:{}", sale.drop.id));
    cluster.nodes_mut()[from].kill().await;
    cluster.nodes_mut()[from].restart().await;
    cluster.wait_until_ready().await;
    // The other shards of that node are recovered; this one is not touched.
    sale.until("the other shards are recovered", async |sale| {
        sale.engine.fenced_shards().await.is_ok_and(|fenced| fenced == [sale.shard()])
    })
    .await;
    assert!(sale.order("waits", Duration::from_millis(500)).await.is_err());
    assert_eq!(sale.archive.epoch(sale.shard()).await.expect("readable"), epoch);
    while moving.move_keys(&cluster, 10) > 0 {}
    moving.finish(&cluster);
    sale.until("the shard is recovered", async |sale| sale.epoch().await > Some(epoch)).await;
    sale.assert_sold_out(crowd, Loss::None, &Default::default(), 0).await;
}
