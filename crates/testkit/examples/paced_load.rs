//! Places orders at a fixed rate, whatever the server does: `paced_load ADDR:PORT TOKENS DROP KEYS CONNECTIONS RATE SECONDS`.
//!
//! Each order is of another shopper (a line of the file TOKENS) and has a key of its own, which begins with KEYS. An order's
//! time counts from the moment at which it was due, not from when a connection was free for it: a server that stands still
//! delays what comes after it, and that is seen. Prints one line, `RESULT` and a JSON object. The first half second is a
//! warm-up, whose times are left out.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// What is due more often than this is sent in small heaps, as the clock of the sending thread is no finer.
const FINEST_PAUSE: Duration = Duration::from_micros(50);

const WARM_UP: Duration = Duration::from_millis(500);

/// What all connections share.
struct Load {
    address: SocketAddr,
    tokens: Vec<String>,
    body: String,
    keys: String,
    rate: f64,
    start: Instant,
    /// A permit for each order that is due.
    due: Semaphore,
    next: AtomicU64,
}

/// What came back over one connection.
#[derive(Default)]
struct Seen {
    created: u64,
    refused: u64,
    other: u64,
    errors: u64,
    times_us: Vec<u32>,
}

// One thread: waking another one costs more than it takes over.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, tokens, drop, keys, connections, rate, seconds] = &arguments[..] else {
        return Err("usage: paced_load ADDR:PORT TOKENS DROP KEYS CONNECTIONS RATE SECONDS".into());
    };
    let (connections, rate, seconds): (usize, f64, f64) = (connections.parse()?, rate.parse()?, seconds.parse()?);
    let address = address.parse()?;
    let mut streams = Vec::with_capacity(connections);
    for _ in 0..connections {
        streams.push(connect(address).await?);
    }
    let load = Arc::new(Load {
        address,
        tokens: read_tokens(tokens, (rate * seconds).round() as usize)?,
        body: format!(r#"{{"drop_id":"{drop}","quantity":1}}"#),
        keys: keys.clone(),
        rate,
        start: Instant::now() + Duration::from_millis(10),
        due: Semaphore::new(0),
        next: AtomicU64::new(0),
    });
    let running: Vec<_> = streams.into_iter().map(|stream| tokio::spawn(send_orders(load.clone(), stream))).collect();
    let pacing = std::thread::spawn({
        let load = load.clone();
        move || load.pace(connections)
    });
    let mut all = Seen::default();
    for connection in running {
        all.add(connection.await??);
    }
    pacing.join().map_err(|_| "the thread that keeps the pace ended early")?;
    all.print(load.start.elapsed());
    Ok(())
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn read_tokens(path: &str, count: usize) -> Result<Vec<String>, Box<dyn Error>> {
    let tokens = BufReader::new(File::open(path)?).lines().take(count).collect::<Result<Vec<_>, _>>()?;
    if tokens.len() < count {
        return Err(format!("{path} has {} tokens; {count} are needed", tokens.len()).into());
    }
    Ok(tokens)
}

impl Load {
    /// When an order is due.
    fn due_at(&self, order: u64) -> Instant {
        self.start + Duration::from_secs_f64(order as f64 / self.rate)
    }

    /// Says when orders are due, and at the end lets every connection know that there are no more.
    fn pace(&self, connections: usize) {
        let all = self.tokens.len() as u64;
        let mut sent = 0;
        while sent < all {
            let pause = self.due_at(sent).saturating_duration_since(Instant::now());
            std::thread::sleep(pause.max(FINEST_PAUSE));
            let due = ((self.start.elapsed().as_secs_f64() * self.rate) as u64 + 1).min(all);
            self.due.add_permits(due.saturating_sub(sent) as usize);
            sent = due.max(sent);
        }
        self.due.add_permits(connections);
    }
}

async fn send_orders(load: Arc<Load>, mut stream: TcpStream) -> io::Result<Seen> {
    let (mut seen, mut buffer) = (Seen::default(), Vec::with_capacity(4_096));
    loop {
        load.due.acquire().await.map_err(io::Error::other)?.forget();
        let order = load.next.fetch_add(1, Ordering::Relaxed);
        let Some(token) = load.tokens.get(order as usize) else { return Ok(seen) };
        match place_order(&load, &mut stream, token, order, &mut buffer).await {
            Ok(201) => seen.created += 1,
            Ok(409) => seen.refused += 1,
            Ok(_) => seen.other += 1,
            Err(_) => {
                seen.errors += 1;
                stream = connect(load.address).await?;
            }
        }
        if load.due_at(order) >= load.start + WARM_UP {
            let time_us = load.due_at(order).elapsed().as_micros();
            seen.times_us.push(u32::try_from(time_us).unwrap_or(u32::MAX));
        }
    }
}

/// Sends one order and reads its whole answer. Returns the status.
async fn place_order(
    load: &Load,
    stream: &mut TcpStream,
    token: &str,
    order: u64,
    buffer: &mut Vec<u8>,
) -> io::Result<u16> {
    let Load { address, keys, body, .. } = load;
    let request = format!(
        "POST /api/v1/orders HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nAuthorization: Bearer {token}\r\n\
         Idempotency-Key: {keys}-{order}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    buffer.clear();
    loop {
        if stream.read_buf(buffer).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if let Some((status, length)) = read_head(buffer)?
            && buffer.len() >= length
        {
            return Ok(status);
        }
    }
}

/// The status of an answer and how long it is in all, once its headers are there.
fn read_head(answer: &[u8]) -> io::Result<Option<(u16, usize)>> {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let malformed = || io::Error::new(ErrorKind::InvalidData, "an answer without a status and a length");
    let head = std::str::from_utf8(&answer[..end]).map_err(|_| malformed())?;
    let status = head.get(9..12).and_then(|status| status.parse().ok()).ok_or_else(malformed)?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    Ok(Some((status, end + 4 + length.ok_or_else(malformed)?)))
}

impl Seen {
    fn add(&mut self, other: Self) {
        self.created += other.created;
        self.refused += other.refused;
        self.other += other.other;
        self.errors += other.errors;
        self.times_us.extend(other.times_us);
    }

    fn print(mut self, duration: Duration) {
        self.times_us.sort_unstable();
        let at = |share: f64| {
            let place = (self.times_us.len() as f64 * share) as usize;
            self.times_us.get(place).or(self.times_us.last()).copied().unwrap_or(0)
        };
        let Self { created, refused, other, errors, .. } = &self;
        println!(
            "RESULT {{\"requests\": {}, \"duration_us\": {}, \"p50_us\": {}, \"p99_us\": {}, \"errors\": {errors}, \
             \"created\": {created}, \"refused\": {refused}, \"other\": {other}, \"exhausted\": 0}}",
            created + refused + other,
            duration.as_micros(),
            at(0.5),
            at(0.99),
        );
    }
}
