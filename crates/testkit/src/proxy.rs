//! A TCP proxy that breaks connections on demand.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpListener as StdListener, TcpStream as StdStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, sleep, sleep_until};

use crate::port::stop_listening;
use crate::rewrite::Rewriter;

const CHUNK_BYTES: usize = 64 * 1024;
/// Chunks of one direction of one connection that may be under way; the sender waits beyond it.
const CHUNKS_UNDER_WAY: usize = 1_024;

/// A TCP proxy in front of one loopback port. All of its connections end when it is dropped.
///
/// Every method takes effect before it returns: a byte that arrives afterwards meets the new state.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    acceptor: JoinHandle<()>,
    runtime: Handle,
}

#[derive(Debug)]
struct Shared {
    target_port: u16,
    listener: Mutex<Option<TcpListener>>,
    reopened: Notify,
    connections: Mutex<Connections>,
    to_server: Direction,
    to_client: Direction,
    /// What is replaced in what clients send.
    rewrites: Mutex<Vec<(String, String)>>,
}

#[derive(Debug, Default)]
struct Connections {
    open: HashMap<u64, Connection>,
    next_id: u64,
    /// Rises with every cut: a connection that was being made meanwhile is cut too.
    cuts: u64,
}

#[derive(Debug)]
struct Connection {
    client: StdStream,
    server: StdStream,
    pumps: AbortHandle,
}

/// What happens to the bytes that flow one way.
#[derive(Debug)]
struct Direction {
    delay: watch::Sender<Duration>,
    hold: watch::Sender<bool>,
}

impl Proxy {
    /// Starts a proxy in front of `target_port` on the loopback interface.
    ///
    /// # Panics
    /// When no port can be listened on.
    pub async fn start(target_port: u16) -> Proxy {
        let (port, listener) = listen_on_any_port();
        let shared = Arc::new(Shared {
            target_port,
            listener: Mutex::new(Some(listener)),
            reopened: Notify::new(),
            connections: Mutex::default(),
            to_server: Direction::open(),
            to_client: Direction::open(),
            rewrites: Mutex::default(),
        });
        let acceptor = tokio::spawn(accept(Arc::clone(&shared)));
        Proxy { port, shared, acceptor, runtime: Handle::current() }
    }

    /// The port to connect to instead of the server's.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The proxy's address for a Redis client.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Closes all connections, on both sides. What was held or delayed never arrives.
    pub fn cut(&self) {
        let mut connections = lock(&self.shared.connections);
        connections.cuts += 1;
        for (_, connection) in connections.open.drain() {
            connection.pumps.abort();
            // An end that has closed its side already is no error here.
            let _ = connection.client.shutdown(Shutdown::Both);
            let _ = connection.server.shutdown(Shutdown::Both);
        }
    }

    /// Closes the clients' side only. What they had sent still reaches the server, now or when it is released: a
    /// command whose sender has gone.
    pub fn cut_clients(&self) {
        let connections = lock(&self.shared.connections);
        for connection in connections.open.values() {
            let _ = connection.client.shutdown(Shutdown::Both);
        }
    }

    /// Refuses new connections, or accepts them again; those that exist go on.
    ///
    /// # Panics
    /// When somebody else has taken the port in between.
    pub fn refuse(&self, refuse: bool) {
        let mut listener = lock(&self.shared.listener);
        if refuse {
            close(listener.take());
        } else if listener.is_none() {
            let _runtime = self.runtime.enter();
            *listener = Some(listen(self.port).expect("the proxy's port is still free"));
            self.shared.reopened.notify_one();
        }
    }

    /// Delivers each byte to the server this much later; zero ends it for the bytes that come then.
    pub fn delay_to_server(&self, delay: Duration) {
        self.shared.to_server.delay.send_replace(delay);
    }

    /// Delivers each byte to the clients this much later; zero ends it for the bytes that come then.
    pub fn delay_to_client(&self, delay: Duration) {
        self.shared.to_client.delay.send_replace(delay);
    }

    /// Holds what clients send until it is released: they wait, and the server knows nothing.
    pub fn hold_to_server(&self, hold: bool) {
        self.shared.to_server.hold.send_replace(hold);
    }

    /// Holds the server's answers until they are released: requests take effect, and clients cannot know.
    pub fn hold_to_client(&self, hold: bool) {
        self.shared.to_client.hold.send_replace(hold);
    }

    /// Lets everything flow that is held, in both directions.
    pub fn release(&self) {
        self.hold_to_server(false);
        self.hold_to_client(false);
    }

