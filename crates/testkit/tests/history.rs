//! The history checkers: what they refuse, what they accept, and that both say the same.

use std::cell::Cell;
use std::collections::HashSet;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use stampede_domain::{
    CancelledBy, DropState, IdempotencyKey, KeyDigest, LogId, OrderId, OrderStatus, Position, Shard, UserDigest, UserId,
};
use stampede_testkit::history::{
    Answer, Ask, Event, Model, Operation, SaleRules, Verdict, Violation, check, is_linearizable,
};

const RULES: SaleRules = SaleRules {
    units: 3,
    limit_per_user: 2,
    cancellable: true,
    cancellations_per_user: 1,
    new_once: true,
    holds: false,
    filter_age_ns: 0,
};

fn user(name: &str) -> UserId {
    name.parse().expect("a user id")
}

fn key(user_id: &UserId, name: &str) -> KeyDigest {
    let key: IdempotencyKey = name.parse().expect("a key");
    KeyDigest::of(UserDigest::of(user_id), &key)
}

fn id(number: u64) -> OrderId {
    let position = Position { log_id: LogId { ms: number, sequence: 0 }, index: 0 };
    OrderId::new(Shard::new(0).expect("in range"), position, 0)
}

fn order(name: &str, key_name: &str, units: u64) -> Ask {
    let user = user(name);
    Ask::Order { key: key(&user, key_name), user, units }
}

fn granted(number: u64, name: &str, key_name: &str, units: u64) -> Event {
    let user = user(name);
    Event::Granted { order: id(number), key: key(&user, key_name), user, units }
}

fn new(number: u64) -> Answer {
    Answer::Confirmed { order: id(number), replayed: false, status: OrderStatus::Confirmed }
}

fn replay(number: u64) -> Answer {
    Answer::Confirmed { order: id(number), replayed: true, status: OrderStatus::Confirmed }
}

fn cancel(number: u64) -> Ask {
    Ask::Cancel { order: id(number), by: CancelledBy::Shopper }
}

fn cancelled(number: u64) -> Event {
    Event::Cancelled { order: id(number), by: CancelledBy::Shopper }
}

const GONE: Answer = Answer::Stands { status: OrderStatus::Cancelled };
const STANDS: Answer = Answer::Stands { status: OrderStatus::Confirmed };

fn operations(list: &[(u64, u64, Ask, Answer)]) -> Vec<Operation> {
    let operation = |(called_ns, returned_ns, ask, answer): &(u64, u64, Ask, Answer)| Operation {
        called_ns: *called_ns,
        returned_ns: *returned_ns,
        ask: ask.clone(),
        answer: answer.clone(),
    };
    list.iter().map(operation).collect()
}

/// Both checkers must accept, or both refuse.
#[track_caller]
fn both(events: &[Event], list: &[(u64, u64, Ask, Answer)], right: bool) -> Verdict {
    let operations = operations(list);
    let verdict = check(&RULES, events, &operations);
    assert_eq!(verdict.is_right(), right, "{:#?}", verdict.violations);
    assert_eq!(is_linearizable(&RULES, &operations), right);
    verdict
}

#[test]
fn a_sale_that_went_well_is_right() {
    let events = [granted(1, "a", "k", 2), granted(2, "b", "k", 1), cancelled(1), granted(3, "b", "l", 1)];
    let list = [
        (1, 2, order("a", "k", 2), new(1)),
        (3, 6, order("b", "k", 1), Answer::Unknown),
        (4, 5, order("a", "l", 1), Answer::LimitReached { owned: 2 }),
        (7, 8, order("c", "k", 1), Answer::SoldOut),
        (9, 10, order("b", "k", 1), replay(2)),
        (11, 12, cancel(1), GONE),
        (13, 14, order("a", "k", 1), Answer::KeyReused),
        (15, 16, order("b", "l", 1), new(3)),
        (15, 17, Ask::Read { order: id(1) }, GONE),
    ];
    let verdict = both(&events, &list, true);
    assert_eq!((verdict.confirmed, verdict.cancelled), (3, 1));
}

#[test]
fn an_answer_is_right_at_a_moment_within_its_time_only() {
    let events = [granted(1, "a", "k", 2), granted(2, "b", "k", 1)];
    let sold_out = |called, returned| {
        [
            (1, 2, order("a", "k", 2), new(1)),
            (4, 5, order("b", "k", 1), new(2)),
            (called, returned, order("c", "k", 1), Answer::SoldOut),
        ]
    };
    both(&events, &sold_out(5, 6), true);
    both(&events, &sold_out(2, 4), true);
    let verdict = both(&events, &sold_out(2, 3), false);
    assert!(matches!(verdict.violations[..], [Violation::Untrue { after_changes: 0, at_most_changes: 1, .. }]));
}

