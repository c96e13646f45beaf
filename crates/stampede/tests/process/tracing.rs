//! Traces as a receiver gets them: from the client through the script call to the archive, out of processes of their own.

use std::process::Command;

use reqwest::StatusCode;
use stampede_testkit::{Redis, free_port};
use tokio::net::TcpListener;

use super::receiver::{HEADER, Received, Receiver};
use super::support::{Api, Dev, Running, run, stampede};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A client's trace and its span, so many bytes of one kind.
const TRACE: [u8; 16] = [0xa7; 16];
const SPAN: [u8; 8] = [0xb8; 8];

fn traceparent(flags: &str) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("00-{}-{}-{flags}", hex(&TRACE), hex(&SPAN))
}

/// With its traces sent to this address.
fn traced<'a>(command: &'a mut Command, endpoint: &str) -> &'a mut Command {
    let (name, value) = HEADER;
    command.env("STAMPEDE_OTLP_ENDPOINT", endpoint).env("STAMPEDE_OTLP_HEADERS", format!("{name}={value}"));
    command.env("STAMPEDE_LOG", "warn")
}

fn named<'a>(spans: &'a [Received], name: &str) -> Vec<&'a Received> {
    spans.iter().filter(|one| one.span.name == name).collect()
}

fn one<'a>(spans: &'a [Received], name: &str) -> &'a Received {
    match named(spans, name)[..] {
        [one] => one,
        ref some => panic!("{} spans of {name}", some.len()),
    }
}

/// Trusted clients say what is traced: one order of four.
#[tokio::test]
async fn a_clients_trace_goes_from_its_request_to_the_archive() {
    let (receiver, redis) = (Receiver::start().await, Redis::start().await);
    let dir = tempfile::tempdir().expect("a folder");
    let archive = format!("sqlite:{}", dir.path().join("archive.db").display());
    let role = |args: &[&str]| -> Command {
        let mut command = stampede(args);
        command.env("STAMPEDE_REDIS_URL", redis.url()).env("STAMPEDE_ARCHIVE_URL", &archive);
        command.env("STAMPEDE_TOKEN_SECRET", SECRET).env("STAMPEDE_SIGN_IN", "handle");
        command.env("STAMPEDE_ADMIN_LISTEN", "127.0.0.1:0");
        command.env("STAMPEDE_TRACE_SAMPLE_RATIO", "0").env("STAMPEDE_TRACE_TRUST_CLIENTS", "true");
        traced(&mut command, &receiver.endpoint);
        command
    };
    assert_eq!(run(&mut role(&["migrate"])).0, Some(0));
    let origin = format!("127.0.0.1:{}", free_port());
    let api = Running::start(&mut role(&["api", "--listen", &origin]));
    let worker = Running::start(&mut role(&["worker"]));
    let url = format!("http://{origin}");
    let shop = Api::new(&format!("{url}/api/v1"));
    shop.wait_until_ready().await;
    let (code, _, stderr) = run(role(&["seed", "--units", "9", "--drop-id", "friday"]).env("API_URL", &url));
    assert_eq!(code, Some(0), "{stderr}");

    for (user, traceparent) in [
        ("ann", None),
        ("bob", Some("00-malformed-01".to_owned())),
        ("cid", Some(traceparent("00"))),
        ("dan", Some(traceparent("01"))),
    ] {
        let mut shop = Api::new(&format!("{url}/api/v1")).sign_in(user).await;
        shop.traceparent = traceparent;
        let (status, _, order) = shop.order("friday", "once").await;
        assert_eq!(status, StatusCode::CREATED, "{user}: {order}");
    }
    // They come while the sale goes on, and not only at its end.
    receiver.wait_for(|spans| !named(spans, "persist").is_empty() && spans.len() >= 4).await;
    assert_eq!((api.stop().code(), worker.stop().code()), (Some(0), Some(0)));

    let spans = receiver.spans();
    assert_eq!(spans.len(), 4, "the others are not traced: {spans:?}");
    assert!(spans.iter().all(|one| one.span.trace_id == TRACE), "{spans:?}");
    let request = one(&spans, "POST /api/v1/orders");
    assert_eq!((request.service.as_str(), &request.span.parent_span_id[..]), ("stampede-api", &SPAN[..]));
    assert_eq!(request.text("http.request.method").as_deref(), Some("POST"));
    assert_eq!(request.text("http.route").as_deref(), Some("/api/v1/orders"));
    assert_eq!(request.number("http.response.status_code"), Some(201));
    assert_eq!(request.text("stampede.outcome").as_deref(), Some("granted"));
    for name in ["order queue", "EVALSHA sale/grant", "persist"] {
        assert_eq!(one(&spans, name).span.parent_span_id, request.span.span_id, "{name}");
    }
    let (call, persist) = (one(&spans, "EVALSHA sale/grant"), one(&spans, "persist"));
    assert_eq!(call.text("db.system.name").as_deref(), Some("redis"));
    assert_eq!(call.number("stampede.group.orders"), Some(1));
    assert_eq!(persist.service, "stampede-worker");
    assert_eq!((persist.number("stampede.facts"), persist.number("stampede.lag_ms").is_some()), (Some(1), true));
    for name in ["stampede.shard", "stampede.log.entry"] {
        assert!(call.text(name).is_some() && call.text(name) == persist.text(name), "{name}");
    }
    let times = |one: &Received| (one.span.start_time_unix_nano, one.span.end_time_unix_nano);
    assert!(times(request).0 <= times(call).0 && times(call).1 <= times(request).1);
    assert_eq!(times(one(&spans, "order queue")).1, times(call).0);
}

