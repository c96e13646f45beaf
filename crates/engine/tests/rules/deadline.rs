//! A call that comes too late decides nothing, and after its settlement never will.

use fred::types::Value;
use stampede_domain::CancelledBy;
use stampede_engine::{Decision, OrderRef, SCRIPTS, Script};

use crate::cases::{CASES, Stage};
use crate::support::{Alone, grant_call, results, run_script};

fn script(name: &str) -> &'static Script {
    SCRIPTS.iter().find(|script| script.name == name).expect("a script")
}

pub async fn a_passed_deadline_decides_nothing(Alone(h): Alone) {
    let stage = Stage::set(h).await;
    let probe = stage.h.probe();
    let client = probe.client().await;
    let before = probe.image(&client).await;
    let mut tried = 0;
    for case in CASES {
        let script = script(case.script);
        if !script.returns.contains(&"past-deadline") {
            continue;
        }
        let keys: Vec<String> = case.keys.iter().map(|key| stage.name(*key)).collect();
        let deadline_ms = stage.h.redis_ms();
        // Nothing behind the deadline is looked at, so anything may stand there.
        let mut args = vec![Value::from(deadline_ms.cast_signed()), Value::from(0)];
        args.extend((0..10).map(|_| Value::from("")));
        let (code, mut fields) = run_script(&client, script, keys, args).await;
        assert_eq!(code, "past-deadline", "{}", script.name);
        assert!(fields.remove(0).as_u64().is_some_and(|now_ms| now_ms >= deadline_ms), "{} says the time", script.name);
        assert!(probe.image(&client).await == before, "{} changed something", script.name);
        tried += 1;
    }
    assert_eq!(tried, SCRIPTS.iter().filter(|script| script.returns.contains(&"past-deadline")).count());
}

pub async fn a_call_that_was_stuck_has_no_effect_after_its_settlement(Alone(h): Alone) {
    let drop = h.open("stuck", 1, 1).await;
    let held = h.buy(&drop, "b", "k", 1).await;
    let (probe, grant) = (h.probe(), script("sale/grant"));
    let client = probe.client().await;
    let deadline_ms = h.redis_ms() + 5_000;
    // The first call is on its way. The one that settles it finds the drop sold out, and says so to the shopper.
    let first = grant_call(&h, &drop, ("a", "k"), 1, (deadline_ms, 0));
    let settling = grant_call(&h, &drop, ("a", "k"), 1, (deadline_ms + 5_000, deadline_ms));
    let (code, fields) = run_script(&client, grant, settling.0, settling.1).await;
    assert_eq!((code.as_str(), &results(fields)[..]), ("decided", &b"s"[..]));
    // The unit comes back, and then the first call arrives, long before its deadline.
    h.engine.cancel_order(&OrderRef::from(&held), CancelledBy::Shopper).await.expect("cancelled");
    let before = probe.image(&client).await;
    let (code, _) = run_script(&client, grant, first.0, first.1).await;
    assert_eq!(code, "past-deadline");
    assert!(probe.image(&client).await == before);
    // The shopper who asks again is served.
    assert!(matches!(h.order(&drop, "a", "k", 1).await, Ok(Decision::Granted(_))));
}

pub async fn a_call_that_took_effect_is_found_by_its_settlement(Alone(h): Alone) {
    let drop = h.open("found", 1, 1).await;
    let grant = script("sale/grant");
    let client = h.probe().client().await;
    let deadline_ms = h.redis_ms() + 5_000;
    let first = grant_call(&h, &drop, ("a", "k"), 1, (deadline_ms, 0));
    let settling = grant_call(&h, &drop, ("a", "k"), 1, (deadline_ms + 5_000, deadline_ms));
    let (_, fields) = run_script(&client, grant, first.0.clone(), first.1.clone()).await;
    assert_eq!(results(fields)[..], b"g"[..]);
    let (_, fields) = run_script(&client, grant, settling.0, settling.1).await;
    assert_eq!(results(fields)[0], b'r');
    let (code, _) = run_script(&client, grant, first.0, first.1).await;
    assert_eq!(code, "past-deadline");
    assert_eq!((h.grants().await, h.drop_now(&drop.id).await.sold_units), (1, 1));
}

pub async fn a_settlement_that_comes_too_late_still_stops_the_first_call(Alone(h): Alone) {
    let drop = h.open("late", 1, 1).await;
    let grant = script("sale/grant");
    let client = h.probe().client().await;
    let deadline_ms = h.redis_ms() + 5_000;
    let first = grant_call(&h, &drop, ("a", "k"), 1, (deadline_ms, 0));
    let settling = grant_call(&h, &drop, ("a", "k"), 1, (deadline_ms, deadline_ms));
    for (keys, args) in [settling, first] {
        let (code, mut fields) = run_script(&client, grant, keys, args).await;
        assert_eq!((code.as_str(), fields.remove(0).as_u64()), ("past-deadline", Some(deadline_ms)));
    }
    assert_eq!(h.grants().await, 0);
    // The engine hears what the time is, and sends a call that is in time.
    assert!(matches!(h.order(&drop, "a", "k", 1).await, Ok(Decision::Granted(_))));
}
