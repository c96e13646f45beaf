//! A sale goes on while every process of it is stopped and started again, one after another.

use std::collections::{BTreeMap, HashSet};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use stampede_archive::{Archive, ArchiveUrl, OrderFilter};
use stampede_domain::OrderId;
use stampede_testkit::{MongoServer, Redis, free_port};
use tokio::task::JoinSet;

use super::support::{Api, LIMIT, Running, run, signal, stampede};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// Shoppers at a time.
const CLIENTS: usize = 6;
/// Each shopper's orders, each with a key of its own.
const ORDERS_EACH: usize = 20;
const SHOPPERS: usize = 5_000;
/// How often every process is restarted.
const ROUNDS: usize = 2;

/// What a client was told.
#[derive(Default)]
struct Told {
    /// The order that each shopper's key was granted.
    confirmed: BTreeMap<(usize, usize), OrderId>,
    /// Attempts that had another answer, or none.
    repeated: u64,
}

/// Shoppers who ask one process, and the other one if that does not answer.
struct Shoppers {
    client: Client,
    origins: [String; 2],
    tokens: Vec<String>,
    next: AtomicU64,
    done: AtomicBool,
    confirmed: AtomicU64,
}

impl Shoppers {
    async fn buy(self: Arc<Self>) -> Told {
        let mut told = Told::default();
        while !self.done.load(Ordering::Relaxed) {
            let shopper = usize::try_from(self.next.fetch_add(1, Ordering::Relaxed)).expect("few");
            for key in 0..ORDERS_EACH {
                let order = self.order(shopper, key, &mut told.repeated).await;
                told.confirmed.insert((shopper, key), order);
                self.confirmed.fetch_add(1, Ordering::Relaxed);
                // Asked again, of the other process: the same order.
                if key % 5 == 0 {
                    assert_eq!(self.order(shopper, key, &mut told.repeated).await, order);
                }
            }
        }
        told
    }

