//! Requests that are none, or hardly.

use serde_json::json;
use stampede_testkit::TestApp;

use super::wire::{Wire, order, talk};

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_as_a_request_is_told_why() {
    let app = TestApp::start().await;
    let headers = |count: usize| (0..count).map(|n| format!("x-{n}: {n}\r\n")).collect::<String>();
    let get = |rest: &str| format!("GET /api/v1/drops HTTP/1.1\r\nhost: x\r\n{rest}\r\n");
    let post = |rest: &str| format!("POST /api/v1/sessions HTTP/1.1\r\nhost: x\r\n{rest}\r\n");
    let malformed = (400, "malformed-request");
    let too_large = (431, "headers-too-large");
    let requests = [
        ("no request at all", "how are you\r\n\r\n".to_owned(), malformed),
        ("no version", "GET /api/v1/drops\r\n\r\n".to_owned(), malformed),
        ("a version that is none", "GET /api/v1/drops HTTP/9.9\r\n\r\n".to_owned(), malformed),
        ("a NUL in the path", "GET /api/\0 HTTP/1.1\r\n\r\n".to_owned(), malformed),
        ("a space in the path", "GET /api/v1/a b HTTP/1.1\r\n\r\n".to_owned(), malformed),
        ("a header without a colon", get("nonsense\r\n"), malformed),
        ("a space before the colon", get("x-a : b\r\n"), malformed),
        ("a header that is folded", get("x-a: b\r\n c\r\n"), malformed),
        ("a control character in a header", get("x-a: \u{1}\r\n"), malformed),
        ("a length that is none", post("content-length: many\r\n"), malformed),
        ("a negative length", post("content-length: -1\r\n"), malformed),
        ("a length of more than 64 bits", post("content-length: 99999999999999999999\r\n"), malformed),
        ("two lengths", post("content-length: 1\r\ncontent-length: 2\r\n"), malformed),
        ("an encoding that is not known", post("transfer-encoding: gzip\r\n"), malformed),
        ("too many headers", get(&headers(200)), too_large),
        ("too large a header", get(&format!("x-a: {}\r\n", "a".repeat(20_000))), too_large),
        ("a far too large header", get(&format!("x-a: {}\r\n", "a".repeat(500_000))), too_large),
        ("a header that does not end", format!("GET / HTTP/1.1\r\nx-a: {}", "a".repeat(500_000)), too_large),
        ("a long path", format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(20_000)), too_large),
        ("a far too long path", format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(200_000)), too_large),
        ("a long query", format!("GET /api/v1/drops?sku={} HTTP/1.1\r\n\r\n", "a".repeat(20_000)), too_large),
    ];
    for (what, bytes, (status, code)) in requests {
        let reply = talk(&app, bytes).await.unwrap_or_else(|| panic!("{what}: hung up"));
        assert_eq!((reply.status, reply.body["code"].as_str()), (status, Some(code)), "{what}: {reply:?}");
        if code == "headers-too-large" {
            assert_eq!(reply.body["limit"], 16_384, "{what}");
        }
        reply.expect_problem(status, code);
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_protocol_is_hung_up_on_or_refused() {
    let app = TestApp::start().await;
    let hello = [0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0, b'\r', b'\n', b'\r', b'\n'];
    for bytes in [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &hello, b"\r\n\r\n\r\n\0\0\0\0\r\n\r\n", b"EHLO x\r\n"] {
        let mut wire = Wire::open(&app).await;
        wire.send(bytes).await;
        wire.send(b"\r\n\r\n").await;
        if let Some(reply) = wire.reply().await {
            reply.expect_problem(400, "malformed-request");
        }
        assert!(wire.is_closed().await);
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_cannot_hide_in_the_body_of_another() {
    let app = TestApp::start().await;
    app.operator().create_drop("hidden", 5, 5, &json!({})).await;
    let hidden = String::from_utf8(order(app.shopper("a").token(), "k", "", br#"{"drop_id":"hidden"}"#)).expect("text");
    // One reader goes by the length, another by the chunks: they disagree on where the second request begins.
    let both = format!(
        "POST /api/v1/sessions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         transfer-encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
        5 + hidden.len()
    );
    let mut wire = Wire::open(&app).await;
    wire.send(both).await;
    while let Some(reply) = wire.reply().await {
        assert_ne!(reply.status, 201, "{reply:?}");
    }
    assert_eq!(app.operator().get("/drops/hidden/stock").await.expect(200).number("/sold"), 0);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_names_nothing_is_not_found() {
    let app = TestApp::start().await;
    let long = "a".repeat(9_000);
    for path in [
        "/api/v1/drops/a%2Fb",
        "/api/v1/drops/%00",
        "/api/v1/drops/%ff%fe",
        "/api/v1/drops/%",
        "/api/v1/drops/..%2f..%2fetc%2fpasswd",
        "/api/v1/drops/../products",
        "/api/v1//drops",
        "/api/v1/drops/",
        "/api/v1/products/a%0d%0ab",
        "/api/v1/products/%E2%82%AC/sale-status",
        "/problems/%3Cscript%3E",
        "/API/V1/drops",
        "*",
        &format!("/api/v1/drops/{long}"),
        &format!("/{long}"),
    ] {
        let reply = talk(&app, format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await.expect("an answer");
        reply.expect_problem(404, "not-found");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_are_answered_by_name() {
    let app = TestApp::start().await;
    for method in ["OPTIONS", "TRACE", "PUT", "DELETE", "BREW", "get"] {
        let request = format!("{method} /api/v1/drops HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
        let reply = talk(&app, request).await.expect("an answer").expect_problem(405, "method-not-allowed");
        let allow = reply.head.lines().find(|line| line.starts_with("allow: ")).unwrap_or_default();
        assert!(allow.contains("get") && allow.contains("post"), "{reply:?}");
    }
    let mut wire = Wire::open(&app).await;
    for (path, status) in [("/api/v1/drops", 200), ("/api/v1/drops/none", 404)] {
        wire.send(format!("HEAD {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
        let reply = wire.reply_to("HEAD").await.expect("an answer");
        assert_eq!(reply.status, status);
        assert!(reply.head.contains("content-type: application/"), "{reply:?}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_sent_at_once_are_answered_in_order() {
    let app = TestApp::start().await;
    app.operator().create_drop("pipe", 5, 5, &json!({})).await;
    let body = br#"{"drop_id":"pipe"}"#;
    let token = app.shopper("a").token().to_owned();
    let mut bytes: Vec<u8> = (0..3).flat_map(|n| order(&token, &format!("k{n}"), "", body)).collect();
    bytes.extend(order(&token, "k0", "", body));
    bytes.extend(b"nonsense\r\n\r\n");
    bytes.extend(order(&token, "k9", "", body));
    let mut wire = Wire::open(&app).await;
    wire.send(bytes).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        let reply = wire.reply().await.expect("an answer");
        assert_eq!(reply.status, 201, "{reply:?}");
        ids.push(reply.body["id"].clone());
    }
    assert_eq!(ids[0], ids[3], "the fourth is the first again");
    wire.reply().await.expect("an answer").expect_problem(400, "malformed-request");
    assert!(wire.is_closed().await, "nothing behind what cannot be read is believed");
    assert_eq!(app.operator().get("/drops/pipe/stock").await.expect(200).number("/sold"), 3);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_client_is_served_and_hung_up_on() {
    let app = TestApp::start().await;
    let mut wire = Wire::open(&app).await;
    wire.send("GET /api/v1/drops HTTP/1.0\r\n\r\n").await;
    let reply = wire.reply().await.expect("an answer");
    assert_eq!((reply.status, reply.body["items"].is_array()), (200, true));
    assert!(wire.is_closed().await);
    let absolute = format!("GET {}/api/v1/drops HTTP/1.1\r\nhost: x\r\n\r\n", app.origin);
    assert_eq!(talk(&app, absolute).await.expect("an answer").status, 200);
    app.finish().await;
}
