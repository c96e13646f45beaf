//! One random sale: each step is taken by the engine and by the model, and what they say is compared.

use std::sync::Arc;

use stampede_domain::{
    CancelledBy, ClosedBy, DropDefinition, Epoch, Fact, GrantState, KeyDigest, LogId, Money, Order, OrderStatus,
    Timestamp, UserDigest, Window,
};
use stampede_engine::{
    Cancellation, Decision, DropChange, DropChangeOutcome, DropTerms, Engine, EngineError, LiveDrop, Opening, OrderRef,
    Refusal,
};

use crate::fold::fold;
use crate::random::Step;
use crate::rules::{Ask, Cancelling, Change, Changing, DropModel, Model, Price, Verdict};
use crate::support::{Harness, WAIT, definition, join_in_order, request, user};

const HOUR_MS: i64 = 3_600_000;

/// The bound of the log, in orders: low, so that the archive is behind now and then.
pub const BOUND: usize = 25;

pub struct Sale<'a> {
    h: &'a Harness,
    engine: &'a Engine,
    seed: u64,
    pub model: Model,
    terms: Vec<Arc<DropTerms>>,
    /// When hour 0 was.
    began_ms: i64,
    archived: Vec<Fact>,
}

impl<'a> Sale<'a> {
    pub async fn begin(h: &'a Harness, engine: &'a Engine, seed: u64) -> Self {
        let began_ms = engine.read_drops(h.shard, &[]).await.expect("readable").as_of.as_ms();
        let model = Model { bound: BOUND, ..Model::default() };
        Self { h, engine, seed, model, terms: Vec::new(), began_ms, archived: Vec::new() }
    }

    pub async fn take(&mut self, step: Step) {
        let before = self.model.drops.clone();
        let versions = self.live().await;
        match step.clone() {
            Step::Orders(asks) => self.order(&asks).await,
            Step::Cancel { drop, user, nth, by } => self.cancel(drop, user, nth, by).await,
            Step::Change(drop, change) => self.change(drop, change).await,
            Step::Open(drop, defined) => self.open(drop, defined).await,
            Step::Hour => self.pass_an_hour(),
            Step::Archive => self.archive().await,
        }
        let live = self.live().await;
        for (place, (drop, now)) in self.model.drops.iter().zip(&live).enumerate() {
            self.compare(drop, now, &step);
            let changed = before.get(place).is_none_or(|before| before.changes != drop.changes);
            let rose = versions.get(place).is_none_or(|before| before.version < now.version);
            assert_eq!(rose, changed, "the version of drop {place} after {step:?}");
        }
    }

    /// Archives the rest, and compares what is left in Redis and what the facts come to.
    pub async fn end(mut self) {
        self.archive().await;
        let folded = fold(&self.archived);
        assert_eq!(folded.len(), self.model.drops.len());
        let live = self.live().await;
        for (place, drop) in self.model.drops.iter().enumerate() {
            let facts = &folded[&self.terms[place].id];
            let from_facts = (facts.state, facts.window, facts.limit_per_user, facts.total_units, facts.sold_units);
            let now = &live[place];
            assert_eq!(from_facts, (now.state, now.window, now.limit_per_user, now.total_units, now.sold_units));
            assert_eq!(facts.held_units, now.held_units, "held of drop {place}");
            let mut orders = 0;
            for (buyer, held) in &drop.users {
                let digest = UserDigest::of(&user(&name(*buyer)));
                let asked = [(self.terms[place].id.clone(), digest)];
                let mut read = self.engine.user_grants(self.h.shard, &asked).await.expect("readable");
                let (_, records) = read.pop().and_then(|user| user.grants).expect("the drop is there");
                let recorded: Vec<_> = records
                    .iter()
                    .map(|record| (record.order_id(self.h.shard, &asked[0].0, digest), record.units, record.state))
                    .collect();
                let expected: Vec<_> =
                    held.iter().map(|held| (held.id.expect("it was granted"), held.ask.units, held.state)).collect();
                assert_eq!(recorded, expected, "the record of user {buyer} in drop {place}");
                for (id, units, state) in recorded {
                    assert_eq!(facts.orders.get(&id), Some(&(user(&name(*buyer)), units, state)), "{id}");
                    orders += 1;
                }
                let confirmed = held.iter().filter(|held| held.state == GrantState::Confirmed);
                assert!(confirmed.map(|held| held.units()).sum::<u32>() <= drop.limit, "user {buyer} in drop {place}");
            }
            assert_eq!(facts.orders.len(), orders, "every order of the log is in a record");
        }
    }

