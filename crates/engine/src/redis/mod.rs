//! Connections to Redis, and scripts called over them.
//!
//! One client for calls that change something: it never sends a command twice by itself, as a command whose answer was lost
//! may have taken effect. One client for reads, which may be repeated. One for subscriptions.

mod connect;
mod eviction;
mod failover;
mod primaries;
mod reply;

use std::sync::Arc;
use std::time::{Duration, Instant};

use fred::clients::{Client, SubscriberClient};
use fred::error::Error;
use fred::interfaces::{ClientLike, LuaInterface};
use fred::types::Value;
use fred::types::config::Config;

use crate::metrics::{Operation, OperationOutcome};
use crate::scripts::Script;
use crate::{EngineError, EngineSettings};
use failover::{Link, casts_doubt, classify};

pub(crate) use connect::connect;
pub(crate) use primaries::{Primary, SentinelAddress};
pub(crate) use reply::{Fields, Reply};

/// How often a reading is repeated that came to a server that does not serve it, and the pause before.
const READS_ELSEWHERE: u32 = 3;
const READ_AGAIN: Duration = Duration::from_millis(20);

/// Why a script call gave no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CallError {
    /// The answer was lost: the script may have run, or may yet run.
    Lost(String),
    /// The server refused the call, or the script stopped before its first write. Nothing happened.
    Refused(String),
    /// The server does not serve the call now, and another will: nothing happened.
    Elsewhere(String),
    /// The reply is not of the script's form.
    Malformed(String),
}

/// The clients of one engine.
#[derive(Clone)]
pub(crate) struct Redis {
    inner: Arc<Clients>,
}

struct Clients {
    change: Link<Client>,
    read: Link<Client>,
    subscriber: Link<SubscriberClient>,
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

    /// Calls a script that changes nothing; repeated over a new connection if the first one breaks, and where another server
    /// is to be asked.
    pub(crate) async fn read(
        &self,
        script: &'static Script,
        keys: Vec<String>,
        args: Vec<Value>,
    ) -> Result<Reply, CallError> {
        let mut elsewhere = 0;
        loop {
            let called = self.call(&self.inner.read, script, keys.clone(), args.clone()).await;
            elsewhere += 1;
            match called {
                Err(CallError::Elsewhere(_)) if elsewhere < READS_ELSEWHERE => tokio::time::sleep(READ_AGAIN).await,
                other => return other,
            }
        }
    }

    /// The client for plain reading commands.
    pub(crate) fn reader(&self) -> &Client {
        &self.inner.read.client
    }

    /// The client for plain commands that change something.
    pub(crate) fn writer(&self) -> &Client {
        &self.inner.change.client
    }

    /// What the error of a plain reading command means.
    pub(crate) fn read_failed(&self, error: Error) -> EngineError {
        self.failed(&self.inner.read, &error)
    }

    /// What the error of a plain command that changes something means, one that may be repeated whatever became of it.
    pub(crate) fn change_failed(&self, error: Error) -> EngineError {
        self.failed(&self.inner.change, &error)
    }

    /// The client that holds the subscriptions.
    pub(crate) fn subscriber(&self) -> &SubscriberClient {
        &self.inner.subscriber.client
    }

    /// Whether both clients that serve calls have a connection.
    pub(crate) fn is_connected(&self) -> bool {
        self.reader().is_connected() && self.writer().is_connected()
    }

    /// Looks for the primary again with all clients.
    pub(crate) fn look_for_primary(&self) {
        self.inner.change.search();
        self.inner.read.search();
        self.inner.subscriber.search();
    }

    /// Closes the connections; commands in flight are answered first.
    pub(crate) async fn quit(&self) {
        let limit = Duration::from_secs(2);
        let quit = async {
            let _ = self.inner.change.client.quit().await;
            let _ = self.inner.read.client.quit().await;
            let _ = self.inner.subscriber.client.quit().await;
        };
        // A server that does not answer must not keep a process from stopping.
        let _ = tokio::time::timeout(limit, quit).await;
    }

    async fn call(
        &self,
        link: &Link<Client>,
        script: &'static Script,
        keys: Vec<String>,
        args: Vec<Value>,
    ) -> Result<Reply, CallError> {
        debug_assert!(script.takes(keys.len()), "{} with {} keys", script.name, keys.len());
        let client = &link.client;
        // The client's futures are large, and whoever awaits this would carry room for them along: even where most requests
        // never get here, their futures were moved about by the kilobyte.
        let called = Box::pin(counted(&script.operation, async {
            let first = client.evalsha::<Value, _, _, _>(script.sha1(), keys.clone(), args.clone()).await;
            match first {
                // The server does not know the script: it was flushed, or another process took over. Nothing ran; the whole
                // text reaches the very node that the keys live on.
                Err(error) if error.details().starts_with("NOSCRIPT") => {
                    client.eval::<Value, _, _, _>(script.source, keys, args).await
                }
                other => other,
            }
        }));
        let value = called.await.map_err(|error| {
            self.heed(link, &error);
            classify(&error)
        })?;
        Reply::new(script, value)
    }

    /// A log without its consumer group belongs to a shard that was never set up, or whose keys are lost.
    fn failed(&self, link: &Link<Client>, error: &Error) -> EngineError {
        self.heed(link, error);
        if error.details().starts_with("NOGROUP") {
            return EngineError::ShardRecovering;
        }
        match classify(error) {
            CallError::Elsewhere(_) => EngineError::ShardMoving,
            CallError::Lost(text) | CallError::Refused(text) | CallError::Malformed(text) => {
                EngineError::Unavailable(text)
            }
        }
    }

    /// Looks for the primary again if the error says so. The subscriptions go with it: they send nothing, so that nothing
    /// would tell that their server stands still.
    fn heed(&self, link: &Link<Client>, error: &Error) {
        if casts_doubt(error) {
            link.search();
            self.inner.subscriber.search();
        }
    }
}

/// A call, counted once it has ended.
pub(crate) async fn counted<T>(
    operation: &Operation,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let started = Instant::now();
    let called = call.await;
    let outcome = match called.as_ref().map_err(classify) {
        Ok(_) => OperationOutcome::Ok,
        Err(CallError::Lost(_)) => OperationOutcome::Lost,
        Err(_) => OperationOutcome::Error,
    };
    operation.count(outcome, started.elapsed());
    called
}
