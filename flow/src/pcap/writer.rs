//! pcap files out.

use std::borrow::Cow;
use std::io::Write;

use pcap_file::pcap::{PcapHeader, PcapWriter as FileWriter, RawPcapPacket};
use pcap_file::{DataLink, Endianness, PcapError as FileError, TsResolution};

use super::MAX_SNAPLEN;
use super::error::PcapError;
use crate::packet::{LinkType, Packet, RawPacket};
use crate::timestamp::Timestamp;

/// The unit of a pcap file's timestamps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resolution {
    /// Microseconds, magic a1b2c3d4: what every program reads.
    #[default]
    Micros,
    /// Nanoseconds, magic a1b23c4d: read by libpcap since 1.5 and by Wireshark.
    Nanos,
}

/// Writes one pcap file (little endian, snaplen 262,144).
///
/// The file's header is written at once, so that a file without packets is a valid one.
#[derive(Debug)]
pub struct PcapWriter<W: Write> {
    file: FileWriter<W>,
    link_type: LinkType,
    resolution: Resolution,
}

impl<W: Write> PcapWriter<W> {
    /// Writes the header of a file of `link_type`.
    ///
    /// # Errors
    /// [`PcapError::Write`].
    pub fn new(output: W, link_type: LinkType, resolution: Resolution) -> Result<Self, PcapError> {
        let header = PcapHeader {
            snaplen: MAX_SNAPLEN,
            datalink: DataLink::from(u32::from(link_type.0)),
            ts_resolution: match resolution {
                Resolution::Micros => TsResolution::MicroSecond,
                Resolution::Nanos => TsResolution::NanoSecond,
            },
            endianness: Endianness::Little,
            ..PcapHeader::default()
        };
        let file = FileWriter::with_header(output, header).map_err(write_error)?;
        Ok(Self {
            file,
            link_type,
            resolution,
        })
    }

    /// Writes one packet with its true length; bytes above 262,144 are left out, since readers refuse
    /// a longer record. Times before 1970 and after 2106 become the nearest that the format holds.
    ///
    /// # Errors
    /// [`PcapError::MixedLinkTypes`] if the file is of another link type, and [`PcapError::Write`].
    pub fn write(&mut self, packet: &Packet<'_>) -> Result<(), PcapError> {
        if !holds(self.link_type, packet.link_type) {
            return Err(PcapError::MixedLinkTypes(self.link_type, packet.link_type));
        }
        let (ts_sec, nanos) = split(packet.timestamp);
        let data = &packet.data[..packet.data.len().min(MAX_SNAPLEN as usize)];
        let incl_len = u32::try_from(data.len()).unwrap_or(MAX_SNAPLEN);
        let record = RawPcapPacket {
            ts_sec,
            ts_frac: match self.resolution {
                Resolution::Micros => nanos / 1_000,
                Resolution::Nanos => nanos,
            },
            incl_len,
            orig_len: packet.len.max(incl_len),
            data: Cow::Borrowed(data),
        };
        self.file.write_raw_packet(&record).map_err(write_error)?;
        Ok(())
    }

    /// Writes raw packets in the order given.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn write_packets<'a>(
        &mut self,
        packets: impl IntoIterator<Item = &'a RawPacket>,
    ) -> Result<(), PcapError> {
        packets
            .into_iter()
            .try_for_each(|packet| self.write(&packet.as_packet()))
    }

    /// Flushes the output and gives it back.
    ///
    /// # Errors
    /// [`PcapError::Write`].
    pub fn finish(self) -> Result<W, PcapError> {
        let mut output = self.file.into_writer();
        output.flush().map_err(PcapError::Write)?;
        Ok(output)
    }
}

/// The link type of the one pcap file that can hold packets of all `link_types`: their own if it is
/// one, [`LinkType::RAW`] for a mix of bare IP packets, Ethernet for none at all.
///
/// # Errors
/// [`PcapError::MixedLinkTypes`], naming two that do not go together.
pub fn file_link_type(link_types: impl IntoIterator<Item = LinkType>) -> Result<LinkType, PcapError> {
    let mut common = None;
    for link_type in link_types {
        common = Some(match common {
            None => link_type,
            Some(common) if common == link_type => common,
            Some(common) if is_bare_ip(common) && is_bare_ip(link_type) => LinkType::RAW,
            Some(common) => return Err(PcapError::MixedLinkTypes(common, link_type)),
        });
    }
    Ok(common.unwrap_or(LinkType::ETHERNET))
}

/// A whole pcap file of `packets`, in the order given.
///
/// # Errors
/// [`PcapError::MixedLinkTypes`].
pub fn to_pcap(packets: &[RawPacket], resolution: Resolution) -> Result<Vec<u8>, PcapError> {
    let link_type = file_link_type(packets.iter().map(|packet| packet.link_type))?;
    let size: usize = packets.iter().map(|packet| 16 + packet.data.len()).sum();
    let mut file = PcapWriter::new(Vec::with_capacity(24 + size), link_type, resolution)?;
    file.write_packets(packets)?;
    file.finish()
}

/// True if a file of link type `file` can hold a packet of `packet`'s.
fn holds(file: LinkType, packet: LinkType) -> bool {
    file == packet || (file == LinkType::RAW && is_bare_ip(packet))
}

fn is_bare_ip(link_type: LinkType) -> bool {
    matches!(link_type, LinkType::RAW | LinkType::IPV4 | LinkType::IPV6)
}

/// Seconds and nanoseconds since 1970, within 32 bits of seconds.
fn split(timestamp: Timestamp) -> (u32, u32) {
    const SECOND: i64 = 1_000_000_000;
    let nanos = timestamp
        .nanos()
        .clamp(0, i64::from(u32::MAX) * SECOND + (SECOND - 1));
    let part = |value: i64| u32::try_from(value).unwrap_or_default();
    (part(nanos / SECOND), part(nanos % SECOND))
}

/// `pcap-file`'s raw calls fail only where the output does.
pub(super) fn write_error(error: FileError) -> PcapError {
    PcapError::Write(match error {
        FileError::IoError(error) => error,
        other => std::io::Error::other(other.to_string()),
    })
}
