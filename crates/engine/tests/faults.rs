//! Lost answers, late commands, full and forgetful servers: what becomes of a call.

mod support;

use std::sync::Arc;
use std::time::Duration;

use stampede_domain::{CancelledBy, DeadLetter, Epoch, Fact, FactBody, KeyDigest, LogId};
use stampede_engine::{
    Acknowledged, Cancellation, Decision, DropChange, DropChangeOutcome, DropTerms, Engine, EngineError,
    EngineSettings, EntryReceipt, Keys, LetterChange, LetterCompensation, LetterReplay, OrderRef, Refusal, SCRIPTS,
    Script,
};
use support::{Faults, WAIT, definition, grant_call, join_in_order, request, results, run_script, until};

on_both! {
    an_order_whose_answer_is_lost_is_granted_once,
    a_lost_group_is_settled_as_a_whole,
    a_fresh_process_tells_repetitions_from_what_its_lost_call_granted,
    a_change_whose_answer_is_lost_is_made_once,
    a_letter_is_settled_once_though_the_answer_is_lost,
    an_outcome_that_nobody_could_settle_is_settled_by_the_same_key,
    a_process_that_is_cut_off_does_not_know_the_outcome,
    a_late_command_finds_what_its_resend_did,
    an_order_that_was_stuck_past_its_deadline_grants_nothing,
    a_server_that_stood_still_grants_no_order_that_nobody_waits_for,
    a_deadline_follows_the_server_and_not_the_log,
    a_flushed_script_cache_is_filled_again,
    a_full_server_refuses_whole_calls,
}

/// Gives up soon, so that a test need not wait for long.
fn impatient(settings: &mut EngineSettings) {
    settings.command_timeout = Duration::from_millis(200);
}

async fn an_order_whose_answer_is_lost_is_granted_once(f: Faults) {
    let drop = f.h.open("lost", 5, 5).await;
    let engine = f.engine(|_| ()).await;
    let decision = f.lose(place(&engine, &drop, "a", "k"), |f| f.grants() == 1).await;
    let Ok(Decision::Granted(order)) = &decision else { panic!("{decision:?}") };
    assert_eq!((f.h.grants().await, f.h.drop_now(&drop.id).await.sold_units), (1, 1));
    let fact = f.h.engine.logged_order(order.id).await.expect("readable").expect("in the log");
    assert_eq!(fact.order().as_ref(), Some(order));
    assert_eq!(place(&engine, &drop, "a", "k").await, Ok(Decision::Replayed(order.clone())));
}

/// An order of one unit, as a future of its own.
fn place(
    engine: &Engine,
    drop: &Arc<DropTerms>,
    user: &str,
    key: &str,
) -> impl Future<Output = Result<Decision, EngineError>> + Send + use<> {
    let (engine, order) = (engine.clone(), request(drop, user, key, 1));
    async move { engine.place_order(order, WAIT).await }
}

async fn a_lost_group_is_settled_as_a_whole(f: Faults) {
    let drop = f.h.open("group", 30, 1).await;
    let before = f.h.buy(&drop, "user-0", "k", 1).await;
    let engine = f.engine(|_| ()).await;
    place(&engine, &drop, "user-1", "k").await.expect("granted");
    let orders: Vec<_> = (0..40).map(|n| place(&engine, &drop, &format!("user-{n}"), "k")).collect();
    let decisions = f.lose(join_in_order(orders), |f| f.grants() > 2).await;
    // Granted before the group was sent: those are repetitions. The stock is for 28 more.
    assert_eq!(decisions[0], Ok(Decision::Replayed(before)));
    assert!(matches!(decisions[1], Ok(Decision::Replayed(_))));
    for (place, decision) in decisions.iter().enumerate().skip(2) {
        match decision {
            Ok(Decision::Granted(_)) => assert!(place < 30, "{place}"),
            Ok(Decision::Refused(Refusal::SoldOut)) => assert!(place >= 30, "{place}"),
            other => panic!("{place}: {other:?}"),
        }
    }
    assert_eq!((f.h.grants().await, f.h.drop_now(&drop.id).await.available_units), (30, 0));
}

