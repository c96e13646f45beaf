//! adhoc
use stampede_archive::*;
use stampede_domain::*;
use std::time::{Duration, Instant};
fn grant(n: u64) -> Fact {
    let log_id = LogId { ms: 1_764_234_000_000 + n / 4000, sequence: ((n / 100) % 40) as u16 };
    let mut key = [0; 8];
    key.copy_from_slice(&n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    Fact { shard: Shard::new((n / 2000 % 4) as u16).unwrap(), epoch: Epoch(1), number: 1 + n / 100, position: Position { log_id, index: (n % 100) as u16 }, entry_facts: 100,
        drop_id: "demo-drop-2026".parse().unwrap(),
        body: FactBody::Granted(Grant { sku: "AIR-1".parse().unwrap(), user_id: format!("auth0|{:016x}", n.wrapping_mul(0x9E37_79B9_7F4A_7C15)).parse().unwrap(), units: 1, unit_price: Money { amount_minor: 12999, currency: "EUR".parse().unwrap() }, key: KeyDigest(key), fingerprint: Fingerprint([1;4]) }) }
}
#[tokio::main]
async fn main() {
    let dir = tempfile::tempdir_in("/work/main/target").unwrap();
    let url: ArchiveUrl = format!("sqlite:{}/a.db", dir.path().display()).parse().unwrap();
    let archive = connect(&url).await.unwrap();
    archive.migrate().await.unwrap();
    let mut spent = Duration::ZERO; let mut last = Duration::ZERO;
    for batch in 0..500u64 {
        let facts: Vec<Fact> = (0..2000).map(|i| grant(batch * 2000 + i)).collect();
        let t = Instant::now();
        assert!(archive.insert_facts(&facts).await.unwrap().is_empty());
        spent += t.elapsed();
        if batch % 100 == 99 { println!("{} facts: {:.0}/s over all, {:.0}/s last", (batch + 1) * 2000, ((batch + 1) * 2000) as f64 / spent.as_secs_f64(), 200_000.0 / (spent - last).as_secs_f64()); last = spent; }
    }
    let facts: Vec<Fact> = (0..2000).map(|i| grant(i)).collect();
    let t = Instant::now(); archive.insert_facts(&facts).await.unwrap(); println!("redelivered: {:.0}/s", 2000.0 / t.elapsed().as_secs_f64());
    let t = Instant::now(); let n = archive.facts(Shard::new(0).unwrap(), FactRange{from_epoch: Epoch(0), beyond_number: 0}, None, 100_000).await.unwrap().len(); println!("read {n}: {:.0}/s", n as f64 / t.elapsed().as_secs_f64());
    let t = Instant::now(); let n = archive.orders(&OrderFilter{ user_id: None, drop_id: Some("demo-drop-2026".parse().unwrap())}, None, 100).await.unwrap().len(); println!("page {n}: {:?}", t.elapsed());
    println!("{} bytes", std::fs::metadata(dir.path().join("a.db")).unwrap().len());
}
