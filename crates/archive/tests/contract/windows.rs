//! The windows that are kept for a sku's drops.

use futures_util::future::try_join_all;
use stampede_archive::{Archive, DefineDrop, WindowChange};
use stampede_domain::{DropId, Sku};

use crate::data::{drop_of, id, product, window};

async fn with_products(archive: &dyn Archive, skus: &[&str]) {
    for sku in skus {
        archive.create_product(&product(sku, 0)).await.expect("created");
    }
}

async fn define(archive: &dyn Archive, drop_id: &str, from: i64, to: Option<i64>) -> DefineDrop {
    archive.define_drop(&drop_of("AIR-1", drop_id, window(from, to))).await.expect("answered")
}

fn overlaps(drops: &[&str]) -> DefineDrop {
    DefineDrop::Overlaps(drops.iter().map(|drop_id| id(drop_id)).collect())
}

pub async fn a_drop_that_overlaps_another_of_its_sku_is_refused(archive: &dyn Archive) {
    with_products(archive, &["AIR-1"]).await;
    assert_eq!(define(archive, "b", 100, Some(200)).await, DefineDrop::Defined);
    assert_eq!(define(archive, "a", 300, None).await, DefineDrop::Defined);
    assert_eq!(define(archive, "c", 199, Some(300)).await, overlaps(&["b"]));
    assert_eq!(define(archive, "c", 0, None).await, overlaps(&["b", "a"]));
    assert_eq!(archive.drop_record(&id("c")).await.expect("read"), None, "what was refused left nothing");
    assert_eq!(define(archive, "c", 200, Some(300)).await, DefineDrop::Defined, "windows may touch");
}

pub async fn windows_of_other_skus_do_not_matter(archive: &dyn Archive) {
    with_products(archive, &["AIR-1", "AIR-2"]).await;
    assert_eq!(define(archive, "a", 0, None).await, DefineDrop::Defined);
    let other = archive.define_drop(&drop_of("AIR-2", "b", window(0, None))).await.expect("answered");
    assert_eq!(other, DefineDrop::Defined);
}

pub async fn of_many_overlapping_definitions_at_once_one_wins(archive: &dyn Archive) {
    with_products(archive, &["AIR-1"]).await;
    let definitions: Vec<_> =
        (0..16).map(|n| drop_of("AIR-1", &format!("racer-{n}"), window(n, Some(1_000 + n)))).collect();
    let answers = try_join_all(definitions.iter().map(|definition| archive.define_drop(definition))).await;
    let answers = answers.expect("answered");
    let winners: Vec<&DropId> = definitions
        .iter()
        .zip(&answers)
        .filter(|(_, answer)| **answer == DefineDrop::Defined)
        .map(|(definition, _)| &definition.id)
        .collect();
    assert_eq!(winners.len(), 1, "{answers:?}");
    for answer in answers.iter().filter(|answer| **answer != DefineDrop::Defined) {
        assert_eq!(*answer, DefineDrop::Overlaps(vec![winners[0].clone()]));
    }
    let records = archive.drops(None, None, 100).await.expect("read");
    assert_eq!(records.iter().map(|record| &record.definition.id).collect::<Vec<_>>(), winners);
}

pub async fn one_id_defined_for_many_skus_at_once_is_defined_once(archive: &dyn Archive) {
    let skus: Vec<String> = (0..8).map(|n| format!("AIR-{n}")).collect();
    for sku in &skus {
        archive.create_product(&product(sku, 0)).await.expect("created");
    }
    let definitions: Vec<_> = skus.iter().map(|sku| drop_of(sku, "demo", window(0, None))).collect();
    let answers = try_join_all(definitions.iter().map(|definition| archive.define_drop(definition))).await;
    let answers = answers.expect("answered");
    assert_eq!(answers.iter().filter(|answer| **answer == DefineDrop::Defined).count(), 1, "{answers:?}");
    let record = archive.drop_record(&id("demo")).await.expect("read").expect("defined");
    let losers: Vec<_> = skus.iter().filter(|sku| sku.as_str() != record.definition.sku.as_str()).collect();
    for (n, sku) in losers.into_iter().enumerate() {
        let free = drop_of(sku, &format!("free-{n}"), window(0, None));
        assert_eq!(archive.define_drop(&free).await.expect("answered"), DefineDrop::Defined, "{sku} kept no window");
    }
}

