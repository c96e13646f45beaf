//! Drops: their records, stages and lists.

use stampede_archive::{Archive, DefineDrop, DropCursor, DropRecord, DropStage};
use stampede_domain::{DropDefinition, DropId, Durability, Shard, ShardCount, Stripes};

use crate::data::{at, drop_of, id, product, window};
use crate::subject::deployment;

async fn define(archive: &dyn Archive, definition: &DropDefinition) {
    assert_eq!(archive.define_drop(definition).await.expect("answered"), DefineDrop::Defined, "{}", definition.id);
}

fn ids(records: &[DropRecord]) -> Vec<&str> {
    records.iter().map(|record| record.definition.id.as_str()).collect()
}

pub async fn a_drop_is_defined_once(archive: &dyn Archive) {
    archive.create_product(&product("AIR-1", 0)).await.expect("created");
    let definition =
        DropDefinition { durability: Some(Durability::Memory), ..drop_of("AIR-1", "demo", window(0, Some(1_001))) };
    define(archive, &definition).await;
    let record = DropRecord { window: definition.window, stage: DropStage::Defined, definition: definition.clone() };
    assert_eq!(archive.drop_record(&definition.id).await.expect("read"), Some(record.clone()));

    for again in
        [definition.clone(), drop_of("AIR-1", "demo", window(5_000, None)), drop_of("NONE", "demo", window(0, None))]
    {
        let answer = archive.define_drop(&again).await.expect("answered");
        assert_eq!(answer, DefineDrop::Exists(Box::new(record.clone())));
    }
    archive.release_window(&definition.sku, &definition.id).await.expect("released");
    define(archive, &drop_of("AIR-1", "after", window(0, None))).await;
}

pub async fn a_drop_of_an_unknown_sku_is_refused(archive: &dyn Archive) {
    let answer = archive.define_drop(&drop_of("NONE", "demo", window(0, None))).await.expect("answered");
    assert_eq!(answer, DefineDrop::UnknownSku);
    assert_eq!(archive.drop_record(&id("demo")).await.expect("read"), None);
}

pub async fn a_drop_moves_from_stage_to_stage_once(archive: &dyn Archive) {
    use DropStage::{Defined, Opened, Opening};
    archive.create_product(&product("AIR-1", 0)).await.expect("created");
    define(archive, &drop_of("AIR-1", "demo", window(0, None))).await;
    let demo: DropId = id("demo");
    assert!(!archive.move_drop(&demo, Opening, Opened).await.expect("answered"));
    assert!(archive.move_drop(&demo, Defined, Opening).await.expect("answered"));
    assert!(!archive.move_drop(&demo, Defined, Opening).await.expect("answered"));
    assert!(archive.move_drop(&demo, Opening, Opened).await.expect("answered"));
    assert_eq!(archive.drop_record(&demo).await.expect("read").map(|record| record.stage), Some(Opened));
    assert!(!archive.move_drop(&id("none"), Defined, Opening).await.expect("answered"));
}

pub async fn only_one_of_many_processes_moves_a_drop(archive: &dyn Archive) {
    archive.create_product(&product("AIR-1", 0)).await.expect("created");
    define(archive, &drop_of("AIR-1", "demo", window(0, None))).await;
    let demo: DropId = id("demo");
    let moves = (0..16).map(|_| archive.move_drop(&demo, DropStage::Defined, DropStage::Opening));
    let moved = futures_util::future::try_join_all(moves).await.expect("answered");
    assert_eq!(moved.into_iter().filter(|moved| *moved).count(), 1);
}

pub async fn drops_are_listed_newest_first_with_ties_by_id(archive: &dyn Archive) {
    for sku in ["AIR-1", "AIR-2"] {
        archive.create_product(&product(sku, 0)).await.expect("created");
    }
    for (n, (sku, drop_id, ms)) in
        (0..).zip([("AIR-1", "b", 5), ("AIR-2", "a", 5), ("AIR-1", "c", 5), ("AIR-1", "z", 1), ("AIR-2", "m", 9)])
    {
        let definition = drop_of(sku, drop_id, window(10 * n, Some(10 * n + 10)));
        define(archive, &DropDefinition { created_at: at(ms), ..definition }).await;
    }
    for (sku, expected) in [(None, &["m", "c", "b", "a", "z"][..]), (Some(id("AIR-1")), &["c", "b", "z"])] {
        let mut listed = Vec::new();
        let mut after = None;
        loop {
            let page = archive.drops(sku.as_ref(), after.as_ref(), 2).await.expect("read");
            let Some(DropRecord { definition, .. }) = page.last() else { break };
            after = Some(DropCursor { created_at: definition.created_at, id: definition.id.clone() });
            listed.extend(page);
        }
        assert_eq!(ids(&listed), expected);
    }
}

