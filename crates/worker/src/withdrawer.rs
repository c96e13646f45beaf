//! Cancelling the orders that a shard has of a drop that was called off, a few at a time.
//!
//! Each is an ordinary cancellation, logged like any other, and an order says `confirmed` until its own turn. A process that
//! dies halfway is followed by another that begins at the front and finds most of the work done. It is done when the drop
//! itself says that nothing is sold: Redis may have been taken back to an older state while its users were gone through.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use stampede_archive::{Archive, ArchiveError};
use stampede_domain::{CancelledBy, DropId, GrantState, Order, OrderId, Shard};
use stampede_engine::{Engine, EngineError, OrderRef};

/// Users whose records one step goes through, about.
const USERS_AT_ONCE: u32 = 200;

/// Pieces of so many users that one step goes through at most while no order stands in them: after a process that died, what
/// it has done is passed over quickly.
const PIECES_AT_ONCE: usize = 50;

/// Cancellations in flight at a time.
const AT_ONCE: usize = 16;

/// Why a step could not finish; it is repeated.
#[derive(Debug, thiserror::Error)]
pub enum WithdrawError {
    /// Redis failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The archive failed.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// An order's fact is neither in the log nor among the dead letters nor in the archive.
    #[error("the fact of order {0} was not found")]
    FactMissing(OrderId),
    /// Units are sold although all users were gone through.
    #[error("all users of drop {0} were gone through, and some of its orders stand; they are gone through again")]
    OrdersStand(DropId),
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withdrawn {
    /// This many orders were cancelled; there may be more.
    Some(usize),
    /// No order of the drop stands any more.
    All,
}

/// Goes through the users that one drop has in one shard.
pub struct Withdrawer {
    engine: Engine,
    archive: Arc<dyn Archive>,
    shard: Shard,
    drop_id: DropId,
    cursor: u64,
    /// Whether this pass over the users cancelled an order.
    met: bool,
    /// An order of this pass whose fact was not found.
    missing: Option<OrderId>,
}

impl Withdrawer {
    /// A withdrawer at the front of the drop's users.
    pub fn new(engine: Engine, archive: Arc<dyn Archive>, shard: Shard, drop_id: DropId) -> Self {
        Self { engine, archive, shard, drop_id, cursor: 0, met: false, missing: None }
    }

    /// Cancels the orders of a few users.
    ///
    /// # Errors
    /// [`WithdrawError`]: the same users come again with the next step; after a whole pass, all of them.
    pub async fn step(&mut self) -> Result<Withdrawn, WithdrawError> {
        let (standing, next) = self.standing().await?;
        let this = &*self;
        let cancelled = stream::iter(standing)
            .map(|id| async move {
                // One order whose fact is lost must not keep the others waiting.
                let Some(order) = this.find(id).await? else { return Ok(Some(id)) };
                this.engine.cancel_order(&OrderRef::from(&order), CancelledBy::Drop).await?;
                Ok::<_, WithdrawError>(None)
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<Option<OrderId>>>()
            .await?;
        let found = cancelled.iter().filter(|missing| missing.is_none()).count();
        self.met |= found > 0;
        self.missing = self.missing.or(cancelled.into_iter().flatten().next());
        match next {
            Some(next) => self.cursor = next,
            None => {
                let (met, missing) = (std::mem::take(&mut self.met), self.missing.take());
                self.cursor = 0;
                // A scan may miss what is moved while it runs: a pass that met nothing comes last.
                if !met {
                    return self.finish(missing).await;
                }
            }
        }
        Ok(Withdrawn::Some(found))
    }

    /// The next orders that stand, and where their users end: of one piece, after those of which nothing stands any more,
    /// up to a bound.
    async fn standing(&mut self) -> Result<(Vec<OrderId>, Option<u64>), WithdrawError> {
        let (shard, mut pieces) = (self.shard, 1);
        loop {
            let piece = self.engine.scan_users(shard, &self.drop_id, self.cursor, USERS_AT_ONCE).await?;
            let standing: Vec<OrderId> = piece
                .users
                .iter()
                .flat_map(|(user, records)| records.iter().map(move |record| (user, record)))
                .filter(|(_, record)| record.state == GrantState::Confirmed)
                .map(|(user, record)| record.order_id(shard, &self.drop_id, *user))
                .collect();
            match piece.next {
                Some(next) if standing.is_empty() && pieces < PIECES_AT_ONCE => self.cursor = next,
                next => return Ok((standing, next)),
            }
            pieces += 1;
        }
    }

    /// After a pass that cancelled nothing: the drop is done, or an order stands in the way.
    async fn finish(&self, missing: Option<OrderId>) -> Result<Withdrawn, WithdrawError> {
        if self.engine.finish_withdrawal(self.shard, &self.drop_id).await? {
            return Ok(Withdrawn::All);
        }
        Err(missing.map_or_else(|| WithdrawError::OrdersStand(self.drop_id.clone()), WithdrawError::FactMissing))
    }

    /// The order with its owner: Redis knows only the digest. None if its fact is nowhere.
    async fn find(&self, id: OrderId) -> Result<Option<Order>, WithdrawError> {
        for _ in 0..2 {
            if let Some(archived) = self.archive.order(id).await? {
                return Ok(Some(archived.order));
            }
            if let Some(order) = self.engine.logged_order(id).await?.and_then(|fact| fact.order()) {
                return Ok(Some(order));
            }
            if let Some(order) = self.engine.dead_order(id).await?.and_then(|fact| fact.order()) {
                return Ok(Some(order));
            }
            // It may have moved from the log to the archive between the two looks.
        }
        Ok(None)
    }
}
