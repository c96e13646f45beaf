//! Decides orders by one script call each, as a service without group commit would, to compare what an order costs Redis:
//! `evalsha_per_order PORT SHA CALLERS SECONDS KEY…`.
//!
//! CALLERS tasks share one client, which pipelines what comes at the same time, as the api's does. The script, whose hash is
//! SHA, and the KEYs are there already: `scripts/bench/one_order.lua` says which. Every order is another user's and must be
//! granted. Prints one line, `RESULT` and a JSON object.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fred::clients::Client;
use fred::interfaces::{ClientLike, LuaInterface};
use fred::types::config::Config;
use fred::types::{Builder, Value};
use stampede_domain::{Fingerprint, GroupData, GroupDrop, GroupOrder, KeyDigest, Money, Timestamp, UserDigest, UserId};

/// How long an order may lie in a queue and still take effect, in ms.
const DEADLINE_MS: i64 = 3_000;
/// The most orders, and bytes, that the log may hold.
const BOUNDS: [i64; 2] = [1_000_000_000, 1_000_000_000_000];

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, sha, callers, seconds, keys @ ..] = &arguments[..] else {
        return Err("usage: evalsha_per_order PORT SHA CALLERS SECONDS KEY…".into());
    };
    let client = Builder::from_config(Config::from_url(&format!("redis://127.0.0.1:{port}"))?).build()?;
    client.init().await?;
    let placed = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let end = started + Duration::from_secs_f64(seconds.parse()?);
    let tasks: Vec<_> = (0..callers.parse::<u32>()?)
        .map(|_| tokio::spawn(place_orders(client.clone(), sha.clone(), keys.to_vec(), placed.clone(), end)))
        .collect();
    for task in tasks {
        task.await??;
    }
    let (placed, duration_us) = (placed.load(Ordering::Relaxed), started.elapsed().as_micros());
    println!("RESULT {{\"requests\": {placed}, \"created\": {placed}, \"duration_us\": {duration_us}}}");
    Ok(())
}

async fn place_orders(
    client: Client,
    sha: String,
    keys: Vec<String>,
    placed: Arc<AtomicU64>,
    end: Instant,
) -> Result<(), Failure> {
    while Instant::now() < end {
        let (request, data) = order(placed.fetch_add(1, Ordering::Relaxed))?;
        let deadline_ms = Timestamp::now().as_ms() + DEADLINE_MS;
        let arguments: Vec<Value> =
            vec![deadline_ms.into(), BOUNDS[0].into(), BOUNDS[1].into(), bytes(request), bytes(data)];
        let reply: Vec<Value> = client.evalsha(sha.as_str(), keys.clone(), arguments).await?;
        if reply.first().and_then(Value::as_str).as_deref() != Some("granted") {
            return Err(format!("an order was not granted: {reply:?}").into());
        }
    }
    Ok(())
}

fn bytes(bytes: Vec<u8>) -> Value {
    Value::Bytes(bytes.into())
}

/// What the script decides by, and what the log keeps: both as the api writes them for a group of one.
fn order(number: u64) -> Result<(Vec<u8>, Vec<u8>), Failure> {
    let user_id: UserId = format!("shopper-{number}").parse()?;
    let user = UserDigest::of(&user_id);
    let order = GroupOrder {
        drop_index: 0,
        user_id,
        key: KeyDigest::of(user, &format!("key-{number}").parse()?),
        fingerprint: Fingerprint::of(1, None),
        units: 1,
    };
    let request = [&user.0[..], &order.key.0, &order.fingerprint.0, &order.units.to_be_bytes()].concat();
    let unit_price = Money { amount_minor: 12_900, currency: "EUR".parse()? };
    let drop = GroupDrop { id: "bench".parse()?, sku: "bench".parse()?, unit_price };
    Ok((request, GroupData { drops: vec![drop], orders: vec![order] }.encode()))
}
