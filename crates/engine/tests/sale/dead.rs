//! Dead letters: how they come about, and how they are settled.

use std::sync::Arc;

use stampede_domain::{DeadLetter, Epoch, Fact, FactBody, FactId, GrantState, Order, OrderStatus};
use stampede_engine::{
    Acknowledged, Decision, DropChange, DropTerms, EntryReceipt, KeptLetter, LetterChange, LetterCompensation,
    LetterReplay, LetterState, LogEntry, OrderRef, Refusal,
};

use crate::support::{Harness, request, user};

const EPOCH: Epoch = Epoch(1);

async fn read(h: &Harness) -> Vec<LogEntry> {
    h.engine.read_new(h.shard, "c", 10_000).await.expect("readable").entries
}

fn receipts(entries: &[LogEntry]) -> Vec<EntryReceipt> {
    entries.iter().map(|entry| entry.receipt(&entry.facts().expect("decodable"))).collect()
}

fn letter(entry: &LogEntry, fact: &Fact) -> LetterChange {
    let letter = Some(DeadLetter::new(fact.clone(), "no room"));
    LetterChange { entry: entry.id, fact: fact.id(), drop_id: fact.drop_id.clone(), letter }
}

fn settled(entry: &LogEntry, fact: &Fact) -> LetterChange {
    LetterChange { letter: None, ..letter(entry, fact) }
}

async fn acknowledge(h: &Harness, entries: &[LogEntry], letters: &[LetterChange]) -> u64 {
    match h.engine.acknowledge_with_letters(h.shard, EPOCH, &receipts(entries), letters).await {
        Ok(Acknowledged::Entries(entries)) => entries,
        other => panic!("{other:?}"),
    }
}

/// Acknowledges all that is new; the archive refuses these orders.
async fn refuse(h: &Harness, orders: &[Order]) -> Vec<Fact> {
    let entries = read(h).await;
    let (mut letters, mut facts) = (Vec::new(), Vec::new());
    for entry in &entries {
        for fact in entry.facts().expect("decodable") {
            if fact.order().is_some_and(|order| orders.iter().any(|refused| refused.id == order.id)) {
                letters.push(letter(entry, &fact));
                facts.push(fact);
            }
        }
    }
    assert_eq!(acknowledge(h, &entries, &letters).await, entries.len() as u64);
    facts
}

async fn one_refused(h: &Harness, name: &str) -> (Arc<DropTerms>, Order, Fact) {
    let drop = h.open(name, 3, 3).await;
    let order = h.buy(&drop, "a", "k", 2).await;
    let fact = refuse(h, std::slice::from_ref(&order)).await.remove(0);
    (drop, order, fact)
}

async fn kept(h: &Harness, fact: &Fact) -> Option<KeptLetter> {
    h.engine.letter(fact.id()).await.expect("readable")
}

async fn state(h: &Harness, fact: &Fact) -> Option<LetterState> {
    kept(h, fact).await.map(|kept| kept.state)
}

pub async fn a_refused_fact_is_a_letter_from_the_moment_on_in_which_its_entry_goes(h: Harness) {
    let drop = h.open("dead", 10, 1).await;
    let orders: Vec<_> = ["a", "b", "c"].iter().map(|user| request(&drop, user, "k", 1)).collect();
    let granted = h.in_one_group(orders).await;
    let Ok(Decision::Granted(order)) = &granted[1] else { panic!("{granted:?}") };
    assert_eq!(h.engine.dead_order(order.id).await, Ok(None));
    let facts = refuse(&h, std::slice::from_ref(order)).await;
    assert_eq!(facts[0].entry_facts, 3, "a single fact of a group");
    let letter = DeadLetter { fact: facts[0].clone(), reason: "no room".to_owned() };
    assert_eq!(kept(&h, &facts[0]).await, Some(KeptLetter { letter, state: LetterState::Dead }));
    let found = h.engine.dead_order(order.id).await.expect("readable").and_then(|fact| fact.order());
    assert_eq!(found.as_ref(), Some(order));
    assert_eq!(
        (h.engine.count_letters(h.shard).await, h.engine.letters(h.shard).await.map(|all| all.len())),
        (Ok(1), Ok(1))
    );
    let status = h.engine.log_status(h.shard).await.expect("readable");
    assert_eq!((status.entries, status.backlog_orders, status.backlog_bytes), (0, 0, 0), "it is not in the bound");
    assert_eq!(h.engine.unsettled_drops(h.shard).await, Ok(vec![drop.id.clone()]));
}

