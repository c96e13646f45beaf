//! The admin listener: metrics, and whether the process lives.

use std::net::TcpListener;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use tokio_util::sync::CancellationToken;

use crate::telemetry::Metrics;

/// The type of Prometheus's text format.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers until `stop`.
///
/// # Errors
/// If the listener cannot be used.
pub async fn serve(listener: TcpListener, metrics: Metrics, stop: CancellationToken) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let router = Router::new()
        .route("/metrics", get(async move || ([(CONTENT_TYPE, EXPOSITION)], metrics.render().await)))
        .route("/healthz", get(async || axum::Json(serde_json::json!({ "status": "ok" }))));
    // Whoever reads metrics may keep a connection open for ever: it is cut, not waited for.
    tokio::select! {
        served = async { axum::serve(listener, router).await } => served,
        () = stop.cancelled() => Ok(()),
    }
}
