//! Changes that operators and the clock make to a drop.

use fred::types::Value;
use stampede_domain::{ClosedBy, DropDefinition, DropId, Fact, FactBody, Timestamp, Window};

use super::open::time_arg;
use super::{DropChange, DropChangeOutcome, LiveDrop};
use crate::EngineError;
use crate::engine::Engine;
use crate::keys::Keys;
use crate::scripts::{self, Script};

/// The most restocks of one drop: each key is kept with the drop, so that a repeated one is recognised.
const MAX_RESTOCKS: i64 = 1_000;

/// How often an amendment is tried against a drop that others change at the same time.
const AMEND_TRIES: u32 = 5;

impl Engine {
    /// Makes a change. Repeated, it says [`DropChangeOutcome::Unchanged`].
    ///
    /// # Errors
    /// [`EngineError::ShardRecovering`] behind the fence, and for a drop that Redis does not have;
    /// [`EngineError::OutcomeUnknown`] if it may have happened.
    pub async fn change_drop(&self, id: &DropId, change: &DropChange) -> Result<DropChangeOutcome, EngineError> {
        match change {
            DropChange::Start => self.call_change(id, &scripts::SALE_START, &FactBody::Started, &[]).await,
            DropChange::Pause => self.call_change(id, &scripts::SALE_PAUSE, &FactBody::Paused, &[]).await,
            DropChange::Resume => self.call_change(id, &scripts::SALE_RESUME, &FactBody::Resumed, &[]).await,
            DropChange::CallOff => self.call_change(id, &scripts::SALE_CALL_OFF, &FactBody::CalledOff, &[]).await,
            DropChange::Close(by) => {
                let word = match by {
                    ClosedBy::Clock => "clock",
                    ClosedBy::Operator => "operator",
                };
                let body = FactBody::Closed { by: *by };
                self.call_change(id, &scripts::SALE_CLOSE, &body, &[Value::from(word)]).await
            }
            DropChange::Restock { key, units } => {
                let args = [
                    Value::from(key.to_string()),
                    Value::from(i64::from(*units)),
                    Value::from(i64::from(DropDefinition::MAX_UNITS)),
                    Value::from(MAX_RESTOCKS),
                ];
                let body = FactBody::Restocked { key: *key, units: *units };
                self.call_change(id, &scripts::SALE_RESTOCK, &body, &args).await
            }
            DropChange::Amend { starts_at, ends_at, limit_per_user } => {
                self.amend(id, *starts_at, *ends_at, *limit_per_user).await
            }
        }
    }

    /// Fills in what the request leaves out from what the drop is now; if the drop was changed in between, again.
    async fn amend(
        &self,
        id: &DropId,
        starts_at: Option<Timestamp>,
        ends_at: Option<Option<Timestamp>>,
        limit_per_user: Option<u32>,
    ) -> Result<DropChangeOutcome, EngineError> {
        for _ in 0..AMEND_TRIES {
            let reading = self.read_drops(self.shard_of(id), std::slice::from_ref(id)).await?;
            let Some(drop) = reading.drops.into_iter().next().flatten() else {
                return Err(EngineError::ShardRecovering);
            };
            let window = Window {
                starts_at: starts_at.unwrap_or(drop.window.starts_at),
                ends_at: ends_at.unwrap_or(drop.window.ends_at),
            };
            let limit = limit_per_user.unwrap_or(drop.limit_per_user);
            let args = [
                Value::from(window.starts_at.as_ms()),
                time_arg(window.ends_at),
                Value::from(i64::from(limit)),
                Value::from(seen(&drop)),
            ];
            let body = FactBody::Amended { window, limit_per_user: limit };
            if let Some(outcome) = self.try_change(id, &scripts::SALE_AMEND, &body, &args).await? {
                return Ok(outcome);
            }
        }
        Err(EngineError::Unavailable("the drop is being changed by others".to_owned()))
    }

    async fn call_change(
        &self,
        id: &DropId,
        script: &'static Script,
        body: &FactBody,
        args: &[Value],
    ) -> Result<DropChangeOutcome, EngineError> {
        let outcome = self.try_change(id, script, body, args).await?;
        outcome.ok_or_else(|| EngineError::Malformed(format!("{}: stale", script.name)))
    }

    /// Calls a script that changes a drop; `None` if the drop was changed since the arguments were made.
    async fn try_change(
        &self,
        id: &DropId,
        script: &'static Script,
        body: &FactBody,
        args: &[Value],
    ) -> Result<Option<DropChangeOutcome>, EngineError> {
        let shard = self.shard_of(id);
        let handle = self.shared.handle(shard)?;
        let k = &handle.keys;
        let keys = [k.meta.clone(), k.log.clone(), k.unsettled.clone(), k.timers.clone(), Keys::drop(shard, id)];
        let mut all = vec![Value::from(Fact::log_json(id, body))];
        all.extend_from_slice(args);
        let settled = self.shared.settle(handle, script, &keys, &all).await?;
        let reply = settled.reply;
        Ok(Some(match reply.code {
            "changed" => DropChangeOutcome::Changed(self.drop_of_reply(id, reply)?),
            // The lost call made the change; this one found it made.
            "unchanged" if settled.was_lost => DropChangeOutcome::Changed(self.drop_of_reply(id, reply)?),
            "unchanged" => DropChangeOutcome::Unchanged(self.drop_of_reply(id, reply)?),
            "invalid-transition" => DropChangeOutcome::InvalidTransition(self.drop_of_reply(id, reply)?),
            "invalid-window" => DropChangeOutcome::InvalidWindow(self.drop_of_reply(id, reply)?),
            "key-reused" => DropChangeOutcome::KeyReused,
            "too-many" => DropChangeOutcome::TooMany,
            "stale" => return Ok(None),
            _ => return Err(reply.unexpected().into()),
        }))
    }
}

/// What an amendment was made from: `lua/sale/amend.lua` compares it.
fn seen(drop: &LiveDrop) -> String {
    let ends_ms = drop.window.ends_at.map(|end| end.as_ms().to_string()).unwrap_or_default();
    format!("{}/{}/{}", drop.window.starts_at.as_ms(), ends_ms, drop.limit_per_user)
}
