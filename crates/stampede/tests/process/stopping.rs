//! What a process does when it is told to stop, and when it is told again.

use std::io::{Read, Write};
use std::net::TcpStream;
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

impl Busy {
    async fn start() -> Self {
        let redis = Redis::start().await;
        let dir = tempfile::tempdir().expect("a folder");
        let archive = format!("sqlite:{}", dir.path().join("archive.db").display());
        let role = |args: &[&str]| {
            let mut command = stampede(args);
            command.env("STAMPEDE_REDIS_URL", redis.url()).env("STAMPEDE_ARCHIVE_URL", &archive);
            command.env("STAMPEDE_TOKEN_SECRET", SECRET).env("STAMPEDE_SIGN_IN", "handle").env("STAMPEDE_LOG", "error");
            command.env("STAMPEDE_ADMIN_LISTEN", "127.0.0.1:0");
            // As long as the test may take.
            command.env("STAMPEDE_REQUEST_TIMEOUT_MS", "60000").env("STAMPEDE_SHUTDOWN_GRACE_MS", "60000");
            command.env("STAMPEDE_RECONCILE_WINDOW_MS", "61000");
            command
        };
        assert_eq!(run(&mut role(&["migrate"])).0, Some(0));
        let address = format!("127.0.0.1:{}", free_port());
        let process = Running::start(&mut role(&["api", "--listen", &address]));
        Api::new(&format!("http://{address}/api/v1")).wait_until_alive().await;
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
