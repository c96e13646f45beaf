//! Cancelling an order.

use bytes::Bytes;
use fred::types::Value;
use stampede_domain::{CancelledBy, Fact, FactBody, GrantState, UserDigest, Withdrawal};

use super::{Cancellation, OrderRef};
use crate::call::Call;
use crate::engine::Engine;
use crate::keys::Keys;
use crate::{EngineError, scripts};

/// What `sale/cancel` decides.
#[derive(Clone, Copy)]
pub(crate) enum Cancelling {
    Cancelled,
    Already,
    Closed,
    Purged,
    Unknown,
}

pub(crate) static CANCEL: Call<Cancelling> = Call::settled(
    &scripts::SALE_CANCEL,
    &[
        ("cancelled", Cancelling::Cancelled),
        ("already", Cancelling::Already),
        ("closed", Cancelling::Closed),
        ("purged", Cancelling::Purged),
        ("unknown", Cancelling::Unknown),
    ],
);

impl Engine {
    /// Cancels an order: its units go back to the drop and to its owner's limit. Repeated, it says
    /// [`Cancellation::Already`]. Both wait for the drop's durability.
    ///
    /// # Errors
    /// [`EngineError::ShardRecovering`] behind the fence; [`EngineError::OutcomeUnknown`] if it may have happened.
    pub async fn cancel_order(&self, order: &OrderRef, by: CancelledBy) -> Result<Cancellation, EngineError> {
        let shard = order.id.shard();
        let handle = self.shared.handle(shard)?;
        let k = &handle.keys;
        let (drop, users) = (Keys::drop(shard, &order.drop_id), Keys::users(shard, &order.drop_id));
        let keys = [k.meta.clone(), k.log.clone(), k.unsettled.clone(), k.timers.clone(), drop, users];
        let position = order.id.position();
        let mut place = [0; 8];
        place[..6].copy_from_slice(&position.log_id.ms.to_be_bytes()[2..]);
        place[6..].copy_from_slice(&position.log_id.sequence.to_be_bytes());
        let body = FactBody::Cancelled(Withdrawal {
            order_id: order.id,
            user_id: order.user_id.clone(),
            units: order.units,
            by,
        });
        let args = [
            Value::Bytes(Bytes::copy_from_slice(&UserDigest::of(&order.user_id).0)),
            Value::Bytes(Bytes::copy_from_slice(&place)),
            Value::from(i64::from(position.index)),
            Value::from(if by == CancelledBy::Shopper { "shopper" } else { "other" }),
            Value::from(Fact::log_json(&order.drop_id, &body)),
        ];
        let durability = self.promised(shard, &order.drop_id).await?;
        self.shared.keeper.offers(handle, durability)?;
        let mut settled = self.shared.settle(handle, &CANCEL, &keys, &args).await?;
        if matches!(settled.code, Cancelling::Cancelled | Cancelling::Already) {
            self.shared.keeper.keep(handle, &settled.token, durability).await?;
        }
        match settled.code {
            Cancelling::Cancelled => Ok(Cancellation::Cancelled),
            Cancelling::Already => match settled.fields.parse::<u8>()? {
                // The lost call cancelled it; this one found it cancelled.
                1 if settled.was_lost => Ok(Cancellation::Cancelled),
                1 => Ok(Cancellation::Already(GrantState::Cancelled)),
                2 => Ok(Cancellation::Already(GrantState::Compensated)),
                _ => Err(settled.fields.malformed("a grant's state").into()),
            },
            Cancelling::Closed => Ok(Cancellation::Closed),
            Cancelling::Purged => Ok(Cancellation::Purged),
            Cancelling::Unknown => Ok(Cancellation::Unknown),
        }
    }
}
