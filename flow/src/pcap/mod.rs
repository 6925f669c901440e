//! Capture files in and out: pcap, pcapng, and gzip of either.
//!
//! [`StreamParser`] takes bytes as they come, from a socket, a file or a request body, and lends the
//! packets out of its own buffer in batches. [`PcapWriter`] and [`PcapNgWriter`] write them. Nothing
//! here reads a socket or a clock.
//!
//! ```
//! use flowtap_flow::packet::{LinkType, Packet};
//! use flowtap_flow::pcap::{PcapWriter, Resolution, StreamParser};
//! use flowtap_flow::timestamp::Timestamp;
//!
//! # fn main() -> Result<(), flowtap_flow::pcap::PcapError> {
//! let mut file = PcapWriter::new(Vec::new(), LinkType::ETHERNET, Resolution::Nanos)?;
//! file.write(&Packet::new(Timestamp::from_secs(1), 60, LinkType::ETHERNET, &[0; 60]))?;
//! let bytes = file.finish()?;
//!
//! let mut parser = StreamParser::new(Timestamp::ZERO);
//! let mut packets = 0;
//! for piece in bytes.chunks(7) {
//!     parser.push(piece, &mut |batch: &[Packet<'_>]| packets += batch.len())?;
//! }
//! assert_eq!(parser.finish().cut_bytes, 0);
//! assert_eq!(packets, 1);
//! # Ok(())
//! # }
//! ```

mod buffer;
mod error;
mod format;
mod gzip;
mod legacy;
mod ng;
mod ng_interface;
mod ng_writer;
mod records;
mod stream;
mod writer;

#[cfg(test)]
mod tests;

pub use error::{Damage, PcapError};
pub use ng_writer::{PcapNgWriter, to_pcapng};
pub use stream::{Ending, StreamParser};
pub use writer::{PcapWriter, Resolution, file_link_type, to_pcap};

/// Bytes of one packet that are written at most; the limit of libpcap, whose readers refuse more.
pub const MAX_SNAPLEN: u32 = 262_144;

/// Bytes of one packet, or one pcapng block, that are taken in at most. More than [`MAX_SNAPLEN`]
/// because IPv6 jumbograms of the kernel's making reach 512 KiB; not what a file's header says,
/// because that may be anything and the buffer must hold one whole record.
pub(crate) const MAX_RECORD: u32 = 1 << 20;

/// The length on the wire to believe, of what a record's header says.
///
/// Real captures hold garbage there (some writers leave the field unset). A length below what was
/// captured cannot be, and one above 256 KiB is not believed; the captured length stands for both.
#[inline]
pub(crate) fn wire_len(original: u32, captured: u32) -> u32 {
    if original < captured || original > MAX_SNAPLEN {
        captured
    } else {
        original
    }
}
