//! What the facts of a drop make of its stock.

use serde::{Deserialize, Serialize};

use crate::{DropDefinition, DropState, FactBody, Shard, Window};

/// The stock of a drop, or of one of its stripes, at some entry of its shard's log, folded from the facts up to it.
///
/// Units are signed: facts that contradict each other show as a stock that cannot be, not as an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stock {
    /// What has been decided about the drop.
    pub state: DropState,
    /// When it sells.
    pub window: Window,
    /// Units that one user may hold.
    pub limit_per_user: u32,
    /// All units.
    pub total_units: i64,
    /// Units that can be ordered.
    pub available_units: i64,
    /// Units that nobody can order yet: they came back a moment ago to the drop that was sold out.
    pub held_units: i64,
    /// Units that are sold.
    pub sold_units: i64,
    /// Whether units that come back while none is left are held until they are released.
    #[serde(default)]
    pub holds: bool,
    /// Orders that were granted, those that were taken back included.
    pub granted_orders: u64,
    /// Their units.
    pub granted_units: u64,
    /// Units that went to other stripes of the drop, and so are no part of the total any more.
    #[serde(default)]
    pub sent_units: i64,
    /// Units that came from other stripes.
    #[serde(default)]
    pub received_units: i64,
}

impl Stock {
    /// The stock in `shard` of a drop that was opened, before anything else happened to it.
    pub fn opened(definition: &DropDefinition, shard: Shard) -> Self {
        let units = i64::from(definition.share(shard));
        Self {
            state: if definition.stripes.is_striped() { DropState::Opening } else { DropState::Open },
            window: definition.window,
            limit_per_user: definition.limit_per_user,
            total_units: units,
            available_units: units,
            held_units: 0,
            sold_units: 0,
            holds: definition.hold_ms > 0,
            granted_orders: 0,
            granted_units: 0,
            sent_units: 0,
            received_units: 0,
        }
    }

    /// Takes in the next fact, in the order of the log. A withdrawal is for the caller to leave out if its order is not
    /// among the facts that count: then Redis knew of nothing to give back.
    pub fn apply(&mut self, body: &FactBody) {
        match body {
            // The definition, with which every fold begins, says the same, and stands where the opening was lost.
            FactBody::Opened { .. } | FactBody::Started => {}
            // A tombstone keeps the last figures; a replayed fact stands at its own place.
            FactBody::Purged(_) | FactBody::Replayed { .. } => {}
            // A stripe that was closed or called off before stays so.
            FactBody::Activated if self.state == DropState::Opening => self.state = DropState::Open,
            FactBody::Activated => {}
            FactBody::Amended { window, limit_per_user } => {
                self.window = *window;
                self.limit_per_user = *limit_per_user;
            }
            FactBody::Paused => self.state = DropState::Paused,
            FactBody::Resumed => self.state = DropState::Open,
            // Nothing is held of a drop that is over.
            FactBody::Closed { .. } | FactBody::CalledOff => {
                self.state = if let FactBody::CalledOff = body { DropState::Cancelled } else { DropState::Ended };
                self.release();
            }
            FactBody::Restocked { units, .. } => {
                self.total_units += i64::from(*units);
                self.give_back(i64::from(*units));
            }
            FactBody::Sent { units, .. } => {
                let units = i64::from(*units);
                self.sent_units += units;
                self.release_for(units);
                self.add(-units);
            }
            FactBody::Received { units, .. } => {
                self.received_units += i64::from(*units);
                self.add(i64::from(*units));
            }
            FactBody::Granted(grant) => {
                self.granted_orders += 1;
                self.granted_units += u64::from(grant.units);
                let units = i64::from(grant.units);
                self.release_for(units);
                self.available_units -= units;
                self.sold_units += units;
            }
            FactBody::Cancelled(withdrawal) => self.take_back(i64::from(withdrawal.units)),
            FactBody::Compensated(compensation) => self.take_back(i64::from(compensation.grant.units)),
            FactBody::Released => self.release(),
        }
    }

    const fn add(&mut self, units: i64) {
        self.total_units += units;
        self.available_units += units;
    }

    const fn take_back(&mut self, units: i64) {
        self.sold_units -= units;
        self.give_back(units);
    }

    /// As `lua/lib/give_back.lua` does it.
    const fn give_back(&mut self, units: i64) {
        if self.holds && self.available_units <= 0 && matches!(self.state, DropState::Open | DropState::Paused) {
            self.held_units += units;
        } else {
            self.available_units += units;
        }
    }

    /// Held units that were sold, or sent, were released by an entry that fell into a hole.
    const fn release_for(&mut self, units: i64) {
        if self.available_units < units {
            self.release();
        }
    }

    const fn release(&mut self) {
        self.available_units += self.held_units;
        self.held_units = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        CancelledBy, ClosedBy, Compensation, Fingerprint, Grant, KeyDigest, Mode, Money, OrderId, Position, Shard,
        Stripes, Timestamp, Withdrawal,
    };

    fn definition() -> DropDefinition {
        DropDefinition {
            id: "demo".parse().expect("valid"),
            sku: "AIR-1".parse().expect("valid"),
            mode: Mode::Instant,
            stock_units: 10,
            limit_per_user: 2,
            window: Window { starts_at: Timestamp::from_ms(5), ends_at: None },
            price: Money { amount_minor: 100, currency: "EUR".parse().expect("valid") },
            cancellable_for_s: 0,
            cancellations_per_user: 3,
            durability: None,
            stripes: Stripes::default(),
            hold_ms: 0,
            created_at: Timestamp::from_ms(1),
        }
    }

