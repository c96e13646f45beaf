//! Messages about drops that changed.

use fred::interfaces::EventInterface;
use fred::types::Message;
use stampede_domain::DropId;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::redis::Redis;

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DropChanged {
    /// This drop changed.
    One(DropId),
    /// A shard was recovered, or messages were missed: any drop may have changed.
    Any,
}

/// A stream of messages. They are hints: one may be lost with a connection, so readers also refresh on their own.
pub struct DropChanges {
    messages: Receiver<Message>,
}

impl DropChanges {
    pub(crate) fn new(redis: &Redis) -> Self {
        Self { messages: redis.subscriber().message_rx() }
    }

    /// The next message; `None` when the engine is gone.
    pub async fn next(&mut self) -> Option<DropChanged> {
        match self.messages.recv().await {
            Ok(message) => {
                let id = message.value.as_string().and_then(|text| text.parse().ok());
                Some(id.map_or(DropChanged::Any, DropChanged::One))
            }
            // A slow receiver is told once how much it missed; it must go on.
            Err(RecvError::Lagged(_)) => Some(DropChanged::Any),
            Err(RecvError::Closed) => None,
        }
    }
}
