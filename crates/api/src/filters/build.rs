//! Making a filter: a drop's buyers are listed between two readings that find it sold out at the same version.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Instant;

use stampede_domain::{DropId, UserDigest};
use stampede_engine::{EngineError, LiveDrop};

use super::{Building, Buyers, DropFilter, Filters};
use crate::metrics::FilterBuild;

/// Buyers that one call lists: so few that Redis is not held up for longer than by a group of orders.
const BUYERS_AT_ONCE: u32 = 500;
/// After so many pieces it is seen whether the drop is still as it was.
const PIECES_BETWEEN_LOOKS: usize = 32;
/// To list so many buyers costs Redis about as much as to refuse one order. A filter is made only after so many refusals that
/// making it costs less than they did.
const BUYERS_PER_REFUSAL: u64 = 16;

/// What became of an attempt.
enum Attempt {
    /// The refusals so far are not worth it yet: it takes so many.
    TooFew(u64),
    Made(DropFilter),
    Failed(FilterBuild),
}

impl Filters {
    /// Makes the filter of a drop that is worth one, if there is one, and no other is being made.
    pub(super) fn start_build(self: &Arc<Self>) {
        let Some(id) = self.most_wanted() else { return };
        {
            let mut building = self.building.lock();
            if building.is_some() {
                return;
            }
            *building = Some(Building { id: id.clone(), disturbed: false });
        }
        let filters = Arc::clone(self);
        self.tasks.spawn(async move {
            tokio::select! {
                () = filters.stop.cancelled() => {}
                () = filters.build(&id) => {}
            }
            *filters.building.lock() = None;
        });
    }

    /// The drop without a filter of which most orders were refused by Redis, if that is worth a filter and there is room.
    fn most_wanted(&self) -> Option<DropId> {
        let held = self.held.read();
        let mut wanted = self.wanted.lock();
        // What a filter lets through, Redis refuses too.
        wanted.retain(|id, _| !held.contains_key(id));
        if held.len() >= self.limits.max_filters {
            return None;
        }
        let worth_it = wanted.iter().filter(|(_, wanted)| wanted.refused >= wanted.worth);
        worth_it.max_by_key(|(_, wanted)| wanted.refused).map(|(id, _)| id.clone())
    }

    async fn build(&self, id: &DropId) {
        let refused = self.wanted.lock().get(id).map_or(0, |wanted| wanted.refused);
        let attempt = self.attempt(id, refused).await.unwrap_or_else(|error| {
            tracing::debug!(drop = %id, %error, "a filter could not be made");
            Attempt::Failed(FilterBuild::Error)
        });
        match attempt {
            Attempt::TooFew(worth) => {
                if let Some(wanted) = self.wanted.lock().get_mut(id) {
                    wanted.worth = worth;
                }
            }
            Attempt::Made(filter) => {
                self.metrics.built(FilterBuild::Built);
                self.wanted.lock().remove(id);
                let mut held = self.held.write();
                if self.building.lock().as_ref().is_some_and(|building| building.disturbed) {
                    filter.suspend();
                }
                held.insert(id.clone(), Arc::new(filter));
                self.count(&held);
            }
            Attempt::Failed(why) => {
                self.metrics.built(why);
                if let Some(wanted) = self.wanted.lock().get_mut(id) {
                    wanted.refused = 0;
                    if why == FilterBuild::TooLarge {
                        // Until the drop is forgotten here and comes again.
                        wanted.worth = u64::MAX;
                    }
                }
            }
        }
    }

    async fn attempt(&self, id: &DropId, refused: u64) -> Result<Attempt, EngineError> {
        let changed = Ok(Attempt::Failed(FilterBuild::Changed));
        let Some((before, _)) = self.sold_out(id).await? else { return changed };
        let worth = before.sold_units / BUYERS_PER_REFUSAL;
        if refused < worth {
            return Ok(Attempt::TooFew(worth));
        }
        let users = match self.buyers(&before).await? {
            Ok(users) => users,
            Err(why) => return Ok(Attempt::Failed(why)),
        };
        let made = tokio::task::spawn_blocking(move || Buyers::of(&users)).await;
        let Some(buyers) = made.ok().flatten() else { return Ok(Attempt::Failed(FilterBuild::Error)) };
        let Some((after, until)) = self.sold_out(id).await? else { return changed };
        if after.version != before.version {
            return changed;
        }
        Ok(Attempt::Made(DropFilter {
            id: id.clone(),
            version: after.version,
            limit_per_user: after.limit_per_user,
            buyers,
            usable_until_ns: AtomicU64::new(self.ns_at(until)),
            used: AtomicBool::new(true),
        }))
    }

    /// All who bought of the drop, in each of its stripes; or why they cannot be listed.
    async fn buyers(&self, before: &LiveDrop) -> Result<Result<Vec<UserDigest>, FilterBuild>, EngineError> {
        let (mut users, mut pieces): (Vec<UserDigest>, usize) = (Vec::new(), 0);
        for shard in before.stripes.shards(self.engine.shard_of(&before.id)) {
            let mut next = Some(0);
            while let Some(cursor) = next {
                let piece = self.engine.scan_users(shard, &before.id, cursor, BUYERS_AT_ONCE).await?;
                users.extend(piece.users.into_iter().map(|(user, _)| user));
                if users.len() > self.limits.max_buyers {
                    return Ok(Err(FilterBuild::TooLarge));
                }
                next = piece.next;
                pieces += 1;
                if pieces.is_multiple_of(PIECES_BETWEEN_LOOKS) {
                    let now = self.sold_out(&before.id).await?;
                    if now.is_none_or(|(now, _)| now.version != before.version) {
                        return Ok(Err(FilterBuild::Changed));
                    }
                }
            }
        }
        Ok(Ok(users))
    }

    /// The drop, if it is sold out and nothing of it is held, and until when it may be taken for that.
    async fn sold_out(&self, id: &DropId) -> Result<Option<(LiveDrop, Instant)>, EngineError> {
        let asked = Instant::now();
        let reading = self.engine.read_drops(self.engine.shard_of(id), std::slice::from_ref(id)).await?;
        let live = reading.drops.into_iter().next().flatten();
        Ok(live.and_then(|live| self.usable_until(asked, &live).map(|until| (live, until))))
    }
}
