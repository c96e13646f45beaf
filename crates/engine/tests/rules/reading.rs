//! What is read is never less than what was there.

use stampede_domain::{FactId, UserDigest, UserId};
use stampede_engine::{EngineError, Keys};

use crate::cases::Stage;
use crate::support::Alone;

/// Every reading of the stage, with the keys it needs beside `meta`.
async fn readings(stage: &Stage) -> Vec<(&'static str, Vec<String>, Option<EngineError>)> {
    let (h, id) = (&stage.h, &stage.live.id);
    let (hash, users) = (Keys::drop(h.shard, id), Keys::users(h.shard, id));
    let holder: UserId = stage.order.user_id.clone();
    let (hash_again, users_again) = (hash.clone(), users.clone());
    let asked = [(id.clone(), UserDigest::of(&holder))];
    let dead = || vec![h.keys.dead.clone()];
    vec![
        ("count_letters", dead(), h.engine.count_letters(h.shard).await.err()),
        ("letters", dead(), h.engine.letters(h.shard).await.err()),
        ("letter", dead(), h.engine.letter(FactId::Order(stage.order.id)).await.err()),
        ("read_drops", vec![], h.engine.read_drops(h.shard, std::slice::from_ref(id)).await.err()),
        ("user_grants", vec![hash, users.clone()], h.engine.user_grants(h.shard, &asked).await.err()),
        ("scan_users", vec![users], h.engine.scan_users(h.shard, id, 0, 10).await.err()),
        ("unsettled_drops", vec![h.keys.unsettled.clone()], h.engine.unsettled_drops(h.shard).await.err()),
        ("due_timers", vec![h.keys.timers.clone()], h.engine.due_timers(h.shard, 10).await.err()),
        ("log_status", vec![h.keys.log.clone()], h.engine.log_status(h.shard).await.err()),
        ("logged_order", vec![h.keys.log.clone()], h.engine.logged_order(stage.order.id).await.err()),
        (
            "finish_transfers",
            vec![h.keys.log.clone(), h.keys.timers.clone(), Keys::drop(h.shard, id)],
            h.engine.finish_transfers(h.shard, id).await.err(),
        ),
        ("cut", vec![h.keys.log.clone()], h.engine.cut(h.shard, std::slice::from_ref(id)).await.err()),
        ("cut_users", vec![hash_again, users_again], h.engine.cut_users(h.shard, id, 0, 10).await.err()),
        (
            "newest_logged_orders",
            vec![h.keys.log.clone()],
            h.engine.newest_logged_orders(h.shard, id, None, 5).await.err(),
        ),
    ]
}

pub async fn a_lost_key_is_never_read_as_empty(Alone(h): Alone) {
    let stage = Stage::set(h).await;
    let probe = stage.h.probe();
    let client = probe.client().await;
    let whole = probe.image(&client).await;
    for (name, _, error) in readings(&stage).await {
        assert_eq!(error, None, "{name}");
    }
    for key in whole.keys() {
        stage.h.redis().cli(&["DEL", key]);
        for (name, needed, error) in readings(&stage).await {
            let lacks = *key == stage.h.keys.meta || needed.contains(key);
            assert_eq!(error, lacks.then_some(EngineError::ShardRecovering), "{name} without {key}");
        }
        assert_eq!(probe.image(&client).await.len(), whole.len() - 1, "reading makes no key");
        probe.restore(&client, &whole).await;
    }
    // A drop that was never opened here is something else.
    let read = stage.h.engine.read_drops(stage.h.shard, &[stage.h.id("never")]).await.expect("readable");
    assert_eq!(read.drops, [None]);
    assert_eq!(
        stage.h.engine.scan_users(stage.h.shard, &stage.h.id("never"), 0, 1).await,
        Err(EngineError::ShardRecovering)
    );
}

pub async fn a_foreign_token_fences_every_reading(Alone(h): Alone) {
    let stage = Stage::set(h).await;
    stage.h.set_meta("token", "0123456789abcdef");
    for (name, _, error) in readings(&stage).await {
        assert_eq!(error, Some(EngineError::ShardRecovering), "{name}");
    }
    // Of the shards of this deployment only the test's own was ever set up.
    assert!(stage.h.engine.fenced_shards().await.expect("readable").contains(&stage.h.shard));
    stage.h.engine.ping().await.expect("a fenced shard answers");
}

pub async fn damage_is_found(Alone(h): Alone) {
    let stage = Stage::set(h).await;
    let check = async || stage.h.engine.check_damage(stage.h.shard, 0, 100).await.expect("readable");
    assert!(!check().await.damaged);
    stage.h.redis().cli(&["DEL", &Keys::users(stage.h.shard, &stage.paused.id)]);
    assert!(check().await.damaged, "half of a drop");
    stage.h.redis().cli(&["DEL", &Keys::drop(stage.h.shard, &stage.paused.id)]);
    assert!(check().await.damaged, "a whole drop");
}
