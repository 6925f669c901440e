//! Sends small packets on an interface, at a rate or as fast as it goes.
//!
//!     flood INTERFACE PACKETS-A-SECOND SECONDS
//!
//! UDP packets of 64 bytes over 10,000 flows, in turn. A rate of 0 is as fast as it goes. Prints how many it
//! sent and in how many seconds.

use std::error::Error;
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use rustix::net::netdevice::name_to_index;
use socket2::{Domain, SockAddr, Socket, Type};

/// Different packets; each is sent as it stands, again and again.
const FLOWS: u32 = 10_000;
/// Packets a system call.
const BURST: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [interface, rate, seconds] = arguments.as_slice() else {
        return Err("usage: flood INTERFACE PACKETS-A-SECOND SECONDS".into());
    };
    let (rate, seconds): (f64, f64) = (rate.parse()?, seconds.parse()?);
    let socket = socket(interface)?;
    let mut frames: Vec<Vec<u8>> = (0..FLOWS).map(frame).collect();
    let mut messages = Messages::new(&mut frames);
    let (start, duration) = (Instant::now(), Duration::from_secs_f64(seconds));
    let (mut sent, mut next) = (0usize, 0usize);
    loop {
        let elapsed = start.elapsed();
        if elapsed >= duration {
            break;
        }
        let due = if rate == 0.0 {
            sent + BURST
        } else {
            (elapsed.as_secs_f64() * rate) as usize
        };
        if due > sent {
            let count = messages.send(&socket, next, (due - sent).min(BURST))?;
            sent += count;
            next = (next + count) % messages.0.len();
        }
    }
    writeln!(io::stdout(), "{sent} {:.3}", start.elapsed().as_secs_f64())?;
    Ok(())
}

/// A packet of one flow.
fn frame(flow: u32) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    frame.extend([0x45, 0, 0, 50, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 1]);
    frame.extend(((flow >> 6) as u16).to_be_bytes());
    frame.extend([10, 2, 0, 1]);
    frame.extend((10_000 + (flow & 63) as u16).to_be_bytes());
    frame.extend([0x30, 0x39, 0, 30, 0, 0]);
    frame.resize(64, 0);
    frame
}

#[expect(
    unsafe_code,
    reason = "an address family and an option that socket2 does not know"
)]
fn socket(interface: &str) -> io::Result<Socket> {
    let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
    let index = name_to_index(&socket, interface)?;
    // SAFETY: the storage is zeroed, aligned and large enough for every address; the closure makes it a
    // whole sockaddr_ll and says so by the length.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            let address = storage.cast::<libc::sockaddr_ll>();
            (*address).sll_family = libc::AF_PACKET as libc::sa_family_t;
            (*address).sll_ifindex = index as libc::c_int;
            *length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            Ok(())
        })?
    };
    socket.bind(&address)?;
    let one: libc::c_int = 1;
    // SAFETY: the descriptor is open, and the pointer is that of an int.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_QDISC_BYPASS,
            (&raw const one).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(socket)
}

/// The packets as the kernel takes them.
struct Messages(
    Vec<libc::mmsghdr>,
    #[expect(dead_code, reason = "pointed to")] Vec<libc::iovec>,
);

impl Messages {
    #[expect(unsafe_code, reason = "C structures that begin as zeros")]
    fn new(frames: &mut [Vec<u8>]) -> Self {
        let mut vectors: Vec<libc::iovec> = frames
            .iter_mut()
            .map(|frame| libc::iovec {
                iov_base: frame.as_mut_ptr().cast(),
                iov_len: frame.len(),
            })
            .collect();
        let headers = vectors.iter_mut().map(|vector| {
            // SAFETY: a plain C structure, for which all-zero bytes are valid.
            let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header
        });
        Self(headers.collect(), vectors)
    }

    /// Sends up to `count` packets from the packet `from` on, and returns how many.
    #[expect(unsafe_code, reason = "sendmmsg")]
    fn send(&mut self, socket: &Socket, from: usize, count: usize) -> io::Result<usize> {
        let end = (from + count).min(self.0.len());
        let burst = &mut self.0[from..end];
        // SAFETY: each header points at one vector, and that at a packet, all of which live as long as main.
        let sent = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                burst.as_mut_ptr(),
                burst.len() as libc::c_uint,
                0,
            )
        };
        match usize::try_from(sent) {
            Ok(sent) => Ok(sent),
            Err(_) => match io::Error::last_os_error() {
                // The other end has no room for more at the moment.
                error if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(0),
                error => Err(error),
            },
        }
    }
}
