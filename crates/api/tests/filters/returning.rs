//! Units come back while filters are made and used, in several processes: every answer is right, and no unit stays unsold.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::{Method, RequestBuilder};
use serde_json::json;
use stampede_archive::FactRange;
use stampede_domain::{CancelledBy, DropId, Epoch, IdempotencyKey, KeyDigest, OrderId, UserDigest, UserId};
use stampede_testkit::history::{Answer, Ask, Recorder, SaleRules, Verdict, Violation, check, witness};
use stampede_testkit::{AppOptions, Caller, TestApp};

use crate::{LIMIT, live, options, until_refused_here, watch_commands};

const AGE: Duration = Duration::from_millis(250);
const DROP: &str = "returning";
const UNITS: u64 = 30;
/// Units that come back: by cancellations and by restocks.
const CANCELLED: usize = 12;
const RESTOCKED: u64 = 12;
const HUNGRY: usize = 24;

const RULES: SaleRules = SaleRules {
    units: UNITS,
    limit_per_user: 1,
    cancellable: true,
    cancellations_per_user: 1,
    new_once: true,
    holds: true,
    filter_age_ns: AGE.as_nanos() as u64,
};

/// What everybody in the sale shares.
struct Sale {
    recorder: Recorder,
    drop_id: DropId,
    origins: Vec<String>,
    /// Whether all units are sold.
    over: AtomicBool,
    /// Refusals of those who wait for units.
    refused: AtomicUsize,
}

#[tokio::test(flavor = "multi_thread")]
async fn no_replay_is_refused_and_no_unit_stays_unsold() {
    let verdict = sell(Vec::new()).await;
    assert!(verdict.is_right(), "{:#?}", verdict.violations);
    assert_eq!((verdict.confirmed, verdict.cancelled), (UNITS as usize + HUNGRY, CANCELLED));
}

/// Units that can be ordered at once, of which the processes learn only by asking.
#[tokio::test(flavor = "multi_thread")]
async fn units_that_are_not_held_would_be_seen() {
    let lies = [("if hold_ms == 0 or", "if hold_ms >= 0 or"), ("'meta$', 'changes')", "'meta$', 'silence')")];
    let verdict = sell(lies.map(|(from, to)| (from.to_owned(), to.to_owned())).into()).await;
    let untrue = |violation: &Violation| matches!(violation, Violation::Untrue { operation, .. } if operation.answer == Answer::SoldOut);
    assert!(verdict.violations.iter().any(untrue), "{verdict:?}");
}

