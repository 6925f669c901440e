//! One module per capture type: each opens a source and lends its packets to a sink.
//!
//! A collector knows nothing of who declared the capture or where flows end. Opening and reading
//! are apart: once a reader is open the kernel queues what arrives, and only then may a capture say
//! that it is active.

pub mod afpacket;
pub mod bpf;
mod capture_type;
mod collector;
pub mod early;
mod error;
mod feed;
mod listen;
mod namespace;
mod narrow;
mod node_types;
mod packet_socket;
pub mod pcap;
pub mod pcapsocket;
pub mod sflow;
mod stop;
mod tally;
mod unavailable;

use std::sync::Arc;

pub use capture_type::{CaptureType, UnknownCaptureType};
pub use collector::{CaptureRequest, Collector, Interface, NotYet, Reader};
pub use early::{Coverage, EarlyPackets, EarlySocket, EarlyWatch};
pub use error::CollectError;
pub use unavailable::Unavailable;

use flowtap_flow::ledger::Ledger;
use flowtap_flow::point::Points;
use tokio_util::sync::CancellationToken;

/// What a running reader works with.
#[derive(Clone)]
pub struct ReaderContext {
    /// Opens sinks, one for each node that packets are seen of.
    pub points: Arc<dyn Points>,
    /// The capture's counters: a reader counts what it received, filtered, and what was lost before
    /// a sink had it; sinks count what they kept and could not decode.
    pub ledger: Arc<Ledger>,
    /// Fires when the reader shall stop taking in, hand on what it has, flush its sinks and return.
    pub stop: CancellationToken,
}
