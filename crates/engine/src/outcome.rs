//! Calls whose answer may be lost, and how they are settled.
//!
//! A call that timed out may still lie in a queue. The call that settles it carries the lost one's deadline as a floor: once
//! it has been answered, the lost one either has taken effect, and the repeated step finds that, or never will.

use std::time::{Duration, Instant};

use fred::interfaces::ClientLike;
use fred::types::Value;
use tracing::{debug, warn};

use crate::EngineError;
use crate::call::{Call, Refused};
use crate::engine::{ShardHandle, Shared};
use crate::redis::{CallError, Fields, Reply};

/// How often a lost call is repeated before its outcome counts as unknown.
const SETTLING_CALLS: u32 = 3;

/// How often a call is sent again because it came too late: once for a wrong clock, more for a busy server.
const LATE_CALLS: u32 = 5;

/// How often a call is sent again at once because another server is to be asked, and the pause before.
const CALLS_ELSEWHERE: u32 = 3;
const CALL_AGAIN: Duration = Duration::from_millis(20);

/// A call's answer, and whether an earlier sending of it may have been what took effect.
pub(crate) struct Settled<C> {
    pub(crate) code: C,
    /// The token that the script trusted: what it decided stands in that Redis process.
    pub(crate) token: String,
    pub(crate) fields: Fields,
    pub(crate) was_lost: bool,
}

impl Shared {
    /// Calls a script whose first two arguments are its deadline and the floor, and settles it if its answer is lost.
    pub(crate) async fn settle<C: Copy>(
        &self,
        shard: &ShardHandle,
        call: &'static Call<C>,
        keys: &[String],
        args: &[Value],
    ) -> Result<Settled<C>, EngineError> {
        self.settle_until(Instant::now(), shard, call, keys, args).await
    }

    /// As [`Self::settle`]; a lost answer is sought until then, through a failover and the recovery after it.
    pub(crate) async fn settle_until<C: Copy>(
        &self,
        until: Instant,
        shard: &ShardHandle,
        call: &'static Call<C>,
        keys: &[String],
        args: &[Value],
    ) -> Result<Settled<C>, EngineError> {
        let script = call.script;
        self.wait_for_connection().await?;
        let (mut floor_ms, mut lost, mut late, mut elsewhere) = (0, 0, 0, 0);
        loop {
            let deadline_ms = shard.clock.deadline_ms(self.settings.call_deadline);
            let mut all = Vec::with_capacity(args.len() + 2);
            all.extend([Value::from(deadline_ms), Value::from(floor_ms)]);
            all.extend_from_slice(args);
            let called = self.redis.change(script, keys.to_vec(), all).await;
            match called.and_then(|reply| Ok((call.decode(&reply)?, reply.fields))) {
                Ok((Ok(code), mut fields)) => {
                    let token = fields.text()?;
                    return Ok(Settled { code, token, fields, was_lost: lost > 0 });
                }
                Ok((Err(Refused::PastDeadline), mut fields)) => {
                    shard.clock.raised_floor(fields.parse()?);
                    late += 1;
                    if late == LATE_CALLS {
                        return Err(if lost > 0 { EngineError::OutcomeUnknown } else { Refused::PastDeadline.into() });
                    }
                }
                // A lost call may have taken effect before the fence came down; behind it, that shows.
                Ok((Err(_), _)) if lost > 0 && Instant::now() < until => tokio::time::sleep(CALL_AGAIN).await,
                Ok((Err(refused), _)) => {
                    return Err(if lost > 0 { EngineError::OutcomeUnknown } else { refused.into() });
                }
                Err(CallError::Lost(error)) => {
                    debug!(script = script.name, shard = %shard.shard, %error, "the answer of a call was lost");
                    floor_ms = floor_ms.max(deadline_ms);
                    lost += 1;
                    if lost > SETTLING_CALLS && Instant::now() >= until {
                        warn!(script = script.name, shard = %shard.shard, %error, "the outcome of a call is unknown");
                        return Err(EngineError::OutcomeUnknown);
                    }
                    if lost > 1 {
                        tokio::time::sleep(CALL_AGAIN).await;
                    }
                    while self.wait_for_connection().await.is_err() {
                        if Instant::now() >= until {
                            return Err(EngineError::OutcomeUnknown);
                        }
                    }
                }
                Err(CallError::Elsewhere(error)) => {
                    debug!(script = script.name, shard = %shard.shard, %error, "another server is to be asked");
                    elsewhere += 1;
                    if elsewhere >= CALLS_ELSEWHERE && (lost == 0 || Instant::now() >= until) {
                        return Err(if lost > 0 { EngineError::OutcomeUnknown } else { EngineError::ShardMoving });
                    }
                    tokio::time::sleep(CALL_AGAIN).await;
                }
                Err(CallError::Refused(error)) if lost > 0 => {
                    warn!(script = script.name, shard = %shard.shard, %error, "a lost call could not be settled");
                    return Err(EngineError::OutcomeUnknown);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Calls, once, a script without a deadline that may be repeated whatever became of it; `shard-recovering` is an error.
    pub(crate) async fn change_fenced(
        &self,
        call: &'static Call<()>,
        keys: Vec<String>,
        args: Vec<Value>,
    ) -> Result<Fields, EngineError> {
        let reply = self.redis.change(call.script, keys, args).await?;
        decided(call, reply)
    }

    /// Calls a script that changes nothing; `shard-recovering` is an error.
    pub(crate) async fn read(
        &self,
        call: &'static Call<()>,
        keys: Vec<String>,
        args: Vec<Value>,
    ) -> Result<Fields, EngineError> {
        self.read_coded(call, keys, args).await.map(|((), fields)| fields)
    }

    /// Calls a script that changes nothing and has more than one answer.
    pub(crate) async fn read_coded<C: Copy>(
        &self,
        call: &'static Call<C>,
        keys: Vec<String>,
        args: Vec<Value>,
    ) -> Result<(C, Fields), EngineError> {
        let reply = self.redis.read(call.script, keys, args).await.map_err(|error| match error {
            CallError::Lost(error) => EngineError::Unavailable(error),
            other => other.into(),
        })?;
        Ok((call.decode(&reply)??, reply.fields))
    }

    /// Waits until there is a connection, so that a call is not sent into a queue that may stand for long.
    pub(crate) async fn wait_for_connection(&self) -> Result<(), EngineError> {
        let client = self.redis.writer();
        if client.is_connected() {
            return Ok(());
        }
        let limit: Duration = self.settings.command_timeout;
        match tokio::time::timeout(limit, client.wait_for_connect()).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(EngineError::Unavailable("no connection to Redis".to_owned())),
        }
    }
}

fn decided(call: &'static Call<()>, reply: Reply) -> Result<Fields, EngineError> {
    call.decode(&reply)??;
    Ok(reply.fields)
}

impl From<CallError> for EngineError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Lost(_) => Self::OutcomeUnknown,
            CallError::Refused(text) => Self::Unavailable(text),
            CallError::Elsewhere(_) => Self::ShardMoving,
            CallError::Malformed(text) => Self::Malformed(text),
        }
    }
}
