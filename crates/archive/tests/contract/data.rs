//! Things to put into an archive.

use stampede_domain::{
    CancelledBy, Compensation, DropDefinition, DropId, Epoch, Fact, FactBody, Fingerprint, Grant, KeyDigest, LogId,
    Mode, Money, OrderId, Position, Product, Shard, Sku, Timestamp, UserId, Window, Withdrawal,
};

/// A time in 2025 and the log's clock in these tests: so many milliseconds after it.
pub const START_MS: u64 = 1_764_234_000_000;

pub fn at(ms: i64) -> Timestamp {
    Timestamp::from_ms(START_MS.cast_signed()).plus_ms(ms)
}

pub fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("a valid id")
}

pub fn shard(number: u16) -> Shard {
    Shard::new(number).expect("in range")
}

pub fn price() -> Money {
    Money { amount_minor: 12_999, currency: id("EUR") }
}

pub fn product(sku: &str, created_ms: i64) -> Product {
    Product {
        sku: id(sku),
        name: format!("Sneaker „{sku}“"),
        description: Some("Limited".to_owned()),
        image_url: None,
        price: price(),
        created_at: at(created_ms),
    }
}

pub fn window(starts_ms: i64, ends_ms: Option<i64>) -> Window {
    Window { starts_at: at(starts_ms), ends_at: ends_ms.map(at) }
}

pub fn drop_of(sku: &str, drop_id: &str, window: Window) -> DropDefinition {
    DropDefinition {
        id: id::<DropId>(drop_id),
        sku: id::<Sku>(sku),
        mode: Mode::Instant,
        stock_units: 1_000_000_000,
        limit_per_user: 2,
        window,
        price: price(),
        cancellable_for_s: 600,
        cancellations_per_user: 3,
        durability: None,
        stripes: Default::default(),
        hold_ms: 0,
        created_at: at(0),
    }
}

/// Where a fact stands: shard, epoch, the entry's number, the index in it. Its log id follows from epoch and number.
#[derive(Clone, Copy)]
pub struct Place(pub u16, pub u32, pub u64, pub u16);

pub fn fact(place: Place, body: FactBody) -> Fact {
    let Place(shard_number, epoch, number, index) = place;
    let log_id = LogId { ms: START_MS + 1_000 * u64::from(epoch) + number / 4, sequence: (number % 4) as u16 };
    Fact {
        shard: shard(shard_number),
        epoch: Epoch(epoch),
        number,
        position: Position { log_id, index },
        entry_facts: index + 1,
        drop_id: id("demo"),
        body,
    }
}

pub fn grant(place: Place, user: &str) -> Fact {
    let Place(_, epoch, number, index) = place;
    let mut key = [0; 8];
    key[..4].copy_from_slice(&epoch.to_be_bytes());
    key[4..].copy_from_slice(&((number << 10) as u32 | u32::from(index)).to_be_bytes());
    let grant = Grant {
        sku: id("AIR-1"),
        user_id: id::<UserId>(user),
        units: 2,
        unit_price: price(),
        key: KeyDigest(key),
        fingerprint: Fingerprint([9, 8, 7, 255]),
    };
    fact(place, FactBody::Granted(grant))
}

pub fn order_id(grant: &Fact) -> OrderId {
    grant.order().expect("a grant").id
}

pub fn withdrawal(grant: &Fact) -> Withdrawal {
    let order = grant.order().expect("a grant");
    Withdrawal { order_id: order.id, user_id: order.user_id, units: order.quantity, by: CancelledBy::Shopper }
}

pub fn compensation(place: Place, of: &Fact) -> Fact {
    let FactBody::Granted(grant) = &of.body else { panic!("a grant") };
    let body = FactBody::Compensated(Compensation { order_id: order_id(of), grant: grant.clone() });
    Fact { drop_id: of.drop_id.clone(), ..fact(place, body) }
}

pub fn cancellation(place: Place, of: &Fact) -> Fact {
    fact(place, FactBody::Cancelled(withdrawal(of)))
}
