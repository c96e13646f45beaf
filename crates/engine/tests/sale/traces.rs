//! Trace contexts in the log: there where an order is traced, and not a byte where none is.

use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use opentelemetry::{Context, global};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanData, SpanProcessor};
use stampede_domain::{MAX_GROUP_TRACES, TraceContext};
use stampede_engine::{Decision, DropTerms, OrderRequest};

use crate::support::{Harness, request};

fn context(n: usize) -> TraceContext {
    TraceContext::new((n as u128 + 1).to_be_bytes(), (n as u64 + 1_000).to_be_bytes()).expect("a context")
}

fn traced(drop: &Arc<DropTerms>, user: &str, key: &str, n: usize) -> OrderRequest {
    OrderRequest { trace: Some(context(n)), ..request(drop, user, key, 1) }
}

/// The names of the fields of the shard's last entry.
fn last_fields(h: &Harness) -> Vec<String> {
    let entry = h.redis().cli(&["XREVRANGE", &h.keys.log, "+", "-", "COUNT", "1"]);
    let names = ["epoch", "number", "kind", "data", "picks", "trace"];
    entry.lines().filter(|line| names.contains(line)).map(str::to_owned).collect()
}

pub async fn an_entry_carries_the_contexts_of_its_granted_orders(h: Harness) {
    let drop = h.open("traced", 3, 1).await;
    let orders = vec![
        traced(&drop, "a", "k", 0),
        traced(&drop, "a", "limit", 1),
        request(&drop, "b", "k", 1),
        traced(&drop, "c", "k", 2),
        traced(&drop, "d", "sold-out", 3),
    ];
    let decisions = h.in_one_group(orders).await;
    let granted = |decision: &Result<Decision, _>| matches!(decision, Ok(Decision::Granted(_)));
    assert_eq!(decisions.iter().map(granted).collect::<Vec<_>>(), [true, false, true, true, false], "{decisions:?}");
    let log = h.log().await;
    let entry = log.last().expect("an entry");
    assert_eq!(entry.traces(), [context(0), context(2)]);
    assert_eq!(entry.facts().expect("decodable").len(), 3);
    assert_eq!(log[0].traces(), [], "the opening");
    assert_eq!(last_fields(&h), ["epoch", "number", "kind", "data", "picks", "trace"]);
    // An older reader gives back what it knows of, so the bound must not count the rest.
    let bytes: u64 = log.iter().map(|entry| entry.receipt(&[]).bytes).sum();
    assert_eq!(h.engine.log_status(h.shard).await.expect("readable").backlog_bytes, bytes);
    // The persister reads it in its own way.
    let claim = h.engine.read_new(h.shard, "c", 10).await.expect("readable");
    assert_eq!(claim.entries, log);
}

pub async fn an_entry_without_traced_grants_is_as_it_always_was(h: Harness) {
    let drop = h.open("plain", 5, 1).await;
    h.buy(&drop, "a", "k", 1).await;
    assert_eq!(last_fields(&h), ["epoch", "number", "kind", "data", "picks"]);
    let orders = vec![request(&drop, "b", "k", 1), traced(&drop, "a", "limit", 0)];
    h.in_one_group(orders).await;
    assert_eq!(last_fields(&h), ["epoch", "number", "kind", "data", "picks"], "the traced order was refused");
    assert_eq!(h.log().await.last().expect("an entry").facts().expect("decodable").len(), 1);
}

pub async fn a_group_carries_no_more_contexts_than_it_may(h: Harness) {
    let drop = h.open("many", 100, 100).await;
    let keys: Vec<String> = (0..MAX_GROUP_TRACES + 5).map(|n| format!("k{n}")).collect();
    let orders: Vec<_> = keys.iter().enumerate().map(|(n, key)| traced(&drop, "a", key, n)).collect();
    h.in_one_group(orders).await;
    let log = h.log().await;
    let entry = log.last().expect("an entry");
    assert_eq!(entry.facts().expect("decodable").len(), keys.len());
    assert_eq!(entry.traces(), Vec::from_iter((0..MAX_GROUP_TRACES).map(context)));
}

