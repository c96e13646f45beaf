//! Traces, to an OTLP receiver.
//!
//! Spans go into a bounded queue, and a task sends them in batches. Nothing waits for that: what finds no room, or what the
//! receiver does not take, is counted and lost.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use metrics::counter;
use opentelemetry::{Context, KeyValue, global};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    Protocol, RetryPolicy, SpanExporter as OtlpExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, Span, SpanData, SpanExporter as _, SpanProcessor};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::catalogue::TRACE_SPANS;
use super::metrics::Role;
use crate::config::Config;

/// The most spans that wait to be sent.
const QUEUE_SPANS: usize = 4_096;

/// The most spans in one request to the receiver.
const BATCH_SPANS: usize = 512;

/// How long the first span of a batch waits for others.
const GATHER: Duration = Duration::from_secs(1);

/// How long the receiver may take for one batch.
const EXPORT_LIMIT: Duration = Duration::from_secs(5);

/// How long a stopping process waits for what is left to be sent.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

/// How often it is said that the receiver takes nothing.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// The export of spans; nothing at all unless there is a receiver.
#[derive(Default)]
pub struct Traces {
    running: Option<(CancellationToken, JoinHandle<()>)>,
}

/// Starts exporting spans if the settings name a receiver. `role` is what this process does. To be called within the runtime,
/// after the metrics were started.
///
/// # Errors
/// If the receiver's address or headers cannot be used.
pub fn start_traces(config: &Config, role: Role) -> anyhow::Result<Traces> {
    let Some(url) = config.traces_url()? else { return Ok(Traces::default()) };
    let reason = Reason::default();
    let mut exporter = exporter(config, url.as_str(), &reason)?;
    let resource = resource(role);
    exporter.set_resource(&resource);
    let (queue, spans) = mpsc::channel(QUEUE_SPANS);
    // What is traced is decided by whoever begins a trace; what comes here is to be recorded.
    let provider = SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOn).with_resource(resource);
    global::set_tracer_provider(provider.with_span_processor(Queue(queue)).build());
    for outcome in ["exported", "failed", "dropped"] {
        counter!(TRACE_SPANS.name, "outcome" => outcome).absolute(0);
    }
    let stop = CancellationToken::new();
    let sender = Sender { exporter, url: url.to_string(), spans, reason, failing: None };
    let task = tokio::spawn(sender.run(stop.clone()));
    tracing::info!(receiver = url.as_str(), sample_ratio = config.trace_sample_ratio.get(), "traces are exported");
    Ok(Traces { running: Some((stop, task)) })
}

impl Traces {
    /// Sends what is left, as far as there is time.
    pub async fn stop(self) {
        let Some((stop, task)) = self.running else { return };
        stop.cancel();
        let abort = task.abort_handle();
        if timeout(FLUSH_LIMIT, task).await.is_err() {
            abort.abort();
            tracing::warn!("the receiver of traces takes too long; the last spans are lost");
        }
    }
}

fn exporter(config: &Config, url: &str, reason: &Reason) -> anyhow::Result<OtlpExporter> {
    let redirects = reqwest::redirect::Policy::none();
    let client = reqwest::Client::builder().timeout(EXPORT_LIMIT).redirect(redirects).build()?;
    let client = Client { client, reason: Arc::clone(reason) };
    let builder = OtlpExporter::builder().with_http().with_http_client(client).with_headers(config.traces_headers()?);
    let builder = builder.with_endpoint(url).with_protocol(Protocol::HttpBinary).with_timeout(EXPORT_LIMIT);
    // Spans that cannot be sent now are lost: those that come meanwhile are worth more than those that went before.
    builder.with_retry_policy(RetryPolicy::disabled()).build().context("otlp_endpoint, otlp_headers")
}

/// Why the receiver was not reached the last time. The exporter itself says only that it was not.
type Reason = Arc<Mutex<Option<String>>>;

/// The client of the exporter.
#[derive(Debug)]
struct Client {
    client: reqwest::Client,
    reason: Reason,
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        self.client.send_bytes(request).await.inspect_err(|error| {
            let causes = std::iter::successors(Some(&**error as &dyn std::error::Error), |error| error.source());
            let last = causes.last().map(ToString::to_string);
            *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = last;
        })
    }
}

/// What all spans of this process have in common. The process's environment may add to it (`OTEL_RESOURCE_ATTRIBUTES`).
fn resource(role: Role) -> Resource {
    Resource::builder()
        .with_service_name(format!("stampede-{}", role.as_str()))
        .with_attributes([
            KeyValue::new("service.namespace", "stampede"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", uuid::Uuid::new_v4().to_string()),
            KeyValue::new("stampede.role", role.as_str()),
        ])
        .build()
}

/// Where ended spans go. Whoever ends one never waits.
#[derive(Debug)]
struct Queue(mpsc::Sender<SpanData>);

impl SpanProcessor for Queue {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.0.try_send(span).is_err() {
            counter!(TRACE_SPANS.name, "outcome" => "dropped").increment(1);
        }
    }

    /// [`Traces::stop`] does it, within the runtime.
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Sends spans in batches until it is told to stop and the queue is empty.
struct Sender {
    exporter: OtlpExporter,
    url: String,
    spans: mpsc::Receiver<SpanData>,
    reason: Reason,
    failing: Option<Failing>,
}

/// Since the receiver did not take a batch.
struct Failing {
    /// When it was last said so.
    said_at: Instant,
    /// Spans that were lost.
    lost: usize,
}

impl Sender {
    async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH_SPANS);
        while self.gather(&mut batch, &stop).await {
            let spans = batch.len();
            let exported = self.exporter.export(std::mem::replace(&mut batch, Vec::with_capacity(BATCH_SPANS))).await;
            self.count(spans, exported);
        }
    }

    /// Waits for a batch; false at the end.
    async fn gather(&mut self, batch: &mut Vec<SpanData>, stop: &CancellationToken) -> bool {
        let mut until = None;
        while batch.len() < BATCH_SPANS {
            let (room, is_open) = (BATCH_SPANS - batch.len(), !self.spans.is_closed());
            let more = async {
                match until {
                    Some(until) => timeout_at(until, self.spans.recv_many(batch, room)).await.ok(),
                    None => Some(self.spans.recv_many(batch, room).await),
                }
            };
            tokio::select! {
                // What is in the queue is all that will be sent.
                () = stop.cancelled(), if is_open => self.spans.close(),
                received = more => match received {
                    None | Some(0) => break,
                    Some(_) => {
                        until.get_or_insert_with(|| Instant::now() + GATHER);
                    }
                },
            }
        }
        !batch.is_empty()
    }

    fn count(&mut self, spans: usize, exported: OTelSdkResult) {
        let outcome = if exported.is_ok() { "exported" } else { "failed" };
        counter!(TRACE_SPANS.name, "outcome" => outcome).increment(spans as u64);
        let Err(error) = exported else {
            if let Some(failing) = self.failing.take() {
                tracing::info!(receiver = self.url, lost = failing.lost, "traces are exported again");
            }
            return;
        };
        let reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner).take();
        let error = reason.unwrap_or_else(|| error.to_string());
        let now = Instant::now();
        let say = self.failing.as_ref().is_none_or(|failing| now - failing.said_at >= COMPLAIN_EVERY);
        let failing = self.failing.get_or_insert(Failing { said_at: now, lost: 0 });
        failing.lost += spans;
        if say {
            failing.said_at = now;
            tracing::warn!(
                receiver = self.url,
                error,
                lost = failing.lost,
                "traces cannot be exported; sales go on without"
            );
        }
    }
}
