//! Starting the binary, reading what it prints, asking its API.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

/// The longest that anything may take on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The binary with these arguments, and nothing of our own environment but the search path.
pub fn stampede(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stampede"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).args(args).stdin(Stdio::null());
    command
}

/// Runs a command to its end: its exit code, and what it printed on both outputs.
pub fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

/// Sends a signal by its name.
pub fn signal(pid: &str, name: &str) {
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status().expect("a shell");
    assert!(status.success(), "SIG{name} to {pid}");
}

/// Whether a process of this number runs. One that has ended, but that nobody has waited for, does not.
pub fn is_alive(pid: &str) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        // The state follows the program's name, which is in brackets.
        Ok(stat) => !stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z')),
        Err(_) => {
            Command::new("sh").args(["-c", &format!("kill -0 {pid} 2> /dev/null")]).status().expect("a shell").success()
        }
    }
}

/// A process that runs until it is told to stop; killed if a test leaves it behind.
pub struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the binary starts");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // Nobody listens once the test has seen enough; the pipe is emptied all the same.
                let _ = send.send(line);
            }
        });
        Self { child, lines }
    }

    /// What it prints, up to the line that ends with this.
    pub fn read_until(&mut self, end: &str) -> String {
        let mut page = String::new();
        let deadline = Instant::now() + LIMIT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("{end:?} was not printed:\n{page}"));
            page.push_str(&line);
            page.push('\n');
            if line.ends_with(end) {
                return page;
            }
        }
    }

    pub fn pid(&self) -> String {
        self.child.id().to_string()
    }

    /// Kills it as a crash does.
    pub fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("waited for");
    }

    /// Tells it to stop, and waits for that.
    pub fn stop(mut self) -> ExitStatus {
        signal(&self.pid(), "TERM");
        self.wait()
    }

    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().expect("the state of a child") {
                return status;
            }
            assert!(Instant::now() < deadline, "process {} does not end", self.child.id());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running `stampede dev`.
pub struct Dev {
    pub process: Running,
    pub page: String,
    pub dir: PathBuf,
}

impl Dev {
    /// On free ports.
    pub fn start(dir: &Path) -> Self {
        Self::start_with(&mut stampede(&["dev"]), dir)
    }

    pub fn start_with(command: &mut Command, dir: &Path) -> Self {
        command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--dir"]).arg(dir);
        let mut process = Running::start(command);
        let page = process.read_until(r#"/my-drop/resume" -H "$OP""#);
        Self { process, page, dir: dir.to_owned() }
    }

    /// The address that the page gives for `what`.
    pub fn address(&self, what: &str) -> String {
        let line = self.page.lines().find_map(|line| line.strip_prefix(what));
        line.unwrap_or_else(|| panic!("{what} is on the page:\n{}", self.page)).trim().to_owned()
    }

    pub fn api(&self) -> Api {
        Api::new(&self.address("API "))
    }

    /// The process number of its Redis.
    pub fn redis_pid(&self) -> String {
        fs::read_to_string(self.dir.join("redis/redis.pid")).expect("Redis runs").trim().to_owned()
    }
}

/// The API of a running process.
pub struct Api {
    client: Client,
    base: String,
    pub token: String,
    /// The context of the caller's trace.
    pub traceparent: Option<String>,
}

/// An answer: its status, whether it is a replay, its body.
pub type Answer = (StatusCode, bool, Value);

impl Api {
    pub fn new(base: &str) -> Self {
        let client = stampede_testkit::http_client().timeout(LIMIT).build().expect("a client");
        Self { client, base: base.to_owned(), token: String::new(), traceparent: None }
    }

    pub async fn sign_in(mut self, handle: &str) -> Self {
        let (status, _, session) = self.ask(Method::POST, "/sessions", Some(json!({ "handle": handle })), None).await;
        assert_eq!(status, StatusCode::CREATED, "{session}");
        self.token = session["token"].as_str().expect("a token").to_owned();
        self
    }

    pub fn with_token(mut self, token: &str) -> Self {
        self.token = token.trim().to_owned();
        self
    }

    pub async fn order(&self, drop: &str, key: &str) -> Answer {
        self.ask(Method::POST, "/orders", Some(json!({ "drop_id": drop })), Some(key)).await
    }

    pub async fn order_units(&self, drop: &str, key: &str, units: u16) -> Answer {
        let order = json!({ "drop_id": drop, "quantity": units });
        self.ask(Method::POST, "/orders", Some(order), Some(key)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.ask(Method::DELETE, path, None, None).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, None, None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        let (status, _, answer) = self.ask(Method::POST, path, Some(body.clone()), None).await;
        (status, answer)
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>, key: Option<&str>) -> Answer {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if !self.token.is_empty() {
            request = request.bearer_auth(&self.token);
        }
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        if let Some(traceparent) = &self.traceparent {
            request = request.header("traceparent", traceparent);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.expect("an answer");
        let (status, replayed) = (response.status(), response.headers().contains_key("Idempotent-Replayed"));
        (status, replayed, response.json().await.expect("JSON"))
    }

    /// Waits until it answers at all.
    pub async fn wait_until_alive(&self) {
        let url = format!("{}/healthz", self.base.trim_end_matches("/api/v1"));
        let deadline = Instant::now() + LIMIT;
        while self.client.get(&url).send().await.is_err() {
            assert!(Instant::now() < deadline, "{url} does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until orders can be taken again: every shard is trusted.
    pub async fn wait_until_ready(&self) {
        let url = format!("{}/readyz", self.base.trim_end_matches("/api/v1"));
        let deadline = Instant::now() + LIMIT;
        loop {
            let view = match self.client.get(&url).send().await {
                Ok(response) => response.json::<Value>().await.unwrap_or_default(),
                Err(_) => Value::Null,
            };
            if view["status"] == "ready" {
                return;
            }
            assert!(Instant::now() < deadline, "not ready: {view}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
