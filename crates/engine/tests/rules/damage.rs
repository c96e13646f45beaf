//! What a script finds damaged it leaves as it is.

use std::collections::BTreeSet;
use std::time::Duration;

use stampede_engine::{Decision, EngineError, SCRIPTS};

use crate::cases::{CASES, Case, Key, Stage};
use crate::support::{Alone, Harness, Image, request};

/// Commands that write. A script without one needs no case.
const WRITES: &[&str] = &[
    "DEL",
    "HDEL",
    "HINCRBY",
    "HSET",
    "SADD",
    "SREM",
    "UNLINK",
    "XACK",
    "XADD",
    "XCLAIM",
    "XDEL",
    "XGROUP",
    "XREADGROUP",
    "XSETID",
    "XTRIM",
    "ZADD",
    "ZREM",
];

pub async fn every_script_that_writes_is_tried(Alone(h): Alone) {
    let writes = |source: &str| WRITES.iter().any(|command| source.contains(&format!("redis.call('{command}")));
    let writing: BTreeSet<&str> =
        SCRIPTS.iter().filter(|script| writes(script.source)).map(|script| script.name).collect();
    assert_eq!(CASES.iter().map(|case| case.script).collect::<BTreeSet<_>>(), writing);
    // Each of them changes something on the stage, so that "nothing changed" says something.
    each_case(
        h,
        |_| true,
        async |stage, case, before| {
            (case.run)(stage).await.unwrap_or_else(|error| panic!("{}: {error}", case.script));
            let client = stage.h.probe().client().await;
            assert_ne!(stage.h.probe().image(&client).await, before, "{} changed nothing", case.script);
        },
    )
    .await;
}

pub async fn a_key_of_a_wrong_type_changes_nothing(Alone(h): Alone) {
    damaged(
        h,
        |case, _| case.keys,
        |stage, key| {
            stage.h.redis().cli(&["SET", &stage.name(key), "x"]);
        },
    )
    .await;
}

pub async fn a_missing_key_is_loss(Alone(h): Alone) {
    // What a drop that is opened does not have yet is not missing.
    let lost = |case: &'static Case, keys: &'static [Key]| match case.script {
        "sale/open" => &keys[..5],
        "recovery/apply" => &keys[..6],
        // A shard whose meta is gone is set up anew.
        "recovery/begin" => &keys[..0],
        _ => keys,
    };
    damaged(h, lost, |stage, key| {
        assert_eq!(stage.h.redis().cli(&["DEL", &stage.name(key)]), "1");
    })
    .await;
}

/// Runs each case with each of its keys damaged in turn.
async fn damaged(
    h: Harness,
    keys: impl Fn(&'static Case, &'static [Key]) -> &'static [Key],
    damage: impl Fn(&Stage, Key),
) {
    let script = |name| SCRIPTS.iter().find(|script| script.name == name).expect("a script");
    each_case(
        h,
        |_| true,
        async |stage, case, before| {
            let (probe, all) = (stage.h.probe(), case.keys.len());
            assert!(case.script.starts_with("recovery/") || script(case.script).takes(all), "{}", case.script);
            let client = probe.client().await;
            for key in keys(case, case.keys) {
                let what = format!("{} with a damaged {key:?}", case.script);
                damage(stage, *key);
                let damaged = probe.image(&client).await;
                match (case.run)(stage).await {
                    Ok(()) => panic!("{what} went well"),
                    Err(error) if damaged.contains_key(&stage.name(*key)) => {
                        assert!(!matches!(error, EngineError::OutcomeUnknown), "{what}: {error}");
                    }
                    Err(error) if case.script.starts_with("recovery/") => drop(error),
                    Err(error) => assert_eq!(error, EngineError::ShardRecovering, "{what}"),
                }
                assert!(probe.image(&client).await == damaged, "{what} changed something");
                probe.restore(&client, &before).await;
            }
        },
    )
    .await;
}

pub async fn a_foreign_token_fences_every_script(Alone(h): Alone) {
    each_case(
        h,
        |case| !case.script.starts_with("recovery/"),
        async |stage, case, _| {
            stage.h.set_meta("token", "0123456789abcdef");
            assert_eq!(unchanged(stage, case).await, EngineError::ShardRecovering, "{}", case.script);
        },
    )
    .await;
}

pub async fn an_older_recovery_is_superseded(Alone(h): Alone) {
    each_case(
        h,
        |case| case.script.starts_with("recovery/"),
        async |stage, case, _| {
            let guard = stage.guard.clone();
            stage.guard.token = "0123456789abcdef".to_owned();
            assert_eq!(unchanged(stage, case).await, EngineError::Superseded, "{}: another process", case.script);
            stage.guard = guard;
            stage.h.set_meta("recovering", 3);
            assert_eq!(unchanged(stage, case).await, EngineError::Superseded, "{}: an older one", case.script);
            stage.h.set_meta("recovering", 2);
            if ["recovery/align", "recovery/adopt", "recovery/apply"].contains(&case.script) {
                stage.h.set_meta("number", stage.last.0 + 1);
                assert_eq!(unchanged(stage, case).await, EngineError::Superseded, "{}: from elsewhere", case.script);
            }
        },
    )
    .await;
}

/// The error of a case that must leave everything as it is.
async fn unchanged(stage: &Stage, case: &Case) -> EngineError {
    let probe = stage.h.probe();
    let client = probe.client().await;
    let before = probe.image(&client).await;
    let error = (case.run)(stage).await.expect_err("it is refused");
    assert!(probe.image(&client).await == before, "{} changed something", case.script);
    error
}

/// Runs cases one after another, each from the same stage.
async fn each_case(h: Harness, chosen: impl Fn(&Case) -> bool, run: impl AsyncFn(&mut Stage, &'static Case, Image)) {
    let mut stage = Stage::set(h).await;
    let client = stage.h.probe().client().await;
    let set = stage.h.probe().image(&client).await;
    for case in CASES.iter().filter(|case| chosen(case)) {
        if case.recovers() {
            stage.h.engine.begin_recovery(&stage.guard).await.expect("begun");
        }
        let before = stage.h.probe().image(&client).await;
        run(&mut stage, case, before).await;
        stage.h.probe().restore(&client, &set).await;
    }
}

pub async fn damage_to_one_drop_leaves_the_others_of_its_group(Alone(h): Alone) {
    let (sound, damaged) = (h.open("sound", 5, 5).await, h.open("damaged", 5, 5).await);
    h.redis().cli(&["SET", &stampede_engine::Keys::users(h.shard, &damaged.id), "x"]);
    let orders = ["a", "b"].map(|user| [request(&sound, user, "k", 1), request(&damaged, user, "k", 1)]);
    let decisions = h.in_one_group(orders.into_iter().flatten().collect()).await;
    for pair in decisions.chunks(2) {
        assert!(matches!(pair[0], Ok(Decision::Granted(_))), "{pair:?}");
        assert!(matches!(pair[1], Err(EngineError::Unavailable(_))), "{pair:?}");
    }
    assert_eq!(h.grants().await, 2);
    // A call that finds nothing but damage does not hold up the next.
    let late = h.engine.place_order(request(&sound, "c", "k", 1), Duration::ZERO).await;
    assert!(matches!(late, Ok(Decision::Granted(_))));
}
