//! Packets taken one by one from a socket without a ring.

use std::io;
use std::mem;
use std::os::fd::AsRawFd;

use flowtap_flow::timestamp::Timestamp;

use super::{PacketSocket, length_of};

/// The longest packet that is taken whole: offloads make packets of 64 KiB and more out of many.
const LONGEST: usize = 1 << 18;

/// An 802.1Q or 802.1ad tag that the kernel took off a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tag {
    /// EtherType: 0x8100, 0x88a8.
    pub(crate) tpid: u16,
    /// Priority and VLAN.
    pub(crate) tci: u16,
}

impl Tag {
    /// Bytes of a tag in a packet, which stand after the two MAC addresses.
    pub(crate) const BYTES: usize = 4;
    /// Where they stand.
    pub(crate) const OFFSET: usize = 12;

    /// From what the kernel tells, `status` being `TP_STATUS_*`.
    pub(crate) fn from_kernel(status: u32, tci: u16, tpid: u16) -> Option<Self> {
        const VALID: u32 = libc::TP_STATUS_VLAN_VALID;
        const TPID_VALID: u32 = libc::TP_STATUS_VLAN_TPID_VALID;
        // Drivers of old said "valid" by a TCI that is not zero.
        if status & VALID == 0 && tci == 0 {
            return None;
        }
        let tpid = if status & TPID_VALID == 0 { 0x8100 } else { tpid };
        Some(Self { tpid, tci })
    }

    /// As it stands in a packet.
    pub(crate) fn bytes(self) -> [u8; Self::BYTES] {
        let ([a, b], [c, d]) = (self.tpid.to_be_bytes(), self.tci.to_be_bytes());
        [a, b, c, d]
    }
}

/// One packet as the kernel gave it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    /// When it came.
    pub(crate) timestamp: Timestamp,
    /// Its length on the wire, without the tag.
    pub(crate) len: u32,
    /// The tag that was taken off.
    pub(crate) tag: Option<Tag>,
    /// `PACKET_HOST`, `PACKET_OUTGOING`, …
    pub(crate) direction: u8,
    /// EtherType, in host byte order.
    pub(crate) protocol: u16,
    /// The interface.
    pub(crate) index: u32,
    /// Its bytes, without the tag.
    pub(crate) data: &'a [u8],
}

/// Room for the control messages of a packet: time stamp and auxiliary data take 80 bytes.
#[repr(C, align(8))]
struct Control([u8; 256]);

/// A buffer that packets are taken into.
pub(crate) struct Receiver {
    data: Box<[u8]>,
    control: Control,
}

impl Default for Receiver {
    fn default() -> Self {
        Self {
            data: vec![0; LONGEST].into_boxed_slice(),
            control: Control([0; 256]),
        }
    }
}

