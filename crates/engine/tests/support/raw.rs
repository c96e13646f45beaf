//! A group of orders as bytes, for calls that no engine would send: too late, twice, after their settlement.

use bytes::Bytes;
use fred::types::Value;
use stampede_domain::{Fingerprint, GroupData, GroupDrop, GroupOrder, KeyDigest, UserDigest};
use stampede_engine::{DropTerms, Keys};

use super::{Harness, user};

/// Keys and arguments of `sale/grant` for one order of a drop.
pub fn grant_call(
    h: &Harness,
    drop: &DropTerms,
    (user_name, key): (&str, &str),
    units: u16,
    (deadline_ms, floor_ms): (u64, u64),
) -> (Vec<String>, Vec<Value>) {
    let user_id = user(user_name);
    let digest = UserDigest::of(&user_id);
    let key = KeyDigest::of(digest, &key.parse().expect("a key"));
    let fingerprint = Fingerprint::of(u32::from(units), None);
    // One order: user; key, fingerprint, units and index; and its terms: units, index of the drop, flags.
    let (units_bytes, none) = (units.to_be_bytes(), [0, 0]);
    let requests = [&[0, 1][..], &digest.0, &key.0, &fingerprint.0, &units_bytes, &none, &units_bytes, &none].concat();
    let data = GroupData {
        drops: vec![GroupDrop { id: drop.id.clone(), sku: drop.sku.clone(), unit_price: drop.unit_price }],
        orders: vec![GroupOrder { drop_index: 0, user_id, key, fingerprint, units }],
    };
    let (hash, users) = (Keys::drop(h.shard, &drop.id), Keys::users(h.shard, &drop.id));
    let keys = vec![h.keys.meta.clone(), h.keys.log.clone(), h.keys.unsettled.clone(), hash, users];
    let bound = Value::from(1_000_000_000);
    let ms = |ms: u64| Value::from(ms.cast_signed());
    let bytes = |bytes| Value::Bytes(Bytes::from(bytes));
    (keys, vec![ms(deadline_ms), ms(floor_ms), bound.clone(), bound, bytes(requests), bytes(data.encode())])
}

/// The packed results of a `decided` reply.
pub fn results(mut fields: Vec<Value>) -> Bytes {
    fields.swap_remove(4).convert().expect("bytes")
}
