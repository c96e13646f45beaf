//! What shoppers and operators ask, over HTTP, until they are told something definite.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use stampede_domain::{CancelledBy, DropId, IdempotencyKey, KeyDigest, OrderId, UserDigest, UserId};
use stampede_testkit::history::{Answer, Ask, Recorder, SaleRules};
use tokio::time::{Instant, sleep};

use super::site::Site;

/// The longest that anybody waits for a definite answer once nothing is broken any more, and while it is.
const PATIENCE: Duration = Duration::from_secs(240);

/// What the processes have as `filter_max_age_ms` unless they are told something else.
const FILTER_AGE: Duration = Duration::from_millis(250);

/// The most units at the opening and the stripes of each drop of a round. What is striped can be sold out by the shoppers
/// there are, and its stripes often lack units that others have.
const DROPS: [(u64, u16); 8] = [(10, 1), (60, 1), (300, 1), (1_500, 1), (6_000, 1), (6_000, 1), (40, 2), (300, 3)];

/// How many order at the same time at the end of a round.
const LAST_AT_ONCE: usize = 16;

/// A drop of a round.
#[derive(Clone, Debug)]
pub struct DropPlan {
    pub id: DropId,
    pub stripes: u16,
    pub rules: SaleRules,
}

/// Everything that the clients of a round share.
pub struct Shop {
    pub recorder: Recorder,
    pub drops: Vec<DropPlan>,
    /// What clients were told of each order, without its status.
    pub told: Mutex<BTreeMap<OrderId, Value>>,
    /// What must not be, in words.
    pub problems: Mutex<Vec<String>>,
    closing: AtomicBool,
    client: Client,
    origins: Vec<String>,
    shoppers: Vec<String>,
    operator: String,
}

/// A request that can be sent any number of times.
pub struct Wish {
    pub ask: Ask,
    method: Method,
    path: String,
    token: String,
    key: Option<String>,
    body: Option<Value>,
}

impl Shop {
    /// Opens some drops, of different sizes and limits.
    pub async fn open(site: &Site, round: u64, rng: &mut StdRng) -> Result<Self, String> {
        let client = stampede_testkit::http_client().build().map_err(|error| error.to_string())?;
        let mut shop = Self {
            recorder: Recorder::new(),
            drops: Vec::new(),
            told: Mutex::default(),
            problems: Mutex::default(),
            closing: AtomicBool::new(false),
            client,
            origins: site.origins(),
            shoppers: site.shoppers.clone(),
            operator: site.operator.clone(),
        };
        for (number, (most, stripes)) in (0..).zip(DROPS) {
            let id: DropId = format!("round-{round}-drop-{number}").parse().map_err(|_| "a drop's id")?;
            let rules = SaleRules {
                units: rng.random_range(most / 3..=most),
                limit_per_user: rng.random_range(u64::from(stripes.min(2))..=8),
                cancellable: rng.random_bool(0.7),
                cancellations_per_user: rng.random_range(0..=5),
                // Calls are lost all the time.
                new_once: false,
                holds: true,
                filter_age_ns: u64::try_from(FILTER_AGE.as_nanos()).unwrap_or(u64::MAX),
            };
            let plan = DropPlan { id, stripes, rules };
            shop.create(&plan).await?;
            shop.drops.push(plan);
        }
        Ok(shop)
    }

