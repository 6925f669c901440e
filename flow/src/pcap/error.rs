//! What can be wrong with a capture file.

use crate::packet::LinkType;

/// Why a capture stream cannot be read on, or a capture file not be written.
#[derive(Debug, thiserror::Error)]
pub enum PcapError {
    /// The first bytes are those of no format that is read.
    #[error("found {found}; accepted are pcap, pcapng, and gzip of either")]
    NotACapture {
        /// What is there, in words where it is known, else the bytes.
        found: String,
    },
    /// A record broke its format's rules in a way that hides where the next one begins. All packets
    /// before it were handed out.
    #[error("damaged at byte {offset}: {damage}")]
    Damaged {
        /// Where the record begins, in bytes since the start of the stream, after decompression.
        offset: u64,
        /// What is wrong with it.
        damage: Damage,
    },
    /// The gzip layer is broken.
    #[error("the gzip data is damaged: {0}")]
    Gzip(#[source] std::io::Error),
    /// Packets that one pcap file cannot hold, since its header names one link type for all.
    #[error(
        "packets of link types {0} and {1} cannot share one pcap file; \
         ask for one of them with a filter, or for pcapng"
    )]
    MixedLinkTypes(LinkType, LinkType),
    /// The output cannot be written.
    #[error("failed to write the capture file: {0}")]
    Write(#[source] std::io::Error),
}

/// What is wrong with a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// A pcap header of a version that is not read.
    #[error("pcap version {major}.{minor} is not read, only 2.x is")]
    Version {
        /// Major version, 2 in all files since 1998.
        major: u16,
        /// Minor version, 4 in all files since 1998.
        minor: u16,
    },
    /// A captured length that no writer uses.
    #[error("a packet of {len} captured bytes, where at most {limit} are accepted")]
    PacketLength {
        /// What the record says.
        len: u32,
        /// The most that is accepted: the file's snaplen, within 256 KiB and 1 MiB.
        limit: u32,
    },
    /// A pcapng block that cannot be framed.
    #[error("a pcapng block whose {0}")]
    Block(&'static str),
    /// More interfaces than are accepted in one pcapng section.
    #[error("more than {limit} interfaces in one pcapng section")]
    Interfaces {
        /// The most that are accepted.
        limit: usize,
    },
}
