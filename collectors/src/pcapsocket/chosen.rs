//! The `pcapsocket` capture type at a chosen node: a port of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;

use super::{PcapSocket, PcapSocketOptions, PcapSocketReader};
use crate::listen::{block_on, listen};
use crate::narrow::Narrow;
use crate::{
    CaptureRequest, CaptureType, CollectError, Collector, Interface, NotYet, Reader, ReaderContext, bpf,
};

/// Takes capture streams for a node: each capture listens on a TCP port, and what comes in is shown at
/// the node. Filter and snaplen apply.
#[derive(Clone, Copy, Debug)]
pub struct PcapSocketCollector {
    /// Where captures listen; loopback unless someone said otherwise, for whoever connects is believed.
    pub bind: IpAddr,
    /// Connections of one capture at once.
    pub max_clients: usize,
}

impl PcapSocketCollector {
    /// Where a port is looked for when the user names none.
    pub const PORTS: RangeInclusive<u16> = 8_100..=8_132;
}

impl Default for PcapSocketCollector {
    fn default() -> Self {
        Self {
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            max_clients: PcapSocketOptions::DEFAULT_MAX_CLIENTS,
        }
    }
}

impl Collector for PcapSocketCollector {
    fn capture_type(&self) -> CaptureType {
        CaptureType::PcapSocket
    }

    fn support(&self) -> Result<(), String> {
        Ok(())
    }

    fn accepts(&self, interface: &Interface) -> Result<(), NotYet> {
        self.capture_type().check_node(interface)
    }

    fn open(&self, request: CaptureRequest) -> Result<Box<dyn Reader>, CollectError> {
        bpf::check(request.filter.as_deref().unwrap_or_default()).map_err(CollectError::Filter)?;
        let options = PcapSocketOptions {
            node_tid: request.interface.node_tid.clone(),
            max_clients: self.max_clients,
        };
        let bind = |address| PcapSocket::bind(address, options.clone());
        let reader = listen("TCP", self.bind, request.port, Self::PORTS, bind)?;
        Ok(Box::new(Chosen { reader, request }))
    }
}

struct Chosen {
    reader: PcapSocketReader,
    request: CaptureRequest,
}

impl Reader for Chosen {
    fn run(self: Box<Self>, context: ReaderContext) -> Result<(), CollectError> {
        let what = format!("TCP {}", self.reader.local_addr());
        block_on(&what, self.reader.run(Narrow::context(&self.request, context)))
    }

    fn listens(&self) -> Option<SocketAddr> {
        Some(self.reader.local_addr())
    }
}
