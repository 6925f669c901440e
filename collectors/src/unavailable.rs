//! Capture types that are known by name and not built in: they say what to use in their place.

use crate::{CaptureRequest, CaptureType, CollectError, Collector, Interface, NotYet, Reader};

/// A capture type that this flowtap does not have.
#[derive(Clone, Copy, Debug)]
pub struct Unavailable {
    capture_type: CaptureType,
    reason: &'static str,
}

impl Unavailable {
    /// `ebpf`.
    #[must_use]
    pub const fn ebpf() -> Self {
        Self {
            capture_type: CaptureType::Ebpf,
            reason: "this flowtap has no eBPF program built in; use afpacket, which sees the same packets of the \
                     interface and keeps raw packets too",
        }
    }

    /// `ovsmirror`.
    #[must_use]
    pub const fn ovs_mirror() -> Self {
        Self {
            capture_type: CaptureType::OvsMirror,
            reason: "this flowtap does not set up mirrors in Open vSwitch; use afpacket on the port's interface, \
                     one step further in the graph: append .Out('Type', Regex('veth|tun|internal')) to the query",
        }
    }

    /// `ovssflow`.
    #[must_use]
    pub const fn ovs_sflow() -> Self {
        Self {
            capture_type: CaptureType::OvsSflow,
            reason: "this flowtap does not set up sFlow in Open vSwitch; let the bridge send to flowtap's sFlow \
                     port: ovs-vsctl -- --id=@s create sflow agent=lo target=\\\"127.0.0.1:6343\\\" sampling=1 \
                     header=512 polling=10 -- set bridge BRIDGE sflow=@s; or use afpacket on the bridge's \
                     interfaces",
        }
    }
}

impl Collector for Unavailable {
    fn capture_type(&self) -> CaptureType {
        self.capture_type
    }

    fn support(&self) -> Result<(), String> {
        Err(self.reason.to_owned())
    }

    fn accepts(&self, _interface: &Interface) -> Result<(), NotYet> {
        Err(NotYet::Never(self.reason.to_owned()))
    }

    fn open(&self, _request: CaptureRequest) -> Result<Box<dyn Reader>, CollectError> {
        Err(CollectError::Unavailable(self.reason))
    }
}