pub async fn a_letter_is_written_only_with_the_first_acknowledgement(h: Harness) {
    let drop = h.open("first", 3, 3).await;
    let order = h.buy(&drop, "a", "k", 1).await;
    let entries = read(&h).await;
    let fact = h.engine.logged_order(order.id).await.expect("readable").expect("in the log");
    assert_eq!(acknowledge(&h, &entries, &[]).await, 2);
    // A slow persister, to which the archive said something else.
    assert_eq!(acknowledge(&h, &entries, &[letter(&entries[1], &fact)]).await, 0);
    assert_eq!((kept(&h, &fact).await, h.engine.count_letters(h.shard).await), (None, Ok(0)));
    assert_eq!(h.engine.unsettled_drops(h.shard).await, Ok(vec![]));
}

pub async fn there_are_no_more_letters_than_there_may_be(h: Harness) {
    let drop = h.open("many", 5, 5).await;
    let orders = [h.buy(&drop, "a", "k", 1).await, h.buy(&drop, "b", "k", 1).await];
    let entries = read(&h).await;
    let mut letters = Vec::new();
    for (entry, order) in entries[1..].iter().zip(&orders) {
        letters.push(letter(entry, &h.engine.logged_order(order.id).await.expect("readable").expect("in the log")));
    }
    let bounded = h.another(|settings| settings.dead_letters_max = 1).await;
    let probe = h.probe();
    let client = probe.client().await;
    let before = probe.image(&client).await;
    let all = receipts(&entries);
    let refused = bounded.acknowledge_with_letters(h.shard, EPOCH, &all, &letters).await;
    assert_eq!(refused, Ok(Acknowledged::TooManyLetters));
    assert!(probe.image(&client).await == before, "nothing was acknowledged");
    let some = bounded.acknowledge_with_letters(h.shard, EPOCH, &all[..2], &letters[..1]).await;
    assert_eq!(some, Ok(Acknowledged::Entries(2)));
    // One that is there already is none more; others settle.
    let replay = h.engine.replay_letter(&letters[0].letter.as_ref().expect("a letter").fact).await;
    assert_eq!(replay, Ok(LetterReplay::Replayed));
    let replayed = read(&h).await;
    let again = LetterChange { entry: replayed[0].id, ..letters[0].clone() };
    let again = bounded.acknowledge_with_letters(h.shard, EPOCH, &receipts(&replayed), &[again]).await;
    assert_eq!(again, Ok(Acknowledged::Entries(1)));
    assert_eq!(h.engine.count_letters(h.shard).await, Ok(1));
}

pub async fn a_replay_carries_the_fact_as_it_was(h: Harness) {
    let (drop, order, fact) = one_refused(&h, "replay").await;
    let before = h.drop_now(&drop.id).await;
    assert_eq!(h.engine.replay_letter(&fact).await, Ok(LetterReplay::Replayed));
    assert_eq!(h.engine.replay_letter(&fact).await, Ok(LetterReplay::Replaying));
    assert_eq!(h.engine.compensate_letter(&fact).await, Ok(LetterCompensation::Replaying));
    assert_eq!(state(&h, &fact).await, Some(LetterState::Replaying));
    let entries = read(&h).await;
    let [entry] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!(entry.replayed(), Ok(Some(fact.clone())));
    let own = entry.facts().expect("decodable").remove(0);
    assert_eq!((own.number, own.body), (entry.number, FactBody::Replayed { of: FactId::Order(order.id) }));
    assert_eq!(entry.receipt(&[]).orders, 0, "it takes no room among the orders");
    // The archive has it: the letter goes with the entry.
    assert_eq!(acknowledge(&h, &entries, &[settled(entry, &fact)]).await, 1);
    assert_eq!((state(&h, &fact).await, h.engine.count_letters(h.shard).await), (None, Ok(0)));
    assert_eq!(h.engine.unsettled_drops(h.shard).await, Ok(vec![]));
    assert_eq!(h.engine.replay_letter(&fact).await, Ok(LetterReplay::Gone));
    assert_eq!(h.engine.compensate_letter(&fact).await, Ok(LetterCompensation::Gone));
    let after = h.drop_now(&drop.id).await;
    assert_eq!((after.sold_units, after.available_units), (before.sold_units, before.available_units));
}

