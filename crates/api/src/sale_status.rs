//! What a shop's page asks for again and again while it waits.

use std::convert::Infallible;
use std::time::Instant;

use axum::extract::{FromRequestParts, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use bytes::Bytes;
use stampede_domain::Sku;
use utoipa::ToSchema;

use crate::extract::PathId;
use crate::openapi::problems;
use crate::reply::{Reply, Template};
use crate::snapshots::{SaleStatus, SkuWatch};
use crate::state::ApiState;
use crate::view::{CACHE_FOR_A_SECOND, JSON, MoneyDocument};

/// The drop of a product to show: the one that sells, else the next that will, else the last that did.
#[derive(ToSchema)]
#[schema(as = SaleStatus)]
#[expect(dead_code, reason = "it describes what the snapshots write")]
struct SaleStatusDocument {
    drop_id: String,
    sku: String,
    /// `scheduled`, `live`, `sold_out`, `ended`, `paused` or `cancelled`.
    #[schema(example = "live")]
    phase: String,
    #[schema(format = DateTime)]
    starts_at: String,
    /// Null: until it is closed.
    #[schema(format = DateTime, required = true)]
    ends_at: Option<String>,
    available: u64,
    total: u64,
    limit_per_user: u32,
    price: MoneyDocument,
    /// Rises with each change.
    version: u64,
    /// When the stock was so, by the clock that decides.
    #[schema(format = DateTime)]
    as_of: String,
    /// What the clock that decides says now: count down by it, not by the browser's.
    #[schema(format = DateTime)]
    server_time: String,
}

problems!(StatusProblems: NotFound, ShardRecovering, Unavailable);

/// Shows the sale of a product.
#[utoipa::path(
    get, path = "/products/{sku}/sale-status", tag = "products",
    params(
        ("sku" = String, Path, description = "The product's sku"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of the answer before"),
    ),
    responses(
        (status = 200, description = "The sale", body = SaleStatusDocument, headers(("ETag" = String, description = "From `version` and `phase`"))),
        (status = 304, description = "Nothing has changed"),
        StatusProblems,
    ),
)]
pub(crate) async fn get_sale_status(
    State(state): State<ApiState>,
    PathId(sku): PathId<Sku>,
    IfNoneMatch(asked): IfNoneMatch,
) -> Reply {
    let status = state.snapshots().sale_status(&sku).await;
    status.map_or_else(Reply::from, |status| show(&status, Instant::now(), asked.as_ref()))
}

/// The status of a sku's sale that is kept up, or that it is what the client has.
pub(crate) fn show_kept(state: &ApiState, watch: &SkuWatch, asked: Option<&HeaderValue>) -> Reply {
    let now = Instant::now();
    state.snapshots().kept_status(watch, now).map_or_else(Reply::from, |status| show(&status, now, asked))
}

/// A status as it is at this moment, or that it is what the client has.
fn show(status: &SaleStatus, now: Instant, asked: Option<&HeaderValue>) -> Reply {
    if asked.is_some_and(|asked| has_tag(asked, &status.etag)) {
        let mut reply = Reply::new(&status.headers, StatusCode::NOT_MODIFIED, Bytes::new());
        reply.headers.remove(CONTENT_TYPE);
        return reply;
    }
    Reply::new(&status.headers, StatusCode::OK, status.body(now))
}

/// The headers of a status with this entity tag.
pub(crate) fn headers(etag: &HeaderValue) -> Template {
    Template::new([(CONTENT_TYPE, JSON), (ETAG, etag.clone()), (CACHE_CONTROL, CACHE_FOR_A_SECOND)])
}

/// The entity tags that the client has.
pub(crate) struct IfNoneMatch(Option<HeaderValue>);

impl<S: Sync> FromRequestParts<S> for IfNoneMatch {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.headers.get(IF_NONE_MATCH).cloned()))
    }
}

/// Whether one of the entity tags that the client has is this one; weak ones compare as strong ones do (RFC 9110, 13.1.2).
fn has_tag(asked: &HeaderValue, etag: &HeaderValue) -> bool {
    let (Ok(asked), Ok(etag)) = (asked.to_str(), etag.to_str()) else { return false };
    asked.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As of an order's future, of which most is moved about with every request.
    #[test]
    fn a_looks_future_is_small() {
        fn bytes<A, B, C, F>(_: impl Fn(A, B, C) -> F) -> usize {
            size_of::<F>()
        }
        assert!(bytes(get_sale_status) <= 1_024, "{} bytes", bytes(get_sale_status));
    }

    #[test]
    fn a_tag_is_found_in_what_the_client_has() {
        let etag = HeaderValue::from_static("\"7-live-a\"");
        let matches = |asked: &'static str| has_tag(&HeaderValue::from_static(asked), &etag);
        for asked in ["\"7-live-a\"", "W/\"7-live-a\"", "\"6-live-a\", \"7-live-a\"", "*"] {
            assert!(matches(asked), "{asked}");
        }
        for asked in ["", "7-live-a", "\"7-live\"", "\"7-sold_out-a\""] {
            assert!(!matches(asked), "{asked}");
        }
    }
}
