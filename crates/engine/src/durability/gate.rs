//! The wait at one primary, over a connection of its own: one wait serves all groups that were answered before it was sent.
//!
//! `WAIT` looks at what its own connection wrote last, so a write must go before it: newer servers answer at once behind a
//! command that only reads. Nothing rests on that for replicas, though: what counts is that each of them holds the stream
//! up to where it was before the wait. And nothing counts unless the server is, after the wait, still the one that decided.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fred::clients::Client;
use fred::error::{Error, ErrorKind};
use fred::interfaces::ClientLike;
use fred::types::{ClusterHash, CustomCommand, Value};
use tokio::sync::{Notify, mpsc, oneshot};

use super::info::Replication;
use crate::metrics::{self, Operation};
use crate::redis::counted;

static WAIT: Operation = Operation::new("wait");

/// How long the key lives that is written before each wait: it must not stay when nobody waits any more.
const WRITE_LIVES_MS: i64 = 3_600_000;

/// The pause before what was not kept yet is looked at again.
const RETRY: Duration = Duration::from_millis(20);

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The server's own file.
    Synced,
    /// These replicas, which must be all that are connected.
    Held(BTreeSet<(String, u16)>),
}

/// A group of answers that wait.
pub(crate) struct Ticket {
    /// The token under which they were decided.
    pub(crate) token: String,
    pub(crate) wanted: Wanted,
    /// Told whether it was kept.
    pub(crate) answer: oneshot::Sender<bool>,
    /// Whether the server had another token the last time: then the connection is made anew, once.
    pub(crate) doubted: bool,
}

/// What one wait saw.
struct Seen {
    token: String,
    synced: bool,
    holding: BTreeSet<(String, u16)>,
    connected: BTreeSet<(String, u16)>,
}

/// What one wait means to a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Kept,
    NotYet,
    /// Other replicas are connected than those that must be.
    OtherReplicas,
    /// Another server, or the same one restarted.
    AnotherServer,
}

impl Seen {
    fn verdict(&self, ticket: &Ticket) -> Verdict {
        if self.token != ticket.token {
            return Verdict::AnotherServer;
        }
        let kept = match &ticket.wanted {
            Wanted::Synced => self.synced,
            Wanted::Held(replicas) if *replicas != self.connected => return Verdict::OtherReplicas,
            Wanted::Held(replicas) => replicas.is_subset(&self.holding),
        };
        if kept { Verdict::Kept } else { Verdict::NotYet }
    }
}

/// Starts the gate of a primary; it ends, and its connection with it, when the sender is dropped.
pub(crate) fn spawn(client: Client, limit: Duration, most: usize, look: Arc<Notify>) -> mpsc::Sender<(Ticket, String)> {
    let (sender, tickets) = mpsc::channel(most);
    tokio::spawn(async move {
        let mut gate = Gate { client, limit, most, look, tickets };
        gate.run().await;
        let _ = gate.client.quit().await;
    });
    sender
}

struct Gate {
    client: Client,
    limit: Duration,
    most: usize,
    look: Arc<Notify>,
    /// Tickets, each with a key of its shard that may be written.
    tickets: mpsc::Receiver<(Ticket, String)>,
}

