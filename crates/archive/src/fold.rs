//! Folding facts into orders: which of them count, and what has become of an order.

use std::collections::HashMap;

use stampede_domain::{Closing, Fact, FactBody, Fingerprint, OrderId, OrderStatus, Shard, counts};

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

/// The orders that the grants among `facts` confirm, all with status `confirmed`.
pub(crate) fn confirmed(facts: Vec<Fact>) -> Vec<ArchivedOrder> {
    let confirmed =
        |fact: Fact| fact.order().map(|order| ArchivedOrder { order, epoch: fact.epoch, number: fact.number });
    facts.into_iter().filter_map(confirmed).collect()
}

/// The fingerprint of the last grant among `facts`: one key of one user in one drop grants once.
pub(crate) fn fingerprint(facts: &[Fact]) -> Option<Fingerprint> {
    let of_grant = |fact: &Fact| match &fact.body {
        FactBody::Granted(grant) => Some(grant.fingerprint),
        _ => None,
    };
    facts.iter().filter_map(of_grant).next_back()
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
            FactBody::Compensated(withdrawal) => {
                statuses.insert(withdrawal.order_id, OrderStatus::Compensated);
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
