//! `AF_PACKET` sockets, packet(7): what the early sockets, the rings and the counters share.

mod receive;

use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use flowtap_flow::packet::LinkType;
use socket2::{Domain, SockAddr, SockFilter, SockRef, Socket, Type};

pub(crate) use receive::{Frame, Receiver, Tag};

/// Hardware types of `linux/if_arp.h` that libc does not name.
mod hardware {
    pub(super) const ETHER: u16 = 1;
    pub(super) const PPP: u16 = 512;
    pub(super) const RAWIP: u16 = 519;
    pub(super) const TUNNEL: u16 = 768;
    pub(super) const TUNNEL6: u16 = 769;
    pub(super) const LOOPBACK: u16 = 772;
    pub(super) const SIT: u16 = 776;
    pub(super) const IPGRE: u16 = 778;
    pub(super) const IP6GRE: u16 = 823;
    pub(super) const NONE: u16 = 0xfffe;
}

/// What kind of interface a socket is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hardware(pub(crate) u16);

impl Hardware {
    /// What its packets begin with; `None` for headers that flowtap does not read. As libpcap has it.
    pub(crate) fn link_type(self) -> Option<LinkType> {
        match self.0 {
            hardware::ETHER | hardware::LOOPBACK => Some(LinkType::ETHERNET),
            hardware::NONE
            | hardware::PPP
            | hardware::RAWIP
            | hardware::TUNNEL
            | hardware::TUNNEL6
            | hardware::SIT
            | hardware::IPGRE
            | hardware::IP6GRE => Some(LinkType::RAW),
            _ => None,
        }
    }

    /// Whether each of its packets is shown twice, when it is sent and when it comes back.
    pub(crate) fn is_loopback(self) -> bool {
        self.0 == hardware::LOOPBACK
    }
}

/// What the kernel counted at a socket since it was asked last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Statistics {
    /// Packets that the filter let pass, the dropped ones included.
    pub(crate) packets: u32,
    /// Packets that there was no room for.
    pub(crate) drops: u32,
}

/// A socket that sees the packets of one interface.
#[derive(Debug)]
pub(crate) struct PacketSocket(Socket);

