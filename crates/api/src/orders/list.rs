//! Lists of orders: what has not settled, from the hot state; what has, from the archive; in this order of asking, as
//! facts move from the first to the second. What is nowhere but in the hot state is told after the same wait as a grant.

use std::collections::{BTreeMap, HashMap, HashSet};

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use stampede_archive::OrderFilter;
use stampede_domain::{DropId, Durability, Order, OrderId, OrderStatus, Shard, UserDigest, UserId};
use stampede_engine::{Source, UserGrants};

use super::read::archived;
use super::view::OrderView;
use crate::auth::Caller;
use crate::extract::{Page, Query, encode_cursor};
use crate::openapi::problems;
use crate::problem::Problem;
use crate::state::ApiState;
use crate::view::{Items, NO_STORE, json};

/// How many shards or drops are asked at once.
const AT_ONCE: usize = 16;
/// How many users' records are read with one call.
const GRANTS_CHUNK: usize = 100;

/// What the hot state says of some orders: the status, what it was read from, and what the drop promises.
type Told = HashMap<OrderId, (OrderStatus, Source, Option<Durability>)>;

problems!(ListProblems: InvalidRequest, Unauthenticated, Forbidden, ShardRecovering, Unavailable);

/// Lists orders, newest first: one's own; for operators everybody's.
#[utoipa::path(
    get, path = "/orders", tag = "orders", security(("bearer" = []), ("cookie" = [])),
    params(
        ("drop_id" = Option<String>, Query, description = "Only those of this drop"),
        ("user_id" = Option<String>, Query, description = "Only those of this user; operators may name any"),
        ("limit" = Option<u8>, Query, minimum = 1, maximum = 100, description = "1 to 100; 20 if it is not said"),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before"),
    ),
    responses((status = 200, description = "A page of orders", body = Items<OrderView>), ListProblems),
)]
pub(crate) async fn list_orders(caller: Caller, State(state): State<ApiState>, uri: Uri) -> Result<Response, Problem> {
    let query = Query::read(&uri, &["drop_id", "user_id"])?;
    let drop_id = query.get::<DropId>("drop_id")?;
    let asked_user = query.get::<UserId>("user_id")?;
    let page = query.page::<OrderId>()?;
    let user_id = match asked_user {
        Some(user) if user != caller.user_id && !caller.is_operator() => {
            return Err(Problem::Forbidden("Only an operator may list another user's orders."));
        }
        None if caller.is_operator() => None,
        asked => Some(asked.unwrap_or(caller.user_id)),
    };
    let mut orders = collect(&state, OrderFilter { user_id, drop_id }, &page).await?;
    let more = orders.len() > page.limit;
    orders.truncate(page.limit);
    let next_cursor = orders.last().filter(|_| more).map(|last| encode_cursor(&last.id));
    let items = orders.iter().map(OrderView::from).collect();
    json(StatusCode::OK, NO_STORE, &Items { items, next_cursor })
}

/// The page's orders, and one more if there is one.
async fn collect(state: &ApiState, filter: OrderFilter, page: &Page<OrderId>) -> Result<Vec<Order>, Problem> {
    let (limit, before) = (page.limit + 1, page.after);
    let unsettled = unsettled_drops(state, filter.drop_id.as_ref()).await?;
    let (hot, mut told) = match &filter.user_id {
        Some(user) => orders_of_user(state, user, &unsettled).await?,
        None => {
            let mut orders = newest_orders(state, &unsettled, before, limit).await?;
            orders.extend(dead_orders(state, &unsettled).await?);
            (orders, Told::new())
        }
    };
    let archived = state.archive().orders(&filter, before, limit).await?;
    let mut merged: BTreeMap<OrderId, Order> =
        archived.into_iter().map(|archived| (archived.order.id, archived.order)).collect();
    let mut archived: HashMap<OrderId, OrderStatus> = merged.iter().map(|(id, order)| (*id, order.status)).collect();
    // What the hot state says is never older than what the archive says.
    merged.extend(hot.into_iter().map(|order| (order.id, order)));
    let newest_first = merged.into_values().rev();
    let mut orders: Vec<Order> =
        newest_first.filter(|order| before.is_none_or(|before| order.id < before)).take(limit).collect();
    if filter.user_id.is_none() {
        told = settle(state, &mut orders, &unsettled, &mut archived).await?;
    }
    confirm(state, &orders, &archived, &told).await?;
    Ok(orders)
}

/// Waits until what only the hot state says of these orders is durable.
async fn confirm(
    state: &ApiState,
    orders: &[Order],
    archived: &HashMap<OrderId, OrderStatus>,
    told: &Told,
) -> Result<(), Problem> {
    let mut sources = HashSet::new();
    for order in orders.iter().filter(|order| archived.get(&order.id) != Some(&order.status)) {
        match told.get(&order.id) {
            Some((_, source, durability)) => drop(sources.insert((source.clone(), *durability))),
            // It stood in a log that lost it since, or that is not trusted any more.
            None => return Err(Problem::ShardRecovering),
        }
    }
    let engine = state.engine();
    let waits = stream::iter(sources)
        .map(|(source, durability)| async move { engine.confirm(&source, durability).await.map_err(Problem::of_read) });
    waits.buffered(AT_ONCE).try_collect().await
}

