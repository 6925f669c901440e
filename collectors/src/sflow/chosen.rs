//! The `sflow` capture type at a chosen node: a port of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;

use super::{Sflow, SflowOptions, SflowReader};
use crate::listen::{block_on, listen};
use crate::narrow::Narrow;
use crate::{
    CaptureRequest, CaptureType, CollectError, Collector, Interface, NotYet, Reader, ReaderContext, bpf,
};

/// Takes sFlow for a node: each capture listens on a UDP port, and what its agents sampled is shown at
/// the node. Counters go to the nodes of the agents and their ports. Filter and snaplen apply.
#[derive(Clone, Debug)]
pub struct SflowCollector {
    /// Where captures listen; loopback unless someone said otherwise, for whoever sends is believed.
    pub bind: IpAddr,
    /// How each takes it in.
    pub options: SflowOptions,
}

impl SflowCollector {
    /// Where a port is looked for when the user names none.
    pub const PORTS: RangeInclusive<u16> = 6_345..=6_355;

    /// Captures listen on loopback.
    #[must_use]
    pub fn new(options: SflowOptions) -> Self {
        Self {
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            options,
        }
    }
}

impl Collector for SflowCollector {
    fn capture_type(&self) -> CaptureType {
        CaptureType::Sflow
    }

    fn support(&self) -> Result<(), String> {
        Ok(())
    }

    fn accepts(&self, interface: &Interface) -> Result<(), NotYet> {
        self.capture_type().check_node(interface)
    }

    fn open(&self, request: CaptureRequest) -> Result<Box<dyn Reader>, CollectError> {
        bpf::check(request.filter.as_deref().unwrap_or_default()).map_err(CollectError::Filter)?;
        let bind = |address| Sflow::bind(address, self.options.clone());
        let reader = listen("UDP", self.bind, request.port, Self::PORTS, bind)?;
        Ok(Box::new(Chosen { reader, request }))
    }
}

struct Chosen {
    reader: SflowReader,
    request: CaptureRequest,
}

impl Reader for Chosen {
    fn run(self: Box<Self>, context: ReaderContext) -> Result<(), CollectError> {
        let what = format!("UDP {}", self.reader.local_addr());
        block_on(&what, self.reader.run(Narrow::context(&self.request, context)))
    }

    fn listens(&self) -> Option<SocketAddr> {
        Some(self.reader.local_addr())
    }
}
