//! What reconciliations ask for, and what they leave.

use stampede_archive::{Archive, Drift, DriftKind, Reconciliation, StockFigures, StockRecord};
use stampede_domain::{Closing, DeadLetter, DropId, Epoch, Fact, Stock, Window};

use crate::data::{Place, at, cancellation, compensation, drop_of, grant, id, order_id, shard, window};

pub async fn the_facts_of_orders_are_found_whether_they_count_or_not(archive: &dyn Archive) {
    let granted: Vec<Fact> = (1..=4).map(|number| grant(Place(1, 1, number, 0), "ann")).collect();
    let cancelled = cancellation(Place(1, 1, 9, 0), &granted[1]);
    let compensated = compensation(Place(1, 2, 3, 0), &granted[1]);
    let alone = cancellation(Place(1, 1, 10, 0), &grant(Place(1, 1, 99, 0), "bob"));
    archive.insert_facts(&granted).await.expect("inserted");
    archive.insert_facts(&[cancelled.clone(), compensated.clone(), alone.clone()]).await.expect("inserted");
    // One of the orders was archived after all, one never.
    let refused = grant(Place(1, 1, 5, 0), "eve");
    let notes = [DeadLetter::new(granted[3].clone(), "no room"), DeadLetter::new(refused.clone(), "no room")];
    assert_eq!(archive.note_dead_letters(&notes).await.expect("noted"), []);
    // None of them counts.
    let closing = Closing { shard: shard(1), epoch: Epoch(5), base: 0, through: 0, holes: Vec::new(), void: false };
    archive.close_epoch(&closing).await.expect("closed");
    let unknown = grant(Place(1, 1, 77, 0), "cid");
    let bobs = grant(Place(1, 1, 99, 0), "bob");
    let ids = [&granted[1], &granted[3], &refused, &unknown, &bobs].map(order_id);
    let mut found = archive.order_facts(&ids).await.expect("read");
    found.sort_by_key(|fact| (fact.epoch, fact.number));
    let expected = [granted[1].clone(), granted[3].clone(), refused, cancelled, alone, compensated];
    assert_eq!(found, expected);
    assert_eq!(archive.order_facts(&[]).await.expect("read"), []);
}

pub async fn facts_are_counted_by_epoch_and_number(archive: &dyn Archive) {
    let facts: Vec<Fact> =
        (1..=6).flat_map(|number| (0..3).map(move |n| grant(Place(1, 2, number, n), "ann"))).collect();
    let others = [grant(Place(1, 1, 3, 0), "ann"), grant(Place(1, 3, 3, 0), "ann"), grant(Place(2, 2, 3, 0), "ann")];
    archive.insert_facts(&facts).await.expect("inserted");
    archive.insert_facts(&others).await.expect("inserted");
    let count = |numbers| async move { archive.count_facts(shard(1), Epoch(2), numbers).await.expect("read") };
    assert_eq!(count(0..=u64::MAX).await, 18);
    assert_eq!(count(3..=4).await, 6);
    assert_eq!(count(6..=u64::MAX).await, 3);
    assert_eq!(count(7..=u64::MAX).await, 0);
    assert_eq!(archive.count_facts(shard(1), Epoch(4), 0..=9).await.expect("read"), 0);
}

fn stock(drop_id: &str, number: u64, sold: i64) -> StockRecord {
    let window = Window { ends_at: Some(at(99)), ..window(5, None) };
    let mut stock = Stock::opened(&drop_of("AIR-1", drop_id, window), shard(2));
    stock.sold_units = sold;
    stock.granted_units = 1 << 40;
    StockRecord { drop_id: id(drop_id), shard: shard(2), epoch: Epoch(3), number, stock }
}

pub async fn a_stock_takes_the_place_of_the_one_before(archive: &dyn Archive) {
    let ids: Vec<DropId> = ["one", "two", "three"].map(id).to_vec();
    assert_eq!(archive.stocks(shard(2), &ids).await.expect("read"), []);
    archive.put_stocks(&[stock("one", 7, -5), stock("two", 7, 0)]).await.expect("written");
    archive.put_stocks(&[stock("two", 4_294_967_299, 1)]).await.expect("written");
    let other = StockRecord { shard: shard(5), ..stock("two", 3, 9) };
    archive.put_stocks(std::slice::from_ref(&other)).await.expect("written");
    assert_eq!(archive.stocks(shard(5), &ids).await.expect("read"), [other], "each stripe has its own");
    let mut found = archive.stocks(shard(2), &ids).await.expect("read");
    found.sort_by(|a, b| a.drop_id.cmp(&b.drop_id));
    assert_eq!(found, [stock("one", 7, -5), stock("two", 4_294_967_299, 1)]);
    archive.put_stocks(&[]).await.expect("nothing to write");
    assert_eq!(archive.stocks(shard(2), &[]).await.expect("read"), []);
}

fn reconciliation(drop_id: &str, number: u64) -> Reconciliation {
    let order = order_id(&grant(Place(1, 1, number, 0), "ann"));
    let figures = StockFigures { total: 9, available: -2, held: 1, sold: 10 };
    Reconciliation {
        drop_id: id(drop_id),
        stripe: None,
        // Some at the same moment.
        reconciled_at: at((number / 3).cast_signed()),
        epoch: Epoch(2),
        number,
        whole: number.is_multiple_of(2),
        redis: number.is_multiple_of(2).then_some(figures),
        archive: figures,
        users_checked: 5,
        orders_checked: 6,
        drift: vec![Drift { kind: DriftKind::Unrecorded, units: 3, count: 2, orders: vec![order] }],
    }
}

pub async fn the_newest_reconciliations_of_a_drop_are_kept(archive: &dyn Archive) {
    archive.put_reconciliation(&reconciliation("other", 1), 5).await.expect("written");
    for number in 1..=12 {
        archive.put_reconciliation(&reconciliation("demo", number), 5).await.expect("written");
    }
    let newest = archive.reconciliations(&id("demo"), 100).await.expect("read");
    let expected: Vec<_> = (8..=12).rev().map(|number| reconciliation("demo", number)).collect();
    assert_eq!(newest, expected);
    assert_eq!(archive.reconciliations(&id("demo"), 2).await.expect("read"), expected[..2]);
    assert_eq!(archive.reconciliations(&id("other"), 100).await.expect("read"), [reconciliation("other", 1)]);
    assert_eq!(archive.reconciliations(&id("demo"), 0).await.expect("read"), []);
}
