//! What the scripts say of themselves is what they do. That their callers know the same codes is a test of `src/call.rs`,
//! and debug builds count the keys of every call.

use std::collections::BTreeSet;

use stampede_domain::{
    CancelledBy, ClosedBy, Compensation, DropDefinition, DropState, FactBody, FactId, Fingerprint, Grant, KeyDigest,
    OrderId, Position, Shard, Tombstone, Withdrawal,
};
use stampede_engine::{SCRIPTS, Script};

mod support;

/// Where a table of words may begin: a reply, or a list of a drop's fields or a user's.
const REPLIES: &[&str] = &["return ", "local reply = ", "local decided = "];
const FIELDS: &[&str] = &["touch_drop(", "change_drop(", "asked[d] = "];

/// The script on one line.
fn flat(script: &Script) -> String {
    script.source.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Each place where `before` is followed by a quoted word: what stands before it, and the word.
fn quoted<'a>(source: &'a str, before: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    source.match_indices(before).filter_map(move |(at, _)| {
        let word = source[at + before.len()..].split('\'').next()?;
        Some((&source[..at], word))
    })
}

fn last_of(text: &str, marks: &[&str]) -> Option<usize> {
    marks.iter().filter_map(|mark| text.rfind(mark)).max()
}

#[test]
fn a_script_returns_the_codes_of_its_header() {
    for script in SCRIPTS {
        let source = flat(script);
        let replies = quoted(&source, "{'").filter(|(before, _)| last_of(before, REPLIES) > last_of(before, FIELDS));
        let drops = quoted(&source, "drop_reply('");
        let codes: BTreeSet<&str> = replies.chain(drops).map(|(_, word)| word).collect();
        assert_eq!(codes, script.returns.iter().copied().collect(), "{}", script.name);
        let listed = script.returns.len();
        assert_eq!(codes.len(), listed, "{} lists a code twice", script.name);
    }
}

/// What a settled script decides counts only under the token that it trusted, so that comes first.
#[test]
fn a_decision_names_its_token() {
    const REFUSALS: [&str; 2] = ["shard-recovering", "past-deadline"];
    let mut decisions = 0;
    for script in SCRIPTS.iter().filter(|script| script.source.contains("local function enter(")) {
        let source = flat(script);
        for code in script.returns.iter().filter(|code| !REFUSALS.contains(code)) {
            let written = |start: &str, end: &str| source.matches(&format!("{start}'{code}'{end}")).count();
            let (all, named) = (written("{", ""), written("{", ", shard.token"));
            // `drop_reply` names it for every code that it is given.
            let by_reply = written("drop_reply(", ", shard");
            assert_eq!(all, named, "{} says {code} without a token", script.name);
            assert!(named + by_reply > 0, "{} never says {code}", script.name);
            decisions += 1;
        }
        let replies = !source.contains("drop_reply(") || source.contains("return {code, shard.token, ");
        assert!(replies, "{}", script.name);
    }
    assert!(decisions > 20, "{decisions} decisions were looked at");
}

#[test]
fn a_script_logs_the_kinds_of_its_header() {
    let mut logged = BTreeSet::new();
    for script in SCRIPTS {
        let source = flat(script);
        let appended = quoted(&source, "append_entry(shard, log_key, '");
        let changed = quoted(&source, "change_drop(shard, log_key, unsettled_key, timers_key, drop_key, '");
        let kinds: BTreeSet<&str> = appended.chain(changed).map(|(_, word)| word).collect();
        assert_eq!(kinds, script.logs.iter().copied().collect(), "{}", script.name);
        // Nothing else writes to the log.
        let others = source.matches("'XADD', ").count() - source.matches("'XADD', log_key, 'NOMKSTREAM'").count();
        assert_eq!(others, 0, "{}", script.name);
        logged.extend(script.logs.iter().copied());
    }
    let kinds: BTreeSet<&str> = bodies().iter().map(FactBody::kind).collect();
    assert_eq!(logged, kinds, "every kind of entry is a kind of fact, and every kind of fact is logged");
}

#[test]
fn a_script_uses_the_keys_of_its_header() {
    for script in SCRIPTS {
        let source = flat(script);
        let named: BTreeSet<usize> =
            source.split("KEYS[").skip(1).filter_map(|rest| rest.split_once(']')?.0.parse().ok()).collect();
        let all = source.contains("unpack(KEYS)");
        let expected: BTreeSet<usize> = (1..=script.fixed_keys).collect();
        assert!(all || named == expected, "{} names {named:?} of {}", script.name, script.fixed_keys);
        let counts = source.contains("#KEYS") || source.contains("KEYS[2 * i]");
        assert_eq!(counts, script.keys_per_drop > 0, "{}", script.name);
    }
}

#[test]
fn no_two_scripts_are_the_same() {
    let hashes: BTreeSet<&str> = SCRIPTS.iter().map(|script| script.sha1()).collect();
    assert_eq!(hashes.len(), SCRIPTS.len());
}

/// One fact body of each kind; a new kind does not compile until it is here.
fn bodies() -> Vec<FactBody> {
    let drop: DropDefinition = support::definition("demo".parse().expect("a drop id"));
    let user_id = support::user("a");
    let (key, fingerprint) = (KeyDigest::default(), Fingerprint::default());
    let order_id = OrderId::new(Shard::new(0).expect("in range"), Position::default(), 0);
    let withdrawal = Withdrawal { order_id, user_id: user_id.clone(), units: 1, by: CancelledBy::Operator };
    let grant = Grant { sku: drop.sku.clone(), user_id, units: 1, unit_price: drop.price, key, fingerprint };
    let window = drop.window;
    let shard = Shard::new(0).expect("in range");
    let stone = Tombstone {
        state: DropState::Ended,
        window,
        limit_per_user: 1,
        total_units: 1,
        sold_units: 1,
        sent_units: 0,
        received_units: 0,
    };
    let bodies = vec![
        FactBody::Opened { drop: Box::new(drop) },
        FactBody::Activated,
        FactBody::Started,
        FactBody::Amended { window, limit_per_user: 1 },
        FactBody::Paused,
        FactBody::Released,
        FactBody::Resumed,
        FactBody::Restocked { key, units: 1 },
        FactBody::Sent { to: shard, transfer: 1, units: 1 },
        FactBody::Received { from: shard, transfer: 1, units: 1 },
        FactBody::Closed { by: ClosedBy::Clock },
        FactBody::CalledOff,
        FactBody::Granted(grant.clone()),
        FactBody::Cancelled(withdrawal),
        FactBody::Compensated(Compensation { order_id, grant }),
        FactBody::Purged(stone),
        FactBody::Replayed { of: FactId::Order(order_id) },
    ];
    for body in &bodies {
        match body {
            FactBody::Opened { .. } | FactBody::Started | FactBody::Amended { .. } | FactBody::Paused => {}
            FactBody::Resumed | FactBody::Restocked { .. } | FactBody::Closed { .. } | FactBody::CalledOff => {}
            FactBody::Granted(_) | FactBody::Cancelled(_) | FactBody::Compensated(_) | FactBody::Purged(_) => {}
            FactBody::Replayed { .. } | FactBody::Activated | FactBody::Released => {}
            FactBody::Sent { .. } | FactBody::Received { .. } => {}
        }
    }
    bodies
}