#[test]
fn answers_that_follow_each_other_do_not_go_back() {
    let events = [granted(1, "a", "k", 2), granted(2, "b", "k", 1)];
    let list = |second: Answer| {
        [
            (1, 9, order("a", "k", 2), new(1)),
            (1, 9, order("b", "k", 1), new(2)),
            (2, 3, order("c", "k", 1), Answer::SoldOut),
            (4, 5, order("d", "k", 2), second),
        ]
    };
    both(&events, &list(Answer::SoldOut), true);
    both(&events, &list(Answer::Insufficient { available: 1 }), false);
}

#[test]
fn an_order_that_was_told_and_is_gone_is_lost() {
    let verdict = both(&[], &[(1, 2, order("a", "k", 1), new(1)), (3, 4, cancel(1), Answer::NotFound)], false);
    assert_eq!(verdict.lost(), 1);
    let other = [granted(1, "b", "k", 1)];
    assert_eq!(check(&RULES, &other, &operations(&[(1, 2, order("a", "k", 1), new(1))])).lost(), 1, "another's");
}

#[test]
fn two_orders_under_one_key_are_doubled() {
    let events = [granted(1, "a", "k", 1), granted(2, "a", "k", 1)];
    let verdict = both(&events, &[(1, 2, order("a", "k", 1), new(1)), (3, 4, order("a", "k", 1), new(2))], false);
    assert_eq!(verdict.doubled(), 1);
}

#[test]
fn units_that_do_not_exist_are_oversold() {
    let events = [granted(1, "a", "k", 2), granted(2, "b", "k", 2)];
    let verdict = both(&events, &[(1, 2, order("a", "k", 2), new(1)), (3, 4, order("b", "k", 2), new(2))], false);
    assert_eq!(verdict.oversold(), 1);
    let events = [granted(1, "a", "k", 2), granted(2, "a", "l", 1)];
    let verdict = both(&events, &[(1, 2, order("a", "k", 2), new(1)), (3, 4, order("a", "l", 1), new(2))], false);
    assert_eq!(verdict.oversold(), 1, "beyond the limit");
}

#[test]
fn a_refused_order_is_not_granted_behind_its_senders_back() {
    let late = [granted(1, "a", "k", 1)];
    let refused = [(1, 2, order("a", "k", 1), Answer::NoEffect)];
    let verdict = check(&RULES, &late, &operations(&refused));
    assert!(matches!(verdict.violations[..], [Violation::Unasked { change: 1, .. }]));
    let unknown = [(1, 2, order("a", "k", 1), Answer::Unknown)];
    assert!(check(&RULES, &late, &operations(&unknown)).is_right(), "it may have happened");
    both(&[], &[(1, 2, order("a", "k", 1), Answer::NoEffect), (3, 4, order("a", "k", 1), replay(1))], false);
}

#[test]
fn an_order_is_told_as_new_once() {
    let events = [granted(1, "a", "k", 1)];
    let list = |first| [(1, 2, order("a", "k", 1), first), (3, 4, order("a", "k", 1), new(1))];
    both(&events, &list(new(1)), false);
    both(&events, &list(Answer::Unknown), true);
    let lenient = SaleRules { new_once: false, ..RULES };
    assert!(check(&lenient, &events, &operations(&list(new(1)))).is_right());
    assert!(is_linearizable(&lenient, &operations(&list(new(1)))));
}

#[test]
fn an_order_stays_until_it_is_cancelled_and_no_longer() {
    let events = [granted(1, "a", "k", 1), cancelled(1)];
    let list = |called, returned, answer| {
        [
            (1, 2, order("a", "k", 1), new(1)),
            (5, 6, cancel(1), GONE),
            (called, returned, Ask::Read { order: id(1) }, answer),
        ]
    };
    both(&events, &list(3, 4, STANDS), true);
    both(&events, &list(3, 4, GONE), false);
    both(&events, &list(7, 8, GONE), true);
    both(&events, &list(7, 8, STANDS), false);
    both(&events, &list(3, 4, Answer::NotFound), false);
}

#[test]
fn a_shopper_cancels_as_often_as_the_drop_allows() {
    let events = [granted(1, "a", "k", 1), cancelled(1), granted(2, "a", "l", 1), cancelled(2)];
    let list = |last: Answer| {
        [
            (1, 2, order("a", "k", 1), new(1)),
            (3, 4, cancel(1), GONE),
            (5, 6, order("a", "l", 1), new(2)),
            (7, 8, cancel(2), last),
        ]
    };
    both(&events, &list(GONE), false);
    both(&events[..3], &list(Answer::CancellationClosed), true);
}

