//! The ring that the kernel writes packets into: `TPACKET_V3`, packet(7) and the kernel's
//! `Documentation/networking/packet_mmap.rst`.
//!
//! The ring is a row of blocks. The kernel fills one with packets and hands it over when it is full or
//! its time is up; it is given back when its packets have been read. All pointers of this collector are
//! here.

use std::io;
use std::marker::PhantomData;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use flowtap_flow::timestamp::Timestamp;

use crate::packet_socket::{Frame, PacketSocket, Tag};

/// Bytes of a block. A packet lies in one block whole, up to some 262,000 bytes.
const BLOCK: usize = 1 << 18;

/// How long the kernel may fill a block, in ms: so long a packet may wait.
const RETIRE_MS: u32 = 10;

/// `TPACKET_V3`, the third from 0.
const VERSION_3: libc::c_int = 2;

/// Where the first byte of a packet can lie at the earliest: behind its header and its address.
const HEADERS: usize = mem::size_of::<libc::tpacket3_hdr>() + mem::size_of::<libc::sockaddr_ll>();

/// A socket with a ring.
#[derive(Debug)]
pub(super) struct Ring {
    // In this order: the memory is unmapped before the socket is closed.
    memory: Memory,
    socket: PacketSocket,
    next: usize,
}

impl Ring {
    /// Gives `socket`, which must not be bound yet, a ring of at least `bytes` bytes.
    ///
    /// # Errors
    /// `ENOMEM` if the kernel has no memory for it.
    pub(super) fn new(socket: PacketSocket, bytes: usize) -> io::Result<Self> {
        let blocks = bytes.div_ceil(BLOCK).max(2);
        socket.set_option(libc::SOL_PACKET, libc::PACKET_VERSION, VERSION_3)?;
        // Room before each packet, for a tag that is put back.
        let room = libc::c_int::try_from(Tag::BYTES).unwrap_or_default();
        socket.set_option(libc::SOL_PACKET, libc::PACKET_RESERVE, room)?;
        request(&socket, blocks)?;
        Ok(Self {
            memory: Memory::map(&socket, blocks * BLOCK)?,
            socket,
            next: 0,
        })
    }

    pub(super) fn socket(&self) -> &PacketSocket {
        &self.socket
    }

    /// The oldest block that the kernel has handed over; dropped, it is given back.
    pub(super) fn block(&mut self) -> Option<Block<'_>> {
        let base = self.memory.block(self.next);
        // Acquire: what the kernel wrote before it handed the block over is seen.
        if self.memory.status(base).load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
            return None;
        }
        self.next = (self.next + 1) % (self.memory.length / BLOCK);
        Some(Block {
            memory: &mut self.memory,
            base,
        })
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[expect(unsafe_code, reason = "an option with a structure")]
fn request(socket: &PacketSocket, blocks: usize) -> io::Result<()> {
    // The kernel asks for a size of frames, which version 3 has no use for.
    const FRAME: usize = 2_048;
    let too_large = |_| io::Error::from_raw_os_error(libc::ENOMEM);
    let request = libc::tpacket_req3 {
        tp_block_size: u32::try_from(BLOCK).map_err(too_large)?,
        tp_block_nr: u32::try_from(blocks).map_err(too_large)?,
        tp_frame_size: u32::try_from(FRAME).map_err(too_large)?,
        tp_frame_nr: u32::try_from(blocks * BLOCK / FRAME).map_err(too_large)?,
        tp_retire_blk_tov: RETIRE_MS,
        tp_sizeof_priv: 0,
        tp_feature_req_word: 0,
    };
    // SAFETY: the value of PACKET_RX_RING is a tpacket_req3 once the version is TPACKET_V3.
    unsafe { socket.set_option_as(libc::SOL_PACKET, libc::PACKET_RX_RING, &request) }
}

/// The ring's memory, shared with the kernel.
#[derive(Debug)]
struct Memory {
    base: NonNull<u8>,
    length: usize,
}

// SAFETY: the memory belongs to this value alone on our side, and may be used from any one thread.
#[expect(unsafe_code, reason = "it holds a pointer")]
unsafe impl Send for Memory {}

impl Memory {
    #[expect(unsafe_code, reason = "mmap")]
    fn map(socket: &PacketSocket, length: usize) -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory that is in use.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                access,
                libc::MAP_SHARED,
                socket.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { base, length })
    }

    #[expect(unsafe_code, reason = "pointer arithmetic")]
    fn block(&self, number: usize) -> NonNull<u8> {
        let offset = number * BLOCK;
        assert!(offset + BLOCK <= self.length, "a block of the ring");
        // SAFETY: just checked: the whole block lies inside the mapping.
        unsafe { self.base.add(offset) }
    }

    /// Who owns a block, one of [`Memory::block`]. The kernel may write it at any time.
    #[expect(unsafe_code, reason = "memory shared with the kernel")]
    fn status(&self, block: NonNull<u8>) -> &AtomicU32 {
        let description = block.as_ptr().cast::<libc::tpacket_block_desc>();
        // SAFETY: each block begins with a description and is aligned to a page; the mapping lives as
        // long as `self`. Both sides use the status as a whole, an aligned u32.
        unsafe { AtomicU32::from_ptr(&raw mut (*description).hdr.bh1.block_status) }
    }
}

