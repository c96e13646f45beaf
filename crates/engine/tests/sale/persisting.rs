//! Reading the log by its consumer group, acknowledging and trimming it.

use std::time::Duration;

use stampede_domain::{Epoch, LogId};
use stampede_engine::{DropChange, EngineError, EntryReceipt, Keys, LogEntry};

use crate::support::Harness;

const EPOCH: Epoch = Epoch(1);

fn receipts<'a>(entries: impl IntoIterator<Item = &'a LogEntry>) -> Vec<EntryReceipt> {
    entries.into_iter().map(|entry| entry.receipt(&entry.facts().expect("decodable"))).collect()
}

async fn read(h: &Harness, consumer: &str, limit: u64) -> Vec<LogEntry> {
    let claim = h.engine.read_new(h.shard, consumer, limit).await.expect("readable");
    assert_eq!(claim.deleted, []);
    claim.entries
}

async fn acknowledge<'a>(h: &Harness, entries: impl IntoIterator<Item = &'a LogEntry>) -> u64 {
    h.engine.acknowledge(h.shard, EPOCH, &receipts(entries)).await.expect("acknowledged")
}

/// A drop with so many orders, each an entry: all in all one entry more than that.
async fn sell(h: &Harness, orders: usize) {
    let drop = h.open("sold", 1_000, 1_000).await;
    for n in 0..orders {
        h.buy(&drop, "a", &format!("k{n}"), 1).await;
    }
}

async fn numbers(h: &Harness) -> Vec<u64> {
    h.log().await.iter().map(|entry| entry.number).collect()
}

pub async fn an_acknowledged_log_is_trimmed_and_the_bound_given_back(h: Harness) {
    sell(&h, 5).await;
    let entries = read(&h, "c", 4).await;
    assert_eq!(acknowledge(&h, &entries).await, 4);
    assert_eq!(numbers(&h).await, [5, 6]);
    let status = h.engine.log_status(h.shard).await.expect("readable");
    assert_eq!((status.entries, status.pending, status.backlog_orders), (2, 0, 2));
    let rest = read(&h, "c", 100).await;
    assert_eq!(h.engine.log_status(h.shard).await.expect("readable").pending, 2);
    assert_eq!(acknowledge(&h, &rest).await, 2);
    let status = h.engine.log_status(h.shard).await.expect("readable");
    assert_eq!((status.entries, status.oldest_ms, status.backlog_orders, status.backlog_bytes), (0, None, 0, 0));
    assert_eq!(status.number, 6);
    assert_eq!(read(&h, "c", 100).await, []);
    // An empty log is not a lost one: the sale goes on, and so do its numbers.
    sell_more(&h).await;
    assert_eq!(numbers(&h).await, [7]);
}

async fn sell_more(h: &Harness) {
    let drop = h.drop_now(&h.id("sold")).await.terms().into();
    h.buy(&drop, "b", "k", 1).await;
}

pub async fn an_entry_that_is_pending_elsewhere_is_never_trimmed(h: Harness) {
    sell(&h, 5).await;
    let slow = read(&h, "slow", 2).await;
    let fast = read(&h, "fast", 100).await;
    assert_eq!(acknowledge(&h, &fast).await, 4);
    assert_eq!(numbers(&h).await, [1, 2, 3, 4, 5, 6], "behind what is pending nothing is cut off");
    assert_eq!(acknowledge(&h, &slow[..1]).await, 1);
    assert_eq!(numbers(&h).await, [2, 3, 4, 5, 6]);
    assert_eq!(acknowledge(&h, []).await, 0);
    assert_eq!(numbers(&h).await, [2, 3, 4, 5, 6]);
    assert_eq!(acknowledge(&h, &slow[1..]).await, 1);
    assert_eq!(numbers(&h).await, Vec::<u64>::new());
}

pub async fn a_second_acknowledgement_counts_for_nothing(h: Harness) {
    sell(&h, 3).await;
    let entries = read(&h, "c", 3).await;
    assert_eq!(acknowledge(&h, entries.iter().chain(&entries[..1])).await, 3);
    let backlog = async || {
        let status = h.engine.log_status(h.shard).await.expect("readable");
        (status.backlog_orders, status.backlog_bytes)
    };
    let before = backlog().await;
    assert_eq!(before.0, 1);
    assert_eq!(acknowledge(&h, &entries).await, 0);
    // One that nobody was given cannot be acknowledged.
    assert_eq!(acknowledge(&h, &h.log().await).await, 0);
    assert_eq!(backlog().await, before);
    assert_eq!(numbers(&h).await, [4]);
}

pub async fn an_acknowledgement_of_another_epoch_is_refused(h: Harness) {
    sell(&h, 1).await;
    let entries = read(&h, "c", 3).await;
    let other = h.engine.acknowledge(h.shard, Epoch(2), &receipts(&entries)).await;
    assert_eq!(other, Err(EngineError::ShardRecovering));
    assert_eq!(h.engine.log_status(h.shard).await.expect("readable").pending, 2);
}

