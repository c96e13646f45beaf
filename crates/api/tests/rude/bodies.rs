//! Bodies that are no orders, or hardly.

use serde_json::json;
use stampede_testkit::TestApp;

use super::wire::{Wire, order, talk};

const MALFORMED: (u16, &str) = (400, "malformed-request");
const INVALID: (u16, &str) = (422, "invalid-request");

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_no_order_is_told_where() {
    let app = TestApp::start().await;
    app.operator().create_drop("rude", 5, 5, &json!({})).await;
    let token = app.shopper("a").token().to_owned();
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth)).into_bytes();
    let with = |rest: &str| format!(r#"{{"drop_id":"rude",{rest}}}"#).into_bytes();
    let objects = format!("{}{}", r#"{"a":"#.repeat(33), "1".to_owned() + &"}".repeat(33)).into_bytes();
    let bodies = [
        ("nothing", Vec::new(), MALFORMED, ""),
        ("no JSON", b"drop_id=rude".to_vec(), MALFORMED, ""),
        ("half of it", br#"{"drop_id":"#.to_vec(), MALFORMED, ""),
        ("two of them", br#"{"drop_id":"rude"}{"drop_id":"rude"}"#.to_vec(), MALFORMED, ""),
        ("a byte order mark", b"\xef\xbb\xbf{\"drop_id\":\"rude\"}".to_vec(), MALFORMED, ""),
        ("UTF-16", b"{\0\"\0d\0\"\0".to_vec(), MALFORMED, ""),
        ("no UTF-8", b"{\"drop_id\":\"\xff\xfe\"}".to_vec(), MALFORMED, ""),
        ("half a surrogate", br#"{"drop_id":"\ud800"}"#.to_vec(), MALFORMED, ""),
        ("a raw NUL", b"{\"drop_id\":\"a\0b\"}".to_vec(), MALFORMED, ""),
        ("arrays without end", nested(33), MALFORMED, ""),
        ("arrays without end, by far", nested(30_000), MALFORMED, ""),
        ("objects without end", objects, MALFORMED, ""),
        ("NaN", with(r#""quantity":NaN"#), MALFORMED, ""),
        ("no finite number", with(r#""quantity":1e400"#), MALFORMED, ""),
        ("a leading zero", with(r#""quantity":01"#), MALFORMED, ""),
        ("a hexadecimal number", with(r#""quantity":0x1"#), MALFORMED, ""),
        ("a number with a fraction", with(r#""quantity":1.0"#), INVALID, "/quantity"),
        ("a number with an exponent", with(r#""quantity":1e0"#), INVALID, "/quantity"),
        ("minus nothing", with(r#""quantity":-0"#), INVALID, "/quantity"),
        ("a negative number", with(r#""quantity":-1"#), INVALID, "/quantity"),
        ("zero", with(r#""quantity":0"#), INVALID, "/quantity"),
        ("one more than 16 bits", with(r#""quantity":65537"#), INVALID, "/quantity"),
        ("one more than 32 bits", with(r#""quantity":4294967297"#), INVALID, "/quantity"),
        ("one more than 64 bits", with(r#""quantity":18446744073709551617"#), INVALID, "/quantity"),
        ("a number as text", with(r#""quantity":"1""#), INVALID, "/quantity"),
        ("NaN as text", with(r#""quantity":"NaN""#), INVALID, "/quantity"),
        ("a flag", with(r#""quantity":true"#), INVALID, "/quantity"),
        ("a list", with(r#""quantity":[1]"#), INVALID, "/quantity"),
        ("an escaped NUL", br#"{"drop_id":"a\u0000b"}"#.to_vec(), INVALID, "/drop_id"),
        ("an id that is a number", br#"{"drop_id":1}"#.to_vec(), INVALID, "/drop_id"),
        ("an id that is too long", format!(r#"{{"drop_id":"{}"}}"#, "a".repeat(65)).into_bytes(), INVALID, "/drop_id"),
        ("no id", b"{}".to_vec(), INVALID, "/drop_id"),
        ("a field twice", with(r#""quantity":1,"quantity":2"#), INVALID, "/quantity"),
        ("a field twice, once escaped", with(r#""quantity":1,"quantit\u0079":2"#), INVALID, "/quantity"),
        ("a field that nobody knows", with(r#""user_id":"somebody""#), INVALID, "/user_id"),
        ("a field without a name", with(r#""":1"#), INVALID, "/"),
        ("a field in capitals", with(r#""QUANTITY":1"#), INVALID, "/QUANTITY"),
        (
            "a field of a field",
            with(r#""expected_total":{"amount_minor":1,"currency":"EUR","tip":1}"#),
            INVALID,
            "/expected_total/tip",
        ),
        (
            "an amount with a fraction",
            with(r#""expected_total":{"amount_minor":1.5,"currency":"EUR"}"#),
            INVALID,
            "/expected_total/amount_minor",
        ),
        (
            "a currency in small letters",
            with(r#""expected_total":{"amount_minor":1,"currency":"eur"}"#),
            INVALID,
            "/expected_total/currency",
        ),
        ("a list for an object", br#"["rude",1]"#.to_vec(), INVALID, ""),
        ("a text for an object", br#""rude""#.to_vec(), INVALID, ""),
        ("null", b"null".to_vec(), INVALID, ""),
    ];
    let mut wire = Wire::open(&app).await;
    for (what, body, (status, code), pointer) in bodies {
        wire.send(order(&token, "k", "", body)).await;
        let reply = wire.reply().await.unwrap_or_else(|| panic!("{what}: hung up"));
        assert_eq!((reply.status, reply.pointer()), (status, pointer), "{what}: {reply:?}");
        reply.expect_problem(status, code);
    }
    wire.send(order(&token, "k", "", br#"{"drop_id":"rude"}"#)).await;
    let granted = wire.reply().await.expect("an answer");
    assert_eq!(granted.status, 201, "nothing had happened, and the connection is as good as new");
    assert!(!granted.head.contains("idempotent-replayed"));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_declared_as_what_it_is() {
    let app = TestApp::start().await;
    app.operator().create_drop("typed", 5, 5, &json!({})).await;
    let token = app.shopper("a").token().to_owned();
    let body = r#"{"drop_id":"typed"}"#;
    let request = |content_type: &str| {
        format!(
            "POST /api/v1/orders HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nidempotency-key: k\r\n\
             {content_type}content-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    for content_type in [
        "",
        "content-type:\r\n",
        "content-type: text/plain\r\n",
        "content-type: text/json\r\n",
        "content-type: application/jsonp\r\n",
        "content-type: application/x-www-form-urlencoded\r\n",
        "content-type: multipart/form-data; boundary=application/json\r\n",
        "content-type: \u{e9}\r\n",
    ] {
        let reply = talk(&app, request(content_type)).await.expect("an answer");
        reply.expect_problem(415, "unsupported-media-type");
    }
    for content_type in ["content-type: application/json\r\n", "content-type: Application/JSON; charset=utf-8\r\n"] {
        assert_eq!(talk(&app, request(content_type)).await.expect("an answer").status, 201);
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_is_refused_and_the_client_learns_it() {
    let app = TestApp::start().await;
    let token = app.shopper("a").token().to_owned();
    let head = |more: &str| {
        format!(
            "POST /api/v1/orders HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nidempotency-key: k\r\n\
             content-type: application/json\r\n{more}\r\n"
        )
    };
    // Declared, and not sent: refused before it is read, even where the client asks first.
    for more in [
        "content-length: 70000\r\n",
        "content-length: 9223372036854775807\r\n",
        "content-length: 70000\r\nexpect: 100-continue\r\n",
    ] {
        let reply = talk(&app, head(more)).await.expect("an answer").expect_problem(413, "body-too-large");
        assert_eq!(reply.body["limit"], 65_536);
    }
    // Sent in full before the answer is read, by clients that do not look: far more than is ever buffered.
    let chunk = format!("4000\r\n{}\r\n", " ".repeat(0x4000)).repeat(512);
    let reply = talk(&app, head("transfer-encoding: chunked\r\n") + &chunk + "0\r\n\r\n").await;
    reply.expect("the answer is not lost").expect_problem(413, "body-too-large");
    let body = " ".repeat(8 * 1024 * 1024);
    let reply = talk(&app, head(&format!("content-length: {}\r\n", body.len())) + &body).await;
    reply.expect("the answer is not lost").expect_problem(413, "body-too-large");
    // Refused for another reason, with a body that nobody reads.
    let nobody = format!("POST /api/v1/orders HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    talk(&app, nobody).await.expect("the answer is not lost").expect_problem(401, "unauthenticated");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_in_pieces_is_read_and_one_in_broken_pieces_is_not() {
    let app = TestApp::start().await;
    app.operator().create_drop("pieces", 5, 5, &json!({})).await;
    let token = app.shopper("a").token().to_owned();
    let head = format!(
        "POST /api/v1/orders HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nidempotency-key: k\r\n\
         content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    for broken in ["zz\r\n{}\r\n", "-1\r\n", "ffffffffffffffffff\r\n", "2\r\n{}xx0\r\n\r\n", "\r\n\r\n"] {
        let reply = talk(&app, head.clone() + broken).await.expect("an answer");
        reply.expect_problem(400, "malformed-request");
    }
    let pieces: String = r#"{"drop_id":"pieces"}"#.chars().map(|letter| format!("1;a=b\r\n{letter}\r\n")).collect();
    let granted = talk(&app, head + &pieces + "0\r\nx-trailer: a\r\n\r\n").await.expect("an answer");
    assert_eq!(granted.status, 201, "{granted:?}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_first_is_told_to_go_on() {
    let app = TestApp::start().await;
    app.operator().create_drop("asks", 5, 5, &json!({})).await;
    let whole = order(app.shopper("a").token(), "k", "expect: 100-continue\r\n", br#"{"drop_id":"asks"}"#);
    let (head, body) = whole.split_at(whole.len() - 18);
    let mut wire = Wire::open(&app).await;
    wire.send(head).await;
    assert_eq!(wire.reply().await.expect("an answer").status, 100);
    wire.send(body).await;
    assert_eq!(wire.reply().await.expect("an answer").status, 201);
    app.finish().await;
}
