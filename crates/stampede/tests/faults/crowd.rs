//! How the crowd of a round behaves.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use stampede_domain::OrderId;
use stampede_testkit::history::{Answer, Ask};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::shop::{DropPlan, Shop};
use super::site::USERS;

/// How many ask at the same time.
const AT_ONCE: u64 = 24;

/// Orders of one client that it may come back to.
const REMEMBERED: usize = 40;

/// Starts everybody; they end some time after the shop closes.
pub fn start(shop: &Arc<Shop>, seed: u64) -> JoinSet<()> {
    let mut crowd = JoinSet::new();
    for number in 0..AT_ONCE {
        let rng = StdRng::seed_from_u64(seed.wrapping_mul(1_000).wrapping_add(number));
        crowd.spawn(Client { shop: Arc::clone(shop), rng, number, keys: 0, mine: Vec::new() }.shop_until_closing());
    }
    crowd.spawn(operate(Arc::clone(shop), StdRng::seed_from_u64(seed)));
    crowd
}

/// One of the crowd, who acts for many shoppers.
struct Client {
    shop: Arc<Shop>,
    rng: StdRng,
    number: u64,
    keys: u64,
    mine: Vec<Mine>,
}

/// An order that was confirmed to this client.
#[derive(Clone)]
struct Mine {
    drop: DropPlan,
    shopper: usize,
    key: String,
    units: u64,
    order: OrderId,
}

impl Client {
    async fn shop_until_closing(mut self) {
        while !self.shop.is_closing() {
            let old = self.mine.len();
            match self.rng.random_range(0..10) {
                0..6 => self.order().await,
                _ if old == 0 => self.order().await,
                _ => {
                    let mine = self.mine[self.rng.random_range(0..old)].clone();
                    self.come_back(mine).await;
                }
            }
            sleep(Duration::from_millis(self.rng.random_range(1..25))).await;
        }
        // What was confirmed can still be read when all is over.
        let (last, shop) = (self.mine.last().cloned(), Arc::clone(&self.shop));
        if let Some(mine) = last {
            shop.insist(&mine.drop, &shop.read(mine.shopper, mine.order), false, &mut self.rng).await;
        }
    }

    async fn order(&mut self) {
        let shop = Arc::clone(&self.shop);
        let drop = shop.drops[self.rng.random_range(0..shop.drops.len())].clone();
        let shopper = self.rng.random_range(0..USERS);
        // Sometimes more than the limit.
        let units = self.rng.random_range(1..=(drop.rules.limit_per_user / 2 + 1).max(1));
        self.keys += 1;
        let key = format!("client-{}-{}", self.number, self.keys);
        let wish = shop.order(&drop, shopper, &key, units);
        let gives_up = self.rng.random_bool(0.1);
        let answer = shop.insist(&drop, &wish, gives_up, &mut self.rng).await;
        if let Some(Answer::Confirmed { order, .. }) = answer {
            if self.mine.len() == REMEMBERED {
                let forgotten = self.rng.random_range(0..REMEMBERED);
                self.mine.swap_remove(forgotten);
            }
            self.mine.push(Mine { drop, shopper, key, units, order });
        }
    }

    /// Replays, uses the key for something else, looks, or cancels.
    async fn come_back(&mut self, mine: Mine) {
        let Mine { drop, shopper, key, units, order } = mine;
        let shop = Arc::clone(&self.shop);
        let wish = match self.rng.random_range(0..6) {
            0 | 1 => shop.order(&drop, shopper, &key, units),
            2 => shop.order(&drop, shopper, &key, units + 1),
            3 | 4 => shop.read(shopper, order),
            _ => shop.cancel(Some(shopper), order),
        };
        let gives_up = self.rng.random_bool(0.1);
        shop.insist(&drop, &wish, gives_up, &mut self.rng).await;
        if self.rng.random_bool(0.02) {
            shop.insist(&drop, &shop.cancel(None, order), false, &mut self.rng).await;
        }
    }
}

/// One operator, who restocks, pauses and resumes.
async fn operate(shop: Arc<Shop>, mut rng: StdRng) {
    let mut restocks = 0;
    while !shop.is_closing() {
        let drop = &shop.drops[rng.random_range(0..shop.drops.len())];
        if rng.random_bool(0.7) {
            // Sometimes the same restock again.
            restocks += u64::from(restocks == 0 || rng.random_bool(0.8));
            let wish = shop.restock(drop, &format!("restock-{restocks}"), 1 + restocks % 20);
            shop.insist(drop, &wish, false, &mut rng).await;
        } else {
            shop.insist(drop, &shop.change(drop, Ask::Pause, "pause"), false, &mut rng).await;
            sleep(Duration::from_millis(rng.random_range(10..300))).await;
            shop.insist(drop, &shop.change(drop, Ask::Resume, "resume"), false, &mut rng).await;
        }
        sleep(Duration::from_millis(rng.random_range(100..600))).await;
    }
}
