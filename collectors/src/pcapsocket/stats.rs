//! Who sends, who did, and what went wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use flowtap_flow::timestamp::Timestamp;
use serde::{Serialize, Serializer};
use socket2::Socket;

/// The counters of one pcap socket; they stay readable while it runs and after.
#[derive(Debug, Default)]
pub struct PcapSocketStats {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By number, which counts connections: the oldest first.
    clients: BTreeMap<u64, Weak<Client>>,
    total: u64,
    refused: u64,
    failed: u64,
    last_failed: Option<FailedClient>,
}

/// A [`PcapSocketStats`] at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PcapSocketCounters {
    /// Clients connected now, the longest first.
    pub clients: Vec<ClientStats>,
    /// Connections taken since the start.
    pub total: u64,
    /// Connections refused because too many were open.
    pub refused: u64,
    /// Connections that ended with an error.
    pub failed: u64,
    /// The latest of these.
    pub last_failed: Option<FailedClient>,
}

/// One connected client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ClientStats {
    /// Who it is.
    pub peer: Peer,
    /// When it connected.
    pub since: Timestamp,
    /// Packets it sent.
    pub packets: u64,
    /// Their bytes on the wire.
    pub bytes: u64,
}

/// A client whose connection ended with an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailedClient {
    /// Who it is.
    pub peer: Peer,
    /// When the connection ended.
    pub at: Timestamp,
    /// Why, in words for the user.
    pub error: String,
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Whoever connected from this address, by TCP.
    Address(SocketAddr),
    /// A process of this machine that hands a file over: its id, or 0 if it is in another PID namespace.
    Process(u32),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Process(id) => write!(f, "process {id}"),
        }
    }
}

impl Serialize for Peer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl PcapSocketStats {
    /// The counters now.
    #[must_use]
    pub fn snapshot(&self) -> PcapSocketCounters {
        // Let go of only after the lock: the last owner of a client takes the lock itself.
        let clients = self.open_clients();
        let state = self.lock();
        PcapSocketCounters {
            clients: clients.iter().map(|client| client.stats()).collect(),
            total: state.total,
            refused: state.refused,
            failed: state.failed,
            last_failed: state.last_failed.clone(),
        }
    }

    /// Takes a connection on, unless `limit` are open.
    pub(super) fn admit(self: &Arc<Self>, stream: Socket, peer: Peer, limit: usize) -> Option<Arc<Client>> {
        let mut state = self.lock();
        if state.clients.len() >= limit {
            state.refused += 1;
            return None;
        }
        let client = Arc::new(Client {
            number: state.total,
            peer,
            since: Timestamp::now(),
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            stream,
            stats: Arc::clone(self),
        });
        state.clients.insert(client.number, Arc::downgrade(&client));
        state.total += 1;
        Some(client)
    }

    pub(super) fn fail(&self, peer: Peer, error: String) {
        let mut state = self.lock();
        state.failed += 1;
        state.last_failed = Some(FailedClient {
            peer,
            at: Timestamp::now(),
            error,
        });
    }

    /// Shuts every open connection down.
    pub(super) fn shut_down(&self, how: Shutdown) {
        for client in self.open_clients() {
            // Fails only if the connection is gone, which is as well.
            let _ = client.stream.shutdown(how);
        }
    }

    fn open_clients(&self) -> Vec<Arc<Client>> {
        self.lock().clients.values().filter_map(Weak::upgrade).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One open connection. Dropped, it leaves the list, and then the connection closes: a client that has
/// seen the end finds its place free.
#[derive(Debug)]
pub(super) struct Client {
    number: u64,
    pub(super) peer: Peer,
    since: Timestamp,
    packets: AtomicU64,
    bytes: AtomicU64,
    pub(super) stream: Socket,
    stats: Arc<PcapSocketStats>,
}

impl Client {
    /// Publishes what it sent so far.
    pub(super) fn count(&self, packets: u64, bytes: u64) {
        self.packets.store(packets, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    fn stats(&self) -> ClientStats {
        ClientStats {
            peer: self.peer,
            since: self.since,
            packets: self.packets.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stats.lock().clients.remove(&self.number);
    }
}