impl Drop for Memory {
    #[expect(unsafe_code, reason = "munmap")]
    fn drop(&mut self) {
        // SAFETY: base and length are those of the mapping, and everything that borrows from it has
        // borrowed `self`. It cannot fail then.
        let _unmapped = unsafe { libc::munmap(self.base.as_ptr().cast(), self.length) };
    }
}

/// A block that is ours: the kernel leaves it alone until it is dropped.
pub(super) struct Block<'r> {
    memory: &'r mut Memory,
    base: NonNull<u8>,
}

impl Block<'_> {
    /// Its packets, oldest first.
    #[expect(unsafe_code, reason = "memory shared with the kernel")]
    pub(super) fn frames(&mut self) -> Frames<'_> {
        let description = self.base.cast::<libc::tpacket_block_desc>();
        // SAFETY: each block begins with a description, and this one is ours. Any bytes make one.
        let description = unsafe { description.read().hdr.bh1 };
        Frames {
            base: self.base,
            offset: usize::try_from(description.offset_to_first_pkt).unwrap_or(BLOCK),
            left: description.num_pkts,
            memory: PhantomData,
        }
    }
}

impl Drop for Block<'_> {
    fn drop(&mut self) {
        // Release: whatever was done with its bytes is over.
        let status = self.memory.status(self.base);
        status.store(libc::TP_STATUS_KERNEL, Ordering::Release);
    }
}

/// The packets of a block.
pub(super) struct Frames<'b> {
    base: NonNull<u8>,
    offset: usize,
    left: u32,
    memory: PhantomData<&'b mut [u8]>,
}

impl<'b> Iterator for Frames<'b> {
    type Item = RingFrame<'b>;

    #[expect(unsafe_code, reason = "memory shared with the kernel")]
    fn next(&mut self) -> Option<RingFrame<'b>> {
        if self.left == 0 || self.offset + HEADERS > BLOCK {
            return None;
        }
        // SAFETY: the headers lie inside the block, as just checked; the kernel has handed the block
        // over and does not write to it. Any bytes make the structures.
        let (header, address) = unsafe {
            let header = self.base.add(self.offset).cast::<libc::tpacket3_hdr>();
            let address = header.add(1).cast::<libc::sockaddr_ll>();
            (header.read_unaligned(), address.read_unaligned())
        };
        let begin = usize::from(header.tp_mac).checked_sub(Tag::BYTES)?;
        let end = usize::from(header.tp_mac) + usize::try_from(header.tp_snaplen).ok()?;
        let step = usize::try_from(header.tp_next_offset).ok()?;
        self.left -= 1;
        let is_inside = begin >= HEADERS && self.offset + end <= BLOCK && (self.left == 0 || end <= step);
        if !is_inside {
            // Never seen, and nothing behind it could be trusted.
            self.left = 0;
            return None;
        }
        // SAFETY: the packet and the room before it lie inside the block, behind its own headers and
        // before the next packet's, as just checked: no other slice has these bytes. They are borrowed
        // as long as the block is.
        let bytes = unsafe {
            let first = self.base.add(self.offset + begin);
            std::slice::from_raw_parts_mut(first.as_ptr(), end - begin)
        };
        self.offset += step;
        Some(RingFrame {
            timestamp: Timestamp::from_nanos(
                i64::from(header.tp_sec) * 1_000_000_000 + i64::from(header.tp_nsec),
            ),
            len: header.tp_len,
            tag: Tag::from_kernel(header.tp_status, tci(&header), header.hv1.tp_vlan_tpid),
            direction: address.sll_pkttype,
            protocol: u16::from_be(address.sll_protocol),
            index: u32::try_from(address.sll_ifindex).unwrap_or_default(),
            bytes,
        })
    }
}

fn tci(header: &libc::tpacket3_hdr) -> u16 {
    // 16 bits in a wider field.
    u16::try_from(header.hv1.tp_vlan_tci & 0xffff).unwrap_or_default()
}

/// A packet in the ring.
pub(super) struct RingFrame<'b> {
    /// When it came.
    pub(super) timestamp: Timestamp,
    len: u32,
    tag: Option<Tag>,
    direction: u8,
    protocol: u16,
    index: u32,
    /// Room for a tag, then the packet.
    bytes: &'b mut [u8],
}

impl<'b> RingFrame<'b> {
    /// The packet as filters see it, without its tag.
    pub(super) fn frame(&self) -> Frame<'_> {
        Frame {
            timestamp: self.timestamp,
            len: self.len,
            tag: self.tag,
            direction: self.direction,
            protocol: self.protocol,
            index: self.index,
            data: self.bytes.get(Tag::BYTES..).unwrap_or_default(),
        }
    }

    /// Its length on the wire.
    pub(super) fn wire_len(&self) -> u32 {
        let tag = if self.tag.is_some() { 4 } else { 0 };
        self.len.saturating_add(tag)
    }

    /// The packet as it was on the wire, its tag put back where it stood, and its length there.
    pub(super) fn into_wire(self) -> (&'b [u8], u32) {
        let len = self.wire_len();
        let Self { tag, bytes, .. } = self;
        match tag {
            Some(tag) if bytes.len() >= Tag::OFFSET + Tag::BYTES => {
                bytes.copy_within(Tag::BYTES..Tag::BYTES + Tag::OFFSET, 0);
                bytes[Tag::OFFSET..Tag::OFFSET + Tag::BYTES].copy_from_slice(&tag.bytes());
                (bytes, len)
            }
            // No tag, or cut before the place where it stood.
            _ => (bytes.get(Tag::BYTES..).unwrap_or_default(), len),
        }
    }
}
