//! Facts: what the log and the archive hold.

use serde::{Deserialize, Serialize};

use crate::group::{GroupData, GroupOrder, picked};
use crate::{
    DropDefinition, DropId, Epoch, FactId, Fingerprint, KeyDigest, LogId, Malformed, Money, Order, OrderId,
    OrderStatus, Position, Shard, Sku, Tombstone, UserDigest, UserId, Window, nonce,
};

/// Something that happened to a drop. Never changed once written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// The shard whose log it came from.
    pub shard: Shard,
    /// The epoch of its entry.
    pub epoch: Epoch,
    /// The number of its entry: rises by one per shard.
    pub number: u64,
    /// Its entry's id and its place in the entry.
    pub position: Position,
    /// How many facts its entry holds, so that a reader of the archive knows whether it has all of them.
    pub entry_facts: u16,
    /// The drop.
    pub drop_id: DropId,
    /// What happened.
    pub body: FactBody,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FactBody {
    /// The drop was put into Redis.
    Opened {
        /// The drop as it was defined.
        drop: Box<DropDefinition>,
    },
    /// All stripes of the drop are there, and the archive says so: this one sells from here on.
    Activated,
    /// Its window began.
    Started,
    /// An operator changed its window or its limit.
    Amended {
        /// The new window.
        window: Window,
        /// The new limit.
        limit_per_user: u32,
    },
    /// An operator stopped it for a while.
    Paused,
    /// An operator let it go on.
    Resumed,
    /// An operator added units.
    Restocked {
        /// The digest of the restock's idempotency key.
        key: KeyDigest,
        /// How many units were added.
        units: u32,
    },
    /// Units left this stripe for another one: they are on their way until it says that it has them.
    Sent {
        /// The other stripe's shard.
        to: Shard,
        /// Which transfer between the two stripes, in this direction: counted from 1.
        transfer: u64,
        /// How many units.
        units: u32,
    },
    /// Units of another stripe arrived.
    Received {
        /// The other stripe's shard.
        from: Shard,
        /// Which transfer between the two, as the other's fact says.
        transfer: u64,
        /// How many units.
        units: u32,
    },
    /// The units that were held when they came back to the sold-out drop can be ordered.
    Released,
    /// It ended, for good.
    Closed {
        /// What ended it.
        by: ClosedBy,
    },
    /// An operator called it off. Its orders are cancelled one by one, each with a fact of its own.
    CalledOff,
    /// An order was granted.
    Granted(Grant),
    /// An order was cancelled.
    Cancelled(Withdrawal),
    /// An order that the archive could not keep was given back.
    Compensated(Compensation),
    /// The records of its users were taken out of Redis, long after it was over; these figures stay.
    Purged(Tombstone),
    /// An operator had a dead letter given to the archive once more.
    Replayed {
        /// The fact that was refused before.
        of: FactId,
    },
}

/// What ended a drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClosedBy {
    /// Its window passed.
    Clock,
    /// An operator.
    Operator,
}

/// Who cancelled an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelledBy {
    /// Its owner.
    Shopper,
    /// An operator.
    Operator,
    /// The cancelling of its drop.
    Drop,
}

/// A granted order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The product.
    pub sku: Sku,
    /// The owner.
    pub user_id: UserId,
    /// How many units.
    pub units: u16,
    /// What a unit cost.
    pub unit_price: Money,
    /// The digest of its idempotency key.
    pub key: KeyDigest,
    /// The fingerprint of the request.
    pub fingerprint: Fingerprint,
}

/// An order that was taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawal {
    /// The order.
    pub order_id: OrderId,
    /// Its owner.
    pub user_id: UserId,
    /// How many units went back.
    pub units: u16,
    /// Who did it.
    pub by: CancelledBy,
}

/// An order that the archive could not keep and an operator gave back. It says all of the order, since the archive has no
/// other fact of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compensation {
    /// The order.
    pub order_id: OrderId,
    /// The order as it was granted.
    pub grant: Grant,
}

impl FactBody {
    /// The word for this kind of fact, in the log, the archive and metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Opened { .. } => "opened",
            Self::Activated => "activated",
            Self::Started => "started",
            Self::Amended { .. } => "amended",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::Restocked { .. } => "restocked",
            Self::Sent { .. } => "sent",
            Self::Received { .. } => "received",
            Self::Released => "released",
            Self::Closed { .. } => "closed",
            Self::CalledOff => "called_off",
            Self::Granted(_) => GRANTED,
            Self::Cancelled(_) => "cancelled",
            Self::Compensated(_) => "compensated",
            Self::Purged(_) => "purged",
            Self::Replayed { .. } => REPLAYED,
        }
    }
}

