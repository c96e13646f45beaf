//! A sale as it is on a busy day: grants, refusals, replays, cancellations, bots, rubbish, and a Redis that stands still.

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use stampede_domain::Timestamp;
use stampede_testkit::{Redis, RedisOptions, SqliteFault, free_port};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::support::{Api, LIMIT, Running, run, stampede};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// The drop that goes on selling, one whose orders wait for the replica, one that is sold out at once, and one that starts
/// while the sale runs.
const LONG: &str = "friday";
const SAFE: &str = "safe";
const SHORT: &str = "few";
const LATER: &str = "later";
/// A drop of several stripes.
const WIDE: &str = "wide";
/// What each shopper waits between two requests.
const PAUSE: Duration = Duration::from_millis(20);

/// One Redis with its replica, one archive, one api, one worker.
pub struct Site {
    pub api_admin: u16,
    pub worker_admin: u16,
    redis: Redis,
    _replica: Redis,
    archive: String,
    origin: String,
    _api: Running,
    _worker: Running,
    _dir: TempDir,
}

/// One who asks the API.
#[derive(Clone)]
struct Shopper {
    client: Client,
    base: String,
    token: String,
}

impl Site {
    pub async fn start() -> Self {
        let options = |name: &str, value: &str| RedisOptions {
            append_fsync: Some("everysec"),
            extra: vec![(name.to_owned(), value.to_owned()), ("repl-diskless-sync-delay".to_owned(), "0".to_owned())],
            ..RedisOptions::default()
        };
        let redis = Redis::start_with(options("min-replicas-to-write", "1")).await;
        let replica = RedisOptions { replica_of: Some(redis.port()), ..options("min-replicas-to-write", "0") };
        let replica = Redis::start_with(replica).await;
        replica.wait_until_level_with(&redis).await;
        let dir = tempfile::tempdir().expect("a folder");
        let archive = format!("sqlite:{}", dir.path().join("archive.db").display());
        let (api_admin, worker_admin) = (free_port(), free_port());
        let origin = format!("127.0.0.1:{}", free_port());
        let role = |args: &[&str], admin: u16| {
            let mut command = role(&redis, &archive, args);
            command.env("STAMPEDE_ADMIN_LISTEN", format!("127.0.0.1:{admin}"));
            // Nobody listens there: spans are counted as failed.
            command.env("STAMPEDE_OTLP_ENDPOINT", format!("http://127.0.0.1:{}", free_port()));
            command
        };
        assert_eq!(run(&mut role(&["migrate"], 0)).0, Some(0));
        let mut api = role(&["api", "--listen", &origin], api_admin);
        // A Redis that stands still is noticed soon, and both limiters are on. Only the bot is fast enough to meet one.
        api.env("STAMPEDE_COMMAND_TIMEOUT_MS", "300").env("STAMPEDE_CALL_DEADLINE_MS", "500");
        api.env("STAMPEDE_RATE_LIMIT_FRONT_PER_S", "100000").env("STAMPEDE_RATE_LIMIT_FRONT_BURST", "100000");
        api.env("STAMPEDE_RATE_LIMIT_USER_PER_S", "200").env("STAMPEDE_RATE_LIMIT_USER_BURST", "20");
        let api = Running::start(&mut api);
        let worker = Running::start(role(&["worker"], worker_admin).env("STAMPEDE_RECONCILE_PERIOD_MS", "500"));
        let site = Self {
            api_admin,
            worker_admin,
            redis,
            _replica: replica,
            archive,
            origin,
            _api: api,
            _worker: worker,
            _dir: dir,
        };
        Api::new(&site.base()).wait_until_ready().await;
        site.open_drops().await;
        site
    }

    fn base(&self) -> String {
        format!("http://{}/api/v1", self.origin)
    }

    /// A command with the settings of this deployment.
    pub fn command(&self, args: &[&str]) -> Command {
        role(&self.redis, &self.archive, args)
    }

