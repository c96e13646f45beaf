//! Sessions: a token for whoever signs in, in the answer and as a cookie. `authority` says what it is good for.

use reqwest::Method;
use serde_json::json;
use stampede_testkit::TestApp;

#[tokio::test(flavor = "multi_thread")]
async fn a_session_gives_a_token_and_a_cookie_that_writes_only_from_our_origin() {
    let app = TestApp::start().await;
    app.operator().create_drop("cookie", 5, 5, &json!({})).await;
    let anyone = app.with_token(None);
    anyone.post("/sessions", &json!({"handle": "x"})).await.expect_problem(422, "invalid-request");
    let session = anyone.post("/sessions", &json!({"handle": "some_one"})).await.expect(201);
    assert_eq!((session.text("/user_id"), session.header("cache-control")), ("some_one", "no-store"));
    let cookie = session.header("set-cookie").split(';').next().expect("a cookie").to_owned();
    assert!(session.header("set-cookie").contains("HttpOnly"), "{}", session.header("set-cookie"));
    let me = app.with_token(Some(session.text("/token"))).get("/sessions/current").await.expect(200);
    assert_eq!(me.text("/user_id"), "some_one");

    let order = |origin: Option<&str>| {
        let request = anyone.order_request("cookie", 1, "k").header("cookie", &cookie);
        origin.into_iter().fold(request, |request, origin| request.header("origin", origin))
    };
    anyone.send(order(None)).await.expect_problem(403, "forbidden");
    anyone.send(order(Some("https://evil.example"))).await.expect_problem(403, "forbidden");
    anyone.send(order(Some(&app.origin))).await.expect(201);
    let read = anyone.request(Method::GET, "/orders").header("cookie", &cookie);
    assert_eq!(anyone.send(read).await.expect(200).body["items"].as_array().map(Vec::len), Some(1));
    app.finish().await;
}
