//! Changes that operators and the clock make to a drop.

use fred::types::Value;
use stampede_domain::{ClosedBy, DropDefinition, DropId, Durability, Fact, FactBody, Shard, Timestamp, Window};

use super::open::time_arg;
use super::{DropChange, DropChangeOutcome, LiveDrop};
use crate::EngineError;
use crate::call::Call;
use crate::engine::Engine;
use crate::keys::Keys;
use crate::scripts;

/// The most restocks of one drop: each key is kept with the drop, so that a repeated one is recognised.
const MAX_RESTOCKS: i64 = 1_000;

/// How often an amendment is tried against a drop that others change at the same time.
const AMEND_TRIES: u32 = 5;

/// What a script that changes a drop decides.
#[derive(Clone, Copy)]
pub(crate) enum Changing {
    Changed,
    Unchanged,
    InvalidTransition,
    InvalidWindow,
    KeyReused,
    TooMany,
    Stale,
}

const CHANGED: (&str, Changing) = ("changed", Changing::Changed);
const UNCHANGED: (&str, Changing) = ("unchanged", Changing::Unchanged);
const INVALID_TRANSITION: (&str, Changing) = ("invalid-transition", Changing::InvalidTransition);
const INVALID_WINDOW: (&str, Changing) = ("invalid-window", Changing::InvalidWindow);
const KEY_REUSED: (&str, Changing) = ("key-reused", Changing::KeyReused);
const TOO_MANY: (&str, Changing) = ("too-many", Changing::TooMany);
const STALE: (&str, Changing) = ("stale", Changing::Stale);

static START: Call<Changing> = Call::settled(&scripts::SALE_START, &[CHANGED, UNCHANGED]);
static RELEASE: Call<Changing> = Call::settled(&scripts::SALE_RELEASE, &[CHANGED, UNCHANGED]);
static PAUSE: Call<Changing> = Call::settled(&scripts::SALE_PAUSE, &[CHANGED, UNCHANGED, INVALID_TRANSITION]);
static RESUME: Call<Changing> = Call::settled(&scripts::SALE_RESUME, &[CHANGED, UNCHANGED, INVALID_TRANSITION]);
static CLOSE: Call<Changing> = Call::settled(&scripts::SALE_CLOSE, &[CHANGED, UNCHANGED, INVALID_TRANSITION]);
static CALL_OFF: Call<Changing> = Call::settled(&scripts::SALE_CALL_OFF, &[CHANGED, UNCHANGED, INVALID_TRANSITION]);
static RESTOCK: Call<Changing> =
    Call::settled(&scripts::SALE_RESTOCK, &[CHANGED, UNCHANGED, INVALID_TRANSITION, KEY_REUSED, TOO_MANY]);
static AMEND: Call<Changing> =
    Call::settled(&scripts::SALE_AMEND, &[CHANGED, UNCHANGED, INVALID_TRANSITION, INVALID_WINDOW, STALE]);

/// All of them, for the test of the calls.
#[cfg(test)]
pub(crate) static CHANGES: [&Call<Changing>; 8] =
    [&START, &RELEASE, &PAUSE, &RESUME, &CLOSE, &CALL_OFF, &RESTOCK, &AMEND];

/// What an error means behind a change of the home: what elsewhere says that nothing happened does not say it here.
fn halfway(error: EngineError) -> EngineError {
    match error {
        EngineError::ShardRecovering | EngineError::ShardMoving | EngineError::Unavailable(_) => {
            EngineError::OutcomeUnknown
        }
        error => error,
    }
}

impl Engine {
    /// Makes a change. Repeated, it says [`DropChangeOutcome::Unchanged`]. An operator's waits for the drop's durability; what
    /// the clock does is done again if it is lost, and waits for nothing.
    ///
    /// Of a striped drop the home decides, and the other stripes follow it; if this process dies in between, or cannot reach
    /// one of them, a worker lets them follow. Units are added to the home.
    ///
    /// # Errors
    /// [`EngineError::ShardRecovering`] behind the fence, and for a drop that Redis does not have;
    /// [`EngineError::OutcomeUnknown`] if it may have happened.
    pub async fn change_drop(&self, id: &DropId, change: &DropChange) -> Result<DropChangeOutcome, EngineError> {
        let stripes = self.stripes_of(id).await?;
        let [home, _, ..] = stripes[..] else { return self.change_stripe(self.shard_of(id), id, change).await };
        let mut outcome = self.change_stripe(home, id, change).await?;
        if let DropChangeOutcome::Changed(live) | DropChangeOutcome::Unchanged(live) = &mut outcome {
            let (now, followed) = self.followed(home, id).await.map_err(halfway)?;
            *live = now;
            if followed && let DropChangeOutcome::Unchanged(live) = outcome {
                return Ok(DropChangeOutcome::Changed(live));
            }
        }
        Ok(outcome)
    }

    /// Lets the stripes follow the home. Returns the drop as it is then, and whether one of them was changed.
    async fn followed(&self, home: Shard, id: &DropId) -> Result<(LiveDrop, bool), EngineError> {
        let followed = self.align_stripes(id).await?;
        let reading = self.read_drops(home, std::slice::from_ref(id)).await?;
        let live = reading.drops.into_iter().next().flatten().ok_or(EngineError::ShardRecovering)?;
        Ok((live, followed))
    }

