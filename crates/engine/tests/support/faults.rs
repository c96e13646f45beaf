//! Tests that have the whole server to themselves, because they freeze it, fill it, or cut its connections.

use std::fmt::Debug;
use std::sync::LazyLock;

use stampede_engine::{Engine, EngineSettings, SCRIPTS};
use stampede_testkit::{Proxy, Redis};
use tokio::runtime::Runtime;
use tokio::sync::MutexGuard;

use super::{Harness, Lease, OnHost, Server, connect, until, until_all};

/// The right to use a server alone, and the proxies of those who do.
pub type Locked = MutexGuard<'static, Vec<Proxy>>;

/// A server that no other test uses now.
pub struct Alone(pub Harness);

impl OnHost for Alone {
    async fn on(lease: Lease) -> Self {
        let guard = lease.alone().await;
        mend(&lease, &guard);
        let mut h = Harness::on(lease).await;
        h.alone = Some(guard);
        Self(h)
    }
}

/// A server that no other test uses now, with a proxy in front of each of its nodes.
pub struct Faults {
    proxies: Locked,
    /// For what is done before and after the fault: in a cluster its engine goes through the proxies as well.
    pub h: Harness,
}

impl OnHost for Faults {
    async fn on(lease: Lease) -> Self {
        let mut proxies = lease.alone().await;
        if proxies.is_empty() {
            *proxies = start(&lease.server).await;
        }
        mend(&lease, &proxies);
        load_scripts(&lease);
        Self { proxies, h: Harness::on(lease).await }
    }
}

impl Faults {
    /// A process that reaches the server through the proxies.
    pub async fn engine(&self, change: impl FnOnce(&mut EngineSettings)) -> Engine {
        let ports: Vec<u16> = self.proxies.iter().map(Proxy::port).collect();
        let url = match self.h.server() {
            Server::Single(_) => format!("redis://127.0.0.1:{}", ports[0]),
            Server::Cluster(_) => format!(
                "redis-cluster://127.0.0.1:{}?node=127.0.0.1:{}&node=127.0.0.1:{}",
                ports[0], ports[1], ports[2]
            ),
        };
        connect(&url, change).await
    }

    /// The proxy in front of the node that holds the test's shard.
    pub fn proxy(&self) -> &Proxy {
        &self.proxies[self.h.node()]
    }

    /// How many orders the shard has granted, as the server itself says.
    pub fn grants(&self) -> usize {
        self.h.meta("appended_orders").parse().expect("a number")
    }

    /// How many entries its log holds, as the server itself says.
    pub fn entries(&self) -> usize {
        self.h.redis().cli(&["XLEN", &self.h.keys.log]).parse().expect("a number")
    }

    /// Does something whose answer is lost: it has taken effect when `done` holds, and then the connection is cut.
    pub async fn lose<T: Debug + Send + 'static>(
        &self,
        call: impl Future<Output = T> + Send + 'static,
        done: impl Fn(&Self) -> bool,
    ) -> T {
        self.proxy().hold_to_client(true);
        let mut call = tokio::spawn(call);
        tokio::select! {
            answer = &mut call => panic!("answered although no answer comes through: {answer:?}"),
            () = until("the call takes effect", async || done(self)) => {}
        }
        self.proxy().cut();
        self.proxy().release();
        call.await.expect("no panic")
    }

    /// How many scripts that node has run.
    pub fn scripts_run(&self) -> u64 {
        let info = self.h.redis().cli(&["INFO", "commandstats"]);
        let calls = info.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
        calls.and_then(|line| line.split(',').next()?.parse().ok()).unwrap_or(0)
    }
}

/// Proxies outlive the tests that share them, and so does what runs them.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime for proxies"));

async fn start(server: &Server) -> Vec<Proxy> {
    let ports: Vec<u16> = server.nodes().iter().map(Redis::port).collect();
    let starting = RUNTIME.spawn(async move {
        let mut proxies = Vec::new();
        for port in ports {
            proxies.push(Proxy::start(port).await);
        }
        proxies
    });
    let proxies = starting.await.expect("the proxies start");
    if let Server::Cluster(cluster) = server {
        // The nodes name their proxies to clients, and each other by gossip.
        for (node, proxy) in cluster.nodes().iter().zip(&proxies) {
            node.cli(&["CONFIG", "SET", "cluster-announce-port", &proxy.port().to_string()]);
        }
        let named = |node: &Redis| {
            let slots = node.cli(&["CLUSTER", "SLOTS"]);
            proxies.iter().all(|proxy| slots.lines().any(|line| line == proxy.port().to_string()))
        };
        until_all(cluster.nodes(), "knows the proxies", named).await;
    }
    proxies
}

/// A script that the server does not know takes a second call, which is not what is to be lost.
fn load_scripts(lease: &Lease) {
    for (node, script) in lease.server.nodes().iter().flat_map(|node| SCRIPTS.iter().map(move |script| (node, script)))
    {
        assert_eq!(node.cli(&["SCRIPT", "LOAD", script.source]), script.sha1());
    }
}

/// Takes back what an earlier test left broken.
fn mend(lease: &Lease, proxies: &[Proxy]) {
    for proxy in proxies {
        proxy.release();
        proxy.refuse(false);
    }
    for node in lease.server.nodes() {
        node.thaw();
        node.cli(&["CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", "noeviction"]);
    }
}
