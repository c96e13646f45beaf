//! The scripts in `lua/`, as the build found them.

use std::sync::OnceLock;

use crate::metrics::Operation;

include!(concat!(env!("OUT_DIR"), "/registry.rs"));

/// A Lua script: one atomic step.
#[derive(Debug)]
pub struct Script {
    /// Its path below `lua/`, without the ending.
    pub name: &'static str,
    /// Its text, includes resolved.
    pub source: &'static str,
    /// How many keys it always takes.
    pub fixed_keys: usize,
    /// How many more it takes for each drop.
    pub keys_per_drop: usize,
    /// The codes that it may return.
    pub returns: &'static [&'static str],
    /// The kinds of entries that it may append to the log.
    pub logs: &'static [&'static str],
    sha1: OnceLock<String>,
    pub(crate) operation: Operation,
}

impl Script {
    /// Whether the script's header allows this many keys.
    pub fn takes(&self, keys: usize) -> bool {
        match self.keys_per_drop {
            0 => keys == self.fixed_keys,
            each => keys >= self.fixed_keys && (keys - self.fixed_keys).is_multiple_of(each),
        }
    }

    /// The hash by which Redis knows it.
    pub fn sha1(&self) -> &str {
        self.sha1.get_or_init(|| fred::util::sha1_hash(self.source))
    }
}
