//! Fills an archive with orders, to measure how fast Redis is rebuilt from it: `fill_archive URL ORDERS DROPS SHARDS`.

use std::time::Instant;

use stampede_archive::ArchiveUrl;
use stampede_testkit::fill_archive;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, orders, drops, shards] = &arguments[..] else { panic!("fill_archive URL ORDERS DROPS SHARDS") };
    let number = |text: &str| text.parse::<u64>().expect("a number");
    let url: ArchiveUrl = url.parse().expect("an archive's address");
    let archive = stampede_archive::connect(&url).await.expect("the archive opens");
    let started = Instant::now();
    let shards = u16::try_from(number(shards)).expect("a number of shards");
    fill_archive(&*archive, shards, number(drops), number(orders)).await;
    println!("{:.1}", started.elapsed().as_secs_f64());
}
