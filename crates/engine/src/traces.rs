//! The spans of a group of orders. Only orders whose request is traced have any; for a group without one nothing is done.
//!
//! A group serves many requests, so its script call is the child of the first traced one, and linked to the others.

use std::time::SystemTime;

use opentelemetry::global::{self, BoxedTracer};
use opentelemetry::trace::{
    Link, Span, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState,
    Tracer,
};
use opentelemetry::{Context, KeyValue};
use stampede_domain::{Durability, LogId, Shard, TraceContext};

use crate::EngineError;
use crate::scripts::Script;

/// The name under which every span of this project is made.
const SCOPE: &str = "stampede";

/// Makes spans; to no effect unless the process exports them.
pub fn tracer() -> BoxedTracer {
    global::tracer(SCOPE)
}

/// A recorded span, as the tracer knows it. `is_remote` says that another process made it.
pub fn span_context(context: &TraceContext, is_remote: bool) -> SpanContext {
    let (trace_id, span_id) = (TraceId::from_bytes(context.trace_id.0), SpanId::from_bytes(context.span_id));
    SpanContext::new(trace_id, span_id, TraceFlags::SAMPLED, is_remote, TraceState::default())
}

/// An order whose request is traced, and since when it has waited for its group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TracedOrder {
    context: TraceContext,
    queued_at: SystemTime,
}

impl TracedOrder {
    /// An order that is put into the queue now.
    pub(crate) fn new(context: TraceContext) -> Self {
        Self { context, queued_at: SystemTime::now() }
    }
}

/// A call for a group with traced orders.
pub(crate) struct TracedCall {
    pub(crate) script: &'static Script,
    pub(crate) shard: Shard,
    pub(crate) sent_at: SystemTime,
    /// All orders of the group.
    pub(crate) orders: usize,
    /// The traced ones among them.
    pub(crate) traced: Vec<TracedOrder>,
}

impl TracedCall {
    /// The call has come to its end, with an entry if it granted anything: makes the spans of the waiting and of the call.
    pub(crate) fn record(self, done: Result<Option<LogId>, &EngineError>) {
        let Some((first, others)) = self.traced.split_first() else { return };
        let tracer = tracer();
        let shard = KeyValue::new("stampede.shard", self.shard.to_string());
        for order in &self.traced {
            let wait = tracer.span_builder("order queue").with_start_time(order.queued_at);
            let wait = wait.with_attributes([shard.clone()]);
            start(&tracer, wait, &order.context).end_with_timestamp(self.sent_at);
        }
        // As the semantic conventions for databases name a call of a script.
        let call = tracer.span_builder(format!("EVALSHA {}", self.script.name)).with_kind(SpanKind::Client);
        let call = call.with_start_time(self.sent_at).with_attributes([
            KeyValue::new("db.system.name", "redis"),
            KeyValue::new("db.operation.name", "EVALSHA"),
            KeyValue::new("db.stored_procedure.name", self.script.name),
            shard,
            KeyValue::new("stampede.group.orders", count(self.orders)),
            KeyValue::new("stampede.group.traced_orders", count(self.traced.len())),
        ]);
        let links = others.iter().map(|order| Link::with_context(span_context(&order.context, false)));
        let mut span = start(&tracer, call.with_links(links.collect()), &first.context);
        match done {
            Ok(Some(entry)) => span.set_attribute(KeyValue::new("stampede.log.entry", entry.to_string())),
            Ok(None) => {}
            Err(error) => span.set_status(Status::error(error.to_string())),
        }
        span.end();
    }
}

/// Orders were decided at `decided_at` and have waited for durability since; makes the span of that for each traced one.
pub(crate) fn record_durability<'a>(
    orders: impl Iterator<Item = &'a TracedOrder>,
    decided_at: SystemTime,
    durability: Durability,
    kept: &Result<(), EngineError>,
) {
    for order in orders {
        let tracer = tracer();
        let wait = tracer.span_builder("durability wait").with_start_time(decided_at);
        let wait = wait.with_attributes([KeyValue::new("stampede.durability", durability.as_str())]);
        let mut span = start(&tracer, wait, &order.context);
        if let Err(error) = kept {
            span.set_status(Status::error(error.to_string()));
        }
        span.end();
    }
}

fn start(tracer: &BoxedTracer, span: SpanBuilder, parent: &TraceContext) -> impl Span {
    let parent = Context::new().with_remote_span_context(span_context(parent, false));
    tracer.build_with_context(span, &parent)
}

fn count(orders: usize) -> i64 {
    i64::try_from(orders).unwrap_or(i64::MAX)
}
