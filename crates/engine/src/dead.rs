//! Dead letters: facts that the archive refuses for good.
//!
//! A letter is written by the call that acknowledges the fact's entry, and goes with the call that acknowledges what settled
//! it: a replay that the archive took, or a compensation that it knows. So the fact can be read at every moment.

use std::collections::BTreeMap;

use bytes::Bytes;
use fred::types::Value;
use stampede_domain::{
    Compensation, DeadLetter, DropId, Fact, FactBody, FactId, Grant, GrantState, LogId, OrderId, Shard, UserDigest,
};

use crate::call::Call;
use crate::engine::Engine;
use crate::keys::Keys;
use crate::recovery::RecoveryGuard;
use crate::{EngineError, scripts};

/// Letters that one call lists, about.
const AT_ONCE: i64 = 500;

pub(crate) static COUNT: Call<()> = Call::fenced(&scripts::DEAD_COUNT, &[("counted", ())]);
pub(crate) static LIST: Call<()> = Call::fenced(&scripts::DEAD_LIST, &[("read", ())]);
pub(crate) static READ: Call<()> = Call::fenced(&scripts::DEAD_READ, &[("read", ())]);

/// What `dead/replay` decides.
pub(crate) static REPLAY: Call<LetterReplay> = Call::settled(
    &scripts::DEAD_REPLAY,
    &[
        ("replayed", LetterReplay::Replayed),
        ("replaying", LetterReplay::Replaying),
        ("compensated", LetterReplay::Compensated),
        ("gone", LetterReplay::Gone),
        ("unknown", LetterReplay::Unknown),
    ],
);

/// What `dead/compensate` decides.
#[derive(Clone, Copy)]
pub(crate) enum Compensating {
    Compensated,
    Already,
    Replaying,
    Gone,
    Unknown,
}

pub(crate) static COMPENSATE: Call<Compensating> = Call::settled(
    &scripts::DEAD_COMPENSATE,
    &[
        ("compensated", Compensating::Compensated),
        ("already", Compensating::Already),
        ("replaying", Compensating::Replaying),
        ("gone", Compensating::Gone),
        ("unknown", Compensating::Unknown),
    ],
);

/// What `recovery/restore_letters` decides.
#[derive(Clone, Copy)]
pub(crate) enum Restoring {
    Restored,
    Malformed,
}

pub(crate) static RESTORE: Call<Restoring> = Call::guarded(
    &scripts::RECOVERY_RESTORE_LETTERS,
    &[("restored", Restoring::Restored), ("malformed", Restoring::Malformed)],
);

/// What has become of a dead letter that is still kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetterState {
    /// It waits for an operator.
    Dead,
    /// Its fact is on its way to the archive once more.
    Replaying,
    /// Its order was given back; the archive does not know yet.
    Compensated,
}

/// A dead letter as Redis keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptLetter {
    /// The letter.
    pub letter: DeadLetter,
    /// What has become of it.
    pub state: LetterState,
}

/// What acknowledging an entry does to a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LetterChange {
    /// The entry that is acknowledged. Nothing is changed if it was acknowledged before.
    pub entry: LogId,
    /// The letter's fact.
    pub fact: FactId,
    /// The drop of that fact.
    pub drop_id: DropId,
    /// The letter to write; none if it is settled and goes.
    pub letter: Option<DeadLetter>,
}

/// What a recovery knows of a fact that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LetterNote {
    /// The letter.
    pub letter: DeadLetter,
    /// Whether its fact was archived all the same, its order given back, or its history given up.
    pub settled: bool,
}

/// What became of replaying a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetterReplay {
    /// Its fact is in the log again. Whether the archive takes it now is seen by the letter: it goes, or is dead again.
    Replayed,
    /// It was in the log again before.
    Replaying,
    /// Its order was given back.
    Compensated,
    /// There is no such letter, or not any more.
    Gone,
    /// The user's record does not know the order.
    Unknown,
}

/// What became of compensating a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetterCompensation {
    /// The order is given back, now: its units went back to the drop and to its owner's limit.
    Compensated,
    /// The order was cancelled or compensated before: its state.
    Already(GrantState),
    /// Its fact is on its way to the archive once more.
    Replaying,
    /// There is no such letter, or not any more.
    Gone,
    /// The user's record does not know the order.
    Unknown,
    /// The letter's fact is no order: it can only be replayed.
    NotAnOrder,
}