/// The drops of which the hot state may know more than the archive.
async fn unsettled_drops(state: &ApiState, only: Option<&DropId>) -> Result<Vec<(Shard, DropId)>, Problem> {
    let engine = state.engine();
    let shards: Vec<Shard> = match only {
        Some(id) => engine.stripes_of(id).await.map_err(Problem::of_read)?,
        None => engine.deployment().shards.shards().collect(),
    };
    let asked = stream::iter(shards).map(|shard| async move {
        let drops = engine.unsettled_drops(shard).await.map_err(Problem::of_read)?;
        Ok::<_, Problem>(drops.into_iter().map(|id| (shard, id)).collect::<Vec<_>>())
    });
    let found: Vec<Vec<(Shard, DropId)>> = asked.buffered(AT_ONCE).try_collect().await?;
    Ok(found.into_iter().flatten().filter(|(_, id)| only.is_none_or(|only| only == id)).collect())
}

/// All orders of one user in these drops, with their statuses.
async fn orders_of_user(
    state: &ApiState,
    user: &UserId,
    drops: &[(Shard, DropId)],
) -> Result<(Vec<Order>, Told), Problem> {
    let digest = UserDigest::of(user);
    let asked = drops.iter().map(|(shard, id)| (*shard, id.clone(), digest)).collect();
    let (mut orders, mut told) = (Vec::new(), Told::new());
    for UserGrants { shard, grants, source, .. } in user_grants(state, asked).await? {
        let Some((terms, records)) = grants else { continue };
        for record in &records {
            let order = state.engine().order_of(shard, user, &terms, record);
            told.insert(order.id, (order.status, source.clone(), terms.durability));
            orders.push(order);
        }
    }
    Ok((orders, told))
}

/// The newest orders in the logs of these drops, as they were granted.
async fn newest_orders(
    state: &ApiState,
    drops: &[(Shard, DropId)],
    before: Option<OrderId>,
    limit: usize,
) -> Result<Vec<Order>, Problem> {
    let engine = state.engine();
    let asked = stream::iter(drops.to_vec()).map(|(shard, id)| async move {
        engine.newest_logged_orders(shard, &id, before, limit).await.map_err(Problem::of_read)
    });
    let found: Vec<_> = asked.buffered(AT_ONCE).try_collect().await?;
    Ok(found.into_iter().flatten().filter_map(|fact| fact.order()).collect())
}

/// The orders of these drops that the archive refuses, as they were granted. Asked for after the logs, from where they come.
async fn dead_orders(state: &ApiState, drops: &[(Shard, DropId)]) -> Result<Vec<Order>, Problem> {
    let engine = state.engine();
    let shards: HashSet<Shard> = drops.iter().map(|(shard, _)| *shard).collect();
    let asked = stream::iter(shards).map(|shard| async move { engine.letters(shard).await.map_err(Problem::of_read) });
    let found: Vec<_> = asked.buffered(AT_ONCE).try_collect().await?;
    let orders = found.into_iter().flatten().filter_map(|kept| kept.letter.fact.order());
    Ok(orders.filter(|order| drops.iter().any(|(_, id)| *id == order.drop_id)).collect())
}

/// Gives the orders of drops that have not settled the statuses that their users' records say. What the archive says anew of
/// an order goes into `known`, too.
async fn settle(
    state: &ApiState,
    orders: &mut [Order],
    unsettled: &[(Shard, DropId)],
    known: &mut HashMap<OrderId, OrderStatus>,
) -> Result<Told, Problem> {
    let unsettled: HashSet<&DropId> = unsettled.iter().map(|(_, id)| id).collect();
    let open = orders.iter().filter(|order| unsettled.contains(&order.drop_id));
    let asked: HashSet<_> =
        open.map(|order| (order.id.shard(), order.drop_id.clone(), UserDigest::of(&order.user_id))).collect();
    let (mut told, mut buried) = (Told::new(), HashSet::new());
    for UserGrants { drop_id, shard, user, purged, grants, source } in
        user_grants(state, asked.into_iter().collect()).await?
    {
        if purged {
            buried.insert(drop_id.clone());
        }
        let Some((terms, records)) = grants else { continue };
        for record in &records {
            let id = record.order_id(shard, &drop_id, user);
            told.insert(id, (record.state.into(), source.clone(), terms.durability));
        }
    }
    for order in orders.iter_mut() {
        if let Some((status, _, _)) = told.get(&order.id) {
            order.status = *status;
        }
    }
    // Purged meanwhile: the archive was read before, when it may not have had all of it.
    for order in orders.iter_mut().filter(|order| buried.contains(&order.drop_id)) {
        *order = archived(state, order).await?;
        known.insert(order.id, order.status);
    }
    Ok(told)
}

/// Any number of users' records, read shard by shard.
async fn user_grants(state: &ApiState, asked: Vec<(Shard, DropId, UserDigest)>) -> Result<Vec<UserGrants>, Problem> {
    let mut by_shard: HashMap<Shard, Vec<(DropId, UserDigest)>> = HashMap::new();
    for (shard, id, user) in asked {
        by_shard.entry(shard).or_default().push((id, user));
    }
    let engine = state.engine();
    let calls = stream::iter(by_shard).map(|(shard, of)| async move {
        let mut found = Vec::with_capacity(of.len());
        for chunk in of.chunks(GRANTS_CHUNK) {
            found.extend(engine.user_grants(shard, chunk).await.map_err(Problem::of_read)?);
        }
        Ok::<_, Problem>(found)
    });
    let found: Vec<Vec<UserGrants>> = calls.buffered(AT_ONCE).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}
