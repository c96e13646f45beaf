//! Facts: reading them in the order of the log.

use stampede_archive::{Archive, FactCursor, FactRange};
use stampede_domain::{Epoch, Fact, FactBody, LogId, Position};

use crate::data::{Place, fact, grant, shard};

/// Facts of three epochs of shard 1, in order, as places.
const PLACES: [(u32, u64, u16); 9] =
    [(1, 1, 0), (1, 2, 0), (1, 2, 3), (1, 3, 0), (2, 2, 0), (2, 4, 0), (2, 4, 1), (2, 11, 0), (4, 12, 0)];

async fn with_facts(archive: &dyn Archive) {
    let mut facts: Vec<Fact> =
        PLACES.iter().map(|(epoch, number, index)| grant(Place(1, *epoch, *number, *index), "ann")).collect();
    facts.push(grant(Place(2, 1, 1, 0), "elsewhere"));
    facts.reverse();
    facts.swap(1, 4);
    assert_eq!(archive.insert_facts(&facts).await.expect("inserted"), []);
}

fn places(facts: &[Fact]) -> Vec<(u32, u64, u16)> {
    facts.iter().map(|fact| (fact.epoch.0, fact.number, fact.position.index)).collect()
}

fn range(from_epoch: u32, beyond_number: u64) -> FactRange {
    FactRange { from_epoch: Epoch(from_epoch), beyond_number }
}

pub async fn facts_are_read_in_the_order_of_the_log(archive: &dyn Archive) {
    with_facts(archive).await;
    assert_eq!(places(&archive.facts(shard(1), range(0, 0), None, 100).await.expect("read")), PLACES);
    assert_eq!(places(&archive.facts(shard(1), range(0, 0), None, 5).await.expect("read")), PLACES[..5]);
    assert_eq!(archive.facts(shard(3), range(0, 0), None, 5).await.expect("read"), []);
}

pub async fn facts_are_read_from_an_epoch_and_beyond_a_number(archive: &dyn Archive) {
    with_facts(archive).await;
    let read = |from, beyond| async move {
        places(&archive.facts(shard(1), range(from, beyond), None, 100).await.expect("read"))
    };
    assert_eq!(read(2, 0).await, PLACES[4..]);
    assert_eq!(read(3, 0).await, PLACES[8..]);
    assert_eq!(read(5, 0).await, []);
    assert_eq!(read(0, 2).await, [(1, 3, 0), (2, 4, 0), (2, 4, 1), (2, 11, 0), (4, 12, 0)], "in each epoch");
    assert_eq!(read(2, 4).await, [(2, 11, 0), (4, 12, 0)]);
    assert_eq!(read(0, u64::MAX).await, []);
}

pub async fn a_reader_goes_on_behind_its_cursor(archive: &dyn Archive) {
    with_facts(archive).await;
    for limit in 1..5 {
        let mut read = Vec::new();
        let mut after = None;
        loop {
            let page = archive.facts(shard(1), range(1, 1), after, limit).await.expect("read");
            let Some(last) = page.last() else { break };
            after = Some(FactCursor { epoch: last.epoch, number: last.number, index: last.position.index });
            read.extend(page);
        }
        assert_eq!(places(&read), PLACES[1..], "{limit} at a time");
    }
    let between = FactCursor { epoch: Epoch(2), number: 5, index: 7 };
    let rest = archive.facts(shard(1), range(0, 0), Some(between), 9).await.expect("read");
    assert_eq!(places(&rest), PLACES[7..], "a cursor need not stand on a fact");
}

pub async fn the_highest_log_id_is_found_in_any_epoch(archive: &dyn Archive) {
    assert_eq!(archive.highest_log_id(shard(1)).await.expect("read"), None);
    with_facts(archive).await;
    let last = grant(Place(1, 4, 12, 0), "ann").position.log_id;
    assert_eq!(archive.highest_log_id(shard(1)).await.expect("read"), Some(last));

    // What a cut-off primary of epoch 2 went on writing: later than anything of epoch 4.
    let late = LogId { ms: last.ms + 60_000, sequence: 7 };
    let orphan = Fact { position: Position { log_id: late, index: 0 }, ..fact(Place(1, 2, 99, 0), FactBody::Paused) };
    archive.insert_facts(&[orphan]).await.expect("inserted");
    assert_eq!(archive.highest_log_id(shard(1)).await.expect("read"), Some(late));
    assert_ne!(archive.highest_log_id(shard(2)).await.expect("read"), Some(late));
}
