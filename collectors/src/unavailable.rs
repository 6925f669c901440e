//! Capture types that are known by name and not built in: they say what to use in their place.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::{CaptureRequest, CaptureType, CollectError, Collector, Interface, NotYet, Reader};

/// A capture type that this flowtap does not have.
#[derive(Clone, Debug)]
pub struct Unavailable {
    capture_type: CaptureType,
    reason: Cow<'static, str>,
}

impl Unavailable {
    /// `ebpf`.
    #[must_use]
    pub fn ebpf() -> Self {
        Self {
            capture_type: CaptureType::Ebpf,
            reason:
                "this flowtap has no eBPF program built in; use afpacket, which sees the same packets of the \
                     interface and keeps raw packets too"
                    .into(),
        }
    }

    /// `ovsmirror`.
    #[must_use]
    pub fn ovs_mirror() -> Self {
        Self {
            capture_type: CaptureType::OvsMirror,
            reason: "this flowtap does not set up mirrors in Open vSwitch; use afpacket on the port's interface, \
                     one step further in the graph: append .Out('Type', Regex('veth|tun|internal')) to the query"
                .into(),
        }
    }

    /// `ovssflow`, where flowtap listens for sFlow at `listens`, or does not.
    #[must_use]
    pub fn ovs_sflow(listens: Option<SocketAddr>) -> Self {
        let (start, target) = match listens {
            Some(address) => ("", reachable(address)),
            None => (
                "start flowtap with --sflow, and ",
                SocketAddr::from((Ipv4Addr::LOCALHOST, 6_343)),
            ),
        };
        Self {
            capture_type: CaptureType::OvsSflow,
            reason: format!(
                "this flowtap does not set up sFlow in Open vSwitch; {start}let the bridge send to flowtap's sFlow \
                 port: ovs-vsctl -- --id=@s create sflow agent=lo target=\\\"{target}\\\" sampling=1 header=512 \
                 polling=10 -- set bridge BRIDGE sflow=@s; or use afpacket on the bridge's interfaces"
            )
            .into(),
        }
    }
}

/// Where a program of this host sends to for what listens at `address`.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

impl Collector for Unavailable {
    fn capture_type(&self) -> CaptureType {
        self.capture_type
    }

    fn support(&self) -> Result<(), String> {
        Err(self.reason.to_string())
    }

    fn accepts(&self, _interface: &Interface) -> Result<(), NotYet> {
        Err(NotYet::Never(self.reason.to_string()))
    }

    fn open(&self, _request: CaptureRequest) -> Result<Box<dyn Reader>, CollectError> {
        Err(CollectError::Unavailable(self.reason.to_string()))
    }
}