impl PacketSocket {
    /// A socket that sees nothing until [`PacketSocket::bind`]: one that names its protocol at once would
    /// see packets of every interface until then.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(Socket::new(
            Domain::PACKET,
            Type::RAW.nonblocking().cloexec(),
            None,
        )?))
    }

    /// Names the interface, whose kind is returned, without seeing packets yet. On loopback interfaces
    /// packets will be seen as they come back, once.
    ///
    /// # Errors
    /// `ENODEV` if there is no such interface in the namespace that the socket was made in.
    pub(crate) fn place(&self, index: u32) -> io::Result<Hardware> {
        self.bind_protocol(index, 0)?;
        let hardware = self
            .hardware()?
            .ok_or(io::Error::from_raw_os_error(libc::ENODEV))?;
        if hardware.is_loopback() {
            ignore_outgoing(self.0.as_fd())?;
        }
        Ok(hardware)
    }

    /// Lets it see packets of every interface of its namespace, but none that is sent.
    pub(crate) fn bind_all(&self) -> io::Result<()> {
        ignore_outgoing(self.0.as_fd())?;
        self.bind(0)
    }

    /// Lets it see packets, from now on, whether the interface is up or not.
    pub(crate) fn bind(&self, index: u32) -> io::Result<()> {
        let all = u16::try_from(libc::ETH_P_ALL).unwrap_or_default();
        self.bind_protocol(index, all.to_be())
    }

    #[expect(unsafe_code, reason = "an address family that socket2 does not know")]
    fn bind_protocol(&self, index: u32, protocol: u16) -> io::Result<()> {
        let family = libc::sa_family_t::try_from(libc::AF_PACKET).unwrap_or_default();
        let index = libc::c_int::try_from(index).unwrap_or_default();
        // SAFETY: the storage is zeroed, aligned and large enough for every address; the closure makes
        // it a whole sockaddr_ll and says so by the length.
        let ((), address) = unsafe {
            SockAddr::try_init(|storage, length| {
                let address = storage.cast::<libc::sockaddr_ll>();
                (*address).sll_family = family;
                (*address).sll_protocol = protocol;
                (*address).sll_ifindex = index;
                *length = length_of::<libc::sockaddr_ll>();
                Ok(())
            })?
        };
        self.0.bind(&address)
    }

    /// The kind of its interface, `None` once that is gone from the socket's namespace.
    #[expect(unsafe_code, reason = "an address family that socket2 does not know")]
    pub(crate) fn hardware(&self) -> io::Result<Option<Hardware>> {
        let address = self.0.local_addr()?;
        // SAFETY: `address` owns a sockaddr_storage, which is large and aligned enough for a
        // sockaddr_ll; all of it is initialised, and any bytes make one.
        let address = unsafe { &*address.as_ptr().cast::<libc::sockaddr_ll>() };
        Ok((address.sll_ifindex > 0).then_some(Hardware(address.sll_hatype)))
    }

    /// True once the interface is gone from the socket's namespace. A new one of the same name is another.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.hardware(), Ok(None))
    }

    /// Asks the interface for packets to other machines, too, until the socket is closed.
    #[expect(unsafe_code, reason = "an option with a structure")]
    pub(crate) fn set_promiscuous(&self, index: u32) -> io::Result<()> {
        let request = libc::packet_mreq {
            mr_ifindex: libc::c_int::try_from(index).unwrap_or_default(),
            mr_type: libc::c_ushort::try_from(libc::PACKET_MR_PROMISC).unwrap_or_default(),
            mr_alen: 0,
            mr_address: [0; 8],
        };
        // SAFETY: the value of PACKET_ADD_MEMBERSHIP is a packet_mreq.
        unsafe { self.set_option_as(libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &request) }
    }

    /// Lets only packets pass that `program` returns a length for, and cuts them to it.
    pub(crate) fn attach(&self, program: &[SockFilter]) -> io::Result<()> {
        attach(self.0.as_fd(), program)
    }

    /// Asks for a receive buffer of so many bytes, beyond `net.core.rmem_max` where that is allowed.
    pub(crate) fn set_receive_buffer(&self, bytes: libc::c_int) -> io::Result<()> {
        self.set_option(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, bytes)
            .or_else(|_| self.set_option(libc::SOL_SOCKET, libc::SO_RCVBUF, bytes))
    }

    /// The error that the kernel has for the socket, `ENETDOWN` once the interface went down; it is told
    /// once.
    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.0.take_error()
    }

    /// What was counted since the last call.
    #[expect(unsafe_code, reason = "an option that socket2 does not know")]
    pub(crate) fn statistics(&self) -> io::Result<Statistics> {
        let mut counted = MaybeUninit::<libc::tpacket_stats>::zeroed();
        let mut length = length_of::<libc::tpacket_stats>();
        // SAFETY: the kernel writes at most `length` bytes, the size of `counted`.
        let result = unsafe {
            libc::getsockopt(
                self.0.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                counted.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        check(result)?;
        // SAFETY: it was zeroed, so all of it is initialised, and any bytes make one.
        let counted = unsafe { counted.assume_init() };
        Ok(Statistics {
            packets: counted.tp_packets,
            drops: counted.tp_drops,
        })
    }

    /// Sets an option of type int.
    pub(crate) fn set_option(
        &self,
        level: libc::c_int,
        name: libc::c_int,
        value: libc::c_int,
    ) -> io::Result<()> {
        set_option(self.0.as_fd(), level, name, value)
    }

    /// Sets an option.
    ///
    /// # Safety
    /// The option's value is a `T` to the kernel.
    #[expect(unsafe_code, reason = "options that socket2 does not know")]
    pub(crate) unsafe fn set_option_as<T>(
        &self,
        level: libc::c_int,
        name: libc::c_int,
        value: &T,
    ) -> io::Result<()> {
        // SAFETY: the caller's word.
        unsafe { set_option_as(self.0.as_fd(), level, name, value) }
    }
}

/// Shows packets of a packet socket's interface as they come in only: at a loopback interface, once.
pub(crate) fn ignore_outgoing(socket: BorrowedFd<'_>) -> io::Result<()> {
    set_option(socket, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1)
}

/// Lets only packets pass at a socket that `program` returns a length for, and cuts them to it.
pub(crate) fn attach(socket: BorrowedFd<'_>, program: &[SockFilter]) -> io::Result<()> {
    SockRef::from(&socket).attach_filter(program)
}

fn set_option(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the kernel's type of the options that are set by this function is int.
    #[expect(unsafe_code, reason = "see above")]
    unsafe {
        set_option_as(socket, level, name, &value)
    }
}

/// # Safety
/// The option's value is a `T` to the kernel.
#[expect(unsafe_code, reason = "options that socket2 does not know")]
unsafe fn set_option_as<T>(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: &T,
) -> io::Result<()> {
    // SAFETY: the descriptor is open for the call; pointer and length are those of `value`.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            length_of::<T>(),
        )
    };
    check(result).map(drop)
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for PacketSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn length_of<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(mem::size_of::<T>()).unwrap_or(libc::socklen_t::MAX)
}
