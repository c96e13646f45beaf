//! Comparing what a drop's users hold with their orders, a piece at a time.

use std::collections::{HashMap, HashSet};

use stampede_archive::DriftKind;
use stampede_domain::{
    Closing, DropDefinition, DropId, Fact, FactBody, Grant, GrantRecord, GrantState, OrderId, Shard, Stock, UserDigest,
    counts,
};

use super::findings::Findings;
use super::fold::{Folding, Place, fold};
use super::sources::{ReconcileError, Sources};

/// Users that one script reads, about.
const USERS_AT_ONCE: u32 = 500;

/// Orders that one read of the archive looks up.
const ORDERS_AT_ONCE: usize = 1_000;

/// One pass over the users of a drop.
///
/// It begins with a cut, and every record that was there then is met, whatever happens meanwhile. So at the end each order that
/// the archive had at the cut must have been met.
pub(super) struct Pass {
    pub(super) drop_id: DropId,
    shard: Shard,
    /// The cut, and the stock then.
    cut: Place,
    stock: Stock,
    /// The stock before the first fact.
    opened: Stock,
    cursor: u64,
    /// Who was met: a scan may bring a user more than once. Sixteen bytes each, of one drop in a shard at a time.
    seen: HashSet<UserDigest>,
    /// Of what had been granted at the cut, what was met.
    met_orders: u64,
    met_units: u64,
    pub(super) orders: u64,
    pub(super) findings: Findings,
}

/// How far a pass came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passed {
    /// There are more users.
    Some,
    /// That was the last one.
    All,
}

/// The facts of some orders that count at a moment.
struct OrderFacts {
    grants: HashMap<OrderId, Fact>,
    withdrawals: HashMap<OrderId, Vec<Fact>>,
}

impl Pass {
    /// A pass from a cut on, at which the drop had this stock.
    pub(super) fn new(shard: Shard, drop: &DropDefinition, cut: Place, stock: Stock) -> Self {
        Self {
            drop_id: drop.id.clone(),
            shard,
            cut,
            stock,
            opened: Stock::opened(drop, shard),
            cursor: 0,
            seen: HashSet::new(),
            met_orders: 0,
            met_units: 0,
            orders: 0,
            findings: Findings::default(),
        }
    }

    pub(super) fn users(&self) -> u64 {
        self.seen.len() as u64
    }

    /// Looks at a few users more.
    pub(super) async fn step(&mut self, sources: &Sources, closings: &[Closing]) -> Result<Passed, ReconcileError> {
        let Some(piece) = sources.engine.cut_users(self.shard, &self.drop_id, self.cursor, USERS_AT_ONCE).await? else {
            // Purged: its users are gone, and the archive alone knows its orders.
            return Ok(Passed::All);
        };
        if piece.epoch != self.cut.epoch {
            return Err(ReconcileError::Recovered(self.cut.epoch, piece.epoch));
        }
        let now = Place { epoch: piece.epoch, number: piece.number };
        sources.wait_until_archived(self.shard, now).await?;
        let users: Vec<_> = piece.users.iter().filter(|(user, _)| !self.seen.contains(user)).collect();
        let ids = users.iter().flat_map(|(user, records)| records.iter().map(|record| self.order_id(*user, record)));
        let facts = OrderFacts::read(sources, &ids.collect::<Vec<_>>(), now, closings).await?;
        let mut doubted = Vec::new();
        for (user, records) in users {
            // One that is twice in a piece is looked at once.
            if !self.seen.insert(*user) {
                continue;
            }
            self.check_user(records, piece.limit_per_user);
            for record in records {
                let id = self.order_id(*user, record);
                self.orders += 1;
                match facts.grants.get(&id) {
                    Some(fact) => self.check_order(id, record, fact, &facts.withdrawals),
                    None => doubted.push((id, record.units)),
                }
            }
        }
        for (id, units) in doubted {
            if !sources.is_elsewhere(id).await? {
                self.findings.add(DriftKind::Missing, u64::from(units), Some(id));
            }
        }
        match piece.next {
            Some(next) => {
                self.cursor = next;
                Ok(Passed::Some)
            }
            None => {
                self.finish(sources, closings).await?;
                Ok(Passed::All)
            }
        }
    }

    fn order_id(&self, user: UserDigest, record: &GrantRecord) -> OrderId {
        record.order_id(self.shard, &self.drop_id, user)
    }

