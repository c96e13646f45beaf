//! Units on their way from one stripe to another.

use std::time::Duration;

use stampede_engine::{Decision, Receiving, Refusal, Sending, TimerKind, Transfer};

use crate::sale::Striped;
use crate::support::{Harness, request, until};

pub async fn units_arrive_once_however_often_they_are_sent(h: Harness) {
    let sale = Striped::on_sale(h, |drop| drop.stock_units = 20).await;
    let (engine, id) = (&sale.h.engine, &sale.drop.id);
    let transfer = Transfer { from: sale.shards[1], to: sale.shards[2], number: 1, units: 3 };
    assert_eq!(engine.send_units(id, transfer).await, Ok(Sending::Sent));
    assert_eq!(engine.send_units(id, transfer).await, Ok(Sending::Sent), "the same again is the same");
    for other in [
        Transfer { units: 2, ..transfer },
        Transfer { number: 3, ..transfer },
        Transfer { number: 2, units: 6, ..transfer },
    ] {
        assert_eq!(engine.send_units(id, other).await, Ok(Sending::Stale), "{other:?}");
    }
    let shown = sale.now().await;
    assert_eq!((shown.total_units, shown.available_units), (20, 20), "units on their way belong to the drop");
    assert_eq!(engine.receive_units(id, Transfer { number: 2, ..transfer }).await, Ok(Receiving::Gap));
    assert_eq!(engine.receive_units(id, transfer).await, Ok(Receiving::Received));
    assert_eq!(engine.receive_units(id, transfer).await, Ok(Receiving::Already));
    let [from, to] = [sale.stripe(sale.shards[1]).await, sale.stripe(sale.shards[2]).await];
    assert_eq!((from.total_units, from.available_units, from.sent_units), (2, 2, 3));
    assert_eq!((to.total_units, to.available_units, to.received_units), (8, 8, 3));
    let shown = sale.now().await;
    assert_eq!((shown.total_units, shown.available_units), (20, 20));
    assert_eq!(sale.assert_sound().await, 0);
}

pub async fn nothing_arrives_before_the_archive_has_it_and_nobody_hears_sold_out(h: Harness) {
    let sale = Striped::on_sale(h, |drop| (drop.stock_units, drop.limit_per_user) = (8, 8)).await;
    sale.let_archive(false);
    let mine = sale.stripe_of("me");
    assert!(matches!(sale.order("me", "k", 2).await, Decision::Granted(_)));
    assert_eq!(sale.stripe(mine).await.available_units, 0);
    let short = sale.h.engine.place_order(request(&sale.drop, "me", "k2", 1), Duration::from_millis(500)).await;
    assert_eq!(short, Ok(Decision::Refused(Refusal::ArchiveBehind)), "units are left");
    assert_eq!(sale.stripe(mine).await.received_units, 0);
    assert_eq!(sale.now().await.available_units, 6);
    sale.let_archive(true);
    assert!(matches!(sale.order("me", "k2", 6).await, Decision::Granted(_)));
    assert_eq!(sale.order("me2", "k", 1).await, Decision::Refused(Refusal::SoldOut));
    assert_eq!(sale.assert_sound().await, 0);
}

pub async fn a_worker_finishes_what_was_left_halfway(h: Harness) {
    let sale = Striped::on_sale(h, |drop| drop.stock_units = 20).await;
    let (engine, id) = (&sale.h.engine, &sale.drop.id);
    let transfer = Transfer { from: sale.shards[3], to: sale.shards[0], number: 1, units: 5 };
    sale.let_archive(false);
    assert_eq!(engine.send_units(id, transfer).await, Ok(Sending::Sent));
    let due = async || {
        let due = engine.due_timers(transfer.from, 100).await.expect("readable");
        due.into_iter().any(|timer| timer.kind == TimerKind::Transfer(id.clone()))
    };
    until("a transfer is due", &due).await;
    assert_eq!(engine.finish_transfers(transfer.from, id).await, Ok(0), "the archive does not have it");
    sale.let_archive(true);
    until("it arrives", async || engine.finish_transfers(transfer.from, id).await.expect("looked at") == 1).await;
    assert_eq!(sale.stripe(transfer.to).await.received_units, 5);
    until("it is forgotten when both ends are archived", async || {
        assert_eq!(engine.finish_transfers(transfer.from, id).await, Ok(0), "once");
        !due().await
    })
    .await;
    assert_eq!(sale.assert_sound().await, 0);
}
