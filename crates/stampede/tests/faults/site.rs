//! A deployment: two APIs, two workers, their Redis and their archive.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rand::RngExt;
use rand::rngs::StdRng;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::report::Report;
use super::roles::Role;
use super::scenario::Scenario;
use super::stores::{HotState, Store};
use super::support::{LIMIT, run, stampede};

/// What tokens are signed with.
const SECRET: &str = "the secret of the fault suite, long enough";

/// Shards of every deployment.
pub const SHARDS: u16 = 4;

/// How many shoppers have tokens.
pub const USERS: usize = 500;

/// A running deployment.
pub struct Site {
    pub scenario: Scenario,
    pub dir: PathBuf,
    pub roles: Vec<Arc<Role>>,
    pub redis: Mutex<HotState>,
    pub store: Mutex<Store>,
    /// The archive's address, and that of Redis without a proxy.
    pub archive_url: String,
    pub redis_url: String,
    pub clock_is_back: AtomicBool,
    pub shoppers: Vec<String>,
    pub operator: String,
    supervisors: Vec<JoinHandle<()>>,
}

impl Site {
    /// Starts everything, and waits until orders can be taken.
    pub async fn start(scenario: Scenario, rng: &mut StdRng, dir: &Path, report: &Arc<Report>) -> Result<Self, String> {
        let hot_state = match scenario {
            Scenario::Cluster => HotState::cluster().await,
            Scenario::Sqlite | Scenario::Mongodb => HotState::single().await,
        };
        let store = match scenario {
            Scenario::Mongodb => Store::Mongo(stampede_testkit::OwnMongo::start().await),
            Scenario::Sqlite | Scenario::Cluster => Store::sqlite(dir),
        };
        let (redis_url, archive_url) = (hot_state.url(), store.url());
        let mut settings = settings(scenario, rng);
        settings.push(("STAMPEDE_ARCHIVE_URL".to_owned(), archive_url.clone()));
        if hot_state.port().is_none() {
            settings.push(("STAMPEDE_REDIS_URL".to_owned(), redis_url.clone()));
        }
        tool(&["migrate"], &settings)?;
        let tokens = dir.join("tokens");
        tool(&["token", "--shoppers", &USERS.to_string(), "--out", &tokens.to_string_lossy()], &settings)?;
        let tokens = std::fs::read_to_string(tokens).map_err(|error| error.to_string())?;
        let operator = tool(&["token", "--operator"], &settings)?.trim().to_owned();

        let mut roles = Vec::new();
        for name in ["api-1", "api-2", "worker-1", "worker-2"] {
            let role = Role::new(name.to_owned(), hot_state.port(), settings.clone(), dir).await;
            *role.program.lock().await = Some(role.start());
            roles.push(Arc::new(role));
        }
        let supervise = |role: &Arc<Role>| {
            let (role, report) = (Arc::clone(role), Arc::clone(report));
            tokio::spawn(async move { role.supervise(|name, status| report.ended(name, status)).await })
        };
        let site = Self {
            scenario,
            dir: dir.to_owned(),
            supervisors: roles.iter().map(supervise).collect(),
            roles,
            redis: Mutex::new(hot_state),
            store: Mutex::new(store),
            archive_url,
            redis_url,
            clock_is_back: AtomicBool::new(false),
            shoppers: tokens.lines().map(str::to_owned).collect(),
            operator,
        };
        site.wait_until_ready().await?;
        Ok(site)
    }

    /// Where the APIs are reached, through their proxies.
    pub fn origins(&self) -> Vec<String> {
        self.roles.iter().filter_map(|role| role.origin()).collect()
    }

    /// One of the APIs, or one of the workers.
    pub fn any_role(&self, kind: &str, rng: &mut StdRng) -> Arc<Role> {
        let of_kind: Vec<_> = self.roles.iter().filter(|role| role.name.starts_with(kind)).collect();
        Arc::clone(of_kind[rng.random_range(0..of_kind.len())])
    }