    /// Replaces texts in what clients send by others of the same length, on connections that are made from now on.
    pub fn rewrite(&self, texts: &[(String, String)]) {
        *lock(&self.shared.rewrites) = texts.to_vec();
    }

    /// How many connections go through the proxy now.
    pub fn connections(&self) -> usize {
        lock(&self.shared.connections).open.len()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.acceptor.abort();
        close(lock(&self.shared.listener).take());
        self.cut();
    }
}

impl Direction {
    fn open() -> Direction {
        Direction { delay: watch::Sender::new(Duration::ZERO), hold: watch::Sender::new(false) }
    }
}

async fn accept(shared: Arc<Shared>) {
    loop {
        let accepted = tokio::select! {
            accepted = poll_fn(|cx| match &*lock(&shared.listener) {
                Some(listener) => listener.poll_accept(cx),
                None => Poll::Pending,
            }) => accepted,
            () = shared.reopened.notified() => continue,
        };
        match accepted {
            Ok((client, _)) => {
                let cuts = lock(&shared.connections).cuts;
                tokio::spawn(connect(Arc::clone(&shared), client, cuts));
            }
            // Out of descriptors, say: others may be given back soon.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn connect(shared: Arc<Shared>, client: TcpStream, cuts: u64) {
    // A server that is not there: the client's connection is closed, as by a proxy in front of a dead service.
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, shared.target_port)).await else { return };
    if let Err(error) = relay(&shared, client, server, cuts) {
        tracing::warn!(%error, "the proxy could not relay a connection");
    }
}

fn relay(shared: &Arc<Shared>, client: TcpStream, server: TcpStream, cuts: u64) -> io::Result<()> {
    let (client, client_handle) = with_handle(client)?;
    let (server, server_handle) = with_handle(server)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();

    let mut connections = lock(&shared.connections);
    if connections.cuts != cuts {
        return Ok(());
    }
    let id = connections.next_id;
    connections.next_id += 1;
    let rewriter = Rewriter::new(&lock(&shared.rewrites));
    let pumps = tokio::spawn({
        let shared = Arc::clone(shared);
        async move {
            tokio::join!(
                pump(from_client, to_server, &shared.to_server, rewriter),
                pump(from_server, to_client, &shared.to_client, Rewriter::new(&[])),
            );
            lock(&shared.connections).open.remove(&id);
        }
    });
    let connection = Connection { client: client_handle, server: server_handle, pumps: pumps.abort_handle() };
    connections.open.insert(id, connection);
    Ok(())
}

/// Moves bytes one way until their source ends, and then ends their target: the rest arrives first.
async fn pump(mut source: OwnedReadHalf, mut target: OwnedWriteHalf, direction: &Direction, mut rewriter: Rewriter) {
    let (queue, mut due) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS_UNDER_WAY);
    let read = async move {
        let mut buffer = vec![0; CHUNK_BYTES];
        while let Ok(length @ 1..) = source.read(&mut buffer).await {
            let at = Instant::now() + *direction.delay.borrow();
            if queue.send((at, rewriter.feed(&buffer[..length]))).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        let mut hold = direction.hold.subscribe();
        while let Some((at, bytes)) = due.recv().await {
            sleep_until(at).await;
            // The sender of the watch lives in `direction`, so waiting for it cannot fail.
            let _ = hold.wait_for(|held| !held).await;
            if target.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = target.shutdown().await;
    };
    tokio::join!(read, write);
}

/// A second handle of the same socket, to close it from outside of the tasks that use it.
fn with_handle(stream: TcpStream) -> io::Result<(TcpStream, StdStream)> {
    stream.set_nodelay(true)?;
    let stream = stream.into_std()?;
    let handle = stream.try_clone()?;
    Ok((TcpStream::from_std(stream)?, handle))
}

fn listen_on_any_port() -> (u16, TcpListener) {
    const ATTEMPTS: usize = 5;
    (0..ATTEMPTS)
        .find_map(|_| {
            let port = crate::free_port();
            listen(port).ok().map(|listener| (port, listener))
        })
        .expect("a port for the proxy")
}

fn listen(port: u16) -> io::Result<TcpListener> {
    let listener = StdListener::bind((Ipv4Addr::LOCALHOST, port))?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

fn close(listener: Option<TcpListener>) {
    if let Some(Ok(listener)) = listener.map(TcpListener::into_std) {
        stop_listening(listener);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
