//! A server of the MongoDB protocol with files of its own, which a test stops and starts.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::mongo::{START_LIMIT, ping};
use crate::process::is_on_path;
use crate::{Program, free_port};

const STOP_LIMIT: Duration = Duration::from_secs(30);

/// `mongod` from the search path, or else mongo-java-server, which keeps its data in a file of H2.
#[derive(Debug)]
pub struct OwnMongo {
    program: Option<Program>,
    port: u16,
    is_mongod: bool,
    dir: TempDir,
}

impl OwnMongo {
    /// Whether there is a server to start: `mongod`, or Java 17 and Maven.
    pub fn can_start() -> bool {
        is_on_path("mongod") || (is_on_path("java") && is_on_path("mvn"))
    }

    /// Starts a server, and waits until it answers.
    ///
    /// # Panics
    /// When there is none, or it does not start.
    pub async fn start() -> Self {
        let dir = TempDir::new().expect("a temporary folder");
        let is_mongod = is_on_path("mongod");
        assert!(Self::can_start(), "this needs mongod, or Java 17 and Maven");
        let mut mongo = Self { program: None, port: free_port(), is_mongod, dir };
        mongo.restart().await;
        mongo
    }

    /// What it is: `mongod` or `mongo-java-server`.
    pub fn kind(&self) -> &'static str {
        if self.is_mongod { "mongod" } else { "mongo-java-server" }
    }

    /// Whether what it has acknowledged is on the disk: `mongod` writes a journal, mongo-java-server may lose its last
    /// second when it is killed.
    pub fn survives_a_kill(&self) -> bool {
        self.is_mongod
    }

    /// The connection string of a database.
    pub fn url(&self, database: &str) -> String {
        format!("mongodb://127.0.0.1:{}/{database}", self.port)
    }

    /// Stops it in good order.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn stop(&mut self) {
        let Some(mut program) = self.program.take() else { return };
        program.thaw();
        // The end of its input tells mongo-java-server to write what it has and to end.
        drop(program.take_stdin());
        if self.is_mongod {
            program.terminate();
        }
        let ended = program.wait(STOP_LIMIT).await.expect("the state of a child process");
        assert!(ended.is_some(), "{} did not stop within {STOP_LIMIT:?}", self.kind());
    }

    /// Kills it as a crash does.
    pub fn kill(&mut self) {
        self.program = None;
    }

    /// Starts it again on its port and its files, and waits until it answers.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn restart(&mut self) {
        self.stop().await;
        let (port, dir) = (self.port.to_string(), self.dir.path());
        let output = File::options().create(true).append(true).open(dir.join("output")).expect("a file for its output");
        let errors = output.try_clone().expect("the same file twice");
        let java = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/mongo-server/start.sh");
        let name = if self.is_mongod { "mongod".into() } else { java.to_string_lossy() };
        let program = Program::start(&name, |command| {
            command.stdin(Stdio::piped()).stdout(output).stderr(errors);
            if self.is_mongod {
                command.args(["--quiet", "--bind_ip", "127.0.0.1", "--port", &port, "--dbpath"]).arg(dir);
            } else {
                command.arg(&port).arg(dir);
            }
        });
        let mut program = program.unwrap_or_else(|error| panic!("{} does not start: {error}", self.kind()));
        let deadline = Instant::now() + START_LIMIT;
        while ping(self.port).is_err() {
            let ended = program.ended().expect("the state of a child process");
            if ended.is_some() || Instant::now() > deadline {
                let said = std::fs::read_to_string(dir.join("output")).unwrap_or_default();
                panic!("{} does not answer on port {port} ({ended:?}). It said:\n{said}", self.kind());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.program = Some(program);
    }

    /// Freezes it: connections stay, nothing answers.
    pub fn freeze(&self) {
        self.program.as_ref().expect("it runs").freeze();
    }

    /// Lets it go on after a freeze.
    pub fn thaw(&self) {
        self.program.as_ref().expect("it runs").thaw();
    }
}
