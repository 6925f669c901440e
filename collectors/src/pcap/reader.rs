//! The loop that takes packets from libpcap.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use flowtap_flow::packet::{BATCH, LinkType, Packet};
use flowtap_flow::timestamp::Timestamp;
use pcap::{Active, Capture, PacketHeader};
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::bpf::message;
use crate::feed::Feed;
use crate::packet_socket::PacketSocket;
use crate::stop::{StopEvent, wait_for};
use crate::tally::Tally;
use crate::{CollectError, Reader, ReaderContext};

/// How often a quiet reader looks after the counters, and whether its interface is still there.
const QUIET: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};
/// How long what is in libpcap's ring may take to come out after a stop, and how often to look.
const LAST_BLOCK: Duration = Duration::from_secs(2);
const LAST_LOOK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 20_000_000,
};
/// How long an interface may take to be gone once libpcap has said so, and how often to look.
const GOING: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(1);

/// A live handle.
pub(super) struct PcapReader {
    pub(super) interface: String,
    pub(super) node_tid: Arc<str>,
    pub(super) link_type: LinkType,
    pub(super) capture: Capture<Active>,
    pub(super) anchor: PacketSocket,
    pub(super) tally: Tally,
    /// What is in the ring since before the filter, where that is not libpcap's to say.
    pub(super) unfiltered: Option<Unfiltered>,
    /// To how many bytes packets are cut, where libpcap is not told.
    pub(super) cut: Option<u32>,
    /// Whether libpcap knows what the interface itself dropped: it asks `/sys`, which shows the interfaces of
    /// flowtap's own namespace, and where there is one of the same name would take that for it.
    pub(super) knows_if_dropped: bool,
}

/// Packets that came before a filter was in force.
///
/// libpcap's own way is to run the filter over what it finds in the ring when a filter is set, and over the
/// block that the kernel is filling. It does not know a packet's direction then, so that `inbound` would refuse
/// each packet of the first 10 ms, and has only what a snaplen leaves, so that 14 bytes of a packet are never
/// `icmp`. A filter that asks for such things, or of packets that are cut, is put at the socket directly, and
/// what is older is left out here: it came before the capture began.
pub(super) struct Unfiltered {
    /// When the filter was in force.
    until: Timestamp,
    since: Instant,
}

impl Unfiltered {
    /// Longer than a block is being filled. Beyond that the clock was set back.
    const LONGEST: Duration = Duration::from_secs(1);

    /// What is in the ring now.
    pub(super) fn until_now() -> Self {
        Self {
            until: Timestamp::now(),
            since: Instant::now(),
        }
    }

    fn holds(&self, timestamp: Timestamp) -> bool {
        timestamp < self.until && self.since.elapsed() < Self::LONGEST
    }
}

impl Reader for PcapReader {
    fn run(mut self: Box<Self>, context: ReaderContext) -> Result<(), CollectError> {
        let read = self.read(&context);
        let what = format!("`{}`", self.interface);
        read.map_err(|source| CollectError::Read { what, source })
    }
}

impl PcapReader {
    fn read(&mut self, context: &ReaderContext) -> io::Result<()> {
        let stop = StopEvent::new(&context.stop)?;
        let feed = Feed::new(context, &self.node_tid);
        let mut intake = Intake::new(feed, self.link_type, self.unfiltered.take(), self.cut);
        while !stop.has_fired() {
            if self.dispatch(&mut intake)? > 0 {
                continue;
            }
            self.count(&mut intake)?;
            intake.feed.flush();
            if self.anchor.is_gone() {
                break;
            }
            let mut fds = [
                PollFd::new(&self.capture, PollFlags::IN),
                PollFd::new(&stop, PollFlags::IN),
            ];
            wait_for(&mut fds, &QUIET)?;
        }
        self.finish(&mut intake)
    }

    /// Takes what there is, at most a block of the ring, and never waits. Returns how many packets.
    fn dispatch(&mut self, intake: &mut Intake) -> io::Result<usize> {
        let taken = self
            .capture
            .dispatch(None, |packet| intake.take(packet.header, packet.data));
        intake.give();
        match taken {
            Ok(count) => Ok(count),
            Err(_) if self.is_gone_soon() => Ok(0),
            Err(error) => Err(io::Error::other(message(error))),
        }
    }