async fn a_fresh_process_tells_repetitions_from_what_its_lost_call_granted(f: Faults) {
    let drop = f.h.open("fresh", 5, 1).await;
    let before = f.h.buy(&drop, "user-0", "k", 1).await;
    let engine = f.engine(|_| ()).await;
    let orders: Vec<_> = (0..2).map(|n| place(&engine, &drop, &format!("user-{n}"), "k")).collect();
    let decisions = f.lose(join_in_order(orders), |f| f.grants() == 2).await;
    assert_eq!(decisions[0], Ok(Decision::Replayed(before)));
    assert!(matches!(decisions[1], Ok(Decision::Granted(_))), "{decisions:?}");
}

async fn a_change_whose_answer_is_lost_is_made_once(f: Faults) {
    let drop = f.h.open("change", 5, 5).await;
    let order = f.h.buy(&drop, "a", "k", 2).await;
    let engine = f.engine(|_| ()).await;
    // It knows what the drop promises, which it would ask for before it changes anything.
    engine.read_drops(f.h.shard, std::slice::from_ref(&drop.id)).await.expect("readable");
    let restock = DropChange::Restock { key: KeyDigest([1; 8]), units: 3 };
    for change in [DropChange::Pause, DropChange::Resume, restock, DropChange::CallOff] {
        let entries = f.entries();
        let made = {
            let (engine, id, change) = (engine.clone(), drop.id.clone(), change.clone());
            async move { engine.change_drop(&id, &change).await }
        };
        let outcome = f.lose(made, |f| f.entries() > entries).await;
        assert!(matches!(outcome, Ok(DropChangeOutcome::Changed(_))), "{change:?}: {outcome:?}");
        assert_eq!(f.entries(), entries + 1, "{change:?}");
    }
    let entries = f.entries();
    let cancelled = {
        let (engine, order) = (engine.clone(), OrderRef::from(&order));
        async move { engine.cancel_order(&order, CancelledBy::Shopper).await }
    };
    assert_eq!(f.lose(cancelled, |f| f.entries() > entries).await, Ok(Cancellation::Cancelled));
    let now = f.h.drop_now(&drop.id).await;
    assert_eq!((now.total_units, now.available_units), (8, 8));
}

async fn a_letter_is_settled_once_though_the_answer_is_lost(f: Faults) {
    let drop = f.h.open("letters", 5, 5).await;
    let orders = [f.h.buy(&drop, "a", "k", 1).await, f.h.buy(&drop, "b", "k", 1).await];
    let mut facts = Vec::new();
    for order in &orders {
        facts.push(f.h.engine.logged_order(order.id).await.expect("readable").expect("in the log"));
    }
    let entries = f.h.engine.read_new(f.h.shard, "c", 10).await.expect("readable").entries;
    let receipts: Vec<_> = entries.iter().map(|entry| entry.receipt(&[])).collect();
    let letters: Vec<_> = facts.iter().map(letter_change).collect();
    let acknowledged = f.h.engine.acknowledge_with_letters(f.h.shard, Epoch(1), &receipts, &letters).await;
    assert_eq!(acknowledged, Ok(Acknowledged::Entries(3)));
    let engine = f.engine(|_| ()).await;
    // Known from here on: what the drop promises is not asked for while no answer comes through.
    engine.read_drops(f.h.shard, std::slice::from_ref(&drop.id)).await.expect("readable");
    let (replaying, replayed) = (engine.clone(), facts[0].clone());
    let replay = f.lose(async move { replaying.replay_letter(&replayed).await }, |f| f.entries() == 1).await;
    assert_eq!(replay, Ok(LetterReplay::Replayed));
    let (compensating, compensated) = (engine.clone(), facts[1].clone());
    let given = f.lose(async move { compensating.compensate_letter(&compensated).await }, |f| f.entries() == 2).await;
    assert_eq!(given, Ok(LetterCompensation::Compensated));
    assert_eq!((f.h.log().await.len(), f.h.drop_now(&drop.id).await.available_units), (2, 4));
}

