//! The traffic of `benches/README.md`, in memory.

#[path = "../../../benches/capgen/packets/mod.rs"]
mod packets;

use std::ops::Range;
use std::path::Path;

use flowtap_flow::packet::{LinkType, Packet};
use flowtap_flow::timestamp::Timestamp;

use packets::{Mix, Small};

/// Flows of [`Traffic::small`].
const SMALL_FLOWS: u32 = 100_000;
/// Packets of each kind: an iteration takes some tenths of a second, and no processor's cache holds them.
pub(crate) const PACKETS: u32 = 1 << 20;

/// Packets one after another, as a reader's buffer holds them.
#[derive(Default)]
pub(crate) struct Traffic {
    bytes: Vec<u8>,
    packets: Vec<(Timestamp, u32, LinkType, Range<usize>)>,
}

impl Traffic {
    fn push(&mut self, packet: &Packet<'_>) {
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(packet.data);
        self.packets.push((
            packet.timestamp,
            packet.len,
            packet.link_type,
            begin..self.bytes.len(),
        ));
    }

    /// 64-byte packets of 100,000 flows, unequally busy.
    pub(crate) fn small() -> Self {
        let mut traffic = Self::default();
        Small::new(SMALL_FLOWS).generate(PACKETS, |packet| traffic.push(packet));
        traffic
    }

    /// Flows of two packets.
    pub(crate) fn churn() -> Self {
        let mut traffic = Self::default();
        packets::churn(PACKETS, |packet| traffic.push(packet));
        traffic
    }

    /// The recording of the lab, repeated.
    pub(crate) fn mix() -> Self {
        let mut traffic = Self::default();
        let mut mix = Mix::default();
        let recording = Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/lab-mix.pcap.gz");
        mix.add(&recording)
            .unwrap_or_else(|error| panic!("{}: {error}", recording.display()));
        mix.generate(PACKETS, |packet| traffic.push(packet));
        traffic
    }

    /// The packets, to be lent.
    pub(crate) fn packets(&self) -> Vec<Packet<'_>> {
        let lend = |(at, len, link_type, data): &(Timestamp, u32, LinkType, Range<usize>)| {
            Packet::new(*at, *len, *link_type, &self.bytes[data.clone()])
        };
        self.packets.iter().map(lend).collect()
    }
}
