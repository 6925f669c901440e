//! Capture files of this machine, handed over instead of sent: to read a file takes its reader half of the
//! time that it takes to read as much from a TCP connection, and nobody has to send it.
//!
//! Beside each TCP socket listens one of unix(7), under an abstract name that belongs to the network
//! namespace as the TCP port does: `flowtap-pcap 127.0.0.1:8100`. A client sends one byte, and with it the
//! descriptor of a file that is open for reading (`SCM_RIGHTS`). The file is read from where it stands to its
//! end, and the client gets an [`Answer`], a line of JSON, then the end of the connection. Both share the
//! file's position, so the client sees how far it has been read. If the client goes away, reading ends.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener, UnixStream};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::CollectError;
use crate::stop::wait_for;

/// What the names begin with; a TCP address follows.
const NAME: &str = "flowtap-pcap";

/// What goes with the descriptor, which cannot go alone.
const BYTE: [u8; 1] = *b"f";

/// What became of a file that was handed over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Answer {
    /// Packets taken.
    pub packets: u64,
    /// Those of them whose link type is not supported: no flow is made of them.
    pub unsupported: u64,
    /// True if there was nothing in it.
    pub empty: bool,
    /// True if it ends in the middle of a packet, or of compressed data.
    pub cut: bool,
    /// Why it was not read to its end, in words for the user.
    pub error: Option<String>,
}

/// A file that a server on this machine reads for us.
#[derive(Debug)]
pub struct Handover {
    stream: UnixStream,
    answer: Vec<u8>,
}

impl Handover {
    /// Hands `file` over to whom a TCP connection to `address` would reach, or gives `None` if that is
    /// nobody on this machine, or nobody who takes files.
    #[must_use]
    pub fn offer(file: &File, address: SocketAddr) -> Option<Self> {
        let stream = candidates(address)
            .into_iter()
            .find_map(|listener| connect(listener).ok())?;
        send(&stream, file).ok()?;
        let answer = Vec::new();
        Some(Self { stream, answer })
    }

    /// Waits for `at_most`, which is not zero; `None` if the file is still being read then.
    ///
    /// # Errors
    /// The system's if the connection breaks, or ends without an answer.
    pub fn wait(&mut self, at_most: Duration) -> io::Result<Option<Answer>> {
        self.stream.set_read_timeout(Some(at_most))?;
        match self.stream.read_to_end(&mut self.answer) {
            Ok(_) if self.answer.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(Some(serde_json::from_slice(&self.answer)?)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Where a pcap socket of this host may listen that takes connections to `address`.
fn candidates(address: SocketAddr) -> Vec<SocketAddr> {
    let every_v4 = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let every = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let ips = match address.ip() {
        ip if !is_here(ip) => vec![],
        ip @ IpAddr::V4(_) => vec![ip, every_v4, every],
        ip @ IpAddr::V6(_) => vec![ip, every],
    };
    ips.into_iter()
        .map(|ip| SocketAddr::new(ip, address.port()))
        .collect()
}

/// True for an address of this host: only to such a one can a socket be bound.
fn is_here(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

fn name(address: SocketAddr) -> io::Result<UnixAddr> {
    UnixAddr::from_abstract_name(format!("{NAME} {address}"))
}

pub(super) fn connect(address: SocketAddr) -> io::Result<UnixStream> {
    UnixStream::connect_addr(&name(address)?)
}

pub(super) fn send(stream: &UnixStream, file: &File) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [file.as_fd()];
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(stream, &[IoSlice::new(&BYTE)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Listens beside the TCP socket of `address`; `None` if the system does not let us.
///
/// # Errors
/// [`CollectError::Listen`] if somebody else does: files meant for us would go there.
pub(super) fn listen(address: SocketAddr) -> Result<Option<UnixListener>, CollectError> {
    let listener = name(address).and_then(|name| UnixListener::bind_addr(&name));
    match listener.and_then(|listener| listener.set_nonblocking(true).map(|()| listener)) {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Err(CollectError::listen(NAME, address, error))
        }
        Err(error) => {
            warn!(%error, "files of this machine cannot be handed over; they come over TCP");
            Ok(None)
        }
    }
}

/// Waits for the file that the client of `stream` hands over.
///
/// # Errors
/// The system's; [`io::ErrorKind::InvalidInput`] if what came is no file.
pub(super) fn receive(stream: impl AsFd) -> io::Result<File> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = BYTE;
    let mut buffers = [IoSliceMut::new(&mut byte)];
    // More descriptors than there is room for are closed by the system.
    recvmsg(stream, &mut buffers, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let descriptor = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    let file = descriptor.map(File::from);
    let is_file = |file: &File| file.metadata().is_ok_and(|data| data.is_file());
    // A pipe or a terminal could make its reader wait for ever, where nothing wakes it.
    file.filter(is_file)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no regular file was handed over"))
}

/// True if the client of `stream` has gone, or the connection was shut down here.
pub(super) fn has_ended(stream: impl AsFd) -> bool {
    let mut connection = [PollFd::new(&stream, PollFlags::RDHUP)];
    let asked = wait_for(&mut connection, &Timespec::default());
    asked.is_ok() && !connection[0].revents().is_empty()
}

/// Answers the client.
pub(super) fn answer(mut stream: impl Write, answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    stream.write_all(&line)
}
