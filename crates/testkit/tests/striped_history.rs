//! The checker of histories on drops whose stock is divided: what it refuses, and that it refuses nothing that is right.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use stampede_domain::{
    CancelledBy, DropState, IdempotencyKey, KeyDigest, LogId, OrderId, OrderStatus, Position, Shard, Stripes,
    UserDigest, UserId,
};
use stampede_testkit::history::{
    Answer, Ask, Event, Operation, SaleRules, StripedSale, Verdict, Violation, check_striped,
};

const STRIPES: usize = 3;
/// Three in each stripe.
const RULES: SaleRules = SaleRules {
    units: 9,
    limit_per_user: 4,
    cancellable: true,
    cancellations_per_user: 9,
    new_once: true,
    holds: false,
    filter_age_ns: 0,
};

fn shard(place: usize) -> Shard {
    Shard::new(u16::try_from(place).expect("few")).expect("in range")
}

fn stripes() -> Stripes {
    Stripes::over((0..STRIPES).map(shard).collect()).expect("distinct")
}

/// The user of this number in a stripe.
fn user(place: usize, number: usize) -> UserId {
    let ids = (0..).map(|n| format!("user-{n}").parse::<UserId>().expect("a user id"));
    let mut of_stripe = ids.filter(|id| stripes().of_user(shard(0), UserDigest::of(id)) == shard(place));
    of_stripe.nth(number).expect("every stripe has users")
}

fn id(place: usize, number: u64) -> OrderId {
    let position = Position { log_id: LogId { ms: number, sequence: 0 }, index: 0 };
    OrderId::new(shard(place), position, 0)
}

fn key(user: &UserId, number: u64) -> KeyDigest {
    let key: IdempotencyKey = format!("key-{number}").parse().expect("a key");
    KeyDigest::of(UserDigest::of(user), &key)
}

fn order(place: usize, number: u64, units: u64) -> Ask {
    let user = user(place, 0);
    Ask::Order { key: key(&user, number), user, units }
}

fn granted(place: usize, number: u64, units: u64) -> Event {
    let user = user(place, 0);
    Event::Granted { order: id(place, number), key: key(&user, number), user, units }
}

fn new(place: usize, number: u64) -> Answer {
    Answer::Confirmed { order: id(place, number), replayed: false, status: OrderStatus::Confirmed }
}

fn sent(to: usize, number: u64, units: u64) -> Event {
    Event::Sent { to: shard(to), number, units }
}

fn received(from: usize, number: u64, units: u64) -> Event {
    Event::Received { from: shard(from), number, units }
}

const fn turned(to: DropState) -> Event {
    Event::Turned { to }
}

/// The sale with these changes of each stripe, behind its activation.
fn sale(changes: [&[Event]; STRIPES]) -> StripedSale {
    let events = changes.map(|changes| [&[Event::Activated], changes].concat());
    StripedSale { stripes: stripes(), home: shard(0), events: events.to_vec() }
}

/// When somebody asked and was answered, what, and how.
type Told = (u64, u64, Ask, Answer);

fn checked(rules: &SaleRules, changes: [&[Event]; STRIPES], list: &[Told]) -> Verdict {
    let operation = |(called_ns, returned_ns, ask, answer): &Told| Operation {
        called_ns: *called_ns,
        returned_ns: *returned_ns,
        ask: ask.clone(),
        answer: answer.clone(),
    };
    let operations: Vec<Operation> = list.iter().map(operation).collect();
    check_striped(rules, &sale(changes), &operations)
}

#[track_caller]
fn assert_right(verdict: &Verdict) {
    assert!(verdict.is_right(), "{:#?}", verdict.violations);
}

#[track_caller]
fn assert_untrue(verdict: &Verdict) {
    assert!(matches!(verdict.violations[..], [Violation::Untrue { .. }]), "{:#?}", verdict.violations);
}

