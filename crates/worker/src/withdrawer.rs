//! Cancelling the orders of a drop that was called off, a few at a time.
//!
//! Each is an ordinary cancellation, logged like any other, and an order says `confirmed` until its own turn. A process that
//! dies halfway is followed by another that begins at the front and finds most of the work done.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use stampede_archive::{Archive, ArchiveError};
use stampede_domain::{CancelledBy, DropId, GrantState, Order, OrderId};
use stampede_engine::{Engine, EngineError, OrderRef};

/// Users whose records one step goes through, about.
const USERS_AT_ONCE: u32 = 200;

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
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withdrawn {
    /// This many orders were cancelled; there may be more.
    Some(usize),
    /// No order of the drop stands any more.
    All,
}

/// Goes through the users of one drop.
pub struct Withdrawer {
    engine: Engine,
    archive: Arc<dyn Archive>,
    drop_id: DropId,
    cursor: u64,
    /// Whether this pass over the users met an order that stood.
    met: bool,
}

impl Withdrawer {
    /// A withdrawer at the front of the drop's users.
    pub fn new(engine: Engine, archive: Arc<dyn Archive>, drop_id: DropId) -> Self {
        Self { engine, archive, drop_id, cursor: 0, met: false }
    }

    /// Cancels the orders of a few users.
    ///
    /// # Errors
    /// [`WithdrawError`]: the same users come again with the next step.
    pub async fn step(&mut self) -> Result<Withdrawn, WithdrawError> {
        let piece = self.engine.scan_users(&self.drop_id, self.cursor, USERS_AT_ONCE).await?;
        let shard = self.engine.shard_of(&self.drop_id);
        let standing: Vec<OrderId> = piece
            .users
            .iter()
            .flat_map(|(user, records)| records.iter().map(move |record| (user, record)))
            .filter(|(_, record)| record.state == GrantState::Confirmed)
            .map(|(user, record)| record.order_id(shard, &self.drop_id, *user))
            .collect();
        let this = &*self;
        let cancelled = stream::iter(standing)
            .map(|id| async move {
                let order = this.find(id).await?;
                this.engine.cancel_order(&OrderRef::from(&order), CancelledBy::Drop).await?;
                Ok::<(), WithdrawError>(())
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<()>>()
            .await?
            .len();
        self.met |= cancelled > 0;
        match piece.next {
            Some(next) => self.cursor = next,
            // A scan may miss what is moved while it runs: the drop is done when a whole pass met nothing.
            None if !self.met => return Ok(Withdrawn::All),
            None => (self.cursor, self.met) = (0, false),
        }
        Ok(Withdrawn::Some(cancelled))
    }

    /// The order with its owner: Redis knows only the digest.
    async fn find(&self, id: OrderId) -> Result<Order, WithdrawError> {
        for _ in 0..2 {
            if let Some(archived) = self.archive.order(id).await? {
                return Ok(archived.order);
            }
            if let Some(order) = self.engine.logged_order(id).await?.and_then(|fact| fact.order()) {
                return Ok(order);
            }
            if let Some(order) = self.engine.dead_order(id).await?.and_then(|fact| fact.order()) {
                return Ok(order);
            }
            // It may have moved from the log to the archive between the two looks.
        }
        Err(WithdrawError::FactMissing(id))
    }
}
