//! The `afpacket` collector: packets of an interface, out of a ring that the kernel fills.
//!
//! It may be opened while the interface is down and goes on when it comes up. It ends when the interface
//! is deleted or moves to another namespace. Packets that an [`EarlySocket`](crate::EarlySocket) held
//! come first.
//!
//! The ledger counts what the interface showed: packets that the filter refused inside the kernel are
//! counted by a second socket, which never queues them (their bytes are not known), and packets that the
//! ring had no room for are the kernel's own count.

mod handover;
mod reader;
mod ring;

use std::io;
use std::net::SocketAddr;

use flowtap_flow::packet::LinkType;

use crate::bpf::KernelFilter;
use crate::early::keep_stamps_on;
use crate::namespace::inside;
use crate::packet_socket::{Hardware, PacketSocket};
use crate::tally::Tally;
use crate::{CaptureRequest, CaptureType, CollectError, Collector, Interface, NotYet, Reader};

use handover::Handover;
use reader::AfPacketReader;
use ring::Ring;

/// The `afpacket` capture type.
#[derive(Clone, Copy, Debug)]
pub struct AfPacket {
    /// Bytes of a capture's ring, which the kernel never swaps out.
    pub ring_bytes: usize,
}

impl AfPacket {
    /// 8 MiB: at a million small packets a second, the time for which a busy machine may not schedule a
    /// reader (0.1 s).
    pub const DEFAULT_RING_BYTES: usize = 8 << 20;
}

impl Default for AfPacket {
    fn default() -> Self {
        Self {
            ring_bytes: Self::DEFAULT_RING_BYTES,
        }
    }
}

impl Collector for AfPacket {
    fn capture_type(&self) -> CaptureType {
        CaptureType::AfPacket
    }

    fn support(&self) -> Result<(), String> {
        keep_stamps_on();
        packet_sockets()
    }

    fn accepts(&self, interface: &Interface) -> Result<(), NotYet> {
        is_interface(CaptureType::AfPacket, interface)
    }

    fn open(&self, request: CaptureRequest) -> Result<Box<dyn Reader>, CollectError> {
        keep_stamps_on();
        let interface = &request.interface;
        let failed = |source| CollectError::open(&interface.name, source);
        let (socket, hardware) = place(interface).map_err(failed)?;
        let link_type = link_type(interface, hardware)?;
        let filter = KernelFilter::compile(
            request.filter.as_deref(),
            &own_traffic(&request, hardware),
            link_type,
            request.snaplen,
        )
        .map_err(CollectError::Filter)?;
        let armed = Armed::new(self, &request, socket, filter).map_err(failed)?;
        let reader = armed.bind(&request, link_type).map_err(failed)?;
        Ok(Box::new(reader))
    }
}

/// A ring that is set up and not bound yet.
struct Armed {
    ring: Ring,
    tally: Tally,
    filter: Option<KernelFilter>,
    filters_here: bool,
}

impl Armed {
    fn new(
        collector: &AfPacket,
        request: &CaptureRequest,
        socket: PacketSocket,
        filter: Option<KernelFilter>,
    ) -> io::Result<Self> {
        let program = filter.as_ref().map(KernelFilter::for_socket);
        let filters_here = matches!(program, Some(None));
        let mut tally = Tally::new();
        if let Some(Some(program)) = &program {
            // Before the ring, so that it holds nothing that the filter refuses.
            socket.attach(program)?;
            tally = Tally::of_filtered(&request.interface)?;
        }
        socket.set_promiscuous(request.interface.index)?;
        Ok(Self {
            ring: Ring::new(socket, collector.ring_bytes)?,
            tally,
            filter,
            filters_here,
        })
    }

    /// From here on the ring takes packets.
    fn bind(self, request: &CaptureRequest, link_type: LinkType) -> io::Result<AfPacketReader> {
        let index = request.interface.index;
        let bind = || {
            self.ring.socket().bind(index)?;
            self.tally.bind(index)
        };
        let early = request.early.as_ref().filter(|early| early.index() == index);
        let handover = match early {
            Some(early) => Some(Handover::new(early, request.snaplen, bind)?),
            None => bind().map(|()| None)?,
        };
        Ok(AfPacketReader {
            interface: request.interface.name.clone(),
            node_tid: request.interface.node_tid.clone(),
            link_type,
            snaplen: request.snaplen,
            filter: self.filter,
            filters_here: self.filters_here,
            handover,
            ring: self.ring,
            tally: self.tally,
        })
    }
}

/// A socket that knows its interface and sees nothing yet.
pub(crate) fn place(interface: &Interface) -> io::Result<(PacketSocket, Hardware)> {
    inside(interface.netns.as_deref(), || {
        let socket = PacketSocket::new()?;
        let hardware = socket.place(interface.index)?;
        Ok((socket, hardware))
    })
}

/// What of flowtap's own traffic can come by: that of loopback addresses nowhere else. A capture that has
/// nothing to leave out needs no filter.
pub(crate) fn own_traffic(request: &CaptureRequest, hardware: Hardware) -> Vec<SocketAddr> {
    let comes_by = |address: &&SocketAddr| hardware.is_loopback() || !address.ip().is_loopback();
    request.exclude.iter().filter(comes_by).copied().collect()
}

/// What packets of the interface begin with.
pub(crate) fn link_type(interface: &Interface, hardware: Hardware) -> Result<LinkType, CollectError> {
    hardware.link_type().ok_or_else(|| CollectError::LinkType {
        interface: interface.name.clone(),
        hardware: hardware.0,
    })
}

/// Says whether this process may open packet sockets.
pub(crate) fn packet_sockets() -> Result<(), String> {
    PacketSocket::new().map(drop).map_err(|error| {
        let what_to_do = match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => {
                "run flowtap as root, or give it the right: `setcap cap_net_raw,cap_net_admin,cap_sys_admin+ep` on its file"
            }
            Some(libc::EAFNOSUPPORT) => "the kernel has no packet sockets: it needs CONFIG_PACKET",
            _ => "see packet(7)",
        };
        format!("packet sockets cannot be opened ({error}); {what_to_do}")
    })
}

/// Says whether the interface is one that the kernel knows, of a type that the capture type takes.
pub(crate) fn is_interface(capture_type: CaptureType, interface: &Interface) -> Result<(), NotYet> {
    capture_type.check_node(interface)?;
    if interface.index == 0 {
        return Err(NotYet::Wait(format!(
            "`{}` is no interface of the kernel yet: it has no index",
            interface.name
        )));
    }
    Ok(())
}

/// The first `snaplen` bytes, all if that is 0.
fn cut(data: &[u8], snaplen: u32) -> &[u8] {
    let snaplen = usize::try_from(snaplen).unwrap_or(usize::MAX);
    if snaplen == 0 {
        data
    } else {
        data.get(..snaplen).unwrap_or(data)
    }
}