#[track_caller]
fn assert_moved(verdict: &Verdict, from: usize, to: usize) {
    let pair = (shard(from), shard(to));
    let seen = |violation: &Violation| matches!(violation, Violation::Moved { from, to, .. } if (*from, *to) == pair);
    assert!(verdict.violations.iter().any(seen), "{:#?}", verdict.violations);
}

/// Everything but one unit is sold, some of the third stripe's in the second one.
fn selling() -> ([Vec<Event>; STRIPES], Vec<Told>) {
    let changes = [
        vec![granted(0, 1, 3)],
        vec![granted(1, 2, 3), received(2, 1, 2), granted(1, 3, 1)],
        vec![sent(1, 1, 2), granted(2, 4, 1)],
    ];
    let list = vec![
        (1, 2, order(0, 1, 3), new(0, 1)),
        (3, 4, order(1, 2, 3), new(1, 2)),
        (5, 6, order(1, 3, 1), new(1, 3)),
        (7, 8, order(2, 4, 1), new(2, 4)),
    ];
    (changes, list)
}

#[test]
fn sold_out_is_true_when_no_stripe_has_a_unit_and_none_is_on_its_way() {
    let rules = SaleRules { limit_per_user: 9, ..RULES };
    let (changes, mut list) = selling();
    let refs = || [&changes[0][..], &changes[1][..], &changes[2][..]];
    list.push((9, 10, order(0, 9, 2), Answer::Insufficient { available: 1 }));
    assert_right(&checked(&rules, refs(), &list));
    list.pop();
    for refused in [Answer::SoldOut, Answer::Insufficient { available: 2 }] {
        let list = [&list[..], &[(9, 10, order(0, 9, 3), refused)]].concat();
        assert_untrue(&checked(&rules, refs(), &list));
    }
    let last = granted(1, 5, 1);
    let with_last = [&changes[0][..], &[&changes[1][..], &[last]].concat(), &changes[2][..]];
    list.push((9, 10, order(1, 5, 1), new(1, 5)));
    for place in 0..STRIPES {
        let refused = (11, 12, order(place, 9, 1), Answer::SoldOut);
        assert_right(&checked(&rules, with_last, &[&list[..], &[refused]].concat()));
        let before = (7, 8, order(place, 9, 1), Answer::SoldOut);
        assert_untrue(&checked(&rules, with_last, &[&list[..], &[before]].concat()));
    }
}

#[test]
fn what_is_on_its_way_is_not_gone() {
    let rules = SaleRules { limit_per_user: 9, ..RULES };
    let changes: [&[Event]; STRIPES] = [&[granted(0, 1, 3)], &[granted(1, 2, 3)], &[sent(0, 1, 3)]];
    let list = [(1, 2, order(0, 1, 3), new(0, 1)), (3, 4, order(1, 2, 3), new(1, 2))];
    let refused = |answer| [&list[..], &[(5, 6, order(0, 9, 4), answer)]].concat();
    assert_untrue(&checked(&rules, changes, &refused(Answer::SoldOut)));
    assert_right(&checked(&rules, changes, &refused(Answer::Insufficient { available: 3 })));
    let arrived: [&[Event]; STRIPES] = [&[granted(0, 1, 3), received(2, 1, 3)], &[granted(1, 2, 3)], &[sent(0, 1, 3)]];
    assert_untrue(&checked(&rules, arrived, &refused(Answer::SoldOut)));
}

