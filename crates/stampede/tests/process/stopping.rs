//! What a process does when it is told to stop, and when it is told again.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use stampede_testkit::{Redis, free_port};

use super::support::{Api, LIMIT, Running, run, signal, stampede};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const BODY: &str = r#"{"handle":"ann"}"#;

/// An API process, and a request to it of which a part is still to be sent.
struct Busy {
    process: Running,
    address: String,
    request: TcpStream,
    _redis: Redis,
    _dir: tempfile::TempDir,
}

/// An API process.
struct Started {
    process: Running,
    address: String,
    redis: Redis,
    dir: tempfile::TempDir,
}

impl Started {
    async fn with(variables: &[(&str, &str)]) -> Self {
        let redis = Redis::start().await;
        let dir = tempfile::tempdir().expect("a folder");
        let archive = format!("sqlite:{}", dir.path().join("archive.db").display());
        let role = |args: &[&str]| {
            let mut command = stampede(args);
            command.env("STAMPEDE_REDIS_URL", redis.url()).env("STAMPEDE_ARCHIVE_URL", &archive);
            command.env("STAMPEDE_TOKEN_SECRET", SECRET).env("STAMPEDE_SIGN_IN", "handle").env("STAMPEDE_LOG", "error");
            command.env("STAMPEDE_ADMIN_LISTEN", "127.0.0.1:0").envs(variables.iter().copied());
            command
        };
        assert_eq!(run(&mut role(&["migrate"])).0, Some(0));
        let address = format!("127.0.0.1:{}", free_port());
        let process = Running::start(&mut role(&["api", "--listen", &address]));
        Api::new(&format!("http://{address}/api/v1")).wait_until_alive().await;
        Self { process, address, redis, dir }
    }
}

impl Busy {
    async fn start() -> Self {
        // As long as the test may take.
        let Started { process, address, redis, dir } = Started::with(&[
            ("STAMPEDE_REQUEST_TIMEOUT_MS", "60000"),
            ("STAMPEDE_SHUTDOWN_GRACE_MS", "60000"),
            ("STAMPEDE_RECONCILE_WINDOW_MS", "61000"),
        ])
        .await;
        let mut request = TcpStream::connect(&address).expect("it listens");
        request.set_read_timeout(Some(LIMIT)).expect("set");
        let head = format!(
            "POST /api/v1/sessions HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nExpect: 100-continue\r\n\r\n",
            BODY.len()
        );
        request.write_all(head.as_bytes()).expect("sent");
        // The request is in a handler's hands once its body is asked for.
        let mut go_on = [0; 25];
        request.read_exact(&mut go_on).expect("its body is asked for");
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        Self { process, address, request, _redis: redis, _dir: dir }
    }

