//! Whatever bytes and texts come from outside: they are read or refused, never a panic, and what was written is read again
//! as it was.

use std::fmt::{Debug, Display};
use std::ops::RangeInclusive;
use std::str::FromStr;

use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use stampede_domain::{
    CancelledBy, ClosedBy, Closing, Compensation, Currency, DeadLetter, DropDefinition, DropId, DropState, Durability,
    Entry, Epoch, Fact, FactBody, FactId, Fingerprint, Grant, GrantRecord, GroupData, GroupDrop, GroupOrder,
    IdempotencyKey, KeyDigest, LogId, MAX_GROUP_DROPS, MAX_GROUP_ORDERS, Mode, Money, OrderId, Position, Product,
    Shard, ShardCount, Sku, Stripes, Timestamp, Tombstone, UserDigest, UserId, Window, Withdrawal, picked,
};

/// A text is refused, or is read as something that is written as it stands: each value has one spelling.
fn one_spelling<T: FromStr + Display>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string(), text);
    }
}

/// What is read is written, and read again, as the same.
fn read_again<T: FromStr + Display + PartialEq + Debug>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string().parse().ok(), Some(value));
    }
}

fn json_read_again<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let json = serde_json::to_vec(value).expect("JSON");
    assert_eq!(serde_json::from_slice::<T>(&json).ok().as_ref(), Some(value));
}

/// Any JSON is refused, or read as something that is written and read again.
fn any_json<T: Serialize + DeserializeOwned + PartialEq + Debug>(json: &[u8]) {
    if let Ok(value) = serde_json::from_slice::<T>(json) {
        json_read_again(&value);
    }
}

/// Texts that are nearly ids, times, numbers: of the letters that these are made of, or of any others.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[0-9a-fA-FTZ:.+-]{0,40}", "[0-9]{1,22}-[0-9]{1,7}", "[A-Za-z0-9._|-]{0,300}"]
}

fn ids<T: FromStr<Err: Debug> + Debug>(pattern: &'static str) -> impl Strategy<Value = T> {
    pattern.prop_map(|text: String| text.parse().expect("an id"))
}

fn drop_ids() -> impl Strategy<Value = DropId> {
    ids("[a-z0-9][a-z0-9-]{0,63}")
}

fn skus() -> impl Strategy<Value = Sku> {
    ids("[A-Za-z0-9._-]{1,64}")
}

fn user_ids() -> impl Strategy<Value = UserId> {
    prop_oneof![ids("[a-z|:#\"\\\\/üé€😀 ]{1,60}"), ids("[ -~]{255}")]
}

fn times() -> impl Strategy<Value = Timestamp> {
    (0..=Timestamp::MAX.as_ms()).prop_map(Timestamp::from_ms)
}

fn money() -> impl Strategy<Value = Money> {
    (any::<i64>(), ids::<Currency>("[A-Z]{3}")).prop_map(|(amount_minor, currency)| Money { amount_minor, currency })
}

fn windows() -> impl Strategy<Value = Window> {
    (times(), prop::option::of(times())).prop_map(|(starts_at, ends_at)| Window { starts_at, ends_at })
}

fn log_ids() -> impl Strategy<Value = LogId> {
    (0u64..1 << 48, any::<u16>()).prop_map(|(ms, sequence)| LogId { ms, sequence })
}

fn shards() -> impl Strategy<Value = Shard> {
    (0..=Shard::MAX).prop_map(|number| Shard::new(number).expect("in range"))
}

fn stripes() -> impl Strategy<Value = Stripes> {
    let several = prop::collection::hash_set(shards(), 2..9);
    let several = several.prop_map(|shards| Stripes::over(shards.into_iter().collect()).expect("distinct"));
    prop_oneof![Just(Stripes::default()), several]
}

fn order_ids() -> impl Strategy<Value = OrderId> {
    (shards(), log_ids(), 0u16..1_024, 0u64..1 << 36)
        .prop_map(|(shard, log_id, index, nonce)| OrderId::new(shard, Position { log_id, index }, nonce))
}

