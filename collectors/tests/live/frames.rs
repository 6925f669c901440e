//! Frames made by hand, and a socket that sends them.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::net::netdevice::name_to_index;
use socket2::{Domain, SockAddr, Socket, Type};

use super::lab::Namespace;

/// A socket that sends whole frames on one interface. It receives nothing.
pub(crate) struct Sender {
    socket: Socket,
    address: SockAddr,
    refused: AtomicU32,
}

impl Sender {
    /// On an interface of `namespace`.
    pub(crate) fn new(namespace: &Namespace, interface: &str) -> Self {
        namespace
            .inside(|| Self::here(interface))
            .expect("the interface is there")
    }

    /// In the namespace of this thread.
    pub(crate) fn here(interface: &str) -> io::Result<Self> {
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        let index = name_to_index(&socket, interface)?;
        Ok(Self {
            address: address(index),
            socket,
            refused: AtomicU32::new(0),
        })
    }

    pub(crate) fn send(&self, frame: &[u8]) {
        self.try_send(frame).expect("the frame is sent");
    }

    /// How often a frame had to be sent again. Who captures where it is sent sees it each time, for it has left
    /// there when the other end refuses it.
    pub(crate) fn refused(&self) -> u32 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(crate) fn try_send(&self, frame: &[u8]) -> io::Result<()> {
        loop {
            match self.socket.send_to(frame, &self.address) {
                // The peer's backlog is full: all interfaces of a processor share one.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    std::thread::yield_now();
                }
                sent => return sent.map(drop),
            }
        }
    }
}

#[expect(unsafe_code, reason = "an address family that socket2 does not know")]
fn address(index: u32) -> SockAddr {
    // SAFETY: the storage is zeroed, aligned and large enough for every address; the closure makes it a
    // whole sockaddr_ll and says so by the length.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            let address = storage.cast::<libc::sockaddr_ll>();
            (*address).sll_family = libc::AF_PACKET as libc::sa_family_t;
            (*address).sll_ifindex = index as libc::c_int;
            *length = std::mem::size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            Ok(())
        })
    }
    .expect("it is made");
    address
}

/// VLAN tags as they stand in a frame: TPID and VLAN of each.
pub(crate) type Tags<'a> = &'a [(u16, u16)];

/// UDP from 10.0.0.1 to 10.0.0.2 with `number` at the begin of its payload, which is padded until the
/// frame, without its tags, has `length` bytes.
pub(crate) fn udp(tags: Tags<'_>, port: u16, number: u32, length: usize) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    for (tpid, vlan) in tags {
        frame.extend(tpid.to_be_bytes());
        frame.extend(vlan.to_be_bytes());
    }
    frame.extend([8, 0]);
    let ip_length = u16::try_from(length - 14).expect("it fits");
    let mut ip = [
        0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
    ];
    ip[2..4].copy_from_slice(&ip_length.to_be_bytes());
    frame.extend(ip);
    frame.extend(4_000u16.to_be_bytes());
    frame.extend(port.to_be_bytes());
    frame.extend((ip_length - 20).to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(number.to_be_bytes());
    frame.resize(length + tags.len() * 4, 0xa5);
    frame
}

/// The number that [`udp`] put into a frame without tags.
pub(crate) fn number(frame: &[u8]) -> Option<u32> {
    frame
        .get(42..46)?
        .first_chunk()
        .map(|bytes| u32::from_be_bytes(*bytes))
}

/// An ARP request.
pub(crate) fn arp() -> Vec<u8> {
    let mut frame = vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 6];
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1]);
    frame.extend([0, 0, 0, 0, 0, 0, 10, 0, 0, 2]);
    frame
}

/// Frames of every kind: small, jumbo, with a tag, with two, with three, cut inside their headers, of
/// no known type.
pub(crate) fn mix() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for round in 0..40u32 {
        let size = 60 + (round as usize * 37) % 1_400;
        frames.push(udp(&[], 53, round, size));
        frames.push(udp(&[(0x8100, 100)], 53, round, size));
        frames.push(udp(&[(0x8100, 0x6000 | 200)], 4_789, round, size));
        frames.push(udp(&[(0x88a8, 300), (0x8100, 100)], 53, round, size));
        frames.push(udp(&[(0x8100, 100), (0x8100, 101)], 53, round, size));
        frames.push(udp(&[(0x88a8, 1), (0x88a8, 2), (0x8100, 3)], 53, round, size));
        frames.push(udp(&[], 53, round, 9_014));
        frames.push(udp(&[(0x8100, 100)], 53, round, 9_010));
        frames.push(arp());
        frames.push(udp(&[], 53, round, 60)[..26].to_vec());
        frames.push([&[0xff; 12][..], &[0x88, 0xcc], &[round as u8; 100]].concat());
    }
    frames
}