    /// Waits until every API says that it can take orders on every shard.
    pub async fn wait_until_ready(&self) -> Result<(), String> {
        let client = stampede_testkit::http_client().timeout(LIMIT).build().map_err(|error| error.to_string())?;
        for origin in self.origins() {
            let deadline = Instant::now() + 2 * LIMIT;
            loop {
                let view = match client.get(format!("{origin}/readyz")).send().await {
                    Ok(response) => response.json::<serde_json::Value>().await.unwrap_or_default(),
                    Err(error) => error.to_string().into(),
                };
                if view["status"] == "ready" {
                    break;
                }
                if Instant::now() > deadline {
                    return Err(format!("an API is not ready again: {view}"));
                }
                sleep(std::time::Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }

    /// Takes every fault back.
    pub async fn mend(&self) {
        let back = self.clock_is_back.swap(false, std::sync::atomic::Ordering::Relaxed);
        self.redis.lock().await.mend(back).await;
        self.roles.iter().for_each(|role| role.mend());
    }

    /// What the processes wrote into their logs that they never should.
    pub fn panics(&self) -> Vec<String> {
        self.roles.iter().flat_map(|role| role.panics()).collect()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.supervisors.iter().for_each(JoinHandle::abort);
    }
}

/// Short times, so that a round meets many timeouts, takeovers and retries.
fn settings(scenario: Scenario, rng: &mut StdRng) -> Vec<(String, String)> {
    let timeout_ms = rng.random_range(200..1_000);
    let mut settings: Vec<(String, String)> = [
        ("TOKEN_SECRET", SECRET.to_owned()),
        ("LOG", "info,stampede_worker=debug,stampede_engine=debug".to_owned()),
        ("ADMIN_LISTEN", "127.0.0.1:0".to_owned()),
        ("SHARDS", SHARDS.to_string()),
        ("COMMAND_TIMEOUT_MS", timeout_ms.to_string()),
        ("CALL_DEADLINE_MS", rng.random_range(timeout_ms..2 * timeout_ms).to_string()),
        ("REQUEST_TIMEOUT_MS", rng.random_range(2_000..6_000).to_string()),
        ("BODY_READ_TIMEOUT_MS", "1500".to_owned()),
        ("SHUTDOWN_GRACE_MS", "6000".to_owned()),
        ("DRAIN_LIMIT_MS", "2000".to_owned()),
        ("CLAIM_IDLE_MS", "1000".to_owned()),
        ("TAKEOVER_AFTER_MS", "1000".to_owned()),
        ("BACKOFF_MAX_MS", "500".to_owned()),
        ("READY_MAX_AGE_MS", "50".to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (format!("STAMPEDE_{name}"), value))
    .collect();
    let wait_ms = rng.random_range(300..1_500).to_string();
    for (name, value) in [(DURABILITY, scenario.durability()), (DURABILITY_WAIT, &wait_ms)] {
        if knows(name) {
            settings.push((name.to_owned(), value.to_owned()));
        }
    }
    settings
}

pub const DURABILITY: &str = "STAMPEDE_DURABILITY";
const DURABILITY_WAIT: &str = "STAMPEDE_DURABILITY_WAIT_MS";

/// Whether the binary has a setting.
pub fn knows(variable: &str) -> bool {
    let (_, example, _) = run(&mut stampede(&["config", "--example"]));
    example.contains(&format!("{variable}="))
}

/// Runs one of the binary's commands to its end.
fn tool(arguments: &[&str], settings: &[(String, String)]) -> Result<String, String> {
    let mut command = stampede(arguments);
    command.envs(settings.iter().map(|(name, value)| (name, value)));
    match run(&mut command) {
        (Some(0), said, _) => Ok(said),
        (code, _, said) => Err(format!("`stampede {}` ended with {code:?}: {said}", arguments.join(" "))),
    }
}
