//! What no archive can hold, found out before anything is sent.

use stampede_domain::{Fact, FactBody, MAX_GROUP_ORDERS};

/// Why `fact` can never be stored, if so: its numbers do not fit its id or a database's integers.
///
/// It is asked of each fact before a batch is written, so that one impossible fact cannot fail the others with it.
pub(crate) fn rejection(fact: &Fact) -> Option<&'static str> {
    let position = fact.position;
    if position.log_id.ms >> 48 != 0 {
        return Some("its log id has more than 48 bits of milliseconds");
    }
    if i64::try_from(fact.number).is_err() {
        return Some("its entry's number is beyond 2^63");
    }
    if matches!(fact.body, FactBody::Granted(_)) && usize::from(position.index) >= MAX_GROUP_ORDERS {
        return Some("its index does not fit an order's id");
    }
    None
}
