//! The private Redis of a dev: started, watched, started again, stopped.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use secrecy::SecretString;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::resp::Connection;
use crate::private_file;

/// How long Redis may take to load what it kept.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long Redis may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// The pause between two looks at a server that starts or stops.
const LOOK: Duration = Duration::from_millis(10);
/// How often a port may be lost to somebody else between its choice and the server's start.
const PORT_ATTEMPTS: u32 = 5;
/// Below the ports that systems give to outgoing connections: a client that keeps knocking on a dead server could be given
/// that server's port for itself, and would keep it from starting again.
const PORTS: std::ops::Range<u16> = 20_000..30_000;
/// A server that ends so often within [`ENDS_WITHIN`] will not get better by itself.
const MAX_ENDS: usize = 5;
const ENDS_WITHIN: Duration = Duration::from_secs(60);
/// The oldest Redis that has the commands that the scripts use.
const MIN_VERSION: u32 = 7;

/// The program, and how it is started.
#[derive(Debug)]
pub struct Server {
    program: PathBuf,
    /// Whether the kernel can be asked to stop it when this process dies.
    bound: bool,
}

/// The private Redis. It is killed if this is dropped without [`PrivateRedis::stop`].
#[derive(Debug)]
pub struct PrivateRedis {
    server: Server,
    dir: PathBuf,
    port: u16,
    password: String,
    child: Child,
}

/// Why a server did not start.
enum Failure {
    PortTaken,
    Other(anyhow::Error),
}

impl Server {
    /// Finds `redis-server` on the search path.
    ///
    /// # Errors
    /// If there is none, or it is too old; in words that say what to do.
    pub async fn find() -> anyhow::Result<Self> {
        const INSTALL: &str = "Install Redis 7.0 or newer: apt-get install redis-server (Debian, Ubuntu), dnf install redis \
                               (Fedora), brew install redis (macOS)";
        let program = on_path("redis-server").with_context(|| format!("redis-server was not found. {INSTALL}"))?;
        let said = Command::new(&program).arg("--version").output().await;
        let said = said.with_context(|| format!("{} does not run. {INSTALL}", program.display()))?;
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let version = said.split_whitespace().find_map(|word| word.strip_prefix("v="));
        let major = version.and_then(|version| version.split('.').next()?.parse::<u32>().ok());
        if let (Some(version), Some(major)) = (version, major)
            && major < MIN_VERSION
        {
            bail!("{} is version {version}, which is too old. {INSTALL}", program.display());
        }
        Ok(Self { program, bound: setpriv_works().await })
    }

    fn command(&self) -> Command {
        let mut command = match self.bound {
            false => Command::new(&self.program),
            true => {
                let mut command = Command::new("setpriv");
                command.args(["--pdeathsig", "TERM"]).arg(&self.program);
                command
            }
        };
        // Ctrl-C reaches every process of the terminal's group; Redis must outlive the API and the workers.
        command.process_group(0).kill_on_drop(true).stdin(Stdio::null());
        command
    }
}

/// Stops, in order, a server that runs on these files because its dev was killed.
///
/// # Errors
/// If there is one that does not stop.
pub async fn stop_left_behind(dir: &Path) -> anyhow::Result<()> {
    let Some((port, password)) = read_config(dir) else { return Ok(()) };
    let mut connection = match Connection::open(port, &password).await {
        Ok(connection) => connection,
        Err(error) if error.kind() == ErrorKind::TimedOut && dir.join(PID_FILE).exists() => bail!(silent(dir)),
        // Nobody is there, or somebody who does not know our password and so is not ours.
        Err(_) => return Ok(()),
    };
    if !is_ours(&mut connection, dir).await {
        return Ok(());
    }
    // A server that stops closes the connection without an answer.
    let _ = connection.ask(&["SHUTDOWN"]).await;
    let deadline = Instant::now() + STOP_LIMIT;
    // Redis closes its port when everything is on the disk.
    while !matches!(Connection::open(port, &password).await, Err(error) if error.kind() == ErrorKind::ConnectionRefused)
    {
        if Instant::now() >= deadline {
            bail!(silent(dir));
        }
        sleep(LOOK).await;
    }
    Ok(())
}

