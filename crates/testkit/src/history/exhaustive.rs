//! Trying every order: the search of Wing and Gong, with Lowe's memory of what was tried.

use std::collections::{HashMap, HashSet};

use stampede_domain::{KeyDigest, OrderId, OrderStatus, UserId};

use super::{Answer, Ask, Model, Operation, SaleRules};

/// The longest history that is searched; the time grows with the number of operations that overlap.
pub const MAX_OPERATIONS: usize = 64;

/// Whether the operations can be put into an order that keeps to their times and makes every answer right.
///
/// # Panics
/// If there are more than [`MAX_OPERATIONS`].
pub fn is_linearizable(rules: &SaleRules, operations: &[Operation]) -> bool {
    assert!(operations.len() <= MAX_OPERATIONS, "too long for a search: {} operations", operations.len());
    let Some(told) = told(operations) else { return false };
    let mut search = Search { rules, operations, told, tried: HashSet::new() };
    search.goes_on(0, &Model::new(rules), &HashSet::new())
}

/// Which order each key stands for, as the answers say; `None` if they contradict each other.
fn told(operations: &[Operation]) -> Option<HashMap<(UserId, KeyDigest), OrderId>> {
    let mut told = HashMap::new();
    for operation in operations {
        if let (Ask::Order { user, key, .. }, Answer::Confirmed { order, .. }) = (&operation.ask, &operation.answer)
            && *told.entry((user.clone(), *key)).or_insert(*order) != *order
        {
            return None;
        }
    }
    let distinct: HashSet<_> = told.values().collect();
    (distinct.len() == told.len()).then_some(told)
}

struct Search<'a> {
    rules: &'a SaleRules,
    operations: &'a [Operation],
    told: HashMap<(UserId, KeyDigest), OrderId>,
    tried: HashSet<(u64, Model, Vec<OrderId>)>,
}

impl Search<'_> {
    /// Whether the operations that are not in `done` can follow. `unclaimed` are orders that a request without an answer
    /// was granted: one answer may yet say that it is the first to tell of them.
    fn goes_on(&mut self, done: u64, model: &Model, unclaimed: &HashSet<OrderId>) -> bool {
        let open = |index: &usize| done & (1 << index) == 0;
        let definite = |operation: &Operation| !matches!(operation.answer, Answer::Unknown);
        // What has returned must come before what is called afterwards. What has no answer may come at any later time,
        // or never.
        let waiting = (0..self.operations.len()).filter(open).map(|index| &self.operations[index]);
        let Some(first_return) = waiting.filter(|operation| definite(operation)).map(|op| op.returned_ns).min() else {
            return true;
        };
        let mut sorted: Vec<OrderId> = unclaimed.iter().copied().collect();
        sorted.sort_unstable();
        if !self.tried.insert((done, model.clone(), sorted)) {
            return false;
        }
        let next: Vec<usize> = (0..self.operations.len())
            .filter(open)
            .filter(|index| self.operations[*index].called_ns <= first_return)
            .collect();
        if next.into_iter().any(|index| self.step(index, done | 1 << index, model, unclaimed)) {
            return true;
        }
        // What is held may be released at any moment.
        let mut released = model.clone();
        released.release();
        model.holds() && self.goes_on(done, &released, unclaimed)
    }

    fn step(&mut self, index: usize, done: u64, model: &Model, unclaimed: &HashSet<OrderId>) -> bool {
        let Operation { ask, answer, .. } = &self.operations[index];
        let fresh = match ask {
            Ask::Order { user, key, .. } => self.told.get(&(user.clone(), *key)).copied(),
            _ => None,
        };
        let (mut after, mut unclaimed) = (model.clone(), unclaimed.clone());
        let right = match answer {
            Answer::NoEffect => return self.goes_on(done, model, &unclaimed),
            _ => after.apply(self.rules, ask, fresh),
        };
        match (answer, &right) {
            (Answer::Unknown, Some(Answer::Confirmed { order, replayed: false, .. })) => {
                unclaimed.insert(*order);
            }
            (Answer::Unknown, _) => {}
            // The first answer about an order that a request without an answer was granted.
            (
                Answer::Confirmed { order, replayed: false, status: OrderStatus::Confirmed },
                Some(Answer::Confirmed { order: found, replayed: true, status: OrderStatus::Confirmed }),
            ) => {
                if order != found || (!unclaimed.remove(order) && self.rules.new_once) {
                    return false;
                }
            }
            (told, right) => {
                if Some(told) != right.as_ref() {
                    return false;
                }
            }
        }
        self.goes_on(done, &after, &unclaimed)
    }
}
