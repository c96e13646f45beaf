//! How many connections there are, and which of them gives way when there are too many.
//!
//! A client that opens connections and sends nothing, or a byte now and then, must not keep others out. So a full house
//! refuses nobody as long as somebody in it keeps us waiting: those that have done so for longest are closed. Only when
//! every connection has an order of ours in hand is a new one turned away.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

use crate::metrics::{ClosedEarly, ConnectionMetrics};

/// One in so many connections is closed when there is no room, so that looking for them costs little for each.
const SHARE: usize = 64;

/// The connections of one listener.
pub(super) struct Connections {
    max: usize,
    header_max_bytes: usize,
    open: Mutex<HashMap<u64, Arc<Connection>>>,
    turns: Turns,
    stopping: Arc<AtomicBool>,
    metrics: ConnectionMetrics,
}

/// Counts connections and requests: what has a lower number has been waited for longer.
#[derive(Clone, Default)]
struct Turns(Arc<AtomicU64>);

/// What is known of one connection.
pub(super) struct Connection {
    id: u64,
    turns: Turns,
    /// Whether all connections are to end with their next answer.
    stopping: Arc<AtomicBool>,
    /// When it began to send what it sends now: its opening, or the end of its last request.
    turn: AtomicU64,
    /// Whether the client has to do something before we can.
    waits_for_client: AtomicBool,
    /// Whether a part of the last request was left unread.
    left_unread: AtomicBool,
    gives_way: AtomicBool,
    waker: AtomicWaker,
}

/// A place among the connections; given back when it is dropped.
pub(super) struct Place {
    connections: Arc<Connections>,
    connection: Arc<Connection>,
}

impl Connections {
    /// Room for `max` connections, until all are to end with their next answer, which `stopping` says.
    pub fn new(max: usize, header_max_bytes: usize, stopping: Arc<AtomicBool>) -> Arc<Self> {
        let (open, turns, metrics) = (Mutex::default(), Turns::default(), ConnectionMetrics::new(max));
        Arc::new(Self { max, header_max_bytes, open, turns, stopping, metrics })
    }

    /// A place for a new connection; `None` if there is none and nobody can be made to give one up.
    pub fn admit(self: &Arc<Self>) -> Option<Place> {
        let mut open = self.open.lock();
        if open.len() >= self.max && !self.make_room(&mut open) {
            self.metrics.closed_early(ClosedEarly::Refused, 1);
            return None;
        }
        let turn = self.turns.next();
        let connection = Arc::new(Connection {
            id: turn,
            turns: self.turns.clone(),
            stopping: Arc::clone(&self.stopping),
            turn: AtomicU64::new(turn),
            waits_for_client: AtomicBool::new(true),
            left_unread: AtomicBool::new(false),
            gives_way: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        });
        open.insert(connection.id, Arc::clone(&connection));
        self.metrics.open(open.len());
        Some(Place { connections: Arc::clone(self), connection })
    }

    /// Closes some of the connections that are waited for; whether there were any.
    fn make_room(&self, open: &mut HashMap<u64, Arc<Connection>>) -> bool {
        let waits = |connection: &&Arc<Connection>| connection.waits_for_client.load(Ordering::Relaxed);
        let mut waiting: Vec<(u64, u64)> = open
            .values()
            .filter(waits)
            .map(|connection| (connection.turn.load(Ordering::Relaxed), connection.id))
            .collect();
        let count = (self.max / SHARE).clamp(1, waiting.len().max(1));
        if waiting.len() > count {
            waiting.select_nth_unstable(count);
            waiting.truncate(count);
        }
        for (_, id) in &waiting {
            if let Some(connection) = open.remove(id) {
                connection.give_way();
            }
        }
        self.metrics.closed_early(ClosedEarly::GaveWay, waiting.len());
        !waiting.is_empty()
    }
}

impl Turns {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

impl Connection {
    /// Its body is waited for, or no more.
    pub fn wait_for_body(&self, waits: bool) {
        self.waits_for_client.store(waits, Ordering::Relaxed);
    }

