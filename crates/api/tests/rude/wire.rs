//! A client that writes bytes as it pleases.

use std::time::Duration;

use serde_json::Value;
use stampede_testkit::TestApp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Far longer than any answer takes: a test that hangs should say so.
const PATIENCE: Duration = Duration::from_secs(30);

/// One connection.
pub struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
}

/// One answer, as it came.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The head, in small letters.
    pub head: String,
    /// The body, if it is JSON.
    pub body: Value,
}

impl Wire {
    /// A connection to the service.
    pub async fn open(app: &TestApp) -> Self {
        let address = app.origin.strip_prefix("http://").expect("plain HTTP");
        Self { stream: TcpStream::connect(address).await.expect("a connection"), read: Vec::new() }
    }

    /// Sends bytes; a service that has hung up is no failure.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let sent = timeout(PATIENCE, self.stream.write_all(bytes.as_ref())).await;
        sent.expect("the service reads").is_ok()
    }

    /// The next answer; `None` if the connection is closed instead.
    pub async fn reply(&mut self) -> Option<Reply> {
        self.reply_to("GET").await
    }

    /// The next answer to a request with this method: that to a HEAD has no body.
    pub async fn reply_to(&mut self, method: &str) -> Option<Reply> {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.read_more().await {
                assert!(self.read.is_empty(), "half an answer: {:?}", String::from_utf8_lossy(&self.read));
                return None;
            }
        };
        let head = String::from_utf8_lossy(&self.read[..end]).to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let declared = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = match declared {
            Some(length) if method != "HEAD" => length.parse().expect("a length"),
            _ => 0,
        };
        while self.read.len() < end + length {
            assert!(self.read_more().await, "half an answer to {head}");
        }
        let body = serde_json::from_slice(&self.read[end..end + length]).unwrap_or(Value::Null);
        self.read.drain(..end + length);
        Some(Reply { status, head, body })
    }

    /// Whether the service has hung up, now or within a while.
    pub async fn is_closed(&mut self) -> bool {
        self.read.is_empty() && !self.read_more().await
    }

    /// Whether the service has hung up by now.
    pub fn is_closed_now(&self) -> bool {
        !matches!(self.stream.try_read(&mut [0; 64]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    }

    async fn read_more(&mut self) -> bool {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.read)).await;
        matches!(read.expect("the service answers or hangs up"), Ok(count) if count > 0)
    }
}

impl Reply {
    /// Asserts a whole problem of this status and code.
    #[track_caller]
    pub fn expect_problem(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status, self.body["code"].as_str()), (status, Some(code)), "{self:?}");
        assert!(self.head.contains("content-type: application/problem+json"), "{self:?}");
        assert_eq!(self.body["status"], status, "{self:?}");
        for field in ["type", "title", "detail", "request_id"] {
            assert!(self.body[field].as_str().is_some_and(|text| !text.is_empty()), "no {field}: {self:?}");
        }
        assert!(self.body["retryable"].is_boolean(), "{self:?}");
        self
    }

    /// Where the first thing is that is wrong.
    pub fn pointer(&self) -> &str {
        self.body["errors"][0]["pointer"].as_str().unwrap_or("no pointer")
    }
}

/// What one connection is answered that sends these bytes.
pub async fn talk(app: &TestApp, bytes: impl AsRef<[u8]>) -> Option<Reply> {
    let mut wire = Wire::open(app).await;
    wire.send(bytes).await;
    wire.reply().await
}

/// The bytes of an order, with these headers beside those that it needs.
pub fn order(token: &str, key: &str, more: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!(
        "POST /api/v1/orders HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nidempotency-key: {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n{more}\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}