#[test]
fn restocks_and_pauses_are_part_of_the_sale() {
    let restock = Ask::Restock { key: KeyDigest([1; 8]), units: 2 };
    let events = [
        granted(1, "a", "k", 2),
        Event::Turned { to: DropState::Paused },
        Event::Restocked { key: KeyDigest([1; 8]), units: 2 },
        Event::Turned { to: DropState::Open },
        granted(2, "b", "k", 2),
        Event::Turned { to: DropState::Ended },
    ];
    let list = |paused| {
        [
            (1, 2, order("a", "k", 2), new(1)),
            (3, 4, Ask::Pause, Answer::Done),
            (5, 6, order("b", "k", 2), paused),
            (7, 8, restock.clone(), Answer::Done),
            (9, 10, restock.clone(), Answer::Done),
            (11, 12, Ask::Resume, Answer::Done),
            (13, 14, order("b", "k", 2), new(2)),
            (15, 16, Ask::Close, Answer::Done),
            (17, 18, Ask::Restock { key: KeyDigest([2; 8]), units: 1 }, Answer::InvalidTransition),
            (17, 18, Ask::Resume, Answer::InvalidTransition),
        ]
    };
    both(&events, &list(Answer::NotActive { state: DropState::Paused }), true);
    both(&events, &list(Answer::Insufficient { available: 1 }), false);
}

#[test]
fn units_that_come_back_are_nobodys_until_they_are_released() {
    let rules = SaleRules { holds: true, ..RULES };
    let events =
        [granted(1, "a", "k", 2), granted(2, "b", "k", 1), cancelled(1), Event::Released, granted(3, "c", "k", 2)];
    let list = |answer: Answer| {
        operations(&[
            (1, 2, order("a", "k", 2), new(1)),
            (3, 4, order("b", "k", 1), new(2)),
            (5, 6, cancel(1), GONE),
            (7, 8, order("d", "k", 2), answer),
            (9, 10, order("c", "k", 2), new(3)),
        ])
    };
    let (held, short) = (list(Answer::SoldOut), list(Answer::Insufficient { available: 1 }));
    assert!(check(&rules, &events, &held).is_right() && is_linearizable(&rules, &held));
    assert!(!check(&rules, &events, &short).is_right() && !is_linearizable(&rules, &short));
    assert!(!check(&RULES, &events, &held).is_right() && !is_linearizable(&RULES, &held), "where nothing is held");
}

#[test]
fn a_process_may_not_know_at_once_that_a_sold_out_drop_was_stopped() {
    let rules = SaleRules { filter_age_ns: 10, ..RULES };
    let events = [granted(1, "a", "k", 2), granted(2, "b", "k", 1), Event::Turned { to: DropState::Paused }];
    let list = |called, answer: Answer| {
        operations(&[
            (1, 2, order("a", "k", 2), new(1)),
            (3, 4, order("b", "k", 1), new(2)),
            (5, 6, Ask::Pause, Answer::Done),
            (7, 8, order("d", "k", 1), Answer::NotActive { state: DropState::Paused }),
            (called, called + 1, order("c", "k", 1), answer),
        ])
    };
    assert!(check(&rules, &events, &list(16, Answer::SoldOut)).is_right());
    assert!(!check(&rules, &events, &list(17, Answer::SoldOut)).is_right(), "too late");
    assert!(!check(&RULES, &events, &list(16, Answer::SoldOut)).is_right(), "where everybody asks");
    assert!(!check(&rules, &events, &list(16, Answer::Insufficient { available: 1 })).is_right());
    let mut with_units = list(16, Answer::SoldOut);
    with_units.remove(1);
    assert!(!check(&rules, &[events[0].clone(), events[2].clone()], &with_units).is_right(), "a unit is left");
}

#[test]
fn it_is_not_guessed_which_request_paused_a_drop() {
    let turned = |to| Event::Turned { to };
    let (paused, open) = (turned(DropState::Paused), turned(DropState::Open));
    let events = [paused.clone(), open.clone(), paused, open];
    let list = [
        (1, 2, Ask::Pause, Answer::Unknown),
        (3, 4, Ask::Pause, Answer::Unknown),
        (5, 6, Ask::Pause, Answer::Done),
        (7, 8, Ask::Resume, Answer::Unknown),
        (9, 10, Ask::Resume, Answer::Done),
        (11, 12, Ask::Pause, Answer::Done),
        (13, 14, order("a", "k", 1), Answer::NotActive { state: DropState::Paused }),
        (15, 16, Ask::Resume, Answer::Done),
    ];
    both(&events, &list, true);
    // The first request comes late, after its repetition.
    let late = [
        (1, 2, Ask::Pause, Answer::Unknown),
        (3, 4, Ask::Pause, Answer::Done),
        (5, 6, Ask::Resume, Answer::Done),
        (7, 8, order("a", "k", 1), Answer::NotActive { state: DropState::Paused }),
    ];
    both(&events[..3], &late, true);
    both(&events[..3], &late[1..], false);
}

