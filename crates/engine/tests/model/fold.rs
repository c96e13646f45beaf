//! What the facts of a log come to.

use std::collections::BTreeMap;

use stampede_domain::{DropId, DropState, Fact, FactBody, GrantState, OrderId, UserId, Window};

/// A drop as its facts say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folded {
    pub state: DropState,
    pub window: Window,
    pub limit_per_user: u32,
    pub total_units: u64,
    pub held_units: u64,
    holds: bool,
    pub sold_units: u64,
    pub orders: BTreeMap<OrderId, (UserId, u16, GrantState)>,
}

impl Folded {
    /// Units come back: they are held if none is left and somebody could be granted them.
    fn hold(&mut self, units: u32) {
        let none_left = self.sold_units + self.held_units == self.total_units;
        if self.holds && none_left && matches!(self.state, DropState::Open | DropState::Paused) {
            self.held_units += u64::from(units);
        }
    }
}

pub fn fold(facts: &[Fact]) -> BTreeMap<DropId, Folded> {
    let mut drops: BTreeMap<DropId, Folded> = BTreeMap::new();
    for fact in facts {
        if let FactBody::Opened { drop } = &fact.body {
            let folded = Folded {
                state: DropState::Open,
                window: drop.window,
                limit_per_user: drop.limit_per_user,
                total_units: drop.stock_units.into(),
                held_units: 0,
                holds: drop.hold_ms > 0,
                sold_units: 0,
                orders: BTreeMap::new(),
            };
            assert!(drops.insert(fact.drop_id.clone(), folded).is_none(), "{} opens twice", fact.drop_id);
            continue;
        }
        let drop = drops.get_mut(&fact.drop_id).expect("a drop opens before anything happens to it");
        match &fact.body {
            FactBody::Opened { .. } | FactBody::Started => {}
            FactBody::Amended { window, limit_per_user } => {
                (drop.window, drop.limit_per_user) = (*window, *limit_per_user);
            }
            FactBody::Paused => drop.state = DropState::Paused,
            FactBody::Resumed => drop.state = DropState::Open,
            FactBody::Closed { .. } => (drop.state, drop.held_units) = (DropState::Ended, 0),
            FactBody::CalledOff => (drop.state, drop.held_units) = (DropState::Cancelled, 0),
            FactBody::Restocked { units, .. } => {
                drop.hold(*units);
                drop.total_units += u64::from(*units);
            }
            FactBody::Released => drop.held_units = 0,
            FactBody::Granted(grant) => {
                let id = fact.order().expect("a grant is an order").id;
                let order = (grant.user_id.clone(), grant.units, GrantState::Confirmed);
                assert!(drop.orders.insert(id, order).is_none(), "{id} is granted twice");
                drop.sold_units += u64::from(grant.units);
            }
            FactBody::Cancelled(withdrawal) => {
                let order = drop.orders.get_mut(&withdrawal.order_id).expect("only an order is cancelled");
                let granted = (withdrawal.user_id.clone(), withdrawal.units, GrantState::Confirmed);
                assert_eq!(*order, granted, "cancelled once, whole, and as its owner's");
                order.2 = GrantState::Cancelled;
                drop.hold(withdrawal.units.into());
                drop.sold_units -= u64::from(withdrawal.units);
            }
            FactBody::Compensated(_) | FactBody::Replayed { .. } => panic!("no fact is refused here"),
            FactBody::Purged(_) => panic!("nothing purges here"),
            FactBody::Activated | FactBody::Sent { .. } | FactBody::Received { .. } => {
                panic!("nothing is striped here")
            }
        }
    }
    drops
}
