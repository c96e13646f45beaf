//! `stampede purge`, as an operator meets it.

use reqwest::StatusCode;
use serde_json::json;

use super::support::{Dev, run, stampede};

#[tokio::test]
async fn a_drop_that_is_over_is_purged_and_any_other_is_not() {
    let dir = tempfile::tempdir().expect("a folder");
    let dev = Dev::start(dir.path());
    let in_dir = |args: &[&str]| run(stampede(args).arg("--dir").arg(dir.path()));
    let purge = |id: &str| in_dir(&["purge", "--drop", id]);

    let (code, _, stderr) = purge("nothing");
    assert_eq!((code, stderr.contains("there is no drop nothing")), (Some(1), true), "{stderr}");
    assert_eq!(purge("Not an id").0, Some(2));
    let shopper = dev.api().sign_in("ann").await;
    let (status, _, order) = shopper.order("demo", "once").await;
    assert_eq!(status, StatusCode::CREATED, "{order}");
    let (code, _, stderr) = purge("demo");
    assert_eq!((code, stderr.contains("not over")), (Some(1), true), "{stderr}");

    let (code, token, stderr) = in_dir(&["token", "--operator"]);
    assert_eq!(code, Some(0), "{stderr}");
    let operator = dev.api().with_token(&token);
    let (status, drop) = operator.post("/drops/demo/cancel", &json!({})).await;
    assert_eq!(status, StatusCode::OK, "{drop}");
    // Its workers have to cancel the order and to archive that; until then it says what it waits for.
    let done = loop {
        let (code, done, stderr) = purge("demo");
        if code == Some(0) {
            break done;
        }
        assert!(stderr.contains("still being cancelled") || stderr.contains("does not hold all"), "{stderr}");
    };
    assert!(done.contains("is purged"), "{done}");
    let (code, again, _) = purge("demo");
    assert_eq!((code, again.contains("was purged before")), (Some(0), true), "{again}");

    let (status, replayed, order) = shopper.order("demo", "once").await;
    assert_eq!((status, replayed, order["status"].as_str()), (StatusCode::CREATED, true, Some("cancelled")), "{order}");
    assert_eq!(dev.process.stop().code(), Some(0));
}