/// Strangers decide nothing, and many orders share a call and an entry.
#[tokio::test]
async fn a_share_of_the_requests_is_traced_whatever_strangers_say() {
    let receiver = Receiver::start().await;
    let dir = tempfile::tempdir().expect("a folder");
    let mut command = stampede(&["dev"]);
    traced(&mut command, &receiver.endpoint).env("STAMPEDE_TRACE_SAMPLE_RATIO", "1");
    let dev = Dev::start_with(&mut command, dir.path());
    let url = dev.address("API ");
    let ann = Api::new(&url).sign_in("ann").await;
    assert_eq!(ann.order("demo", "once").await.0, StatusCode::CREATED);
    let mut bob = Api::new(&url).sign_in("bob").await;
    bob.traceparent = Some(traceparent("00"));
    for key in ["once", "twice"] {
        assert_eq!(bob.order("demo", key).await.0, StatusCode::CREATED);
    }
    let (status, _, problem) = bob.order("demo", "thrice").await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{problem}");
    let wanted = |spans: &[Received]| named(spans, "persist").len() == 3;
    receiver.wait_for(wanted).await;
    assert_eq!(dev.process.stop().code(), Some(0));

    let spans = receiver.spans();
    let requests = named(&spans, "POST /api/v1/orders");
    let outcomes: Vec<_> = requests.iter().filter_map(|one| one.text("stampede.outcome")).collect();
    assert_eq!(outcomes, ["granted", "granted", "granted", "limit-reached"]);
    assert!(requests[0].span.parent_span_id.is_empty() && !requests[0].is_of(&TRACE), "a trace of its own");
    assert!(requests[1..].iter().all(|one| one.span.parent_span_id == SPAN && one.is_of(&TRACE)), "its client's");
    for request in &requests {
        let of_it = |name| named(&spans, name).into_iter().filter(|one| one.is_of(&request.span.trace_id)).count();
        assert!(of_it("EVALSHA sale/grant") >= 1 && of_it("order queue") >= 1, "{request:?}");
    }
    let persisted = |one: &&Received| named(&spans, "persist").iter().any(|entry| entry.is_of(&one.span.trace_id));
    assert!(requests.iter().all(persisted), "bob's refused order is of the same trace as his granted one");
    assert!(!named(&spans, "POST /api/v1/sessions").is_empty(), "not only orders");
}

#[tokio::test]
async fn nothing_is_traced_at_a_share_of_zero() {
    let receiver = Receiver::start().await;
    let dir = tempfile::tempdir().expect("a folder");
    let mut command = stampede(&["dev"]);
    traced(&mut command, &receiver.endpoint).env("STAMPEDE_TRACE_SAMPLE_RATIO", "0");
    let dev = Dev::start_with(&mut command, dir.path());
    let mut shop = dev.api().sign_in("ann").await;
    shop.traceparent = Some(traceparent("01"));
    assert_eq!(shop.order("demo", "once").await.0, StatusCode::CREATED);
    assert_eq!(dev.process.stop().code(), Some(0));
    assert!(receiver.spans().is_empty(), "{:?}", receiver.spans());
}

/// A receiver that is not there refuses connections; one that hangs takes them and says nothing.
#[tokio::test]
async fn a_receiver_that_is_away_harms_no_sale() {
    let hanging = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let hanging_at = hanging.local_addr().expect("an address").to_string();
    let away_at = format!("127.0.0.1:{}", free_port());
    for (receiver, says) in [(away_at, "Connection refused"), (hanging_at, "the last spans are lost")] {
        let dir = tempfile::tempdir().expect("a folder");
        let log = dir.path().join("log");
        let mut command = stampede(&["dev"]);
        traced(&mut command, &format!("http://{receiver}")).env("STAMPEDE_TRACE_SAMPLE_RATIO", "1");
        command.stderr(std::fs::File::create(&log).expect("created"));
        let dev = Dev::start_with(&mut command, &dir.path().join("dev"));
        let shop = dev.api().sign_in("ann").await;
        assert_eq!(shop.order("demo", "once").await.0, StatusCode::CREATED);
        assert_eq!(dev.process.stop().code(), Some(0));
        let log = std::fs::read_to_string(&log).expect("written");
        assert_eq!(log.matches(says).count(), 1, "{log}");
        assert!(!log.contains(HEADER.1), "{log}");
    }
}

#[test]
fn settings_of_traces_that_cannot_be_used_are_refused() {
    for (variable, value, says) in [
        ("STAMPEDE_OTLP_ENDPOINT", "collector:4318", "otlp_endpoint must begin with http:// or https://"),
        ("STAMPEDE_OTLP_ENDPOINT", "no address", "otlp_endpoint is no address: write it as http://"),
        ("STAMPEDE_OTLP_ENDPOINT", "http://me:s3cret@collector:4318", "otlp_headers"),
        ("STAMPEDE_OTLP_ENDPOINT", "http://collector:4318/?token=s3cret", "must end with its path"),
        ("STAMPEDE_OTLP_HEADERS", "s3cret", "otlp_headers must be name=value"),
        ("STAMPEDE_OTLP_HEADERS", "a b=s3cret", "otlp_headers must be name=value"),
        ("STAMPEDE_TRACE_SAMPLE_RATIO", "1.01", "it must be from 0 to 1"),
        ("STAMPEDE_TRACE_SAMPLE_RATIO", "some", "must be a number from 0 to 1"),
    ] {
        let (code, _, stderr) = run(stampede(&["config"]).env(variable, value));
        assert_eq!(code, Some(1), "{variable}={value}: {stderr}");
        assert!(stderr.contains(says) && !stderr.contains("s3cret"), "{variable}={value}: {stderr}");
    }
}
