//! Orders of striped drops.

use std::time::{Duration, Instant};

use stampede_domain::{DropId, Shard, UserDigest, Version};

use crate::EngineError;
use crate::engine::Engine;
use crate::sale::{Decision, OrderRequest, Refusal};

/// The pause before stripes are looked at again while units are on their way.
const PAUSE: Duration = Duration::from_millis(10);

/// How long an order waits for units from another stripe: some times longer than the archive takes when it keeps up.
const TRANSFER_WAIT: Duration = Duration::from_secs(3);

/// What became of looking for units.
enum Sought {
    /// There may be some in the stripe now: it is asked again.
    Found,
    /// There were too few in all stripes together, at these versions. The stripe is asked again: meanwhile it may have another
    /// reason to refuse, as the user may have got units by another order.
    Fewer(Vec<Version>),
    /// So few are left in all stripes together, and were when the stripe was asked.
    Left(u64),
    /// They are in another stripe, and did not arrive in time.
    Late,
}

impl Engine {
    /// Has the user's stripe decide. If it lacks units, they are looked for in the others.
    pub(crate) async fn place_in_stripe(&self, request: OrderRequest, wait: Duration) -> Result<Decision, EngineError> {
        let until = Instant::now() + wait;
        let units_by = Instant::now() + wait.min(TRANSFER_WAIT);
        let (home, user) = (self.shard_of(&request.drop.id), UserDigest::of(&request.user_id));
        let shard = request.drop.stripes.of_user(home, user);
        let shards = request.drop.stripes.shards(home);
        let mut before = None;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let decision = self.ask_shard(shard, request.clone(), left).await?;
            if !matches!(decision, Decision::Refused(Refusal::SoldOut | Refusal::InsufficientStock { .. })) {
                return Ok(decision);
            }
            match self.seek(&request.drop.id, &shards, shard, request.units.into(), units_by, before.take()).await? {
                Sought::Found if Instant::now() < units_by => {}
                Sought::Fewer(versions) if Instant::now() < units_by => before = Some(versions),
                Sought::Found | Sought::Fewer(_) | Sought::Late => {
                    return Ok(Decision::Refused(Refusal::ArchiveBehind));
                }
                Sought::Left(0) => return Ok(Decision::Refused(Refusal::SoldOut)),
                Sought::Left(available) => return Ok(Decision::Refused(Refusal::InsufficientStock { available })),
            }
        }
    }

    /// Looks for units until there are some in the stripe, or too few anywhere. Certain is what two looks saw between which no
    /// stripe changed, and the user's was asked: then all of them were so when it refused. `before` is what the first one saw.
    async fn seek(
        &self,
        id: &DropId,
        shards: &[Shard],
        shard: Shard,
        units: u64,
        until: Instant,
        mut before: Option<Vec<Version>>,
    ) -> Result<Sought, EngineError> {
        let balance = self.shared.balances.of(id);
        let _wanted = balance.want(shard, units);
        loop {
            let seen = match balance.look(self, id, shards).await {
                Ok(seen) => seen,
                // Units may be behind that fence: nobody can say that they are not.
                Err(EngineError::ShardRecovering | EngineError::ShardMoving) if Instant::now() < until => {
                    before = None;
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                // Nothing was asked for this order.
                Err(EngineError::OutcomeUnknown) => {
                    return Err(EngineError::Unavailable("another stripe of the drop does not answer".to_owned()));
                }
                Err(error) => return Err(error),
            };
            // A stripe that is not among them is not open: it says itself why it does not sell.
            if !seen.available.contains_key(&shard) || seen.claim(shard, units) {
                return Ok(Sought::Found);
            }
            if seen.left < units {
                let is_certain = before.as_ref() == Some(&seen.versions);
                return Ok(if is_certain { Sought::Left(seen.left) } else { Sought::Fewer(seen.versions.clone()) });
            }
            before = None;
            if Instant::now() >= until {
                return Ok(Sought::Late);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
