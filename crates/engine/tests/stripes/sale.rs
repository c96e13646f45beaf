//! Selling from several stripes as if they were one.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use stampede_domain::{DropDefinition, DropState, Epoch, Fact, FactBody, Shard, Stock, UserDigest};
use stampede_engine::{Decision, DropTerms, Engine, EngineError, EntryReceipt, LiveDrop, Refusal};

use crate::support::{Harness, definition, request, set_up, user};

/// Stripes of each test's drop.
pub const STRIPES: u16 = 4;

/// Long enough for units to come from anywhere.
pub const LONG: Duration = Duration::from_secs(20);

/// Before the tests' own shards end and those begin that hold their other stripes.
const FIRST_OF_OTHERS: u16 = 24;

/// A drop of several stripes that is on sale, and an archive that takes what their logs say.
pub struct Striped {
    pub h: Harness,
    pub drop: Arc<DropTerms>,
    pub definition: DropDefinition,
    pub shards: Vec<Shard>,
    archiving: Arc<AtomicBool>,
    /// What the archive took out of the logs.
    archived: Arc<Mutex<Vec<Fact>>>,
    archiver: tokio::task::JoinHandle<()>,
}

impl Striped {
    pub async fn on_sale(h: Harness, change: impl FnOnce(&mut DropDefinition)) -> Self {
        let striped = Self::opened(h, change).await;
        striped.h.engine.activate_drop(&striped.definition).await.expect("activated");
        striped
    }

    /// One that is not activated.
    pub async fn opened(h: Harness, change: impl FnOnce(&mut DropDefinition)) -> Self {
        let first = FIRST_OF_OTHERS + h.shard.number() * (STRIPES - 1);
        let others = (first..first + STRIPES - 1).map(|number| Shard::new(number).expect("in range"));
        let shards: Vec<Shard> = std::iter::once(h.shard).chain(others).collect();
        for shard in &shards[1..] {
            set_up(&h.engine, *shard).await;
        }
        let mut definition = definition(h.id("striped"));
        definition.stripes = stampede_domain::Stripes::over(shards.clone()).expect("distinct");
        change(&mut definition);
        h.engine.open_drop(&definition).await.expect("opened");
        let drop = Arc::new(DropTerms {
            id: definition.id.clone(),
            sku: definition.sku.clone(),
            unit_price: definition.price,
            durability: definition.durability,
            stripes: definition.stripes.clone(),
        });
        let archiving = Arc::new(AtomicBool::new(true));
        let archived = Arc::default();
        let task = archive(h.engine.clone(), shards.clone(), Arc::clone(&archiving), Arc::clone(&archived));
        let archiver = tokio::spawn(task);
        Self { h, drop, definition, shards, archiving, archived, archiver }
    }

    /// The archive goes, or comes back.
    pub fn let_archive(&self, archiving: bool) {
        self.archiving.store(archiving, Ordering::SeqCst);
    }

    pub async fn order(&self, user: &str, key: &str, units: u16) -> Decision {
        self.try_order(user, key, units).await.expect("decided")
    }

    pub async fn try_order(&self, user: &str, key: &str, units: u16) -> Result<Decision, EngineError> {
        self.h.engine.place_order(request(&self.drop, user, key, units), LONG).await
    }

    /// The drop as it is shown.
    pub async fn now(&self) -> LiveDrop {
        self.h.drop_now(&self.drop.id).await
    }

    /// What a shard has of it.
    pub async fn stripe(&self, shard: Shard) -> LiveDrop {
        let reading = self.h.engine.read_stripes(shard, std::slice::from_ref(&self.drop.id)).await;
        reading.expect("the shard answers").drops.pop().flatten().expect("the stripe is there")
    }

    /// The stripe of a user.
    pub fn stripe_of(&self, name: &str) -> Shard {
        self.drop.stripes.of_user(self.h.shard, UserDigest::of(&user(name)))
    }

    /// A user of this stripe.
    pub fn user_of(&self, shard: Shard, number: usize) -> String {
        (0..).map(|n: u32| format!("u{number}-{n}")).find(|name| self.stripe_of(name) == shard).expect("endless")
    }