    /// Tells the process to stop, and waits until it accepts nobody any more.
    fn tell(&self) {
        signal(&self.process.pid(), "TERM");
        let deadline = Instant::now() + LIMIT;
        while TcpStream::connect(&self.address).is_ok() {
            assert!(Instant::now() < deadline, "it goes on accepting");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[tokio::test]
async fn a_request_in_flight_is_answered_before_the_process_ends() {
    let mut busy = Busy::start().await;
    busy.tell();
    busy.request.write_all(BODY.as_bytes()).expect("sent");
    let mut answer = String::new();
    busy.request.read_to_string(&mut answer).expect("an answer, and the end of the connection");
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert_eq!(busy.process.wait().code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_the_process_at_once() {
    for second in ["TERM", "INT"] {
        let mut busy = Busy::start().await;
        busy.tell();
        signal(&busy.process.pid(), second);
        assert_eq!(busy.process.wait().code(), Some(130), "SIG{second}");
        let mut answer = Vec::new();
        assert_eq!(busy.request.read_to_end(&mut answer).unwrap_or_default(), 0, "nothing was made up in haste");
    }
}

/// A client that keeps its connection until it is told that it ends, and sends nothing twice.
struct Client {
    address: String,
    kept: Option<BufReader<TcpStream>>,
}

impl Client {
    fn new(address: &str) -> Self {
        Self { address: address.to_owned(), kept: None }
    }

    /// Signs in: the status, and whether the connection ends with the answer.
    fn sign_in(&mut self) -> (u16, bool) {
        let mut connection = self.kept.take().unwrap_or_else(|| {
            let stream = TcpStream::connect(&self.address).expect("a connection is accepted");
            stream.set_read_timeout(Some(LIMIT)).expect("set");
            BufReader::new(stream)
        });
        let request = format!(
            "POST /api/v1/sessions HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n\
             {BODY}",
            self.address,
            BODY.len()
        );
        connection.get_mut().write_all(request.as_bytes()).expect("a request is taken");
        let (mut status, mut length, mut ends) = (0, 0, false);
        loop {
            let mut line = String::new();
            assert!(connection.read_line(&mut line).expect("an answer") > 0, "the connection ended without an answer");
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(rest) = line.strip_prefix("http/1.1 ") {
                status = rest[..3].parse().expect("a status");
            } else if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().expect("a length");
            } else if line == "connection: close" {
                ends = true;
            } else if line.is_empty() {
                break;
            }
        }
        connection.read_exact(&mut vec![0; length]).expect("a whole answer");
        if ends {
            assert_eq!(connection.read_to_end(&mut Vec::new()).expect("its end"), 0);
        } else {
            self.kept = Some(connection);
        }
        (status, ends)
    }
}

#[tokio::test]
async fn nobody_is_refused_while_the_balancer_has_not_noticed_yet() {
    let mut started = Started::with(&[("STAMPEDE_SHUTDOWN_DELAY_MS", "600000")]).await;
    let (done, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let client = |keeps: bool| {
        let (done, answered, address) = (Arc::clone(&done), Arc::clone(&answered), started.address.clone());
        std::thread::spawn(move || {
            let (mut client, mut ended) = (Client::new(&address), 0);
            while !done.load(Ordering::Relaxed) {
                let (status, ends) = client.sign_in();
                assert_eq!(status, 201);
                ended += u64::from(ends);
                if !keeps {
                    client.kept = None;
                }
                answered.fetch_add(1, Ordering::Relaxed);
            }
            ended
        })
    };
    let clients = [true, true, false, false].map(client);
    let more = async |count: u64| {
        let (until, deadline) = (answered.load(Ordering::Relaxed) + count, Instant::now() + LIMIT);
        while answered.load(Ordering::Relaxed) < until {
            assert!(Instant::now() < deadline, "the clients are not answered any more");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    more(100).await;
    let mut idle = Client::new(&started.address);
    assert_eq!(idle.sign_in(), (201, false));

    signal(&started.process.pid(), "TERM");
    let balancer = Api::new(&format!("http://{}", started.address));
    let deadline = Instant::now() + LIMIT;
    loop {
        let (status, _, view) = balancer.get("/readyz").await;
        if view["status"] == "stopping" {
            assert_eq!(status, 503);
            break;
        }
        assert!(Instant::now() < deadline, "the balancer is not told: {view}");
    }
    more(100).await;
    assert_eq!(balancer.get("/healthz").await.0, 200, "it lives, so nobody need restart it");
    // A connection that was idle all the time is answered as well, and then ends.
    assert_eq!(idle.sign_in(), (201, true));
    done.store(true, Ordering::Relaxed);
    for client in clients {
        assert!(client.join().expect("every request was answered") > 0, "connections end with their answers");
    }
    signal(&started.process.pid(), "TERM");
    assert_eq!(started.process.wait().code(), Some(130), "the second signal ends the delay too");
}

#[tokio::test]
async fn the_delay_ends_and_so_does_the_process() {
    let mut started = Started::with(&[("STAMPEDE_SHUTDOWN_DELAY_MS", "500")]).await;
    let mut idle = Client::new(&started.address);
    assert_eq!(idle.sign_in(), (201, false));
    signal(&started.process.pid(), "TERM");
    assert_eq!(started.process.wait().code(), Some(0), "an idle connection holds nobody up");
}
