//! Showing drops.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use stampede_archive::{DropCursor, DropRecord};
use stampede_domain::{DropId, Phase, Sku, Timestamp};

use crate::auth::MaybeOperator;
use crate::extract::{PathId, Query, encode_cursor};
use crate::openapi::problems;
use crate::problem::Problem;
use crate::state::ApiState;
use crate::view::{DropView, Items, NO_CACHE, NO_STORE, StockView, json};

/// The most records that one request looks through for a phase; its cursor goes on behind them.
const MAX_SCANNED: usize = 1_000;
/// How many records are looked at together.
const SCAN: usize = 100;

/// A place in the list of drops.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    t: i64,
    k: DropId,
}

impl From<Place> for DropCursor {
    fn from(place: Place) -> Self {
        Self { created_at: Timestamp::from_ms(place.t), id: place.k }
    }
}

impl From<&DropCursor> for Place {
    fn from(cursor: &DropCursor) -> Self {
        Self { t: cursor.created_at.as_ms(), k: cursor.id.clone() }
    }
}

problems!(ListProblems: InvalidRequest, ShardRecovering, Unavailable);
problems!(GetProblems: NotFound, ShardRecovering, Unavailable);

/// Lists drops with their stock, newest first.
#[utoipa::path(
    get, path = "/drops", tag = "drops",
    params(
        ("phase" = Option<String>, Query, description = "Only those in this phase. A page may then be short, or empty, and yet not the last"),
        ("sku" = Option<String>, Query, description = "Only those of this product"),
        ("limit" = Option<u8>, Query, minimum = 1, maximum = 100, description = "1 to 100; 20 if it is not said"),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before"),
    ),
    responses((status = 200, description = "A page of drops", body = Items<DropView>), ListProblems),
)]
pub(crate) async fn list_drops(State(state): State<ApiState>, uri: Uri) -> Result<Response, Problem> {
    let query = Query::read(&uri, &["phase", "sku"])?;
    let sku = query.get::<Sku>("sku")?;
    let phase = query.text("phase").map(read_phase).transpose()?;
    let page = query.page::<Place>()?;
    let after = page.after.map(DropCursor::from);
    let items = scan(&state, sku.as_ref(), phase, after, page.limit).await?;
    json(StatusCode::OK, NO_CACHE, &items)
}

fn read_phase(word: &str) -> Result<Phase, Problem> {
    let found = Phase::ALL.into_iter().find(|phase| phase.as_str() == word);
    found.ok_or_else(|| Problem::field("/phase", "one of scheduled, live, sold_out, ended, paused, cancelled"))
}

/// Goes through the records until the page is full, none is left, or enough were looked at.
async fn scan(
    state: &ApiState,
    sku: Option<&Sku>,
    phase: Option<Phase>,
    mut after: Option<DropCursor>,
    limit: usize,
) -> Result<Items<DropView>, Problem> {
    let batch = if phase.is_some() { SCAN } else { limit + 1 };
    let (mut items, mut scanned) = (Vec::with_capacity(limit), 0);
    loop {
        let records = state.archive().drops(sku, after.as_ref(), batch).await?;
        let readings = state.snapshots().readings(&records).await?;
        let is_last = records.len() < batch;
        for (record, reading) in records.into_iter().zip(readings) {
            if items.len() == limit || scanned == MAX_SCANNED {
                let next_cursor = after.as_ref().map(|after| encode_cursor(&Place::from(after)));
                return Ok(Items { items, next_cursor });
            }
            scanned += 1;
            let DropRecord { definition, .. } = record;
            // One that is not open yet cannot be shown: it has no stock.
            if let Some(reading) = reading {
                let now = reading.phase();
                if phase.is_none_or(|phase| phase == now) {
                    items.push(DropView::new(state.engine(), &definition, &reading.live, now));
                }
            }
            after = Some(DropCursor { created_at: definition.created_at, id: definition.id });
        }
        if is_last {
            return Ok(Items { items, next_cursor: None });
        }
    }
}

/// Shows a drop with its stock.
#[utoipa::path(
    get, path = "/drops/{id}", tag = "drops", params(("id" = String, Path, description = "The drop")),
    responses((status = 200, description = "The drop", body = DropView), GetProblems),
)]
pub(crate) async fn get_drop(State(state): State<ApiState>, PathId(id): PathId<DropId>) -> Result<Response, Problem> {
    let known = state.snapshots().known(&id).await?;
    let view = DropView::new(state.engine(), &known.definition, &known.reading.live, known.reading.phase());
    json(StatusCode::OK, NO_CACHE, &view)
}

/// Shows a drop's stock; an operator sees it straight from where it is decided.
#[utoipa::path(
    get, path = "/drops/{id}/stock", tag = "drops", params(("id" = String, Path, description = "The drop")),
    security((), ("bearer" = []), ("cookie" = [])),
    responses((status = 200, description = "The stock", body = StockView), GetProblems),
)]
pub(crate) async fn get_stock(
    MaybeOperator(straight): MaybeOperator,
    State(state): State<ApiState>,
    PathId(id): PathId<DropId>,
) -> Result<Response, Problem> {
    if straight {
        let engine = state.engine();
        let shard = engine.shard_of(&id);
        let found = engine.read_drops(shard, std::slice::from_ref(&id)).await.map_err(Problem::of_read)?;
        if let Some(live) = found.drops.first().and_then(Option::as_ref) {
            return json(StatusCode::OK, NO_STORE, &StockView::from(live));
        }
    }
    let reading = state.snapshots().reading(&id).await?;
    json(StatusCode::OK, NO_CACHE, &StockView::from(&reading.live))
}
