//! From the bytes of a capture stream to a sink, with the capture's ledger kept.

use std::io::{self, Read};
use std::sync::Arc;

use flowtap_flow::ledger::{DropReason, Ledger};
use flowtap_flow::packet::{LinkType, Packet, Sink};
use flowtap_flow::pcap::{PcapError, StreamParser};
use flowtap_flow::timestamp::Timestamp;

use crate::ReaderContext;

/// Why a capture stream was not taken to its end. What came before the fault has been handed on.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// There was not one byte.
    #[error("the stream is empty; send pcap or pcapng, or gzip of either")]
    Empty,
    /// It is not a capture stream, or damaged.
    #[error(transparent)]
    Format(#[from] PcapError),
    /// Its source failed.
    #[error("failed to read the stream: {0}")]
    Read(#[source] io::Error),
}

/// What a capture stream held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IngestReport {
    /// Packets handed to the sink.
    pub packets: u64,
    /// Those of them that no flow is made of, see [`unsupported`].
    pub unsupported: u64,
    /// The bytes of all on the wire.
    pub bytes: u64,
    /// The earliest time of a packet, if there was one.
    pub first: Option<Timestamp>,
    /// The latest.
    pub last: Option<Timestamp>,
    /// Packets passed over because their record made no sense.
    pub malformed: u64,
    /// Bytes of the record that the end of the stream cut.
    pub cut_bytes: u64,
    /// True if compressed data ended before its own end.
    pub gzip_cut: bool,
}

impl IngestReport {
    /// True if the stream ended in the middle of a record or of its compressed data.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.cut_bytes > 0 || self.gzip_cut
    }
}

/// What came of one read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pull {
    /// The source has ended.
    End,
    /// The source gave all that there was room for: more is likely to wait.
    Full,
    /// The source gave less than there was room for: it has nothing more at the moment.
    Short,
}

/// Takes one capture stream, by bytes pushed or from a reader.
///
/// Calls block while the sink does. The ledger gets each packet as received; what cannot be read (a
/// broken record, the cut tail, a stream that is no capture) is received, too, and dropped as
/// [`DropReason::Malformed`], one each. Dropped early, it flushes its sink.
pub struct Ingest {
    parser: StreamParser,
    intake: Intake,
    /// Set by an error: what the parser still holds is part of it.
    broken: bool,
}

struct Intake {
    sink: Box<dyn Sink>,
    ledger: Arc<Ledger>,
    report: IngestReport,
}

impl Ingest {
    /// A stream for `sink`. Packets without a time get that of the packet before, or the present.
    #[must_use]
    pub fn new(sink: Box<dyn Sink>, ledger: Arc<Ledger>) -> Self {
        Self {
            parser: StreamParser::new(Timestamp::now()),
            intake: Intake {
                sink,
                ledger,
                report: IngestReport::default(),
            },
            broken: false,
        }
    }

    /// Takes the next bytes and hands on every packet that is whole now.
    ///
    /// # Errors
    /// [`IngestError::Format`]; then the stream is lost from there on.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), IngestError> {
        let parsed = self
            .parser
            .push(bytes, &mut |batch: &[Packet<'_>]| self.intake.take(batch));
        self.settle(parsed)
    }

    /// Reads once from `source`, straight into the parser's buffer, and hands on every packet that is
    /// whole now.
    ///
    /// # Errors
    /// [`IngestError::Format`] and [`IngestError::Read`].
    pub fn pull(&mut self, source: &mut impl Read) -> Result<Pull, IngestError> {
        let room = self.parser.spare();
        let len = room.len();
        let count = loop {
            match source.read(room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read.map_err(IngestError::Read)?,
            }
        };
        if count == 0 {
            return Ok(Pull::End);
        }
        let parsed = self
            .parser
            .commit(count, &mut |batch: &[Packet<'_>]| self.intake.take(batch));
        self.settle(parsed)?;
        Ok(if count == len { Pull::Full } else { Pull::Short })
    }

    /// Makes the sink hand on what it holds back: the source pauses.
    pub fn flush(&mut self) {
        self.intake.sink.flush();
    }

    /// What came so far.
    #[must_use]
    pub fn report(&self) -> IngestReport {
        self.intake.report
    }

    /// Ends the stream and flushes the sink. A stream that was cut is no error here, see
    /// [`IngestReport::is_cut`], nor is one whose error was told before.
    ///
    /// # Errors
    /// [`IngestError::Empty`].
    pub fn finish(self) -> Result<IngestReport, IngestError> {
        let Self {
            parser,
            mut intake,
            broken,
        } = self;
        if broken {
            return Ok(intake.report);
        }
        let ending = parser.finish();
        intake.report.cut_bytes = ending.cut_bytes;
        intake.report.gzip_cut = ending.gzip_cut;
        if intake.report.is_cut() {
            intake.lost(1);
        }
        if ending.empty {
            Err(IngestError::Empty)
        } else {
            Ok(intake.report)
        }
    }

    fn settle(&mut self, parsed: Result<(), PcapError>) -> Result<(), IngestError> {
        let malformed = self.parser.malformed();
        self.intake.lost(malformed - self.intake.report.malformed);
        self.intake.report.malformed = malformed;
        parsed.map_err(|error| {
            self.intake.lost(1);
            self.broken = true;
            IngestError::Format(error)
        })
    }
}

impl Intake {
    fn take(&mut self, batch: &[Packet<'_>]) {
        let mut bytes = 0;
        let mut first = self.report.first.unwrap_or(Timestamp::MAX);
        let mut last = self.report.last.unwrap_or(Timestamp::from_nanos(i64::MIN));
        for packet in batch {
            bytes += u64::from(packet.len);
            first = first.min(packet.timestamp);
            last = last.max(packet.timestamp);
        }
        self.report.packets += batch.len() as u64;
        self.report.unsupported += unsupported(batch);
        self.report.bytes += bytes;
        self.report.first = Some(first);
        self.report.last = Some(last);
        // Before the sink counts them as kept: the ledger never shows more kept than received.
        self.ledger.receive(batch.len() as u64, bytes);
        self.sink.packets(batch);
    }

    fn lost(&self, records: u64) {
        if records > 0 {
            self.ledger.receive(records, 0);
            self.ledger.drop_packets(DropReason::Malformed, records);
        }
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.sink.flush();
    }
}

/// How many packets have a link type that is not supported: the flow table drops them as
/// [`DropReason::LinkType`].
#[must_use]
pub fn unsupported(batch: &[Packet<'_>]) -> u64 {
    let first = batch.first().map(|packet| packet.link_type);
    // All are of one, but in a pcapng of several interfaces; which those are that are supported takes longer to say.
    if first.is_some_and(LinkType::is_supported) && batch.iter().all(|packet| Some(packet.link_type) == first)
    {
        return 0;
    }
    batch
        .iter()
        .filter(|packet| !packet.link_type.is_supported())
        .count() as u64
}

/// Takes a whole capture stream from `source`, for the node `node_tid`, on the calling thread. When it
/// returns, all packets are with the sink and the sink is flushed. It ends early when `cx.stop` fires.
///
/// # Errors
/// [`IngestError`]; what came before the fault has been handed on.
pub fn ingest(
    mut source: impl Read,
    cx: &ReaderContext,
    node_tid: &str,
) -> Result<IngestReport, IngestError> {
    let mut ingest = Ingest::new(cx.points.open(node_tid), Arc::clone(&cx.ledger));
    while !cx.stop.is_cancelled() && ingest.pull(&mut source)? != Pull::End {}
    ingest.finish()
}
