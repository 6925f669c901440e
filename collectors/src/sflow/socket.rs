//! The UDP socket: many datagrams a call, with the kernel's time stamps and its count of drops.
//!
//! All the `unsafe` of this collector is here.

use std::io;
use std::mem::{self, MaybeUninit};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use flowtap_flow::timestamp::Timestamp;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::decoder::Received;
use super::wire::MAX_DATAGRAM;

/// Datagrams taken from the kernel in one call. 256 of 1,400 bytes are 350 KiB: they fit the L2 cache.
pub(super) const BURST: usize = 256;

/// One byte more than is read, so that a longer datagram shows; rounded to cache lines.
const SLOT: usize = (MAX_DATAGRAM + 1).next_multiple_of(64);

/// A bound socket. Nonblocking calls only; [`UdpSocket::wait`] waits.
#[derive(Debug)]
pub(super) struct UdpSocket {
    socket: Socket,
}

impl UdpSocket {
    /// Binds to `address`. The options stand before the bind, so the first datagram has them too.
    pub(super) fn bind(address: SocketAddr, receive_buffer: usize) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        let socket = Self { socket };
        socket.enable(libc::SO_TIMESTAMPNS)?;
        socket.enable(libc::SO_RXQ_OVFL)?;
        let bytes = libc::c_int::try_from(receive_buffer).unwrap_or(libc::c_int::MAX);
        // Beyond net.core.rmem_max with CAP_NET_ADMIN, up to it without.
        if socket.set_option(libc::SO_RCVBUFFORCE, bytes).is_err() {
            socket.set_option(libc::SO_RCVBUF, bytes)?;
        }
        socket.socket.bind(&SockAddr::from(address))?;
        Ok(socket)
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket
            .local_addr()?
            .as_socket()
            .ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    /// Bytes of receive buffer, counted as they are asked for: the kernel doubles that for its own
    /// bookkeeping, and reports the double.
    pub(super) fn receive_buffer(&self) -> io::Result<usize> {
        self.socket.recv_buffer_size().map(|bytes| bytes / 2)
    }

    fn enable(&self, option: libc::c_int) -> io::Result<()> {
        self.set_option(option, 1)
    }

