//! Refusals without Redis: who is refused so and who never is, while nothing happens and while everything does.

mod refusing;
mod returning;
mod taking_over;

use std::time::{Duration, Instant};

use stampede_api::ApiSettings;
use stampede_engine::{LiveDrop, SCRIPTS};
use stampede_testkit::{AppOptions, Caller, TestApp};

/// How long anything here may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A service whose processes may refuse for `age` by what they know.
fn options(age: Duration) -> AppOptions {
    let defaults = AppOptions::default();
    AppOptions { api: ApiSettings { filter_max_age: age, ..defaults.api }, ..defaults }
}

/// Has Redis note every command, so that [`grant_calls`] can count.
fn watch_commands(app: &mut TestApp) {
    for (name, value) in [("slowlog-max-len", "100000"), ("slowlog-log-slower-than", "0")] {
        assert_eq!(app.redis().cli(&["CONFIG", "SET", name, value]), "OK");
    }
    app.redis().cli(&["SLOWLOG", "RESET"]);
}

/// The calls of the script that decides orders since the last count.
fn grant_calls(app: &mut TestApp) -> usize {
    let grant = SCRIPTS.iter().find(|script| script.name == "sale/grant").expect("a script").sha1();
    let commands = app.redis().cli(&["SLOWLOG", "GET", "-1"]);
    app.redis().cli(&["SLOWLOG", "RESET"]);
    commands.lines().filter(|line| *line == grant).count()
}

/// Sends orders of strangers until one is refused without Redis. `watch_commands` comes before it.
async fn until_refused_here(app: &mut TestApp, origin: &str, drop_id: &str) {
    let deadline = Instant::now() + LIMIT;
    for n in 0.. {
        let stranger = stranger(app, origin, n);
        grant_calls(app);
        stranger.order(drop_id, 1, "k").await.expect_problem(409, "sold-out");
        if grant_calls(app) == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "no order is refused without Redis");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Somebody who has bought nothing.
fn stranger(app: &TestApp, origin: &str, n: usize) -> Caller {
    app.shopper(&format!("stranger-{n}")).at(origin)
}

async fn live(app: &TestApp, drop_id: &str) -> LiveDrop {
    let id = drop_id.parse().expect("a drop id");
    let reading = app.engine.read_drops(app.engine.shard_of(&id), &[id]).await.expect("Redis answers");
    reading.drops.into_iter().next().flatten().expect("the drop is there")
}
