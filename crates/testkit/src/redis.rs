//! A private Redis, which tests kill, freeze and bring back.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{clock, free_port, process, resp};

const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(30);
const CALL_LIMIT: Duration = Duration::from_secs(30);
/// How often a port may be lost to somebody else between its choice and the server's start.
const PORT_ATTEMPTS: u32 = 5;

/// How a private Redis is set up.
#[derive(Debug, Clone, Default)]
pub struct RedisOptions {
    /// `None`: no append-only file; `Some("always")` or `Some("everysec")`: one that is synced so.
    pub append_fsync: Option<&'static str>,
    /// Further lines of the configuration file, each a name and its value as written there; they win over the rest.
    pub extra: Vec<(String, String)>,
    /// Where the server keeps its files; `None`: a directory of its own that goes with it.
    pub dir: Option<PathBuf>,
    /// The port of the primary whose replica this server is from its start on; `None`: it is a primary itself.
    pub replica_of: Option<u16>,
}

impl RedisOptions {
    /// These options with further lines of the configuration file before those that are there, which win over them.
    pub(crate) fn with_defaults(self, defaults: &[(&str, &str)]) -> Self {
        let mut extra: Vec<_> =
            defaults.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        extra.extend(self.extra);
        Self { extra, ..self }
    }
}

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// A server that keeps data.
    Data,
    /// A sentinel, which watches servers.
    Sentinel,
}

/// A `redis-server` on a loopback port of its own. It ends when it is dropped, and when the test process ends.
#[derive(Debug)]
pub struct Redis {
    port: u16,
    role: Role,
    clock_back_s: u32,
    frozen: AtomicBool,
    // Declared before the directory: the process ends before its files go.
    server: Server,
    dir: PathBuf,
    _temp: Option<TempDir>,
}

impl Redis {
    /// Starts a Redis without an append-only file: what it held is lost when it is killed.
    pub async fn start() -> Redis {
        Self::start_with(RedisOptions::default()).await
    }

    /// Starts a Redis as `options` say, and waits until it answers.
    ///
    /// # Panics
    /// When there is no `redis-server`, or it does not start; the message ends with the server's own log.
    pub async fn start_with(options: RedisOptions) -> Redis {
        Self::start_as(Role::Data, options).await
    }

    pub(crate) async fn start_as(role: Role, options: RedisOptions) -> Redis {
        assert!(
            process::is_on_path("redis-server"),
            "redis-server was not found. Install it: apt-get install redis-server (Debian, Ubuntu), \
             dnf install redis (Fedora), brew install redis (macOS); or run ./scripts/test.sh, which does so."
        );
        let temp = options.dir.is_none().then(|| {
            tempfile::Builder::new().prefix("stampede-redis-").tempdir().expect("a temporary directory for Redis")
        });
        let dir = match (&options.dir, &temp) {
            (Some(dir), _) => dir.clone(),
            (None, Some(temp)) => temp.path().to_owned(),
            (None, None) => unreachable!("one of the two is there"),
        };
        fs::create_dir_all(&dir).expect("the directory of Redis");

        let frozen = AtomicBool::new(false);
        let mut redis = Redis { port: 0, role, clock_back_s: 0, frozen, server: Server(None), dir, _temp: temp };
        for attempt in 1..=PORT_ATTEMPTS {
            redis.port = free_port();
            fs::write(redis.config_file(), redis.config(&options)).expect("Redis's configuration is written");
            match redis.launch().await {
                Ok(()) => break,
                Err(StartError::PortTaken) if attempt < PORT_ATTEMPTS => {}
                Err(error) => redis.give_up(&error),
            }
        }
        redis
    }

    /// The server's address for a client.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The server's port, the same after every restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where the server keeps its data, its configuration and its log.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether the process is there (frozen counts).
    pub fn is_running(&self) -> bool {
        self.server.0.is_some()
    }

    /// Whether the process runs and is not frozen.
    pub fn is_awake(&self) -> bool {
        self.is_running() && !self.frozen.load(Ordering::Relaxed)
    }

