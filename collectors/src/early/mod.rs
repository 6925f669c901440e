//! The first packets of an interface, held until a capture wants them.
//!
//! Opening a capture takes longer than a machine needs to send its first packet: metadata that tells
//! whose interface it is comes late, and a ring takes some 10 ms to set up. An [`EarlySocket`] takes a
//! twentieth of a millisecond, so it is opened for every interface that appears while a capture waits.
//! The kernel queues packets at it; whoever opens a capture takes them along as [`EarlyPackets`].
//!
//! A sender that is ready when its interface appears can be faster even than that. An [`EarlyWatch`] is
//! there before: it holds what comes in at interfaces that do not exist yet, and makes early sockets
//! whose first packet is the interface's first.

mod coverage;
mod duplicates;
mod packet;
mod watch;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use flowtap_flow::timestamp::Timestamp;

use crate::namespace::inside;
use crate::packet_socket::{PacketSocket, Receiver};
use crate::{CollectError, Interface};

pub use coverage::Coverage;
pub(crate) use coverage::{Covered, Covering};
pub(crate) use duplicates::Duplicates;
pub(crate) use packet::EarlyPacket;
pub use watch::EarlyWatch;

/// What the kernel may hold at one socket, in bytes. It counts some 770 for a small packet and doubles
/// what is asked for: 10,000 small packets. Later ones are dropped, and counted.
const QUEUE: libc::c_int = 4 << 20;

/// What all captures of one interface may take along together, in bytes; beyond that packets are
/// dropped, and counted.
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
        Self::new(interface, Before::default())
    }

    /// One that goes on where a watch has begun; `before` is asked once the socket is open.
    fn new(interface: &Interface, before: Before<'_>) -> Result<Self, CollectError> {
        keep_stamps_on();
        let failed = |source| CollectError::open(&interface.name, source);
        let open = || {
            let socket = PacketSocket::new()?;
            socket.place(interface.index)?;
            socket.bind(interface.index)?;
            // They hold for what has come since, too.
            queueing(&socket)?;
            Ok(socket)
        };
        let socket = inside(interface.netns.as_deref(), open).map_err(failed)?;
        let before = match before.ask {
            Some(ask) => ask().map_err(failed)?,
            None => Held::default(),
        };
        let mut duplicates = Duplicates::new(0);
        before
            .packets
            .iter()
            .for_each(|packet| duplicates.add(&packet.frame()));
        let shared = Shared {
            index: interface.index,
            opened: Timestamp::now(),
            is_complete: before.is_complete,
            state: Mutex::new(State {
                socket,
                duplicates,
                bytes: before.packets.iter().map(EarlyPacket::cost).sum(),
                log: before.packets,
                dropped: before.dropped,
            }),
        };
        Ok(Self {
            packets: EarlyPackets {
                shared: Arc::new(shared),
                coverage: None,
            },
        })
    }

    /// What came in, and comes in until a capture takes over; for any number of captures, each of which
    /// gets all.
    #[must_use]
    pub fn packets(&self) -> EarlyPackets {
        self.packets.clone()
    }

    /// Lets the kernel hold `bytes` at most from now on, counted as it does: some 770 for a small packet.
    /// Without this it is 8 MiB. What is queued already stays.
    ///
    /// # Errors
    /// The kernel's.
    pub fn limit_queue(&self, bytes: usize) -> io::Result<()> {
        // The kernel doubles what it is told.
        let told = libc::c_int::try_from(bytes / 2).unwrap_or(libc::c_int::MAX);
        self.packets.shared.lock().socket.set_receive_buffer(told)
    }

    /// When the socket was opened: packets from then on are held, and what a watch held before.
    #[must_use]
    pub fn opened(&self) -> Timestamp {
        self.packets.shared.opened
    }

    /// True if everything is held that ever came in at the interface: it appeared while an
    /// [`EarlyWatch`] was there.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.packets.shared.is_complete
    }
}

