//! Whatever Redis replies: it is read or refused, never a panic, and what a script decides is read as it was written.

use std::sync::Arc;

use bytes::Bytes;
use fred::types::Value;
use proptest::prelude::*;
use stampede_domain::{
    DropId, Epoch, Fingerprint, GrantRecord, GrantState, KeyDigest, LogId, Money, Position, Shard, Timestamp, UserId,
};

use super::read::read_live_drop;
use super::{Decision, DropTerms, GrantCall, OrderRequest, Refusal, decode_grant_reply};
use crate::EngineError;
use crate::redis::{Fields, Reply};
use crate::scripts;

/// What the script decided about one order.
#[derive(Clone, Debug)]
enum Decided {
    Granted,
    Replayed(Box<GrantRecord>),
    KeyReused,
    PriceChanged,
    NotActive,
    LimitReached(u32),
    SoldOut,
    Insufficient(u32),
    Behind,
    Missing,
}

impl Decided {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Granted => out.push(b'g'),
            Self::Replayed(record) => {
                out.push(b'r');
                out.extend(record.encode());
            }
            Self::KeyReused => out.push(b'k'),
            Self::PriceChanged => out.push(b'c'),
            Self::NotActive => out.push(b'p'),
            Self::LimitReached(owned) => {
                out.push(b'l');
                out.extend(owned.to_be_bytes());
            }
            Self::SoldOut => out.push(b's'),
            Self::Insufficient(left) => {
                out.push(b'i');
                out.extend(left.to_be_bytes());
            }
            Self::Behind => out.push(b'b'),
            Self::Missing => out.push(b'x'),
        }
    }

    /// Whether this is what was read.
    fn is(&self, read: &Result<Decision, EngineError>) -> bool {
        use {Decision as D, Refusal as R};
        match (self, read) {
            (Self::Granted, Ok(D::Granted(order))) => order.quantity == UNITS,
            (Self::Replayed(record), Ok(D::Replayed(order))) => {
                (order.quantity, order.id.position()) == (record.units, record.position)
            }
            (Self::LimitReached(sent), Ok(D::Refused(R::LimitReached { owned, limit: 2 }))) => sent == owned,
            (Self::Insufficient(left), Ok(D::Refused(R::InsufficientStock { available }))) => {
                u64::from(*left) == *available
            }
            (Self::KeyReused, Ok(D::Refused(R::KeyReused)))
            | (Self::PriceChanged, Ok(D::Refused(R::PriceChanged { .. })))
            | (Self::NotActive, Ok(D::Refused(R::NotActive { .. })))
            | (Self::SoldOut, Ok(D::Refused(R::SoldOut)))
            | (Self::Behind, Ok(D::Refused(R::ArchiveBehind)))
            | (Self::Missing, Err(EngineError::ShardRecovering)) => true,
            _ => false,
        }
    }
}

const UNITS: u16 = 2;

fn shard() -> Shard {
    Shard::new(3).expect("in range")
}

fn calls(count: usize) -> Vec<GrantCall> {
    let unit_price = Money { amount_minor: 100, currency: "EUR".parse().expect("valid") };
    let id: DropId = "demo".parse().expect("valid");
    let drop = Arc::new(DropTerms {
        id,
        sku: "sku".parse().expect("valid"),
        unit_price,
        durability: None,
        stripes: Default::default(),
    });
    let call = |n: usize| {
        let user_id: UserId = format!("user|{n}").parse().expect("valid");
        let key = format!("k{n}").parse().expect("valid");
        GrantCall::new(OrderRequest {
            drop: Arc::clone(&drop),
            user_id,
            key,
            units: UNITS,
            expected_total: None,
            trace: None,
        })
    };
    (0..count).map(call).collect()
}

fn records() -> impl Strategy<Value = GrantRecord> {
    let state = prop::sample::select(vec![GrantState::Confirmed, GrantState::Cancelled, GrantState::Compensated]);
    (0u64..1 << 48, any::<u16>(), 0u16..1_024, any::<u32>(), any::<[u8; 8]>(), any::<[u8; 4]>(), any::<u16>(), state)
        .prop_map(|(ms, sequence, index, epoch, key, fingerprint, units, state)| GrantRecord {
            position: Position { log_id: LogId { ms, sequence }, index },
            epoch: Epoch(epoch),
            key: KeyDigest(key),
            fingerprint: Fingerprint(fingerprint),
            units,
            state,
        })
}