fn silent(dir: &Path) -> String {
    let pid = fs::read_to_string(dir.join(PID_FILE)).unwrap_or_default();
    let pid = pid.trim();
    format!(
        "a redis-server that an earlier `stampede dev` left behind (process {pid}) does not stop. Stop it (kill {pid}), or \
         delete {} if there is no such process",
        dir.join(PID_FILE).display()
    )
}

/// Whether the server at the other end runs on our configuration file.
async fn is_ours(connection: &mut Connection, dir: &Path) -> bool {
    let ours = format!("config_file:{}", dir.join(CONFIG_FILE).display());
    let info = connection.ask(&["INFO", "server"]).await;
    info.is_ok_and(|info| info.lines().any(|line| line.trim_end() == ours))
}

impl PrivateRedis {
    /// Starts a server on the files in `dir`, and waits until it has loaded them.
    ///
    /// # Errors
    /// If it does not start; with what it said last.
    pub async fn start(server: Server, dir: PathBuf) -> anyhow::Result<Self> {
        fs::create_dir_all(&dir).with_context(|| format!("{} cannot be made", dir.display()))?;
        let (mut port, password) = read_config(&dir).unwrap_or_else(|| (free_port(), random_secret()));
        File::create(dir.join(LOG_FILE)).with_context(|| format!("{} cannot be written", dir.display()))?;
        for _ in 0..PORT_ATTEMPTS {
            write_config(&dir, port, &password)?;
            match launch(&server, &dir, port, &password).await {
                Ok(child) => return Ok(Self { server, dir, port, password, child }),
                Err(Failure::PortTaken) => port = free_port(),
                Err(Failure::Other(error)) => return Err(error),
            }
        }
        bail!("no free port was found for Redis")
    }

    /// Where it is, with its password.
    pub fn url(&self) -> SecretString {
        SecretString::from(format!("redis://default:{}@127.0.0.1:{}", self.password, self.port))
    }

    /// Watches the server, and starts it again on its port and its files whenever it ends.
    ///
    /// To be polled by the thread that started it: the kernel stops a bound server when that thread ends.
    ///
    /// # Errors
    /// If it does not start again, or ends again and again.
    pub async fn supervise(&mut self) -> anyhow::Result<()> {
        let mut ends: Vec<Instant> = Vec::new();
        loop {
            let status = self.child.wait().await.context("redis-server cannot be watched")?;
            ends.retain(|end| end.elapsed() < ENDS_WITHIN);
            ends.push(Instant::now());
            if ends.len() >= MAX_ENDS {
                bail!("redis-server ended {MAX_ENDS} times within a minute{}", last_words(&self.dir));
            }
            eprintln!("redis-server ended ({}); starting it again.", ended(status));
            match launch(&self.server, &self.dir, self.port, &self.password).await {
                Ok(child) => self.child = child,
                Err(Failure::PortTaken) => bail!("redis-server cannot start again: its port {} is taken", self.port),
                Err(Failure::Other(error)) => return Err(error),
            }
            eprintln!("redis-server runs again; sales go on as soon as the workers have compared it with the archive.");
        }
    }

    /// Stops the server in order: what it holds is on the disk afterwards.
    ///
    /// # Errors
    /// If it had to be killed.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        if let Ok(mut connection) = Connection::open(self.port, &self.password).await {
            // A server that stops closes the connection without an answer.
            let _ = connection.ask(&["SHUTDOWN"]).await;
        }
        if timeout(STOP_LIMIT, self.child.wait()).await.is_err() {
            self.child.kill().await.context("redis-server cannot be stopped")?;
            bail!("redis-server did not stop within {} s and was killed", STOP_LIMIT.as_secs());
        }
        Ok(())
    }
}

fn ended(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("signal {signal}"),
        (_, Some(code)) => format!("exit code {code}"),
        _ => "unknown reason".to_owned(),
    }
}