#[test]
fn units_arrive_as_they_left_and_once() {
    let moved = |sent_by_2: &[Event], received_by_0: &[Event]| checked(&RULES, [received_by_0, &[], sent_by_2], &[]);
    assert_right(&moved(&[sent(0, 1, 2), sent(0, 2, 1)], &[received(2, 1, 2)]));
    for (sent_by_2, received_by_0) in [
        (vec![], vec![received(2, 1, 2)]),
        (vec![sent(0, 1, 2)], vec![received(2, 1, 3)]),
        (vec![sent(0, 1, 1)], vec![received(2, 1, 1), received(2, 1, 1)]),
        (vec![sent(0, 1, 1), sent(0, 1, 1)], vec![received(2, 1, 1)]),
        (vec![sent(0, 2, 1)], vec![]),
        (vec![sent(0, 1, 1), sent(0, 2, 1)], vec![received(2, 2, 1)]),
    ] {
        assert_moved(&moved(&sent_by_2, &received_by_0), 2, 0);
    }
    let verdict = checked(&RULES, [&[], &[], &[sent(0, 1, 4)]], &[]);
    assert!(matches!(verdict.violations[..], [Violation::NotAllowed { change: 2, .. }]), "{verdict:?}");
    let opening = StripedSale {
        stripes: stripes(),
        home: shard(0),
        events: vec![vec![Event::Activated], vec![Event::Activated], vec![sent(0, 1, 1)]],
    };
    let verdict = check_striped(&RULES, &opening, &[]);
    assert!(matches!(verdict.violations[..], [Violation::NotAllowed { change: 1, .. }]), "{verdict:?}");
}

#[test]
fn a_stripe_sells_what_it_has() {
    let events = [granted(0, 1, 3), granted(0, 2, 1)];
    let list = [(1, 2, order(0, 1, 3), new(0, 1)), (3, 4, order(0, 2, 1), new(0, 2))];
    let verdict = checked(&RULES, [&events, &[], &[]], &list);
    assert_eq!((verdict.oversold(), verdict.violations.len()), (1, 1), "{verdict:?}");
    let with_more = [events[0].clone(), received(1, 1, 1), events[1].clone()];
    assert_right(&checked(&RULES, [&with_more, &[sent(0, 1, 1)], &[]], &list));
}

#[test]
fn a_user_has_one_stripe() {
    let strange = granted(1, 1, 1);
    let verdict = checked(&RULES, [&[strange], &[], &[]], &[(1, 2, order(1, 1, 1), Answer::Unknown)]);
    let elsewhere = |violation: &Violation| matches!(violation, Violation::NotAllowed { what, .. } if what.contains("another stripe"));
    assert!(verdict.violations.iter().any(elsewhere), "{verdict:?}");
}

#[test]
fn an_order_that_no_stripe_has_is_lost() {
    let verdict = checked(&RULES, [&[], &[], &[]], &[(1, 2, order(1, 1, 1), new(1, 1))]);
    assert_eq!(verdict.lost(), 1, "{verdict:?}");
}

#[test]
fn stripes_follow_the_home_late_and_never_alone() {
    let (paused, open) = (turned(DropState::Paused), turned(DropState::Open));
    let both = [paused.clone(), open.clone()];
    let again = [paused.clone(), open.clone(), paused.clone(), open.clone()];
    let refused = Answer::NotActive { state: DropState::Paused };
    let list = [
        (1, 2, Ask::Pause, Answer::Done),
        (3, 4, order(1, 1, 1), refused.clone()),
        (5, 6, Ask::Resume, Answer::Done),
        (7, 8, order(1, 2, 1), refused.clone()),
    ];
    assert_right(&checked(&RULES, [&both, &both, &[]], &list));
    assert_right(&checked(&RULES, [&both, &again, &[]], &list));
    let verdict = checked(&RULES, [&again, &both, &[]], &list);
    assert!(matches!(verdict.violations[0], Violation::Unasked { change: 4, .. }), "the home only when asked");
    let verdict = checked(&RULES, [&[], &both, &[]], &[]);
    assert!(matches!(verdict.violations[0], Violation::Unasked { change: 2, .. }), "{verdict:?}");
    let early = [(1, 2, order(1, 1, 1), refused), (3, 4, Ask::Pause, Answer::Done)];
    assert_untrue(&checked(&RULES, [&both[..1], &both[..1], &[]], &early));
}

