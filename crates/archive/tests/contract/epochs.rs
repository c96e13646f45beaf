//! Epochs and their closings.

use futures_util::future::try_join_all;
use stampede_archive::Archive;
use stampede_domain::{Closing, Epoch};

use crate::data::shard;

fn closing(epoch: u32, base: u64) -> Closing {
    let holes = vec![base + 1..=base + 1, base + 5..=base + 9];
    Closing { shard: shard(1), epoch: Epoch(epoch), base, through: base + 20, holes, void: false }
}

pub async fn an_epoch_that_was_never_raised_is_0(archive: &dyn Archive) {
    assert_eq!(archive.epoch(shard(1)).await.expect("read"), Epoch(0));
    assert_eq!(archive.raise_epoch(shard(1)).await.expect("raised"), Epoch(1));
    assert_eq!(archive.epoch(shard(1)).await.expect("read"), Epoch(1));
    assert_eq!(archive.epoch(shard(0)).await.expect("read"), Epoch(0), "each shard has its own");
}

pub async fn epochs_raised_at_once_rise_by_one_each(archive: &dyn Archive) {
    let mut raised = try_join_all((0..16).map(|_| archive.raise_epoch(shard(1)))).await.expect("raised");
    raised.sort_unstable();
    assert_eq!(raised, (1..=16).map(Epoch).collect::<Vec<_>>());
    assert_eq!(archive.epoch(shard(1)).await.expect("read"), Epoch(16));
}

pub async fn the_first_closing_of_an_epoch_wins(archive: &dyn Archive) {
    let first = closing(2, 100);
    assert_eq!(archive.close_epoch(&first).await.expect("closed"), first);
    assert_eq!(archive.close_epoch(&closing(2, 0)).await.expect("answered"), first);
    let void = Closing::void(shard(1), Epoch(2));
    assert_eq!(archive.close_epoch(&void).await.expect("answered"), first);
    assert_eq!(archive.closings(shard(1)).await.expect("read"), [first]);
}

pub async fn of_many_closings_at_once_all_callers_see_the_same(archive: &dyn Archive) {
    let closings: Vec<Closing> = (0..16).map(|base| closing(2, base)).collect();
    let seen = try_join_all(closings.iter().map(|closing| archive.close_epoch(closing))).await.expect("answered");
    assert!(seen.iter().all(|closing| *closing == seen[0]), "{seen:?}");
    assert!(closings.contains(&seen[0]));
}

pub async fn closings_come_back_whole_and_in_order(archive: &dyn Archive) {
    let (second, third) = (closing(2, 4_294_967_296), Closing::void(shard(1), Epoch(3)));
    let twelfth = Closing { holes: Vec::new(), ..closing(12, 0) };
    let elsewhere = Closing::void(shard(2), Epoch(2));
    for closing in [&twelfth, &third, &elsewhere, &second] {
        archive.close_epoch(closing).await.expect("closed");
    }
    assert_eq!(archive.closings(shard(1)).await.expect("read"), [second, third, twelfth]);
    assert_eq!(archive.closings(shard(2)).await.expect("read"), [elsewhere]);
    assert_eq!(archive.closings(shard(3)).await.expect("read"), []);
}