async fn an_outcome_that_nobody_could_settle_is_settled_by_the_same_key(f: Faults) {
    let drop = f.h.open("unknown", 5, 5).await;
    let engine = f.engine(impatient).await;
    f.proxy().hold_to_client(true);
    assert_eq!(place(&engine, &drop, "a", "k").await, Err(EngineError::OutcomeUnknown));
    assert_eq!(f.grants(), 1);
    f.proxy().release();
    let decision = place(&engine, &drop, "a", "k").await;
    let Ok(Decision::Replayed(order)) = decision else { panic!("{decision:?}") };
    assert_eq!((f.h.grants().await, f.h.drop_now(&drop.id).await.sold_units), (1, 1));
    assert!(f.h.engine.logged_order(order.id).await.expect("readable").is_some());
}

async fn a_process_that_is_cut_off_does_not_know_the_outcome(f: Faults) {
    let drop = f.h.open("cut", 5, 5).await;
    let engine = f.engine(|settings| settings.command_timeout = Duration::from_millis(300)).await;
    f.proxy().hold_to_client(true);
    let order = tokio::spawn(place(&engine, &drop, "a", "k"));
    until("the order is granted", async || f.grants() == 1).await;
    f.proxy().refuse(true);
    f.proxy().cut();
    assert_eq!(order.await.expect("no panic"), Err(EngineError::OutcomeUnknown));
    // What it then asks cannot be sent at all: nothing happens, and it may say so.
    let next = place(&engine, &drop, "b", "k").await;
    assert!(matches!(next, Err(EngineError::Unavailable(_) | EngineError::OutcomeUnknown)), "{next:?}");
    // Another process settles it, for the same shopper with the same key.
    assert_eq!(directly(&f, &drop, ("a", "k")).await[0], b'r');
    f.proxy().refuse(false);
    f.proxy().release();
    until("the process has found the server again", async || place(&engine, &drop, "a", "k").await.is_ok()).await;
    assert!(f.h.grants().await <= 2);
}

async fn a_late_command_finds_what_its_resend_did(f: Faults) {
    let drop = f.h.open("late", 1, 1).await;
    let engine = f.engine(impatient).await;
    f.proxy().hold_to_server(true);
    assert_eq!(place(&engine, &drop, "a", "k").await, Err(EngineError::OutcomeUnknown));
    assert_eq!(f.grants(), 0);
    // The shopper's second try goes through another process, and is granted. Then the first one's commands arrive.
    assert_eq!(directly(&f, &drop, ("a", "k")).await[..], b"g"[..]);
    late_commands_arrive(&f, &engine).await;
    let decision = f.h.order(&drop, "a", "k", 1).await;
    assert!(matches!(decision, Ok(Decision::Replayed(_))), "{decision:?}");
    assert_eq!((f.h.grants().await, f.h.drop_now(&drop.id).await.sold_units), (1, 1));
}

async fn an_order_that_was_stuck_past_its_deadline_grants_nothing(f: Faults) {
    let drop = f.h.open("stuck", 1, 1).await;
    f.h.buy(&drop, "b", "k", 1).await;
    let engine = f
        .engine(|settings| {
            impatient(settings);
            settings.call_deadline = Duration::from_millis(400);
        })
        .await;
    f.proxy().hold_to_server(true);
    assert_eq!(place(&engine, &drop, "a", "k").await, Err(EngineError::OutcomeUnknown));
    let sent_ms = f.h.redis_ms();
    // The shopper's second try goes through another process: sold out. Then units come, and the deadlines pass.
    assert_eq!(directly(&f, &drop, ("a", "k")).await[..], b"s"[..]);
    restock_directly(&f, &drop).await;
    until("the deadline of the last sending is over", async || f.h.redis_ms() > sent_ms + 400).await;
    late_commands_arrive(&f, &engine).await;
    let now = f.h.drop_now(&drop.id).await;
    assert_eq!((now.available_units, f.h.grants().await), (1, 1), "a refused shopper is not granted behind his back");
}

/// Lets the commands of a process that is gone reach the server, and waits until that has run them.
async fn late_commands_arrive(f: &Faults, engine: &Engine) {
    let run = f.scripts_run();
    f.proxy().cut_clients();
    f.proxy().release();
    until("the late commands are run", async || f.scripts_run() > run).await;
    until("the process has found the server again", async || engine.ping().await.is_ok()).await;
}

