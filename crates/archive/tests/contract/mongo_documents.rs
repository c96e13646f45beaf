//! What only MongoDB has: documents that people read, and processes that die between two of them.

use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Bson, Document, doc};
use mongodb::{Client, Collection};
use stampede_archive::{ArchiveError, DefineDrop, DropStage, Refusal, RefusalReason, WindowChange};
use stampede_domain::{DeadLetter, FactBody, OrderStatus};

use crate::data::{Place, START_MS, cancellation, compensation, drop_of, fact, grant, id, order_id, product, window};
use crate::subject::Subject;

async fn collection(subject: &Subject, name: &str) -> Collection<Document> {
    let client = Client::with_uri_str(subject.url()).await.expect("connected");
    client.default_database().expect("named").collection(name)
}

/// Takes a drop's record away, as if the process that defined the drop had died before it inserted it.
async fn lose_record(subject: &Subject, drop_id: &str) {
    let drops = collection(subject, "drops").await;
    let deleted = drops.delete_one(doc! { "_id": drop_id }).await.expect("deleted");
    assert_eq!(deleted.deleted_count, 1);
}

#[tokio::test]
async fn orders_have_uuids_and_times_are_dates() {
    let subject = Subject::mongodb().await;
    let granted = grant(Place(3, 2, 17, 5), "auth0|a");
    let opened =
        fact(Place(3, 2, 1, 0), FactBody::Opened { drop: Box::new(drop_of("AIR-1", "demo", window(7, None))) });
    let cancelled = cancellation(Place(3, 2, 18, 0), &granted);
    subject.archive().insert_facts(&[granted.clone(), opened.clone(), cancelled.clone()]).await.expect("inserted");
    let facts = collection(&subject, "facts").await;
    let find = |filter: Document| async { facts.find_one(filter).await.expect("read").expect("there") };

    let order = find(doc! { "kind": "granted" }).await;
    let Some(Bson::Binary(uuid)) = order.get("_id") else { panic!("{order}") };
    assert_eq!((uuid.subtype, uuid.bytes.as_slice()), (BinarySubtype::Uuid, &order_id(&granted).as_bytes()[..]));
    let happened_at = order.get_datetime("happened_at").expect("a date");
    assert_eq!(happened_at.timestamp_millis(), (START_MS + 2_004).cast_signed());
    assert_eq!(order.get_str("user_id").expect("a text"), "auth0|a");

    let opening = find(doc! { "_id": opened.id().to_string() }).await;
    let definition = opening.get_document("details").and_then(|details| details.get_document("drop")).expect("there");
    let starts_at = definition.get_document("window").and_then(|window| window.get_datetime("starts_at"));
    assert_eq!(starts_at.expect("a date").timestamp_millis(), (START_MS + 7).cast_signed());

    let found = find(doc! { "details.order_id": uuid }).await;
    assert_eq!(found.get_str("_id").expect("a text"), cancelled.id().to_string());
}

#[tokio::test]
async fn an_order_whose_place_something_unreadable_has_is_known_by_its_compensation() {
    let subject = Subject::mongodb().await;
    let archive = subject.archive();
    let granted = grant(Place(1, 1, 1, 0), "ann");
    let uuid = Bson::Binary(mongodb::bson::Binary {
        subtype: BinarySubtype::Uuid,
        bytes: order_id(&granted).as_bytes().to_vec(),
    });
    collection(&subject, "facts").await.insert_one(doc! { "_id": uuid, "note": "in the way" }).await.expect("inserted");
    let refusals = archive.insert_facts(std::slice::from_ref(&granted)).await.expect("answered");
    assert_eq!(refusals, [Refusal { fact: granted.id(), index: 0, reason: RefusalReason::Conflict }]);
    assert_eq!(archive.note_dead_letters(&[DeadLetter::new(granted.clone(), "conflict")]).await.expect("noted"), []);
    assert_eq!(archive.facts_by_ids(&[granted.id()]).await.expect("read"), []);
    let order = async || archive.order(order_id(&granted)).await;
    assert!(matches!(order().await, Err(ArchiveError::Malformed { .. })));
    archive.insert_facts(&[compensation(Place(1, 1, 2, 0), &granted)]).await.expect("inserted");
    assert_eq!(order().await.expect("read").expect("told of").order.status, OrderStatus::Compensated);
}

#[tokio::test]
async fn a_drop_whose_process_died_is_defined_when_it_is_asked_for_again() {
    let subject = Subject::mongodb().await;
    let archive = subject.archive();
    archive.create_product(&product("AIR-1", 0)).await.expect("created");
    let definition = drop_of("AIR-1", "demo", window(0, Some(100)));
    archive.define_drop(&definition).await.expect("defined");
    lose_record(&subject, "demo").await;

    let answer = archive.define_drop(&definition).await.expect("answered");
    let DefineDrop::Exists(record) = answer else { panic!("{answer:?}") };
    assert_eq!((record.definition, record.stage), (definition.clone(), DropStage::Defined));
    let stored = archive.drop_record(&definition.id).await.expect("read");
    assert_eq!(stored.map(|record| record.definition), Some(definition));
}

#[tokio::test]
async fn a_drop_whose_process_died_is_defined_by_whoever_meets_its_window() {
    let subject = Subject::mongodb().await;
    let archive = subject.archive();
    archive.create_product(&product("AIR-1", 0)).await.expect("created");
    archive.define_drop(&drop_of("AIR-1", "demo", window(0, Some(100)))).await.expect("defined");
    lose_record(&subject, "demo").await;
    let answer = archive.define_drop(&drop_of("AIR-1", "other", window(50, None))).await.expect("answered");
    assert_eq!(answer, DefineDrop::Overlaps(vec![id("demo")]));
    assert!(archive.drop_record(&id("demo")).await.expect("read").is_some());

    lose_record(&subject, "demo").await;
    let answer = archive.change_window(&id("AIR-1"), &id("demo"), &window(0, None)).await.expect("answered");
    assert_eq!(answer, WindowChange::Changed(window(0, Some(100))));
    let record = archive.drop_record(&id("demo")).await.expect("read").expect("there");
    assert_eq!(record.window, window(0, None));
}

#[tokio::test]
async fn a_window_whose_id_went_to_another_sku_is_given_up() {
    let subject = Subject::mongodb().await;
    let archive = subject.archive();
    for sku in ["AIR-1", "AIR-2"] {
        archive.create_product(&product(sku, 0)).await.expect("created");
    }
    // One process keeps a window for the id and dies; another gives the id to another sku.
    archive.define_drop(&drop_of("AIR-1", "demo", window(0, None))).await.expect("defined");
    lose_record(&subject, "demo").await;
    archive.define_drop(&drop_of("AIR-2", "demo", window(0, None))).await.expect("defined");

    let answer = archive.define_drop(&drop_of("AIR-1", "other", window(0, None))).await.expect("answered");
    assert_eq!(answer, DefineDrop::Defined);
}