    /// Ends the archive's work.
    pub async fn stop_archive(&self) {
        self.archiver.abort();
        // It goes on to where it next waits, and acknowledges what it has taken down by then.
        while !self.archiver.is_finished() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Ends the archive's work and returns all facts of the drop, stripe by stripe.
    pub async fn end(&self) -> Vec<Fact> {
        self.stop_archive().await;
        let mut facts = self.archived.lock().clone();
        for shard in &self.shards {
            let left = self.h.engine.read_untrusted_log(*shard, None, 100_000).await.expect("readable");
            facts.extend(left.iter().flat_map(|entry| entry.facts().expect("decodable")));
        }
        facts.retain(|fact| fact.drop_id == self.drop.id);
        facts.sort_by_key(|fact| (fact.shard, fact.number, fact.position.index));
        // What was taken and not acknowledged yet is in both.
        facts.dedup();
        facts
    }

    /// What must be true at every end: the facts of each stripe make what Redis has, units that left arrived or are on their
    /// way, no user has more than the limit, and no key granted twice. Returns the units in transit.
    pub async fn assert_sound(&self) -> u64 {
        let facts = self.end().await;
        let mut in_transit = 0;
        let (mut keys, mut sold) = (HashSet::new(), 0);
        for shard in &self.shards {
            let mut stock = Stock::opened(&self.definition, *shard);
            for fact in facts.iter().filter(|fact| fact.shard == *shard) {
                stock.apply(&fact.body);
                assert_eq!(stock.total_units, stock.available_units + stock.sold_units, "{fact:?}");
                assert!(stock.available_units >= 0, "{fact:?}");
                if let FactBody::Granted(grant) = &fact.body {
                    assert_eq!(self.stripe_of(grant.user_id.as_str()), *shard, "{fact:?}");
                    assert!(keys.insert((grant.user_id.clone(), grant.key)), "{fact:?} is the second under its key");
                }
            }
            let live = self.stripe(*shard).await;
            let of_redis =
                [live.total_units, live.available_units, live.sold_units, live.sent_units, live.received_units];
            let of_facts =
                [stock.total_units, stock.available_units, stock.sold_units, stock.sent_units, stock.received_units];
            assert_eq!(of_redis.map(u64::cast_signed), of_facts, "{shard}");
            assert_eq!(live.state, stock.state, "{shard}");
            in_transit += stock.sent_units - stock.received_units;
            sold += live.sold_units;
        }
        assert_transfers(&facts);
        let now = self.now().await;
        assert_eq!(now.total_units, now.available_units + now.held_units + now.sold_units);
        assert_eq!(now.sold_units, sold);
        u64::try_from(in_transit).expect("no more arrived than left")
    }
}

impl Drop for Striped {
    fn drop(&mut self) {
        self.archiver.abort();
    }
}

/// What arrived left before, under the same number, and once.
fn assert_transfers(facts: &[Fact]) {
    let (mut sent, mut received) = (HashSet::new(), HashSet::new());
    for fact in facts {
        match fact.body {
            FactBody::Sent { to, transfer, units } => {
                assert!(sent.insert((fact.shard, to, transfer, units)), "{fact:?} happened twice");
            }
            FactBody::Received { from, transfer, units } => {
                assert!(received.insert((from, fact.shard, transfer, units)), "{fact:?} happened twice");
            }
            _ => {}
        }
    }
    assert!(received.is_subset(&sent), "{:?} never left", received.difference(&sent).collect::<Vec<_>>());
}

/// Takes what is in the logs, as a persister does whose archive keeps up.
async fn archive(engine: Engine, shards: Vec<Shard>, archiving: Arc<AtomicBool>, archived: Arc<Mutex<Vec<Fact>>>) {
    loop {
        for shard in &shards {
            if !archiving.load(Ordering::SeqCst) {
                continue;
            }
            let Ok(claim) = engine.read_new(*shard, "archive", 100).await else { continue };
            let facts = claim.entries.iter().flat_map(|entry| entry.facts().expect("decodable"));
            archived.lock().extend(facts);
            let receipts: Vec<EntryReceipt> =
                claim.entries.iter().map(|entry| entry.receipt(&entry.facts().expect("decodable"))).collect();
            if !receipts.is_empty() {
                engine.acknowledge(*shard, Epoch(1), &receipts).await.expect("acknowledged");
            }
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub async fn the_last_unit_is_sold_wherever_it_is(h: Harness) {
    let sale = Striped::on_sale(h, |drop| (drop.stock_units, drop.limit_per_user) = (10, 1)).await;
    let asked: Vec<_> = (0..40).map(|n| (format!("user-{n}"), n)).collect();
    let decisions = join_all(asked.iter().map(|(user, _)| sale.order(user, "k", 1))).await;
    let granted = decisions.iter().filter(|decision| matches!(decision, Decision::Granted(_))).count();
    let sold_out = decisions.iter().filter(|decision| **decision == Decision::Refused(Refusal::SoldOut)).count();
    assert_eq!((granted, sold_out), (10, 30), "{decisions:?}");
    let now = sale.now().await;
    assert_eq!((now.total_units, now.available_units, now.sold_units), (10, 0, 10));
    assert_eq!(sale.assert_sound().await, 0, "nothing is on its way when all is sold");
}

pub async fn an_order_gathers_units_of_several_stripes(h: Harness) {
    let sale = Striped::on_sale(h, |drop| (drop.stock_units, drop.limit_per_user) = (8, 20)).await;
    let many = sale.order("many", "k", 9).await;
    assert_eq!(many, Decision::Refused(Refusal::InsufficientStock { available: 8 }));
    assert!(matches!(sale.order("many", "k", 7).await, Decision::Granted(order) if order.quantity == 7));
    let two = sale.order("two", "k", 2).await;
    assert_eq!(two, Decision::Refused(Refusal::InsufficientStock { available: 1 }));
    assert!(matches!(sale.order("two", "k2", 1).await, Decision::Granted(_)));
    assert_eq!(sale.order("two", "k3", 1).await, Decision::Refused(Refusal::SoldOut));
    sale.assert_sound().await;
}

pub async fn a_user_always_meets_the_same_stripe(h: Harness) {
    let sale = Striped::on_sale(h, |drop| (drop.stock_units, drop.limit_per_user) = (40, 2)).await;
    let other = sale.h.another(|_| ()).await;
    for n in 0..12 {
        let name = format!("user-{n}");
        let Decision::Granted(order) = sale.order(&name, "k", 2).await else { panic!("not granted") };
        assert_eq!(order.id.shard(), sale.stripe_of(&name));
        let again = other.place_order(request(&sale.drop, &name, "k", 2), LONG).await;
        assert_eq!(again, Ok(Decision::Replayed(order)));
        let more = other.place_order(request(&sale.drop, &name, "k2", 1), LONG).await;
        assert_eq!(more, Ok(Decision::Refused(Refusal::LimitReached { limit: 2, owned: 2 })));
    }
    let used: HashSet<Shard> = (0..12).map(|n| sale.stripe_of(&format!("user-{n}"))).collect();
    assert!(used.len() > 1, "the users are spread over the stripes");
    sale.assert_sound().await;
}

pub async fn a_drop_sells_nothing_before_all_of_it_is_there(h: Harness) {
    let sale = Striped::opened(h, |_| ()).await;
    let early = sale.h.engine.place_order(request(&sale.drop, "early", "k", 1), Duration::from_millis(100)).await;
    assert_eq!(early, Err(EngineError::ShardRecovering), "it waits, and is told so");
    assert_eq!(sale.stripe(sale.h.shard).await.state, DropState::Opening);
    let shown = sale.h.engine.read_drops(sale.h.shard, std::slice::from_ref(&sale.drop.id)).await.expect("readable");
    assert_eq!(shown.drops, [None]);
    let waiting = sale.try_order("waiting", "k", 1);
    let activated = sale.h.engine.activate_drop(&sale.definition);
    let (waiting, activated) = tokio::join!(waiting, activated);
    assert!(matches!(waiting, Ok(Decision::Granted(_))), "{waiting:?}");
    assert_eq!(activated.expect("activated").expect("it is striped").total_units, 10);
    let again = sale.h.engine.activate_drop(&sale.definition).await.expect("activated before").expect("it is striped");
    assert_eq!((again.state, again.sold_units), (DropState::Open, 1));
    sale.assert_sound().await;
}
