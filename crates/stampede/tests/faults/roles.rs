//! The processes of a deployment: the real binary, supervised.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use stampede_testkit::{Program, Proxy, free_port};
use tokio::sync::Mutex;

use super::support::LIMIT;

/// How often the supervisor looks for processes that have ended by themselves.
const SUPERVISE: Duration = Duration::from_millis(200);

/// One process, which is started again when it ends, with the connections that can be broken.
pub struct Role {
    pub name: String,
    arguments: Vec<String>,
    settings: Vec<(String, String)>,
    log: PathBuf,
    /// Locked while a fault has its way with it.
    pub program: Mutex<Option<Program>>,
    /// Between it and a single Redis.
    pub redis: Option<Proxy>,
    /// Between shoppers and it, if it is an API.
    pub clients: Option<Proxy>,
}

impl Role {
    /// An API or a worker that is not started yet.
    pub async fn new(name: String, redis_port: Option<u16>, mut settings: Vec<(String, String)>, dir: &Path) -> Self {
        let redis = match redis_port {
            Some(port) => Some(Proxy::start(port).await),
            None => None,
        };
        if let Some(proxy) = &redis {
            settings.push(("STAMPEDE_REDIS_URL".to_owned(), proxy.url()));
        }
        let mut arguments = vec![name.split('-').next().unwrap_or_default().to_owned()];
        let mut clients = None;
        if arguments[0] == "api" {
            let port = free_port();
            arguments.extend(["--listen".to_owned(), format!("127.0.0.1:{port}")]);
            clients = Some(Proxy::start(port).await);
        }
        let log = dir.join(format!("{name}.log"));
        Self { name, arguments, settings, log, program: Mutex::new(None), redis, clients }
    }

    /// Where shoppers reach it, if it is an API.
    pub fn origin(&self) -> Option<String> {
        self.clients.as_ref().map(|proxy| format!("http://127.0.0.1:{}", proxy.port()))
    }

    /// Starts it, in the place of one that has ended.
    pub fn start(&self) -> Program {
        let log = File::options().create(true).append(true).open(&self.log).expect("a file for its log");
        let same = log.try_clone().expect("the same file twice");
        let started = Program::start(env!("CARGO_BIN_EXE_stampede"), |command| {
            command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
            command.args(&self.arguments).envs(self.settings.iter().map(|(name, value)| (name, value)));
            command.stdin(std::process::Stdio::null()).stdout(log).stderr(same);
        });
        started.expect("the binary starts")
    }

    /// Kills it, and starts it again after a while.
    pub async fn kill(&self, away: Duration) {
        let mut program = self.program.lock().await;
        *program = None;
        tokio::time::sleep(away).await;
        *program = Some(self.start());
    }

    /// Freezes it for a while.
    pub async fn freeze(&self, lasts: Duration) {
        let program = self.program.lock().await;
        if let Some(program) = &*program {
            program.freeze();
            tokio::time::sleep(lasts).await;
            program.thaw();
        }
    }

    /// Stops it in good order and starts it again; how it ended, if it was there to be stopped.
    pub async fn restart(&self) -> Result<(), String> {
        let mut program = self.program.lock().await;
        if let Some(running) = &mut *program {
            let before = running.ended().expect("the state of a child process");
            if before.is_none() {
                running.terminate();
            }
            let ended = running.wait(LIMIT).await.expect("the state of a child process");
            match (before, ended) {
                (None, None) => return Err(format!("{} did not end within {LIMIT:?} after SIGTERM", self.name)),
                (None, Some(status)) if !status.success() => {
                    return Err(format!("{} was asked to end and ended with {status}", self.name));
                }
                _ => {}
            }
        }
        *program = Some(self.start());
        Ok(())
    }

    /// Starts it again whenever it has ended by itself, for ever; `report` hears of it.
    pub async fn supervise(&self, report: impl Fn(&str, ExitStatus)) {
        loop {
            tokio::time::sleep(SUPERVISE).await;
            let mut program = self.program.lock().await;
            let Some(running) = &mut *program else { continue };
            if let Some(status) = running.ended().expect("the state of a child process") {
                report(&self.name, status);
                *program = Some(self.start());
            }
        }
    }

    /// What it wrote into its log that it never should.
    pub fn panics(&self) -> Vec<String> {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().filter(|line| line.contains("panicked at")).map(|line| format!("{}: {line}", self.name)).collect()
    }

    /// Mends its connections.
    pub fn mend(&self) {
        for proxy in self.redis.iter().chain(&self.clients) {
            proxy.release();
            proxy.refuse(false);
            proxy.delay_to_client(Duration::ZERO);
            proxy.delay_to_server(Duration::ZERO);
        }
    }
}