pub async fn fields_of_a_newer_version_are_passed_over(h: Harness) {
    let drop = h.open("newer", 5, 5).await;
    h.buy(&drop, "a", "k", 1).await;
    let known = h.log().await;
    let last = known.last().expect("an entry").id;
    let add = |sequence: u64, more: &[&str]| {
        let id = format!("{}-{sequence}", last.ms + 1);
        let head = ["XADD", h.keys.log.as_str(), id.as_str()];
        let fields = ["epoch", "1", "number", "9", "kind", "paused", "data", "", "picks", ""];
        h.redis().cli(&[&head[..], &fields, more].concat());
    };
    add(0, &["later", "x"]);
    add(1, &["later", "x", "trace", "no contexts", "more", ""]);
    add(2, &["trace", ""]);
    let log = h.log().await;
    assert_eq!(log.len(), known.len() + 3);
    assert!(log[known.len()..].iter().all(|entry| entry.number == 9 && entry.traces().is_empty()));
    let claim = h.engine.read_new(h.shard, "c", 10).await.expect("readable");
    assert_eq!(claim.entries, log);
}

/// Keeps the ended spans of this process, whichever test they belong to.
#[derive(Clone, Debug, Default)]
struct Ended(Arc<Mutex<Vec<SpanData>>>);

impl SpanProcessor for Ended {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.0.lock().expect("whole").push(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

pub async fn a_call_is_in_the_trace_of_its_first_order_and_linked_to_the_others(h: Harness) {
    static ENDED: LazyLock<Ended> = LazyLock::new(|| {
        let ended = Ended::default();
        global::set_tracer_provider(SdkTracerProvider::builder().with_span_processor(ended.clone()).build());
        ended
    });
    let ended = ENDED.clone();
    let drop = h.open("linked", 10, 10).await;
    let begin = rand::random::<u32>() as usize + 1_000;
    let keys = ["k0", "k1", "k2"];
    let mut orders: Vec<_> = keys.iter().zip(begin..).map(|(key, n)| traced(&drop, "a", key, n)).collect();
    orders.insert(1, request(&drop, "b", "k", 1));
    h.in_one_group(orders).await;
    let log = h.log().await;
    let (entry, ours) = (log.last().expect("an entry"), [0, 1, 2].map(|n| context(begin + n)));

    // The answers are given behind the spans.
    let spans = ended.0.lock().expect("whole").clone();
    let in_trace = |of: &TraceContext, name: &str| -> Vec<SpanData> {
        let is_ours = |span: &&SpanData| span.span_context.trace_id().to_bytes() == of.trace_id.0 && span.name == name;
        spans.iter().filter(is_ours).cloned().collect()
    };
    for of in &ours {
        let waits = in_trace(of, "order queue");
        let parents: Vec<_> = waits.iter().map(|wait| wait.parent_span_id.to_bytes()).collect();
        assert_eq!(parents, [of.span_id], "one wait, however often the fence was met");
    }
    let calls = ours.map(|of| in_trace(&of, "EVALSHA sale/grant"));
    assert_eq!([calls[0].len(), calls[1].len(), calls[2].len()], [1, 0, 0], "one call for all");
    let linked: Vec<_> = calls[0][0].links.iter().map(|link| link.span_context.trace_id().to_bytes()).collect();
    assert_eq!(linked, [ours[1].trace_id.0, ours[2].trace_id.0]);
    let says = |name: &str| {
        let attribute = calls[0][0].attributes.iter().find(|attribute| attribute.key.as_str() == name);
        attribute.map(|attribute| attribute.value.to_string())
    };
    assert_eq!(
        (says("stampede.group.orders"), says("stampede.log.entry")),
        (Some("4".into()), Some(entry.id.to_string()))
    );
}
