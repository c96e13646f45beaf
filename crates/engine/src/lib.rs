//! The hot state of a sale: keys, scripts, group commit, the log.
//!
//! Everything that must be decided atomically is decided by a Lua script in Redis, and every script is a typed call here.
//! No other crate knows a key's name or a script's reply. [`Engine`] is the whole of it; it is cheap to clone.

mod call;
mod changes;
mod clock;
mod committer;
mod dead;
mod durability;
mod engine;
mod error;
mod keys;
mod log;
mod metrics;
mod outcome;
mod reconcile;
mod recovery;
mod redis;
mod sale;
mod scripts;
mod settings;
mod stripes;
mod timers;
mod traces;

pub use changes::{DropChanged, DropChanges};
pub use dead::{KeptLetter, LetterChange, LetterCompensation, LetterNote, LetterReplay, LetterState};
pub use durability::Source;
pub use engine::Engine;
pub use error::{ConnectError, EngineError};
pub use keys::Keys;
pub use log::{Acknowledged, EntryReceipt, LogEntry, LogStatus, PendingClaim};
pub use metrics::METRICS;
pub use reconcile::{ShardCut, UsersCut};
pub use recovery::{DamageCheck, DropPresence, HistoryChunk, Purges, RecoveryGuard, ShardInspection, ShardLine};
pub use sale::{
    Cancellation, Decision, DropChange, DropChangeOutcome, DropTerms, LiveDrop, Opening, OrderRef, OrderRequest,
    PurgeOutcome, PurgeRefusal, PurgeTerms, PurgedRequest, Refusal, ShardReading, UserGrants, UsersPiece,
};
pub use scripts::{SCRIPTS, Script};
pub use settings::{EngineSettings, LogBound};
pub use stripes::{Receiving, Sending, Transfer};
pub use timers::{DueTimer, TimerKind};
pub use traces::{span_context, tracer};