impl Gate {
    async fn run(&mut self) {
        let mut waiting: Vec<(Ticket, String)> = Vec::new();
        loop {
            if waiting.is_empty() {
                if self.tickets.recv_many(&mut waiting, self.most).await == 0 {
                    return;
                }
            } else {
                while waiting.len() < self.most {
                    let Ok(next) = self.tickets.try_recv() else { break };
                    waiting.push(next);
                }
            }
            // Whoever gave up is not waited for.
            waiting.retain(|(ticket, _)| !ticket.answer.is_closed());
            let Some((_, key)) = waiting.first() else { continue };
            let key = key.clone();
            match counted(&WAIT, self.wait(&waiting, key)).await {
                Ok(seen) => waiting = self.settle(waiting, &seen),
                Err(error) => tracing::debug!(%error, "a wait for durability failed"),
            }
            if !waiting.is_empty() {
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Answers what can be answered; returns the rest.
    fn settle(&self, waiting: Vec<(Ticket, String)>, seen: &Seen) -> Vec<(Ticket, String)> {
        let (mut rest, mut kept, mut reconnect) = (Vec::new(), 0, false);
        for (mut ticket, key) in waiting {
            match seen.verdict(&ticket) {
                Verdict::Kept => {
                    kept += 1;
                    let _ = ticket.answer.send(true);
                }
                Verdict::NotYet => rest.push((ticket, key)),
                Verdict::OtherReplicas => {
                    self.look.notify_one();
                    rest.push((ticket, key));
                }
                Verdict::AnotherServer if ticket.doubted => {
                    let _ = ticket.answer.send(false);
                }
                // Perhaps only this connection still leads to a server that was replaced.
                Verdict::AnotherServer => {
                    ticket.doubted = true;
                    reconnect = true;
                    rest.push((ticket, key));
                }
            }
        }
        if kept > 0 {
            metrics::durability_groups(kept);
        }
        if reconnect {
            let client = self.client.clone();
            tokio::spawn(async move { client.force_reconnection().await });
        }
        rest
    }

    /// One wait. All of its commands go over one connection, one behind the other.
    async fn wait(&self, waiting: &[(Ticket, String)], key: String) -> Result<Seen, Error> {
        let replicas = waiting.iter().filter_map(|(ticket, _)| match &ticket.wanted {
            Wanted::Held(replicas) => Some(replicas.len()),
            Wanted::Synced => None,
        });
        let replicas = replicas.max();
        let sync = waiting.iter().any(|(ticket, _)| ticket.wanted == Wanted::Synced);
        let limit_ms = Value::from(crate::clock::millis(self.limit));

        let pipeline = self.client.pipeline();
        let queue = async |name: &'static str, args: Vec<Value>| -> Result<(), Error> {
            let command = CustomCommand::new_static(name, ClusterHash::Random, false);
            pipeline.custom::<Value, _>(command, args).await.map(drop)
        };
        queue("CLIENT", vec!["ID".into()]).await?;
        queue("INFO", vec!["replication".into()]).await?;
        queue("PEXPIRE", vec![key.as_str().into(), WRITE_LIVES_MS.into()]).await?;
        if let Some(replicas) = replicas {
            queue("WAIT", vec![Value::from(replicas as i64), limit_ms.clone()]).await?;
        }
        if sync {
            queue("WAITAOF", vec![1.into(), 0.into(), limit_ms]).await?;
        }
        queue("INFO", vec!["replication".into()]).await?;
        queue("CLIENT", vec!["ID".into()]).await?;
        let mut answers = pipeline.all::<Vec<Value>>().await?.into_iter();
        let mut next = || answers.next().ok_or_else(|| malformed("too few answers"));

        let connection = next()?;
        let before = replication(next()?)?;
        let wrote = next()?.as_i64() == Some(1);
        if replicas.is_some() {
            next()?;
        }
        let synced = sync && first_is_one(next()?);
        let after = replication(next()?)?;
        let same_connection = next()? == connection;
        if !wrote {
            // The key was not there to be written to: it is from now on, and the next wait has something to wait for.
            let set = CustomCommand::new_static("SET", ClusterHash::FirstKey, false);
            let args: Vec<Value> = vec![key.into(), "".into(), "PX".into(), WRITE_LIVES_MS.into()];
            self.client.custom::<Value, _>(set, args).await?;
        }
        if before.token != after.token || !after.is_primary {
            return Err(malformed("another server took over during the wait"));
        }
        Ok(Seen {
            synced: synced && wrote && same_connection,
            holding: after.holding(before.offset),
            connected: after.connected(),
            token: after.token,
        })
    }
}

fn replication(value: Value) -> Result<Replication, Error> {
    value.as_string().and_then(|info| Replication::parse(&info)).ok_or_else(|| malformed("INFO replication"))
}

/// Whether `WAITAOF` says that the server's own file is synced.
fn first_is_one(value: Value) -> bool {
    value.into_array().first().and_then(Value::as_i64) == Some(1)
}

fn malformed(what: &'static str) -> Error {
    Error::new(ErrorKind::Parse, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(ports: &[u16]) -> BTreeSet<(String, u16)> {
        ports.iter().map(|port| ("127.0.0.1".to_owned(), *port)).collect()
    }

    fn verdict(token: &str, wanted: Wanted, seen: &Seen) -> Verdict {
        let (answer, _) = oneshot::channel();
        seen.verdict(&Ticket { token: token.to_owned(), wanted, answer, doubted: false })
    }

    #[test]
    fn what_a_wait_saw_counts_only_for_its_server_and_all_its_replicas() {
        let seen = |holding: &[u16], connected: &[u16]| Seen {
            token: "t".to_owned(),
            synced: false,
            holding: addresses(holding),
            connected: addresses(connected),
        };
        let both = || Wanted::Held(addresses(&[1, 2]));
        assert_eq!(verdict("t", both(), &seen(&[1, 2], &[1, 2])), Verdict::Kept);
        assert_eq!(verdict("t", both(), &seen(&[1], &[1, 2])), Verdict::NotYet);
        assert_eq!(verdict("t", both(), &seen(&[1, 2], &[1, 2, 3])), Verdict::OtherReplicas);
        assert_eq!(verdict("t", both(), &seen(&[1], &[1])), Verdict::OtherReplicas);
        assert_eq!(verdict("s", both(), &seen(&[1, 2], &[1, 2])), Verdict::AnotherServer);
        assert_eq!(verdict("t", Wanted::Synced, &seen(&[1, 2], &[1, 2])), Verdict::NotYet);
    }
}
