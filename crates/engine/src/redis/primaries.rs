//! The servers that decide: which there are, which one holds a key, and questions to one of them.
//!
//! A question goes to that very server, never to where a cluster would redirect it.

use std::collections::BTreeSet;
use std::time::Instant;

use fred::clients::Client;
use fred::interfaces::{ClientLike, ClusterInterface, EventInterface};
use fred::types::config::{Config, Server, ServerConfig};
use fred::types::{Builder, ClusterHash, CustomCommand, Value};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::{CallError, Redis, classify, connect};
use crate::EngineSettings;
use crate::metrics::{Operation, OperationOutcome};

static EXAMINE: Operation = Operation::new("examine");

/// A server that decides.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Primary {
    /// The only one: a Redis by itself, or the one that Sentinel names.
    Only,
    /// A node of a cluster.
    Node(Server),
}

/// A user's name and password, where the server wants them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Credentials {
    username: Option<String>,
    password: Option<String>,
}

/// Where Sentinel is, and what it calls the primary.
#[derive(Clone, Debug)]
pub(crate) struct SentinelAddress {
    pub(crate) hosts: Vec<Server>,
    pub(crate) service: String,
    pub(crate) credentials: Credentials,
}

/// Why a question got no answer.
#[derive(Clone, Debug)]
pub(crate) struct AskError {
    /// Whether the server refused it, rather than was not reached.
    pub(crate) refused: bool,
    pub(crate) text: String,
}

/// Tells when a connection was made anew.
pub(crate) struct Reconnections(Receiver<Server>);

impl Reconnections {
    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        if let Err(RecvError::Closed) = self.0.recv().await {
            std::future::pending::<()>().await;
        }
    }
}

/// The primaries of a cluster, as a client sees it.
fn known_to(client: &Client) -> BTreeSet<Server> {
    let nodes = client.cached_cluster_state().map(|state| state.unique_primary_nodes());
    nodes.unwrap_or_default().into_iter().collect()
}

impl Redis {
    /// All primaries that are known.
    pub(crate) fn primaries(&self) -> Vec<Primary> {
        if !self.reader().is_clustered() {
            return vec![Primary::Only];
        }
        known_to(self.reader()).into_iter().map(Primary::Node).collect()
    }

    /// Lets the clients agree on the nodes of a cluster. Each learns of a failover by its own calls; one that sends none, as
    /// nothing may be promised for a primary that the other does not know, would never learn.
    pub(crate) async fn agree_on_primaries(&self) {
        if self.reader().is_clustered() && known_to(self.reader()) != known_to(self.writer()) {
            for client in [self.reader(), self.writer()] {
                if let Err(error) = client.sync_cluster().await {
                    tracing::debug!(%error, "the nodes of the cluster could not be asked for");
                }
            }
        }
    }

    /// The primary that calls about this key go to; none if the cluster has none for it.
    pub(crate) fn primary_of(&self, key: &str) -> Option<Primary> {
        if !self.writer().is_clustered() {
            return Some(Primary::Only);
        }
        let state = self.writer().cached_cluster_state()?;
        state.get_server(fred::util::redis_keyslot(key.as_bytes())).cloned().map(Primary::Node)
    }

    /// The primary's address, for people.
    pub(crate) fn name_of(&self, primary: &Primary) -> String {
        match (primary, &self.inner.config.server) {
            (Primary::Node(server), _) | (Primary::Only, ServerConfig::Centralized { server }) => server.to_string(),
            (Primary::Only, ServerConfig::Sentinel { service_name, .. }) => service_name.clone(),
            (Primary::Only, ServerConfig::Clustered { .. }) => "the cluster".to_owned(),
        }
    }

    /// Asks a primary something that changes nothing.
    pub(crate) async fn ask(&self, primary: &Primary, command: &'static str, args: &[&str]) -> Result<Value, AskError> {
        let command = CustomCommand::new_static(command, ClusterHash::Random, false);
        let args: Vec<Value> = args.iter().map(|arg| Value::from(*arg)).collect();
        let started = Instant::now();
        let answer = match primary {
            Primary::Only => self.reader().custom(command, args).await,
            Primary::Node(server) => self.reader().with_cluster_node(server).custom(command, args).await,
        };
        let answer = answer.map_err(|error| match classify(&error) {
            CallError::Refused(text) => AskError { refused: true, text },
            CallError::Lost(text) | CallError::Elsewhere(text) | CallError::Malformed(text) => {
                AskError { refused: false, text }
            }
        });
        // That it does not know the command is an answer too.
        let answered = answer.as_ref().map_or_else(|error| error.refused, |_| true);
        let outcome = if answered { OperationOutcome::Ok } else { OperationOutcome::Lost };
        EXAMINE.count(outcome, started.elapsed());
        answer
    }

    /// Asks any server over a connection that is made for this question.
    pub(crate) async fn ask_directly(
        &self,
        server: &Server,
        credentials: &Credentials,
        command: &'static str,
        args: Vec<&str>,
    ) -> Result<Value, String> {
        let mut config = self.config_of(server);
        (config.username, config.password) = (credentials.username.clone(), credentials.password.clone());
        config.database = None;
        let client = connect::builder(&config, &self.inner.settings, 1).build().map_err(|error| error.to_string())?;
        let command = CustomCommand::new_static(command, ClusterHash::Random, false);
        let args: Vec<Value> = args.into_iter().map(Value::from).collect();
        let ask = async {
            client.init().await?;
            client.custom::<Value, _>(command, args).await
        };
        let answer = tokio::time::timeout(self.inner.settings.command_timeout, ask).await;
        let _ = client.quit().await;
        answer.map_err(|_| "no answer in time".to_owned())?.map_err(|error| error.to_string())
    }

    /// A client of its own for waits at a primary, which block their connection. It connects in the background, for ever.
    pub(crate) fn waiter(&self, primary: &Primary) -> Result<Client, fred::error::Error> {
        let mut config = match primary {
            Primary::Only => self.inner.config.clone(),
            Primary::Node(server) => self.config_of(server),
        };
        config.fail_fast = false;
        let settings = &self.inner.settings;
        // The answer to a wait comes after the wait.
        let command_timeout = settings.durability_wait + settings.command_timeout;
        let mut builder: Builder = connect::builder(&config, settings, 1);
        builder.with_performance_config(|performance| performance.default_command_timeout = command_timeout);
        let client = builder.build()?;
        drop(client.connect());
        Ok(client)
    }

    /// Where Sentinel is, if it names the primary.
    pub(crate) fn sentinels(&self) -> Option<SentinelAddress> {
        let ServerConfig::Sentinel { hosts, service_name, username, password } = &self.inner.config.server else {
            return None;
        };
        let credentials = Credentials { username: username.clone(), password: password.clone() };
        Some(SentinelAddress { hosts: hosts.clone(), service: service_name.clone(), credentials })
    }

    /// What the servers want to know of us.
    pub(crate) fn credentials(&self) -> Credentials {
        let config = &self.inner.config;
        Credentials { username: config.username.clone(), password: config.password.clone() }
    }

    /// Tells when the connection for reads was made anew.
    pub(crate) fn reconnections(&self) -> Reconnections {
        Reconnections(self.reader().reconnect_rx())
    }

    pub(crate) fn settings(&self) -> &EngineSettings {
        &self.inner.settings
    }

    fn config_of(&self, server: &Server) -> Config {
        Config { server: ServerConfig::Centralized { server: server.clone() }, ..self.inner.config.clone() }
    }
}