/// Asks a watch for what it holds.
#[derive(Default)]
struct Before<'a> {
    ask: Option<Box<dyn FnOnce() -> io::Result<Held> + 'a>>,
}

/// What a watch held of an interface.
#[derive(Debug, Default)]
struct Held {
    packets: Vec<EarlyPacket>,
    dropped: u64,
    is_complete: bool,
}

/// The packets that an [`EarlySocket`] holds. It keeps the socket open.
#[derive(Clone, Debug)]
pub struct EarlyPackets {
    shared: Arc<Shared>,
    coverage: Option<Coverage>,
}

#[derive(Debug)]
struct Shared {
    index: u32,
    opened: Timestamp,
    is_complete: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    socket: PacketSocket,
    /// What a watch held, and the socket has again.
    duplicates: Duplicates,
    /// What was read for a capture already, for those that come later.
    log: Vec<EarlyPacket>,
    bytes: usize,
    dropped: u64,
}

impl EarlyPackets {
    /// Those alone that no source before has taken; `coverage` is the same for all sources of a capture at
    /// this interface.
    #[must_use]
    pub fn after(self, coverage: Coverage) -> Self {
        Self {
            coverage: Some(coverage),
            ..self
        }
    }

    /// The index of their interface.
    pub(crate) fn index(&self) -> u32 {
        self.shared.index
    }

    /// A source begins. Returns what was taken before it, and where to say how far it came.
    pub(crate) fn begin(&self) -> (Covered, Option<Covering>) {
        match &self.coverage {
            None => (Covered::default(), None),
            Some(coverage) => {
                let covering = Covering::new(coverage.clone(), Arc::downgrade(&self.shared));
                (coverage.begin(), Some(covering))
            }
        }
    }

    /// [`Shared::drain`].
    pub(crate) fn drain(&self) -> io::Result<u64> {
        self.shared.drain()
    }

    /// Everything up to now.
    pub(crate) fn take(&self) -> io::Result<Vec<EarlyPacket>> {
        let mut state = self.shared.lock();
        state.drain()?;
        Ok(state.log.clone())
    }
}

impl Shared {
    /// Reads what the kernel has queued up to now, so that it has room. Returns how many packets it, or
    /// the log, had no room for since the socket was opened.
    fn drain(&self) -> io::Result<u64> {
        let mut state = self.lock();
        state.drain()?;
        Ok(state.dropped)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn drain(&mut self) -> io::Result<()> {
        let Self {
            socket,
            duplicates,
            log,
            bytes,
            dropped,
        } = self;
        *dropped += drain(socket, |frame| {
            if duplicates.take(&frame.frame()) {
                return true;
            }
            *bytes += frame.cost();
            let has_room = *bytes <= LOG;
            if has_room {
                log.push(frame);
            }
            has_room
        })?;
        Ok(())
    }
}

/// Lets a socket queue packets with their times and tags.
fn queueing(socket: &PacketSocket) -> io::Result<()> {
    socket.set_receive_buffer(QUEUE)?;
    socket.set_option(libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
    socket.set_option(libc::SOL_PACKET, libc::PACKET_AUXDATA, 1)
}

/// Reads until the queue is empty or what it holds came after the call: a sender that is faster than this
/// loop must not keep it. Returns how many packets `keep` or the kernel had no room for.
fn drain(socket: &PacketSocket, mut keep: impl FnMut(EarlyPacket) -> bool) -> io::Result<u64> {
    let (until, mut dropped) = (Timestamp::now(), 0);
    let mut receiver = Receiver::default();
    loop {
        match receiver.next(socket) {
            Ok(Some(frame)) => {
                dropped += u64::from(!keep(EarlyPacket::new(&frame)));
                if frame.timestamp > until {
                    break;
                }
            }
            Ok(None) => break,
            // Told once when the interface goes down; what it sent before is still queued.
            Err(error) if error.raw_os_error() == Some(libc::ENETDOWN) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(dropped + u64::from(socket.statistics()?.drops))
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
