//! The loop that takes packets out of the ring.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use flowtap_flow::packet::{BATCH, LinkType, Packet};
use flowtap_flow::timestamp::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec};

use super::cut;
use super::handover::Handover;
use super::ring::{Block, Ring};
use crate::bpf::KernelFilter;
use crate::early::Duplicates;
use crate::feed::Feed;
use crate::stop::{StopEvent, wait_for};
use crate::tally::Tally;
use crate::{CollectError, Reader, ReaderContext};

/// How often a reader that never comes to rest looks after the counters: some 8 MiB of packets.
const BLOCKS_BETWEEN_COUNTS: u32 = 32;
/// How often a quiet reader looks after the counters, and whether its interface is still there.
const QUIET: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};
/// The same while the interface is down: the kernel does not say when such a one is deleted.
const DOWN: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};
/// How long a block that is being filled may take to be handed over after a stop: 10 ms, and what a busy
/// machine adds.
const LAST_BLOCK: Duration = Duration::from_secs(2);
const LAST_LOOK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 20_000_000,
};

/// An open ring.
pub(super) struct AfPacketReader {
    pub(super) interface: String,
    pub(super) node_tid: Arc<str>,
    pub(super) link_type: LinkType,
    pub(super) snaplen: u32,
    pub(super) filter: Option<KernelFilter>,
    /// Whether the kernel did not take the filter, so that it runs here.
    pub(super) filters_here: bool,
    pub(super) handover: Option<Handover>,
    pub(super) ring: Ring,
    pub(super) tally: Tally,
}

impl Reader for AfPacketReader {
    fn run(self: Box<Self>, context: ReaderContext) -> Result<(), CollectError> {
        let what = format!("`{}`", self.interface);
        self.read(&context)
            .map_err(|source| CollectError::Read { what, source })
    }
}

impl AfPacketReader {
    fn read(self, context: &ReaderContext) -> io::Result<()> {
        let stop = StopEvent::new(&context.stop)?;
        let mut feed = Feed::new(context, &self.node_tid);
        let filter = self.filter.as_ref();
        let (duplicates, covering) = match self.handover {
            Some(handover) => handover.deliver(filter, self.snaplen, self.link_type, &mut feed),
            None => (Duplicates::new(self.snaplen), None),
        };
        let mut intake = Intake {
            feed,
            link_type: self.link_type,
            snaplen: self.snaplen,
            filter: self.filter.filter(|_| self.filters_here),
            duplicates,
            taken: 0,
            newest: Timestamp::ZERO,
        };
        let (mut ring, mut tally) = (self.ring, self.tally);
        let (mut source, mut blocks) = (Source::Up, 0);
        while !stop.has_fired() && source != Source::Gone {
            let is_counting_due = blocks >= BLOCKS_BETWEEN_COUNTS;
            if !is_counting_due && let Some(block) = ring.block() {
                intake.block(block);
                blocks += 1;
                continue;
            }
            blocks = 0;
            count(&ring, &mut tally, &intake.feed)?;
            if !is_counting_due {
                intake.feed.flush();
                source = source.wait(&ring, &stop)?;
            }
        }
        let ending = Timestamp::now();
        finish(&mut ring, &mut tally, &mut intake)?;
        if let Some(covering) = covering {
            // Whatever came before `ending` was in the ring or refused; what came just after may be, too.
            covering.end(ending.max(intake.newest));
        }
        Ok(())
    }
}

/// Takes what the kernel has put into the ring, the block included that it is filling.
fn finish(ring: &mut Ring, tally: &mut Tally, intake: &mut Intake) -> io::Result<()> {
    // What comes from now on is not asked for.
    tally.end()?;
    if let Some(nothing) = KernelFilter::nothing().for_socket() {
        ring.socket().attach(&nothing)?;
    }
    let deadline = Instant::now() + LAST_BLOCK;
    loop {
        while let Some(block) = ring.block() {
            intake.block(block);
        }
        count(ring, tally, &intake.feed)?;
        if intake.taken >= tally.queued() || Instant::now() >= deadline {
            intake.feed.flush();
            return Ok(());
        }
        wait_for(&mut [PollFd::new(&*ring, PollFlags::IN)], &LAST_LOOK)?;
    }
}

fn count(ring: &Ring, tally: &mut Tally, feed: &Feed) -> io::Result<()> {
    tally.read(feed, || {
        let new = ring.socket().statistics()?;
        Ok((new.packets.into(), new.drops.into()))
    })
}

/// What is known of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Up,
    Down,
    /// Deleted, or in another namespace: no packet of it will ever come to this socket again.
    Gone,
}

impl Source {
    /// Waits for packets or the stop.
    fn wait(self, ring: &Ring, stop: &StopEvent) -> io::Result<Self> {
        let timeout = if self == Self::Down { DOWN } else { QUIET };
        let mut fds = [PollFd::new(ring, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
        wait_for(&mut fds, &timeout)?;
        let seen = fds[0].revents();
        if seen.contains(PollFlags::IN) {
            return Ok(Self::Up);
        }
        let mut now = self;
        if seen.contains(PollFlags::ERR)
            && let Some(error) = ring.socket().take_error()?
        {
            if error.raw_os_error() != Some(libc::ENETDOWN) {
                return Err(error);
            }
            now = Self::Down;
        }
        Ok(if ring.socket().is_gone() { Self::Gone } else { now })
    }
}

/// From blocks to the sink.
struct Intake {
    feed: Feed,
    link_type: LinkType,
    snaplen: u32,
    filter: Option<KernelFilter>,
    duplicates: Duplicates,
    /// Packets taken out of the ring, whatever became of them.
    taken: u64,
    /// When the newest of them came.
    newest: Timestamp,
}

impl Intake {
    fn block(&mut self, mut block: Block<'_>) {
        let mut frames = block.frames();
        loop {
            let mut batch = ArrayVec::<Packet<'_>, BATCH>::new();
            while !batch.is_full()
                && let Some(frame) = frames.next()
            {
                self.taken += 1;
                let timestamp = frame.timestamp;
                self.newest = self.newest.max(timestamp);
                if self.duplicates.take(&frame.frame()) {
                    continue;
                }
                if let Some(filter) = &self.filter
                    && filter.run(&frame.frame()) == 0
                {
                    self.feed.filtered(1, frame.wire_len().into());
                    continue;
                }
                let (data, len) = frame.into_wire();
                batch.push(Packet::new(
                    timestamp,
                    len,
                    self.link_type,
                    cut(data, self.snaplen),
                ));
            }
            if batch.is_empty() {
                return;
            }
            self.feed.give(&batch);
        }
    }
}
