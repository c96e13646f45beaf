//! A server of the MongoDB protocol: MongoDB itself where there is one, otherwise mongo-java-server.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::free_port;
use crate::process::{is_on_path, spawn};

/// How long a server may take to answer: the first start of mongo-java-server fetches it with Maven.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(180);

/// What the address of a server on this machine begins with.
const HERE: &str = "mongodb://127.0.0.1:";

/// A server of the MongoDB protocol that all tests of a process share.
///
/// It is, in this order: the one that `MONGODB_URL` names; a private `mongod` from the search path; a private container of
/// a `mongo` image that Docker already has; mongo-java-server. A private one ends with the test process, however that ends.
#[derive(Debug)]
pub struct MongoServer {
    kind: &'static str,
    /// The connection string up to the database, and what follows it.
    url: (String, String),
    /// Holds the pipe whose end tells the server to end.
    _child: Option<Child>,
}

/// A database of one test's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MongoDatabase {
    /// The connection string, with the database in its path.
    pub url: String,
}

impl MongoServer {
    /// The server of this process, which is started when it is first asked for.
    ///
    /// # Panics
    /// When there is no way to have one, or it does not start: a test that needs it must not pass without.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<MongoServer> = OnceLock::new();
        SHARED.get_or_init(|| {
            let server = Self::start();
            eprintln!("MongoDB protocol: {}", server.kind);
            server
        })
    }

    /// A server on this machine, so that a [`Proxy`](crate::Proxy) can stand before it: the shared one, or another if
    /// `MONGODB_URL` names that.
    ///
    /// # Panics
    /// As [`Self::shared`].
    pub fn local() -> &'static Self {
        static LOCAL: OnceLock<MongoServer> = OnceLock::new();
        if std::env::var_os("MONGODB_URL").is_none() {
            return Self::shared();
        }
        LOCAL.get_or_init(Self::start_here)
    }

    /// The port of a server on this machine.
    ///
    /// # Panics
    /// If it is not one of [`Self::local`].
    pub fn port(&self) -> u16 {
        let port = self.url.0.strip_prefix(HERE).and_then(|port| port.parse().ok());
        port.expect("a server that was started here")
    }

    /// What it is: `MONGODB_URL`, `mongod`, `docker` or `mongo-java-server`.
    pub fn kind(&self) -> &str {
        self.kind
    }

    /// A database that no other test uses. On a server of your own it stays, under a name that begins with
    /// `stampede_test_`.
    pub fn database(&self, prefix: &str) -> MongoDatabase {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let started_ms = std::time::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_millis());
        let (head, tail) = &self.url;
        let url = format!("{head}/stampede_test_{prefix}_{started_ms}_{}_{count}{tail}", std::process::id());
        MongoDatabase { url }
    }

    fn start() -> Self {
        if let Ok(url) = std::env::var("MONGODB_URL") {
            return Self { kind: "MONGODB_URL", url: split_url(&url), _child: None };
        }
        Self::start_here()
    }

    fn start_here() -> Self {
        if is_on_path("mongod") {
            return Self::start_mongod();
        }
        if let Some(image) = docker_image() {
            return Self::start_container(&image);
        }
        if is_on_path("java") {
            return Self::start_java();
        }
        panic!(
            "these tests need a server of the MongoDB protocol: set MONGODB_URL to one, install mongod, pull a mongo image, \
             or install Java 17 and Maven"
        );
    }

    fn start_mongod() -> Self {
        let script = r#"mongod --quiet --bind_ip 127.0.0.1 --port "$1" --dbpath "$2" & server=$!
            cat; kill "$server"; wait "$server"; rm -rf "$2""#;
        let dir = tempfile::tempdir().expect("a temporary folder").keep();
        let port = free_port();
        let mut command = Command::new("sh");
        command.args(["-c", script, "mongod", &port.to_string()]).arg(dir);
        Self::wait_for("mongod", command, port)
    }

    fn start_container(image: &str) -> Self {
        let script = r#"docker run --rm --name "$1" --publish "127.0.0.1:$2:27017" "$3" & server=$!
            cat; docker rm --force "$1"; wait "$server""#;
        let port = free_port();
        let name = format!("stampede-test-{}-{port}", std::process::id());
        let mut command = Command::new("sh");
        command.args(["-c", script, "docker", &name, &port.to_string(), image]);
        Self::wait_for("docker", command, port)
    }

    fn start_java() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/mongo-server/start.sh");
        let port = free_port();
        let mut command = Command::new(script);
        command.arg(port.to_string());
        Self::wait_for("mongo-java-server", command, port)
    }

    /// Starts `command`, which ends when its standard input does, and waits until `port` answers.
    fn wait_for(kind: &'static str, mut command: Command, port: u16) -> Self {
        let output = TempDir::new().expect("a temporary folder");
        let output_path = output.path().join("output");
        let file = File::create(&output_path).expect("a file for what the server says");
        let errors = file.try_clone().expect("the same file twice");
        command.stdin(Stdio::piped()).stdout(file).stderr(errors);
        let mut child = spawn(command).unwrap_or_else(|error| panic!("{kind} does not start: {error}"));
        let deadline = Instant::now() + START_LIMIT;
        while ping(port).is_err() {
            let ended = child.try_wait().ok().flatten();
            if ended.is_some() || Instant::now() > deadline {
                let said = std::fs::read_to_string(&output_path).unwrap_or_default();
                panic!(
                    "{kind} does not answer on port {port} ({ended:?}); set MONGODB_URL to use another. It said:\n{said}"
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { kind, url: (format!("{HERE}{port}"), String::new()), _child: Some(child) }
    }
}

/// The name of a `mongo` image that Docker has. None is pulled: tests do not use the network.
fn docker_image() -> Option<String> {
    let listed = Command::new("docker")
        .args(["image", "ls", "--filter", "dangling=false", "--format", "{{.Repository}}:{{.Tag}}", "mongo"])
        .stdin(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    String::from_utf8(listed.stdout).ok()?.lines().next().map(str::to_owned)
}

/// Splits a connection string around the name of its database.
fn split_url(url: &str) -> (String, String) {
    let (address, options) =
        url.split_once('?').map_or((url, String::new()), |(url, options)| (url, format!("?{options}")));
    let after_scheme = address.find("://").map_or(0, |at| at + 3);
    let path = address[after_scheme..].find('/').map_or(address.len(), |at| after_scheme + at);
    (address[..path].to_owned(), options)
}

/// Whether a server answers a `ping`: an open port is not enough while it starts.
pub(crate) fn ping(port: u16) -> io::Result<()> {
    const OP_MSG: i32 = 2013;
    const PING: &[u8] = b"\x1e\0\0\0\x10ping\0\x01\0\0\0\x02$db\0\x06\0\0\0admin\0\0";
    let wait = Duration::from_secs(2);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, wait)?;
    stream.set_read_timeout(Some(wait))?;
    // Length, request, what it answers, operation, flags; then one section of kind 0, the command.
    let length = (21 + PING.len()) as i32;
    let mut message: Vec<u8> = [length, 1, 0, OP_MSG, 0].iter().flat_map(|number| number.to_le_bytes()).collect();
    message.push(0);
    message.extend_from_slice(PING);
    stream.write_all(&message)?;
    stream.read_exact(&mut [0; 16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_takes_its_place_in_a_connection_string() {
        let split = |url| {
            let (head, tail) = split_url(url);
            format!("{head}/mine{tail}")
        };
        assert_eq!(split("mongodb://a:1"), "mongodb://a:1/mine");
        assert_eq!(split("mongodb://u:p@a,b/other?replicaSet=rs"), "mongodb://u:p@a,b/mine?replicaSet=rs");
        assert_eq!(split("mongodb+srv://a?tls=true"), "mongodb+srv://a/mine?tls=true");
    }

    #[test]
    fn it_is_shared_and_gives_each_test_its_own_database() {
        let server = MongoServer::shared();
        assert!(!server.kind().is_empty());
        assert_ne!(server.database("a"), server.database("a"));
        assert_eq!(MongoServer::shared().kind(), server.kind());
    }
}
