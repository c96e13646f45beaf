//! Ports for servers of tests.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

/// Below the ports that systems give to outgoing connections (Linux from 32768, macOS from 49152), and so is the
/// cluster bus, 10000 above. A client that keeps knocking on a killed server could otherwise be given that server's
/// port for itself, and would then keep it from restarting.
const FIRST: u16 = 10_000;
const COUNT: u16 = 10_000;
const CLUSTER_BUS_OFFSET: u16 = 10_000;

/// A loopback TCP port that nobody listens on, and whose cluster bus port (10000 above) is free as well.
///
/// It belongs to this process until the process ends, so a killed server finds it again; other test processes that
/// ask here pass it over.
///
/// # Panics
/// When all of the ten thousand ports are taken.
pub fn free_port() -> u16 {
    static TAKEN: Mutex<Option<HashMap<u16, Option<File>>>> = Mutex::new(None);

    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    let taken = taken.get_or_insert_default();
    let start = (RandomState::new().hash_one(std::process::id()) % u64::from(COUNT)) as u16;
    for step in 0..COUNT {
        let port = FIRST + (start + step) % COUNT;
        if taken.contains_key(&port) || !is_free(port) || !is_free(port + CLUSTER_BUS_OFFSET) {
            continue;
        }
        if let Claim::Ours(lock) = claim(port) {
            taken.insert(port, lock);
            return port;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT);
}

enum Claim {
    /// Ours; the file is missing where the lock could not be made (another user's directory).
    Ours(Option<File>),
    Another,
}

/// Locks the port's file, which the kernel unlocks when this process ends.
fn claim(port: u16) -> Claim {
    let dir = std::env::temp_dir().join("stampede-testkit-ports");
    let file = fs::create_dir_all(&dir).and_then(|()| File::create(dir.join(port.to_string())));
    let Ok(file) = file else { return Claim::Ours(None) };
    match file.try_lock() {
        Ok(()) => Claim::Ours(Some(file)),
        Err(TryLockError::WouldBlock) => Claim::Another,
        Err(TryLockError::Error(_)) => Claim::Ours(None),
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map(stop_listening).is_ok()
}

/// Ends a listening socket itself, not only our handle of it: a process that is being started by another thread holds
/// a copy of every open handle until its program runs, and the kernel would go on accepting for that copy.
pub(crate) fn stop_listening(listener: TcpListener) {
    // A shutdown is an operation of any socket, which the standard library offers for streams. Where a system does
    // not know it for listeners (macOS), closing has to do.
    let _ = TcpStream::from(OwnedFd::from(listener)).shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_port_is_never_handed_out_twice() {
        let ports: Vec<u16> = (0..200).map(|_| free_port()).collect();
        let distinct: HashSet<u16> = ports.iter().copied().collect();
        assert_eq!(distinct.len(), ports.len());
    }

    #[test]
    fn a_port_that_is_listened_on_is_passed_over() {
        let port = free_port();
        assert!(is_free(port));
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a free port");
        assert!(!is_free(port));
    }
}
