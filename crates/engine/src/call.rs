//! A script as its caller knows it: the codes it decides with, and what they mean.
//!
//! Every typed call declares one and decodes by it, so there is no second list that could drift. The test below holds each
//! against its script's header, and debug builds count the keys of every call.

use crate::EngineError;
use crate::redis::{CallError, Reply};
use crate::scripts::Script;

/// Why a script did not decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The shard is behind the fence.
    ShardRecovering,
    /// The call came too late; the reply says what the time is.
    PastDeadline,
    /// The recovery is not the newest one.
    Superseded,
}

const SETTLED: &[(&str, Refused)] =
    &[("shard-recovering", Refused::ShardRecovering), ("past-deadline", Refused::PastDeadline)];
const FENCED: &[(&str, Refused)] = &[("shard-recovering", Refused::ShardRecovering)];
const GUARDED: &[(&str, Refused)] = &[("superseded", Refused::Superseded)];

/// A script and its codes, each with its meaning to the caller.
pub(crate) struct Call<C: 'static> {
    pub(crate) script: &'static Script,
    codes: &'static [(&'static str, C)],
    refusals: &'static [(&'static str, Refused)],
}

impl<C: Copy> Call<C> {
    /// A call with a deadline, whose decisions begin with the token that they were made under; see
    /// [`crate::engine::Shared::settle`].
    pub(crate) const fn settled(script: &'static Script, codes: &'static [(&'static str, C)]) -> Self {
        Self { script, codes, refusals: SETTLED }
    }

    /// A call that only the fence refuses.
    pub(crate) const fn fenced(script: &'static Script, codes: &'static [(&'static str, C)]) -> Self {
        Self { script, codes, refusals: FENCED }
    }

    /// A step of a recovery; see [`crate::Engine::begin_recovery`].
    pub(crate) const fn guarded(script: &'static Script, codes: &'static [(&'static str, C)]) -> Self {
        Self { script, codes, refusals: GUARDED }
    }

    /// A call that is always answered.
    pub(crate) const fn open(script: &'static Script, codes: &'static [(&'static str, C)]) -> Self {
        Self { script, codes, refusals: &[] }
    }

    /// What the reply's code means.
    pub(crate) fn decode(&self, reply: &Reply) -> Result<Result<C, Refused>, CallError> {
        let decided = self.codes.iter().find(|(code, _)| *code == reply.code);
        let refused = self.refusals.iter().find(|(code, _)| *code == reply.code);
        match (decided, refused) {
            (Some((_, meaning)), _) => Ok(Ok(*meaning)),
            (None, Some((_, refused))) => Ok(Err(*refused)),
            (None, None) => Err(reply.unexpected()),
        }
    }
}

impl From<Refused> for EngineError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::ShardRecovering => Self::ShardRecovering,
            Refused::PastDeadline => Self::Unavailable("Redis answers too late".to_owned()),
            Refused::Superseded => Self::Superseded,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::scripts::SCRIPTS;
    use crate::{committer, dead, log, reconcile, recovery, sale, stripes, timers};

    type Declared = (&'static Script, BTreeSet<&'static str>);

    fn declared<C: Copy>(call: &Call<C>) -> Declared {
        let decided = call.codes.iter().map(|(code, _)| *code);
        (call.script, decided.chain(call.refusals.iter().map(|(code, _)| *code)).collect())
    }

    #[test]
    fn callers_know_exactly_the_codes_of_the_headers() {
        let mut calls: Vec<Declared> = vec![
            declared(&committer::GRANT),
            declared(&dead::COMPENSATE),
            declared(&dead::COUNT),
            declared(&dead::LIST),
            declared(&dead::READ),
            declared(&dead::REPLAY),
            declared(&dead::RESTORE),
            declared(&log::ACKNOWLEDGE),
            declared(&log::FORGET_CONSUMERS),
            declared(&log::HAND_OVER),
            declared(&log::READ),
            declared(&log::STATUS),
            declared(&log::TAKE),
            declared(&reconcile::CUT),
            declared(&reconcile::USERS),
            declared(&recovery::ADOPT),
            declared(&recovery::ALIGN),
            declared(&recovery::APPLY),
            declared(&recovery::BEGIN),
            declared(&recovery::INSPECT),
            declared(&recovery::INSPECT_DROPS),
            declared(&recovery::PRESENCE),
            declared(&recovery::RESET),
            declared(&recovery::WIPE_DROPS),
            declared(&sale::CANCEL),
            declared(&sale::OPEN),
            declared(&sale::PURGE),
            declared(&sale::READ),
            declared(&sale::READ_UNSETTLED),
            declared(&sale::READ_USERS),
            declared(&sale::SCAN_USERS),
            declared(&sale::WITHDRAWN),
            declared(&stripes::CLEAR),
            declared(&stripes::READ),
            declared(&stripes::RECEIVE),
            declared(&stripes::ACTIVATE),
            declared(&stripes::SEND),
            declared(&timers::DUE),
        ];
        calls.extend(sale::CHANGES.iter().map(|call| declared(call)));
        for (script, codes) in &calls {
            assert_eq!(*codes, BTreeSet::from_iter(script.returns.iter().copied()), "{}", script.name);
        }
        let called: BTreeSet<&str> = calls.iter().map(|(script, _)| script.name).collect();
        assert_eq!(called, SCRIPTS.iter().map(|script| script.name).collect(), "every script has its typed call");
    }
}