    /// Kills the server as a crash does, and waits until it is gone. Nothing happens when it is gone already.
    pub async fn kill(&mut self) {
        self.server.kill();
        self.frozen.store(false, Ordering::Relaxed);
    }

    /// Stops the server in good order: what it has appended reaches the disk.
    pub async fn stop(&mut self) {
        let Some(mut child) = self.server.0.take() else { return };
        process::signal(&child, "CONT");
        self.frozen.store(false, Ordering::Relaxed);
        process::signal(&child, "TERM");
        let status = process::wait_for_exit(&mut child, STOP_LIMIT).await.expect("the state of a child process");
        if status.is_none() {
            self.server.0 = Some(child);
            panic!("redis-server did not stop within {STOP_LIMIT:?}{}", self.log_tail());
        }
    }

    /// Starts the server again on its port and its files, and waits until it has loaded them. One that still runs is
    /// stopped first.
    pub async fn restart(&mut self) {
        self.stop().await;
        if let Err(error) = self.launch().await {
            self.give_up(&error);
        }
    }

    /// Freezes the process: connections stay, nothing answers.
    pub fn freeze(&self) {
        let child = self.child();
        process::signal(child, "STOP");
        process::wait_until_stopped(child);
        self.frozen.store(true, Ordering::Relaxed);
    }

    /// Lets a frozen process go on: it executes what was sent to it meanwhile.
    pub fn thaw(&self) {
        process::signal(self.child(), "CONT");
        self.frozen.store(false, Ordering::Relaxed);
    }

    /// Sets the server's clock back, from its next start on; zero sets it right again.
    pub fn set_clock_back(&mut self, seconds: u32) {
        self.clock_back_s = seconds;
    }

    /// Copies the data of a stopped server into `path`.
    pub fn copy_files_to(&self, path: impl AsRef<Path>) {
        self.assert_stopped("copy its files");
        let path = path.as_ref();
        remove_data(path).and_then(|()| copy_data(&self.dir, path)).expect("Redis's files are copied");
    }

    /// Replaces the data of a stopped server by what [`Redis::copy_files_to`] put into `path`: after a restart it knows
    /// what it knew then.
    pub fn restore_files_from(&self, path: impl AsRef<Path>) {
        self.assert_stopped("restore its files");
        remove_data(&self.dir).and_then(|()| copy_data(path.as_ref(), &self.dir)).expect("Redis's files are restored");
    }

    /// Deletes the data of a stopped server: it comes back empty.
    pub fn wipe(&self) {
        self.assert_stopped("delete its files");
        remove_data(&self.dir).expect("Redis's files are deleted");
    }

    /// Runs one command and returns its reply as `redis-cli` prints it to a pipe: one line per value, nil as an empty
    /// line, an error as its text (`WRONGTYPE …`). It blocks the calling thread until the reply is there.
    ///
    /// # Panics
    /// When the server cannot be reached or does not answer within 30 seconds; [`Redis::try_cli`] says so instead.
    pub fn cli(&self, command: &[&str]) -> String {
        self.try_cli(command)
            .unwrap_or_else(|error| panic!("{command:?} to Redis on port {}: {error}{}", self.port, self.log_tail()))
    }

    /// As [`Redis::cli`], with an error when the server does not answer.
    pub fn try_cli(&self, command: &[&str]) -> io::Result<String> {
        resp::call(self.port, command, CALL_LIMIT)
    }

    fn config(&self, options: &RedisOptions) -> String {
        let mut lines = vec![
            format!("port {}", self.port),
            "bind 127.0.0.1".into(),
            "protected-mode no".into(),
            "daemonize no".into(),
            format!("dir \"{}\"", self.dir.display()),
        ];
        if self.role == Role::Data {
            lines.push("save \"\"".into());
            lines.push("enable-debug-command local".into());
        }
        if let Some(fsync) = options.append_fsync {
            lines.push("appendonly yes".into());
            lines.push(format!("appendfsync {fsync}"));
        }
        if let Some(port) = options.replica_of {
            lines.push(format!("replicaof 127.0.0.1 {port}"));
        }
        lines.extend(options.extra.iter().map(|(name, value)| format!("{name} {value}")));
        lines.push(String::new());
        lines.join("\n")
    }