pub async fn a_letter_that_is_refused_again_is_dead_again(h: Harness) {
    let (_, _, fact) = one_refused(&h, "again").await;
    h.engine.replay_letter(&fact).await.expect("replayed");
    let entries = read(&h).await;
    let again =
        LetterChange { letter: Some(DeadLetter::new(fact.clone(), "still no room")), ..letter(&entries[0], &fact) };
    assert_eq!(acknowledge(&h, &entries, &[again]).await, 1);
    let now = kept(&h, &fact).await.expect("a letter");
    assert_eq!((now.state, now.letter.reason.as_str()), (LetterState::Dead, "still no room"));
    assert_eq!(h.engine.count_letters(h.shard).await, Ok(1));
    assert_eq!(h.engine.compensate_letter(&fact).await, Ok(LetterCompensation::Compensated));
}

pub async fn a_compensated_order_gives_its_units_back(h: Harness) {
    let (drop, order, fact) = one_refused(&h, "compensate").await;
    assert_eq!(h.refusal(&drop, "a", "k2", 2).await, Refusal::LimitReached { limit: 3, owned: 2 });
    assert_eq!(h.engine.compensate_letter(&fact).await, Ok(LetterCompensation::Compensated));
    let again = h.engine.compensate_letter(&fact).await;
    assert_eq!(again, Ok(LetterCompensation::Already(GrantState::Compensated)));
    assert_eq!(h.engine.replay_letter(&fact).await, Ok(LetterReplay::Compensated));
    let cancelled = h.engine.cancel_order(&OrderRef::from(&order), stampede_domain::CancelledBy::Operator).await;
    assert_eq!(cancelled, Ok(stampede_engine::Cancellation::Already(GrantState::Compensated)));
    let now = h.drop_now(&drop.id).await;
    assert_eq!((now.available_units, now.sold_units, now.total_units), (3, 0, 3));
    let Ok(Decision::Replayed(replayed)) = h.order(&drop, "a", "k", 2).await else { panic!("not replayed") };
    assert_eq!((replayed.id, replayed.status), (order.id, OrderStatus::Compensated));
    h.buy(&drop, "a", "k2", 3).await;
    // It is readable until the archive knows.
    assert_eq!(state(&h, &fact).await, Some(LetterState::Compensated));
    let entries = read(&h).await;
    let told = entries[0].facts().expect("decodable").remove(0);
    assert_eq!(told.compensated_order(), Some(Order { status: OrderStatus::Compensated, ..order }));
    assert_eq!(acknowledge(&h, &entries, &[settled(&entries[0], &fact)]).await, 2);
    assert_eq!(state(&h, &fact).await, None);
    let again = h.engine.compensate_letter(&fact).await;
    assert_eq!(again, Ok(LetterCompensation::Already(GrantState::Compensated)), "whatever became of the letter");
}

pub async fn a_cancelled_order_is_replayed_and_not_compensated(h: Harness) {
    let (drop, order, fact) = one_refused(&h, "cancelled").await;
    h.engine.cancel_order(&OrderRef::from(&order), stampede_domain::CancelledBy::Shopper).await.expect("cancelled");
    let compensated = h.engine.compensate_letter(&fact).await;
    assert_eq!(compensated, Ok(LetterCompensation::Already(GrantState::Cancelled)));
    assert_eq!(h.drop_now(&drop.id).await.available_units, 3);
    assert_eq!(h.engine.replay_letter(&fact).await, Ok(LetterReplay::Replayed));
}