/// One operation to be, as drawn: who asks what, how long around its moment, and what becomes of the answer.
#[derive(Clone, Debug)]
struct Draft {
    what: u8,
    user: u8,
    key: u8,
    units: u64,
    before: u64,
    after: u64,
    fate: u8,
}

fn draft() -> impl Strategy<Value = Draft> {
    (0u8..12, 0u8..2, 0u8..2, 1u64..3, 0u64..25, 0u64..25, 0u8..10)
        .prop_map(|(what, user, key, units, before, after, fate)| Draft { what, user, key, units, before, after, fate })
}

/// What is changed in a history that is right.
#[derive(Clone, Debug)]
enum Lie {
    None,
    Answer(prop::sample::Index, u8, u64),
    Later(prop::sample::Index, u64),
}

fn lie() -> impl Strategy<Value = Lie> {
    prop_oneof![
        Just(Lie::None),
        (any::<prop::sample::Index>(), 0u8..10, 0u64..4).prop_map(|(at, which, number)| Lie::Answer(at, which, number)),
        (any::<prop::sample::Index>(), 20u64..60).prop_map(|(at, later)| Lie::Later(at, later)),
    ]
}

fn rules() -> impl Strategy<Value = SaleRules> {
    (0u64..4, 1u64..4, any::<bool>(), 0u64..2, any::<bool>(), prop::bool::weighted(0.3)).prop_map(
        |(units, limit_per_user, cancellable, cancellations_per_user, new_once, holds)| SaleRules {
            units,
            limit_per_user,
            cancellable,
            cancellations_per_user,
            new_once,
            holds,
            filter_age_ns: 0,
        },
    )
}

impl Draft {
    fn number(&self) -> u64 {
        u64::from(self.user) * 2 + u64::from(self.key) + 1
    }

    fn ask(&self, turned: &mut HashSet<u8>) -> Ask {
        let (user, key_name) = (["a", "b"][usize::from(self.user)], ["k", "l"][usize::from(self.key)]);
        match self.what {
            6 => cancel(self.number()),
            7 => Ask::Cancel { order: id(self.number()), by: CancelledBy::Operator },
            8 => Ask::Read { order: id(self.number()) },
            9 => Ask::Restock { key: KeyDigest([self.key; 8]), units: self.units },
            // At most one of each: which of several made a change is not looked into.
            10 if turned.insert(self.user) => [Ask::Pause, Ask::Resume][usize::from(self.user)].clone(),
            11 if turned.insert(2) => Ask::Close,
            _ => order(user, key_name, self.units),
        }
    }
}

/// Lets the drafts happen one after another, each at its moment, and records them; then lies.
fn perform(rules: &SaleRules, drafts: &[Draft], lie: &Lie) -> Vec<Operation> {
    let (mut model, mut turned) = (Model::new(rules), HashSet::new());
    let mut operations: Vec<Operation> = Vec::new();
    for (draft, moment) in drafts.iter().zip((100..).step_by(10)) {
        let ask = draft.ask(&mut turned);
        if draft.before % 2 == 0 {
            model.release();
        }
        let answer = match draft.fate {
            0 => Answer::NoEffect,
            1 => Answer::Unknown,
            fate => {
                let right = model.apply(rules, &ask, Some(id(draft.number())));
                if fate == 2 { Answer::Unknown } else { right.expect("every order has its id") }
            }
        };
        operations.push(Operation { called_ns: moment - draft.before, returned_ns: moment + draft.after, ask, answer });
    }
    match lie {
        Lie::None => {}
        Lie::Answer(at, which, number) => {
            let operation = at.get_mut(&mut operations);
            operation.answer = other_answer(*which, *number);
        }
        Lie::Later(at, later) => {
            let operation = at.get_mut(&mut operations);
            operation.called_ns += later;
            operation.returned_ns += later;
        }
    }
    // Nobody asks for an order of which nobody was told.
    let told: HashSet<OrderId> = operations
        .iter()
        .filter_map(|operation| match operation.answer {
            Answer::Confirmed { order, .. } => Some(order),
            _ => None,
        })
        .collect();
    operations.retain(|operation| match &operation.ask {
        Ask::Cancel { order, .. } | Ask::Read { order } => told.contains(order),
        _ => true,
    });
    operations
}

