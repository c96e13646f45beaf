//! Putting a drop into Redis.

use fred::types::Value;
use stampede_domain::{DropDefinition, Durability, Epoch, Fact, FactBody, Shard, Timestamp};

use super::read::read_live_drop;
use super::{LiveDrop, Opening};
use crate::call::Call;
use crate::engine::Engine;
use crate::keys::Keys;
use crate::redis::Fields;
use crate::{EngineError, scripts};

pub(crate) static OPEN: Call<fn(LiveDrop) -> Opening> =
    Call::settled(&scripts::SALE_OPEN, &[("changed", Opening::Opened), ("unchanged", Opening::AlreadyOpen)]);

impl Engine {
    /// Puts a drop into Redis, once: repeated, it finds the drop there. Waits for the drop's durability. A striped drop sells
    /// nothing before [`Self::activate_drop`].
    ///
    /// # Errors
    /// [`EngineError::ShardRecovering`] behind the fence; [`EngineError::OutcomeUnknown`] if it may have happened.
    pub async fn open_drop(&self, definition: &DropDefinition) -> Result<Opening, EngineError> {
        let mut opened: Option<(bool, LiveDrop)> = None;
        for shard in definition.stripes.shards(self.shard_of(&definition.id)) {
            let (now, stripe) = match self.open_stripe(shard, definition).await? {
                Opening::Opened(stripe) => (true, stripe),
                Opening::AlreadyOpen(stripe) => (false, stripe),
            };
            match &mut opened {
                Some((any, drop)) => {
                    *any |= now;
                    drop.join(&stripe);
                }
                None => opened = Some((now, stripe)),
            }
        }
        let (now, mut drop) = opened.ok_or_else(|| EngineError::Malformed("a drop without stripes".to_owned()))?;
        if drop.stripes.is_striped() {
            drop.count_in_transit();
        }
        Ok(if now { Opening::Opened(drop) } else { Opening::AlreadyOpen(drop) })
    }

    async fn open_stripe(&self, shard: Shard, definition: &DropDefinition) -> Result<Opening, EngineError> {
        let handle = self.shared.handle(shard)?;
        let k = &handle.keys;
        let (drop, users) = (Keys::drop(shard, &definition.id), Keys::users(shard, &definition.id));
        let keys = [k.meta.clone(), k.log.clone(), k.unsettled.clone(), k.timers.clone(), k.drops.clone(), drop, users];
        let body = FactBody::Opened { drop: Box::new(definition.clone()) };
        let mut args = vec![Value::from(Fact::log_json(&definition.id, &body))];
        args.extend(terms_args(definition, shard));
        let durability = self.durability(definition.durability);
        self.shared.keeper.offers(handle, durability)?;
        let settled = self.shared.settle(handle, &OPEN, &keys, &args).await?;
        self.shared.keeper.keep(handle, &settled.token, durability).await?;
        Ok((settled.code)(self.drop_of_reply(&definition.id, settled.fields)?))
    }

    /// The drop that a reply carries: epoch, clock, fields.
    pub(crate) fn drop_of_reply(
        &self,
        id: &stampede_domain::DropId,
        mut fields: Fields,
    ) -> Result<LiveDrop, EngineError> {
        let epoch = Epoch(fields.parse()?);
        let as_of = Timestamp::from_ms(fields.parse()?);
        let live = read_live_drop(id, epoch, as_of, fields.list()?)?;
        self.shared.keeper.heard([&live]);
        Ok(live)
    }
}

/// What `lua/lib/create_drop.lua` takes, in its order.
pub(crate) fn terms_args(definition: &DropDefinition, shard: Shard) -> [Value; 12] {
    [
        Value::from(definition.sku.as_str()),
        Value::from(definition.window.starts_at.as_ms()),
        time_arg(definition.window.ends_at),
        Value::from(i64::from(definition.limit_per_user)),
        Value::from(definition.price.amount_minor),
        Value::from(definition.price.currency.as_str()),
        Value::from(i64::from(definition.cancellable_for_s)),
        Value::from(i64::from(definition.cancellations_per_user)),
        Value::from(i64::from(definition.share(shard))),
        Value::from(definition.durability.map_or("", Durability::as_str)),
        Value::from(definition.stripes.to_string()),
        Value::from(i64::from(definition.hold_ms)),
    ]
}

/// A time that may be missing, as the scripts write it.
pub(crate) fn time_arg(time: Option<Timestamp>) -> Value {
    time.map_or_else(|| Value::from(""), |time| Value::from(time.as_ms()))
}
