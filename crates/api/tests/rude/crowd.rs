//! Thousands who keep the service waiting, and one who wants to buy.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use stampede_testkit::{AppOptions, TestApp};

use super::wire::{Wire, order};

/// Connections that the service admits, and that the crowd opens.
const MAX: usize = 256;
const CROWD: usize = 2_500;
/// Files that a test process needs beside the crowd's.
const OTHER_FILES: u64 = 1_000;

/// How a member of the crowd keeps the service waiting.
const HABITS: [fn(&TestApp, usize) -> Vec<u8>; 4] = [
    |_, _| Vec::new(),
    |_, _| b"POST /api/v1/orders HTTP/1.1\r\nhost: x\r\nx-a: ".to_vec(),
    |_, _| [b"GET / HTTP/1.1\r\nx-a: ".to_vec(), vec![b'a'; 15_000]].concat(),
    |app, n| {
        let mut bytes = order(app.shopper("crowd").token(), &format!("k{n}"), "", br#"{"drop_id":"wanted"}"#);
        bytes.pop();
        bytes
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_half_open_connections_keep_nobody_out() {
    admit_files();
    let mut options = AppOptions::default();
    options.api.max_connections = MAX;
    let app = TestApp::start_with(options).await;
    app.operator().create_drop("wanted", 1_000, 1_000, &json!({})).await;

    let mut crowd = Vec::with_capacity(CROWD);
    let mut bought = 0;
    for n in 0..CROWD {
        let mut wire = Wire::open(&app).await;
        wire.send(HABITS[n % HABITS.len()](&app, n)).await;
        crowd.push(wire);
        if n % 100 == 99 {
            buy(&app, n).await;
            bought += 1;
        }
    }
    let open = || crowd.iter().filter(|wire| !wire.is_closed_now()).count();
    // A connection that was told to go is closed by its own task, a moment later.
    while open() > MAX {
        tokio::task::yield_now().await;
    }
    assert!(open() > 0, "as many are kept as there is room for");
    buy(&app, CROWD).await;
    assert_eq!(app.operator().get("/drops/wanted/stock").await.expect(200).number("/sold"), bought + 1);
    drop(crowd);
    app.finish().await;
}

/// Somebody who comes with a connection of their own, and is served at once.
async fn buy(app: &TestApp, n: usize) {
    let mut wire = Wire::open(app).await;
    wire.send(order(app.shopper("buyer").token(), &format!("k{n}"), "", br#"{"drop_id":"wanted"}"#)).await;
    let reply = wire.reply().await.expect("an answer");
    assert_eq!(reply.status, 201, "{reply:?}");
}

/// Raises this process's own limit of open files as far as it may.
fn admit_files() {
    let limit = getrlimit(Resource::Nofile);
    let needed = CROWD as u64 + MAX as u64 + OTHER_FILES;
    let most = limit.maximum.map_or(needed, |maximum| maximum.min(needed));
    if limit.current.is_some_and(|current| current < most) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum }).expect("a higher limit");
    }
    assert!(most == needed, "this test needs {needed} open files: raise `ulimit -Hn`");
}
