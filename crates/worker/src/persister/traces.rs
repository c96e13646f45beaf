//! The spans of entries with traced orders. An entry without one costs nothing here.
//!
//! An entry serves many requests, so its span is the child of the first traced one, and linked to the others.

use std::time::{Duration, SystemTime};

use opentelemetry::trace::{Link, Span as _, SpanKind, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};
use stampede_engine::{span_context, tracer};

use super::batch::Moving;

/// An entry was archived and acknowledged, in a batch of so many that was begun to be read at `began_at`.
pub(super) fn record(moving: &Moving, began_at: SystemTime, batch_entries: usize) {
    let Some((first, others)) = moving.traces.split_first() else { return };
    let entry = moving.receipt.id;
    let decided_at = SystemTime::UNIX_EPOCH + Duration::from_millis(entry.ms);
    // Redis's clock may be ahead of ours.
    let lag = decided_at.elapsed().unwrap_or_default();
    let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let tracer = tracer();
    let span = tracer.span_builder("persist").with_kind(SpanKind::Consumer).with_start_time(began_at);
    let span = span.with_links(others.iter().map(|context| Link::with_context(span_context(context, true))).collect());
    let span = span.with_attributes([
        KeyValue::new("messaging.system", "redis"),
        KeyValue::new("messaging.operation.type", "process"),
        KeyValue::new("messaging.message.id", entry.to_string()),
        KeyValue::new("messaging.batch.message_count", count(batch_entries)),
        KeyValue::new("stampede.shard", moving.shard.to_string()),
        KeyValue::new("stampede.log.entry", entry.to_string()),
        KeyValue::new("stampede.facts", count(moving.facts.len())),
        KeyValue::new("stampede.lag_ms", i64::try_from(lag.as_millis()).unwrap_or(i64::MAX)),
    ]);
    let parent = Context::new().with_remote_span_context(span_context(first, true));
    tracer.build_with_context(span, &parent).end();
}