    async fn order(&mut self, asks: &[Ask]) {
        let orders = asks.iter().map(|ask| {
            let terms = &self.terms[ask.drop];
            let mut order = request(terms, &name(ask.user), &format!("key-{}", ask.key), ask.units);
            let right = terms.unit_price.times(u32::from(ask.units));
            order.expected_total = match ask.price {
                Price::Unsaid => None,
                Price::Right => Some(right),
                Price::Wrong => Some(Money { amount_minor: right.amount_minor + 1, ..right }),
            };
            self.engine.place_order(order, WAIT)
        });
        let decisions = join_in_order(orders.collect()).await;
        for (ask, decision) in asks.iter().zip(decisions) {
            let verdict = self.model.order(*ask);
            self.check(*ask, verdict, decision);
        }
    }

    fn check(&mut self, ask: Ask, verdict: Verdict, decision: Result<Decision, EngineError>) {
        let drop = &mut self.model.drops[ask.drop];
        let terms = &self.terms[ask.drop];
        let refusal = match (verdict, &decision) {
            (Verdict::Granted, Ok(Decision::Granted(order))) => {
                let held = drop.users.get_mut(&ask.user).and_then(|held| held.last_mut()).expect("it is held");
                held.id = Some(order.id);
                assert_eq!(*order, expected_order(terms, ask, order, OrderStatus::Confirmed));
                return;
            }
            (Verdict::Replayed(nth), Ok(Decision::Replayed(order))) => {
                let held = &drop.users[&ask.user][nth];
                assert_eq!((Some(order.id), order), (held.id, &expected_order(terms, ask, order, held.state.into())));
                return;
            }
            (Verdict::Granted | Verdict::Replayed(_), _) => panic!("{ask:?}: {verdict:?}, not {decision:?}"),
            (Verdict::KeyReused, _) => Refusal::KeyReused,
            (Verdict::NotActive(phase), _) => Refusal::NotActive { phase, window: window(drop, self.began_ms) },
            (Verdict::PriceChanged, _) => Refusal::PriceChanged {
                unit_price: terms.unit_price,
                total_price: terms.unit_price.times(u32::from(ask.units)),
            },
            (Verdict::LimitReached { owned }, _) => Refusal::LimitReached { limit: drop.limit, owned },
            (Verdict::SoldOut, _) => Refusal::SoldOut,
            (Verdict::Insufficient { available }, _) => Refusal::InsufficientStock { available },
            (Verdict::ArchiveBehind, _) => Refusal::ArchiveBehind,
        };
        assert_eq!(decision, Ok(Decision::Refused(refusal)), "{ask:?}");
    }

    async fn cancel(&mut self, drop: usize, buyer: usize, nth: usize, by: CancelledBy) {
        let held = &self.model.drops[drop].users[&buyer][nth];
        let order = OrderRef {
            id: held.id.expect("it was granted"),
            drop_id: self.terms[drop].id.clone(),
            user_id: user(&name(buyer)),
            units: held.ask.units,
        };
        let expected = match self.model.cancel(drop, buyer, nth, by) {
            Cancelling::Done => Cancellation::Cancelled,
            Cancelling::Already => Cancellation::Already(GrantState::Cancelled),
            Cancelling::Closed => Cancellation::Closed,
        };
        assert_eq!(self.engine.cancel_order(&order, by).await, Ok(expected), "{order:?} by {by:?}");
    }

    async fn change(&mut self, drop: usize, change: Change) {
        let at = |hour: i64| Timestamp::from_ms(edge_ms(self.began_ms, hour));
        let made = match change {
            Change::Start => DropChange::Start,
            Change::Pause => DropChange::Pause,
            Change::Resume => DropChange::Resume,
            Change::CloseByClock => DropChange::Close(ClosedBy::Clock),
            Change::CloseByOperator => DropChange::Close(ClosedBy::Operator),
            Change::CallOff => DropChange::CallOff,
            Change::Release => DropChange::Release,
            Change::Restock { key, units } => DropChange::Restock { key: KeyDigest([key; 8]), units },
            Change::Amend { starts, ends, limit } => DropChange::Amend {
                starts_at: starts.map(at),
                ends_at: ends.map(|ends| ends.map(at)),
                limit_per_user: limit,
            },
        };
        let outcome = self.engine.change_drop(&self.terms[drop].id, &made).await.expect("an outcome");
        let found = match &outcome {
            DropChangeOutcome::Changed(_) => Changing::Made,
            DropChangeOutcome::Unchanged(_) => Changing::Unchanged,
            DropChangeOutcome::InvalidTransition(_) => Changing::InvalidTransition,
            DropChangeOutcome::InvalidWindow(_) => Changing::InvalidWindow,
            DropChangeOutcome::KeyReused => Changing::KeyReused,
            DropChangeOutcome::TooMany => panic!("{change:?}: {outcome:?}"),
        };
        assert_eq!(found, self.model.change(drop, change), "{change:?}: {outcome:?}");
    }

