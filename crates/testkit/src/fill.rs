//! An archive full of orders, as a sale leaves it.

use std::collections::HashMap;

use stampede_archive::{Archive, DropStage};
use stampede_domain::{
    Deployment, DropDefinition, DropId, Epoch, Fact, FactBody, Fingerprint, Grant, KeyDigest, LogId, Mode, Money,
    Position, Product, Shard, ShardCount, Timestamp, UserDigest, UserId, Window,
};

/// Orders of one entry: a group as it is on a busy day.
const ORDERS_PER_ENTRY: u64 = 100;

/// Entries that are inserted at once, as many as a persister takes.
const ENTRIES_AT_ONCE: u64 = 64;

/// Fills an archive with drops that are sold out: as many orders of one unit each as there are units, all of other users.
///
/// # Panics
/// If the archive fails, or has been given another number of shards before.
pub async fn fill_archive(archive: &dyn Archive, shards: u16, drops: u64, orders: u64) -> Vec<DropId> {
    archive.migrate().await.expect("migrated");
    let shards = ShardCount::try_from(shards).expect("a number of shards");
    let deployment = archive.deployment(&Deployment { id: "filled".to_owned(), shards }).await.expect("a deployment");
    assert_eq!(deployment.shards, shards, "the archive has a deployment already");
    let mut numbers: HashMap<Shard, u64> = HashMap::new();
    let mut filled = Vec::new();
    for n in 0..drops {
        let of_drop = orders / drops + u64::from(n < orders % drops);
        let definition = definition(n, of_drop);
        open(archive, &definition).await;
        let shard = deployment.shard_of(&definition.id);
        let number = numbers.entry(shard).or_default();
        if *number == 0 {
            archive.raise_epoch(shard).await.expect("raised");
        }
        sell(archive, shard, number, &definition, of_drop).await;
        filled.push(definition.id);
    }
    filled
}

fn definition(n: u64, orders: u64) -> DropDefinition {
    DropDefinition {
        id: format!("filled-{n}").parse().expect("a drop id"),
        sku: format!("FILLED-{n}").parse().expect("a sku"),
        mode: Mode::Instant,
        stock_units: u32::try_from(orders).expect("a stock"),
        limit_per_user: 1,
        window: Window { starts_at: Timestamp::from_ms(0), ends_at: None },
        price: Money { amount_minor: 12_900, currency: "EUR".parse().expect("a currency") },
        cancellable_for_s: 0,
        cancellations_per_user: 3,
        durability: None,
        stripes: Default::default(),
        hold_ms: 0,
        created_at: Timestamp::now(),
    }
}

async fn open(archive: &dyn Archive, definition: &DropDefinition) {
    let product = Product {
        sku: definition.sku.clone(),
        name: definition.id.to_string(),
        description: None,
        image_url: None,
        price: definition.price,
        created_at: definition.created_at,
    };
    archive.create_product(&product).await.expect("created");
    archive.define_drop(definition).await.expect("defined");
    for (from, to) in [(DropStage::Defined, DropStage::Opening), (DropStage::Opening, DropStage::Opened)] {
        assert!(archive.move_drop(&definition.id, from, to).await.expect("moved"));
    }
}

/// Appends the facts of a drop behind the entry `number` of its shard.
async fn sell(archive: &dyn Archive, shard: Shard, number: &mut u64, drop: &DropDefinition, orders: u64) {
    let start_ms = Timestamp::now().as_ms().cast_unsigned();
    let fact = |number: u64, index: u16, entry_facts: u16, body| {
        let position = Position { log_id: LogId { ms: start_ms + number, sequence: 0 }, index };
        Fact { shard, epoch: Epoch(1), number, position, entry_facts, drop_id: drop.id.clone(), body }
    };
    *number += 1;
    let mut facts = vec![fact(*number, 0, 1, FactBody::Opened { drop: Box::new(drop.clone()) })];
    let mut sold = 0;
    while sold < orders {
        let group = ORDERS_PER_ENTRY.min(orders - sold) as u16;
        *number += 1;
        for index in 0..group {
            facts.push(fact(*number, index, group, FactBody::Granted(grant(drop, sold + u64::from(index)))));
        }
        sold += u64::from(group);
        if sold == orders || facts.len() as u64 >= ENTRIES_AT_ONCE * ORDERS_PER_ENTRY {
            assert_eq!(archive.insert_facts(&facts).await.expect("inserted"), []);
            facts.clear();
        }
    }
}

fn grant(drop: &DropDefinition, n: u64) -> Grant {
    // Users come in no order: an index of them is written all over.
    let user_id: UserId = format!("user-{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).parse().expect("a user id");
    let key = KeyDigest::of(UserDigest::of(&user_id), &"key".parse().expect("a key"));
    let (sku, unit_price) = (drop.sku.clone(), drop.price);
    Grant { sku, user_id, units: 1, unit_price, key, fingerprint: Fingerprint::of(1, None) }
}
