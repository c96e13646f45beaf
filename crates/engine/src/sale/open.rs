//! Putting a drop into Redis.

use fred::types::Value;
use stampede_domain::{DropDefinition, Epoch, Fact, FactBody, Timestamp};

use super::read::read_live_drop;
use super::{LiveDrop, Opening};
use crate::engine::Engine;
use crate::keys::Keys;
use crate::redis::Reply;
use crate::{EngineError, scripts};

impl Engine {
    /// Puts a drop into Redis, once: repeated, it finds the drop there.
    ///
    /// # Errors
    /// [`EngineError::ShardRecovering`] behind the fence; [`EngineError::OutcomeUnknown`] if it may have happened.
    pub async fn open_drop(&self, definition: &DropDefinition) -> Result<Opening, EngineError> {
        let shard = self.shard_of(&definition.id);
        let handle = self.shared.handle(shard)?;
        let k = &handle.keys;
        let (drop, users) = (Keys::drop(shard, &definition.id), Keys::users(shard, &definition.id));
        let keys = [k.meta.clone(), k.log.clone(), k.unsettled.clone(), k.timers.clone(), k.drops.clone(), drop, users];
        let body = FactBody::Opened { drop: Box::new(definition.clone()) };
        let mut args = vec![Value::from(Fact::log_json(&definition.id, &body))];
        args.extend(terms_args(definition));
        let settled = self.shared.settle(handle, &scripts::SALE_OPEN, &keys, &args).await?;
        let code = settled.reply.code;
        let drop = self.drop_of_reply(&definition.id, settled.reply)?;
        match code {
            "changed" => Ok(Opening::Opened(drop)),
            _ => Ok(Opening::AlreadyOpen(drop)),
        }
    }

    /// The drop that a reply carries: epoch, clock, fields.
    pub(super) fn drop_of_reply(
        &self,
        id: &stampede_domain::DropId,
        mut reply: Reply,
    ) -> Result<LiveDrop, EngineError> {
        let epoch = Epoch(reply.fields.parse()?);
        let as_of = Timestamp::from_ms(reply.fields.parse()?);
        self.shared.handle(self.shard_of(id))?.clock.heard(as_of.as_ms());
        Ok(read_live_drop(id, epoch, as_of, reply.fields.list()?)?)
    }
}

/// What `lua/lib/create_drop.lua` takes, in its order.
pub(crate) fn terms_args(definition: &DropDefinition) -> [Value; 9] {
    [
        Value::from(definition.sku.as_str()),
        Value::from(definition.window.starts_at.as_ms()),
        time_arg(definition.window.ends_at),
        Value::from(i64::from(definition.limit_per_user)),
        Value::from(definition.price.amount_minor),
        Value::from(definition.price.currency.as_str()),
        Value::from(i64::from(definition.cancellable_for_s)),
        Value::from(i64::from(definition.cancellations_per_user)),
        Value::from(i64::from(definition.stock_units)),
    ]
}

/// A time that may be missing, as the scripts write it.
pub(crate) fn time_arg(time: Option<Timestamp>) -> Value {
    time.map_or_else(|| Value::from(""), |time| Value::from(time.as_ms()))
}
