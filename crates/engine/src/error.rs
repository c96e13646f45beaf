//! What can go wrong with the hot state.

use stampede_domain::{Durability, Malformed};

/// The engine could not do, or does not know whether it did, what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The shard is fenced until its recovery has run. Nothing happened.
    #[error("the shard is recovering")]
    ShardRecovering,
    /// The shard is on its way to another Redis process, or one is about to take over. Nothing happened.
    #[error("the shard is moving")]
    ShardMoving,
    /// The call may or may not have taken effect. The same call, with the same key, settles it.
    #[error("the outcome is unknown")]
    OutcomeUnknown,
    /// Redis cannot be reached, cannot keep what the drop's answers are promised to survive, or too many calls wait for it.
    /// Nothing happened.
    #[error("the hot state is unavailable: {0}")]
    Unavailable(String),
    /// A recovery was overtaken by a newer one, or Redis was replaced under it. Nothing happened.
    #[error("this recovery was superseded")]
    Superseded,
    /// Redis holds something that this software does not write. Nothing happened.
    #[error("the hot state is malformed: {0}")]
    Malformed(String),
}

impl From<Malformed> for EngineError {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed.to_string())
    }
}

/// An engine refuses to start.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address is not one.
    #[error("the Redis address is invalid: {0}")]
    InvalidUrl(String),
    /// Nobody answers there.
    #[error("Redis does not answer: {0}")]
    Unreachable(String),
    /// A full Redis would throw drops away, to be reborn with all their stock.
    #[error("Redis is set to `maxmemory-policy {0}`; it must be `noeviction`, or a full Redis would sell units twice")]
    Evicting(String),
    /// The deployment's durability is more than this Redis can keep.
    #[error("durability `{durability}` cannot be kept by Redis at {primary}: {reason}")]
    NotDurable {
        /// The deployment's durability.
        durability: Durability,
        /// Which server cannot.
        primary: String,
        /// Why, and what to change.
        reason: String,
    },
    /// This Redis belongs to another deployment.
    #[error("this Redis belongs to deployment {found}, not to {expected}: check the Redis address and the archive's")]
    ForeignDeployment {
        /// The deployment that Redis names.
        found: String,
        /// The deployment of this process's archive.
        expected: String,
    },
    /// This Redis was set up with another number of shards.
    #[error(
        "this Redis was set up with {found} shards, the archive with {expected}: a deployment's shards never change"
    )]
    ForeignShards {
        /// The number that Redis names.
        found: u16,
        /// The number of this process's archive.
        expected: u16,
    },
}