/// The kind of an entry that holds a group of granted orders.
const GRANTED: &str = "granted";

/// The kind of an entry that gives a dead letter's fact to the archive once more. Its data is that fact.
const REPLAYED: &str = "replayed";

/// How any fact other than a grant or a replay is written in the log: JSON, so that an SRE can read it.
#[derive(Serialize, Deserialize)]
struct LoggedFact {
    drop_id: DropId,
    #[serde(flatten)]
    body: FactBody,
}

impl Fact {
    /// The archive's key of this fact.
    pub fn id(&self) -> FactId {
        match &self.body {
            FactBody::Granted(grant) => FactId::Order(self.order_id_of(grant)),
            _ => FactId::Event { shard: self.shard, epoch: self.epoch, position: self.position },
        }
    }

    /// The order that this fact grants, as it stood then; `None` for any other kind of fact.
    pub fn order(&self) -> Option<Order> {
        let FactBody::Granted(grant) = &self.body else { return None };
        Some(self.order_with(self.order_id_of(grant), grant, OrderStatus::Confirmed))
    }

    /// The order that this fact gives back because the archive could not keep it; `None` for any other kind of fact.
    pub fn compensated_order(&self) -> Option<Order> {
        let FactBody::Compensated(Compensation { order_id, grant }) = &self.body else { return None };
        Some(self.order_with(*order_id, grant, OrderStatus::Compensated))
    }

    fn order_with(&self, id: OrderId, grant: &Grant, status: OrderStatus) -> Order {
        Order {
            id,
            drop_id: self.drop_id.clone(),
            sku: grant.sku.clone(),
            user_id: grant.user_id.clone(),
            quantity: grant.units,
            unit_price: grant.unit_price,
            status,
            placed_at: id.position().log_id.time(),
        }
    }

    /// The JSON of a fact other than a grant, as the log holds it.
    pub fn log_json(drop_id: &DropId, body: &FactBody) -> String {
        let logged = LoggedFact { drop_id: drop_id.clone(), body: body.clone() };
        serde_json::to_string(&logged).unwrap_or_default()
    }

    /// The whole fact as JSON, from which [`Self::from_json`] makes it again: for dead letters and their replays.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The fact that [`Self::to_json`] wrote.
    ///
    /// # Errors
    /// [`Malformed`] if this version did not write it.
    pub fn from_json(json: &[u8]) -> Result<Self, Malformed> {
        serde_json::from_slice(json).map_err(|_| Malformed { what: "fact" })
    }

    fn order_id_of(&self, grant: &Grant) -> OrderId {
        let user = UserDigest::of(&grant.user_id);
        OrderId::new(self.shard, self.position, nonce(self.epoch, user, grant.key, &self.drop_id))
    }
}

/// A log entry's fields, as they stand in Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The shard.
    pub shard: Shard,
    /// The entry's id.
    pub id: LogId,
    /// The epoch.
    pub epoch: Epoch,
    /// The entry's number.
    pub number: u64,
    /// The kind of its facts.
    pub kind: &'a [u8],
    /// The group of orders, or the JSON of a single fact.
    pub data: &'a [u8],
    /// Which orders of the group were granted; empty for all, and for other kinds.
    pub picks: &'a [u8],
}

