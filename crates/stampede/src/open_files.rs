//! The limit of open files: each connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a process opens beside the connections to its API: stores, logs, metrics.
const OTHERS: u64 = 1_000;

/// Makes room for so many connections, as far as this process may: many systems let a process open a thousand files
/// unless it asks for more.
pub fn make_room(connections: u64) {
    let limit = getrlimit(Resource::Nofile);
    let needed = connections.saturating_add(OTHERS);
    let Some(raised) = raised(limit.current, limit.maximum, needed) else { return };
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limit.maximum }) {
        tracing::warn!(%error, needed, "the limit of open files could not be raised");
    } else if raised < needed {
        tracing::warn!(
            open_files = raised,
            max_connections = connections,
            "this process may open fewer files than it may have connections: raise its limit (ulimit -Hn), or lower \
             max_connections"
        );
    }
}

/// What the limit should become; `None` if it is high enough.
fn raised(current: Option<u64>, maximum: Option<u64>, needed: u64) -> Option<u64> {
    current.filter(|current| *current < needed)?;
    Some(maximum.map_or(needed, |maximum| maximum.min(needed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_raised_as_far_as_it_may_be_and_never_lowered() {
        assert_eq!(raised(Some(1_024), Some(1_048_576), 11_000), Some(11_000));
        assert_eq!(raised(Some(1_024), Some(4_096), 11_000), Some(4_096));
        assert_eq!(raised(Some(1_024), None, 11_000), Some(11_000));
        assert_eq!(raised(Some(20_000), Some(20_000), 11_000), None);
        assert_eq!(raised(None, None, 11_000), None);
    }

    #[test]
    fn this_process_makes_room() {
        let maximum = getrlimit(Resource::Nofile).maximum;
        make_room(100);
        let current = getrlimit(Resource::Nofile).current;
        assert!(current.is_none_or(|current| current >= maximum.map_or(1_100, |maximum| maximum.min(1_100))));
    }
}