    /// Makes a change to what one shard has of a drop: as [`Self::change_drop`], for a striped drop to one of its stripes.
    ///
    /// # Errors
    /// As [`Self::change_drop`].
    pub async fn change_stripe(
        &self,
        shard: Shard,
        id: &DropId,
        change: &DropChange,
    ) -> Result<DropChangeOutcome, EngineError> {
        let place = (shard, id);
        match change {
            DropChange::Start => self.call_change(place, &START, &FactBody::Started, &[]).await,
            DropChange::Release => self.release(place).await,
            DropChange::Pause => self.call_change(place, &PAUSE, &FactBody::Paused, &[]).await,
            DropChange::Resume => self.call_change(place, &RESUME, &FactBody::Resumed, &[]).await,
            DropChange::CallOff => self.call_change(place, &CALL_OFF, &FactBody::CalledOff, &[]).await,
            DropChange::Close(by) => {
                let word = match by {
                    ClosedBy::Clock => "clock",
                    ClosedBy::Operator => "operator",
                };
                let body = FactBody::Closed { by: *by };
                self.call_change(place, &CLOSE, &body, &[Value::from(word)]).await
            }
            DropChange::Restock { key, units } => {
                let args = [
                    Value::from(key.to_string()),
                    Value::from(i64::from(*units)),
                    Value::from(i64::from(DropDefinition::MAX_UNITS)),
                    Value::from(MAX_RESTOCKS),
                ];
                let body = FactBody::Restocked { key: *key, units: *units };
                self.call_change(place, &RESTOCK, &body, &args).await
            }
            DropChange::Amend { starts_at, ends_at, limit_per_user } => {
                self.amend(place, *starts_at, *ends_at, *limit_per_user).await
            }
        }
    }

    /// The script writes its fact itself, as orders release too.
    async fn release(&self, (shard, id): (Shard, &DropId)) -> Result<DropChangeOutcome, EngineError> {
        let handle = self.shared.handle(shard)?;
        let settled = self.shared.settle(handle, &RELEASE, &change_keys(&handle.keys, shard, id), &[]).await?;
        let changed = matches!(settled.code, Changing::Changed) || settled.was_lost;
        let drop = self.drop_of_reply(id, settled.fields)?;
        Ok(if changed { DropChangeOutcome::Changed(drop) } else { DropChangeOutcome::Unchanged(drop) })
    }

    /// Fills in what the request leaves out from what the drop is now; if the drop was changed in between, again.
    async fn amend(
        &self,
        place: (Shard, &DropId),
        starts_at: Option<Timestamp>,
        ends_at: Option<Option<Timestamp>>,
        limit_per_user: Option<u32>,
    ) -> Result<DropChangeOutcome, EngineError> {
        for _ in 0..AMEND_TRIES {
            let reading = self.read_stripes(place.0, std::slice::from_ref(place.1)).await?;
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
            if let Some(outcome) = self.try_change(place, &AMEND, &body, &args).await? {
                return Ok(outcome);
            }
        }
        Err(EngineError::Unavailable("the drop is being changed by others".to_owned()))
    }

    async fn call_change(
        &self,
        place: (Shard, &DropId),
        call: &'static Call<Changing>,
        body: &FactBody,
        args: &[Value],
    ) -> Result<DropChangeOutcome, EngineError> {
        let outcome = self.try_change(place, call, body, args).await?;
        outcome.ok_or_else(|| EngineError::Malformed(format!("{}: stale", call.script.name)))
    }

    /// Calls a script that changes a drop; `None` if the drop was changed since the arguments were made.
    async fn try_change(
        &self,
        place: (Shard, &DropId),
        call: &'static Call<Changing>,
        body: &FactBody,
        args: &[Value],
    ) -> Result<Option<DropChangeOutcome>, EngineError> {
        let (shard, id) = place;
        let handle = self.shared.handle(shard)?;
        let keys = change_keys(&handle.keys, shard, id);
        let mut all = vec![Value::from(Fact::log_json(id, body))];
        all.extend_from_slice(args);
        let durability = match body {
            FactBody::Started | FactBody::Closed { by: ClosedBy::Clock } => Durability::Memory,
            _ => self.promised(shard, id).await?,
        };
        self.shared.keeper.offers(handle, durability)?;
        let settled = self.shared.settle(handle, call, &keys, &all).await?;
        if matches!(settled.code, Changing::Changed | Changing::Unchanged) {
            self.shared.keeper.keep(handle, &settled.token, durability).await?;
        }
        let drop = |fields| self.drop_of_reply(id, fields);
        Ok(Some(match settled.code {
            Changing::Changed => DropChangeOutcome::Changed(drop(settled.fields)?),
            // The lost call made the change; this one found it made.
            Changing::Unchanged if settled.was_lost => DropChangeOutcome::Changed(drop(settled.fields)?),
            Changing::Unchanged => DropChangeOutcome::Unchanged(drop(settled.fields)?),
            Changing::InvalidTransition => DropChangeOutcome::InvalidTransition(drop(settled.fields)?),
            Changing::InvalidWindow => DropChangeOutcome::InvalidWindow(drop(settled.fields)?),
            Changing::KeyReused => DropChangeOutcome::KeyReused,
            Changing::TooMany => DropChangeOutcome::TooMany,
            Changing::Stale => return Ok(None),
        }))
    }
}

/// The keys of a script that changes a drop.
fn change_keys(keys: &Keys, shard: Shard, id: &DropId) -> [String; 5] {
    let Keys { meta, log, unsettled, timers, .. } = keys;
    [meta.clone(), log.clone(), unsettled.clone(), timers.clone(), Keys::drop(shard, id)]
}

/// What an amendment was made from: `lua/sale/amend.lua` compares it.
fn seen(drop: &LiveDrop) -> String {
    let ends_ms = drop.window.ends_at.map(|end| end.as_ms().to_string()).unwrap_or_default();
    format!("{}/{}/{}", drop.window.starts_at.as_ms(), ends_ms, drop.limit_per_user)
}
