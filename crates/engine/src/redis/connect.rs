//! How the clients are set up. Each setting that differs from fred's default was measured to matter.

use std::sync::Arc;

use fred::clients::Client;
use fred::interfaces::ClientLike;
use fred::types::Builder;
use fred::types::config::{Config, ReconnectPolicy};

use super::failover::Link;
use super::{Clients, Redis};
use crate::{ConnectError, EngineSettings};

/// Commands that wait for a connection, per client. Orders are bounded before they come here; this bounds the rest.
const COMMAND_BUFFER: usize = 10_000;

/// Connects all clients; the first connection must succeed, later ones are made again for ever.
pub(crate) async fn connect(settings: &EngineSettings) -> Result<Redis, ConnectError> {
    // The client takes any scheme for plain Redis.
    if !["redis", "valkey"].iter().any(|scheme| settings.redis_url.starts_with(scheme)) {
        let expected = "it begins with redis://, rediss://, redis-cluster:// or redis-sentinel://";
        return Err(ConnectError::InvalidUrl(expected.to_owned()));
    }
    let mut config =
        Config::from_url(&settings.redis_url).map_err(|error| ConnectError::InvalidUrl(error.details().to_owned()))?;
    config.fail_fast = true;
    let change = start(builder(&config, settings, 1)).await?;
    let read = start(builder(&config, settings, 3)).await?;
    let subscriber = builder(&config, settings, 3).build_subscriber_client().map_err(unreachable)?;
    subscriber.init().await.map_err(unreachable)?;
    // Subscribes again to everything after each reconnection.
    drop(subscriber.manage_subscriptions());
    let inner = Clients {
        change: Link::new(change),
        read: Link::new(read),
        subscriber: Link::new(subscriber),
        config,
        settings: settings.clone(),
    };
    Ok(Redis { inner: Arc::new(inner) })
}

pub(super) fn builder(config: &Config, settings: &EngineSettings, attempts: u32) -> Builder {
    let mut builder = Builder::from_config(config.clone());
    builder.with_connection_config(|connection| {
        // By default a command whose answer was lost is sent again: a script would run twice.
        connection.max_command_attempts = attempts;
        connection.max_command_buffer_len = COMMAND_BUFFER;
        // A node that stands still must not use up the time of calls to the others while the client looks for its successor.
        connection.connection_timeout = settings.command_timeout / 2;
        connection.internal_command_timeout = settings.command_timeout / 2;
        connection.tcp.nodelay = Some(true);
        // A call that is sent elsewhere comes back to us, and tells that nothing was run. The client would follow, but a
        // call that may be sent only once ends the client when it comes upon a slot that is being moved.
        connection.max_redirections = 0;
        // By default such an error is given to all calls that are under way: one cannot tell any more which of them ran.
        connection.reconnect_errors = Vec::new();
    });
    builder.with_performance_config(|performance| performance.default_command_timeout = settings.command_timeout);
    // Without a policy a command hangs for ever after its connection was killed.
    builder.set_policy(ReconnectPolicy::new_exponential(0, 20, 1_000, 2));
    builder
}

async fn start(builder: Builder) -> Result<Client, ConnectError> {
    let client = builder.build().map_err(unreachable)?;
    client.init().await.map_err(unreachable)?;
    Ok(client)
}

fn unreachable(error: fred::error::Error) -> ConnectError {
    ConnectError::Unreachable(error.to_string())
}