impl Receiver {
    /// The next packet that waits at `socket`, `None` if none does.
    ///
    /// # Errors
    /// `ENETDOWN` once, when the interface went down.
    pub(crate) fn next(&mut self, socket: &PacketSocket) -> io::Result<Option<Frame<'_>>> {
        loop {
            match self.receive(socket) {
                Ok((length, address, auxiliary)) => {
                    let data = &self.data[..length];
                    let len = u32::try_from(length).unwrap_or(u32::MAX);
                    return Ok(Some(Frame {
                        // The kernel stamps what it had not stamped when it is read.
                        timestamp: auxiliary.timestamp.unwrap_or_else(Timestamp::now),
                        len: auxiliary.len.unwrap_or(len).max(len),
                        tag: auxiliary.tag,
                        direction: address.sll_pkttype,
                        protocol: u16::from_be(address.sll_protocol),
                        index: u32::try_from(address.sll_ifindex).unwrap_or_default(),
                        data,
                    }));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    #[expect(unsafe_code, reason = "recvmsg, and C structures that begin as zeros")]
    fn receive(&mut self, socket: &PacketSocket) -> io::Result<(usize, libc::sockaddr_ll, Auxiliary)> {
        // SAFETY: both are plain C structures, for which all-zero bytes are valid.
        let (mut address, mut header): (libc::sockaddr_ll, libc::msghdr) =
            unsafe { (mem::zeroed(), mem::zeroed()) };
        let mut vector = libc::iovec {
            iov_base: self.data.as_mut_ptr().cast(),
            iov_len: self.data.len(),
        };
        header.msg_name = (&raw mut address).cast();
        header.msg_namelen = length_of::<libc::sockaddr_ll>();
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        header.msg_control = self.control.0.as_mut_ptr().cast();
        header.msg_controllen = self.control.0.len();
        // SAFETY: every pointer in `header` is that of a live buffer of the length beside it, lent to
        // this call alone.
        let result = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT) };
        let length = usize::try_from(result).map_err(|_| io::Error::last_os_error())?;
        Ok((length.min(self.data.len()), address, Auxiliary::read(&header)))
    }
}

/// What stands beside a packet.
#[derive(Default)]
struct Auxiliary {
    timestamp: Option<Timestamp>,
    len: Option<u32>,
    tag: Option<Tag>,
}

impl Auxiliary {
    #[expect(unsafe_code, reason = "control messages are a list inside a buffer")]
    fn read(header: &libc::msghdr) -> Self {
        let mut read = Self::default();
        // SAFETY: recvmsg filled `header`: msg_control points at a live, aligned `Control`, of which the
        // kernel wrote msg_controllen bytes; CMSG_FIRSTHDR and CMSG_NXTHDR stay inside and end with null.
        let mut message = unsafe { libc::CMSG_FIRSTHDR(header) };
        while !message.is_null() {
            // SAFETY: not null, so it points at a cmsghdr inside the buffer.
            let (level, kind, length) =
                unsafe { ((*message).cmsg_level, (*message).cmsg_type, (*message).cmsg_len) };
            if level == libc::SOL_SOCKET && kind == libc::SCM_TIMESTAMPNS && holds::<libc::timespec>(length) {
                // SAFETY: the message holds a timespec, as its length says; it need not be aligned.
                let time = unsafe { libc::CMSG_DATA(message).cast::<libc::timespec>().read_unaligned() };
                let seconds = time.tv_sec.saturating_mul(1_000_000_000);
                read.timestamp = Some(Timestamp::from_nanos(seconds.saturating_add(time.tv_nsec)));
            } else if level == libc::SOL_PACKET
                && kind == libc::PACKET_AUXDATA
                && holds::<libc::tpacket_auxdata>(length)
            {
                // SAFETY: the message holds a tpacket_auxdata, as its length says.
                let data = unsafe {
                    libc::CMSG_DATA(message)
                        .cast::<libc::tpacket_auxdata>()
                        .read_unaligned()
                };
                read.len = Some(data.tp_len);
                read.tag = Tag::from_kernel(data.tp_status, data.tp_vlan_tci, data.tp_vlan_tpid);
            }
            // SAFETY: as for CMSG_FIRSTHDR; `message` is one of its messages.
            message = unsafe { libc::CMSG_NXTHDR(header, message) };
        }
        read
    }
}

/// True if a control message of `length` bytes, its header included, holds a `T`.
#[expect(unsafe_code, reason = "CMSG_LEN is unsafe in libc, though it only adds")]
fn holds<T>(length: usize) -> bool {
    // SAFETY: CMSG_LEN computes a length and touches no memory.
    length >= unsafe { libc::CMSG_LEN(length_of::<T>()) } as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_what_the_kernel_calls_valid() {
        const BOTH: u32 = libc::TP_STATUS_VLAN_VALID | libc::TP_STATUS_VLAN_TPID_VALID;
        assert_eq!(Tag::from_kernel(0, 0, 0x8100), None);
        let tag = Tag::from_kernel(BOTH, 0x2064, 0x88a8).unwrap();
        assert_eq!(tag.bytes(), [0x88, 0xa8, 0x20, 0x64]);
        let without_tpid = Tag::from_kernel(libc::TP_STATUS_VLAN_VALID, 0, 0).unwrap();
        assert_eq!(without_tpid.bytes(), [0x81, 0, 0, 0]);
    }
}
