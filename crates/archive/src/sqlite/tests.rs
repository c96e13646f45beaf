//! Faults of a file that only its own connection can have.

use stampede_domain::{Epoch, Fact, FactBody, Fingerprint, Grant, KeyDigest, LogId, Money, Position, Shard};

use super::SqliteArchive;
use crate::{Archive, ArchiveError, FactRange, OrderFilter, Refusal, RefusalReason};

async fn archive(dir: &tempfile::TempDir) -> SqliteArchive {
    let archive = SqliteArchive::open(&dir.path().join("archive.db")).await.expect("opened");
    archive.migrate().await.expect("migrated");
    archive
}

fn facts(from: u64, count: u64) -> Vec<Fact> {
    let fact = |number| Fact {
        shard: Shard::new(0).expect("in range"),
        epoch: Epoch(1),
        number,
        position: Position { log_id: LogId { ms: number, sequence: 0 }, index: 0 },
        entry_facts: 1,
        drop_id: "demo".parse().expect("valid"),
        body: FactBody::Paused,
    };
    (from..from + count).map(fact).collect()
}

async fn limit_pages(archive: &SqliteArchive, pages: i64) {
    let limited = archive.connections.write(move |db| {
        // As on a disk that has so much room and no more.
        db.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?;
        Ok(())
    });
    limited.await.expect("limited");
}

#[tokio::test]
async fn a_full_disk_refuses_nothing_for_good() {
    let dir = tempfile::tempdir().expect("a folder");
    let archive = archive(&dir).await;
    archive.insert_facts(&facts(1, 100)).await.expect("inserted");
    // Never less than what is in use.
    limit_pages(&archive, 1).await;
    let more = facts(101, 5_000);
    let failed = archive.insert_facts(&more).await.expect_err("no room");
    assert!(matches!(&failed, ArchiveError::Unavailable(text) if text.contains("full")), "{failed}");
    let all = FactRange { from_epoch: Epoch(0), beyond_number: 0 };
    let shard = Shard::new(0).expect("in range");
    assert_eq!(archive.facts(shard, all, None, 10_000).await.expect("readable").len(), 100, "what was there stays");
    // Somebody made room.
    limit_pages(&archive, 1_000_000).await;
    assert_eq!(archive.insert_facts(&more).await.expect("inserted"), []);
    assert_eq!(archive.facts(shard, all, None, 10_000).await.expect("readable").len(), 5_100);
}

#[tokio::test]
async fn a_file_that_may_not_be_written_refuses_nothing_for_good() {
    let dir = tempfile::tempdir().expect("a folder");
    let archive = archive(&dir).await;
    archive.connections.write(|db| Ok(db.pragma_update(None, "query_only", true)?)).await.expect("set");
    let failed = archive.insert_facts(&facts(1, 20)).await.expect_err("read-only");
    assert!(matches!(&failed, ArchiveError::Unavailable(_)), "{failed}");
    let again = SqliteArchive::open(&dir.path().join("archive.db")).await.expect("opened");
    assert_eq!(again.insert_facts(&facts(1, 20)).await.expect("inserted"), []);
}

#[tokio::test]
async fn one_fact_that_is_rejected_holds_up_none_of_its_batch() {
    let dir = tempfile::tempdir().expect("a folder");
    let archive = archive(&dir).await;
    let reject = "CREATE TRIGGER reject BEFORE INSERT ON events WHEN NEW.number = 7
        BEGIN SELECT RAISE(ABORT, 'seven is refused'); END";
    archive.connections.write(|db| Ok(db.execute_batch(reject)?)).await.expect("created");
    let given = facts(1, 40);
    for _ in 0..2 {
        let refusals = archive.insert_facts(&given).await.expect("answered");
        let [Refusal { index: 6, reason: RefusalReason::Rejected(why), .. }] = &refusals[..] else {
            panic!("{refusals:?}")
        };
        assert!(why.contains("seven is refused"), "{why}");
    }
    let all = FactRange { from_epoch: Epoch(0), beyond_number: 0 };
    let shard = Shard::new(0).expect("in range");
    assert_eq!(archive.facts(shard, all, None, 100).await.expect("readable").len(), 39);
}

