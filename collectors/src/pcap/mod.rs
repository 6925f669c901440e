//! The `pcap` collector: packets of an interface, by libpcap.
//!
//! libpcap opens an interface only while that is up, so this type waits for it and is not for the first
//! packets of a machine; `afpacket` is. It reads what `afpacket` reads, and kinds of interfaces beyond
//! that, whose packets libpcap gives a header of its own (`LINUX_SLL`).

mod reader;

use std::io;
use std::os::fd::AsFd as _;

use flowtap_flow::packet::LinkType;
use pcap::{Active, Capture, Precision};

use crate::afpacket::{is_interface, own_traffic, packet_sockets, place};
use crate::bpf::{KernelFilter, expression, from_data_link, message};
use crate::namespace::inside;
use crate::packet_socket::{attach, ignore_outgoing};
use crate::tally::Tally;
use crate::{CaptureRequest, CaptureType, CollectError, Collector, Interface, NotYet, Reader};

use reader::{PcapReader, Unfiltered};

/// How long libpcap may gather packets, in ms. Not its immediate mode: that needs room for the longest
/// packet in each place of the ring, so that one of 8 MiB holds 32 packets.
const GATHER_MS: i32 = 10;
/// The longest packet that is taken whole (libpcap's own limit).
const WHOLE: u32 = 1 << 18;

/// The `pcap` capture type.
#[derive(Clone, Copy, Debug)]
pub struct Pcap {
    /// Bytes of a capture's buffer.
    pub buffer_bytes: u32,
}

impl Pcap {
    /// As much as a capture of type `afpacket` has.
    pub const DEFAULT_BUFFER_BYTES: u32 = 8 << 20;
}

impl Default for Pcap {
    fn default() -> Self {
        Self {
            buffer_bytes: Self::DEFAULT_BUFFER_BYTES,
        }
    }
}

impl Collector for Pcap {
    fn capture_type(&self) -> CaptureType {
        CaptureType::Pcap
    }

    fn support(&self) -> Result<(), String> {
        packet_sockets()
    }

    fn accepts(&self, interface: &Interface) -> Result<(), NotYet> {
        is_interface(CaptureType::Pcap, interface)?;
        if interface.is_up {
            return Ok(());
        }
        Err(NotYet::Wait(format!(
            "`{}` is down, and libpcap opens only what is up; afpacket would not have to wait",
            interface.name
        )))
    }

    fn open(&self, request: CaptureRequest) -> Result<Box<dyn Reader>, CollectError> {
        let interface = &request.interface;
        let failed = |source| CollectError::open(&interface.name, source);
        // Knows the interface by its index, and so tells when that one is gone.
        let (anchor, hardware) = place(interface).map_err(failed)?;
        let (mut capture, link_type) = self.activate(&request, request.snaplen).map_err(failed)?;
        if !link_type.is_supported() {
            return Err(CollectError::LinkType {
                interface: interface.name.clone(),
                hardware: hardware.0,
            });
        }
        let exclude = own_traffic(&request, hardware);
        let expression =
            expression(request.filter.as_deref(), &exclude, link_type).map_err(CollectError::Filter)?;
        let (mut tally, mut unfiltered, mut cut) = (Tally::new(), None, None);
        let mut socket_filter = None;
        if let Some(expression) = &expression {
            let program = capture.compile(expression, true);
            let program = program.map_err(|error| CollectError::Filter(message(error)))?;
            let filter = KernelFilter::from_program(&program);
            let for_socket = filter.for_socket();
            // What libpcap filters by itself is in no count.
            if for_socket.is_some() {
                tally = Tally::of_filtered(interface).map_err(failed)?;
            }
            // libpcap runs a filter itself over what came before it, over packets that are cut already: it
            // refuses those whose headers are longer than what is left of them.
            let is_ours = filter.is_for_the_kernel_alone() || request.snaplen != 0;
            // With a header of its own libpcap has to change the program.
            socket_filter = for_socket.filter(|_| is_ours && link_type != LinkType::LINUX_SLL);
            if request.snaplen != 0 && socket_filter.is_none() {
                // For libpcap's filter whole, and cut after it.
                (capture, _) = self.activate(&request, 0).map_err(failed)?;
                cut = Some(request.snaplen);
            }
        }
        if hardware.is_loopback() {
            // libpcap does so by itself, but in this process, when they are counted already.
            ignore_outgoing(capture.as_fd()).map_err(failed)?;
        }
        if let Some(program) = socket_filter {
            attach(capture.as_fd(), &program).map_err(failed)?;
            unfiltered = Some(Unfiltered::until_now());
        } else if let Some(expression) = &expression {
            let set = capture.filter(expression, true);
            set.map_err(|error| failed(io::Error::other(message(error))))?;
        }
        tally.bind(interface.index).map_err(failed)?;
        Ok(Box::new(PcapReader {
            interface: interface.name.clone(),
            node_tid: interface.node_tid.clone(),
            link_type,
            capture,
            anchor,
            tally,
            unfiltered,
            cut,
            knows_if_dropped: interface.netns.is_none(),
        }))
    }
}

impl Pcap {
    /// A handle for packets of `snaplen` bytes, whole ones for 0.
    fn activate(&self, request: &CaptureRequest, snaplen: u32) -> io::Result<(Capture<Active>, LinkType)> {
        let name = request.interface.name.as_str();
        let snaplen = if snaplen == 0 { WHOLE } else { snaplen };
        let number = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
        let open = || {
            Capture::from_device(name)?
                .promisc(true)
                .snaplen(number(snaplen))
                .buffer_size(number(self.buffer_bytes))
                .timeout(GATHER_MS)
                .precision(Precision::Nano)
                .open()?
                .setnonblock()
        };
        inside(request.interface.netns.as_deref(), || {
            let capture = open().map_err(|error| io::Error::other(message(error)))?;
            let link_type = from_data_link(capture.get_datalink().0);
            Ok((capture, link_type))
        })
    }
}