/// The result of an order that does not go through the proxy.
async fn directly(f: &Faults, drop: &DropTerms, order: (&str, &str)) -> bytes::Bytes {
    let client = f.h.probe().client().await;
    let (keys, args) = grant_call(&f.h, drop, order, 1, (f.h.redis_ms() + 60_000, 0));
    results(run_script(&client, script("sale/grant"), keys, args).await.1)
}

async fn restock_directly(f: &Faults, drop: &DropTerms) {
    let client = f.h.probe().client().await;
    let key = KeyDigest([9; 8]);
    let data = Fact::log_json(&drop.id, &FactBody::Restocked { key, units: 1 });
    let args = [&(f.h.redis_ms() + 60_000).to_string(), "0", &data, &key.to_string(), "1", "1000", "1000"];
    let k = &f.h.keys;
    let hash = Keys::drop(f.h.shard, &drop.id);
    let keys = vec![k.meta.clone(), k.log.clone(), k.unsettled.clone(), k.timers.clone(), hash];
    let (code, _) = run_script(&client, script("sale/restock"), keys, args.map(Into::into).into()).await;
    assert_eq!(code, "changed");
}

/// The fact becomes a dead letter.
fn letter_change(fact: &Fact) -> LetterChange {
    let letter = Some(DeadLetter::new(fact.clone(), "refused"));
    LetterChange { entry: fact.position.log_id, fact: fact.id(), drop_id: fact.drop_id.clone(), letter }
}

fn script(name: &str) -> &'static Script {
    SCRIPTS.iter().find(|script| script.name == name).expect("a script")
}

async fn a_server_that_stood_still_grants_no_order_that_nobody_waits_for(f: Faults) {
    let drop = f.h.open("still", 5, 5).await;
    let engine = f
        .engine(|settings| {
            impatient(settings);
            settings.call_deadline = Duration::from_millis(250);
        })
        .await;
    f.h.redis().freeze();
    assert_eq!(place(&engine, &drop, "a", "k").await, Err(EngineError::OutcomeUnknown));
    // No event tells of time that passes.
    tokio::time::sleep(Duration::from_millis(250)).await;
    f.h.redis().thaw();
    until("the server answers the process again", async || engine.ping().await.is_ok()).await;
    assert_eq!(f.h.grants().await, 0);
    assert!(matches!(place(&engine, &drop, "a", "k").await, Ok(Decision::Granted(_))));
}

async fn a_deadline_follows_the_server_and_not_the_log(f: Faults) {
    let drop = f.h.open("ahead", 5, 5).await;
    let engine = f.engine(|_| ()).await;
    f.h.set_last_id(LogId { ms: f.h.redis_ms() + 3_600_000, sequence: 0 });
    assert!(matches!(place(&engine, &drop, "a", "k1").await, Ok(Decision::Granted(_))));
    engine.read_drops(f.h.shard, std::slice::from_ref(&drop.id)).await.expect("readable");
    engine.change_drop(&drop.id, &DropChange::Pause).await.expect("paused");
    engine.change_drop(&drop.id, &DropChange::Resume).await.expect("resumed");
    let decision = f.lose(place(&engine, &drop, "a", "k2"), |f| f.grants() == 2).await;
    assert!(matches!(decision, Ok(Decision::Granted(_))), "{decision:?}");
    let floor_ms: u64 = f.h.meta("floor").parse().expect("a number");
    // An hour ahead, it would keep stuck calls alive for an hour.
    assert!(floor_ms < f.h.redis_ms() + 10_000);
}

