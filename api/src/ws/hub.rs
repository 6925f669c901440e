//! Who is connected.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flowtap_flow::timestamp::Timestamp;

use super::handshake::Handshake;
use crate::v1::time::to_rfc3339;
use crate::wire;

/// Clients that only hear: some 100 KiB each with their buffers.
const MAX_SUBSCRIBERS: usize = 256;
/// Clients that speak.
const MAX_PUBLISHERS: usize = 64;

/// What a client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Endpoint {
    Subscriber,
    Publisher,
    PubSub,
}

impl Endpoint {
    pub(crate) const ALL: [Self; 3] = [Self::Subscriber, Self::Publisher, Self::PubSub];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Subscriber => "subscriber",
            Self::Publisher => "publisher",
            Self::PubSub => "pubsub",
        }
    }

    pub(super) fn hears(self) -> bool {
        self != Self::Publisher
    }

    pub(super) fn speaks(self) -> bool {
        self != Self::Subscriber
    }
}

/// Why a client may not join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Another one has its name.
    Taken,
    /// There are too many.
    Full,
}

/// Everybody who is connected.
#[derive(Default)]
pub(crate) struct Hub {
    clients: Mutex<BTreeMap<(Endpoint, String), wire::Connection>>,
    pub(super) counters: Counters,
}

/// What happened since the start.
#[derive(Default)]
pub(super) struct Counters {
    /// Messages of clients that were carried out.
    pub(super) taken: AtomicU64,
    /// Messages of clients that were refused.
    pub(super) refused: AtomicU64,
    /// Clients that were disconnected because they did not read, or did not answer.
    pub(super) dropped: AtomicU64,
    /// Clients that fell behind and were sent the graph anew.
    pub(super) resynced: AtomicU64,
}

/// [`Counters`] at one moment.
pub(crate) struct Counts {
    pub(crate) taken: u64,
    pub(crate) refused: u64,
    pub(crate) dropped: u64,
    pub(crate) resynced: u64,
}

impl Hub {
    /// Takes a client in, for as long as its seat lives. Whoever speaks is known by its name on both
    /// endpoints for that: what it makes is found by it.
    pub(super) fn join(
        self: &Arc<Self>,
        endpoint: Endpoint,
        handshake: &Handshake,
        peer: Option<SocketAddr>,
    ) -> Result<Seat, Refused> {
        let mut clients = self.clients();
        let is_rival = |other: Endpoint| other == endpoint || other.speaks() && endpoint.speaks();
        let mut rivals = clients.keys().filter(|(other, _)| is_rival(*other)).peekable();
        let max = if endpoint.speaks() {
            MAX_PUBLISHERS
        } else {
            MAX_SUBSCRIBERS
        };
        if rivals.clone().any(|(_, host)| *host == handshake.host) {
            return Err(Refused::Taken);
        }
        if rivals.by_ref().count() >= max {
            return Err(Refused::Full);
        }
        let connection = wire::Connection {
            service_type: handshake.client_type.clone(),
            client_protocol: "json".to_owned(),
            addr: peer.map(|peer| peer.ip().to_string()).unwrap_or_default(),
            port: peer.map(|peer| peer.port()).unwrap_or_default(),
            is_connected: true,
            connect_time: to_rfc3339(Timestamp::now()),
        };
        let key = (endpoint, handshake.host.clone());
        clients.insert(key.clone(), connection);
        Ok(Seat {
            hub: Arc::clone(self),
            key,
        })
    }

    /// Who speaks, by name.
    pub(crate) fn publishers(&self) -> BTreeMap<String, wire::Connection> {
        self.those(Endpoint::speaks)
    }

    /// Who hears, by name.
    pub(crate) fn subscribers(&self) -> BTreeMap<String, wire::Connection> {
        self.those(Endpoint::hears)
    }

    /// How many are connected to `endpoint`.
    pub(crate) fn count(&self, endpoint: Endpoint) -> usize {
        self.clients()
            .keys()
            .filter(|(other, _)| *other == endpoint)
            .count()
    }

    /// What happened since the start.
    pub(crate) fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            taken: read(&self.counters.taken),
            refused: read(&self.counters.refused),
            dropped: read(&self.counters.dropped),
            resynced: read(&self.counters.resynced),
        }
    }

    fn those(&self, wanted: impl Fn(Endpoint) -> bool) -> BTreeMap<String, wire::Connection> {
        let clients = self.clients();
        let wanted = clients.iter().filter(|((endpoint, _), _)| wanted(*endpoint));
        wanted
            .map(|((_, host), connection)| (host.clone(), connection.clone()))
            .collect()
    }

    fn clients(&self) -> MutexGuard<'_, BTreeMap<(Endpoint, String), wire::Connection>> {
        // Each change is one insertion or removal: it is whole, whoever panicked.
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client's place. Dropped, its name is free again.
pub(super) struct Seat {
    hub: Arc<Hub>,
    key: (Endpoint, String),
}

impl Seat {
    pub(super) fn counters(&self) -> &Counters {
        &self.hub.counters
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.hub.clients().remove(&self.key);
    }
}