    /// What a user's record must hold to by itself: the limit, and each key once.
    fn check_user(&mut self, records: &[GrantRecord], limit: u32) {
        let standing = records.iter().filter(|record| record.state == GrantState::Confirmed);
        let held: u64 = standing.map(|record| u64::from(record.units)).sum();
        if held > u64::from(limit) {
            self.findings.add(DriftKind::Limits, held - u64::from(limit), None);
        }
        let mut keys = HashSet::new();
        for record in records.iter().filter(|record| !keys.insert(record.key)) {
            self.findings.add(DriftKind::Keys, u64::from(record.units), None);
        }
    }

    /// What a record says of an order must be what its facts say.
    fn check_order(
        &mut self,
        id: OrderId,
        record: &GrantRecord,
        fact: &Fact,
        withdrawals: &HashMap<OrderId, Vec<Fact>>,
    ) {
        let FactBody::Granted(grant) = &fact.body else { return };
        if fact.number <= self.cut.number {
            self.met_orders += 1;
            self.met_units += u64::from(grant.units);
        }
        let withdrawals = withdrawals.get(&id).map(Vec::as_slice).unwrap_or_default();
        if !(is_granted(record, fact, grant, &self.drop_id) && is_in_state(record, withdrawals)) {
            let units = u64::from(record.units.max(grant.units));
            self.findings.add(DriftKind::Altered, units, Some(id));
        }
    }

    /// What had been granted at the cut and was not met is in no user's record.
    async fn finish(&mut self, sources: &Sources, closings: &[Closing]) -> Result<(), ReconcileError> {
        if self.met_orders >= self.stock.granted_orders {
            return Ok(());
        }
        // The stock may have been folded before a fact was lost: what the archive grants is what it has now.
        let folding = Folding::new(self.opened.clone(), Place::START, self.cut);
        let mut drops = HashMap::from([(self.drop_id.clone(), folding)]);
        fold(&*sources.archive, self.shard, closings, &mut drops).await?;
        let Some(Folding { stock, .. }) = drops.remove(&self.drop_id) else { return Ok(()) };
        if self.met_orders < stock.granted_orders {
            let units = stock.granted_units.saturating_sub(self.met_units);
            self.findings.add(DriftKind::Unrecorded, units, None);
        }
        Ok(())
    }
}

fn is_granted(record: &GrantRecord, fact: &Fact, grant: &Grant, drop_id: &DropId) -> bool {
    // The order's id, by which the fact was found, says the user, the key, the epoch and the position.
    fact.drop_id == *drop_id
        && fact.epoch == record.epoch
        && grant.key == record.key
        && grant.units == record.units
        && grant.fingerprint == record.fingerprint
}

fn is_in_state(record: &GrantRecord, withdrawals: &[Fact]) -> bool {
    match (record.state, withdrawals) {
        (GrantState::Confirmed, []) => true,
        (GrantState::Cancelled, [fact]) => {
            matches!(&fact.body, FactBody::Cancelled(withdrawal) if withdrawal.units == record.units)
        }
        (GrantState::Compensated, [fact]) => {
            matches!(&fact.body, FactBody::Compensated(given_back) if given_back.grant.units == record.units)
        }
        _ => false,
    }
}

impl OrderFacts {
    async fn read(
        sources: &Sources,
        ids: &[OrderId],
        now: Place,
        closings: &[Closing],
    ) -> Result<Self, ReconcileError> {
        let mut found = Self { grants: HashMap::with_capacity(ids.len()), withdrawals: HashMap::new() };
        for chunk in ids.chunks(ORDERS_AT_ONCE) {
            for fact in sources.archive.order_facts(chunk).await? {
                let is_told = fact.number <= now.number && fact.epoch <= now.epoch;
                if is_told && counts(fact.epoch, fact.number, closings) {
                    found.add(fact);
                }
            }
        }
        Ok(found)
    }

    fn add(&mut self, fact: Fact) {
        match &fact.body {
            FactBody::Granted(_) => {
                if let Some(order) = fact.order() {
                    self.grants.insert(order.id, fact);
                }
            }
            FactBody::Cancelled(withdrawal) => self.withdrawals.entry(withdrawal.order_id).or_default().push(fact),
            FactBody::Compensated(given_back) => self.withdrawals.entry(given_back.order_id).or_default().push(fact),
            _ => {}
        }
    }
}