async fn a_flushed_script_cache_is_filled_again(f: Faults) {
    let flush = || f.h.server().nodes().iter().for_each(|node| drop(node.cli(&["SCRIPT", "FLUSH"])));
    flush();
    let drop = f.h.open("flushed", 5, 5).await;
    flush();
    let order = f.h.buy(&drop, "a", "k", 1).await;
    flush();
    assert_eq!(f.h.order(&drop, "a", "k", 1).await, Ok(Decision::Replayed(order.clone())));
    flush();
    assert!(f.h.engine.logged_order(order.id).await.expect("readable").is_some());
    flush();
    let cancelled = f.h.engine.cancel_order(&OrderRef::from(&order), CancelledBy::Shopper).await;
    assert_eq!(cancelled, Ok(Cancellation::Cancelled));
    flush();
    let refused = f.h.buy(&drop, "b", "k", 1).await;
    let fact = f.h.engine.logged_order(refused.id).await.expect("readable").expect("in the log");
    let entries = f.h.engine.read_new(f.h.shard, "c", 10).await.expect("readable").entries;
    let receipts: Vec<_> = entries.iter().map(|entry| entry.receipt(&[])).collect();
    flush();
    let acknowledged =
        f.h.engine.acknowledge_with_letters(f.h.shard, Epoch(1), &receipts, &[letter_change(&fact)]).await;
    assert_eq!(acknowledged, Ok(Acknowledged::Entries(4)));
    flush();
    assert_eq!(f.h.engine.replay_letter(&fact).await, Ok(LetterReplay::Replayed));
    flush();
    assert_eq!(f.h.engine.compensate_letter(&fact).await, Ok(LetterCompensation::Replaying));
    flush();
    assert!(!f.h.engine.fenced_shards().await.expect("readable").contains(&f.h.shard));
    assert_eq!(f.h.drop_now(&drop.id).await.available_units, 4);
}

async fn a_full_server_refuses_whole_calls(f: Faults) {
    let (drop, other) = (f.h.open("full", 5, 5).await, f.h.open("other", 5, 5).await);
    let order = f.h.buy(&drop, "a", "k", 1).await;
    let refused = f.h.buy(&drop, "refused", "k", 1).await;
    let dead = f.h.engine.logged_order(refused.id).await.expect("readable").expect("in the log");
    let read = async |limit| {
        let entries = f.h.engine.read_new(f.h.shard, "c", limit).await.expect("readable").entries;
        entries.iter().map(|entry| entry.receipt(&[])).collect::<Vec<_>>()
    };
    let acknowledge = async |receipts: &[EntryReceipt], fact: &Fact| {
        f.h.engine.acknowledge_with_letters(f.h.shard, Epoch(1), receipts, &[letter_change(fact)]).await
    };
    assert_eq!(acknowledge(&read(4).await, &dead).await, Ok(Acknowledged::Entries(4)));
    let logged = f.h.buy(&drop, "c", "k", 1).await;
    let logged = f.h.engine.logged_order(logged.id).await.expect("readable").expect("in the log");
    f.h.engine.change_drop(&drop.id, &DropChange::Start).await.expect("noted");
    let receipts = read(1).await;
    let probe = f.h.probe();
    let client = probe.client().await;
    let before = probe.image(&client).await;
    let set_limit = |bytes: &str| assert_eq!(f.h.redis().cli(&["CONFIG", "SET", "maxmemory", bytes]), "OK");
    set_limit("1");
    let refused = |what: &str, error: Option<EngineError>| {
        assert!(matches!(error, Some(EngineError::Unavailable(_))), "{what}: {error:?}");
    };
    let orders = vec![request(&drop, "b", "k", 1), request(&other, "b", "k", 1)];
    for decision in join_in_order(orders.into_iter().map(|order| f.h.engine.place_order(order, WAIT)).collect()).await {
        refused("order", decision.err());
    }
    refused("open", f.h.engine.open_drop(&definition(f.h.id("new"))).await.err());
    refused("cancel", f.h.engine.cancel_order(&OrderRef::from(&order), CancelledBy::Shopper).await.err());
    let restock = DropChange::Restock { key: KeyDigest([1; 8]), units: 3 };
    refused("replay", f.h.engine.replay_letter(&dead).await.err());
    refused("compensate", f.h.engine.compensate_letter(&dead).await.err());
    refused("a new letter", acknowledge(&receipts, &logged).await.err());
    for change in [DropChange::Pause, restock, DropChange::CallOff] {
        refused("change", f.h.engine.change_drop(&drop.id, &change).await.err());
    }
    assert!(probe.image(&client).await == before, "a refused call changed something");
    // What is known is still told, and the archive may still make room.
    assert_eq!(f.h.order(&drop, "a", "k", 1).await, Ok(Decision::Replayed(order)));
    assert_eq!(f.h.engine.acknowledge(f.h.shard, Epoch(1), &receipts).await, Ok(1));
    assert_eq!(f.h.log().await.len(), 1);
    set_limit("0");
    f.h.buy(&drop, "b", "k", 1).await;
}