    /// A part of what the client sends will not be read.
    pub fn leave_unread(&self) {
        self.left_unread.store(true, Ordering::Relaxed);
    }

    /// Whether a part of the last request was left unread.
    pub fn has_left_unread(&self) -> bool {
        self.left_unread.load(Ordering::Relaxed)
    }

    /// Whether the process is about to stop, so that each connection ends with its next answer.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    fn give_way(&self) {
        self.gives_way.store(true, Ordering::Release);
        self.waker.wake();
    }
}

impl Place {
    /// The connection.
    pub fn get(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Whether the connection has to be closed for another.
    pub fn gives_way(&self) -> bool {
        self.connection.gives_way.load(Ordering::Acquire)
    }

    /// The same of a task that waits: if not, it is woken when the connection has to be closed.
    pub fn gives_way_or_wakes(&self, waker: &Waker) -> bool {
        self.connection.waker.register(waker);
        self.gives_way()
    }

    /// The most bytes of request line and headers.
    pub fn header_max_bytes(&self) -> usize {
        self.connections.header_max_bytes
    }

    /// What is counted.
    pub fn metrics(&self) -> &ConnectionMetrics {
        &self.connections.metrics
    }
}

/// Our turn, from a request's arrival until it is answered or given up; then it is the client's again.
pub(super) struct Turn(Arc<Connection>);

impl Turn {
    /// A request has arrived.
    pub fn begin(connection: &Arc<Connection>) -> Self {
        connection.left_unread.store(false, Ordering::Relaxed);
        connection.waits_for_client.store(false, Ordering::Relaxed);
        Self(Arc::clone(connection))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.turn.store(self.0.turns.next(), Ordering::Relaxed);
        self.0.waits_for_client.store(true, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock();
        open.remove(&self.connection.id);
        self.connections.metrics.open(open.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gave_way(place: &Place) -> bool {
        place.gives_way()
    }

    #[test]
    fn a_task_that_waits_is_woken_when_its_connection_gives_way() {
        struct Woken(AtomicBool);
        impl std::task::Wake for Woken {
            fn wake(self: Arc<Self>) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let connections = Connections::new(1, 1_024, Arc::default());
        let (place, woken) = (connections.admit().expect("room"), Arc::new(Woken(AtomicBool::new(false))));
        assert!(!place.gives_way_or_wakes(&Waker::from(Arc::clone(&woken))));
        let _new = connections.admit().expect("room was made");
        assert!(woken.0.load(Ordering::Relaxed) && place.gives_way());
    }

    #[test]
    fn a_full_house_closes_the_connection_that_keeps_us_waiting_longest() {
        let connections = Connections::new(3, 1_024, Arc::default());
        let places: Vec<Place> = (0..3).map(|_| connections.admit().expect("room")).collect();
        // The first has sent a request, and been answered since: the second has been waited for longer.
        drop(Turn::begin(places[0].get()));
        let _new = connections.admit().expect("room was made");
        assert_eq!(places.iter().map(gave_way).collect::<Vec<_>>(), [false, true, false]);
    }

    #[test]
    fn whoever_is_being_answered_is_never_closed() {
        let connections = Connections::new(2, 1_024, Arc::default());
        let busy: Vec<Place> = (0..2).map(|_| connections.admit().expect("room")).collect();
        let _turns: Vec<Turn> = busy.iter().map(|place| Turn::begin(place.get())).collect();
        assert!(connections.admit().is_none(), "everybody is busy");
        busy[1].get().wait_for_body(true);
        let _new = connections.admit().expect("a client that does not send its body gives way");
        assert_eq!(busy.iter().map(gave_way).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn a_place_is_given_back() {
        let connections = Connections::new(1, 1_024, Arc::default());
        for _ in 0..3 {
            let place = connections.admit().expect("room");
            let _turn = Turn::begin(place.get());
            assert!(connections.admit().is_none());
        }
        assert!(connections.open.lock().is_empty());
    }
}