fn results() -> impl Strategy<Value = Decided> {
    prop_oneof![
        Just(Decided::Granted),
        records().prop_map(|record| Decided::Replayed(Box::new(record))),
        Just(Decided::KeyReused),
        Just(Decided::PriceChanged),
        Just(Decided::NotActive),
        any::<u32>().prop_map(Decided::LimitReached),
        Just(Decided::SoldOut),
        any::<u32>().prop_map(Decided::Insufficient),
        Just(Decided::Behind),
        Just(Decided::Missing),
    ]
}

/// Any reply: nothing, numbers, bytes, text, and lists of these.
fn values() -> impl Strategy<Value = Value> {
    let number = prop_oneof![any::<i64>(), 0i64..3];
    let word = prop::sample::select(vec!["open", "paused", "EUR", "1764234000120-5", "sku", "decided", "read", ""]);
    let leaf = prop_oneof![
        Just(Value::Null),
        number.prop_map(Value::Integer),
        any::<bool>().prop_map(Value::Boolean),
        any::<f64>().prop_map(Value::Double),
        any::<Vec<u8>>().prop_map(|bytes| Value::Bytes(Bytes::from(bytes))),
        word.prop_map(|word| Value::Bytes(Bytes::from_static(word.as_bytes()))),
        any::<String>().prop_map(|text| Value::String(text.into())),
    ];
    leaf.prop_recursive(3, 60, 16, |inner| prop::collection::vec(inner, 0..16).prop_map(Value::Array))
}

fn reply(results: Vec<u8>) -> Vec<Value> {
    let text = |text: &'static str| Value::Bytes(Bytes::from_static(text.as_bytes()));
    let results = Value::Bytes(Bytes::from(results));
    vec![text("7"), text("1764234000120"), text("5"), results, text("paused"), text("1000"), text(""), text("2")]
}

fn fields(values: Vec<Value>) -> Fields {
    Fields::of("test", Value::Array(values)).expect("a list")
}

proptest! {
    #[test]
    fn decisions_are_read_as_the_script_wrote_them(results in prop::collection::vec(results(), 1..40)) {
        let mut bytes = Vec::new();
        results.iter().for_each(|result| result.write(&mut bytes));
        let calls = calls(results.len());
        let read = decode_grant_reply(shard(), fields(reply(bytes)), calls.iter(), 1, None).expect("ours");
        prop_assert_eq!(read.decisions.len(), results.len());
        for (sent, read) in results.iter().zip(&read.decisions) {
            prop_assert!(sent.is(read), "{:?} was read as {:?}", sent, read);
        }
    }

    #[test]
    fn decisions_too_few_or_too_many_are_refused(results in prop::collection::vec(results(), 2..20), cut: prop::sample::Index) {
        let mut bytes = Vec::new();
        results.iter().for_each(|result| result.write(&mut bytes));
        let read = |bytes: &[u8], count| {
            let calls = calls(count);
            decode_grant_reply(shard(), fields(reply(bytes.to_vec())), calls.iter(), 1, None).is_ok()
        };
        prop_assert!(!read(&bytes[..cut.index(bytes.len())], results.len()));
        prop_assert!(!read(&bytes, results.len() - 1));
        prop_assert!(!read(&bytes, results.len() + 1));
    }

    #[test]
    fn any_reply_is_read_or_refused(values in prop::collection::vec(values(), 0..16), bytes: Vec<u8>, drops in 0usize..4) {
        let calls = calls(3);
        let _ = decode_grant_reply(shard(), fields(values.clone()), calls.iter(), drops, Some(LogId::default()));
        let _ = decode_grant_reply(shard(), fields(reply(bytes)), calls.iter(), 1, None);
        let _ = read_live_drop(&calls[0].request.drop.id, Epoch(1), Timestamp::from_ms(0), fields(values.clone()));
        let _ = Reply::new(&scripts::SALE_READ, Value::Array(values));
    }

    #[test]
    fn any_value_is_taken_as_what_it_is_or_refused(value in values()) {
        let take = || fields(vec![value.clone()]);
        let _ = (take().bytes(), take().parse::<u64>(), take().parse::<LogId>(), take().optional::<i64>());
        if let Ok(text) = take().text() {
            prop_assert_eq!(take().bytes().expect("text is bytes"), text.as_bytes());
        }
        prop_assert_eq!(take().list().is_ok(), value.is_array());
        prop_assert_eq!(take().optional_list().is_ok(), value.is_array() || value.is_null());
        prop_assert_eq!(Reply::new(&scripts::SALE_READ, value.clone()).is_ok_and(|_| !value.is_array()), false);
    }
}
