//! What the archive refuses for good is kept, readable, and settled by an operator; nothing else suffers.

mod support;

use std::sync::Arc;

use futures_util::future::join_all;
use stampede_archive::FactRange;
use stampede_domain::{
    CancelledBy, DeadLetter, Epoch, Fact, FactBody, FactId, GrantState, Order, OrderStatus, UserDigest,
};
use stampede_engine::{Decision, DropTerms, KeptLetter, LetterCompensation, LetterReplay, LetterState, OrderRef};
use stampede_worker::{PersistError, Persister, RecoveryError, Watchman};
use support::Harness;

const ALL: FactRange = FactRange { from_epoch: Epoch(0), beyond_number: 0 };

async fn letters(harness: &Harness) -> Vec<KeptLetter> {
    harness.engine.letters(harness.shard()).await.expect("readable")
}

async fn one_letter(harness: &Harness) -> Fact {
    let mut letters = letters(harness).await;
    assert_eq!(letters.len(), 1, "{letters:?}");
    letters.remove(0).letter.fact
}

/// What the user's record says of the order.
async fn state(harness: &Harness, drop: &Arc<DropTerms>, order: &Order) -> Option<GrantState> {
    let user = UserDigest::of(&order.user_id);
    let grants = harness.engine.user_grants(harness.shard(), &[(drop.id.clone(), user)]).await.expect("readable");
    let (_, records) = grants.into_iter().next()?.grants?;
    let found = records.iter().find(|record| record.order_id(harness.shard(), &drop.id, user) == order.id);
    found.map(|record| record.state)
}

async fn archived(harness: &Harness, order: &Order) -> Option<OrderStatus> {
    harness.archive.order(order.id).await.expect("readable").map(|archived| archived.order.status)
}

