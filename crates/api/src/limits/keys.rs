//! What a limiter remembers of each key, within a bound.
//!
//! A key whose requests are so long ago that forgetting them changes nothing is at rest, and is forgotten: now and then, and
//! at once where there is no room. As a request keeps its key from rest for no longer than the time in which one request is
//! replenished, as many keys as the default bound take more requests in a second than a process answers.
//!
//! Beyond the bound nobody who is remembered is forgotten, and a newcomer is let through without being remembered. So
//! somebody with very many addresses neither loses count of their own, nor shuts others out, nor takes more memory.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;
use parking_lot::Mutex;

/// Into how many parts the keys are divided, so that few requests wait for each other.
const PARTS: usize = 64;
/// How long a full part is left alone after it was gone through: a flood must not have it gone through for each request.
const PAUSE: Duration = Duration::from_millis(50);
/// A map is made smaller when it has room for so many times its keys, and for more than so many.
const ROOMY: usize = 4;
const SMALL: usize = 64;

/// The keys and their states, each the time until which its requests reach.
pub(super) struct Keys<K> {
    parts: Box<[Mutex<Part<K>>]>,
    part_max: usize,
    hasher: RandomState,
    passed: Passed,
}

/// How many requests were let through without being remembered.
#[derive(Clone, Default)]
pub(super) struct Passed(Arc<AtomicU64>);

struct Part<K> {
    states: HashMap<K, Nanos>,
    /// Not to be gone through before a newcomer's state reaches this.
    look_after: Nanos,
}

impl<K: Hash + Eq> Keys<K> {
    /// Room for so many keys, or a little less where they are divided unevenly.
    pub fn new(keys_max: usize, passed: Passed) -> Self {
        let parts = PARTS.min(keys_max.max(1));
        let part = || Mutex::new(Part { states: HashMap::new(), look_after: Nanos::default() });
        Self {
            parts: (0..parts).map(|_| part()).collect(),
            part_max: (keys_max / parts).max(1),
            hasher: RandomState::new(),
            passed,
        }
    }

    fn part(&self, key: &K) -> &Mutex<Part<K>> {
        let at = self.hasher.hash_one(key) % self.parts.len() as u64;
        &self.parts[at as usize]
    }
}

impl Passed {
    /// How many there were since this was asked last.
    pub fn take(&self) -> u64 {
        self.0.swap(0, Ordering::Relaxed)
    }
}

impl<K: Hash + Eq + Clone> StateStore for Keys<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut part = self.part(key).lock();
        if let Some(state) = part.states.get_mut(key) {
            let (answer, next) = decide(Some(*state))?;
            *state = next;
            return Ok(answer);
        }
        let (answer, next) = decide(None)?;
        if part.states.len() >= self.part_max && next >= part.look_after {
            part.look_after = next + Nanos::from(PAUSE);
            // At rest is who would stand as a newcomer does.
            let is_at_rest = |state: Nanos| decide(Some(state)).is_ok_and(|(_, of_known)| of_known == next);
            part.states.retain(|_, state| !is_at_rest(*state));
        }
        if part.states.len() < self.part_max {
            part.states.insert(key.clone(), next);
        } else {
            self.passed.0.fetch_add(1, Ordering::Relaxed);
        }
        Ok(answer)
    }
}

impl<K: Hash + Eq + Clone> ShrinkableKeyedStateStore<K> for Keys<K> {
    fn retain_recent(&self, drop_below: Nanos) {
        for part in &self.parts {
            let states = &mut part.lock().states;
            states.retain(|_, state| *state > drop_below);
            if states.capacity() > SMALL.max(states.len() * ROOMY) {
                states.shrink_to(SMALL.max(states.len() * 2));
            }
        }
    }

    fn len(&self) -> usize {
        self.parts.iter().map(|part| part.lock().states.len()).sum()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
