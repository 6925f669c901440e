//! The first packets of an interface, held until a capture wants them.
//!
//! Opening a capture takes longer than a machine needs to send its first packet: metadata that tells
//! whose interface it is comes late, and a ring takes some 10 ms to set up. An [`EarlySocket`] takes a
//! twentieth of a millisecond, so it is opened for every interface that appears while a capture waits.
//! The kernel queues packets at it; whoever opens a capture takes them along as [`EarlyPackets`].

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use flowtap_flow::timestamp::Timestamp;

use crate::namespace::inside;
use crate::packet_socket::{Frame, PacketSocket, Receiver, Tag};
use crate::{CollectError, Interface};

/// What the kernel may hold at one socket, in bytes. It counts some 770 for a small packet and doubles
/// what is asked for: 10,000 small packets. Later ones are dropped, and counted.
const QUEUE: libc::c_int = 4 << 20;

/// What all captures of one interface may take along together, in bytes of packets; beyond that packets
/// are dropped, and counted.
const LOG: usize = 8 << 20;

/// A socket that queues the packets of an interface from the moment it is opened. Cheap, and inert:
/// nothing is read until a capture is opened with its [`EarlySocket::packets`].
#[derive(Debug)]
pub struct EarlySocket {
    packets: EarlyPackets,
}

impl EarlySocket {
    /// Opens one, whether the interface is up or not.
    ///
    /// # Errors
    /// [`CollectError::Open`] without the rights to capture, or if the interface is gone.
    pub fn open(interface: &Interface) -> Result<Self, CollectError> {
        let open = || {
            let socket = PacketSocket::new()?;
            socket.set_receive_buffer(QUEUE)?;
            socket.set_option(libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
            socket.set_option(libc::SOL_PACKET, libc::PACKET_AUXDATA, 1)?;
            socket.place(interface.index)?;
            socket.bind(interface.index)?;
            Ok(socket)
        };
        keep_stamps_on();
        let socket = inside(interface.netns.as_deref(), open)
            .map_err(|source| CollectError::open(&interface.name, source))?;
        let shared = Shared {
            index: interface.index,
            opened: Timestamp::now(),
            state: Mutex::new(State {
                socket,
                log: Vec::new(),
                bytes: 0,
                dropped: 0,
            }),
        };
        Ok(Self {
            packets: EarlyPackets(Arc::new(shared)),
        })
    }

    /// What came in, and comes in until a capture takes over; for any number of captures, each of which
    /// gets all.
    #[must_use]
    pub fn packets(&self) -> EarlyPackets {
        self.packets.clone()
    }

    /// When the socket was opened: packets from then on are held.
    #[must_use]
    pub fn opened(&self) -> Timestamp {
        self.packets.0.opened
    }
}

/// The packets that an [`EarlySocket`] holds. It keeps the socket open.
#[derive(Clone, Debug)]
pub struct EarlyPackets(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    index: u32,
    opened: Timestamp,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    socket: PacketSocket,
    /// What was read for a capture already, for those that come later.
    log: Vec<EarlyPacket>,
    bytes: usize,
    dropped: u64,
}

/// A packet as it was queued.
#[derive(Clone, Debug)]
pub(crate) struct EarlyPacket {
    pub(crate) timestamp: Timestamp,
    pub(crate) len: u32,
    pub(crate) tag: Option<Tag>,
    pub(crate) direction: u8,
    pub(crate) protocol: u16,
    pub(crate) data: Bytes,
}

impl EarlyPackets {
    /// True if they are of this interface, and not of another that has its index in another namespace.
    pub(crate) fn index(&self) -> u32 {
        self.0.index
    }

    /// Reads what the kernel has queued up to now, so that it has room. Returns how many packets it, or
    /// the log, had no room for since the socket was opened.
    pub(crate) fn drain(&self) -> io::Result<u64> {
        self.lock().drain(Timestamp::now())
    }

    /// Everything up to now, and what there was no room for.
    pub(crate) fn take(&self) -> io::Result<Vec<EarlyPacket>> {
        let mut state = self.lock();
        state.drain(Timestamp::now())?;
        Ok(state.log.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Reads until the queue is empty or what it holds came after `until`: a sender that is faster than
    /// this loop must not keep it.
    fn drain(&mut self, until: Timestamp) -> io::Result<u64> {
        let mut receiver = Receiver::default();
        loop {
            match receiver.next(&self.socket) {
                Ok(Some(frame)) => {
                    let timestamp = frame.timestamp.unwrap_or(until);
                    self.keep(&frame, timestamp);
                    if timestamp > until {
                        break;
                    }
                }
                Ok(None) => break,
                // Told once when the interface goes down; what it sent before is still queued.
                Err(error) if error.raw_os_error() == Some(libc::ENETDOWN) => {}
                Err(error) => return Err(error),
            }
        }
        self.dropped += u64::from(self.socket.statistics()?.drops);
        Ok(self.dropped)
    }

    fn keep(&mut self, frame: &Frame<'_>, timestamp: Timestamp) {
        if self.bytes + frame.data.len() > LOG {
            self.dropped += 1;
            return;
        }
        self.bytes += frame.data.len();
        self.log.push(EarlyPacket {
            timestamp,
            len: frame.len,
            tag: frame.tag,
            direction: frame.direction,
            protocol: frame.protocol,
            data: Bytes::copy_from_slice(frame.data),
        });
    }
}

/// Makes the kernel stamp every packet as it comes, for as long as this process lives.
///
/// It begins to do so a moment after the first socket has asked, and until then a packet gets the time
/// at which it is read: so one socket asks early and keeps it on.
pub(crate) fn keep_stamps_on() {
    static ASKING: OnceLock<Option<PacketSocket>> = OnceLock::new();
    ASKING.get_or_init(|| {
        let socket = PacketSocket::new().ok()?;
        socket
            .set_option(libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)
            .ok()?;
        Some(socket)
    });
}
