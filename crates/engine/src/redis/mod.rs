//! Connections to Redis, and scripts called over them.
//!
//! One client for calls that change something: it never sends a command twice by itself, as a command whose answer was lost
//! may have taken effect. One client for reads, which may be repeated. One for subscriptions.

mod connect;
mod eviction;
mod primaries;
mod reply;

use std::sync::Arc;
use std::time::Duration;

use fred::clients::{Client, SubscriberClient};
use fred::error::{Error, ErrorKind};
use fred::interfaces::{ClientLike, LuaInterface};
use fred::types::Value;
use fred::types::config::Config;

use crate::EngineSettings;
use crate::scripts::Script;

pub(crate) use connect::connect;
pub(crate) use primaries::{Primary, SentinelAddress};
pub(crate) use reply::{Fields, Reply};

/// Why a script call gave no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CallError {
    /// The answer was lost: the script may have run, or may yet run.
    Lost(String),
    /// The server refused the call, or the script stopped before its first write. Nothing happened.
    Refused(String),
    /// The reply is not of the script's form.
    Malformed(String),
}

/// The clients of one engine.
#[derive(Clone)]
pub(crate) struct Redis {
    inner: Arc<Clients>,
}

struct Clients {
    change: Client,
    read: Client,
    subscriber: SubscriberClient,
    /// How they were set up, for more of them.
    config: Config,
    settings: EngineSettings,
}

impl Redis {
    /// Calls a script that may change something: once. Over a lost connection the outcome is unknown.
    pub(crate) async fn change(
        &self,
        script: &'static Script,
        keys: Vec<String>,
        args: Vec<Value>,
    ) -> Result<Reply, CallError> {
        self.call(&self.inner.change, script, keys, args).await
    }

    /// Calls a script that changes nothing; repeated over a new connection if the first one breaks.
    pub(crate) async fn read(
        &self,
        script: &'static Script,
        keys: Vec<String>,
        args: Vec<Value>,
    ) -> Result<Reply, CallError> {
        self.call(&self.inner.read, script, keys, args).await
    }

    /// The client for plain reading commands.
    pub(crate) fn reader(&self) -> &Client {
        &self.inner.read
    }

    /// The client for plain commands that change something.
    pub(crate) fn writer(&self) -> &Client {
        &self.inner.change
    }

    /// The client that holds the subscriptions.
    pub(crate) fn subscriber(&self) -> &SubscriberClient {
        &self.inner.subscriber
    }

    /// Closes the connections; commands in flight are answered first.
    pub(crate) async fn quit(&self) {
        let limit = Duration::from_secs(2);
        let quit = async {
            let _ = self.inner.change.quit().await;
            let _ = self.inner.read.quit().await;
            let _ = self.inner.subscriber.quit().await;
        };
        // A server that does not answer must not keep a process from stopping.
        let _ = tokio::time::timeout(limit, quit).await;
    }

    async fn call(
        &self,
        client: &Client,
        script: &'static Script,
        keys: Vec<String>,
        args: Vec<Value>,
    ) -> Result<Reply, CallError> {
        debug_assert!(script.takes(keys.len()), "{} with {} keys", script.name, keys.len());
        let first = client.evalsha::<Value, _, _, _>(script.sha1(), keys.clone(), args.clone()).await;
        let value = match first {
            // The server does not know the script: it was flushed, or another process took over. Nothing ran; the whole
            // text reaches the very node that the keys live on.
            Err(error) if error.details().starts_with("NOSCRIPT") => {
                client.eval::<Value, _, _, _>(script.source, keys, args).await
            }
            other => other,
        };
        Reply::new(script, value.map_err(classify)?)
    }
}

/// What a client's error says of the call: an answer of the server means that nothing happened, as a script writes
/// nothing before its last check; anything else leaves the outcome open.
fn classify(error: Error) -> CallError {
    let text = error.to_string();
    match error.kind() {
        ErrorKind::IO | ErrorKind::Timeout | ErrorKind::Canceled | ErrorKind::Tls | ErrorKind::Protocol => {
            CallError::Lost(text)
        }
        _ => CallError::Refused(text),
    }
}

/// The error of a plain command, which may be repeated whatever became of it. A log without its consumer group belongs to
/// a shard that was never set up, or whose keys are lost.
pub(crate) fn unavailable(error: Error) -> crate::EngineError {
    if error.details().starts_with("NOGROUP") {
        return crate::EngineError::ShardRecovering;
    }
    crate::EngineError::Unavailable(error.to_string())
}