#[test]
fn a_filter_goes_by_the_home() {
    let sold = |place| granted(place, 1, 3);
    let paused_and_open = [sold(0), turned(DropState::Paused), turned(DropState::Open)];
    let still_paused = [sold(1), turned(DropState::Paused)];
    let list = [
        (1, 2, order(0, 1, 3), new(0, 1)),
        (1, 2, order(1, 1, 3), new(1, 1)),
        (1, 2, order(2, 1, 3), new(2, 1)),
        (3, 4, Ask::Pause, Answer::Done),
        (5, 6, order(1, 2, 1), Answer::NotActive { state: DropState::Paused }),
        (7, 8, Ask::Resume, Answer::Done),
        (90, 91, order(1, 9, 1), Answer::SoldOut),
    ];
    let rules = SaleRules { limit_per_user: 9, filter_age_ns: 10, ..RULES };
    assert_right(&checked(&rules, [&paused_and_open, &still_paused, &[sold(2)]], &list));
    let asking = SaleRules { filter_age_ns: 0, ..rules };
    assert_untrue(&checked(&asking, [&paused_and_open, &still_paused, &[sold(2)]], &list));
    let mut unresumed = list.to_vec();
    unresumed.remove(5);
    assert_untrue(&checked(&rules, [&paused_and_open[..2], &still_paused, &[sold(2)]], &unresumed));
}

/// A striped drop that does one thing at a time, and what is recorded of it.
#[derive(Default)]
struct Simulated {
    available: [u64; STRIPES],
    /// Number and units of the last transfer between two stripes, and whether it has arrived.
    transfers: BTreeMap<(usize, usize), (u64, u64, bool)>,
    owned: HashMap<UserId, u64>,
    live: Vec<(usize, usize, u64, u64)>,
    events: [Vec<Event>; STRIPES],
}

/// What happens next, as drawn: what, in which two stripes, how much, and for how long somebody waits.
#[derive(Clone, Debug)]
struct Step {
    what: u8,
    place: usize,
    other: usize,
    user: usize,
    units: u64,
    before: u64,
    after: u64,
    silent: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let drawn = (0u8..10, 0..STRIPES, 1..STRIPES, 0usize..3, 1u64..4, 0u64..40, 0u64..40, prop::bool::weighted(0.1));
    drawn.prop_map(|(what, place, other, user, units, before, after, silent)| Step {
        what,
        place,
        other: (place + other) % STRIPES,
        user,
        units,
        before,
        after,
        silent,
    })
}

impl Simulated {
    fn left(&self) -> u64 {
        let coming = self.transfers.values().filter(|(_, _, arrived)| !arrived).map(|(_, units, _)| units);
        self.available.iter().sum::<u64>() + coming.sum::<u64>()
    }

    /// Does it; returns what was asked and answered, if anybody asked.
    fn go_on(&mut self, number: u64, step: &Step) -> Option<(Ask, Answer)> {
        let Step { place, other, units, .. } = *step;
        match step.what {
            0 | 1 => {
                let last = self.transfers.entry((place, other)).or_insert((0, 0, true));
                if last.2 && self.available[place] >= units {
                    *last = (last.0 + 1, units, false);
                    self.available[place] -= units;
                    self.events[place].push(sent(other, last.0, units));
                } else if !last.2 {
                    last.2 = true;
                    self.available[other] += last.1;
                    self.events[other].push(received(place, last.0, last.1));
                }
                None
            }
            2 if !self.live.is_empty() => {
                let (place, user_number, order, units) = self.live.swap_remove(step.user % self.live.len());
                self.available[place] += units;
                *self.owned.entry(user(place, user_number)).or_default() -= units;
                let order = id(place, order);
                self.events[place].push(Event::Cancelled { order, by: CancelledBy::Operator });
                let ask = Ask::Cancel { order, by: CancelledBy::Operator };
                Some((ask, Answer::Stands { status: OrderStatus::Cancelled }))
            }
            3 if step.user == 0 => {
                let key = KeyDigest(number.to_be_bytes());
                self.available[0] += units;
                self.events[0].push(Event::Restocked { key, units });
                Some((Ask::Restock { key, units }, Answer::Done))
            }
            _ => {
                let buyer = user(place, step.user);
                let key = key(&buyer, number);
                let ask = Ask::Order { user: buyer.clone(), key, units };
                let owned = self.owned.entry(buyer.clone()).or_default();
                if *owned + units > RULES.limit_per_user {
                    return Some((ask, Answer::LimitReached { owned: *owned }));
                }
                if self.available[place] >= units {
                    self.available[place] -= units;
                    *owned += units;
                    self.live.push((place, step.user, number, units));
                    let order = id(place, number);
                    self.events[place].push(Event::Granted { order, user: buyer, key, units });
                    return Some((ask, new(place, number)));
                }
                Some(match self.left() {
                    0 => (ask, Answer::SoldOut),
                    left if left < units => (ask, Answer::Insufficient { available: left }),
                    // It waits for units, and is told that it may come again.
                    _ => (ask, Answer::NoEffect),
                })
            }
        }
    }
}

