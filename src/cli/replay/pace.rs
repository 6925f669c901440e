//! Packets as far apart as they were recorded.

use std::net::TcpStream;
use std::time::Instant;

use anyhow::Result;
use flowtap_flow::packet::Packet;
use flowtap_flow::pcap::PcapNgWriter;
use flowtap_flow::timestamp::Timestamp;

/// Sends packets when it is their time. They go as pcapng, which holds any mix of link types, and
/// keep the times that they were recorded with.
pub(super) struct Pacer {
    writer: PcapNgWriter<TcpStream>,
    /// When the first packet was sent, and its own time.
    began: Option<(Instant, Timestamp)>,
}

impl Pacer {
    pub(super) fn new(socket: TcpStream) -> Result<Self> {
        // Each packet leaves at once: waiting for a full segment would undo the pace.
        socket.set_nodelay(true).map_err(super::lost)?;
        Ok(Self {
            writer: PcapNgWriter::new(socket).map_err(super::lost)?,
            began: None,
        })
    }

    /// Sends each packet in its time. One that is older than those before it goes at once.
    pub(super) fn send(&mut self, packets: &[Packet<'_>]) -> Result<()> {
        for packet in packets {
            let (began, first) = *self
                .began
                .get_or_insert_with(|| (Instant::now(), packet.timestamp));
            let due = packet.timestamp.since(first);
            std::thread::sleep(due.saturating_sub(began.elapsed()));
            self.writer.write(packet).map_err(super::lost)?;
        }
        Ok(())
    }

    /// Ends the file; the socket is still open.
    pub(super) fn finish(self) -> Result<TcpStream> {
        self.writer.finish().map_err(super::lost)
    }
}
