//! Netlink sockets: one kind that hears what happens, one that asks.
//!
//! There are crates for this. The async ones queue without bound, and the parsers that go with them
//! refuse a whole message for one attribute they do not expect; what is needed here is short.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::sockopt::{
    Timeout, set_socket_recv_buffer_size, set_socket_recv_buffer_size_force, set_socket_timeout,
};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recvfrom, sendto,
    socket_with,
};

use super::numbers::{NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_MULTI, NLMSG_DONE, NLMSG_ERROR};
use super::wire::{Message, Messages, Request, i32_at};

/// The kernel answers while the request is being sent; this only keeps a thread from waiting for ever.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of a buffer that every message fits into: dumps come in pieces of up to 32 KiB, and a link
/// with hundreds of virtual functions is longer. Only the pages that are used cost memory.
pub(super) const BUFFER: usize = 256 * 1024;

/// How often a dump during which something changed is begun anew. After that the last one counts, for
/// what is in it: it may lack what was there all the time.
const DUMP_ATTEMPTS: u32 = 3;

/// A netlink socket. It belongs to the namespace that the thread was in that opened it.
#[derive(Debug)]
pub(super) struct Socket {
    fd: OwnedFd,
    sequence: u32,
}

/// What the kernel listed.
#[derive(Debug)]
pub(super) struct Listed<S> {
    pub(super) list: S,
    /// Nothing changed while it was made, so that what is not in it is not there.
    pub(super) is_whole: bool,
}

/// What a socket of events had.
#[derive(Debug)]
pub(super) enum Heard<'b> {
    /// The messages of one datagram.
    Messages(Messages<'b>),
    /// The queue overran, or a message was longer than the buffer: something was lost. The kernel adds
    /// nothing more to the queue until it has been read to its end.
    Lost,
    /// The queue is empty.
    Nothing,
}

impl Socket {
    /// A socket that hears of what happens in `groups`, with a queue of `queue` bytes in the kernel (as
    /// much of it as the process may have).
    pub(super) fn hearing(groups: &[u32], queue: usize) -> io::Result<Self> {
        let mask = groups.iter().fold(0, |mask, group| mask | 1 << (group - 1));
        let socket = Self::open(None, mask)?;
        if set_socket_recv_buffer_size_force(&socket.fd, queue).is_err() {
            set_socket_recv_buffer_size(&socket.fd, queue)?;
        }
        Ok(socket)
    }

    /// A socket for requests to the routing subsystem, or to `protocol`.
    pub(super) fn asking(protocol: Option<Protocol>) -> io::Result<Self> {
        let socket = Self::open(protocol, 0)?;
        set_socket_timeout(&socket.fd, Timeout::Recv, Some(ANSWER_TIMEOUT))?;
        Ok(socket)
    }

    fn open(protocol: Option<Protocol>, groups: u32) -> io::Result<Self> {
        // Protocol 0, which `None` is, is NETLINK_ROUTE.
        let fd = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            protocol,
        )?;
        bind(&fd, &SocketAddrNetlink::new(0, groups))?;
        Ok(Self { fd, sequence: 0 })
    }

    /// What is in the queue, without waiting.
    pub(super) fn hear<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Heard<'b>> {
        match receive(&self.fd, &mut *buffer, RecvFlags::DONTWAIT | RecvFlags::TRUNC) {
            Ok(length) => Ok(match buffer.get(..length) {
                Some(datagram) => Heard::Messages(Messages(datagram)),
                None => Heard::Lost,
            }),
            Err(Errno::NOBUFS) => Ok(Heard::Lost),
            Err(Errno::AGAIN | Errno::INTR) => Ok(Heard::Nothing),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends `request` and hands each message of the answer to `each`. Returns whether the kernel says
    /// that what it listed changed meanwhile.
    ///
    /// # Errors
    /// What the kernel answers, and those of the socket.
    pub(super) fn ask(
        &mut self,
        buffer: &mut [u8],
        request: &Request,
        mut each: impl FnMut(Message<'_>),
    ) -> io::Result<bool> {
        self.sequence = self.sequence.wrapping_add(1);
        let bytes = request.sealed(self.sequence);
        let kernel = SocketAddrNetlink::new(0, 0);
        sendto(&self.fd, &bytes, SendFlags::empty(), &kernel)?;
        let mut changed = false;
        loop {
            let length = match receive(&self.fd, &mut *buffer, RecvFlags::TRUNC) {
                Err(Errno::INTR) => continue,
                received => received?,
            };
            let datagram = buffer.get(..length).ok_or_else(|| {
                io::Error::other(format!("an answer of {length} bytes is longer than {BUFFER}"))
            })?;
            for message in Messages(datagram) {
                // An answer to an earlier request that was given up.
                if message.sequence != self.sequence {
                    continue;
                }
                changed |= message.flags & NLM_F_DUMP_INTR != 0;
                match message.kind {
                    NLMSG_DONE | NLMSG_ERROR => return outcome(message).map(|()| changed),
                    _ => each(message),
                }
                if message.flags & NLM_F_MULTI == 0 {
                    return Ok(changed);
                }
            }
        }
    }

    /// Lists what `request` asks for: `each` adds a message to what `start` made. A list during which
    /// something changed is made anew a few times; then [`Listed::is_whole`] says that it is not to be
    /// relied on for what is gone.
    ///
    /// # Errors
    /// As [`Socket::ask`].
    pub(super) fn list<S>(
        &mut self,
        buffer: &mut [u8],
        request: &Request,
        start: impl Fn() -> S,
        mut each: impl FnMut(&mut S, Message<'_>),
    ) -> io::Result<Listed<S>> {
        debug_assert_eq!(request.flags() & NLM_F_DUMP, NLM_F_DUMP);
        let mut attempt = 1;
        loop {
            let mut list = start();
            let changed = self.ask(buffer, request, |message| each(&mut list, message))?;
            if !changed || attempt == DUMP_ATTEMPTS {
                let is_whole = !changed;
                return Ok(Listed { list, is_whole });
            }
            attempt += 1;
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A socket for requests to generic netlink.
pub(super) fn generic() -> io::Result<Socket> {
    Socket::asking(Some(netlink::GENERIC))
}

/// The length of a datagram from the kernel; those from other processes are passed over.
fn receive(fd: &OwnedFd, buffer: &mut [u8], flags: RecvFlags) -> Result<usize, Errno> {
    loop {
        let (_, length, from) = recvfrom(fd, &mut *buffer, flags)?;
        let from = from.and_then(|from| SocketAddrNetlink::try_from(from).ok());
        if from.is_some_and(|from| from.pid() == 0) {
            return Ok(length);
        }
    }
}

/// What an `NLMSG_ERROR` or `NLMSG_DONE` says: zero, or an error number below zero.
fn outcome(message: Message<'_>) -> io::Result<()> {
    match i32_at(message.body, 0) {
        Some(code) if code < 0 => Err(io::Error::from_raw_os_error(code.saturating_neg())),
        _ => Ok(()),
    }
}