impl Entry<'_> {
    /// The facts of this entry, in order of their index.
    ///
    /// # Errors
    /// [`Malformed`] if this version did not write it.
    pub fn facts(&self) -> Result<Vec<Fact>, Malformed> {
        if self.kind == GRANTED.as_bytes() {
            return self.granted();
        }
        if let Some(replayed) = self.replayed()? {
            let body = FactBody::Replayed { of: replayed.id() };
            return Ok(vec![self.fact(0, 1, replayed.drop_id, body)]);
        }
        let malformed = Malformed { what: "log entry" };
        let logged: LoggedFact = serde_json::from_slice(self.data).map_err(|_| malformed)?;
        if logged.body.kind().as_bytes() != self.kind {
            return Err(malformed);
        }
        Ok(vec![self.fact(0, 1, logged.drop_id, logged.body)])
    }

    /// The fact that this entry gives to the archive once more, with its own position, epoch and number; `None` if the entry
    /// is no replay.
    ///
    /// # Errors
    /// [`Malformed`] if this version did not write it.
    pub fn replayed(&self) -> Result<Option<Fact>, Malformed> {
        if self.kind == REPLAYED.as_bytes() { Fact::from_json(self.data).map(Some) } else { Ok(None) }
    }

    fn granted(&self) -> Result<Vec<Fact>, Malformed> {
        let group = GroupData::decode(self.data)?;
        let indexes = picked(self.picks, group.orders.len())?;
        let count = indexes.len() as u16;
        let mut picked = indexes.into_iter().peekable();
        let mut facts = Vec::with_capacity(usize::from(count));
        for (index, order) in (0u16..).zip(group.orders) {
            if picked.next_if_eq(&index).is_some() {
                let GroupOrder { drop_index, user_id, key, fingerprint, units } = order;
                let drop = &group.drops[usize::from(drop_index)];
                let (sku, unit_price) = (drop.sku.clone(), drop.unit_price);
                let grant = Grant { sku, user_id, units, unit_price, key, fingerprint };
                facts.push(self.fact(index, count, drop.id.clone(), FactBody::Granted(grant)));
            }
        }
        Ok(facts)
    }

    fn fact(&self, index: u16, entry_facts: u16, drop_id: DropId, body: FactBody) -> Fact {
        let position = Position { log_id: self.id, index };
        Fact { shard: self.shard, epoch: self.epoch, number: self.number, position, entry_facts, drop_id, body }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GroupDrop;

    fn entry<'a>(kind: &'a str, data: &'a [u8], picks: &'a [u8]) -> Entry<'a> {
        Entry {
            shard: Shard::new(3).expect("in range"),
            id: LogId { ms: 1_764_234_000_120, sequence: 5 },
            epoch: Epoch(2),
            number: 17,
            kind: kind.as_bytes(),
            data,
            picks,
        }
    }

    #[test]
    fn an_entry_of_a_single_fact_is_readable_json() {
        let drop_id: DropId = "demo".parse().expect("valid");
        let json = Fact::log_json(&drop_id, &FactBody::Closed { by: ClosedBy::Clock });
        assert_eq!(json, r#"{"drop_id":"demo","kind":"closed","by":"clock"}"#);
        let facts = entry("closed", json.as_bytes(), b"").facts().expect("readable");
        assert_eq!(facts[0].body, FactBody::Closed { by: ClosedBy::Clock });
        assert_eq!(facts[0].id().to_string(), "s03-e2-1764234000120-5.0");
        assert!(entry("paused", json.as_bytes(), b"").facts().is_err(), "kind and data disagree");
    }

    #[test]
    fn an_entry_of_a_group_holds_the_picked_orders_at_their_places() {
        let order = |user: &str| GroupOrder {
            drop_index: 0,
            user_id: user.parse().expect("valid"),
            key: KeyDigest([1; 8]),
            fingerprint: Fingerprint([2; 4]),
            units: 1,
        };
        let unit_price = Money { amount_minor: 100, currency: "EUR".parse().expect("valid") };
        let drop = GroupDrop { id: "demo".parse().expect("valid"), sku: "AIR-1".parse().expect("valid"), unit_price };
        let data = GroupData { drops: vec![drop], orders: vec![order("a"), order("b"), order("c")] }.encode();
        let facts = entry("granted", &data, &[0, 0, 0, 2]).facts().expect("readable");
        let orders: Vec<Order> = facts.iter().filter_map(Fact::order).collect();
        assert_eq!(orders.iter().map(|order| order.user_id.as_str()).collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(orders.iter().map(|order| order.id.position().index).collect::<Vec<_>>(), [0, 2]);
        assert!(facts.iter().all(|fact| fact.entry_facts == 2));
        assert_ne!(orders[0].id.nonce(), orders[1].id.nonce());
    }

    #[test]
    fn an_entry_of_a_replay_holds_the_fact_as_it_was_and_one_of_its_own() {
        let drop_id: DropId = "demo".parse().expect("valid");
        let json = Fact::log_json(&drop_id, &FactBody::Paused);
        let first = entry("paused", json.as_bytes(), b"").facts().expect("readable").remove(0);
        let data = first.to_json();
        let replay = Entry { number: 40, epoch: Epoch(3), ..entry("replayed", data.as_bytes(), b"") };
        assert_eq!(replay.replayed(), Ok(Some(first.clone())));
        let own = replay.facts().expect("readable").remove(0);
        assert_eq!((own.number, own.epoch, &own.body), (40, Epoch(3), &FactBody::Replayed { of: first.id() }));
        assert_eq!(entry("paused", json.as_bytes(), b"").replayed(), Ok(None));
        assert!(entry("replayed", json.as_bytes(), b"").facts().is_err(), "not a whole fact");
    }
}
