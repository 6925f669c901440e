//! Capture streams over TCP: `nc -N HOST 8100 < FILE`.
//!
//! A client sends pcap or pcapng, or gzip of either, as many files as it likes one after another, at
//! once or as packets come, and gets no answer but the end of the connection, when all is taken.
//! Packets keep their times. A client that sends something else loses its own connection and nothing
//! more.
//!
//! A file of the same machine can be handed over instead (see [`Handover`]).
//!
//! Each connection has a thread that reads, parses and hands on, so that a flow table or store that
//! falls behind makes the peer send more slowly, by TCP's own means.

mod chosen;
mod client;
mod gate;
mod handover;
mod ingest;
mod reader;
mod stats;

#[cfg(test)]
mod tests;

pub use chosen::PcapSocketCollector;
pub use handover::{Answer, Handover};
pub use ingest::{Ingest, IngestError, IngestReport, Pull, ingest, unsupported};
pub use reader::{PcapSocket, PcapSocketOptions, PcapSocketReader};
pub use stats::{ClientStats, FailedClient, PcapSocketCounters, PcapSocketStats, Peer};
