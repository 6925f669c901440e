//! From samples to sinks: packets wait until a burst has been read, then go out by capture point.

use std::ops::Range;
use std::sync::Arc;

use arrayvec::ArrayVec;
use flowtap_flow::ledger::{DropReason, Ledger};
use flowtap_flow::packet::{BATCH, LinkType, Packet, Sink};
use flowtap_flow::point::Points;
use flowtap_flow::timestamp::Timestamp;

use super::contents::Contents;
use super::rebuild::{Rebuilt, rebuild};
use super::wire::MAX_SAMPLES;

/// Packets that wait at most: 56 bytes each, 112 KiB. The more of them, the more of one sink go together.
const MAX_PENDING: usize = 8 * MAX_SAMPLES as usize;

/// An open sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SinkId(usize);

/// The sinks of one collector: one for each node that packets were seen of, opened with the first.
/// Bounded by the bounds on agents and data sources.
pub(super) struct Sinks {
    points: Arc<dyn Points>,
    /// `None` where one was closed.
    open: Vec<Option<OpenSink>>,
    closed: Vec<SinkId>,
    unflushed: Vec<SinkId>,
}

struct OpenSink {
    sink: Box<dyn Sink>,
    flushed: bool,
}

impl Sinks {
    pub(super) fn new(points: Arc<dyn Points>) -> Self {
        Self {
            points,
            open: Vec::new(),
            closed: Vec::new(),
            unflushed: Vec::new(),
        }
    }

    pub(super) fn open(&mut self, node_tid: &str) -> SinkId {
        let sink = OpenSink {
            sink: self.points.open(node_tid),
            flushed: true,
        };
        if let Some(id) = self.closed.pop() {
            self.open[id.0] = Some(sink);
            return id;
        }
        self.open.push(Some(sink));
        SinkId(self.open.len() - 1)
    }

    /// Closes a sink that nobody will name any more. It must be flushed.
    pub(super) fn close(&mut self, id: SinkId) {
        self.open[id.0] = None;
        self.closed.push(id);
    }

    pub(super) fn flush(&mut self) {
        for id in self.unflushed.drain(..) {
            let Some(open) = &mut self.open[id.0] else {
                continue;
            };
            open.sink.flush();
            open.flushed = true;
        }
    }

    fn packets(&mut self, id: SinkId, batch: &[Packet<'_>]) {
        let Some(open) = &mut self.open[id.0] else { return };
        open.sink.packets(batch);
        if std::mem::replace(&mut open.flushed, false) {
            self.unflushed.push(id);
        }
    }
}

/// Where a packet's bytes are.
#[derive(Clone, Debug)]
enum Bytes<'a> {
    Lent(&'a [u8]),
    Rebuilt(Range<usize>),
}

/// A packet on its way.
#[derive(Clone, Debug)]
struct Pending<'a> {
    sink: SinkId,
    timestamp: Timestamp,
    len: u32,
    link_type: LinkType,
    sampling_rate: u32,
    bytes: Bytes<'a>,
}

impl<'a> Pending<'a> {
    fn packet<'b>(&'b self, rebuilt: &'b [u8]) -> Packet<'b>
    where
        'a: 'b,
    {
        let (captured, data) = match &self.bytes {
            Bytes::Lent(data) => (true, *data),
            Bytes::Rebuilt(range) => (false, &rebuilt[range.clone()]),
        };
        Packet {
            timestamp: self.timestamp,
            len: self.len.max(u32::try_from(data.len()).unwrap_or(u32::MAX)),
            link_type: self.link_type,
            sampling_rate: self.sampling_rate,
            captured,
            data,
        }
    }
}

/// The packets of one burst, and what the ledger must know of it.
#[derive(Debug, Default)]
pub(super) struct Outbox<'a> {
    pending: ArrayVec<Pending<'a>, MAX_PENDING>,
    /// Rebuilt headers of the pending packets: fewer bytes than the records they come from.
    rebuilt: Vec<u8>,
    received: u64,
    received_bytes: u64,
    dropped: [u64; DropReason::ALL.len()],
}

impl<'a> Outbox<'a> {
    /// With the buffer of the burst before.
    pub(super) fn with_buffer(buffer: Vec<u8>) -> Self {
        Self {
            rebuilt: buffer,
            ..Self::default()
        }
    }

    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.rebuilt
    }

    /// True if the packets of another datagram have room: each sample holds one at most.
    pub(super) fn has_room(&self) -> bool {
        self.pending.remaining_capacity() >= MAX_SAMPLES as usize
    }

    /// Counts a packet, sample or datagram that came and is not handed on.
    pub(super) fn drop_one(&mut self, reason: DropReason) {
        self.received += 1;
        self.dropped[reason as usize] += 1;
    }

    /// Takes the packet that `contents` tells of; false if it tells of none.
    #[inline(always)]
    pub(super) fn take(
        &mut self,
        contents: &Contents<'a>,
        sink: SinkId,
        timestamp: Timestamp,
        sampling_rate: u32,
    ) -> bool {
        let (len, link_type, bytes) = match contents.header {
            Some((link_type, header)) => (header.packet_length(), link_type, Bytes::Lent(header.header)),
            None => {
                let start = self.rebuilt.len();
                let rebuilt = rebuild(
                    contents.ethernet.as_ref(),
                    contents.ip.as_ref(),
                    &mut self.rebuilt,
                );
                let Some(Rebuilt { link_type, len }) = rebuilt else {
                    return false;
                };
                (len, link_type, Bytes::Rebuilt(start..self.rebuilt.len()))
            }
        };
        self.received += 1;
        self.received_bytes += u64::from(len);
        self.pending.push(Pending {
            sink,
            timestamp,
            len,
            link_type,
            sampling_rate,
            bytes,
        });
        true
    }

    /// Hands the packets on, by sink and in their order, and publishes the counts.
    pub(super) fn deliver(&mut self, sinks: &mut Sinks, ledger: &Ledger) {
        self.publish(ledger);
        self.hand_on(sinks);
        self.pending.clear();
        self.rebuilt.clear();
    }

    fn hand_on(&self, sinks: &mut Sinks) {
        // The packets of a datagram are mostly of one sink: far fewer pieces than packets are sorted. Stably,
        // so each sink gets its packets oldest first.
        let mut pieces = ArrayVec::<&[Pending<'_>], MAX_PENDING>::new();
        pieces.extend(self.pending.chunk_by(|a, b| a.sink == b.sink));
        pieces.sort_by_key(|packets| packets[0].sink);
        for of_one_sink in pieces.chunk_by(|a, b| a[0].sink == b[0].sink) {
            let sink = of_one_sink[0][0].sink;
            let mut packets = of_one_sink.iter().copied().flatten();
            loop {
                // Filled where it stands: collected, it would be copied as a whole.
                let mut batch = ArrayVec::<_, BATCH>::new();
                batch.extend(
                    packets
                        .by_ref()
                        .take(BATCH)
                        .map(|packet| packet.packet(&self.rebuilt)),
                );
                if batch.is_empty() {
                    break;
                }
                sinks.packets(sink, &batch);
            }
        }
    }

    fn publish(&mut self, ledger: &Ledger) {
        ledger.receive(
            std::mem::take(&mut self.received),
            std::mem::take(&mut self.received_bytes),
        );
        for reason in DropReason::ALL {
            let dropped = std::mem::take(&mut self.dropped[reason as usize]);
            if dropped > 0 {
                ledger.drop_packets(reason, dropped);
            }
        }
    }
}