fn other_answer(which: u8, number: u64) -> Answer {
    match which {
        0 => new(number + 1),
        1 => replay(number + 1),
        2 => Answer::Confirmed { order: id(number + 1), replayed: true, status: OrderStatus::Cancelled },
        3 => Answer::SoldOut,
        4 => Answer::LimitReached { owned: number },
        5 => Answer::Insufficient { available: number },
        6 => GONE,
        7 => STANDS,
        8 => Answer::NotActive { state: [DropState::Paused, DropState::Ended][number as usize % 2] },
        _ => Answer::Unknown,
    }
}

/// Every change that may have happened, according to what was asked and answered.
fn possible_events(rules: &SaleRules, operations: &[Operation]) -> Vec<Event> {
    let mut events = Vec::new();
    let told = |ask: &Ask| {
        let Ask::Order { user, key, .. } = ask else { return None };
        operations.iter().find_map(|operation| match (&operation.ask, &operation.answer) {
            (Ask::Order { user: other, key: others, .. }, Answer::Confirmed { order, .. }) => {
                (user == other && key == others).then_some(*order)
            }
            _ => None,
        })
    };
    for (operation, nobody_was_told) in operations.iter().zip((100..).map(id)) {
        let done = matches!(operation.answer, Answer::Unknown | Answer::Done);
        let event = match (&operation.ask, &operation.answer) {
            (Ask::Order { user, key, units }, Answer::Unknown | Answer::Confirmed { .. }) => {
                let order = told(&operation.ask).unwrap_or(nobody_was_told);
                Event::Granted { order, user: user.clone(), key: *key, units: *units }
            }
            (Ask::Cancel { order, by }, Answer::Unknown | Answer::Stands { .. }) => {
                Event::Cancelled { order: *order, by: *by }
            }
            (Ask::Restock { key, units }, _) if done => Event::Restocked { key: *key, units: *units },
            (Ask::Pause, _) if done => Event::Turned { to: DropState::Paused },
            (Ask::Resume, _) if done => Event::Turned { to: DropState::Open },
            (Ask::Close, _) if done => Event::Turned { to: DropState::Ended },
            _ => continue,
        };
        if !events.contains(&event) {
            events.push(event);
        }
    }
    if rules.holds {
        let back = |event: &&Event| matches!(event, Event::Cancelled { .. } | Event::Restocked { .. });
        let times = events.iter().filter(back).count();
        events.extend(std::iter::repeat_n(Event::Released, times));
    }
    events
}

/// Whether some order of some of the events is one with which the history is right.
fn has_witness(rules: &SaleRules, operations: &[Operation], chosen: &mut Vec<Event>, rest: &[Event]) -> bool {
    if check(rules, chosen, operations).is_right() {
        return true;
    }
    // What is not allowed stays so, whatever follows.
    let hopeless = |violation: &Violation| {
        matches!(violation, Violation::NotAllowed { .. } | Violation::Oversold { .. } | Violation::Doubled { .. })
    };
    if check(rules, chosen, &[]).violations.iter().any(hopeless) {
        return false;
    }
    (0..rest.len()).any(|at| {
        let mut left = rest.to_vec();
        chosen.push(left.remove(at));
        let found = has_witness(rules, operations, chosen, &left);
        chosen.pop();
        found
    })
}

#[test]
fn both_checkers_say_the_same_of_random_histories() {
    const CASES: u32 = 5_000;
    const MOST_EVENTS: usize = 6;
    let (right, wrong) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config {
        cases: CASES,
        failure_persistence: None,
        max_global_rejects: CASES,
        ..Config::default()
    });
    let histories = (rules(), prop::collection::vec(draft(), 1..9), lie());
    let ran = runner.run(&histories, |(rules, drafts, lie)| {
        let operations = perform(&rules, &drafts, &lie);
        let events = possible_events(&rules, &operations);
        prop_assume!(events.len() <= MOST_EVENTS);
        let expected = is_linearizable(&rules, &operations);
        let count = if expected { &right } else { &wrong };
        count.set(count.get() + 1);
        prop_assert_eq!(has_witness(&rules, &operations, &mut Vec::new(), &events), expected, "{:#?}", operations);
        Ok(())
    });
    ran.unwrap_or_else(|error| panic!("{error}"));
    assert!(right.get() > CASES / 10 && wrong.get() > CASES / 10, "{} right, {} wrong", right.get(), wrong.get());
}
