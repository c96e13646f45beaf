//! Random sales against an independent model, on one Redis and on a cluster.
//!
//! Orders of one step are sent together, so they are decided in groups, whatever groups those become: the queue of a shard
//! keeps their order, and so the model can decide them one by one. `STAMPEDE_MODEL_CASES` says how many sales are tried,
//! `STAMPEDE_MODEL_SEED` which is the first; a failure prints the seed of its sale.

mod fold;
mod random;
mod rules;
mod sale;
#[path = "../support/mod.rs"]
mod support;

use std::env;

use rand::SeedableRng;
use rand::rngs::StdRng;

use sale::Sale;
use support::Harness;

on_both!(random_sales_go_as_the_model_says);

/// Sales that are tried where nobody says how many.
const CASES: u64 = 30;
/// Steps of one sale.
const STEPS: usize = 120;

async fn random_sales_go_as_the_model_says(h: Harness) {
    let set = |name: &str| env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let first = set("STAMPEDE_MODEL_SEED").unwrap_or_else(rand::random);
    let cases = set("STAMPEDE_MODEL_CASES").unwrap_or(CASES);
    let bounded = h.another(|settings| settings.log_bound.orders = sale::BOUND as u64).await;
    for seed in (0..cases).map(|case| first.wrapping_add(case)) {
        eprintln!("STAMPEDE_MODEL_SEED={seed} STAMPEDE_MODEL_CASES=1 replays this sale");
        let mut rng = StdRng::seed_from_u64(seed);
        let mut sale = Sale::begin(&h, &bounded, seed).await;
        for _ in 0..STEPS {
            let step = random::step(&mut rng, &sale.model);
            sale.take(step).await;
        }
        sale.end().await;
    }
}
