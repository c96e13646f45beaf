//! Sells a drop, and says what it cost each Redis: of one stripe on one server, or of several on a cluster of three masters.
//!
//! `striped_cpu STRIPES ORDERS AT_ONCE GROUP` prints a line `RESULT` with JSON: the CPU time of each server by its own account,
//! until the archive (SQLite) has every order, and how many orders a log entry had. The servers are alike but for the cluster.
//! There is no HTTP: so many orders wait at once that groups reach `GROUP`, their bound, in one shard and in three alike.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use serde_json::json;
use stampede_domain::DropId;
use stampede_engine::{Decision, DropTerms, EngineSettings, OrderRequest};
use stampede_testkit::{AppOptions, Redis, TestApp};

const SHARDS: u16 = 12;

#[tokio::main]
async fn main() {
    let arguments: Vec<usize> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let [stripes, orders, at_once, group] = arguments[..] else {
        eprintln!("usage: striped_cpu STRIPES ORDERS AT_ONCE GROUP");
        std::process::exit(2);
    };
    let engine = EngineSettings { group_max_orders: group, ..EngineSettings::default() };
    let options = AppOptions { cluster: stripes > 1, shards: SHARDS, engine, ..AppOptions::default() };
    let app = TestApp::start_with(options).await;
    let drop = open_drop(&app, stripes, orders).await;
    let (cpu_before, entries_before) = (cpu_us(&app), entries(&app).await);
    let started = Instant::now();
    sell(&app, &drop, orders, at_once).await;
    let duration = started.elapsed();
    wait_until_archived(&app).await;
    let spent: Vec<u64> = cpu_us(&app).iter().zip(cpu_before).map(|(after, before)| after - before).collect();
    let per_entry = orders as f64 / (entries(&app).await - entries_before) as f64;
    let duration_us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let result =
        json!({"requests": orders, "duration_us": duration_us, "redis_us": spent, "orders_per_entry": per_entry});
    println!("RESULT {result}");
    app.stop().await;
}

async fn open_drop(app: &TestApp, stripes: usize, orders: usize) -> Arc<DropTerms> {
    let units = u32::try_from(orders).expect("few orders");
    app.operator().create_drop("wide", units, 1, &json!({"stripes": stripes})).await;
    let id: DropId = "wide".parse().expect("an id");
    let reading = app.engine.read_drops(app.engine.shard_of(&id), std::slice::from_ref(&id)).await.expect("readable");
    Arc::new(reading.drops[0].as_ref().expect("it is there").terms())
}

/// Sells to so many users.
async fn sell(app: &TestApp, drop: &Arc<DropTerms>, orders: usize, at_once: usize) {
    let order = |n: usize| {
        let (engine, drop) = (app.engine.clone(), Arc::clone(drop));
        async move {
            let request = OrderRequest {
                drop,
                user_id: format!("shopper-{n:07}").parse().expect("a user id"),
                key: "k".parse().expect("a key"),
                units: 1,
                expected_total: None,
                trace: None,
            };
            matches!(engine.place_order(request, Duration::from_secs(30)).await, Ok(Decision::Granted(_)))
        }
    };
    let decided = stream::iter(0..orders).map(order).buffer_unordered(at_once);
    let granted = decided.filter(|granted| std::future::ready(*granted)).count().await;
    assert_eq!(granted, orders, "each unit is sold");
}

async fn wait_until_archived(app: &TestApp) {
    for shard in app.engine.shards() {
        while app.engine.log_status(shard).await.expect("Redis answers").entries > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Entries of all logs so far.
async fn entries(app: &TestApp) -> u64 {
    let mut entries = 0;
    for shard in app.engine.shards() {
        entries += app.engine.inspect_shard(shard).await.expect("Redis answers").number.unwrap_or_default();
    }
    entries
}

/// The CPU time that each server has spent so far.
fn cpu_us(app: &TestApp) -> Vec<u64> {
    app.nodes().iter().map(node_cpu_us).collect()
}

fn node_cpu_us(redis: &Redis) -> u64 {
    let info = redis.cli(&["INFO", "cpu"]);
    let used = |field: &str| -> f64 {
        let line = info.lines().find_map(|line| line.strip_prefix(field));
        line.and_then(|value| value.trim().parse().ok()).expect("Redis says its CPU time")
    };
    let seconds = used("used_cpu_user:") + used("used_cpu_sys:");
    Duration::from_secs_f64(seconds).as_micros().try_into().unwrap_or(u64::MAX)
}
