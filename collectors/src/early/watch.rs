//! A socket that is there before the interfaces are.

use std::collections::HashMap;
use std::fs::read_to_string;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use rustix::net::netdevice::name_to_index;

use super::{Before, EarlyPacket, EarlySocket, Held, LOG, drain, keep_stamps_on, queueing};
use crate::bpf::KernelFilter;
use crate::namespace::inside;
use crate::packet_socket::PacketSocket;
use crate::{CollectError, Interface};

/// How far an interface may be behind the newest that was asked for, in indices, before its packets are
/// given up: a pair of interfaces may be asked for in any order.
const BEHIND: u32 = 64;

/// Holds what comes in at new interfaces of one network namespace, from before they exist.
///
/// Linux numbers interfaces upwards, so one socket on all interfaces, with a filter on the index, queues
/// packets of those alone that are newer than the watch. [`EarlyWatch::socket`] gives each new interface
/// a socket of its own, that begins with its first packet. An interface that comes from another namespace
/// may bring a low index with it, and has to do with a plain [`EarlySocket`]; that is what it gets.
///
/// It holds no packets that this machine sends: to see those would cost every packet of every interface.
/// As it is a packet that comes in costs a filter of four instructions more. The namespace lives as long
/// as the watch: drop it when the namespace is deleted.
#[derive(Debug)]
pub struct EarlyWatch {
    netns: Option<PathBuf>,
    state: Mutex<Watching>,
}

#[derive(Debug)]
struct Watching {
    socket: PacketSocket,
    /// The filter lets newer interfaces pass.
    newest: u32,
    /// Of newer interfaces nothing is missing: they did not exist when the watch began, or when there was
    /// no room.
    complete_after: u32,
    /// What was read, by interface.
    held: HashMap<u32, Vec<EarlyPacket>>,
    bytes: usize,
}

impl EarlyWatch {
    /// Begins to watch a namespace, `None` for flowtap's own.
    ///
    /// # Errors
    /// [`CollectError::Open`] without the rights to capture or to enter the namespace.
    pub fn open(netns: Option<PathBuf>) -> Result<Self, CollectError> {
        keep_stamps_on();
        let open = || {
            let socket = PacketSocket::new()?;
            queueing(&socket)?;
            let newest = newest_interface(&socket)?;
            attach(&socket, newest)?;
            socket.bind_all()?;
            // One that appeared in between may have had packets before.
            let complete_after = newest_interface(&socket)?;
            Ok((socket, newest, complete_after))
        };
        let (socket, newest, complete_after) = inside(netns.as_deref(), open).map_err(|source| {
            let place = netns.as_ref().map(|path| path.display().to_string());
            CollectError::open(place.as_deref().unwrap_or("all interfaces"), source)
        })?;
        Ok(Self {
            netns,
            state: Mutex::new(Watching {
                socket,
                newest,
                complete_after,
                held: HashMap::new(),
                bytes: 0,
            }),
        })
    }

    /// A socket for an interface that has appeared, with all that came in before. Ask for each new
    /// interface soon: those that are older by 64 get what came in from now on.
    ///
    /// # Errors
    /// As [`EarlySocket::open`].
    pub fn socket(&self, interface: &Interface) -> Result<EarlySocket, CollectError> {
        if interface.netns != self.netns {
            return EarlySocket::open(interface);
        }
        let ask = Box::new(|| self.hand_over(interface.index));
        EarlySocket::new(interface, Before { ask: Some(ask) })
    }

    /// What is held of an interface that has a socket of its own now.
    ///
    /// No packet falls between: the kernel shows each packet to sockets on all interfaces first and to
    /// those of its interface then. One that the new filter refused is shown to the new socket, which was
    /// bound before; one that the old filter let pass may be at both, and is told by its time and bytes.
    fn hand_over(&self, index: u32) -> io::Result<Held> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = index > state.newest;
        if is_new {
            attach(&state.socket, index)?;
            state.newest = index;
        }
        // Nothing tells whose packets were dropped.
        let dropped = state.drain()?;
        Ok(Held {
            packets: state.take(index),
            dropped,
            is_complete: is_new && index > state.complete_after,
        })
    }
}

impl Watching {
    /// Reads what is queued. Returns how many packets there was no room for.
    fn drain(&mut self) -> io::Result<u64> {
        let Self {
            socket,
            newest,
            complete_after,
            held,
            bytes,
        } = self;
        let oldest = newest.saturating_sub(BEHIND);
        let dropped = drain(socket, |packet| {
            if packet.index() < oldest {
                return true;
            }
            *bytes += packet.cost();
            let has_room = *bytes <= LOG;
            if has_room {
                held.entry(packet.index()).or_default().push(packet);
            }
            has_room
        })?;
        held.retain(|index, _| *index >= oldest);
        if dropped > 0 {
            let newest_seen = held.keys().copied().max().unwrap_or_default();
            *complete_after = newest_seen.max(*newest);
        }
        Ok(dropped)
    }

    fn take(&mut self, index: u32) -> Vec<EarlyPacket> {
        let packets = self.held.remove(&index).unwrap_or_default();
        self.bytes = self.held.values().flatten().map(EarlyPacket::cost).sum();
        packets
    }
}

fn attach(socket: &PacketSocket, newest: u32) -> io::Result<()> {
    let filter = KernelFilter::newer_than(newest).for_socket();
    filter.map_or(Ok(()), |program| socket.attach(&program))
}

/// The highest index of this thread's namespace.
fn newest_interface(socket: &PacketSocket) -> io::Result<u32> {
    let table = read_to_string("/proc/thread-self/net/dev")?;
    let names = table
        .lines()
        .filter_map(|line| Some(line.split_once(':')?.0.trim()));
    // One that vanished meanwhile has none.
    let indices = names.filter_map(|name| name_to_index(socket, name).ok());
    Ok(indices.max().unwrap_or_default())
}
