//! pcapng files out.

use std::borrow::Cow;
use std::io::Write;
use std::time::Duration;

use pcap_file::pcapng::PcapNgWriter as FileWriter;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::{DataLink, Endianness};

use super::MAX_SNAPLEN;
use super::error::PcapError;
use super::writer::write_error;
use crate::packet::{LinkType, Packet, RawPacket};

/// Writes one pcapng file of one section, in nanoseconds, with an interface for each link type.
///
/// All interfaces have the same snaplen: `tcpdump` stops at a second one. It also stops at a second
/// link type, which Wireshark and tshark read; where that matters, write pcap.
#[expect(missing_debug_implementations, reason = "pcap-file's writer has none")]
pub struct PcapNgWriter<W: Write> {
    file: FileWriter<W>,
    /// By interface number. Few: a linear search is quickest.
    link_types: Vec<LinkType>,
}

impl<W: Write> PcapNgWriter<W> {
    /// Writes the section's header.
    ///
    /// # Errors
    /// [`PcapError::Write`].
    pub fn new(output: W) -> Result<Self, PcapError> {
        let application = concat!("flowtap ", env!("CARGO_PKG_VERSION"));
        let section = SectionHeaderBlock {
            endianness: Endianness::Little,
            options: vec![SectionHeaderOption::UserApplication(Cow::Borrowed(application))],
            ..SectionHeaderBlock::default()
        };
        let file = FileWriter::with_section_header(output, section).map_err(write_error)?;
        Ok(Self {
            file,
            link_types: Vec::new(),
        })
    }

    /// Writes one packet with its true length; bytes above 262,144 are left out.
    ///
    /// # Errors
    /// [`PcapError::Write`].
    pub fn write(&mut self, packet: &Packet<'_>) -> Result<(), PcapError> {
        let interface_id = self.interface(packet.link_type)?;
        let data = &packet.data[..packet.data.len().min(MAX_SNAPLEN as usize)];
        let block = EnhancedPacketBlock {
            interface_id,
            // Written as it is, in units of the interface: nanoseconds.
            timestamp: Duration::from_nanos(u64::try_from(packet.timestamp.nanos()).unwrap_or_default()),
            original_len: packet.len.max(u32::try_from(data.len()).unwrap_or(MAX_SNAPLEN)),
            data: Cow::Borrowed(data),
            options: Vec::new(),
        };
        self.file.write_pcapng_block(block).map_err(write_error)?;
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

    /// Flushes the output and gives it back. A file without packets gets an Ethernet interface, since
    /// libpcap refuses one without any.
    ///
    /// # Errors
    /// [`PcapError::Write`].
    pub fn finish(mut self) -> Result<W, PcapError> {
        if self.link_types.is_empty() {
            self.interface(LinkType::ETHERNET)?;
        }
        let mut output = self.file.into_inner();
        output.flush().map_err(PcapError::Write)?;
        Ok(output)
    }

    /// The number of the interface for `link_type`, described when it is first needed.
    fn interface(&mut self, link_type: LinkType) -> Result<u32, PcapError> {
        let id = match self.link_types.iter().position(|known| *known == link_type) {
            Some(id) => id,
            None => {
                let block = InterfaceDescriptionBlock {
                    linktype: DataLink::from(u32::from(link_type.0)),
                    snaplen: MAX_SNAPLEN,
                    options: vec![InterfaceDescriptionOption::IfTsResol(9)],
                };
                self.file.write_pcapng_block(block).map_err(write_error)?;
                self.link_types.push(link_type);
                self.link_types.len() - 1
            }
        };
        Ok(u32::try_from(id).unwrap_or(u32::MAX))
    }
}

/// A whole pcapng file of `packets`, in the order given.
///
/// # Errors
/// [`PcapError::Write`], which memory does not give.
pub fn to_pcapng(packets: &[RawPacket]) -> Result<Vec<u8>, PcapError> {
    let mut file = PcapNgWriter::new(Vec::new())?;
    file.write_packets(packets)?;
    file.finish()
}
