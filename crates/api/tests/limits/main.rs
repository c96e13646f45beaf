//! Rate limits, as clients meet them.

mod front;
mod user;

use std::num::NonZeroU32;
use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use stampede_api::RateLimit;
use stampede_testkit::{Answer, AppOptions, Caller, TestApp};

/// So many requests, and no more while a test runs.
fn limit(burst: u32) -> Option<RateLimit> {
    Some(RateLimit { period: PERIOD, burst: NonZeroU32::new(burst).expect("some") })
}

const PERIOD: Duration = Duration::from_secs(3_600);

/// A service behind a trusted proxy: this test.
fn behind_proxy() -> AppOptions {
    let mut options = AppOptions::default();
    options.api.rate_limits.trusted_proxies = vec!["127.0.0.1".to_owned()];
    options
}

/// A request as a proxy passes it on.
fn forwarded(request: RequestBuilder, client: &str) -> RequestBuilder {
    request.header("x-forwarded-for", client)
}

async fn get_for(caller: &Caller, path: &str, client: &str) -> Answer {
    caller.send(forwarded(caller.request(Method::GET, path), client)).await
}

/// Asserts a refusal by a limit of so many, and everything that it must say.
#[track_caller]
fn expect_limited(answer: Answer, burst: u64) -> Answer {
    let answer = answer.expect_problem(429, "rate-limited");
    assert_eq!(answer.body["retryable"], true);
    assert_eq!(answer.text("/type"), "/problems/rate-limited");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(standing(&answer), Some((burst, 0)));
    let (retry, reset) = (header_number(&answer, "retry-after"), header_number(&answer, "ratelimit-reset"));
    let period = PERIOD.as_secs();
    assert!((1..=period).contains(&retry) && (retry..=burst * period).contains(&reset), "{:?}", answer.headers);
    assert!(answer.text("/detail").contains(&format!("wait {retry} s")), "{:?}", answer.body);
    answer
}

/// The limit and what remains of it, if the answer says so.
fn standing(answer: &Answer) -> Option<(u64, u64)> {
    let said =
        ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"].map(|name| !answer.header(name).is_empty());
    assert!(said == [true; 3] || said == [false; 3], "all of them or none: {:?}", answer.headers);
    said[0].then(|| (header_number(answer, "ratelimit-limit"), header_number(answer, "ratelimit-remaining")))
}

fn header_number(answer: &Answer, name: &str) -> u64 {
    answer.header(name).parse().unwrap_or_else(|_| panic!("no number in {name}: {:?}", answer.headers))
}

/// Sends a request to a path that is not below `/api/v1`.
async fn get_root(app: &TestApp, path: &str) -> Answer {
    let caller = app.with_token(None);
    caller.send(stampede_testkit::http_client().build().expect("a client").get(format!("{}{path}", app.origin))).await
}
