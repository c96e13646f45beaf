//! `fsync`: a server that syncs before it answers, or that can be asked whether it has.

use stampede_domain::Durability;
use stampede_engine::{Decision, EngineError, EngineSettings};
use stampede_testkit::{Redis, RedisOptions};

use crate::servers::{Sale, calls, confirmed, knows_waitaof, trust_again};
use crate::support::until;

fn synced(settings: &mut EngineSettings) {
    settings.durability = Durability::Fsync;
}

async fn server(append_fsync: &'static str) -> Redis {
    Redis::start_with(RedisOptions { append_fsync: Some(append_fsync), ..RedisOptions::default() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_confirmed_survives_a_crash_of_the_server() {
    let mut redis = server("always").await;
    let sale = Sale::start(&redis.url(), synced).await;
    let drop = sale.open("crash", None).await;
    let mut epoch = 1;
    for round in 0..3 {
        let order = |n: usize| {
            let user = format!("user-{round}-{n}");
            (user.clone(), tokio::spawn(sale.order(&drop, &user)))
        };
        let mut orders: Vec<_> = (0..50).map(order).collect();
        until("some are confirmed", async || orders.iter().filter(|(_, order)| order.is_finished()).count() > 10).await;
        orders.extend((50..100).map(order));
        redis.kill().await;
        let restarted = async {
            redis.restart().await;
            epoch += 1;
            trust_again(&redis.url(), sale.shard, epoch).await
        };
        let (confirmed, after) = tokio::join!(confirmed(orders), restarted);
        assert!(confirmed.len() > 10);
        for (user, order) in confirmed {
            assert_eq!(after.order(&drop, &user).await, Ok(Decision::Replayed(order)), "{user}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_told_to_sync_less_is_refused() {
    let redis = server("always").await;
    let sale = Sale::start(&redis.url(), synced).await;
    let drop = sale.open("less", None).await;
    let lesser = if knows_waitaof(&redis) { "no" } else { "everysec" };
    let settings =
        [(["appendfsync", lesser], ["appendfsync", "always"]), (["appendonly", "no"], ["appendonly", "yes"])];
    for (n, (wrong, right)) in settings.into_iter().enumerate() {
        sale.order(&drop, &format!("before-{n}")).await.expect("granted");
        let granted = sale.granted(&redis);
        assert_eq!(redis.cli(&["CONFIG", "SET", wrong[0], wrong[1]]), "OK");
        redis.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
        sale.until_refused(Durability::Fsync, wrong[0]).await;
        let refused = sale.order(&drop, "a").await;
        assert!(matches!(&refused, Err(EngineError::Unavailable(reason)) if reason.contains(wrong[0])), "{refused:?}");
        assert_eq!(sale.granted(&redis), granted, "nothing is granted unsafely");
        assert_eq!(redis.cli(&["CONFIG", "SET", right[0], right[1]]), "OK");
        sale.until_refused(Durability::Fsync, "").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_syncs_each_second_is_waited_for_or_refused() {
    let redis = server("everysec").await;
    let sale = Sale::start(&redis.url(), |_| ()).await;
    if !knows_waitaof(&redis) {
        assert!(sale.refusal(Durability::Fsync).contains("WAITAOF"));
        return;
    }
    let drop = sale.open("each", Some(Durability::Fsync)).await;
    let waits = calls(&redis, "waitaof");
    for n in 0..3 {
        assert!(matches!(sale.order(&drop, &format!("user-{n}")).await, Ok(Decision::Granted(_))));
    }
    assert!(calls(&redis, "waitaof") >= waits + 3);
    // A file that is not synced while a wait lasts leaves the outcome open.
    let impatient = Sale {
        engine: crate::support::connect(&redis.url(), |settings| {
            settings.durability_wait = std::time::Duration::from_millis(1);
        })
        .await,
        shard: sale.shard,
    };
    let mut unknown = 0;
    for n in 0..20 {
        unknown += usize::from(impatient.order(&drop, &format!("soon-{n}")).await == Err(EngineError::OutcomeUnknown));
    }
    assert!(unknown > 0, "a sync each second was never waited for");
}