/// Lets the steps happen, each at its moment. `apart`: nobody's time overlaps another's.
fn simulate(steps: &[Step], apart: bool) -> (StripedSale, Vec<Operation>) {
    let mut simulated = Simulated { available: [3; STRIPES], ..Simulated::default() };
    let mut operations = Vec::new();
    for ((number, step), moment) in (1..).zip(steps).zip((100..).step_by(10)) {
        let Some((ask, answer)) = simulated.go_on(number, step) else { continue };
        let answer = if step.silent && !apart { Answer::Unknown } else { answer };
        let (before, after) = if apart { (1, 1) } else { (step.before, step.after) };
        operations.push(Operation { called_ns: moment - before, returned_ns: moment + after, ask, answer });
    }
    let events = simulated.events.each_ref().map(Vec::as_slice);
    (sale(events), operations)
}

fn runner() -> TestRunner {
    TestRunner::new(Config { cases: 1_500, failure_persistence: None, ..Config::default() })
}

#[test]
fn a_random_sale_that_went_well_is_right() {
    let histories = prop::collection::vec(step(), 1..60);
    let refusals = std::cell::Cell::new(0);
    let ran = runner().run(&histories, |steps| {
        let (sale, operations) = simulate(&steps, false);
        let verdict = check_striped(&RULES, &sale, &operations);
        prop_assert!(verdict.is_right(), "{:#?}", verdict.violations);
        let short = |operation: &&Operation| matches!(operation.answer, Answer::SoldOut | Answer::Insufficient { .. });
        refusals.set(refusals.get() + operations.iter().filter(short).count());
        Ok(())
    });
    ran.unwrap_or_else(|error| panic!("{error}"));
    assert!(refusals.get() > 1_000, "only {} were told that the stock is short", refusals.get());
}

#[test]
fn a_wrong_word_about_the_stock_is_seen() {
    let lies = std::cell::Cell::new(0);
    let histories = (prop::collection::vec(step(), 20..60), any::<prop::sample::Index>(), 0u64..3);
    let ran = runner().run(&histories, |(steps, at, other)| {
        let (sale, mut operations) = simulate(&steps, true);
        let told = |operation: &&mut Operation| {
            matches!(operation.answer, Answer::SoldOut | Answer::Insufficient { .. } | Answer::NoEffect)
        };
        let mut told: Vec<&mut Operation> = operations.iter_mut().filter(told).collect();
        if told.is_empty() {
            return Ok(());
        }
        let operation = at.get_mut(&mut told);
        let lie = if other == 0 { Answer::SoldOut } else { Answer::Insufficient { available: other } };
        let Ask::Order { units, .. } = operation.ask else { return Ok(()) };
        if operation.answer == lie || other >= units {
            return Ok(());
        }
        operation.answer = lie;
        lies.set(lies.get() + 1);
        let verdict = check_striped(&RULES, &sale, &operations);
        prop_assert!(matches!(verdict.violations[..], [Violation::Untrue { .. }]), "{:#?}", verdict.violations);
        Ok(())
    });
    ran.unwrap_or_else(|error| panic!("{error}"));
    assert!(lies.get() > 200, "only {} lies were told", lies.get());
}