    /// Sends an order with its key until it is confirmed.
    async fn order(&self, shopper: usize, key: usize, repeated: &mut u64) -> OrderId {
        let deadline = Instant::now() + LIMIT;
        loop {
            let origin = &self.origins[usize::try_from(*repeated).expect("few") % 2];
            let request = self.client.post(format!("{origin}/api/v1/orders")).bearer_auth(&self.tokens[shopper]);
            let request =
                request.header("Idempotency-Key", format!("key-{key}")).json(&json!({ "drop_id": "rolling" }));
            if let Ok(answer) = request.send().await {
                let status = answer.status();
                // A process that ends between the answer's head and its body tells as little as one that does not answer.
                if let Ok(body) = answer.json::<Value>().await {
                    match status {
                        StatusCode::CREATED => {
                            return body["id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
                        }
                        StatusCode::SERVICE_UNAVAILABLE => assert_eq!(body["retryable"], true, "{body}"),
                        _ => panic!("{status}: {body}"),
                    }
                }
            }
            *repeated += 1;
            assert!(Instant::now() < deadline, "order {key} of shopper {shopper} is not confirmed");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn restarting_every_process_in_turn_loses_and_doubles_nothing() {
    let redis = Redis::start().await;
    let archive_url = MongoServer::shared().database("rolling").url;
    let role = |args: &[&str]| -> Command {
        let mut command = stampede(args);
        command.env("STAMPEDE_REDIS_URL", redis.url()).env("STAMPEDE_ARCHIVE_URL", &archive_url);
        command.env("STAMPEDE_TOKEN_SECRET", SECRET).env("STAMPEDE_LOG", "warn");
        command.env("STAMPEDE_ADMIN_LISTEN", "127.0.0.1:0");
        // Were it not handed over, what a stopped worker has read would wait for an hour.
        command.env("STAMPEDE_CLAIM_IDLE_MS", "3600000");
        command
    };
    assert_eq!(run(&mut role(&["migrate"])).0, Some(0));
    let listen = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
    let api = |n: usize| Running::start(&mut role(&["api", "--listen", &listen[n]]));
    let worker = || Running::start(&mut role(&["worker"]));
    let mut apis = [api(0), api(1)];
    let mut workers = [worker(), worker()];
    let origins = listen.clone().map(|address| format!("http://{address}"));
    for origin in &origins {
        Api::new(&format!("{origin}/api/v1")).wait_until_ready().await;
    }
    let seed = ["seed", "--units", "1000000", "--limit", "1000", "--drop-id", "rolling"];
    let (code, _, stderr) = run(role(&seed).env("API_URL", &origins[0]));
    assert_eq!(code, Some(0), "{stderr}");
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("tokens");
    let (code, _, stderr) = run(role(&["token", "--shoppers", &SHOPPERS.to_string(), "--out"]).arg(&file));
    assert_eq!(code, Some(0), "{stderr}");
    let tokens = std::fs::read_to_string(&file).expect("readable").lines().map(str::to_owned).collect();

    let shoppers = Arc::new(Shoppers {
        client: stampede_testkit::http_client().timeout(LIMIT).build().expect("a client"),
        origins: origins.clone(),
        tokens,
        next: AtomicU64::new(0),
        done: AtomicBool::new(false),
        confirmed: AtomicU64::new(0),
    });
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(Arc::clone(&shoppers).buy());
    }
    for _ in 0..ROUNDS {
        for n in 0..2 {
            sell_some(&shoppers).await;
            restart(&mut apis[n], || api(n));
            Api::new(&format!("{}/api/v1", origins[n])).wait_until_ready().await;
            sell_some(&shoppers).await;
            restart(&mut workers[n], worker);
        }
    }
    sell_some(&shoppers).await;
    shoppers.done.store(true, Ordering::Relaxed);
    let (mut confirmed, mut repeated) = (HashSet::new(), 0);
    while let Some(told) = clients.join_next().await {
        let told = told.expect("no client was told anything else");
        repeated += told.repeated;
        for order in told.confirmed.into_values() {
            assert!(confirmed.insert(order), "{order} was confirmed under two keys");
        }
    }
    println!("{} orders confirmed, {repeated} attempts repeated", confirmed.len());

    for process in apis.into_iter().chain(workers) {
        assert_eq!(process.stop().code(), Some(0));
    }
    // Nothing is left in the logs, and nobody's name.
    for shard in 0..8 {
        let log = format!("{{s0{shard}}}:log");
        assert_eq!(redis.cli(&["XLEN", &log]), "0", "{log}");
        assert_eq!(redis.cli(&["XINFO", "CONSUMERS", &log, "persister"]), "", "{log}");
    }
    assert_eq!(archived(&archive_url).await, confirmed);
    assert_eq!(confirmed.len() as u64, shoppers.confirmed.load(Ordering::Relaxed));
}

/// Stops a process as an orchestrator does, and starts it again.
fn restart(process: &mut Running, start: impl Fn() -> Running) {
    signal(&process.pid(), "TERM");
    assert_eq!(process.wait().code(), Some(0));
    *process = start();
}

/// Waits until a few more orders are confirmed.
async fn sell_some(shoppers: &Shoppers) {
    let (from, deadline) = (shoppers.confirmed.load(Ordering::Relaxed), Instant::now() + LIMIT);
    while shoppers.confirmed.load(Ordering::Relaxed) < from + 50 {
        assert!(Instant::now() < deadline, "the sale does not go on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// All orders of the archive, each once.
async fn archived(url: &str) -> HashSet<OrderId> {
    let archive: Arc<dyn Archive> =
        stampede_archive::connect(&url.parse::<ArchiveUrl>().expect("an address")).await.expect("connected");
    let (mut found, mut last) = (HashSet::new(), None);
    loop {
        let page = archive.orders(&OrderFilter::default(), last, 1_000).await.expect("readable");
        for archived in &page {
            assert!(found.insert(archived.order.id), "{} is archived twice", archived.order.id);
        }
        last = page.last().map(|archived| archived.order.id);
        if last.is_none() {
            return found;
        }
    }
}
