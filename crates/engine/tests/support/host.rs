//! Servers that the tests of one binary share. Each test has a shard to itself, so it may damage its keys, and its log holds
//! nothing but its own entries.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

use stampede_domain::Shard;
use stampede_testkit::{Proxy, Redis, RedisCluster};
use tokio::sync::{Mutex, MutexGuard};

use super::SHARDS;

/// Runs each test, an `async fn` that takes what is [`OnHost`], on one Redis and on three masters of a cluster. Either the
/// names of functions of this file, or `topic: names;` for each module of this test.
///
/// Both kinds of a test stand side by side, so that one of each runs at a time where tests wait for each other.
#[macro_export]
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod test {
            $crate::on_both!(@hosts $($name)+);
            $(mod $name { $crate::on_both!(@kinds $crate::$name, $crate::test); })+
        }
    };
    ($($topic:ident: $($name:ident),+ ;)+) => {
        mod test {
            $crate::on_both!(@hosts $($($name)+)+);
            $(mod $topic { $(mod $name { $crate::on_both!(@kinds $crate::$topic::$name, $crate::test); })+ })+
        }
    };
    (@hosts $($name:ident)+) => {
        use $crate::support::{Host, Kind};

        const TESTS: usize = [$(stringify!($name)),+].len();
        pub static SINGLE: Host = Host::new(Kind::Single, TESTS);
        pub static CLUSTER: Host = Host::new(Kind::Cluster, TESTS);
    };
    (@kinds $run:path, $hosts:path) => {
        use $hosts as hosts;

        #[tokio::test(flavor = "multi_thread")]
        async fn single() {
            $run(hosts::SINGLE.take().await).await;
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn cluster() {
            $run(hosts::CLUSTER.take().await).await;
        }
    };
}

/// What a test runs on.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Single,
    Cluster,
}

/// One Redis, or three masters of a cluster.
pub enum Server {
    Single(Redis),
    Cluster(RedisCluster),
}

impl Server {
    pub async fn start(kind: Kind) -> Self {
        match kind {
            Kind::Single => Self::Single(Redis::start().await),
            Kind::Cluster => Self::Cluster(RedisCluster::start(3).await),
        }
    }

    pub fn url(&self) -> String {
        match self {
            Self::Single(redis) => redis.url(),
            Self::Cluster(cluster) => cluster.url(),
        }
    }

    pub fn nodes(&self) -> &[Redis] {
        match self {
            Self::Single(redis) => std::slice::from_ref(redis),
            Self::Cluster(cluster) => cluster.nodes(),
        }
    }

    /// The index of the node that holds a shard.
    pub fn node_of(&self, shard: Shard) -> usize {
        match self {
            Self::Single(_) => 0,
            Self::Cluster(cluster) => cluster.node_of(&format!("{{{shard}}}")),
        }
    }
}

/// The server of one binary's tests of one kind: started for the first of them, ended after the last.
pub struct Host {
    kind: Kind,
    tests: usize,
    server: Mutex<Option<Arc<Server>>>,
    begun: AtomicU16,
    ended: AtomicUsize,
    /// Held by a test that has the server to itself, with the proxies of such tests.
    alone: Mutex<Vec<Proxy>>,
}

/// What a test may take: see [`on_both`].
pub trait OnHost {
    fn on(lease: Lease) -> impl Future<Output = Self> + Send;
}

/// One test's part of a host.
pub struct Lease {
    pub server: Arc<Server>,
    pub shard: Shard,
    /// The index of the node that holds the shard.
    pub node: usize,
    host: &'static Host,
}

impl Host {
    pub const fn new(kind: Kind, tests: usize) -> Self {
        Self {
            kind,
            tests,
            server: Mutex::const_new(None),
            begun: AtomicU16::new(0),
            ended: AtomicUsize::new(0),
            alone: Mutex::const_new(Vec::new()),
        }
    }

    pub async fn take<T: OnHost>(&'static self) -> T {
        let mut slot = self.server.lock().await;
        let server = match &*slot {
            Some(server) => Arc::clone(server),
            None => Arc::clone(slot.insert(Arc::new(Server::start(self.kind).await))),
        };
        drop(slot);
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        assert!(number < SHARDS, "more tests than shards: raise SHARDS");
        let shard = Shard::new(number).expect("in range");
        let node = server.node_of(shard);
        T::on(Lease { server, shard, node, host: self }).await
    }
}

impl Lease {
    /// Waits until no other test has the server to itself.
    pub async fn alone(&self) -> MutexGuard<'static, Vec<Proxy>> {
        self.host.alone.lock().await
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Nothing drops a static: after the last test the server ends here, and its files go with it.
        if self.host.ended.fetch_add(1, Ordering::Relaxed) + 1 == self.host.tests
            && let Ok(mut server) = self.host.server.try_lock()
        {
            server.take();
            if let Ok(mut proxies) = self.host.alone.try_lock() {
                proxies.clear();
            }
        }
    }
}
