//! The schema, the deployment, and what stays.

use stampede_archive::{Archive, ArchiveError, CreateProduct, FactRange, OrderFilter, SCHEMA_VERSION, SchemaStatus};
use stampede_domain::{DeadLetter, Epoch, Fact, OrderStatus};

use crate::data::{Place, cancellation, drop_of, grant, id, order_id, product, shard, window};
use crate::subject::{Subject, deployment};

pub async fn a_migration_may_run_again(archive: &dyn Archive) {
    assert_eq!(archive.schema_status().await.expect("read"), SchemaStatus::Current);
    archive.create_product(&product("AIR-1", 0)).await.expect("created");
    archive.migrate().await.expect("migrated again");
    assert_eq!(archive.schema_status().await.expect("read"), SchemaStatus::Current);
    assert!(archive.product(&id("AIR-1")).await.expect("read").is_some());
}

pub async fn the_first_deployment_stays(archive: &dyn Archive) {
    archive.raise_epoch(shard(7)).await.expect("raised");
    let stored = archive.deployment(&deployment("second")).await.expect("read");
    assert_eq!(stored, deployment("first"));
    assert_eq!(archive.epoch(shard(7)).await.expect("read"), Epoch(1), "its epochs stay as they are");
    assert!(archive.raise_epoch(shard(8)).await.is_err(), "it has eight shards");
}

pub async fn an_empty_archive_has_no_schema(subject: &Subject) {
    let archive = subject.connect().await;
    archive.ping().await.expect("it answers");
    assert_eq!(archive.schema_status().await.expect("read"), SchemaStatus::Missing);
}

pub async fn a_newer_schema_is_refused(subject: Subject) {
    let newer = SCHEMA_VERSION + 1;
    subject.set_schema_version(newer.cast_signed()).await;
    let status = subject.archive().schema_status().await.expect("read");
    assert_eq!(status, SchemaStatus::Newer(newer));
    let refused = subject.archive().migrate().await;
    let Err(ArchiveError::NewerSchema { found, known }) = refused else { panic!("{refused:?}") };
    assert_eq!((found, known), (newer, SCHEMA_VERSION));
    let status = subject.archive().schema_status().await.expect("read");
    assert_eq!(status, SchemaStatus::Newer(newer), "it is left as it is");
}

pub async fn an_archive_of_the_first_version_is_moved_on(subject: Subject) {
    let archive = subject.connect().await;
    // Entries of several orders, of two drops in turns, and one that was cancelled.
    let of = |number: u64, index: u16| {
        let drop_id = id(["demo", "other"][usize::from(index % 2)]);
        Fact { drop_id, entry_facts: 9, ..grant(Place(1, 1, number, index), &format!("user-{}", index % 5)) }
    };
    let mut facts: Vec<Fact> = (1..=20).flat_map(|number| (0..9).map(move |index| of(number, index))).collect();
    facts.push(cancellation(Place(1, 1, 21, 0), &facts[7]));
    subject.insert_as_version_1(&facts).await;
    assert_eq!(archive.schema_status().await.expect("read"), SchemaStatus::Older(1));
    archive.migrate().await.expect("migrated");
    assert_eq!(archive.schema_status().await.expect("read"), SchemaStatus::Current);
    let letter = DeadLetter::new(grant(Place(1, 1, 5, 20), "bob"), "no room");
    assert_eq!(archive.note_dead_letters(&[letter]).await.expect("noted"), []);
    assert_eq!(archive.stocks(shard(1), &[id("demo")]).await.expect("the new tables are there"), []);

    let all = FactRange { from_epoch: Epoch(0), beyond_number: 0 };
    assert_eq!(archive.facts(shard(1), all, None, 1_000).await.expect("read"), facts);
    let order = archive.order(order_id(&facts[7])).await.expect("read").expect("still there");
    assert_eq!(order.order.status, OrderStatus::Cancelled);
    let orders = archive.orders(&OrderFilter::of_user(id("user-3")), None, 1_000).await.expect("read");
    let expected = facts.iter().rev().filter_map(Fact::order).filter(|order| order.user_id.as_str() == "user-3");
    assert_eq!(
        orders.iter().map(|order| order.order.id).collect::<Vec<_>>(),
        expected.map(|order| order.id).collect::<Vec<_>>()
    );
    assert_eq!(archive.insert_facts(&facts).await.expect("inserted again"), []);
    assert_eq!(archive.facts(shard(1), all, None, 1_000).await.expect("read").len(), facts.len());
}

/// An archive that is away says so: nothing is refused for good, and nothing is lost when it is back.
pub async fn an_archive_that_is_away_refuses_nothing_for_good(
    archive: &dyn Archive,
    go: impl AsyncFnOnce(),
    come_back: impl AsyncFnOnce(),
) {
    let facts = [grant(Place(1, 1, 1, 0), "ann"), grant(Place(1, 1, 2, 0), "bob")];
    let letter = DeadLetter::new(grant(Place(1, 1, 3, 0), "eve"), "no room");
    assert_eq!(archive.insert_facts(&facts[..1]).await.expect("inserted"), []);
    go().await;
    for _ in 0..2 {
        let (inserted, noted) =
            tokio::join!(archive.insert_facts(&facts), archive.note_dead_letters(std::slice::from_ref(&letter)));
        assert!(matches!(inserted, Err(ArchiveError::Unavailable(_))), "{inserted:?}");
        assert!(matches!(noted, Err(ArchiveError::Unavailable(_))), "{noted:?}");
    }
    come_back().await;
    assert_eq!(archive.insert_facts(&facts).await.expect("inserted"), []);
    assert_eq!(archive.note_dead_letters(&[letter]).await.expect("noted"), []);
    assert!(archive.order(order_id(&facts[1])).await.expect("read").is_some());
}

pub async fn what_was_written_is_there_after_reopening(subject: Subject) {
    let granted = grant(Place(1, 1, 5, 0), "ann");
    let archive = subject.archive();
    assert_eq!(archive.create_product(&product("AIR-1", 0)).await.expect("created"), CreateProduct::Created);
    archive.define_drop(&drop_of("AIR-1", "demo", window(0, None))).await.expect("defined");
    archive.insert_facts(std::slice::from_ref(&granted)).await.expect("inserted");
    archive.raise_epoch(shard(1)).await.expect("raised");

    let subject = subject.reopened().await;
    let archive = subject.archive();
    assert_eq!(archive.schema_status().await.expect("read"), SchemaStatus::Current);
    assert_eq!(archive.deployment(&deployment("other")).await.expect("read"), deployment("first"));
    assert!(archive.product(&id("AIR-1")).await.expect("read").is_some());
    assert!(archive.drop_record(&id("demo")).await.expect("read").is_some());
    let order = archive.order(order_id(&granted)).await.expect("read").expect("there");
    assert_eq!(Some(order.order), granted.order());
    assert_eq!(archive.epoch(shard(1)).await.expect("read"), Epoch(1));
}