pub async fn drops_around_now_are_the_last_started_and_the_next(archive: &dyn Archive) {
    for sku in ["AIR-1", "AIR-2"] {
        archive.create_product(&product(sku, 0)).await.expect("created");
    }
    for (n, drop_id) in (0..).zip(["d0", "d1", "d2", "d3", "d4", "d5"]) {
        define(archive, &drop_of("AIR-1", drop_id, window(100 * n, Some(100 * n + 50)))).await;
    }
    define(archive, &drop_of("AIR-2", "other", window(200, None))).await;
    let around = |now, limit| async move {
        let drops = archive.drops_around(&id("AIR-1"), at(now), limit).await.expect("read");
        ids(&drops).join(" ")
    };
    assert_eq!(around(200, 2).await, "d1 d2 d3 d4", "a drop that starts now has started");
    assert_eq!(around(199, 1).await, "d1 d2");
    assert_eq!(around(-1, 3).await, "d0 d1 d2");
    assert_eq!(around(9_000, 1).await, "d5");

    archive.change_window(&id("AIR-1"), &id("d5"), &window(60, Some(90))).await.expect("changed");
    assert_eq!(around(99, 1).await, "d5 d1", "by the window that is in force");
}

pub async fn drops_of_a_shard_are_those_past_defined_in_order_of_id(archive: &dyn Archive) {
    archive.create_product(&product("AIR-1", 0)).await.expect("created");
    let shards: ShardCount = deployment("first").shards;
    let all: Vec<DropId> = (0..40).map(|n| id(&format!("drop-{n:02}"))).collect();
    let shard = shards.shard_of(&all[0]);
    for (n, drop_id) in (0..).zip(&all) {
        define(archive, &drop_of("AIR-1", drop_id.as_str(), window(10 * n, Some(10 * n + 10)))).await;
    }
    let of_shard: Vec<&DropId> = all.iter().filter(|drop_id| shards.shard_of(drop_id) == shard).collect();
    assert!(of_shard.len() > 3, "the ids are spread over the shards");
    for drop_id in &of_shard[1..] {
        assert!(archive.move_drop(drop_id, DropStage::Defined, DropStage::Opening).await.expect("answered"));
    }
    let mut listed = Vec::new();
    let mut after: Option<DropId> = None;
    loop {
        let page = archive.drops_of_shard(shard, after.as_ref(), 2).await.expect("read");
        let Some(last) = page.last() else { break };
        after = Some(last.definition.id.clone());
        listed.extend(page);
    }
    assert_eq!(ids(&listed), of_shard[1..].iter().map(|drop_id| drop_id.as_str()).collect::<Vec<_>>());
}

pub async fn a_striped_drop_is_found_in_each_of_its_shards(archive: &dyn Archive) {
    archive.create_product(&product("AIR-1", 0)).await.expect("created");
    let count: ShardCount = deployment("first").shards;
    let (whole, striped): (DropId, DropId) = (id("whole"), id("striped"));
    let home = count.shard_of(&striped);
    let others: Vec<Shard> = count.shards().filter(|shard| *shard != home).collect();
    let stripes = Stripes::over(vec![home, others[0], others[3]]).expect("distinct");
    let definition = DropDefinition { stripes, ..drop_of("AIR-1", "striped", window(0, Some(10))) };
    define(archive, &definition).await;
    define(archive, &drop_of("AIR-1", "whole", window(10, Some(20)))).await;
    for drop_id in [&whole, &striped] {
        archive.move_drop(drop_id, DropStage::Defined, DropStage::Opening).await.expect("answered");
    }
    for shard in count.shards() {
        let found = archive.drops_of_shard(shard, None, 10).await.expect("read");
        let mut expected: Vec<&str> = Vec::new();
        if [home, others[0], others[3]].contains(&shard) {
            expected.push("striped");
        }
        if count.shard_of(&whole) == shard {
            expected.push("whole");
        }
        assert_eq!(ids(&found), expected, "{shard}");
    }
    let record = archive.drop_record(&striped).await.expect("read").expect("there");
    assert_eq!(record.definition, definition);
}

pub async fn unopened_drops_are_found_oldest_first(archive: &dyn Archive) {
    use DropStage::{Defined, Opened, Opening};
    archive.create_product(&product("AIR-1", 0)).await.expect("created");
    for (n, (drop_id, ms)) in (0..).zip([("late", 50), ("second", 20), ("first", 10), ("open", 5), ("third", 30)]) {
        let definition = drop_of("AIR-1", drop_id, window(10 * n, Some(10 * n + 10)));
        define(archive, &DropDefinition { created_at: at(ms), ..definition }).await;
    }
    archive.move_drop(&id("open"), Defined, Opening).await.expect("moved");
    archive.move_drop(&id("second"), Defined, Opening).await.expect("moved");
    archive.move_drop(&id("open"), Opening, Opened).await.expect("moved");
    assert_eq!(ids(&archive.unopened_drops(at(50), 10).await.expect("read")), ["first", "second", "third"]);
    assert_eq!(ids(&archive.unopened_drops(at(50), 2).await.expect("read")), ["first", "second"]);
}