pub async fn a_drop_is_unsettled_until_its_last_entry_is_acknowledged(h: Harness) {
    let first = h.open("first", 1, 1).await;
    let second = h.open("second", 1, 1).await;
    let unsettled = async || h.engine.unsettled_drops(h.shard).await.expect("readable");
    assert_eq!(unsettled().await, [first.id.clone(), second.id.clone()]);
    h.engine.change_drop(&first.id, &DropChange::Pause).await.expect("paused");
    let entries = read(&h, "c", 100).await;
    acknowledge(&h, &entries[..2]).await;
    assert_eq!(unsettled().await, std::slice::from_ref(&first.id), "its last change is not archived");
    acknowledge(&h, &entries[2..]).await;
    assert_eq!(unsettled().await, []);
    h.buy(&second, "a", "k", 1).await;
    assert_eq!(unsettled().await, std::slice::from_ref(&second.id));
}

pub async fn pending_entries_come_again_and_are_taken_over(h: Harness) {
    sell(&h, 4).await;
    let entries = read(&h, "mine", 3).await;
    let again = h.engine.read_pending(h.shard, "mine", LogId::default(), 100).await.expect("readable");
    assert_eq!((again.entries, again.deleted), (entries.clone(), vec![]));
    let behind = h.engine.read_pending(h.shard, "mine", entries[0].id, 1).await.expect("readable");
    assert_eq!(behind.entries, entries[1..2]);
    let others = h.engine.read_pending(h.shard, "other", LogId::default(), 100).await.expect("readable");
    assert_eq!(others.entries, []);
    // Not idle for long enough, then any age.
    let hour = h.engine.claim_idle(h.shard, "other", Duration::from_secs(3_600), 100).await.expect("readable");
    assert_eq!(hour.entries, []);
    let claim = h.engine.claim_idle(h.shard, "other", Duration::ZERO, 100).await.expect("readable");
    assert_eq!((claim.entries, claim.deleted), (entries.clone(), vec![]));
    let mine = h.engine.read_pending(h.shard, "mine", LogId::default(), 100).await.expect("readable");
    assert_eq!(mine.entries, []);
    assert_eq!(acknowledge(&h, &entries).await, 3);
    assert_eq!(numbers(&h).await, [4, 5]);
}

pub async fn an_entry_that_is_gone_is_reported(h: Harness) {
    sell(&h, 3).await;
    let entries = read(&h, "dead", 4).await;
    h.redis().cli(&["XDEL", &h.keys.log, &entries[1].id.to_string()]);
    let own = h.engine.read_pending(h.shard, "dead", LogId::default(), 100).await.expect("readable");
    assert_eq!((own.entries.len(), own.deleted), (3, vec![entries[1].id]));
    let claim = h.engine.claim_idle(h.shard, "heir", Duration::ZERO, 100).await.expect("readable");
    assert_eq!((claim.entries.len(), claim.deleted), (3, vec![entries[1].id]));
}

pub async fn consumers_with_pending_entries_are_not_forgotten(h: Harness) {
    sell(&h, 1).await;
    let held = read(&h, "holds", 1).await;
    let done = read(&h, "done", 1).await;
    acknowledge(&h, &done).await;
    let forget = async |idle| h.engine.forget_consumers(h.shard, idle).await.expect("an answer");
    assert_eq!(forget(Duration::from_secs(3_600)).await, 0, "nobody was idle for so long");
    assert_eq!(forget(Duration::ZERO).await, 1);
    let pending = h.engine.read_pending(h.shard, "holds", LogId::default(), 10).await.expect("readable");
    assert_eq!(pending.entries, held);
    acknowledge(&h, &held).await;
    assert_eq!(forget(Duration::ZERO).await, 1);
}

pub async fn what_is_handed_over_is_claimed_at_once(h: Harness) {
    sell(&h, 4).await;
    let stops = read(&h, "stops", 3).await;
    let goes_on = read(&h, "goes-on", 1).await;
    let hour = Duration::from_secs(3_600);
    let claim = async || h.engine.claim_idle(h.shard, "heir", hour, 100).await.expect("readable").entries;
    assert_eq!(claim().await, []);
    assert_eq!(h.engine.hand_over(h.shard, "stops").await, Ok(3));
    // Not yet claimed, they are still somebody's: nothing is trimmed, and its name is not forgotten.
    assert_eq!(h.engine.forget_consumers(h.shard, Duration::ZERO).await, Ok(0));
    assert_eq!(acknowledge(&h, &goes_on).await, 1);
    assert_eq!(numbers(&h).await, [1, 2, 3, 4, 5]);
    assert_eq!(claim().await, stops, "but not those of one that goes on");
    assert_eq!(claim().await, [], "once claimed, they are as young as any");
    assert_eq!(acknowledge(&h, &stops).await, 3);
    assert_eq!(h.engine.hand_over(h.shard, "stops").await, Ok(0));
    let consumers = h.redis().cli(&["XINFO", "CONSUMERS", &h.keys.log, Keys::GROUP]);
    assert!(consumers.contains("heir") && !consumers.contains("stops"), "its name is forgotten: {consumers}");
    assert_eq!(h.engine.hand_over(h.shard, "never-was").await, Ok(0));
}
