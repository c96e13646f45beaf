//! A request's place in a distributed trace: what its client said, and whether we record a span for it.

use axum::http::{HeaderMap, HeaderName, Method, StatusCode};
use opentelemetry::global::BoxedSpan;
use opentelemetry::trace::{Span as _, SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};
use stampede_domain::{TraceContext, TraceId, Traceparent};

use crate::settings::TraceSettings;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The methods that the semantic conventions know by name; any other is `_OTHER`, so that no client makes up names of spans.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// What is known of a request's trace until it is answered.
pub(super) struct Traced {
    /// The client's trace, or the one that was begun for a span of ours.
    trace_id: Option<TraceId>,
    span: Option<BoxedSpan>,
}

impl Traced {
    /// Of a request with these headers. Costs one look into the headers if it has no context and spans are not exported.
    pub fn of(headers: &HeaderMap, settings: Option<&TraceSettings>, method: &Method, route: Option<&str>) -> Self {
        let parent = client_context(headers);
        let trace_id = parent.map(|parent| parent.context.trace_id);
        if !settings.is_some_and(|settings| is_sampled(settings, parent)) {
            return Self { trace_id, span: None };
        }
        let method = METHODS.into_iter().find(|known| *known == method.as_str());
        let name = match (method, route) {
            (method, Some(route)) => format!("{} {route}", method.unwrap_or("HTTP")),
            (method, None) => method.unwrap_or("HTTP").to_owned(),
        };
        let tracer = stampede_engine::tracer();
        let span = tracer.span_builder(name).with_kind(SpanKind::Server).with_attributes(
            [KeyValue::new("http.request.method", method.unwrap_or("_OTHER"))]
                .into_iter()
                .chain(route.map(|route| KeyValue::new("http.route", route.to_owned()))),
        );
        let context = parent.map_or_else(Context::new, |parent| {
            Context::new().with_remote_span_context(stampede_engine::span_context(&parent.context, true))
        });
        let span = tracer.build_with_context(span, &context);
        // Without a provider behind it the span is none, and its ids are all zeros.
        let begun = span.span_context().is_valid();
        let own = begun.then(|| TraceId(span.span_context().trace_id().to_bytes()));
        Self { trace_id: trace_id.or(own), span: begun.then_some(span) }
    }

    /// What log lines say.
    pub const fn trace_id(&self) -> Option<TraceId> {
        self.trace_id
    }

    /// What the spans of everything that the request causes belong under, if it is recorded.
    pub fn context(&self) -> Option<TraceContext> {
        let context = self.span.as_ref()?.span_context();
        TraceContext::new(context.trace_id().to_bytes(), context.span_id().to_bytes())
    }

    /// The span, to be ended with the answer. If the client goes away before, it ends with the request.
    pub const fn take_span(&mut self) -> Option<BoxedSpan> {
        self.span.take()
    }
}

/// The request is answered.
pub(super) fn end(mut span: BoxedSpan, request_id: &str, status: StatusCode, outcome: &'static str) {
    span.set_attributes([
        KeyValue::new("http.response.status_code", i64::from(status.as_u16())),
        KeyValue::new("stampede.request_id", request_id.to_owned()),
        KeyValue::new("stampede.outcome", outcome),
    ]);
    if status.is_server_error() {
        span.set_attribute(KeyValue::new("error.type", outcome));
        span.set_status(Status::error(outcome));
    }
    span.end();
}

/// The context that the client sent. More than one is none, as is a malformed one.
fn client_context(headers: &HeaderMap) -> Option<Traceparent> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let only = values.next()?;
    if values.next().is_some() { None } else { Traceparent::parse(only.as_bytes()) }
}

/// Whether a span is recorded for the request. What a client of the public asks for decides nothing, nor do the ids that it
/// chose: anybody could have everything recorded.
fn is_sampled(settings: &TraceSettings, parent: Option<Traceparent>) -> bool {
    match parent {
        Some(parent) if settings.trust_clients => parent.is_sampled,
        _ => rand::random::<f64>() < settings.sample_ratio,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn headers(values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(TRACEPARENT, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn one_sound_context_is_taken_over() {
        let of = |values: &[&'static str]| {
            let traced = Traced::of(&headers(values), None, &Method::GET, None);
            assert!(traced.context().is_none(), "nothing is recorded");
            traced.trace_id().map(|id| id.to_string())
        };
        assert_eq!(of(&[SAMPLED]).as_deref(), Some("0af7651916cd43dd8448eb211c80319c"));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["00-what-ever-01"]), None);
        assert_eq!(of(&[SAMPLED, SAMPLED]), None, "nobody knows which one counts");
    }

    #[test]
    fn only_a_trusted_client_decides_what_is_recorded() {
        let client = |flag| Traceparent::parse(SAMPLED.replace("-01", flag).as_bytes());
        let sampled = |sample_ratio, trust_clients, parent| {
            (0..100).filter(|_| is_sampled(&TraceSettings { sample_ratio, trust_clients }, parent)).count()
        };
        for parent in [None, client("-00"), client("-01")] {
            assert_eq!(sampled(0.0, false, parent), 0);
            assert_eq!(sampled(1.0, false, parent), 100);
        }
        assert_eq!((sampled(0.0, true, client("-01")), sampled(1.0, true, client("-00"))), (100, 0));
        assert_eq!((sampled(0.0, true, None), sampled(1.0, true, None)), (0, 100));
    }
}