    async fn create(&self, DropPlan { id, stripes, rules }: &DropPlan) -> Result<(), String> {
        let body = json!({
            "id": id.as_str(), "mode": "instant", "stock_units": rules.units, "limit_per_user": rules.limit_per_user,
            "stripes": stripes,
            "cancellable_for_s": if rules.cancellable { 3_600 } else { 0 },
            "cancellations_per_user": rules.cancellations_per_user,
            "product": {"sku": id.as_str(), "name": id.as_str(), "price": {"amount_minor": 12_900, "currency": "EUR"}},
        });
        let deadline = Instant::now() + PATIENCE;
        loop {
            let request = self.client.post(format!("{}/api/v1/drops", self.origins[0])).bearer_auth(&self.operator);
            let said = match request.json(&body).send().await {
                Ok(response) if response.status().is_success() => return Ok(()),
                Ok(response) => response.text().await.unwrap_or_default(),
                Err(error) => error.to_string(),
            };
            if Instant::now() > deadline {
                return Err(format!("{id} cannot be opened: {said}"));
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Lets everybody finish what they have begun, and begin nothing more.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Sells the rest of every striped drop, when nothing is broken any more: down to the last unit, wherever it is.
    pub async fn sell_out(&self, rng: &mut StdRng) -> Result<(), String> {
        for drop in self.drops.iter().filter(|drop| drop.stripes > 1) {
            self.insist(drop, &self.change(drop, Ask::Resume, "resume"), false, rng).await;
            let deadline = Instant::now() + PATIENCE;
            let mut asked = 0;
            loop {
                let last = (asked..asked + LAST_AT_ONCE).map(|number| (number, StdRng::seed_from_u64(rng.random())));
                let orders = last.map(|(number, mut rng)| async move {
                    let wish = self.order(drop, number % self.shoppers.len(), &format!("last-{number}"), 1);
                    self.insist(drop, &wish, false, &mut rng).await
                });
                asked += LAST_AT_ONCE;
                let answers = join_all(orders).await;
                let sold_out = answers.contains(&Some(Answer::SoldOut));
                let left = if sold_out { self.units_left(drop).await? } else { 1 };
                if left == 0 {
                    break;
                }
                if Instant::now() > deadline {
                    self.problem(format!("{}: {left} units are left that nobody can buy: {answers:?}", drop.id));
                    break;
                }
            }
        }
        Ok(())
    }

    /// Units of a drop that are not sold.
    async fn units_left(&self, drop: &DropPlan) -> Result<u64, String> {
        let url = format!("{}/api/v1/drops/{}/stock", self.origins[0], drop.id);
        let request = self.client.get(url).bearer_auth(&self.operator);
        let (_, _, stock) = receive(request).await.map_err(|error| error.to_string())?;
        let units = |name: &str| stock[name].as_u64().ok_or_else(|| format!("no stock of {}: {stock}", drop.id));
        Ok(units("total")? - units("sold")?)
    }

    /// Asks until there is a definite answer; some give up as soon as nobody knows.
    pub async fn insist(&self, drop: &DropPlan, wish: &Wish, gives_up: bool, rng: &mut StdRng) -> Option<Answer> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.send(drop, wish, rng).await {
                Answer::Unknown if gives_up => return None,
                Answer::Unknown | Answer::NoEffect => {}
                definite => return Some(definite),
            }
            if Instant::now() > deadline {
                self.problem(format!("nobody could say within {PATIENCE:?} what became of {:?}", wish.ask));
                return None;
            }
            sleep(Duration::from_millis(rng.random_range(10..150))).await;
        }
    }

    /// Sends it once, to any API, with much patience or little, and writes down what was answered.
    async fn send(&self, drop: &DropPlan, wish: &Wish, rng: &mut StdRng) -> Answer {
        let origin = &self.origins[rng.random_range(0..self.origins.len())];
        let patience_ms = if rng.random_bool(0.3) { rng.random_range(30..900) } else { 12_000 };
        let mut request = self.client.request(wish.method.clone(), format!("{origin}/api/v1{}", wish.path));
        request = request.bearer_auth(&wish.token).timeout(Duration::from_millis(patience_ms));
        if let Some(key) = &wish.key {
            request = request.header("Idempotency-Key", key);
        }
        if let Some(body) = &wish.body {
            request = request.json(body);
        }
        let call = self.recorder.call(&drop.id, wish.ask.clone());
        let answer = match receive(request).await {
            Ok((status, replayed, body)) => {
                let answer = Answer::of_response(&wish.ask, status, replayed, &body);
                if status == 500 || answer.is_none() {
                    self.problem(format!("{:?} was answered {status} {body}", wish.ask));
                }
                if matches!(answer, Some(Answer::Confirmed { .. } | Answer::Stands { .. })) {
                    self.remember(body);
                }
                answer.unwrap_or(Answer::Unknown)
            }
            Err(_) => Answer::Unknown,
        };
        call.answered(answer.clone());
        answer
    }

    /// Every answer about an order says the same of it, but for its status.
    fn remember(&self, mut body: Value) {
        let Some(order) = body["id"].as_str().and_then(|id| id.parse::<OrderId>().ok()) else {
            return self.problem(format!("an order without an id: {body}"));
        };
        body.as_object_mut().map(|fields| fields.remove("status"));
        let mut told = self.told.lock().expect("nobody panics with it");
        let before = told.entry(order).or_insert_with(|| body.clone());
        if *before != body {
            self.problem(format!("order {order} was told as {before} and as {body}"));
        }
    }

    fn problem(&self, what: String) {
        self.problems.lock().expect("nobody panics with it").push(what);
    }

    /// An order of units by a shopper, by number.
    pub fn order(&self, drop: &DropPlan, shopper: usize, key: &str, units: u64) -> Wish {
        let user: UserId = format!("shopper-{}", shopper + 1).parse().expect("a user id");
        let digest = key_of(key, |key| KeyDigest::of(UserDigest::of(&user), key));
        Wish {
            ask: Ask::Order { user, key: digest, units },
            method: Method::POST,
            path: "/orders".to_owned(),
            token: self.shoppers[shopper].clone(),
            key: Some(key.to_owned()),
            body: Some(json!({"drop_id": drop.id.as_str(), "quantity": units})),
        }
    }

    /// A look at an order, by its owner.
    pub fn read(&self, shopper: usize, order: OrderId) -> Wish {
        self.about(order, Ask::Read { order }, Method::GET, self.shoppers[shopper].clone())
    }

    /// The cancellation of an order: by its owner, or by an operator.
    pub fn cancel(&self, shopper: Option<usize>, order: OrderId) -> Wish {
        let (by, token) = match shopper {
            Some(shopper) => (CancelledBy::Shopper, &self.shoppers[shopper]),
            None => (CancelledBy::Operator, &self.operator),
        };
        self.about(order, Ask::Cancel { order, by }, Method::DELETE, token.clone())
    }

    fn about(&self, order: OrderId, ask: Ask, method: Method, token: String) -> Wish {
        Wish { ask, method, path: format!("/orders/{order}"), token, key: None, body: None }
    }

    /// More units for a drop.
    pub fn restock(&self, drop: &DropPlan, key: &str, units: u64) -> Wish {
        let digest = key_of(key, |key| KeyDigest::of_drop(&drop.id, key));
        let wish = self.change(drop, Ask::Restock { key: digest, units }, "restock");
        Wish { key: Some(key.to_owned()), body: Some(json!({"units": units})), ..wish }
    }

    /// A change of a drop by an operator.
    pub fn change(&self, drop: &DropPlan, ask: Ask, word: &str) -> Wish {
        let path = format!("/drops/{}/{word}", drop.id);
        Wish { ask, method: Method::POST, path, token: self.operator.clone(), key: None, body: None }
    }
}

fn key_of(key: &str, digest: impl Fn(&IdempotencyKey) -> KeyDigest) -> KeyDigest {
    digest(&key.parse().expect("a key"))
}

/// The status, whether it is a replay, and the body.
async fn receive(request: reqwest::RequestBuilder) -> Result<(u16, bool, Value), reqwest::Error> {
    let response = request.send().await?;
    let (status, replayed) = (response.status().as_u16(), response.headers().contains_key("idempotent-replayed"));
    Ok((status, replayed, serde_json::from_slice(&response.bytes().await?).unwrap_or_default()))
}