/// A drop, and an order that the archive refuses.
async fn one_refused(harness: &Harness, id: &str) -> (Arc<DropTerms>, Order) {
    harness.archive_file().refuse_orders_of("bad");
    let drop = harness.open(id, 5, 2).await;
    let order = harness.granted(&drop, "bad").await;
    harness.persist_all().await;
    (drop, order)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_group_only_the_refused_order_is_a_dead_letter() {
    let harness = Harness::start().await;
    harness.archive_file().refuse_orders_of("bad");
    let drop = harness.open("group", 50, 1).await;
    let users: Vec<String> = (0..40).map(|n| if n == 17 { "bad".to_owned() } else { format!("user-{n}") }).collect();
    let placed = join_all(users.iter().map(|user| harness.order(&drop, user, "key"))).await;
    assert!(placed.iter().all(|placed| matches!(placed, Ok(Decision::Granted(_)))));
    harness.persist_all().await;
    assert_eq!(harness.archived_orders(&drop.id).await.len(), 39);
    let kept = letters(&harness).await.remove(0);
    let order = kept.letter.fact.order().expect("an order");
    assert_eq!((order.user_id.as_str(), kept.state), ("bad", LetterState::Dead));
    assert!(kept.letter.reason.contains("refused by a test"), "{}", kept.letter.reason);
    let notes = harness.archive.dead_letters(harness.shard(), ALL, None, 10).await.expect("readable");
    assert_eq!(notes, [kept.letter]);
    assert_eq!(harness.order(&drop, "bad", "key").await, Ok(Decision::Replayed(order)), "and it stands");
    let status = harness.engine.log_status(harness.shard()).await.expect("answers");
    assert_eq!((status.entries, status.backlog_orders, status.backlog_bytes), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_archived_once_the_archive_is_mended() {
    let harness = Harness::start().await;
    let (drop, order) = one_refused(&harness, "mended").await;
    let fact = one_letter(&harness).await;
    assert_eq!(harness.engine.replay_letter(&fact).await, Ok(LetterReplay::Replayed));
    assert_eq!(letters(&harness).await[0].state, LetterState::Replaying);
    harness.persist_all().await;
    assert_eq!(letters(&harness).await[0].state, LetterState::Dead, "refused again");
    assert_eq!(archived(&harness, &order).await, None);

    harness.archive_file().accept_all();
    assert_eq!(harness.engine.replay_letter(&fact).await, Ok(LetterReplay::Replayed));
    harness.assert_invariants(&drop).await;
    assert_eq!(letters(&harness).await, []);
    assert_eq!(archived(&harness, &order).await, Some(OrderStatus::Confirmed));
    let facts = harness.archive.facts(harness.shard(), ALL, None, 100).await.expect("readable");
    assert_eq!(facts.iter().filter(|kept| **kept == fact).count(), 1, "with its own position, epoch and number");
    let of = FactId::Order(order.id);
    assert_eq!(facts.iter().filter(|kept| kept.body == FactBody::Replayed { of }).count(), 2, "and both replays");
    assert_eq!(harness.engine.unsettled_drops(harness.shard()).await, Ok(vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compensation_tells_the_archive_of_the_order() {
    let harness = Harness::start().await;
    let (drop, order) = one_refused(&harness, "back").await;
    let fact = one_letter(&harness).await;
    assert_eq!(harness.engine.compensate_letter(&fact).await, Ok(LetterCompensation::Compensated));
    assert_eq!(letters(&harness).await[0].state, LetterState::Compensated, "readable until the archive knows");
    harness.assert_invariants(&drop).await;
    assert_eq!(letters(&harness).await, []);
    let told = harness.archive.order(order.id).await.expect("readable").expect("told of").order;
    assert_eq!(told, Order { status: OrderStatus::Compensated, ..order });
    assert_eq!(harness.drop_now(&drop.id).await.sold_units, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_order_whose_grant_is_dead_is_replayed() {
    let harness = Harness::start().await;
    let (drop, order) = one_refused(&harness, "cancelled").await;
    harness.engine.cancel_order(&OrderRef::from(&order), CancelledBy::Shopper).await.expect("cancelled");
    harness.persist_all().await;
    let fact = one_letter(&harness).await;
    let compensated = harness.engine.compensate_letter(&fact).await;
    assert_eq!(compensated, Ok(LetterCompensation::Already(GrantState::Cancelled)));
    harness.archive_file().accept_all();
    assert_eq!(harness.engine.replay_letter(&fact).await, Ok(LetterReplay::Replayed));
    harness.assert_invariants(&drop).await;
    assert_eq!(archived(&harness, &order).await, Some(OrderStatus::Cancelled));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compensation_that_is_refused_leaves_the_order_readable() {
    let harness = Harness::start().await;
    let (drop, order) = one_refused(&harness, "twice").await;
    let fact = one_letter(&harness).await;
    harness.archive_file().accept_all();
    harness.archive_file().refuse_kind("compensated");
    harness.engine.compensate_letter(&fact).await.expect("compensated");
    harness.persist_all().await;
    let kept = letters(&harness).await;
    let [grant, compensation] = &kept[..] else { panic!("{kept:?}") };
    assert_eq!((grant.state, &grant.letter.fact), (LetterState::Compensated, &fact));
    assert_eq!(compensation.state, LetterState::Dead);
    let told = &compensation.letter.fact;
    assert_eq!(harness.engine.compensate_letter(told).await, Ok(LetterCompensation::NotAnOrder));
    harness.archive_file().accept_all();
    assert_eq!(harness.engine.replay_letter(told).await, Ok(LetterReplay::Replayed));
    harness.assert_invariants(&drop).await;
    assert_eq!(letters(&harness).await, []);
    assert_eq!(archived(&harness, &order).await, Some(OrderStatus::Compensated));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_redis_gets_its_dead_letters_and_their_orders_back() {
    let mut harness = Harness::start().await;
    harness.archive_file().refuse_orders_of("bad");
    let drop = harness.open("lost", 50, 1).await;
    let users: Vec<String> =
        (0..40).map(|n| if n % 9 == 4 { format!("bad-{n}") } else { format!("user-{n}") }).collect();
    let placed = join_all(users.iter().map(|user| harness.order(&drop, user, "key"))).await;
    harness.persist_all().await;
    let before = letters(&harness).await;
    assert_eq!(before.len(), 4);

    let report = harness.lose_redis().await;
    assert_eq!((report.holes, report.restored_letters), (0, 4), "{report:?}");
    assert_eq!(letters(&harness).await, before);
    assert_eq!(harness.engine.unsettled_drops(harness.shard()).await, Ok(vec![drop.id.clone()]));
    for (user, placed) in users.iter().zip(placed) {
        let Ok(Decision::Granted(order)) = placed else { panic!("{placed:?}") };
        assert_eq!(harness.order(&drop, user, "key").await, Ok(Decision::Replayed(order)));
    }
    assert_eq!(harness.drop_now(&drop.id).await.sold_units, 40);

    // One is given back, one is replayed, and Redis is lost again.
    harness.engine.compensate_letter(&before[0].letter.fact).await.expect("compensated");
    harness.archive_file().accept_all();
    harness.engine.replay_letter(&before[1].letter.fact).await.expect("replayed");
    harness.persist_all().await;
    let report = harness.lose_redis().await;
    assert_eq!((report.holes, report.restored_letters), (0, 2), "{report:?}");
    assert_eq!(letters(&harness).await, before[2..]);
    let order = before[0].letter.fact.order().expect("an order");
    assert_eq!(state(&harness, &drop, &order).await, Some(GrantState::Compensated));
    for kept in &before[2..] {
        harness.engine.replay_letter(&kept.letter.fact).await.expect("replayed");
    }
    harness.assert_invariants(&drop).await;
    assert_eq!(harness.archived_orders(&drop.id).await.len(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_file_brings_back_neither_a_letter_nor_its_order_a_second_time() {
    let mut harness = Harness::start().await;
    harness.archive_file().refuse_orders_of("bad");
    let drop = harness.open("older", 5, 1).await;
    let order = harness.granted(&drop, "bad").await;
    let saved = tempfile::TempDir::new().expect("a temporary folder");
    harness.redis.stop().await;
    harness.redis.copy_files_to(saved.path());
    harness.redis.restart().await;
    harness.recover().await;
    harness.persist_all().await;
    let fact = one_letter(&harness).await;

    // The entry is in the log again; the note does not make a letter of it before the archive was asked.
    let restore = async |harness: &mut Harness| {
        harness.redis.kill().await;
        harness.redis.restore_files_from(saved.path());
        harness.redis.restart().await;
        harness.recover().await
    };
    assert_eq!(restore(&mut harness).await.restored_letters, 0);
    assert_eq!(letters(&harness).await, []);
    harness.persist_all().await;
    assert_eq!(one_letter(&harness).await, fact);
    assert_eq!(harness.engine.compensate_letter(&fact).await, Ok(LetterCompensation::Compensated));
    harness.persist_all().await;

    // Now the archive knows that the order was given back: its entry becomes no letter once more.
    assert_eq!(restore(&mut harness).await.restored_letters, 0);
    assert_eq!(state(&harness, &drop, &order).await, Some(GrantState::Compensated));
    harness.assert_invariants(&drop).await;
    assert_eq!(letters(&harness).await, []);
    assert_eq!(harness.drop_now(&drop.id).await.sold_units, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_on_its_way_stays_one_over_a_restart() {
    let mut harness = Harness::start().await;
    let (drop, order) = one_refused(&harness, "restart").await;
    let fact = one_letter(&harness).await;
    harness.engine.replay_letter(&fact).await.expect("replayed");
    harness.archive_file().accept_all();
    harness.redis.kill().await;
    harness.redis.restart().await;
    harness.recover().await;
    assert_eq!(letters(&harness).await[0].state, LetterState::Replaying);
    assert_eq!(harness.engine.compensate_letter(&fact).await, Ok(LetterCompensation::Replaying));
    harness.assert_invariants(&drop).await;
    assert_eq!((letters(&harness).await, archived(&harness, &order).await), (vec![], Some(OrderStatus::Confirmed)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_is_rebuilt_keeps_what_its_log_held_and_the_archive_refuses() {
    let harness = Harness::start().await;
    harness.archive_file().refuse_orders_of("bad");
    let drop = harness.open("rebuilt", 9, 1).await;
    let users = ["a", "bad", "b"];
    join_all(users.map(|user| harness.order(&drop, user, "key"))).await;
    harness.redis.cli(&["DEL", "{s00}:drop:rebuilt:users"]);
    let report = harness.recover().await;
    assert!(report.wiped && report.holes == 0 && report.restored_letters == 1, "{report:?}");
    for user in users {
        assert!(matches!(harness.order(&drop, user, "key").await, Ok(Decision::Replayed(_))), "{user}");
    }
    let fact = one_letter(&harness).await;
    harness.engine.compensate_letter(&fact).await.expect("compensated");
    harness.assert_invariants(&drop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_dead_letters_come_back_without_a_rebuild() {
    let harness = Harness::start().await;
    let (drop, _) = one_refused(&harness, "letters").await;
    let before = letters(&harness).await;
    let mut watchman = Watchman::new(harness.engine.clone(), Arc::clone(&harness.archive), harness.settings.clone());
    assert_eq!(watchman.step().await.expect("looks"), vec![]);
    harness.redis.cli(&["DEL", "{s00}:dead"]);
    let report = watchman.step().await.expect("recovers").remove(0).1;
    assert!(!report.wiped && report.restored_letters == 1, "{report:?}");
    assert_eq!(letters(&harness).await, before);
    // What an earlier version left there.
    harness.redis.cli(&["DEL", "{s00}:dead"]);
    harness.redis.cli(&["XADD", "{s00}:dead", "*", "created", ""]);
    assert_eq!(watchman.step().await.expect("recovers").remove(0).1.restored_letters, 1);
    assert_eq!(letters(&harness).await, before);
    harness.engine.compensate_letter(&before[0].letter.fact).await.expect("compensated");
    harness.assert_invariants(&drop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fact_that_cannot_even_be_noted_stays_in_the_log() {
    let harness = Harness::start().await;
    let file = harness.archive_file();
    file.refuse_orders_of("bad");
    file.refuse_notes();
    let drop = harness.open("unnoted", 5, 1).await;
    let order = harness.granted(&drop, "bad").await;
    harness.granted(&drop, "good").await;
    let mut persister = harness.persister();
    let step = persister.step().await.expect("the step succeeds");
    assert_eq!((step.entries, step.left), (2, 1), "the others go on");
    assert_eq!(letters(&harness).await, []);
    assert!(harness.engine.logged_order(order.id).await.expect("readable").is_some());
    // Redis must not be wiped either, as the log is all there is.
    harness.redis.cli(&["DEL", "{s00}:drop:unnoted:users"]);
    let refused = harness.recovery().await.finish().await.expect_err("nothing is wiped");
    assert!(matches!(&refused, RecoveryError::NotKept(id) if *id == FactId::Order(order.id)), "{refused}");
    file.accept_all();
    harness.recover().await;
    harness.assert_invariants(&drop).await;
    assert_eq!(archived(&harness, &order).await, Some(OrderStatus::Confirmed));
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_limit_of_letters_entries_stay_in_the_log() {
    let harness = Harness::start().await;
    harness.archive_file().refuse_orders_of("bad");
    let drop = harness.open("limit", 9, 1).await;
    let engine = harness.another_engine(|settings| settings.dead_letters_max = 1).await;
    let mut persister = Persister::new(engine, Arc::clone(&harness.archive), harness.settings.clone());
    harness.granted(&drop, "bad-1").await;
    persister.step().await.expect("the step succeeds");
    assert_eq!(letters(&harness).await.len(), 1);
    let second = harness.granted(&drop, "bad-2").await;
    harness.granted(&drop, "good").await;
    let step = persister.step().await.expect("the step succeeds");
    assert_eq!((step.entries, step.left), (1, 1));
    assert_eq!((letters(&harness).await.len(), archived(&harness, &second).await), (1, None));
    assert!(harness.engine.logged_order(second.id).await.expect("readable").is_some());
    // An operator makes room.
    let fact = one_letter(&harness).await;
    harness.engine.compensate_letter(&fact).await.expect("compensated");
    harness.persist_all().await;
    assert_eq!(one_letter(&harness).await.order(), Some(second));
    harness.archive_file().accept_all();
    harness.engine.replay_letter(&one_letter(&harness).await).await.expect("replayed");
    harness.assert_invariants(&drop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_is_locked_makes_no_letters() {
    let harness = Harness::start().await;
    let drop = harness.open("locked", 5, 1).await;
    harness.granted(&drop, "a").await;
    let file = harness.archive_file();
    file.lock();
    let mut persister = harness.persister();
    let failed = persister.step().await.expect_err("locked");
    assert!(matches!(failed, PersistError::Archive(_)), "{failed}");
    assert_eq!(letters(&harness).await, []);
    file.unlock();
    harness.assert_invariants(&drop).await;
    assert_eq!(harness.archived_orders(&drop.id).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_replays_and_compensations_at_once_one_wins_each_time() {
    const ORDERS: usize = 1_000;
    let mut harness = Harness::start().await;
    let file = harness.archive_file();
    file.refuse_orders_of("bad");
    let drop = harness.open("thousand", 2_000, 1).await;
    let users: Vec<String> = (0..ORDERS).map(|n| format!("bad-{n}")).collect();
    let placed = join_all(users.iter().map(|user| harness.order(&drop, user, "key"))).await;
    assert!(placed.iter().all(|placed| matches!(placed, Ok(Decision::Granted(_)))));
    harness.persist_all().await;
    let facts: Vec<Fact> = letters(&harness).await.into_iter().map(|KeptLetter { letter, .. }| letter.fact).collect();
    assert_eq!(facts.len(), ORDERS);
    file.accept_all();
    let other = harness.another_engine(|_| ()).await;
    let mut given_back = Vec::new();
    for (n, fact) in facts.iter().enumerate() {
        let (one, two) = if n % 2 == 0 { (&harness.engine, &other) } else { (&other, &harness.engine) };
        let (replay, compensation) = tokio::join!(one.replay_letter(fact), two.compensate_letter(fact));
        match (replay, compensation) {
            (Ok(LetterReplay::Replayed), Ok(LetterCompensation::Replaying)) => {}
            (Ok(LetterReplay::Compensated), Ok(LetterCompensation::Compensated)) => given_back.push(fact),
            both => panic!("{n}: {both:?}"),
        }
    }
    harness.assert_invariants(&drop).await;
    assert_eq!(letters(&harness).await, []);
    let orders = harness.archived_orders(&drop.id).await;
    let of_status = |status| orders.iter().filter(|order| order.status == status).count();
    assert_eq!(of_status(OrderStatus::Compensated), given_back.len());
    assert_eq!(of_status(OrderStatus::Confirmed), ORDERS - given_back.len());
    // A Redis that knows nothing of it is rebuilt to the same.
    let report = harness.lose_redis().await;
    assert_eq!((report.holes, report.restored_letters), (0, 0), "{report:?}");
    harness.assert_invariants(&drop).await;
    for fact in given_back {
        let order = fact.order().expect("an order");
        assert_eq!(state(&harness, &drop, &order).await, Some(GrantState::Compensated));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_whose_fact_was_archived_is_no_letter_after_a_restart() {
    let mut harness = Harness::start().await;
    let drop = harness.open("noted", 5, 1).await;
    let order = harness.granted(&drop, "a").await;
    let fact = harness.engine.logged_order(order.id).await.expect("readable").expect("in the log");
    // A persister was refused, noted it, and died; the archive took it from the next one.
    let letter = DeadLetter::new(fact, "no room at the time");
    harness.archive.note_dead_letters(&[letter]).await.expect("noted");
    harness.persist_all().await;
    let report = harness.lose_redis().await;
    assert_eq!((report.holes, report.restored_letters), (0, 0), "{report:?}");
    harness.assert_invariants(&drop).await;
}
