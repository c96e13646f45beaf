//! An OTLP receiver over HTTP: reads what is really sent, and remembers it.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;

use super::support::LIMIT;

/// A span as it was received.
#[derive(Clone, Debug)]
pub struct Received {
    pub service: String,
    pub span: Span,
}

/// The receiver; it ends with its test's runtime.
pub struct Receiver {
    pub endpoint: String,
    seen: Arc<Mutex<Vec<Received>>>,
}

type Seen = Arc<Mutex<Vec<Received>>>;

/// What the receiver wants to be told, so that nobody else's spans are taken for ours.
pub const HEADER: (&str, &str) = ("x-password", "s3cret");

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let seen = Seen::default();
        let router = Router::new().route("/v1/traces", post(receive)).with_state(Arc::clone(&seen));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { endpoint, seen }
    }

    pub fn spans(&self) -> Vec<Received> {
        self.seen.lock().expect("whole").clone()
    }

    /// Waits until spans have come that `are_enough`.
    pub async fn wait_for(&self, are_enough: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let spans = self.spans();
            if are_enough(&spans) {
                return spans;
            }
            assert!(Instant::now() < deadline, "{:?}", spans.iter().map(|one| &one.span.name).collect::<Vec<_>>());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

async fn receive(State(seen): State<Seen>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let is = |name: &str, value: &str| headers.get(name).is_some_and(|sent| sent == value);
    if !is("content-type", "application/x-protobuf") || !is(HEADER.0, HEADER.1) {
        return StatusCode::UNAUTHORIZED;
    }
    let Ok(request) = ExportTraceServiceRequest::decode(body) else { return StatusCode::BAD_REQUEST };
    let mut seen = seen.lock().expect("whole");
    for of_resource in request.resource_spans {
        let resource = of_resource.resource.map(|resource| resource.attributes).unwrap_or_default();
        let service = text(&resource, "service.name").expect("a service");
        for name in ["service.version", "service.instance.id", "stampede.role"] {
            assert!(text(&resource, name).is_some(), "{name}");
        }
        let spans = of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        seen.extend(spans.map(|span| Received { service: service.clone(), span }));
    }
    StatusCode::OK
}

impl Received {
    pub fn text(&self, name: &str) -> Option<String> {
        text(&self.span.attributes, name)
    }

    pub fn number(&self, name: &str) -> Option<i64> {
        match value(&self.span.attributes, name)? {
            Value::IntValue(number) => Some(*number),
            _ => None,
        }
    }

    /// Whether it belongs to this trace: as a part of it, or by a link.
    pub fn is_of(&self, trace_id: &[u8]) -> bool {
        self.span.trace_id == trace_id || self.span.links.iter().any(|link| link.trace_id == trace_id)
    }
}

fn value<'a>(attributes: &'a [KeyValue], name: &str) -> Option<&'a Value> {
    attributes.iter().find(|one| one.key == name)?.value.as_ref()?.value.as_ref()
}

fn text(attributes: &[KeyValue], name: &str) -> Option<String> {
    match value(attributes, name)? {
        Value::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}