    async fn open_drops(&self) {
        let (code, token, stderr) = run(&mut self.command(&["token", "--operator"]));
        assert_eq!(code, Some(0), "{stderr}");
        let operator = Api::new(&self.base()).with_token(&token);
        let now = Timestamp::now().as_ms();
        let clock = |seconds: i64| serde_json::to_value(Timestamp::from_ms(now + seconds * 1_000)).expect("a time");
        for (id, units, starts_in, ends_in) in [
            (LONG, 1_000_000, 0, 3_600),
            (SAFE, 1_000_000, 0, 3_600),
            (SHORT, 3, 0, 7_200),
            (LATER, 50, 2, 3_600),
            (WIDE, 50, 0, 3_600),
        ] {
            let mut drop = json!({
                "id": id, "mode": "instant", "stock_units": units, "limit_per_user": 1_000, "cancellable_for_s": 3_600,
                "cancellations_per_user": 100, "ends_at": clock(ends_in),
                "product": {"sku": id, "name": id, "price": {"amount_minor": 100, "currency": "EUR"}},
            });
            if id == SAFE {
                drop["durability"] = "replica".into();
            }
            if id == WIDE {
                drop["stripes"] = 2.into();
            }
            if starts_in > 0 {
                drop["starts_at"] = clock(starts_in);
            }
            // The primary is examined again and again; until it has seen its replica, it promises none.
            let deadline = Instant::now() + LIMIT;
            loop {
                let (status, answer) = operator.post("/drops", &drop).await;
                if status == StatusCode::CREATED {
                    break;
                }
                assert!(id == SAFE && Instant::now() < deadline, "{answer}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Lets the crowd in. It goes away when it is dropped.
    pub async fn open(&self) -> JoinSet<()> {
        let mut crowd = JoinSet::new();
        for handle in ["ann", "bob", "cat"] {
            crowd.spawn(shop(self.base(), handle));
        }
        crowd.spawn(grab(Shopper::new(&self.base(), "bot").await));
        let origin = self.origin.clone();
        crowd.spawn(async move {
            loop {
                let mut stream = TcpStream::connect(&origin).expect("a connection");
                stream.write_all(b"\x16\x03 rubbish\r\n\r\n").expect("sent");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
        crowd
    }

    /// Has Redis stand still until a shopper is told so.
    pub async fn stall_redis(&self) {
        let shopper = Shopper::new(&self.base(), "dan").await;
        self.redis.freeze();
        let deadline = Instant::now() + LIMIT;
        while shopper.order(LONG, 1, None).await.0 != StatusCode::SERVICE_UNAVAILABLE {
            assert!(Instant::now() < deadline, "orders are granted while Redis stands still");
        }
        self.redis.thaw();
        Api::new(&self.base()).wait_until_ready().await;
    }

    /// Sells to one whose orders the archive refuses for good. What comes back has it accept them again.
    pub async fn make_dead_letter(&self) -> SqliteFault {
        let shopper = Shopper::new(&self.base(), "eve").await;
        let (_, session) = shopper.ask(Method::GET, "/sessions/current", None, None).await;
        let fault = SqliteFault::open(&self.archive);
        fault.refuse_orders_of(session["user_id"].as_str().expect("a user"));
        let (status, order) = shopper.order(LONG, 1, None).await;
        assert_eq!(status, StatusCode::CREATED, "{order}");
        fault
    }
}

fn role(redis: &Redis, archive: &str, args: &[&str]) -> Command {
    let mut command = stampede(args);
    command.env("STAMPEDE_REDIS_URL", redis.url()).env("STAMPEDE_ARCHIVE_URL", archive);
    command.env("STAMPEDE_TOKEN_SECRET", SECRET).env("STAMPEDE_SIGN_IN", "handle").env("STAMPEDE_LOG", "error");
    command
}

/// Orders, orders again, cancels, and makes mistakes.
async fn shop(base: String, handle: &str) {
    let mut shopper = Shopper::new(&base, handle).await;
    for turn in 0_u64.. {
        // Nobody comes to the limit of what one may buy.
        if turn % 100 == 99 {
            shopper = Shopper::new(&base, &format!("{handle}_{turn}")).await;
        }
        let key = format!("turn-{turn}");
        let (_, order) = shopper.order(LONG, 1, Some(&key)).await;
        match turn % 7 {
            0 => drop(shopper.order(LONG, 1, Some(&key)).await),
            1 => drop(shopper.order(SHORT, 1, None).await),
            2 => drop(shopper.order(LONG, 0, None).await),
            3 => drop(shopper.ask(Method::GET, "/nowhere", None, None).await),
            4 => drop(shopper.ask(Method::GET, &format!("/products/{LONG}/sale-status"), None, None).await),
            5 => drop(shopper.order(SAFE, 1, None).await),
            _ => {
                if let Some(id) = order["id"].as_str() {
                    shopper.ask(Method::DELETE, &format!("/orders/{id}"), None, None).await;
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Orders as fast as it can until it is refused, and again.
async fn grab(bot: Shopper) {
    loop {
        let tries: JoinSet<_> = (0..40)
            .map(|_| {
                let bot = bot.clone();
                async move { bot.order(SHORT, 1, None).await.0 }
            })
            .collect();
        tries.join_all().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

impl Shopper {
    async fn new(base: &str, handle: &str) -> Self {
        let api = Api::new(base).sign_in(handle).await;
        Self {
            client: stampede_testkit::http_client().build().expect("a client"),
            base: base.to_owned(),
            token: api.token,
        }
    }

    async fn order(&self, drop: &str, quantity: u64, key: Option<&str>) -> (StatusCode, Value) {
        self.ask(Method::POST, "/orders", Some(json!({ "drop_id": drop, "quantity": quantity })), key).await
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>, key: Option<&str>) -> (StatusCode, Value) {
        let mut request = self.client.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("an answer");
        (answer.status(), answer.json().await.unwrap_or_default())
    }
}