fn definitions() -> impl Strategy<Value = DropDefinition> {
    let durability = prop::option::of(prop::sample::select(Durability::ALL.to_vec()));
    let numbers = (any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>());
    let places = (durability, stripes());
    (drop_ids(), skus(), numbers, windows(), money(), places, times()).prop_map(
        |(id, sku, numbers, window, price, (durability, stripes), created_at)| DropDefinition {
            id,
            sku,
            mode: Mode::Instant,
            stock_units: numbers.0,
            limit_per_user: numbers.1,
            window,
            price,
            cancellable_for_s: numbers.2,
            cancellations_per_user: numbers.3,
            durability,
            stripes,
            hold_ms: numbers.1,
            created_at,
        },
    )
}

fn withdrawals() -> impl Strategy<Value = Withdrawal> {
    let by = prop::sample::select(vec![CancelledBy::Shopper, CancelledBy::Operator, CancelledBy::Drop]);
    (order_ids(), user_ids(), any::<u16>(), by).prop_map(|(order_id, user_id, units, by)| Withdrawal {
        order_id,
        user_id,
        units,
        by,
    })
}

fn compensations() -> impl Strategy<Value = Compensation> {
    let digests = (any::<[u8; 8]>(), any::<[u8; 4]>());
    (order_ids(), skus(), user_ids(), any::<u16>(), money(), digests).prop_map(
        |(order_id, sku, user_id, units, unit_price, (key, fingerprint))| Compensation {
            order_id,
            grant: Grant {
                sku,
                user_id,
                units,
                unit_price,
                key: KeyDigest(key),
                fingerprint: Fingerprint(fingerprint),
            },
        },
    )
}

fn fact_ids() -> impl Strategy<Value = FactId> {
    let event = (shards(), any::<u32>(), log_ids(), any::<u16>()).prop_map(|(shard, epoch, log_id, index)| {
        FactId::Event { shard, epoch: Epoch(epoch), position: Position { log_id, index } }
    });
    prop_oneof![order_ids().prop_map(FactId::Order), event]
}

fn tombstones() -> impl Strategy<Value = Tombstone> {
    let state = prop::sample::select(vec![DropState::Ended, DropState::Cancelled]);
    let units = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>());
    (state, windows(), any::<u32>(), units).prop_map(
        |(state, window, limit_per_user, (total_units, sold_units, sent_units, received_units))| Tombstone {
            state,
            window,
            limit_per_user,
            total_units,
            sold_units,
            sent_units,
            received_units,
        },
    )
}

/// Every kind of fact that the log holds as JSON.
fn bodies() -> impl Strategy<Value = FactBody> {
    prop_oneof![
        definitions().prop_map(|drop| FactBody::Opened { drop: Box::new(drop) }),
        Just(FactBody::Activated),
        Just(FactBody::Started),
        Just(FactBody::Released),
        (windows(), any::<u32>()).prop_map(|(window, limit_per_user)| FactBody::Amended { window, limit_per_user }),
        Just(FactBody::Paused),
        Just(FactBody::Resumed),
        (any::<[u8; 8]>(), any::<u32>()).prop_map(|(key, units)| FactBody::Restocked { key: KeyDigest(key), units }),
        (shards(), any::<u64>(), any::<u32>()).prop_map(|(to, transfer, units)| FactBody::Sent { to, transfer, units }),
        (shards(), any::<u64>(), any::<u32>()).prop_map(|(from, transfer, units)| FactBody::Received {
            from,
            transfer,
            units
        }),
        Just(FactBody::Closed { by: ClosedBy::Clock }),
        Just(FactBody::Closed { by: ClosedBy::Operator }),
        Just(FactBody::CalledOff),
        withdrawals().prop_map(FactBody::Cancelled),
        compensations().prop_map(FactBody::Compensated),
        tombstones().prop_map(FactBody::Purged),
    ]
}

