//! Random sales of striped drops. `STAMPEDE_STRIPES_SEED` replays one.
//!
//! Steps that come alone are decided as one stock would decide them. Of orders that are sent together nobody can say which
//! are granted, only what must be true of all of them.

use std::collections::HashMap;
use std::env;

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use stampede_domain::{CancelledBy, KeyDigest, Order};
use stampede_engine::{Cancellation, Decision, DropChange, DropChangeOutcome, Engine, OrderRef, Refusal};

use crate::sale::{LONG, Striped};
use crate::support::{Harness, request};

const STEPS: usize = 60;
const USERS: usize = 40;
const LIMIT: u32 = 4;

struct Sale {
    striped: Striped,
    engines: [Engine; 2],
    total: u64,
    /// What each user holds.
    held: HashMap<usize, Vec<Order>>,
    keys: u64,
    paused: bool,
}

pub async fn random_striped_sales_go_as_they_should(h: Harness) {
    let seed =
        env::var("STAMPEDE_STRIPES_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().expect("a number"));
    eprintln!("STAMPEDE_STRIPES_SEED={seed} replays this sale");
    let mut rng = StdRng::seed_from_u64(seed);
    let stock = rng.random_range(1..60);
    let engines = [h.another(|_| ()).await, h.another(|_| ()).await];
    let striped = Striped::on_sale(h, |drop| (drop.stock_units, drop.limit_per_user) = (stock, LIMIT)).await;
    let mut sale = Sale { striped, engines, total: stock.into(), held: HashMap::new(), keys: 0, paused: false };
    for _ in 0..STEPS {
        match rng.random_range(0..100) {
            0..40 => sale.one(&mut rng).await,
            40..60 => sale.many(&mut rng).await,
            60..80 => sale.cancel(&mut rng).await,
            80..90 => sale.restock(&mut rng).await,
            _ => sale.turn().await,
        }
        let now = sale.striped.now().await;
        assert_eq!((now.total_units, now.sold_units), (sale.total, sale.sold()));
        assert_eq!(now.available_units, sale.left());
    }
    sale.striped.assert_sound().await;
}

impl Sale {
    fn sold(&self) -> u64 {
        self.held.values().flatten().map(|order| u64::from(order.quantity)).sum()
    }

    fn left(&self) -> u64 {
        self.total - self.sold()
    }

    fn owned(&self, user: usize) -> u32 {
        self.held.get(&user).map_or(0, |orders| orders.iter().map(|order| u32::from(order.quantity)).sum())
    }

    fn key(&mut self) -> String {
        self.keys += 1;
        format!("k{}", self.keys)
    }

    /// One order, decided as by one stock.
    async fn one(&mut self, rng: &mut StdRng) {
        let (user, units) = (rng.random_range(0..USERS), rng.random_range(1..=LIMIT as u16));
        let (owned, left, key) = (self.owned(user), self.left(), self.key());
        let order = request(&self.striped.drop, &format!("user-{user}"), &key, units);
        let decision = self.engines[user % 2].place_order(order, LONG).await.expect("decided");
        match decision {
            Decision::Granted(order) => {
                assert!(!self.paused && owned + u32::from(units) <= LIMIT && u64::from(units) <= left);
                self.held.entry(user).or_default().push(order);
            }
            Decision::Refused(Refusal::NotActive { .. }) => assert!(self.paused),
            Decision::Refused(Refusal::LimitReached { .. }) => assert!(owned + u32::from(units) > LIMIT),
            Decision::Refused(Refusal::SoldOut) => assert_eq!(left, 0),
            Decision::Refused(Refusal::InsufficientStock { available }) => {
                assert_eq!(available, left);
                assert!(left < u64::from(units));
            }
            other => panic!("{other:?} with {left} units left"),
        }
    }

    /// Orders of different users, all at once.
    async fn many(&mut self, rng: &mut StdRng) {
        let units: Vec<u16> = (0..USERS).map(|_| rng.random_range(1..=2)).collect();
        let before = self.left();
        let asked: Vec<_> = (0..USERS)
            .map(|user| {
                request(&self.striped.drop, &format!("user-{user}"), &format!("many-{}-{user}", self.keys), units[user])
            })
            .collect();
        self.keys += 1;
        let engines = &self.engines;
        let orders = asked.into_iter().enumerate().map(|(user, order)| engines[user % 2].place_order(order, LONG));
        let decisions = join_all(orders).await;
        let (mut sold_out, mut fewest) = (false, u64::MAX);
        for (user, decision) in decisions.into_iter().enumerate() {
            match decision.expect("decided") {
                Decision::Granted(order) => self.held.entry(user).or_default().push(order),
                Decision::Refused(Refusal::SoldOut) => sold_out = true,
                Decision::Refused(Refusal::InsufficientStock { available }) => fewest = fewest.min(available),
                Decision::Refused(Refusal::NotActive { .. }) => assert!(self.paused),
                Decision::Refused(Refusal::LimitReached { owned, .. }) => {
                    assert!(owned + u32::from(units[user]) > LIMIT)
                }
                other => panic!("{other:?} with {before} units left before"),
            }
        }
        assert!((0..USERS).all(|user| self.owned(user) <= LIMIT));
        // Nothing came back meanwhile: whoever was told that nothing is left would be told so now.
        assert!(self.sold() <= self.total && !(sold_out && self.left() > 0), "{} left of {before}", self.left());
        assert!(self.left() <= fewest, "{} left of {before}", self.left());
    }

    async fn cancel(&mut self, rng: &mut StdRng) {
        let user = rng.random_range(0..USERS);
        let Some(order) = self.held.get_mut(&user).and_then(Vec::pop) else { return };
        let cancelled = self.engines[0].cancel_order(&OrderRef::from(&order), CancelledBy::Operator).await;
        assert_eq!(cancelled, Ok(Cancellation::Cancelled));
    }

    async fn restock(&mut self, rng: &mut StdRng) {
        let units = rng.random_range(1..10);
        let key = KeyDigest(rng.random());
        for made in [true, false] {
            let restocked =
                self.engines[1].change_drop(&self.striped.drop.id, &DropChange::Restock { key, units }).await;
            assert_eq!(matches!(restocked, Ok(DropChangeOutcome::Changed(_))), made, "{restocked:?}");
        }
        self.total += u64::from(units);
    }

    async fn turn(&mut self) {
        let change = if self.paused { DropChange::Resume } else { DropChange::Pause };
        let turned = self.engines[0].change_drop(&self.striped.drop.id, &change).await;
        assert!(matches!(turned, Ok(DropChangeOutcome::Changed(_))), "{turned:?}");
        self.paused = !self.paused;
    }
}