/// Sells, gives back and sells again, with these texts of scripts replaced in what one of the processes sends.
async fn sell(rewrites: Vec<(String, String)>) -> Verdict {
    let mut app = TestApp::start_with(AppOptions { rewrites, ..options(AGE) }).await;
    let mut origins = vec![app.origin.clone()];
    for _ in 0..2 {
        origins.push(app.another_api().await);
    }
    let more = json!({"cancellable_for_s": 3_600, "cancellations_per_user": RULES.cancellations_per_user});
    let operator = app.operator();
    operator.create_drop(DROP, UNITS as u32, RULES.limit_per_user as u32, &more).await;
    let drop_id: DropId = DROP.parse().expect("valid");
    let sale = Arc::new(Sale {
        recorder: Recorder::new(),
        drop_id: drop_id.clone(),
        origins: origins.clone(),
        over: AtomicBool::new(false),
        refused: AtomicUsize::new(0),
    });

    let buyers: Vec<_> = (0..UNITS as usize).map(|n| shopper(&app, &format!("buyer-{n}"))).collect();
    let bought = join_all(buyers.iter().map(|buyer| sale.order(buyer, 0, "k"))).await;
    let orders: Vec<OrderId> = bought.iter().map(order_of).collect();
    watch_commands(&mut app);
    for origin in &origins {
        until_refused_here(&mut app, origin, DROP).await;
    }

    // Some buyers give back, an operator adds units, the others replay all the time, and a crowd wants whatever there is.
    let hungry: Vec<_> = (0..HUNGRY).map(|n| shopper(&app, &format!("hungry-{n}"))).collect();
    let crowd = join_all(hungry.iter().enumerate().map(|(n, shopper)| sale.wait_for_a_unit(shopper, n)));
    let replays = join_all(buyers[CANCELLED..].iter().enumerate().map(|(n, buyer)| sale.replay(buyer, n)));
    let returns = async {
        for n in 0..CANCELLED {
            sale.cancel(&buyers[n].0, orders[n]).await;
            if (n as u64) < RESTOCKED {
                sale.restock(&operator, n).await;
            }
            // Now and then filters are made again before the next units come back.
            let pause = if n % 3 == 0 { 2 * AGE } else { AGE / 5 };
            tokio::time::sleep(pause).await;
        }
        let all = UNITS + RESTOCKED;
        let deadline = Instant::now() + LIMIT;
        while live(&app, DROP).await.sold_units < all {
            assert!(Instant::now() < deadline, "units stay unsold: {:?}", live(&app, DROP).await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        sale.over.store(true, Ordering::Relaxed);
    };
    tokio::join!(crowd, replays, returns);
    assert!(sale.refused.load(Ordering::Relaxed) > HUNGRY, "the crowd had to wait");

    let history = sale.recorder.take();
    let facts = archived(&app, &drop_id).await;
    let closings = app.archive.closings(app.engine.shard_of(&drop_id)).await.expect("the archive answers");
    let events = witness(&drop_id, &facts, &closings).expect("facts that the model knows");
    let verdict = check(&RULES, &events, &history[&drop_id]);
    app.finish().await;
    verdict
}

async fn archived(app: &TestApp, drop_id: &DropId) -> Vec<stampede_domain::Fact> {
    let shard = app.engine.shard_of(drop_id);
    while app.engine.log_status(shard).await.expect("Redis answers").entries > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let range = FactRange { from_epoch: Epoch(0), beyond_number: 0 };
    app.archive.facts(shard, range, None, 100_000).await.expect("the archive answers")
}

fn shopper(app: &TestApp, id: &str) -> (Caller, UserId) {
    (app.shopper(id), id.parse().expect("a user id"))
}

fn order_of(answer: &Answer) -> OrderId {
    match answer {
        Answer::Confirmed { order, .. } => *order,
        other => panic!("not granted: {other:?}"),
    }
}

impl Sale {
    /// Orders until there is a unit, each time at the next process.
    async fn wait_for_a_unit(&self, shopper: &(Caller, UserId), first: usize) {
        for n in first.. {
            if let Answer::Confirmed { .. } = self.order(shopper, n, "k").await {
                // Whoever was granted by one process is known to the others.
                for other in 0..self.origins.len() {
                    self.order(shopper, n + other, "k").await;
                }
                return;
            }
            self.refused.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn replay(&self, buyer: &(Caller, UserId), first: usize) {
        for n in first.. {
            self.order(buyer, n, "k").await;
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn order(&self, (caller, user): &(Caller, UserId), n: usize, key: &str) -> Answer {
        let caller = caller.at(&self.origins[n % self.origins.len()]);
        let header: IdempotencyKey = key.parse().expect("a key");
        let request = caller.order_request(self.drop_id.as_str(), 1, key);
        let key = KeyDigest::of(UserDigest::of(user), &header);
        self.ask(&caller, Ask::Order { user: user.clone(), key, units: 1 }, request).await
    }

    async fn cancel(&self, caller: &Caller, order: OrderId) {
        let request = caller.request(Method::DELETE, &format!("/orders/{order}"));
        self.ask(caller, Ask::Cancel { order, by: CancelledBy::Shopper }, request).await;
    }

    async fn restock(&self, operator: &Caller, n: usize) {
        let name = format!("more-{n}");
        let key = KeyDigest::of_drop(&self.drop_id, &name.parse().expect("a key"));
        let request = operator.request(Method::POST, &format!("/drops/{}/restock", self.drop_id));
        let request = request.header("Idempotency-Key", &name).json(&json!({"units": 1}));
        self.ask(operator, Ask::Restock { key, units: 1 }, request).await;
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