pub async fn what_is_no_order_is_only_replayed(h: Harness) {
    let drop = h.open("event", 3, 3).await;
    h.engine.change_drop(&drop.id, &DropChange::Pause).await.expect("paused");
    let entries = read(&h).await;
    let paused = entries[1].facts().expect("decodable").remove(0);
    acknowledge(&h, &entries, &[letter(&entries[1], &paused)]).await;
    assert_eq!(h.engine.compensate_letter(&paused).await, Ok(LetterCompensation::NotAnOrder));
    assert_eq!(h.engine.replay_letter(&paused).await, Ok(LetterReplay::Replayed));
    // An order that another drop's user never placed.
    let order = h.buy(&h.open("other", 3, 3).await, "a", "k", 1).await;
    let fact = refuse(&h, std::slice::from_ref(&order)).await.remove(0);
    let mut forged = fact.clone();
    if let FactBody::Granted(grant) = &mut forged.body {
        grant.user_id = user("somebody-else");
    }
    assert_eq!(h.engine.compensate_letter(&forged).await, Ok(LetterCompensation::Unknown));
    assert_eq!(h.engine.replay_letter(&forged).await, Ok(LetterReplay::Unknown));
}

pub async fn a_drop_with_a_letter_stays_unsettled(h: Harness) {
    let (drop, _, fact) = one_refused(&h, "unsettled").await;
    let unsettled = async || h.engine.unsettled_drops(h.shard).await.expect("readable");
    // What happens to it later settles; the letter does not.
    let other = h.buy(&drop, "b", "k", 1).await;
    assert_eq!(unsettled().await, std::slice::from_ref(&drop.id));
    let second = refuse(&h, std::slice::from_ref(&other)).await.remove(0);
    assert_eq!(unsettled().await, std::slice::from_ref(&drop.id));
    for fact in [&fact, &second] {
        assert_eq!(unsettled().await, std::slice::from_ref(&drop.id));
        h.engine.replay_letter(fact).await.expect("replayed");
        let entries = read(&h).await;
        acknowledge(&h, &entries, &[settled(&entries[0], fact)]).await;
    }
    assert_eq!(unsettled().await, []);
    h.engine.change_drop(&drop.id, &DropChange::Pause).await.expect("paused");
    assert_eq!(unsettled().await, std::slice::from_ref(&drop.id), "as any other drop again");
    acknowledge(&h, &read(&h).await, &[]).await;
    assert_eq!(unsettled().await, []);
}

pub async fn of_a_replay_and_a_compensation_one_wins(h: Harness) {
    let drop = h.open("race", 200, 200).await;
    let orders: Vec<_> = (0..200).map(|n| request(&drop, &format!("user-{n}"), "k", 1)).collect();
    let granted: Vec<Order> = h
        .in_one_group(orders)
        .await
        .into_iter()
        .map(|decision| match decision {
            Ok(Decision::Granted(order)) => order,
            other => panic!("{other:?}"),
        })
        .collect();
    let facts = refuse(&h, &granted).await;
    assert_eq!(facts.len(), 200);
    let other = h.another(|_| ()).await;
    let mut given_back = 0;
    for (n, fact) in facts.iter().enumerate() {
        let (one, two) = if n % 2 == 0 { (&h.engine, &other) } else { (&other, &h.engine) };
        let (replay, compensation) = tokio::join!(one.replay_letter(fact), two.compensate_letter(fact));
        match (replay, compensation) {
            (Ok(LetterReplay::Replayed), Ok(LetterCompensation::Replaying)) => {}
            (Ok(LetterReplay::Compensated), Ok(LetterCompensation::Compensated)) => given_back += 1,
            both => panic!("{both:?}"),
        }
    }
    let now = h.drop_now(&drop.id).await;
    assert_eq!((now.available_units, now.sold_units), (given_back, 200 - given_back));
    assert_eq!(h.log().await.len(), 200, "one entry for each");
}
