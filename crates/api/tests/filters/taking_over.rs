//! A Redis that comes back with less: what a process knew before refuses nobody who was granted afterwards.

use std::time::{Duration, Instant};

use serde_json::json;
use stampede_testkit::{AppOptions, TestApp};
use stampede_worker::{Watchman, WorkerSettings};
use tempfile::TempDir;

use crate::{LIMIT, options, until_refused_here, watch_commands};

const AGE: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_refused_by_what_was_lost() {
    let mut app = TestApp::start_with(AppOptions { workers: false, ..options(AGE) }).await;
    let other = app.another_api().await;
    app.operator().create_drop("lost", 2, 1, &json!({})).await;
    app.shopper("ann").order("lost", 1, "k").await.expect(201);
    let saved = TempDir::new().expect("a folder");
    app.redis().stop().await;
    app.redis().copy_files_to(saved.path());
    app.redis().restart().await;
    recover(&app).await;

    // This one is lost: nothing is archived, and Redis comes back with the file from before.
    let bob = app.shopper("bob");
    let deadline = Instant::now() + LIMIT;
    while bob.order("lost", 1, "k").await.status != 201 {
        assert!(Instant::now() < deadline, "orders are decided once the fence is open");
    }
    watch_commands(&mut app);
    for origin in [app.origin.clone(), other.clone()] {
        until_refused_here(&mut app, &origin, "lost").await;
    }
    app.redis().kill().await;
    app.redis().restore_files_from(saved.path());
    app.redis().restart().await;
    recover(&app).await;

    // Its unit is sold again by one process, while the other may still believe that the drop is sold out.
    let cat = app.shopper("cat");
    let deadline = Instant::now() + LIMIT;
    let bought = loop {
        let told = cat.order("lost", 1, "k").await;
        if told.status == 201 {
            break told;
        }
        assert!(matches!(told.status, 409 | 503), "{told:?}");
        assert!(Instant::now() < deadline, "the unit is sold again");
    };
    let replayed = cat.at(&other).order("lost", 1, "k").await.expect(201);
    assert_eq!(replayed.body, bought.body);
    app.stop().await;
}

async fn recover(app: &TestApp) {
    let mut watchman = Watchman::new(app.engine.clone(), app.archive.clone(), WorkerSettings::default());
    let deadline = Instant::now() + LIMIT;
    loop {
        let stepped = watchman.step().await;
        let fenced = app.engine.fenced_shards().await;
        if stepped.is_ok() && fenced.is_ok_and(|fenced| fenced.is_empty()) {
            return;
        }
        assert!(Instant::now() < deadline, "the shards are not recovered: {stepped:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