    /// True if the interface is being deleted: libpcap notices before our socket is told.
    fn is_gone_soon(&self) -> bool {
        let deadline = Instant::now() + GOING;
        while !self.anchor.is_gone() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(LOOK);
        }
        true
    }

    /// Puts down what the kernel counted since the last call.
    fn count(&mut self, intake: &mut Intake) -> io::Result<()> {
        self.tally.forgo(std::mem::take(&mut intake.forgone));
        let (capture, received, dropped) = (&mut self.capture, &mut intake.received, &mut intake.dropped);
        let (knows_if_dropped, if_dropped) = (self.knows_if_dropped, &mut intake.if_dropped);
        self.tally.read(&intake.feed, || {
            let stats = capture.stats();
            let stats = stats.map_err(|error| io::Error::other(message(error)))?;
            if knows_if_dropped {
                intake.feed.if_dropped(if_dropped.advance(stats.if_dropped));
            }
            Ok((received.advance(stats.received), dropped.advance(stats.dropped)))
        })
    }

    /// Takes what had come at the time of the stop.
    fn finish(&mut self, intake: &mut Intake) -> io::Result<()> {
        self.count(intake)?;
        let (queued, deadline) = (self.tally.queued(), Instant::now() + LAST_BLOCK);
        while intake.taken + intake.forgone < queued && Instant::now() < deadline {
            if self.dispatch(intake)? == 0 {
                wait_for(&mut [PollFd::new(&self.capture, PollFlags::IN)], &LAST_LOOK)?;
            }
        }
        intake.feed.flush();
        Ok(())
    }
}

/// From libpcap's packets, each of which is ours only while it is shown, to batches for the sink.
struct Intake {
    feed: Feed,
    link_type: LinkType,
    unfiltered: Option<Unfiltered>,
    /// Bytes of a packet that are taken.
    longest: usize,
    /// The bytes of the batch, at worst 8 MiB.
    bytes: Vec<u8>,
    batch: ArrayVec<(Timestamp, u32, Range<usize>), BATCH>,
    taken: u64,
    /// Packets that were left out, and that the tally has not heard of.
    forgone: u64,
    received: Counter,
    dropped: Counter,
    if_dropped: Counter,
}

impl Intake {
    fn new(feed: Feed, link_type: LinkType, unfiltered: Option<Unfiltered>, cut: Option<u32>) -> Self {
        Self {
            feed,
            link_type,
            unfiltered,
            longest: cut
                .and_then(|cut| usize::try_from(cut).ok())
                .unwrap_or(usize::MAX),
            bytes: Vec::new(),
            batch: ArrayVec::new(),
            taken: 0,
            forgone: 0,
            received: Counter::default(),
            dropped: Counter::default(),
            if_dropped: Counter::default(),
        }
    }

    fn take(&mut self, header: &PacketHeader, data: &[u8]) {
        if self.batch.is_full() {
            self.give();
        }
        // Microseconds by their name, nanoseconds as the handle was asked for.
        let nanos = header.ts.tv_sec.saturating_mul(1_000_000_000);
        let timestamp = Timestamp::from_nanos(nanos.saturating_add(header.ts.tv_usec));
        if let Some(unfiltered) = &self.unfiltered {
            if unfiltered.holds(timestamp) {
                self.forgone += 1;
                return;
            }
            self.unfiltered = None;
        }
        self.taken += 1;
        let begin = self.bytes.len();
        self.bytes
            .extend_from_slice(data.get(..self.longest).unwrap_or(data));
        self.batch.push((timestamp, header.len, begin..self.bytes.len()));
    }

    fn give(&mut self) {
        let packet = |(timestamp, len, range): &(Timestamp, u32, Range<usize>)| {
            let data = self.bytes.get(range.clone()).unwrap_or_default();
            Packet::new(*timestamp, *len, self.link_type, data)
        };
        // Filled where it stands: collected, it would be copied as a whole.
        let mut batch = ArrayVec::<Packet<'_>, BATCH>::new();
        batch.extend(self.batch.iter().map(packet));
        self.feed.give(&batch);
        drop(batch);
        self.batch.clear();
        self.bytes.clear();
    }
}

/// A counter of libpcap, 32 bits wide, that may come round.
#[derive(Default)]
struct Counter(u32);

impl Counter {
    /// Follows it to `now`, and returns what is new.
    fn advance(&mut self, now: u32) -> u64 {
        let new = now.wrapping_sub(self.0);
        self.0 = now;
        new.into()
    }
}
