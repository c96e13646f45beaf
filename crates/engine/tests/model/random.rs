//! What happens next in a random sale.

use rand::RngExt;
use rand::rngs::StdRng;
use stampede_domain::{CancelledBy, DropState};

use crate::rules::{Ask, Change, DropModel, Model, Price};

const DROPS: usize = 8;
const USERS: usize = 6;
const KEYS: usize = 8;
const MOST_ORDERS: usize = 14;

/// One step of a sale.
#[derive(Clone, Debug)]
pub enum Step {
    Orders(Vec<Ask>),
    Cancel {
        drop: usize,
        user: usize,
        nth: usize,
        by: CancelledBy,
    },
    Change(usize, Change),
    /// Opens a drop, or one that is open already.
    Open(usize, DropModel),
    /// An hour passes.
    Hour,
    /// The archive takes everything that is in the log.
    Archive,
}

pub fn step(rng: &mut StdRng, model: &Model) -> Step {
    if model.drops.is_empty() {
        return Step::Open(0, drop(rng, model.hour));
    }
    let any = some_drop(rng, model);
    match rng.random_range(0..100) {
        0..45 => {
            // Often one drop alone, so that its units run out; often few users, so that they meet themselves.
            let one = rng.random_bool(0.5).then_some(any);
            let count = rng.random_range(1..=MOST_ORDERS);
            let users = rng.random_range(1..=USERS);
            let mut next = || {
                let drop = one.unwrap_or_else(|| some_drop(rng, model));
                ask(rng, drop, users)
            };
            Step::Orders((0..count).map(|_| next()).collect())
        }
        45..65 => cancellation(rng, model, any).unwrap_or(Step::Archive),
        65..85 => Step::Change(any, change(rng, model)),
        85..90 if model.drops.len() < DROPS => Step::Open(model.drops.len(), drop(rng, model.hour)),
        85..91 => Step::Open(any, drop(rng, model.hour)),
        91..94 => Step::Hour,
        _ => Step::Archive,
    }
}

/// Mostly one that may still sell.
fn some_drop(rng: &mut StdRng, model: &Model) -> usize {
    let running = |place: &usize| matches!(model.drops[*place].state, DropState::Open | DropState::Paused);
    let some: Vec<usize> = (0..model.drops.len()).filter(|place| running(place) || rng.random_bool(0.2)).collect();
    if some.is_empty() { rng.random_range(0..model.drops.len()) } else { some[rng.random_range(0..some.len())] }
}

fn ask(rng: &mut StdRng, drop: usize, users: usize) -> Ask {
    let price = match rng.random_range(0..10) {
        0 => Price::Wrong,
        1..3 => Price::Right,
        _ => Price::Unsaid,
    };
    // Mostly the same units for the same key, so that keys are replayed more often than reused.
    let key = rng.random_range(0..KEYS);
    let units = if rng.random_bool(0.9) { key % 3 + 1 } else { rng.random_range(1..=5) } as u16;
    Ask { drop, user: rng.random_range(0..users), key, units, price }
}

fn cancellation(rng: &mut StdRng, model: &Model, drop: usize) -> Option<Step> {
    let buyers: Vec<(&usize, usize)> =
        model.drops[drop].users.iter().map(|(user, held)| (user, held.len())).filter(|(_, held)| *held > 0).collect();
    if buyers.is_empty() {
        return None;
    }
    let (user, held) = buyers[rng.random_range(0..buyers.len())];
    let by = if rng.random_bool(0.7) { CancelledBy::Shopper } else { CancelledBy::Operator };
    Some(Step::Cancel { drop, user: *user, nth: rng.random_range(0..held), by })
}

fn change(rng: &mut StdRng, model: &Model) -> Change {
    match rng.random_range(0..43) {
        40.. => Change::Release,
        0..5 => Change::Pause,
        5..16 => Change::Resume,
        16..20 => Change::Start,
        20..23 => Change::CloseByClock,
        23 => Change::CloseByOperator,
        24 => Change::CallOff,
        25..31 => Change::Restock { key: rng.random_range(0..4), units: rng.random_range(1..3) },
        _ => {
            let hours = model.hour - 1..model.hour + 5;
            let ends = if rng.random_bool(0.3) { None } else { Some(rng.random_range(hours.clone())) };
            Change::Amend {
                starts: rng.random_bool(0.3).then(|| rng.random_range(hours)),
                ends: rng.random_bool(0.8).then_some(ends),
                limit: rng.random_bool(0.2).then(|| rng.random_range(1..8)),
            }
        }
    }
}

fn drop(rng: &mut StdRng, hour: i64) -> DropModel {
    let starts = if rng.random_bool(0.7) { hour } else { hour + rng.random_range(1..3) };
    let total = rng.random_range(1..40);
    DropModel {
        state: DropState::Open,
        starts,
        ends: rng.random_bool(0.4).then(|| starts + rng.random_range(1..6)),
        limit: rng.random_range(1..8),
        cancellable_hours: rng.random_range(0..3),
        cancellations: rng.random_range(0..4),
        total,
        available: total,
        held: None,
        holds: rng.random_bool(0.6),
        sold: 0,
        start_is_due: true,
        restocks: Default::default(),
        users: Default::default(),
        changes: 1,
    }
}
