//! Folding facts into orders: which of them count, and what has become of an order.

use std::collections::{BTreeMap, HashMap};

use stampede_domain::{
    Closing, Fact, FactBody, Fingerprint, Grant, KeyDigest, Order, OrderId, OrderStatus, Shard, counts,
};

use crate::ArchivedOrder;

/// The closings of the shards that a read has met so far.
#[derive(Default)]
pub(crate) struct Closings(HashMap<Shard, Vec<Closing>>);

impl Closings {
    /// The shards of `facts` whose closings are not known yet.
    pub(crate) fn unknown_shards(&self, facts: &[Fact]) -> Vec<Shard> {
        let mut shards: Vec<_> =
            facts.iter().map(|fact| fact.shard).filter(|shard| !self.0.contains_key(shard)).collect();
        shards.sort_unstable();
        shards.dedup();
        shards
    }

    /// Notes all closings of a shard.
    pub(crate) fn learn(&mut self, shard: Shard, closings: Vec<Closing>) {
        self.0.insert(shard, closings);
    }

    /// Whether a fact, of a shard that is known, counts.
    pub(crate) fn count(&self, fact: &Fact) -> bool {
        self.0.get(&fact.shard).is_some_and(|closings| counts(fact.epoch, fact.number, closings))
    }
}

/// The orders that grants among `facts` confirm, with status `confirmed`, and those that compensations tell of.
pub(crate) fn orders(facts: Vec<Fact>) -> Vec<ArchivedOrder> {
    let order =
        |fact: Fact| order_of(&fact).map(|order| ArchivedOrder { order, epoch: fact.epoch, number: fact.number });
    facts.into_iter().filter_map(order).collect()
}

/// The order that a grant or a compensation is about.
pub(crate) fn order_of(fact: &Fact) -> Option<Order> {
    fact.order().or_else(|| fact.compensated_order())
}

/// The newest of the orders that were granted and of those that only compensations tell of. An order that is among both is
/// the granted one.
pub(crate) fn merge(granted: Vec<ArchivedOrder>, given_back: Vec<ArchivedOrder>, limit: usize) -> Vec<ArchivedOrder> {
    let all = given_back.into_iter().chain(granted);
    let merged: BTreeMap<OrderId, ArchivedOrder> = all.map(|archived| (archived.order.id, archived)).collect();
    merged.into_values().rev().take(limit).collect()
}

/// The fingerprint of the last order among `facts`: one key of one user in one drop grants once.
pub(crate) fn fingerprint(facts: &[Fact]) -> Option<Fingerprint> {
    facts.iter().filter_map(grant_of).map(|grant| grant.fingerprint).next_back()
}

/// Whether a grant, or a compensation of one, belongs to this key.
pub(crate) fn is_of_key(fact: &Fact, key: KeyDigest) -> bool {
    grant_of(fact).is_some_and(|grant| grant.key == key)
}

fn grant_of(fact: &Fact) -> Option<&Grant> {
    match &fact.body {
        FactBody::Granted(grant) => Some(grant),
        FactBody::Compensated(compensation) => Some(&compensation.grant),
        _ => None,
    }
}

/// Gives `orders` the status that those of `withdrawals` that count say.
pub(crate) fn withdraw(orders: &mut [ArchivedOrder], withdrawals: &[Fact], closings: &Closings) {
    let mut statuses: HashMap<OrderId, OrderStatus> = HashMap::new();
    for fact in withdrawals.iter().filter(|fact| closings.count(fact)) {
        match &fact.body {
            FactBody::Cancelled(withdrawal) => {
                statuses.entry(withdrawal.order_id).or_insert(OrderStatus::Cancelled);
            }
            // Redis lets only one of the two happen. Should both be here, what the shopper was told last stands.
            FactBody::Compensated(given_back) => {
                statuses.insert(given_back.order_id, OrderStatus::Compensated);
            }
            _ => {}
        }
    }
    for archived in orders {
        if let Some(status) = statuses.get(&archived.order.id) {
            archived.order.status = *status;
        }
    }
}
