//! What clients see of money, products, drops and stock, and how answers are written.

use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use stampede_domain::{DropDefinition, DropId, Durability, Mode, Money, Phase, Product, Sku, Timestamp, Version};
use stampede_engine::{Engine, LiveDrop};
use utoipa::ToSchema;

use crate::problem::Problem;

/// How long a shared cache may keep what everyone sees alike.
pub(crate) const CACHE_FOR_A_SECOND: HeaderValue = HeaderValue::from_static("public, max-age=1");
/// What may change at any moment is asked for again.
pub(crate) const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");
/// Tokens and orders are nobody else's business.
pub(crate) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// What most answers are.
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An answer of JSON.
pub(crate) fn json(status: StatusCode, cache: HeaderValue, body: &impl Serialize) -> Result<Response, Problem> {
    let bytes = serde_json::to_vec(body).map_err(|error| {
        tracing::error!(%error, "an answer cannot be written");
        Problem::Internal
    })?;
    Ok((status, [(CONTENT_TYPE, JSON), (CACHE_CONTROL, cache)], bytes).into_response())
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Items<T> {
    /// The items, newest first.
    pub items: Vec<T>,
    /// Where the list goes on: the `cursor` of the next page; null at the end.
    pub next_cursor: Option<String>,
}

/// An amount of money in the currency's minor unit.
#[derive(ToSchema)]
#[schema(as = Money)]
#[expect(dead_code, reason = "it describes what `Money` is written as")]
pub(crate) struct MoneyDocument {
    /// Cents, pence, or whole yen.
    #[schema(example = 12900)]
    amount_minor: i64,
    /// ISO 4217.
    #[schema(example = "EUR", pattern = "^[A-Z]{3}$")]
    currency: String,
}

/// What an answer waits for, and so what it survives.
#[derive(ToSchema)]
#[schema(as = Durability, rename_all = "snake_case")]
#[expect(dead_code, reason = "it describes what `Durability` is written as")]
pub(crate) enum DurabilityDocument {
    /// Nothing: a confirmed order survives a crash of the service; one of Redis once it is archived, within about a second.
    Memory,
    /// Redis's append-only file on disk: it survives a crash of Redis that comes back with its disk.
    Fsync,
    /// All replicas that may be promoted: it survives any failover.
    Replica,
}

/// A thing that can be sold.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Product)]
pub(crate) struct ProductView {
    #[schema(value_type = String, example = "AIR-1")]
    sku: Sku,
    name: String,
    description: Option<String>,
    /// An absolute http(s) address.
    image_url: Option<String>,
    /// The price of one unit.
    #[schema(value_type = MoneyDocument)]
    price: Money,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<Product> for ProductView {
    fn from(product: Product) -> Self {
        let Product { sku, name, description, image_url, price, created_at } = product;
        Self { sku, name, description, image_url, price, created_at }
    }
}

/// The units of a drop. `total = available + held + sold`, always.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Stock)]
pub(crate) struct StockView {
    total: u64,
    /// Units that can be ordered.
    available: u64,
    /// Units that nobody can order yet: they came back a moment ago to the drop that was sold out.
    held: u64,
    sold: u64,
    /// Rises with each change of the drop.
    #[schema(value_type = u64)]
    version: Version,
    /// When this was so, by the clock that decides.
    #[schema(value_type = String, format = DateTime)]
    as_of: Timestamp,
}

impl From<&LiveDrop> for StockView {
    fn from(live: &LiveDrop) -> Self {
        Self {
            total: live.total_units,
            available: live.available_units,
            held: live.held_units,
            sold: live.sold_units,
            version: live.version,
            as_of: live.as_of,
        }
    }
}

/// One sale of one product.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Drop)]
pub(crate) struct DropView {
    #[schema(value_type = String, example = "air-1-launch")]
    id: DropId,
    #[schema(value_type = String, example = "AIR-1")]
    sku: Sku,
    #[schema(value_type = String, example = "instant")]
    mode: Mode,
    /// `scheduled`, `live`, `sold_out`, `ended`, `paused` or `cancelled`.
    #[schema(value_type = String, example = "live")]
    phase: Phase,
    #[schema(value_type = String, format = DateTime)]
    starts_at: Timestamp,
    /// Null: until it is closed.
    #[schema(value_type = Option<String>, format = DateTime)]
    ends_at: Option<Timestamp>,
    /// Units that one user may hold.
    limit_per_user: u32,
    /// The price of one unit.
    #[schema(value_type = MoneyDocument)]
    price: Money,
    /// For how long after its order a shopper may cancel, in seconds.
    cancellable_for_s: u32,
    /// How many orders one user may cancel.
    cancellations_per_user: u32,
    /// What an answer waits for, and so what it survives.
    #[schema(value_type = DurabilityDocument)]
    durability: Durability,
    /// Over how many shards its stock is divided.
    stripes: u16,
    stock: StockView,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl DropView {
    /// A drop as it was defined, as it stands, and in the phase that it is in now.
    pub fn new(engine: &Engine, definition: &DropDefinition, live: &LiveDrop, phase: Phase) -> Self {
        Self {
            id: definition.id.clone(),
            sku: definition.sku.clone(),
            mode: definition.mode,
            phase,
            starts_at: live.window.starts_at,
            ends_at: live.window.ends_at,
            limit_per_user: live.limit_per_user,
            price: live.unit_price,
            cancellable_for_s: live.cancellable_for_s,
            cancellations_per_user: live.cancellations_per_user,
            durability: engine.durability(definition.durability),
            stripes: definition.stripes.count(),
            stock: StockView::from(live),
            created_at: definition.created_at,
        }
    }
}