    fn shard(number: u16) -> Shard {
        Shard::new(number).expect("in range")
    }

    #[test]
    fn what_comes_back_to_a_sold_out_drop_is_held_until_it_is_released() {
        let restocked = |key, units| FactBody::Restocked { key: KeyDigest([key; 8]), units };
        let mut stock = Stock::opened(&DropDefinition { hold_ms: 250, stock_units: 1, ..definition() }, shard(0));
        let user_id: crate::UserId = "a".parse().expect("valid");
        let order_id = OrderId::new(Shard::new(0).expect("in range"), Position::default(), 0);
        let grant = Grant {
            sku: "AIR-1".parse().expect("valid"),
            user_id: user_id.clone(),
            units: 1,
            unit_price: definition().price,
            key: KeyDigest::default(),
            fingerprint: Fingerprint::default(),
        };
        let parts = |stock: &Stock| (stock.total_units, stock.available_units, stock.held_units, stock.sold_units);
        stock.apply(&FactBody::Granted(grant.clone()));
        stock.apply(&restocked(1, 2));
        stock.apply(&restocked(2, 3));
        assert_eq!(parts(&stock), (6, 0, 5, 1));
        stock.apply(&FactBody::Released);
        stock.apply(&restocked(3, 1));
        assert_eq!(parts(&stock), (7, 6, 0, 1), "there are units, so nothing is held");
        let mut stock = Stock { available_units: 0, held_units: 2, ..stock };
        stock.apply(&FactBody::Granted(grant));
        assert_eq!((stock.available_units, stock.held_units), (1, 0), "its release fell into a hole");
        let mut sender = Stock { available_units: 0, held_units: 2, ..stock };
        sender.apply(&FactBody::Sent { to: shard(1), transfer: 1, units: 2 });
        assert_eq!(
            (sender.available_units, sender.held_units, sender.total_units),
            (0, 0, 5),
            "the same of what is sent"
        );
        let mut over = Stock { available_units: 0, held_units: 2, ..stock };
        over.apply(&FactBody::CalledOff);
        over.apply(&FactBody::Cancelled(Withdrawal { order_id, user_id, units: 1, by: CancelledBy::Drop }));
        assert_eq!((over.available_units, over.held_units), (3, 0), "nobody is granted anything any more");
    }

    #[test]
    fn units_move_between_the_parts_and_never_vanish() {
        let definition = definition();
        let user_id: crate::UserId = "a".parse().expect("valid");
        let grant = |units| Grant {
            sku: definition.sku.clone(),
            user_id: user_id.clone(),
            units,
            unit_price: definition.price,
            key: KeyDigest::default(),
            fingerprint: Fingerprint::default(),
        };
        let order_id = OrderId::new(shard(0), Position::default(), 0);
        let withdrawal = Withdrawal { order_id, user_id: user_id.clone(), units: 2, by: CancelledBy::Shopper };
        let mut stock = Stock::opened(&definition, shard(0));
        let window = Window { starts_at: Timestamp::from_ms(6), ends_at: Some(Timestamp::from_ms(9)) };
        for body in [
            FactBody::Opened { drop: Box::new(definition.clone()) },
            FactBody::Started,
            FactBody::Granted(grant(2)),
            FactBody::Granted(grant(1)),
            FactBody::Restocked { key: KeyDigest::default(), units: 5 },
            FactBody::Cancelled(withdrawal),
            FactBody::Granted(grant(4)),
            FactBody::Compensated(Compensation { order_id, grant: grant(2) }),
            FactBody::Paused,
            FactBody::Amended { window, limit_per_user: 7 },
            FactBody::Resumed,
        ] {
            stock.apply(&body);
            assert_eq!(stock.total_units, stock.available_units + stock.held_units + stock.sold_units, "{body:?}");
        }
        assert_eq!((stock.total_units, stock.available_units, stock.sold_units), (15, 12, 3));
        assert_eq!((stock.granted_orders, stock.granted_units), (3, 7));
        assert_eq!((stock.state, stock.window, stock.limit_per_user), (DropState::Open, window, 7));
        stock.apply(&FactBody::Closed { by: ClosedBy::Clock });
        assert_eq!(stock.state, DropState::Ended);
        stock.apply(&FactBody::CalledOff);
        assert_eq!(stock.state, DropState::Cancelled);
    }

    #[test]
    fn units_leave_one_stripe_and_arrive_in_another() {
        let stripes = Stripes::over(vec![shard(3), shard(1)]).expect("distinct");
        let definition = DropDefinition { stripes, stock_units: 7, ..definition() };
        let [mut home, mut other] = [3, 1].map(|number| Stock::opened(&definition, shard(number)));
        assert_eq!((home.total_units, other.total_units, home.state), (4, 3, DropState::Opening));
        home.apply(&FactBody::Activated);
        other.apply(&FactBody::Closed { by: ClosedBy::Operator });
        other.apply(&FactBody::Activated);
        assert_eq!((home.state, other.state), (DropState::Open, DropState::Ended));
        home.apply(&FactBody::Sent { to: shard(1), transfer: 1, units: 4 });
        assert_eq!((home.total_units, home.available_units, home.sent_units), (0, 0, 4));
        other.apply(&FactBody::Received { from: shard(3), transfer: 1, units: 4 });
        assert_eq!((other.total_units, other.available_units, other.received_units), (7, 7, 4));
    }
}