pub async fn a_released_window_is_free_again(archive: &dyn Archive) {
    with_products(archive, &["AIR-1"]).await;
    let (sku, first): (Sku, DropId) = (id("AIR-1"), id("a"));
    assert_eq!(define(archive, "a", 0, None).await, DefineDrop::Defined);
    archive.release_window(&id("OTHER"), &first).await.expect("answered");
    assert_eq!(define(archive, "b", 0, None).await, overlaps(&["a"]));
    for _ in 0..2 {
        archive.release_window(&sku, &first).await.expect("released, and again");
    }
    assert_eq!(define(archive, "b", 0, None).await, DefineDrop::Defined);
    assert!(archive.drop_record(&first).await.expect("read").is_some(), "the drop stays");
    assert!(matches!(define(archive, "a", 0, None).await, DefineDrop::Exists(_)), "and keeps its id");
}

pub async fn a_window_is_changed_unless_it_would_overlap(archive: &dyn Archive) {
    with_products(archive, &["AIR-1"]).await;
    let (sku, first): (Sku, DropId) = (id("AIR-1"), id("a"));
    assert_eq!(define(archive, "a", 0, Some(100)).await, DefineDrop::Defined);
    assert_eq!(define(archive, "b", 200, Some(300)).await, DefineDrop::Defined);
    let change = |from, to| {
        let (sku, first) = (&sku, &first);
        async move { archive.change_window(sku, first, &window(from, to)).await.expect("answered") }
    };
    assert_eq!(change(0, Some(200)).await, WindowChange::Changed(window(0, Some(100))), "it may overlap its own");
    assert_eq!(change(0, Some(201)).await, WindowChange::Overlaps(vec![id("b")]));
    let record = archive.drop_record(&first).await.expect("read").expect("there");
    assert_eq!(record.window, window(0, Some(200)));
    assert_eq!(record.definition.window, window(0, Some(100)), "the definition says what it was at first");
    assert_eq!(change(300, None).await, WindowChange::Changed(window(0, Some(200))));
    assert_eq!(define(archive, "c", 0, Some(200)).await, DefineDrop::Defined, "the old window is free");
    assert_eq!(define(archive, "d", 9_000, Some(9_001)).await, overlaps(&["a"]), "the new one is not");
}

pub async fn windows_that_grow_towards_each_other_at_once_never_overlap(archive: &dyn Archive) {
    with_products(archive, &["AIR-1"]).await;
    assert_eq!(define(archive, "a", 0, Some(100)).await, DefineDrop::Defined);
    assert_eq!(define(archive, "b", 900, Some(1_000)).await, DefineDrop::Defined);
    let (sku, a, b): (Sku, DropId, DropId) = (id("AIR-1"), id("a"), id("b"));
    for n in 1..=8 {
        let (wide_a, wide_b) = (window(0, Some(500 + n)), window(500 - n, Some(1_000)));
        let (first, second) =
            tokio::join!(archive.change_window(&sku, &a, &wide_a), archive.change_window(&sku, &b, &wide_b));
        let changed = |answer| matches!(answer, WindowChange::Changed(_));
        assert!(changed(first.expect("answered")) != changed(second.expect("answered")), "exactly one is changed");
        let record = |drop_id| async move { archive.drop_record(drop_id).await.expect("read").expect("there").window };
        assert!(!record(&a).await.overlaps(&record(&b).await));
        archive.change_window(&sku, &a, &window(0, Some(100))).await.expect("changed back");
        archive.change_window(&sku, &b, &window(900, Some(1_000))).await.expect("changed back");
    }
}

pub async fn a_drop_without_a_kept_window_has_none_to_change(archive: &dyn Archive) {
    with_products(archive, &["AIR-1"]).await;
    let (sku, first): (Sku, DropId) = (id("AIR-1"), id("a"));
    let change = || async { archive.change_window(&sku, &first, &window(5, None)).await.expect("answered") };
    assert_eq!(change().await, WindowChange::NotKept);
    assert_eq!(define(archive, "a", 0, None).await, DefineDrop::Defined);
    archive.release_window(&sku, &first).await.expect("released");
    assert_eq!(change().await, WindowChange::NotKept);
    let record = archive.drop_record(&first).await.expect("read").expect("there");
    assert_eq!(record.window, window(0, None));
}
