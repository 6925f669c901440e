//! What capture types have in common: a [`Collector`] for each type, a [`Reader`] for each open source.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use crate::early::EarlyPackets;
use crate::{CaptureType, CollectError, ReaderContext};

/// Where packets can be captured. Taken from the topology by whoever declares captures: a collector
/// knows no graph.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its name now.
    pub name: String,
    /// Its index within its namespace; 0 if it has none, as ports of a userspace switch.
    pub index: u32,
    /// A path to its network namespace, `None` if that is flowtap's own.
    pub netns: Option<PathBuf>,
    /// Whether it is administratively up.
    pub is_up: bool,
    /// TID of its node: packets are said to be seen there.
    pub node_tid: Arc<str>,
    /// `Type` of its node.
    pub node_type: String,
    /// Its IPv4 addresses.
    pub ipv4: Vec<IpAddr>,
}

/// What shall be captured, and where.
#[derive(Clone, Debug, Default)]
pub struct CaptureRequest {
    /// Where.
    pub interface: Interface,
    /// Which packets, as pcap-filter(7) says; `None` and empty for all.
    pub filter: Option<String>,
    /// Bytes of each packet at most, a VLAN tag included; 0 for whole packets.
    pub snaplen: u32,
    /// Flowtap's own traffic, which is left out: packets from or to one of these.
    pub exclude: Vec<SocketAddr>,
    /// Where `pcapsocket` and `sflow` shall listen; `None` for the next free port of their range.
    pub port: Option<u16>,
    /// What came in before, from the moment that the interface appeared.
    pub early: Option<EarlyPackets>,
}

/// Why a type cannot capture at an interface, in words for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotYet {
    /// It can later, once what the text says has changed.
    Wait(String),
    /// It never can; the text says what can instead.
    Never(String),
}

impl NotYet {
    /// The text.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Wait(reason) | Self::Never(reason) => reason,
        }
    }
}

/// One capture type. It is inert: it answers questions and opens readers.
pub trait Collector: Send + Sync {
    /// Which.
    fn capture_type(&self) -> CaptureType;

    /// Says whether this machine and this process can run it.
    ///
    /// # Errors
    /// What is missing (a right, a part of the kernel), and what to do about it.
    fn support(&self) -> Result<(), String>;

    /// Says whether it can capture at `interface` now. Called whenever the interface changes.
    ///
    /// # Errors
    /// Why not.
    fn accepts(&self, interface: &Interface) -> Result<(), NotYet>;

    /// Opens the source. When it returns the kernel queues packets, up to its buffer, until
    /// [`Reader::run`] takes them. It may take some tens of milliseconds: call it where that may block.
    ///
    /// # Errors
    /// [`CollectError`].
    fn open(&self, request: CaptureRequest) -> Result<Box<dyn Reader>, CollectError>;
}

/// One open source.
pub trait Reader: Send {
    /// Reads until `context.stop` fires or the source ends, as an interface does that is deleted. It
    /// blocks, on a thread of its own. On a stop, it first hands on everything that has arrived.
    ///
    /// # Errors
    /// [`CollectError::Read`] if reading failed for good; what was read before has been handed on.
    fn run(self: Box<Self>, context: ReaderContext) -> Result<(), CollectError>;

    /// Where it listens, if others send to it.
    fn listens(&self) -> Option<SocketAddr> {
        None
    }
}
