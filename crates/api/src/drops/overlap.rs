//! Windows that are kept for drops which are over.

use stampede_domain::{DropId, Sku};

use crate::problem::Problem;
use crate::state::ApiState;

/// How often the windows of drops that are over are given up for one request.
pub(super) const ATTEMPTS: usize = 3;

/// Gives up the windows of those of `drops` that are over. If one of them is not, the request must be refused.
pub(super) async fn give_up_windows(state: &ApiState, sku: &Sku, drops: &[DropId]) -> Result<(), Problem> {
    let engine = state.engine();
    let mut standing: Vec<&str> = Vec::new();
    for id in drops {
        let found = engine.read_drops(engine.shard_of(id), std::slice::from_ref(id)).await.map_err(Problem::of_read)?;
        let is_over = found.drops.iter().flatten().any(|live| live.phase().is_over());
        if is_over {
            state.archive().release_window(sku, id).await?;
        } else {
            standing.push(id.as_str());
        }
    }
    if standing.is_empty() { Ok(()) } else { Err(Problem::DropOverlaps(standing.join(", "))) }
}