    async fn open(&mut self, place: usize, drop: DropModel) {
        let base = definition(self.h.id(&format!("model-{}-{place}", self.seed)));
        let defined = DropDefinition {
            stock_units: u32::try_from(drop.total).expect("few"),
            limit_per_user: drop.limit,
            window: window(&drop, self.began_ms),
            // Half an hour short of the hour, as windows are.
            cancellable_for_s: u32::try_from((drop.cancellable_hours * 3_600 - 1_800).max(0)).expect("few"),
            cancellations_per_user: u32::try_from(drop.cancellations).expect("few"),
            // Within the hour, so that the next one finds it over.
            hold_ms: if drop.holds { u32::try_from(HOUR_MS / 2).expect("few") } else { 0 },
            ..base
        };
        match self.engine.open_drop(&defined).await.expect("an answer") {
            Opening::Opened(live) => {
                assert_eq!(self.terms.len(), place, "opened twice");
                self.terms.push(Arc::new(live.terms()));
                self.model.drops.push(drop);
            }
            Opening::AlreadyOpen(_) => assert!(place < self.terms.len(), "not opened"),
        }
    }

    fn pass_an_hour(&mut self) {
        self.model.hour += 1;
        let ms = self.began_ms + self.model.hour * HOUR_MS;
        self.h.set_last_id(LogId { ms: ms.cast_unsigned(), sequence: 0 });
    }

    async fn archive(&mut self) {
        let claim = self.h.engine.read_new(self.h.shard, "model", 10_000).await.expect("readable");
        let mut receipts = Vec::new();
        for entry in &claim.entries {
            let facts = entry.facts().expect("decodable");
            receipts.push(entry.receipt(&facts));
            let last = self.archived.last().map_or(entry.number - 1, |last| last.number);
            assert_eq!(entry.number, last + 1, "numbers rise by one");
            self.archived.extend(facts);
        }
        let acknowledged = self.h.engine.acknowledge(self.h.shard, Epoch(1), &receipts).await;
        assert_eq!(acknowledged, Ok(receipts.len() as u64));
        let status = self.h.engine.log_status(self.h.shard).await.expect("readable");
        assert_eq!((status.entries, status.backlog_orders, status.backlog_bytes), (0, 0, 0));
        assert_eq!(self.h.engine.unsettled_drops(self.h.shard).await, Ok(vec![]));
        self.model.backlog = 0;
    }

    async fn live(&self) -> Vec<LiveDrop> {
        let ids: Vec<_> = self.terms.iter().map(|terms| terms.id.clone()).collect();
        let read = self.engine.read_drops(self.h.shard, &ids).await.expect("readable");
        read.drops.into_iter().map(|drop| drop.expect("the drop is there")).collect()
    }

    fn compare(&self, drop: &DropModel, live: &LiveDrop, step: &Step) {
        let found = (live.state, live.limit_per_user, live.total_units, live.available_units, live.held_units);
        let held = drop.held.map_or(0, |(units, _)| units);
        assert_eq!(found, (drop.state, drop.limit, drop.total, drop.available, held), "after {step:?}");
        assert_eq!(live.sold_units, drop.sold, "after {step:?}");
        assert_eq!(live.window, window(drop, self.began_ms), "after {step:?}");
        assert_eq!(live.total_units, live.available_units + live.held_units + live.sold_units, "after {step:?}");
    }
}

fn expected_order(terms: &DropTerms, ask: Ask, found: &Order, status: OrderStatus) -> Order {
    Order {
        id: found.id,
        drop_id: terms.id.clone(),
        sku: terms.sku.clone(),
        user_id: user(&name(ask.user)),
        quantity: ask.units,
        unit_price: terms.unit_price,
        status,
        placed_at: found.id.position().log_id.time(),
    }
}

/// Where hour `hour` begins, for windows: half an hour before the clock's hour, so that a second more or less is nothing.
fn edge_ms(began_ms: i64, hour: i64) -> i64 {
    began_ms + hour * HOUR_MS - HOUR_MS / 2
}

fn window(drop: &DropModel, began_ms: i64) -> Window {
    let at = |hour| Timestamp::from_ms(edge_ms(began_ms, hour));
    Window { starts_at: at(drop.starts), ends_at: drop.ends.map(at) }
}

fn name(user: usize) -> String {
    format!("user-{user}")
}