fn groups() -> impl Strategy<Value = GroupData> {
    let drop = (drop_ids(), skus(), money()).prop_map(|(id, sku, unit_price)| GroupDrop { id, sku, unit_price });
    prop::collection::vec(drop, 1..8).prop_flat_map(|drops| {
        let order = (0..drops.len() as u8, user_ids(), any::<[u8; 8]>(), any::<[u8; 4]>(), any::<u16>()).prop_map(
            |(drop_index, user_id, key, fingerprint, units)| GroupOrder {
                drop_index,
                user_id,
                key: KeyDigest(key),
                fingerprint: Fingerprint(fingerprint),
                units,
            },
        );
        prop::collection::vec(order, 0..20).prop_map(move |orders| GroupData { drops: drops.clone(), orders })
    })
}

fn closings() -> impl Strategy<Value = Closing> {
    let hole = (any::<u64>(), any::<u64>()).prop_map(|(a, b)| RangeInclusive::new(a.min(b), a.max(b)));
    let numbers = (any::<u64>(), any::<u64>());
    (shards(), any::<u32>(), numbers, prop::collection::vec(hole, 0..5), any::<bool>()).prop_map(
        |(shard, epoch, (base, through), holes, void)| Closing {
            shard,
            epoch: Epoch(epoch),
            base,
            through,
            holes,
            void,
        },
    )
}

fn entry<'a>(kind: &'a [u8], data: &'a [u8], picks: &'a [u8]) -> Entry<'a> {
    let shard = Shard::new(3).expect("in range");
    Entry { shard, id: LogId { ms: 1_764_234_000_120, sequence: 5 }, epoch: Epoch(2), number: 17, kind, data, picks }
}

/// Bytes with one of them changed, one taken away, or one put in.
fn spoiled(bytes: &[u8], at: prop::sample::Index, change: u8, how: u8) -> Vec<u8> {
    let mut spoiled = bytes.to_vec();
    let at = at.index(bytes.len().max(1));
    match how % 3 {
        0 if !spoiled.is_empty() => spoiled[at] = spoiled[at].wrapping_add(change.max(1)),
        1 if !spoiled.is_empty() => drop(spoiled.remove(at)),
        _ => spoiled.insert(at.min(bytes.len()), change),
    }
    spoiled
}

