//! A concurrent sale whose every answer is checked, with the scripts as they are and with scripts that are broken on their
//! way to Redis: what they do wrong is seen.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Method, RequestBuilder};
use serde_json::json;
use stampede_archive::FactRange;
use stampede_domain::{CancelledBy, DropId, Epoch, IdempotencyKey, KeyDigest, OrderId, UserDigest, UserId};
use stampede_testkit::history::{
    Answer, Ask, Event, Operation, Recorder, SaleRules, StripedSale, Verdict, Violation, check, check_striped, witness,
};
use stampede_testkit::{AppOptions, Caller, TestApp};

const SHOPPERS: usize = 12;
const RULES: SaleRules = SaleRules {
    units: 20,
    limit_per_user: 2,
    cancellable: true,
    cancellations_per_user: 1,
    new_once: true,
    holds: false,
    filter_age_ns: 0,
};

/// What is seen of a script in which `from` has become `to`.
async fn broken(from: &str, to: &str) -> Verdict {
    sell(1, vec![(from.to_owned(), to.to_owned())]).await
}

/// The same, of a drop of three stripes.
async fn broken_striped(from: &str, to: &str) -> Verdict {
    sell(3, vec![(from.to_owned(), to.to_owned())]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scripts_as_they_are_give_right_answers_only() {
    for stripes in [1, 3] {
        let verdict = sell(stripes, Vec::new()).await;
        assert!(verdict.is_right(), "{stripes} stripes: {:#?}", verdict.violations);
        assert!(verdict.confirmed >= RULES.units as usize && verdict.cancelled > 0, "{verdict:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stripe_that_keeps_what_it_sends_is_seen() {
    let verdict =
        broken_striped("'available', tonumber(drop[4]) - units", "'available', tonumber(drop[4]) - 00000").await;
    let sends_too_much =
        |violation: &Violation| matches!(violation, Violation::NotAllowed { what, .. } if what.contains("were sent"));
    assert!(verdict.oversold() > 0 || verdict.violations.iter().any(sends_too_much), "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stripe_that_gets_more_than_was_sent_is_seen() {
    let verdict =
        broken_striped("'available', tonumber(drop[2]) + units", "'available', tonumber(drop[2])+9*units").await;
    assert!(verdict.oversold() > 0, "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stripe_that_loses_what_it_gets_is_seen() {
    let verdict =
        broken_striped("'available', tonumber(drop[2]) + units", "'available', tonumber(drop[2]) + 00000").await;
    assert_untrue(&verdict, |operation| matches!(operation.answer, Answer::SoldOut | Answer::Insufficient { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_forgets_the_limit_is_seen() {
    let verdict = broken("owned + units > limit", "owned - units > limit").await;
    assert!(verdict.violations.iter().any(|violation| matches!(violation, Violation::OverLimit { .. })), "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_does_not_take_units_from_the_stock_is_seen() {
    let verdict = broken("'available', drop.available,", "'available', 99            ,").await;
    assert!(verdict.violations.iter().any(|violation| matches!(violation, Violation::Oversold { .. })), "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_does_not_find_what_a_key_was_granted_is_seen() {
    let verdict = broken("r + 19) == key then", "r + 19) == 000 then").await;
    assert!(verdict.doubled() > 0, "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_says_granted_and_writes_nothing_is_seen() {
    let verdict = broken("if granted > 0 then", "if granted < 0 then").await;
    assert!(verdict.lost() > 0, "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_takes_another_request_for_a_replay_is_seen() {
    let verdict = broken("found + 23) == sub(", "found + 23) ~= sub(").await;
    assert_untrue(&verdict, |operation| matches!(operation.answer, Answer::KeyReused));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_sells_what_is_paused_is_seen() {
    let verdict = broken("drop.state == 'open' and shard.ms", "drop.state ~= 'oops' and shard.ms").await;
    assert!(
        verdict.violations.iter().any(|violation| matches!(violation, Violation::NotAllowed { .. })),
        "{verdict:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_keeps_the_units_of_a_cancelled_order_is_seen() {
    let verdict = broken("'HINCRBY', drop_key, 'available', units)", "'HINCRBY', drop_key, 'available', 00000)").await;
    assert_untrue(&verdict, |operation| matches!(operation.answer, Answer::SoldOut | Answer::Insufficient { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_cancels_again_and_again_is_seen() {
    let verdict = broken("cancelled >= tonumber(drop[4])", "cancelled >= tonumber('99999')").await;
    assert!(
        verdict.violations.iter().any(|violation| matches!(violation, Violation::NotAllowed { .. })),
        "{verdict:?}"
    );
}

#[track_caller]
fn assert_untrue(verdict: &Verdict, of: impl Fn(&Operation) -> bool) {
    let seen = |violation: &Violation| matches!(violation, Violation::Untrue { operation, .. } if of(operation));
    assert!(verdict.violations.iter().any(seen), "{verdict:?}");
}

/// A sale in which everybody asks for everything, in two waves with a pause between.
async fn sell(stripes: u16, rewrites: Vec<(String, String)>) -> Verdict {
    let mut options = AppOptions { rewrites, shards: stripes + 1, ..AppOptions::default() };
    // What filters do to a sale has tests of its own.
    options.api.filter_max_age = Duration::ZERO;
    let app = TestApp::start_with(options).await;
    let cancellations = RULES.cancellations_per_user;
    let more = json!({"cancellable_for_s": 3_600, "cancellations_per_user": cancellations, "stripes": stripes});
    let operator = app.operator();
    operator.create_drop("checked", RULES.units as u32, RULES.limit_per_user as u32, &more).await;
    let drop_id: DropId = "checked".parse().expect("valid");
    let sale = Arc::new(Sale { recorder: Recorder::new(), drop_id: drop_id.clone() });

    join_all((0..SHOPPERS).map(|n| first_wave(&sale, shopper(&app, &format!("shopper-{n}")), n))).await;
    let change = |path: &str| operator.request(Method::POST, &format!("/drops/checked/{path}"));
    sale.ask(&operator, Ask::Pause, change("pause")).await;
    let key = KeyDigest::of_drop(&drop_id, &"more".parse().expect("a key"));
    let restock = change("restock").header("Idempotency-Key", "more").json(&json!({"units": 3}));
    sale.ask(&operator, Ask::Restock { key, units: 3 }, restock).await;
    join_all((0..SHOPPERS).map(|n| sale.order(shopper(&app, &format!("late-{n}")), "k", 1))).await;
    sale.ask(&operator, Ask::Resume, change("resume")).await;
    join_all((0..SHOPPERS).map(|n| second_wave(&sale, shopper(&app, &format!("shopper-{n}")), n))).await;

    let record = app.archive.drop_record(&drop_id).await.expect("the archive answers").expect("the drop is archived");
    let (stripes, home) = (record.definition.stripes, app.engine.shard_of(&drop_id));
    // Nobody asks any more, so units that are on their way are the last that move.
    loop {
        let reading = app.engine.read_drops(home, std::slice::from_ref(&drop_id)).await.expect("Redis answers");
        let live = reading.drops[0].as_ref().expect("the drop is there");
        if live.sent_units == live.received_units {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut events: Vec<Vec<Event>> = Vec::new();
    for shard in stripes.shards(home) {
        while app.engine.log_status(shard).await.expect("Redis answers").entries > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let range = FactRange { from_epoch: Epoch(0), beyond_number: 0 };
        let facts = app.archive.facts(shard, range, None, 100_000).await.expect("the archive answers");
        let closings = app.archive.closings(shard).await.expect("the archive answers");
        events.push(witness(&drop_id, &facts, &closings).expect("facts that the model knows"));
    }
    app.stop().await;
    let operations = &sale.recorder.take()[&drop_id];
    if stripes.is_striped() {
        check_striped(&RULES, &StripedSale { stripes, home, events }, operations)
    } else {
        check(&RULES, &events[0], operations)
    }
}

fn shopper(app: &TestApp, id: &str) -> (Caller, UserId) {
    (app.shopper(id), id.parse().expect("a user id"))
}

/// Orders until the limit, with a replay and a key that is used for something else.
async fn first_wave(sale: &Sale, shopper: (Caller, UserId), n: usize) {
    sale.order(shopper.clone(), "k", 1).await;
    tokio::join!(sale.order(shopper.clone(), "k", 1), sale.order(shopper.clone(), "k", 2));
    sale.order(shopper.clone(), "l", 1 + n as u64 % 2).await;
    sale.order(shopper, "m", 1).await;
}

/// Gives back what the first wave got, as far as that is allowed, and orders again.
async fn second_wave(sale: &Sale, shopper: (Caller, UserId), n: usize) {
    for (key, units) in [("k", 1), ("l", 1 + n as u64 % 2)] {
        let Answer::Confirmed { order, .. } = sale.order(shopper.clone(), key, units).await else { continue };
        sale.cancel(&shopper.0, order).await;
        sale.read(&shopper.0, order).await;
    }
    sale.order(shopper.clone(), "n", 2).await;
    sale.order(shopper, "o", 1).await;
}

/// What all shoppers of a sale share.
struct Sale {
    recorder: Recorder,
    drop_id: DropId,
}

impl Sale {
    async fn order(&self, (caller, user): (Caller, UserId), key: &str, units: u64) -> Answer {
        let header: IdempotencyKey = key.parse().expect("a key");
        let request = caller.order_request(self.drop_id.as_str(), units as u32, key);
        let key = KeyDigest::of(UserDigest::of(&user), &header);
        self.ask(&caller, Ask::Order { user, key, units }, request).await
    }

    async fn cancel(&self, caller: &Caller, order: OrderId) {
        let request = caller.request(Method::DELETE, &format!("/orders/{order}"));
        self.ask(caller, Ask::Cancel { order, by: CancelledBy::Shopper }, request).await;
    }

    async fn read(&self, caller: &Caller, order: OrderId) {
        let request = caller.request(Method::GET, &format!("/orders/{order}"));
        self.ask(caller, Ask::Read { order }, request).await;
    }

    async fn ask(&self, caller: &Caller, ask: Ask, request: RequestBuilder) -> Answer {
        let call = self.recorder.call(&self.drop_id, ask.clone());
        let response = caller.send(request).await;
        let replayed = response.header("idempotent-replayed") == "true";
        let answer = Answer::of_response(&ask, response.status, replayed, &response.body);
        let answer = answer.unwrap_or_else(|| panic!("{ask:?} was answered {response:?}"));
        call.answered(answer.clone());
        answer
    }
}