async fn launch(server: &Server, dir: &Path, port: u16, password: &str) -> Result<Child, Failure> {
    let other = |error: anyhow::Error| Failure::Other(error);
    let log =
        File::options().append(true).create(true).open(dir.join(LOG_FILE)).map_err(|error| other(error.into()))?;
    let before = log.metadata().map(|log| log.len()).unwrap_or_default();
    let errors = log.try_clone().map_err(|error| other(error.into()))?;
    let started = server.command().arg(dir.join(CONFIG_FILE)).current_dir(dir).stdout(log).stderr(errors).spawn();
    let mut child = started.map_err(|error| other(anyhow!(error).context("redis-server cannot be started")))?;
    let deadline = Instant::now() + START_LIMIT;
    loop {
        if let Ok(Some(_)) = child.try_wait() {
            let said = fs::read(dir.join(LOG_FILE)).unwrap_or_default();
            let said = said.get(usize::try_from(before).unwrap_or_default()..).unwrap_or_default();
            let taken = String::from_utf8_lossy(said).contains("Address already in use");
            return Err(match taken {
                true => Failure::PortTaken,
                false => other(anyhow!("redis-server ended while it started{}", last_words(dir))),
            });
        }
        if answers(port, password, dir).await {
            return Ok(child);
        }
        if Instant::now() >= deadline {
            return Err(other(anyhow!("redis-server does not answer{}", last_words(dir))));
        }
        sleep(LOOK).await;
    }
}

/// Whether our server, and no other that took the port, has loaded its files.
async fn answers(port: u16, password: &str, dir: &Path) -> bool {
    let Ok(mut connection) = Connection::open(port, password).await else { return false };
    connection.ask(&["PING"]).await.is_ok_and(|answer| answer == "PONG") && is_ours(&mut connection, dir).await
}

/// The end of the server's log.
fn last_words(dir: &Path) -> String {
    const LINES: usize = 10;
    let log = fs::read(dir.join(LOG_FILE)).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = log.lines().collect();
    let last = &lines[lines.len().saturating_sub(LINES)..];
    format!("; the end of {}:\n  {}", dir.join(LOG_FILE).display(), last.join("\n  "))
}

const CONFIG_FILE: &str = "redis.conf";
const LOG_FILE: &str = "redis.log";
const PID_FILE: &str = "redis.pid";

fn write_config(dir: &Path, port: u16, password: &str) -> anyhow::Result<()> {
    // What a grant survives is what is on the disk when it is answered, so every write is synced.
    let config = format!(
        "# Written by `stampede dev` at each start.\nport {port}\nrequirepass {password}\nbind 127.0.0.1\n\
         daemonize no\npidfile {PID_FILE}\ndir {}\nsave \"\"\nappendonly yes\nappendfsync always\n\
         maxmemory-policy noeviction\n",
        quoted(dir)
    );
    let path = dir.join(CONFIG_FILE);
    private_file::write(&path, config.as_bytes()).with_context(|| format!("{} cannot be written", path.display()))
}

/// The port and the password of the server that was started last.
fn read_config(dir: &Path) -> Option<(u16, String)> {
    let config = fs::read_to_string(dir.join(CONFIG_FILE)).ok()?;
    let value = |name: &str| config.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Some((value("port")?.parse().ok()?, value("requirepass")?.to_owned()))
}

/// A path as Redis's configuration takes it.
fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('\\', "\\\\").replace('"', "\\\""))
}

/// A random text that nobody guesses: 256 bits.
pub fn random_secret() -> String {
    let bytes: [u8; 32] = rand::random();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A port of this machine that nobody listens on; if all that are tried are taken, the start will say so.
fn free_port() -> u16 {
    const TRIES: usize = 1_000;
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    (0..TRIES).map(|_| rand::random_range(PORTS)).find(is_free).unwrap_or(PORTS.start)
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

async fn setpriv_works() -> bool {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "true"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    cfg!(target_os = "linux") && command.status().await.is_ok_and(|status| status.success())
}