impl Engine {
    /// How many dead letters a shard has.
    ///
    /// # Errors
    /// [`EngineError::ShardRecovering`] behind the fence.
    pub async fn count_letters(&self, shard: Shard) -> Result<u64, EngineError> {
        Ok(self.shared.read(&COUNT, self.letter_keys(shard)?, Vec::new()).await?.parse()?)
    }

    /// All dead letters of a shard, oldest fact first; there are at most as many as
    /// [`dead_letters_max`](crate::EngineSettings::dead_letters_max).
    ///
    /// # Errors
    /// As [`Self::count_letters`].
    pub async fn letters(&self, shard: Shard) -> Result<Vec<KeptLetter>, EngineError> {
        // A scan may show a letter twice.
        let mut letters = BTreeMap::new();
        let mut cursor = "0".to_owned();
        loop {
            let args = vec![Value::from(cursor), Value::from(AT_ONCE)];
            let mut fields = self.shared.read(&LIST, self.letter_keys(shard)?, args).await?;
            cursor = fields.text()?;
            while fields.len() > 0 {
                let kept = decode(&fields.bytes()?)?;
                letters.insert((kept.letter.fact.number, kept.letter.fact.position, kept.letter.fact.id()), kept);
            }
            if cursor == "0" {
                return Ok(letters.into_values().collect());
            }
        }
    }

    /// The dead letter of a fact, if there is one.
    ///
    /// # Errors
    /// As [`Self::count_letters`].
    pub async fn letter(&self, fact: FactId) -> Result<Option<KeptLetter>, EngineError> {
        let shard = match fact {
            FactId::Order(id) => id.shard(),
            FactId::Event { shard, .. } => shard,
        };
        let args = vec![Value::from(fact.to_string())];
        let letter = self.shared.read(&READ, self.letter_keys(shard)?, args).await?.bytes()?;
        if letter.is_empty() { Ok(None) } else { decode(&letter).map(Some) }
    }

    /// An order's fact, if it is a dead letter.
    ///
    /// # Errors
    /// As [`Self::count_letters`].
    pub async fn dead_order(&self, id: OrderId) -> Result<Option<Fact>, EngineError> {
        Ok(self.letter(FactId::Order(id)).await?.map(|kept| kept.letter.fact))
    }

    /// Has the letter's fact given to the archive once more. Its outcome is seen by the letter: it goes when the archive has
    /// the fact, and is dead again when the archive refuses it again.
    ///
    /// # Errors
    /// [`EngineError::ShardRecovering`] behind the fence; [`EngineError::OutcomeUnknown`] if it may have happened.
    pub async fn replay_letter(&self, fact: &Fact) -> Result<LetterReplay, EngineError> {
        let handle = self.shared.handle(fact.shard)?;
        let mut args = vec![Value::from(fact.id().to_string()), Value::from(fact.to_json())];
        args.extend(match &fact.body {
            FactBody::Granted(grant) => grant_args(fact, grant),
            _ => [Value::from(""), Value::from(""), Value::from(0)],
        });
        let durability = self.promised(fact.shard, &fact.drop_id).await?;
        self.shared.keeper.offers(handle, durability)?;
        let settled = self.shared.settle(handle, &REPLAY, &self.settling_keys(fact)?, &args).await?;
        if matches!(settled.code, LetterReplay::Replayed | LetterReplay::Replaying) {
            self.shared.keeper.keep(handle, &settled.token, durability).await?;
        }
        Ok(match settled.code {
            // The lost call replayed it; this one found it replayed.
            LetterReplay::Replaying if settled.was_lost => LetterReplay::Replayed,
            code => code,
        })
    }

