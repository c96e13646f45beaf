//! The yardstick of the benchmarks: the routes of a sale with the same listener, the same check of the token and the same
//! JSON in and out, but a constant answer. What it does not do is what a sale costs.
//!
//! `null_handler ADDR:PORT`; the HS256 secret comes from `STAMPEDE_TOKEN_SECRET`.

use std::net::TcpListener;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use stampede_api::{ApiSettings, TokenAlgorithm, TokenKey, TokenSettings, Tokens};
use tokio_util::sync::CancellationToken;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlaceOrder<'a> {
    drop_id: &'a str,
    #[serde(default)]
    quantity: Option<u64>,
}

#[derive(Serialize)]
struct Money {
    amount_minor: i64,
    currency: &'static str,
}

#[derive(Serialize)]
struct Order<'a> {
    id: &'static str,
    drop_id: &'a str,
    sku: &'static str,
    user_id: &'a str,
    quantity: u64,
    unit_price: Money,
    total_price: Money,
    status: &'static str,
    placed_at: &'static str,
}

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).ok_or("usage: null_handler ADDR:PORT")?;
    let secret = std::env::var("STAMPEDE_TOKEN_SECRET")?;
    let key = TokenKey {
        kid: "main".to_owned(),
        algorithm: TokenAlgorithm::Hs256,
        secret: Some(secret.into()),
        private_key: None,
        public_key: None,
    };
    let settings =
        ApiSettings { tokens: TokenSettings { keys: vec![key], ..TokenSettings::default() }, ..ApiSettings::default() };
    let tokens = Arc::new(Tokens::new(&settings.tokens)?);
    let router = Router::new()
        .route("/api/v1/orders", post(place_order))
        .route("/api/v1/products/{sku}/sale-status", get(sale_status))
        .with_state(tokens);
    let listener = TcpListener::bind(address)?;
    stampede_api::serve(listener, router, CancellationToken::new(), &settings).await?;
    Ok(())
}

async fn place_order(State(tokens): State<Arc<Tokens>>, headers: HeaderMap, body: Bytes) -> Response {
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let Some(Ok(identity)) = token.map(|token| tokens.verify(token)) else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    let Ok(asked) = serde_json::from_slice::<PlaceOrder<'_>>(&body) else {
        return StatusCode::UNPROCESSABLE_ENTITY.into_response();
    };
    let price = || Money { amount_minor: 12_900, currency: "EUR" };
    let order = Order {
        id: "01a1fc0e-8f71-8001-8000-0003fc3337f9",
        drop_id: asked.drop_id,
        sku: "bench-sku",
        user_id: identity.user_id.as_str(),
        quantity: asked.quantity.unwrap_or(1),
        unit_price: price(),
        total_price: price(),
        status: "confirmed",
        placed_at: "2026-11-27T09:00:00.000Z",
    };
    let Ok(json) = serde_json::to_vec(&order) else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::LOCATION, HeaderValue::from_static("/api/v1/orders/01a1fc0e-8f71-8001-8000-0003fc3337f9")),
    ];
    (StatusCode::CREATED, headers, json).into_response()
}

async fn sale_status() -> Response {
    const STATUS: &str = r#"{"drop_id":"bench","sku":"bench-sku","phase":"live","starts_at":"2026-11-27T09:00:00.000Z","ends_at":null,"available":1000000,"total":1000000,"limit_per_user":1,"price":{"amount_minor":12900,"currency":"EUR"},"version":4294967298,"as_of":"2026-11-27T09:00:00.000Z","server_time":"2026-11-27T09:00:00.000Z"}"#;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=1")),
        (header::ETAG, HeaderValue::from_static("\"4294967298-live\"")),
    ];
    (headers, STATUS).into_response()
}
