//! What a striped drop costs each master of a cluster, against what the same orders cost one Redis.
//!
//! `cargo run -p stampede-api --release --example striped_cpu [ORDERS] [AT_ONCE] [GROUP]`, with the persister and SQLite running,
//! prints the seconds of CPU that each server spent, by its own account. An order costs less in a larger group, and where this
//! process is the bottleneck three masters get smaller groups than one; `GROUP` bounds the groups of both to one size.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use serde_json::json;
use stampede_domain::DropId;
use stampede_engine::{Decision, EngineSettings, OrderRequest};
use stampede_testkit::{AppOptions, Redis, TestApp};

const SHARDS: u16 = 12;

#[tokio::main]
async fn main() {
    let number = |place: usize, default: usize| {
        std::env::args().nth(place).map_or(default, |text| text.parse().expect("a number"))
    };
    let (orders, at_once, group) = (number(1, 60_000), number(2, 600), number(3, stampede_domain::MAX_GROUP_ORDERS));
    let one = run(false, 1, orders, at_once, group).await;
    let three = run(true, 3, orders, at_once, group).await;
    let (whole, mean) = (one[0], three.iter().sum::<f64>() / three.len() as f64);
    println!("one Redis: {whole:.2} s for {orders} orders, {at_once} at a time");
    for (node, seconds) in three.iter().enumerate() {
        let (share, even) = (100.0 * seconds / whole, 100.0 * (seconds / mean - 1.0));
        println!("master {node}: {seconds:.2} s, {share:.0} % of it, {even:+.1} % of even");
    }
}

/// Sells to so many users and returns the CPU time of each server, in seconds.
async fn run(cluster: bool, stripes: u16, orders: usize, at_once: usize, group: usize) -> Vec<f64> {
    let engine = EngineSettings { group_max_orders: group, ..EngineSettings::default() };
    let app = TestApp::start_with(AppOptions { cluster, shards: SHARDS, engine, ..AppOptions::default() }).await;
    app.operator().create_drop("wide", u32::try_from(orders).expect("few"), 1, &json!({"stripes": stripes})).await;
    let id: DropId = "wide".parse().expect("an id");
    let reading = app.engine.read_drops(app.engine.shard_of(&id), std::slice::from_ref(&id)).await.expect("readable");
    let drop = std::sync::Arc::new(reading.drops[0].as_ref().expect("it is there").terms());
    let before: Vec<f64> = app.nodes().iter().map(cpu_s).collect();
    let started = Instant::now();
    let granted = stream::iter(0..orders)
        .map(|n| {
            let (engine, drop) = (app.engine.clone(), std::sync::Arc::clone(&drop));
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
        })
        .buffer_unordered(at_once)
        .filter(|granted| std::future::ready(*granted))
        .count()
        .await;
    assert_eq!(granted, orders, "each unit is sold");
    let rate = orders as f64 / started.elapsed().as_secs_f64();
    println!("{stripes} stripes: {rate:.0} orders/s");
    let after: Vec<f64> = app.nodes().iter().map(cpu_s).collect();
    app.finish().await;
    after.iter().zip(before).map(|(after, before)| after - before).collect()
}

/// The CPU time that a server has spent so far.
fn cpu_s(redis: &Redis) -> f64 {
    let info = redis.cli(&["INFO", "cpu"]);
    let used = |field: &str| -> f64 {
        let line = info.lines().find_map(|line| line.strip_prefix(field));
        line.and_then(|value| value.trim().parse().ok()).expect("Redis says its CPU time")
    };
    used("used_cpu_user:") + used("used_cpu_sys:")
}