    /// Gives the letter's order back: its units go back to the drop and to its owner's limit.
    ///
    /// # Errors
    /// [`EngineError::ShardRecovering`] behind the fence; [`EngineError::OutcomeUnknown`] if it may have happened.
    pub async fn compensate_letter(&self, fact: &Fact) -> Result<LetterCompensation, EngineError> {
        let FactId::Order(order_id) = fact.id() else { return Ok(LetterCompensation::NotAnOrder) };
        let FactBody::Granted(grant) = &fact.body else { return Ok(LetterCompensation::NotAnOrder) };
        let handle = self.shared.handle(fact.shard)?;
        let body = FactBody::Compensated(Compensation { order_id, grant: grant.clone() });
        let data = Fact::log_json(&fact.drop_id, &body);
        let mut args = vec![Value::from(order_id.to_string()), Value::from(data)];
        args.extend(grant_args(fact, grant));
        let durability = self.promised(fact.shard, &fact.drop_id).await?;
        self.shared.keeper.offers(handle, durability)?;
        let mut keys = self.settling_keys(fact)?;
        keys.push(handle.keys.timers.clone());
        let mut settled = self.shared.settle(handle, &COMPENSATE, &keys, &args).await?;
        if matches!(settled.code, Compensating::Compensated | Compensating::Already) {
            self.shared.keeper.keep(handle, &settled.token, durability).await?;
        }
        Ok(match settled.code {
            Compensating::Compensated => LetterCompensation::Compensated,
            Compensating::Already => match settled.fields.parse::<u8>()? {
                1 => LetterCompensation::Already(GrantState::Cancelled),
                // The lost call compensated it; this one found it compensated.
                2 if settled.was_lost => LetterCompensation::Compensated,
                2 => LetterCompensation::Already(GrantState::Compensated),
                _ => return Err(settled.fields.malformed("a grant's state").into()),
            },
            Compensating::Replaying => LetterCompensation::Replaying,
            Compensating::Gone => LetterCompensation::Gone,
            Compensating::Unknown => LetterCompensation::Unknown,
        })
    }

    /// Makes the dead letters of a shard what these notes say: the settled ones go, the others come back unless their entries
    /// are still in the log. Returns how many came back.
    ///
    /// # Errors
    /// [`EngineError::Superseded`] if a newer recovery began, or another Redis process took over.
    pub async fn recovery_restore_letters(
        &self,
        guard: &RecoveryGuard,
        notes: &[LetterNote],
    ) -> Result<u64, EngineError> {
        let k = &self.shared.handle(guard.shard)?.keys;
        let keys = vec![k.meta.clone(), k.log.clone(), k.unsettled.clone(), k.dead.clone()];
        let mut args = Vec::with_capacity(notes.len() * 4);
        for LetterNote { letter, settled } in notes {
            args.push(Value::from(letter.fact.id().to_string()));
            args.push(Value::from(letter.fact.drop_id.as_str()));
            args.push(Value::from(if *settled { String::new() } else { letter.to_json() }));
            args.push(Value::from(letter.fact.position.log_id.to_string()));
        }
        match self.guarded(guard, &RESTORE, keys, &args).await? {
            (Restoring::Restored, mut fields) => Ok(fields.parse()?),
            (Restoring::Malformed, mut fields) => {
                Err(EngineError::Malformed(format!("recovery/restore_letters: {}", fields.text()?)))
            }
        }
    }

    fn letter_keys(&self, shard: Shard) -> Result<Vec<String>, EngineError> {
        let k = &self.shared.handle(shard)?.keys;
        Ok(vec![k.meta.clone(), k.dead.clone()])
    }

    /// The keys of the scripts that settle a letter.
    fn settling_keys(&self, fact: &Fact) -> Result<Vec<String>, EngineError> {
        let k = &self.shared.handle(fact.shard)?.keys;
        let (drop, users) = (Keys::drop(fact.shard, &fact.drop_id), Keys::users(fact.shard, &fact.drop_id));
        Ok(vec![k.meta.clone(), k.log.clone(), k.unsettled.clone(), k.dead.clone(), drop, users])
    }
}

/// Where the users' records hold a grant: digest of the user, position (8 bytes), index.
fn grant_args(fact: &Fact, grant: &Grant) -> [Value; 3] {
    let LogId { ms, sequence } = fact.position.log_id;
    let mut place = [0; 8];
    place[..6].copy_from_slice(&ms.to_be_bytes()[2..]);
    place[6..].copy_from_slice(&sequence.to_be_bytes());
    [
        Value::Bytes(Bytes::copy_from_slice(&UserDigest::of(&grant.user_id).0)),
        Value::Bytes(Bytes::copy_from_slice(&place)),
        Value::from(i64::from(fact.position.index)),
    ]
}

/// A letter behind its state.
fn decode(bytes: &[u8]) -> Result<KeptLetter, EngineError> {
    let malformed = || EngineError::Malformed("the state of a dead letter".to_owned());
    let (state, json) = bytes.split_first().ok_or_else(malformed)?;
    let state = match state {
        b'd' => LetterState::Dead,
        b'r' => LetterState::Replaying,
        b'c' => LetterState::Compensated,
        _ => return Err(malformed()),
    };
    Ok(KeptLetter { letter: DeadLetter::from_json(json)?, state })
}