/// Orders of one entry, of a few users.
fn orders(from: u16, count: u16) -> Vec<Fact> {
    let order = |index: u16| Fact {
        position: Position { log_id: LogId { ms: 1, sequence: 0 }, index },
        entry_facts: 1_000,
        body: FactBody::Granted(Grant {
            sku: "AIR-1".parse().expect("valid"),
            user_id: format!("user-{}", index % 7).parse().expect("valid"),
            units: 1,
            unit_price: Money { amount_minor: 12_900, currency: "EUR".parse().expect("valid") },
            key: KeyDigest(u64::from(index).to_be_bytes()),
            fingerprint: Fingerprint([1, 2, 3, 4]),
        }),
        ..facts(1, 1).remove(0)
    };
    (from..from + count).map(order).collect()
}

#[tokio::test]
async fn one_order_that_is_rejected_holds_up_none_of_its_row() {
    let dir = tempfile::tempdir().expect("a folder");
    let archive = archive(&dir).await;
    let reject = "CREATE TRIGGER reject BEFORE INSERT ON grants WHEN NEW.orders LIKE '%[7,%'
        BEGIN SELECT RAISE(ABORT, 'seven is refused'); END";
    archive.connections.write(move |db| Ok(db.execute_batch(reject)?)).await.expect("created");
    let given = orders(0, 40);
    for _ in 0..2 {
        let refusals = archive.insert_facts(&given).await.expect("answered");
        let [Refusal { index: 7, reason: RefusalReason::Rejected(why), .. }] = &refusals[..] else {
            panic!("{refusals:?}")
        };
        assert!(why.contains("seven is refused"), "{why}");
    }
    // Indexes 0, 7, …, 35 are those of the first user.
    let filter = OrderFilter::of_user("user-0".parse().expect("valid"));
    let listed = archive.orders(&filter, None, 100).await.expect("readable");
    let indexes: Vec<u16> = listed.iter().map(|archived| archived.order.id.position().index).collect();
    assert_eq!(indexes, [35, 28, 21, 14, 0]);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_in_the_way_of_its_entry_only() {
    let dir = tempfile::tempdir().expect("a folder");
    let archive = archive(&dir).await;
    let given = orders(0, 10);
    assert_eq!(archive.insert_facts(&given).await.expect("inserted"), []);
    let damage = "UPDATE grants SET orders = substr(orders, 3)";
    archive.connections.write(move |db| Ok(db.execute_batch(damage)?)).await.expect("damaged");
    let beside = Fact { position: Position { index: 12, ..given[0].position }, ..facts(1, 1).remove(0) };
    let others = facts(2, 3);
    let all = [&given[..], &[beside], &others].concat();
    for _ in 0..2 {
        let refusals = archive.insert_facts(&all).await.expect("answered");
        assert!(refusals.iter().all(|refusal| refusal.reason == RefusalReason::Conflict), "{refusals:?}");
        assert_eq!(refusals.iter().map(|refusal| refusal.index).collect::<Vec<_>>(), (0..=10).collect::<Vec<_>>());
    }
    let read = archive.order(given[3].order().expect("a grant").id).await;
    assert!(matches!(read, Err(ArchiveError::Malformed { .. })), "{read:?}");
    let repair = "UPDATE grants SET orders = '[[' || orders";
    archive.connections.write(move |db| Ok(db.execute_batch(repair)?)).await.expect("repaired");
    assert_eq!(archive.insert_facts(&all).await.expect("inserted"), []);
    assert!(archive.order(given[3].order().expect("a grant").id).await.expect("readable").is_some());
}