    #[expect(unsafe_code, reason = "options that neither std nor socket2 knows")]
    fn set_option(&self, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
        let length = size_of_as_socklen::<libc::c_int>();
        // SAFETY: the descriptor is open as long as `self`; the pointer and the length are those of
        // `value`, which outlives the call.
        let result = unsafe {
            libc::setsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                (&raw const value).cast(),
                length,
            )
        };
        check(result).map(|_| ())
    }

    /// How many datagrams the kernel has dropped at this socket, modulo 2³², up to this moment;
    /// what comes with the datagrams is older.
    #[expect(unsafe_code, reason = "SO_MEMINFO, which neither std nor socket2 knows")]
    pub(super) fn kernel_drops(&self) -> io::Result<u32> {
        const DROPS: usize = libc::SK_MEMINFO_DROPS as usize;
        let mut info = [0u32; DROPS + 1];
        let mut length = size_of_as_socklen::<[u32; DROPS + 1]>();
        // SAFETY: the descriptor is open as long as `self`; the kernel writes at most `length` bytes,
        // which is the size of `info`, and any bytes make a u32.
        let result = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_MEMINFO,
                info.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        check(result)?;
        Ok(info[DROPS])
    }

    /// Waits until a datagram is there, `wake` was rung, or `timeout_ms` are over.
    #[expect(unsafe_code, reason = "poll")]
    pub(super) fn wait(&self, wake: &Wake, timeout_ms: libc::c_int) -> io::Result<()> {
        let poll = |fd: RawFd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        let mut fds = [poll(self.socket.as_raw_fd()), poll(wake.event.as_raw_fd())];
        // SAFETY: `fds` is an array of 2 pollfds, and both descriptors are open for the whole call.
        let result = unsafe { libc::poll(fds.as_mut_ptr(), 2, timeout_ms) };
        match check(result) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// Takes up to [`BURST`] datagrams that wait; 0 if none does.
    pub(super) fn receive(&self, burst: &mut Burst) -> io::Result<usize> {
        let count = loop {
            match self.receive_once(burst) {
                Ok(count) => break count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break 0,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        };
        burst.received(count);
        Ok(count)
    }

    #[expect(unsafe_code, reason = "recvmmsg")]
    fn receive_once(&self, burst: &mut Burst) -> io::Result<usize> {
        burst.prepare();
        let length = libc::c_uint::try_from(burst.headers.len()).unwrap_or(libc::c_uint::MAX);
        // SAFETY: `prepare` just made each header point at buffers of the lengths it names. They are
        // owned by `burst`, which is lent to this call alone until it returns. A null time-out is
        // allowed.
        let result = unsafe {
            libc::recvmmsg(
                self.socket.as_raw_fd(),
                burst.headers.as_mut_ptr(),
                length,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        check(result).map(|count| usize::try_from(count).unwrap_or(0).min(BURST))
    }
}

/// Room for the control messages of one datagram: a timespec (32 bytes with its header) and a count
/// (24); aligned as a `cmsghdr` must be.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; 128]);

/// Buffers for [`BURST`] datagrams (2.3 MiB, of which only what datagrams fill is ever touched), used
/// again and again by one thread.
pub(super) struct Burst {
    data: Box<[u8]>,
    names: Box<[MaybeUninit<libc::sockaddr_storage>]>,
    controls: Box<[Control]>,
    vectors: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    received: usize,
    drops: Option<u32>,
}

impl Burst {
    #[expect(unsafe_code, reason = "C structures begin as zeros")]
    pub(super) fn new() -> Self {
        // SAFETY: iovec and mmsghdr are plain C structures of integers and raw pointers, for which
        // all-zero bytes are valid (null pointers, zero lengths).
        let (vector, header): (libc::iovec, libc::mmsghdr) = unsafe { (mem::zeroed(), mem::zeroed()) };
        Self {
            data: vec![0; SLOT * BURST].into_boxed_slice(),
            names: vec![MaybeUninit::uninit(); BURST].into_boxed_slice(),
            controls: vec![Control([0; 128]); BURST].into_boxed_slice(),
            vectors: vec![vector; BURST].into_boxed_slice(),
            headers: vec![header; BURST].into_boxed_slice(),
            received: 0,
            drops: None,
        }
    }

    /// Points the headers at the buffers.
    fn prepare(&mut self) {
        let slots = self
            .data
            .chunks_exact_mut(SLOT)
            .zip(&mut self.names)
            .zip(&mut self.controls);
        let heads = self.headers.iter_mut().zip(&mut self.vectors);
        for ((header, vector), ((data, name), control)) in heads.zip(slots) {
            vector.iov_base = data.as_mut_ptr().cast();
            vector.iov_len = MAX_DATAGRAM + 1;
            let header = &mut header.msg_hdr;
            header.msg_name = name.as_mut_ptr().cast();
            header.msg_namelen = size_of_as_socklen::<libc::sockaddr_storage>();
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            header.msg_control = control.0.as_mut_ptr().cast();
            header.msg_controllen = mem::size_of::<Control>();
            header.msg_flags = 0;
        }
    }

    fn received(&mut self, count: usize) {
        self.received = count;
        self.drops = None;
    }

    /// The datagrams of the last [`UdpSocket::receive`]. `now` stands in for a time stamp that the
    /// kernel did not give.
    pub(super) fn datagrams(&mut self, now: Timestamp) -> impl Iterator<Item = Received<'_>> {
        let drops = &mut self.drops;
        self.headers[..self.received]
            .iter()
            .zip(self.data.chunks_exact(SLOT))
            .map(move |(header, data)| {
                let control = read_control(&header.msg_hdr);
                *drops = control.drops.or(*drops);
                let length = usize::try_from(header.msg_len)
                    .unwrap_or(SLOT)
                    .min(MAX_DATAGRAM + 1);
                Received {
                    bytes: &data[..length],
                    source: read_name(&header.msg_hdr),
                    timestamp: control.timestamp.unwrap_or(now),
                }
            })
    }

    /// The kernel's count of drops that came with the datagrams of the last burst, if one did: it
    /// does once there are any.
    pub(super) fn kernel_drops(&self) -> Option<u32> {
        self.drops
    }
}

#[derive(Default)]
struct ControlMessages {
    timestamp: Option<Timestamp>,
    drops: Option<u32>,
}

#[expect(unsafe_code, reason = "control messages are a list inside a buffer")]
fn read_control(header: &libc::msghdr) -> ControlMessages {
    let mut messages = ControlMessages::default();
    // SAFETY: `header` was filled by recvmmsg: msg_control points at a live, aligned `Control`, and
    // msg_controllen says how much of it the kernel wrote; CMSG_FIRSTHDR and CMSG_NXTHDR stay inside
    // it and return null at its end.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !message.is_null() {
        // SAFETY: not null, so it points at a cmsghdr inside the buffer.
        let (level, kind, length) =
            unsafe { ((*message).cmsg_level, (*message).cmsg_type, (*message).cmsg_len) };
        if level == libc::SOL_SOCKET && kind == libc::SCM_TIMESTAMPNS && holds::<libc::timespec>(length) {
            // SAFETY: the message holds a timespec, as its length says; it need not be aligned.
            let time = unsafe { libc::CMSG_DATA(message).cast::<libc::timespec>().read_unaligned() };
            messages.timestamp = Some(timestamp(&time));
        } else if level == libc::SOL_SOCKET && kind == libc::SO_RXQ_OVFL && holds::<u32>(length) {
            // SAFETY: the message holds a u32, as its length says; it need not be aligned.
            messages.drops = Some(unsafe { libc::CMSG_DATA(message).cast::<u32>().read_unaligned() });
        }
        // SAFETY: as for CMSG_FIRSTHDR; `message` is one of its messages.
        message = unsafe { libc::CMSG_NXTHDR(header, message) };
    }
    messages
}

/// True if a control message of `length` bytes, its header included, holds a `T`.
#[expect(unsafe_code, reason = "CMSG_LEN is unsafe in libc, though it only adds")]
fn holds<T>(length: usize) -> bool {
    let needed = libc::c_uint::try_from(mem::size_of::<T>()).unwrap_or(libc::c_uint::MAX);
    // SAFETY: CMSG_LEN computes a length and touches no memory.
    length >= unsafe { libc::CMSG_LEN(needed) } as usize
}

fn timestamp(time: &libc::timespec) -> Timestamp {
    Timestamp::from_nanos(
        time.tv_sec
            .saturating_mul(1_000_000_000)
            .saturating_add(time.tv_nsec),
    )
}

/// The sender. One that is of no known family (none is) shows as the unspecified address.
#[expect(unsafe_code, reason = "socket2 takes a filled sockaddr_storage")]
fn read_name(header: &libc::msghdr) -> SocketAddr {
    // SAFETY: recvmmsg wrote an address of msg_namelen bytes at msg_name, which points at a live
    // sockaddr_storage; `SockAddr` reads no further than that length.
    let name = unsafe {
        let storage = header.msg_name.cast::<socket2::SockAddrStorage>().read();
        SockAddr::new(storage, header.msg_namelen)
    };
    let address = name
        .as_socket()
        .unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)));
    // IPv4 that came in through an IPv6 socket is IPv4.
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Wakes a thread out of [`UdpSocket::wait`], for good.
#[derive(Debug)]
pub(super) struct Wake {
    event: OwnedFd,
    rung: AtomicBool,
}

impl Wake {
    #[expect(unsafe_code, reason = "eventfd")]
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: no pointers are passed.
        let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        // SAFETY: eventfd returned a new descriptor that nobody else owns.
        let event = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self {
            event,
            rung: AtomicBool::new(false),
        })
    }

    #[expect(unsafe_code, reason = "write to an eventfd")]
    pub(super) fn ring(&self) {
        self.rung.store(true, Ordering::Release);
        let one = 1u64;
        // SAFETY: the descriptor is open as long as `self`; the pointer is that of 8 live bytes. It
        // fails only when the count is full already, and then whoever waits is awake.
        let _written = unsafe { libc::write(self.event.as_raw_fd(), (&raw const one).cast(), 8) };
    }

    pub(super) fn is_rung(&self) -> bool {
        self.rung.load(Ordering::Acquire)
    }
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn size_of_as_socklen<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(mem::size_of::<T>()).unwrap_or(libc::socklen_t::MAX)
}