    fn config_file(&self) -> PathBuf {
        self.dir.join("redis.conf")
    }

    fn log_file(&self) -> PathBuf {
        self.dir.join("redis.log")
    }

    async fn launch(&mut self) -> Result<(), StartError> {
        let log = File::options().create(true).append(true).open(self.log_file())?;
        let log_before = log.metadata()?.len();
        let mut command = process::bound_command("redis-server");
        command.arg(self.config_file());
        if self.role == Role::Sentinel {
            command.arg("--sentinel");
        }
        clock::set_back(&mut command, self.clock_back_s);
        command.current_dir(&self.dir).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.server.0 = Some(process::spawn(command)?);

        let deadline = Instant::now() + START_LIMIT;
        loop {
            if let Some(child) = &mut self.server.0
                && child.try_wait()?.is_some()
            {
                self.server.0 = None;
                let log = fs::read(self.log_file())?;
                let log = String::from_utf8_lossy(&log[usize::try_from(log_before).unwrap_or(0)..]).into_owned();
                return Err(match log.contains("Address already in use") {
                    true => StartError::PortTaken,
                    false => StartError::Ended,
                });
            }
            if self.answers() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(StartError::Silent);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Whether our own process, and no other that took the port, has loaded its data.
    fn answers(&self) -> bool {
        let limit = Duration::from_secs(1);
        let own = format!("process_id:{}", self.child().id());
        resp::call(self.port, &["PING"], limit).is_ok_and(|reply| reply == "PONG")
            && resp::call(self.port, &["INFO", "server"], limit)
                .is_ok_and(|info| info.lines().any(|line| line.trim_end() == own))
    }

    fn child(&self) -> &Child {
        self.server.0.as_ref().expect("this Redis runs")
    }

    fn assert_stopped(&self, intent: &str) {
        assert!(!self.is_running(), "Redis on port {} still runs: stop or kill it to {intent}", self.port);
    }

    fn give_up(&self, error: &StartError) -> ! {
        panic!("redis-server on port {}: {error}{}", self.port, self.log_tail());
    }

    pub(crate) fn log_tail(&self) -> String {
        let log = fs::read(self.log_file()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(30)..];
        format!("\n--- the end of redis.log ---\n{}", tail.join("\n"))
    }
}

#[derive(Debug)]
enum StartError {
    PortTaken,
    Ended,
    Silent,
    Io(io::Error),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StartError::PortTaken => write!(f, "the port is taken"),
            StartError::Ended => write!(f, "it ended while it started"),
            StartError::Silent => write!(f, "it did not answer within {START_LIMIT:?}"),
            StartError::Io(error) => write!(f, "it could not be started: {error}"),
        }
    }
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        StartError::Io(error)
    }
}

/// The process, killed when it is dropped.
#[derive(Debug)]
struct Server(Option<Child>);

impl Server {
    fn kill(&mut self) {
        if let Some(mut child) = self.0.take() {
            // Both fail only when the process has been waited for already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What Redis persists into; the configuration, the log and a cluster node's identity are not data.
const DATA: [&str; 2] = ["appendonlydir", "dump.rdb"];

fn remove_data(dir: &Path) -> io::Result<()> {
    for name in DATA {
        let path = dir.join(name);
        if path.is_dir() {
            fs::remove_dir_all(path)?;
        } else if path.exists() {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn copy_data(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for name in DATA {
        let (source, target) = (from.join(name), to.join(name));
        if source.is_dir() {
            fs::create_dir_all(&target)?;
            for entry in fs::read_dir(source)? {
                let entry = entry?;
                fs::copy(entry.path(), target.join(entry.file_name()))?;
            }
        } else if source.exists() {
            fs::copy(source, target)?;
        }
    }
    Ok(())
}
