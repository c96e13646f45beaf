//! Activating stripes, and moving units between them.

use fred::types::Value;
use stampede_domain::{DropDefinition, DropId, Fact, FactBody, Shard};

use crate::call::Call;
use crate::engine::Engine;
use crate::keys::Keys;
use crate::sale::LiveDrop;
use crate::{EngineError, metrics, scripts};

/// What became of sending units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    /// The units are on their way.
    Sent,
    /// What was seen of the stripe is not true any more; nothing was sent.
    Stale,
}

/// What became of adding units that were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receiving {
    /// The stripe has the units.
    Received,
    /// It had them before.
    Already,
    /// The transfer before never arrived.
    Gap,
}

pub(crate) static ACTIVATE: Call<()> = Call::settled(&scripts::STRIPES_ACTIVATE, &[("changed", ()), ("unchanged", ())]);
/// Also says whether this call was the one that sent them.
pub(crate) static SEND: Call<(Sending, bool)> = Call::settled(
    &scripts::STRIPES_SEND,
    &[("sent", (Sending::Sent, true)), ("already", (Sending::Sent, false)), ("stale", (Sending::Stale, false))],
);
pub(crate) static RECEIVE: Call<Receiving> = Call::settled(
    &scripts::STRIPES_RECEIVE,
    &[("received", Receiving::Received), ("already", Receiving::Already), ("gap", Receiving::Gap)],
);

/// Units on their way from one stripe to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The stripe that they leave.
    pub from: Shard,
    /// The stripe that gets them.
    pub to: Shard,
    /// Which transfer between these two, in this direction: counted from 1.
    pub number: u64,
    /// How many units.
    pub units: u32,
}

impl Engine {
    /// Lets the stripes of a drop sell: the archive says that the drop is opened. Returns the drop. Of a drop that is not
    /// striped there is nothing to activate.
    ///
    /// # Errors
    /// [`EngineError::ShardRecovering`] behind the fence, and for a stripe that Redis does not have;
    /// [`EngineError::OutcomeUnknown`] if it may have happened.
    pub async fn activate_drop(&self, definition: &DropDefinition) -> Result<Option<LiveDrop>, EngineError> {
        if !definition.stripes.is_striped() {
            return Ok(None);
        }
        let mut stripes = Vec::new();
        // The home last: as long as it is not activated, nothing that is changed there could pass the others by.
        for shard in definition.stripes.shards(self.shard_of(&definition.id)).into_iter().rev() {
            stripes.push(self.activate_stripe(shard, definition).await?);
        }
        let mut drop = stripes.pop();
        if let Some(drop) = &mut drop {
            stripes.iter().for_each(|stripe| drop.join(stripe));
            drop.count_in_transit();
        }
        Ok(drop)
    }

    /// Lets the stripe in one shard sell: as [`Self::activate_drop`].
    ///
    /// # Errors
    /// As [`Self::activate_drop`].
    pub async fn activate_stripe(&self, shard: Shard, definition: &DropDefinition) -> Result<LiveDrop, EngineError> {
        let (id, handle) = (&definition.id, self.shared.handle(shard)?);
        let k = &handle.keys;
        let keys = [k.meta.clone(), k.log.clone(), k.unsettled.clone(), k.timers.clone(), Keys::drop(shard, id)];
        let args = [Value::from(Fact::log_json(id, &FactBody::Activated))];
        let durability = self.durability(definition.durability);
        self.shared.keeper.offers(handle, durability)?;
        let settled = self.shared.settle(handle, &ACTIVATE, &keys, &args).await?;
        self.shared.keeper.keep(handle, &settled.token, durability).await?;
        self.drop_of_reply(id, settled.fields)
    }

    /// Takes units out of one stripe, for another. No answer waits for it: the archive keeps it, or it never was.
    ///
    /// # Errors
    /// [`EngineError::ShardRecovering`] behind the fence; [`EngineError::OutcomeUnknown`] if it may have happened.
    pub async fn send_units(&self, id: &DropId, transfer: Transfer) -> Result<Sending, EngineError> {
        let Transfer { from, to, number, units } = transfer;
        let handle = self.shared.handle(from)?;
        let k = &handle.keys;
        let keys = [k.meta.clone(), k.log.clone(), k.unsettled.clone(), k.timers.clone(), Keys::drop(from, id)];
        let args = args(id, &FactBody::Sent { to, transfer: number, units }, to, transfer);
        let settled = self.shared.settle(handle, &SEND, &keys, &args).await?;
        let (sending, is_first) = settled.code;
        // What a lost call of ours did is told as done before.
        if is_first || (settled.was_lost && sending == Sending::Sent) {
            metrics::units_sent(units);
        }
        Ok(sending)
    }

    /// Adds units to the stripe to which they were sent. Only for a transfer that is archived where they came from.
    ///
    /// # Errors
    /// As [`Self::send_units`].
    pub async fn receive_units(&self, id: &DropId, transfer: Transfer) -> Result<Receiving, EngineError> {
        let Transfer { from, to, number, units } = transfer;
        let handle = self.shared.handle(to)?;
        let k = &handle.keys;
        let keys = [k.meta.clone(), k.log.clone(), k.unsettled.clone(), Keys::drop(to, id)];
        let args = args(id, &FactBody::Received { from, transfer: number, units }, from, transfer);
        let settled = self.shared.settle(handle, &RECEIVE, &keys, &args).await?;
        if settled.code == Receiving::Received || (settled.was_lost && settled.code == Receiving::Already) {
            metrics::units_received(units);
        }
        Ok(settled.code)
    }
}

/// What both scripts take: the fact, the other stripe, the transfer.
fn args(id: &DropId, body: &FactBody, other: Shard, transfer: Transfer) -> [Value; 4] {
    [
        Value::from(Fact::log_json(id, body)),
        Value::from(other.to_string()),
        Value::from(i64::try_from(transfer.number).unwrap_or(i64::MAX)),
        Value::from(i64::from(transfer.units)),
    ]
}