proptest! {
    #[test]
    fn any_text_is_an_id_of_one_spelling_or_none(text in texts()) {
        one_spelling::<DropId>(&text);
        one_spelling::<Sku>(&text);
        one_spelling::<UserId>(&text);
        one_spelling::<IdempotencyKey>(&text);
        one_spelling::<OrderId>(&text);
        one_spelling::<FactId>(&text);
        one_spelling::<Currency>(&text);
        read_again::<LogId>(&text);
        read_again::<Timestamp>(&text);
        prop_assert!(DropState::parse(&text).is_none_or(|state| state.as_str() == text));
    }

    #[test]
    fn an_id_is_no_longer_than_it_says(text in any::<String>()) {
        let within = |length: usize, most: usize| (1..=most).contains(&length);
        prop_assert!(text.parse::<DropId>().is_err() || within(text.len(), DropId::MAX_BYTES));
        prop_assert!(text.parse::<Sku>().is_err() || within(text.len(), Sku::MAX_BYTES));
        prop_assert!(text.parse::<UserId>().is_err() || within(text.len(), UserId::MAX_BYTES));
        prop_assert!(text.parse::<IdempotencyKey>().is_err() || within(text.len(), IdempotencyKey::MAX_BYTES));
    }

    #[test]
    fn what_was_written_is_read_again(
        drop_id in drop_ids(), sku in skus(), user in user_ids(), order in order_ids(), log_id in log_ids(),
        time in times(), money in money(), window in windows(), key: [u8; 8],
    ) {
        prop_assert_eq!(drop_id.to_string().parse(), Ok(drop_id));
        prop_assert_eq!(sku.to_string().parse(), Ok(sku));
        prop_assert_eq!(user.to_string().parse(), Ok(user.clone()));
        prop_assert_eq!(log_id.to_string().parse(), Ok(log_id));
        prop_assert_eq!(time.to_string().parse(), Ok(time));
        json_read_again(&user);
        json_read_again(&order);
        json_read_again(&money);
        json_read_again(&window);
        json_read_again(&KeyDigest(key));
    }

    #[test]
    fn any_bytes_are_digests_and_order_ids_of_their_length_or_none(bytes: Vec<u8>) {
        prop_assert_eq!(UserDigest::from_bytes(&bytes).is_some(), bytes.len() == 16);
        prop_assert_eq!(KeyDigest::from_bytes(&bytes).is_some(), bytes.len() == 8);
        prop_assert_eq!(Fingerprint::from_bytes(&bytes).is_some(), bytes.len() == 4);
        if let Ok(id) = OrderId::from_bytes(&bytes) {
            prop_assert_eq!(id.as_bytes().as_slice(), bytes.as_slice());
        }
    }

    #[test]
    fn sixteen_bytes_are_an_order_id_only_with_its_marks(mut bytes: [u8; 16]) {
        let ours = bytes[6] >> 4 == 8 && bytes[8] >> 6 == 2;
        prop_assert_eq!(OrderId::from_bytes(&bytes).is_ok(), ours);
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let id = OrderId::from_bytes(&bytes).expect("marked");
        prop_assert_eq!(OrderId::new(id.shard(), id.position(), id.nonce()), id);
    }

    #[test]
    fn any_json_is_read_or_refused(json in prop_oneof![any::<Vec<u8>>(), "[\\[\\]{}:,\"a-z0-9.eE+-]{0,60}".prop_map(String::into_bytes)]) {
        any_json::<FactBody>(&json);
        any_json::<DeadLetter>(&json);
        any_json::<Closing>(&json);
        any_json::<DropDefinition>(&json);
        any_json::<Product>(&json);
        any_json::<Money>(&json);
        any_json::<Window>(&json);
        any_json::<OrderId>(&json);
        any_json::<KeyDigest>(&json);
        any_json::<ShardCount>(&json);
        any_json::<Timestamp>(&json);
    }

    #[test]
    fn a_dead_letter_is_read_as_it_was_written(
        body in bodies(), of in fact_ids(), drop_id in drop_ids(), at in (shards(), log_ids(), any::<u16>(), any::<u32>()),
        number: u64, replayed: bool, reason: String,
    ) {
        let (shard, log_id, index, epoch) = at;
        let body = if replayed { FactBody::Replayed { of } } else { body };
        let position = Position { log_id, index };
        let fact = Fact { shard, epoch: Epoch(epoch), number, position, entry_facts: 1, drop_id, body };
        prop_assert_eq!(FactId::from_str(&fact.id().to_string()), Ok(fact.id()));
        json_read_again(&DeadLetter::new(fact, &reason));
    }

    #[test]
    fn a_closing_and_a_definition_are_read_as_they_were_written_and_spoiled_ones_as_something_or_nothing(
        closing in closings(), drop in definitions(), at: prop::sample::Index, change: u8, how: u8,
    ) {
        json_read_again(&closing);
        json_read_again(&drop);
        any_json::<Closing>(&spoiled(&serde_json::to_vec(&closing).expect("JSON"), at, change, how));
        any_json::<DropDefinition>(&spoiled(&serde_json::to_vec(&drop).expect("JSON"), at, change, how));
    }

    #[test]
    fn a_logged_fact_is_read_as_it_was_written(drop_id in drop_ids(), body in bodies()) {
        let json = Fact::log_json(&drop_id, &body);
        let facts = entry(body.kind().as_bytes(), json.as_bytes(), b"").facts().expect("ours");
        prop_assert_eq!(facts.len(), 1);
        prop_assert_eq!((&facts[0].drop_id, &facts[0].body), (&drop_id, &body));
        json_read_again(&body);
    }

    #[test]
    fn a_spoiled_fact_is_read_as_another_or_refused(
        drop_id in drop_ids(), body in bodies(), at: prop::sample::Index, change: u8, how: u8,
    ) {
        let json = spoiled(Fact::log_json(&drop_id, &body).as_bytes(), at, change, how);
        if let Ok(facts) = entry(body.kind().as_bytes(), &json, b"").facts() {
            let again = Fact::log_json(&facts[0].drop_id, &facts[0].body);
            prop_assert_eq!(entry(body.kind().as_bytes(), again.as_bytes(), b"").facts(), Ok(facts));
        }
    }

    #[test]
    fn any_entry_is_read_or_refused(kind in "[a-z_]{0,12}|granted|cancelled|opened", data: Vec<u8>, picks: Vec<u8>) {
        let _ = entry(kind.as_bytes(), &data, &picks).facts();
        let _ = entry(&data, &picks, &data).facts();
    }

    #[test]
    fn a_group_is_read_as_it_was_written_and_its_picks_are_its_facts(group in groups(), chosen: u32) {
        let bytes = group.encode();
        prop_assert_eq!(GroupData::decode(&bytes), Ok(group.clone()));
        let count = group.orders.len();
        let indexes: Vec<u16> = (0..count as u16).filter(|index| chosen >> index & 1 == 1).collect();
        let picks: Vec<u8> = indexes.iter().flat_map(|index| index.to_be_bytes()).collect();
        let expected = if picks.is_empty() { (0..count as u16).collect() } else { indexes };
        prop_assert_eq!(picked(&picks, count), Ok(expected.clone()));
        let facts = entry(b"granted", &bytes, &picks).facts().expect("ours");
        prop_assert_eq!(facts.len(), expected.len());
        for (fact, index) in facts.iter().zip(expected) {
            let sent = &group.orders[usize::from(index)];
            let order = fact.order().expect("a grant");
            prop_assert_eq!((&order.user_id, order.quantity), (&sent.user_id, sent.units));
            prop_assert_eq!(order.id.position().index, index);
        }
    }

    #[test]
    fn a_spoiled_group_is_read_as_another_or_refused(
        group in groups(), at: prop::sample::Index, change: u8, how: u8, picks: Vec<u8>,
    ) {
        let bytes = spoiled(&group.encode(), at, change, how);
        if let Ok(other) = GroupData::decode(&bytes) {
            prop_assert_eq!(other.encode(), bytes.clone());
            prop_assert!(other.drops.len() <= MAX_GROUP_DROPS && other.orders.len() <= MAX_GROUP_ORDERS);
        }
        let _ = entry(b"granted", &bytes, &picks).facts();
    }

    #[test]
    fn any_picks_are_rising_indexes_or_refused(picks: Vec<u8>, count in 0usize..2_000) {
        if let Ok(indexes) = picked(&picks, count) {
            prop_assert!(indexes.is_sorted_by(|a, b| a < b));
            prop_assert!(indexes.iter().all(|index| usize::from(*index) < count));
        }
    }

    #[test]
    fn a_spoiled_record_is_read_as_another_or_refused(bytes in prop::collection::vec(any::<u8>(), 28), units: u16) {
        if let Ok(mut record) = GrantRecord::decode(&bytes) {
            prop_assert_eq!(record.encode().to_vec(), bytes.clone());
            record.units = units;
            prop_assert_eq!(GrantRecord::decode(&record.encode()), Ok(record));
        }
        prop_assert!(GrantRecord::decode(&bytes[1..]).is_err());
    }

    #[test]
    fn a_price_times_a_quantity_never_wraps(money in money(), units: u32) {
        let total = money.times(units);
        prop_assert_eq!(i128::from(total.amount_minor).signum(), i128::from(money.amount_minor).signum() * i128::from(units.min(1)));
        prop_assert!(total.amount_minor.unsigned_abs() >= money.amount_minor.unsigned_abs() || units == 0);
    }

    #[test]
    fn a_time_in_any_zone_is_the_same_time(time in times(), minutes in -1_000i64..1_000) {
        // The instant, as a clock shows it that is so many minutes ahead.
        let shifted = time.as_ms() + minutes * 60_000;
        prop_assume!((0..=Timestamp::MAX.as_ms()).contains(&shifted));
        let shown = Timestamp::from_ms(shifted).to_string();
        let sign = if minutes < 0 { '-' } else { '+' };
        let zone = format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60);
        prop_assert_eq!(shown.replace('Z', &zone).parse(), Ok(time));
    }
}
