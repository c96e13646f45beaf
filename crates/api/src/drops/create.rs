//! Creating a drop: written down first, then put into the hot state, each step to be repeated safely.

use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use stampede_archive::{DefineDrop, DropRecord, DropStage, OpenError};
use stampede_domain::{DropDefinition, DropId, Money, Sku, Stripes, Timestamp};
use stampede_engine::EngineError;

use super::definition::{CreateDrop, Plan, Sells, made_id};
use super::open::open_drop;
use super::overlap::{ATTEMPTS, give_up_windows};
use crate::auth::Operator;
use crate::extract::ApiJson;
use crate::openapi::problems;
use crate::problem::Problem;
use crate::products::put_product;
use crate::state::ApiState;
use crate::view::{DropView, NO_STORE, json};

problems!(
    CreateProblems: MalformedRequest, InvalidRequest, Unauthenticated, Forbidden, ProductExists, DropExists, DropOverlaps,
    BodyTooLarge, UnsupportedMediaType, OutcomeUnknown, ShardRecovering, Unavailable,
);

/// Creates a drop and opens it. Sent again with its id, it is the same drop.
#[utoipa::path(
    post, path = "/drops", tag = "drops", request_body = CreateDrop, security(("bearer" = []), ("cookie" = [])),
    responses(
        (status = 201, description = "Created", body = DropView),
        (status = 200, description = "It was created before, by the same request", body = DropView),
        CreateProblems,
    ),
)]
pub(crate) async fn create_drop(
    _operator: Operator,
    State(state): State<ApiState>,
    ApiJson(asked): ApiJson<CreateDrop>,
) -> Result<Response, Problem> {
    let plan = asked.check().map_err(Problem::InvalidRequest)?;
    let (status, record) = define(&state, &plan).await?;
    let view = open(&state, &record).await?;
    let mut response = json(status, NO_STORE, &view)?;
    let location = HeaderValue::try_from(format!("/api/v1/drops/{}", record.definition.id));
    if let (StatusCode::CREATED, Ok(location)) = (status, location) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// Writes the drop down, unless it is: 201 or 200, and the drop as it is kept.
async fn define(state: &ApiState, plan: &Plan) -> Result<(StatusCode, DropRecord), Problem> {
    if let Some(id) = &plan.id
        && let Some(kept) = state.archive().drop_record(id).await?
    {
        if let Sells::New(product) = &plan.sells {
            put_product(state, product.clone()).await?;
        }
        return repeated(plan, kept);
    }
    let now = Timestamp::now();
    if plan.ends_before(now) {
        return Err(Problem::field("/ends_at", "must be in the future"));
    }
    let (sku, price) = product(state, &plan.sells).await?;
    let hold_ms = u32::try_from(state.settings().filter_max_age.as_millis()).unwrap_or(DropDefinition::MAX_HOLD_MS);
    for _ in 0..ATTEMPTS {
        let id = plan.id.clone().or_else(|| made_id(&sku)).ok_or(Problem::Internal)?;
        let stripes = stripes(state, &id, plan)?;
        offered(state, &id, &stripes, plan)?;
        let definition = plan.define(id, sku.clone(), price, stripes, hold_ms, now);
        match state.archive().define_drop(&definition).await.map_err(Problem::of_write)? {
            DefineDrop::Defined => return Ok((StatusCode::CREATED, record_of(definition))),
            // An id that was made here and is taken is a chance in a trillion: make another.
            DefineDrop::Exists(_) if plan.id.is_none() => {}
            DefineDrop::Exists(kept) => return repeated(plan, *kept),
            DefineDrop::Overlaps(drops) => give_up_windows(state, &sku, &drops).await?,
            DefineDrop::UnknownSku => return Err(unknown_sku()),
        }
    }
    Err(Problem::Unavailable("Other drops of this product were changed at the same time"))
}

/// Chooses the shards of a new drop.
fn stripes(state: &ApiState, id: &DropId, plan: &Plan) -> Result<Stripes, Problem> {
    let shards = state.engine().deployment().shards.get();
    if plan.stripes > shards {
        return Err(Problem::field("/stripes", format!("at most {shards}: this deployment has so many shards")));
    }
    state.engine().choose_stripes(id, plan.stripes).map_err(|error| Problem::field("/stripes", error.to_string()))
}

/// Refuses a drop that wants more than its servers can keep: none of its orders could be granted.
fn offered(state: &ApiState, id: &DropId, stripes: &Stripes, plan: &Plan) -> Result<(), Problem> {
    let Some(durability) = plan.durability else { return Ok(()) };
    let engine = state.engine();
    for shard in stripes.shards(engine.shard_of(id)) {
        engine.offers(shard, durability).map_err(|error| match error {
            EngineError::Unavailable(reason) => Problem::field("/durability", reason),
            error => error.into(),
        })?;
    }
    Ok(())
}

fn repeated(plan: &Plan, kept: DropRecord) -> Result<(StatusCode, DropRecord), Problem> {
    if plan.is(&kept.definition) { Ok((StatusCode::OK, kept)) } else { Err(Problem::DropExists) }
}

fn record_of(definition: DropDefinition) -> DropRecord {
    DropRecord { window: definition.window, stage: DropStage::Defined, definition }
}

fn unknown_sku() -> Problem {
    Problem::field("/sku", "there is no such product: create it first, or send it as `product`")
}

/// The product that the drop sells; created if it came with the request.
async fn product(state: &ApiState, sells: &Sells) -> Result<(Sku, Money), Problem> {
    let product = match sells {
        Sells::Sku(sku) => state.archive().product(sku).await?.ok_or_else(unknown_sku)?,
        Sells::New(product) => put_product(state, product.clone()).await?.1,
    };
    Ok((product.sku, product.price))
}

/// Opens the drop unless it is open, and shows it.
async fn open(state: &ApiState, record: &DropRecord) -> Result<DropView, Problem> {
    let definition = &record.definition;
    state.terms().defined(&definition.id);
    state.snapshots().defined(definition);
    let opened = open_drop(state.engine(), state.archive(), record).await.map_err(|error| {
        tracing::warn!(drop = %definition.id, %error, "a drop could not be opened yet");
        match error {
            OpenError::Archive(error) => Problem::of_write(error),
            // It is written down, and will be opened: by a repetition or by the sweep of a worker.
            OpenError::Put(_) => Problem::OutcomeUnknown,
        }
    })?;
    let Some(live) = opened else {
        let reading = state.snapshots().reading(&definition.id).await?;
        return Ok(DropView::new(state.engine(), definition, &reading.live, reading.phase()));
    };
    state.snapshots().opened(&live).await;
    Ok(DropView::new(state.engine(), definition, &live, live.phase()))
}
