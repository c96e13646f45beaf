//! The one line of a request, in both formats.

use std::fs::{self, File};
use std::path::Path;

use serde_json::Value;

use super::support::{Dev, stampede};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// What a `dev` logs with these settings while an order is granted, replayed, refused, and something is not found.
async fn logged(dir: &Path, format: &str, level: &str) -> String {
    let log = dir.join("log");
    let mut command = stampede(&["dev"]);
    command.env("STAMPEDE_LOG_FORMAT", format).env("STAMPEDE_LOG", level).stderr(File::create(&log).expect("created"));
    let dev = Dev::start_with(&mut command, &dir.join("dev"));
    let mut shop = dev.api().sign_in("ann").await;
    for (key, traceparent, status) in [
        ("once", None, 201),
        ("once", Some(format!("00-{TRACE}-b7ad6b7169203331-01")), 201),
        ("twice", Some(format!("00-{TRACE}-b7ad6b7169203331")), 201),
        ("thrice", None, 403),
    ] {
        shop.traceparent = traceparent;
        assert_eq!(shop.order("demo", key).await.0, status);
    }
    assert_eq!(shop.get("/orders/none").await.0, 404);
    assert_eq!(dev.process.stop().code(), Some(0));
    fs::read_to_string(&log).expect("written")
}

#[tokio::test]
async fn a_requests_line_is_flat_in_json() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = logged(dir.path(), "json", "info").await;
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("{line}")));
    let lines: Vec<Value> = lines.filter(|line| line["message"] == "answered").collect();
    let of = |route: &'static str| lines.iter().filter(move |line| line["route"] == route);
    let orders: Vec<_> = of("/api/v1/orders").map(|line| (line["status"].as_u64(), line["outcome"].as_str())).collect();
    let expected = [(201, "granted"), (201, "replayed"), (201, "granted"), (403, "limit-reached")];
    assert_eq!(orders, expected.map(|(status, outcome)| (Some(status), Some(outcome))));
    let traces: Vec<_> = of("/api/v1/orders").map(|line| line["trace_id"].as_str()).collect();
    assert_eq!(traces, [None, Some(TRACE), None, None], "a malformed context is none");
    for (route, method, outcome) in [
        ("/api/v1/orders/{id}", "GET", "not-found"),
        ("/api/v1/sessions", "POST", "ok"),
        ("/api/v1/orders", "POST", ""),
    ] {
        let line = of(route).next().unwrap_or_else(|| panic!("{route}: {log}"));
        assert!(line["method"] == method && (outcome.is_empty() || line["outcome"] == outcome), "{line}");
        assert!(line["request_id"].is_string() && line["duration_us"].is_u64() && line["level"] == "INFO", "{line}");
        assert!(line.get("span").is_none(), "nothing is hidden in a span: {line}");
    }
    let ids: std::collections::HashSet<_> = lines.iter().map(|line| line["request_id"].as_str()).collect();
    assert_eq!(ids.len(), lines.len(), "one line a request");
}

#[tokio::test]
async fn a_requests_line_says_the_same_to_people() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = logged(dir.path(), "pretty", "info").await;
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(r#"route="/api/v1/orders" "#)).collect();
    for (line, parts) in lines.iter().zip([
        [r#"status=201 "#, r#"outcome="granted""#, ""],
        [r#"status=201 "#, r#"outcome="replayed""#, "trace_id=0af7651916cd43dd8448eb211c80319c"],
        [r#"status=201 "#, r#"outcome="granted""#, ""],
        [r#"status=403 "#, r#"outcome="limit-reached""#, ""],
    ]) {
        let all =
            parts.iter().copied().chain([" INFO ", "answered", "request_id=", r#"method="POST""#, "duration_us="]);
        for part in all {
            assert!(line.matches(part).count() == 1 || part.is_empty(), "{part}: {line}");
        }
    }
    assert_eq!(lines.len(), 4, "{log}");
}

#[tokio::test]
async fn nobody_is_told_of_requests_above_their_level() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = logged(dir.path(), "json", "warn").await;
    assert!(!log.contains("answered"), "{log}");
}
