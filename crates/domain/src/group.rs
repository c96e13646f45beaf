//! The payload of a group of orders, as the log keeps it.
//!
//! The API encodes what the archive will need of each order; the script appends the bytes as they are, with the list of the
//! orders that it granted when it did not grant them all. So the script never handles text, and an order costs 16 bytes
//! and its user's id.

use crate::codec::{Reader, put_text};
use crate::{DropId, Fingerprint, KeyDigest, Malformed, Money, Sku, UserId};

/// The most orders in one group: an order id has ten bits for the index.
pub const MAX_GROUP_ORDERS: usize = 1_024;

/// The most drops in one group: their number is one byte of the payload.
pub const MAX_GROUP_DROPS: usize = 255;

const FORMAT: u8 = 1;
const WHAT: &str = "group of orders";

/// A drop that orders of a group refer to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDrop {
    /// The drop.
    pub id: DropId,
    /// What it sells.
    pub sku: Sku,
    /// What a unit costs.
    pub unit_price: Money,
}

/// One order of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOrder {
    /// The place of its drop in the group's list of drops.
    pub drop_index: u8,
    /// Who orders.
    pub user_id: UserId,
    /// The digest of its idempotency key.
    pub key: KeyDigest,
    /// The fingerprint of the request.
    pub fingerprint: Fingerprint,
    /// How many units.
    pub units: u16,
}

/// The drops and orders of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupData {
    /// The drops, at most [`MAX_GROUP_DROPS`].
    pub drops: Vec<GroupDrop>,
    /// The orders, at most [`MAX_GROUP_ORDERS`], in the order in which the script decides them.
    pub orders: Vec<GroupOrder>,
}

impl GroupData {
    /// The bytes: format, count of drops, each drop, count of orders, each order.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 * (1 + self.drops.len()) + 48 * self.orders.len());
        out.push(FORMAT);
        out.push(self.drops.len() as u8);
        for drop in &self.drops {
            put_text(&mut out, drop.id.as_str());
            put_text(&mut out, drop.sku.as_str());
            out.extend_from_slice(&drop.unit_price.amount_minor.to_be_bytes());
            out.extend_from_slice(drop.unit_price.currency.as_str().as_bytes());
        }
        out.extend_from_slice(&(self.orders.len() as u16).to_be_bytes());
        for order in &self.orders {
            out.push(order.drop_index);
            put_text(&mut out, order.user_id.as_str());
            out.extend_from_slice(&order.key.0);
            out.extend_from_slice(&order.fingerprint.0);
            out.extend_from_slice(&order.units.to_be_bytes());
        }
        out
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`Malformed`] for anything else, an order that names a drop which is not in the list included.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes, WHAT);
        if reader.u8()? != FORMAT {
            return Err(reader.malformed());
        }
        let drops = (0..reader.u8()?).map(|_| read_drop(&mut reader)).collect::<Result<Vec<_>, _>>()?;
        let count = reader.u16()?;
        if usize::from(count) > MAX_GROUP_ORDERS {
            return Err(reader.malformed());
        }
        let orders = (0..count).map(|_| read_order(&mut reader, drops.len())).collect::<Result<Vec<_>, _>>()?;
        reader.finish()?;
        Ok(Self { drops, orders })
    }
}

fn read_drop(reader: &mut Reader<'_>) -> Result<GroupDrop, Malformed> {
    let (id, sku) = (reader.text()?, reader.text()?);
    let amount_minor = reader.i64()?;
    let currency = std::str::from_utf8(reader.bytes(3)?).ok().and_then(|code| code.parse().ok());
    let currency = currency.ok_or_else(|| reader.malformed())?;
    Ok(GroupDrop { id, sku, unit_price: Money { amount_minor, currency } })
}

fn read_order(reader: &mut Reader<'_>, drops: usize) -> Result<GroupOrder, Malformed> {
    let order = GroupOrder {
        drop_index: reader.u8()?,
        user_id: reader.text()?,
        key: KeyDigest(reader.array()?),
        fingerprint: Fingerprint(reader.array()?),
        units: reader.u16()?,
    };
    if usize::from(order.drop_index) < drops { Ok(order) } else { Err(reader.malformed()) }
}

/// The indexes that a log entry's `picks` names: two bytes each, rising; no bytes at all mean all of `count` orders.
///
/// # Errors
/// [`Malformed`] if an index is out of range or out of order.
pub fn picked(picks: &[u8], count: usize) -> Result<Vec<u16>, Malformed> {
    let what = "picks of a group";
    if picks.is_empty() {
        return Ok((0..count as u16).collect());
    }
    let mut reader = Reader::new(picks, what);
    let mut indexes: Vec<u16> = Vec::with_capacity(picks.len() / 2);
    while !reader.is_empty() {
        let index = reader.u16()?;
        if usize::from(index) >= count || indexes.last().is_some_and(|last| *last >= index) {
            return Err(reader.malformed());
        }
        indexes.push(index);
    }
    Ok(indexes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn group(users: &[String]) -> GroupData {
        let drop = GroupDrop {
            id: "demo".parse().expect("valid"),
            sku: "AIR-1".parse().expect("valid"),
            unit_price: Money { amount_minor: 12_900, currency: "EUR".parse().expect("valid") },
        };
        let order = |user: &String| GroupOrder {
            drop_index: 0,
            user_id: user.parse().expect("valid"),
            key: KeyDigest([7; 8]),
            fingerprint: Fingerprint([9; 4]),
            units: 2,
        };
        GroupData { drops: vec![drop], orders: users.iter().map(order).collect() }
    }

    proptest! {
        #[test]
        fn a_group_is_read_as_it_was_written(users in prop::collection::vec("[a-z|ü]{1,40}", 0..50)) {
            let group = group(&users);
            prop_assert_eq!(GroupData::decode(&group.encode()), Ok(group));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, cut in 0usize..200) {
            let _ = GroupData::decode(&bytes);
            let whole = group(&["a".to_owned(), "b".to_owned()]).encode();
            if cut < whole.len() {
                prop_assert!(GroupData::decode(&whole[..cut]).is_err());
            }
            let _ = picked(&bytes, 10);
        }
    }

    #[test]
    fn an_order_costs_sixteen_bytes_and_its_user_id() {
        let users = |count: usize| (0..count).map(|n| format!("user-{n:07}")).collect::<Vec<_>>();
        assert_eq!(group(&users(100)).encode().len() - group(&users(99)).encode().len(), 16 + 12);
    }

    #[test]
    fn a_group_of_as_many_drops_as_it_can_carry_is_read_as_it_was_written() {
        let one = group(&["a".to_owned()]);
        let drops = (0..MAX_GROUP_DROPS)
            .map(|n| GroupDrop { id: format!("demo-{n}").parse().expect("valid"), ..one.drops[0].clone() });
        let last = GroupOrder { drop_index: 254, ..one.orders[0].clone() };
        let group = GroupData { drops: drops.collect(), orders: vec![last] };
        assert_eq!(GroupData::decode(&group.encode()), Ok(group));
    }

    #[test]
    fn picks_rise_and_stay_in_range() {
        assert_eq!(picked(&[], 3), Ok(vec![0, 1, 2]));
        assert_eq!(picked(&[0, 0, 0, 2], 3), Ok(vec![0, 2]));
        for bad in [&[0, 3][..], &[0, 2, 0, 1], &[0, 1, 0, 1], &[0]] {
            assert!(picked(bad, 3).is_err(), "{bad:?}");
        }
    }
}
