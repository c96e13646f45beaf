//! A crowd over HTTP: as many units as there are, not one more, and everybody else is told why not.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use rand::RngExt;
use serde_json::json;
use stampede_testkit::{Answer, AppOptions, TestApp};

const SHOPPERS: usize = 5_000;
const AT_ONCE: usize = 200;
const UNITS: u32 = 100;

/// How a shopper of the crowd behaves.
#[derive(Clone, Copy, PartialEq)]
enum Habit {
    /// Sends one request and waits for the answer.
    Once,
    /// Sends every request twice, at the same time, with the same key.
    Twice,
    /// Every second shopper cuts the connection before the answer, then asks again with the same key.
    CutsOff,
}

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_shoppers_buy_exactly_a_hundred_units() {
    sell(AppOptions::default(), 1, Habit::Once).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mixed_quantities_sell_every_unit_and_none_twice() {
    sell(AppOptions::default(), 3, Habit::Once).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_sent_twice_sell_nothing_twice() {
    sell(AppOptions::default(), 1, Habit::Twice).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_cut_the_connection_and_retry_get_their_order() {
    sell(AppOptions::default(), 1, Habit::CutsOff).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_and_mongodb_sell_a_hundred_units_too() {
    sell(AppOptions { cluster: true, mongodb: true, ..AppOptions::default() }, 1, Habit::Once).await;
}

async fn sell(options: AppOptions, limit: u32, habit: Habit) {
    let app = TestApp::start_with(options).await;
    app.operator().create_drop("crowd", UNITS, limit, &json!({})).await;
    let answers: Vec<(u32, Answer)> = stream::iter(0..SHOPPERS)
        .map(|n| shop(&app, n, limit, habit))
        .buffer_unordered(AT_ONCE)
        .flat_map(stream::iter)
        .collect()
        .await;

    let mut orders: HashMap<String, u32> = HashMap::new();
    let mut refused: HashMap<String, usize> = HashMap::new();
    for (quantity, answer) in &answers {
        match answer.status {
            201 => drop(orders.insert(answer.text("/id").to_owned(), *quantity)),
            _ => *refused.entry(answer.code().to_owned()).or_default() += 1,
        }
    }
    let known = ["sold-out", "insufficient-stock", "limit-reached"];
    assert!(refused.keys().all(|code| known.contains(&code.as_str())), "{refused:?}");
    let units: u32 = orders.values().sum();
    if limit == 1 {
        assert_eq!(orders.len(), UNITS as usize);
    }
    let stock = app.operator().get("/drops/crowd/stock").await.expect(200);
    assert_eq!((stock.number("/sold"), stock.number("/total")), (u64::from(units), u64::from(UNITS)), "{refused:?}");
    // With mixed quantities the last unit may be left to somebody who wants one; then nobody was refused it.
    let wanted_one = answers.iter().any(|(quantity, answer)| *quantity == 1 && answer.code() == "sold-out");
    assert!(units == UNITS || !wanted_one, "{units} of {UNITS} units sold: {refused:?}");
    app.finish().await;
}

/// What one shopper is answered: a quantity and an answer for each request that was answered.
async fn shop(app: &TestApp, n: usize, limit: u32, habit: Habit) -> Vec<(u32, Answer)> {
    let shopper = app.shopper(&format!("shopper|{n}"));
    let quantity = n as u32 % limit + 1;
    let request = || shopper.order_request("crowd", quantity, &format!("key-{n}"));
    match habit {
        Habit::Once => vec![(quantity, shopper.send(request()).await)],
        Habit::Twice => {
            let (one, two) = tokio::join!(shopper.send(request()), shopper.send(request()));
            if one.status == 201 || two.status == 201 {
                assert_eq!(one.text("/id"), two.text("/id"), "both get the same order");
                let replays =
                    [&one, &two].iter().filter(|answer| answer.header("idempotent-replayed") == "true").count();
                assert_eq!(replays, 1, "one of them is the first");
            }
            vec![(quantity, one), (quantity, two)]
        }
        Habit::CutsOff => {
            if n.is_multiple_of(2) {
                let patience = Duration::from_micros(rand::rng().random_range(0..3_000));
                // The connection is closed with the future, wherever the request is by then.
                let _ = tokio::time::timeout(patience, shopper.try_send(request())).await;
            }
            let first = shopper.send(request()).await;
            let again = shopper.send(request()).await;
            assert_eq!(first.status == 201, again.status == 201, "{first:?} {again:?}");
            assert_eq!(first.text("/id"), again.text("/id"));
            vec![(quantity, first)]
        }
    }
}
