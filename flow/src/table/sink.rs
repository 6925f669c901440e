//! A batch of packets through short loops: decode, hash, table.

use std::ops::Range;
use std::sync::Arc;

use parking_lot::{ArcMutexGuard, RawMutex};

use crate::decode::{DecodeOptions, Part, decode};
use crate::defrag::Defragmenter;
use crate::extra_layers;
use crate::flow::{FinishType, FlowId};
use crate::kept::PacketChunk;
use crate::layers::{KnownPaths, Layer};
use crate::ledger::{DropReason, Ledger};
use crate::packet::{BATCH, Packet, Sink};
use crate::point::ExtraLayers;
use crate::timestamp::Timestamp;

use super::FlowTable;
use super::ended::Ended;
use super::leaving::Leaving;
use super::map::{Flows, KeyHash, Shards};
use super::point::{OpenChunk, Point};
use super::points::Opened;
use super::state::{FlowState, Seen};
use super::tcp::TcpTracker;

/// The sink of one reader at one capture point.
pub(super) struct PointSink {
    pub(super) table: Arc<FlowTable>,
    pub(super) point: Arc<Point>,
    /// Where its packets are counted. A point outlives its readers, and each may bring its own.
    pub(super) ledger: Arc<Ledger>,
    pub(super) decode: DecodeOptions,
    pub(super) defragmenter: Option<Defragmenter>,
    interval_nanos: i64,
    expire_nanos: i64,
    /// The update interval of the packet at hand: from, to.
    interval: (i64, i64),
    /// Seconds of the table's clock modulo 2¹⁶, when the batch at hand came.
    clock: u16,
    parts: Vec<Part>,
    runs: Vec<Run>,
    leaving: Leaving,
    paths: KnownPaths,
    /// The node, as it goes into UUIDs.
    identity: Arc<str>,
    /// What is kept and not handed over.
    pub(super) chunk: Arc<OpenChunk>,
    /// The same, locked from the first packet of a batch that is kept to the batch's end: a lock for each would
    /// wait for the memory of the packet before, and cost more than the copy.
    pub(super) open_chunk: Option<ArcMutexGuard<RawMutex, PacketChunk>>,
    /// The chunk goes out with this batch, full or not: its capture is over its budget, which only what
    /// is stored gives room, or its reader has ended.
    pub(super) hands_chunk_over: bool,
    pub(super) raw_kept: u64,
    pub(super) raw_over_budget: u64,
}

/// Parts in a row that are of one flow. Most packets follow one of their own flow: what is found for the first
/// is good for all of them.
#[derive(Clone, Copy, Debug)]
struct Run {
    hash: KeyHash,
    /// The number of the first part.
    first: u16,
    len: u16,
}

impl Run {
    fn range(self) -> Range<usize> {
        let first = usize::from(self.first);
        first..first + usize::from(self.len)
    }
}

impl PointSink {
    pub(super) fn new(table: Arc<FlowTable>, opened: Opened, ledger: Arc<Ledger>) -> Self {
        let Opened {
            point,
            chunk,
            identity,
        } = opened;
        Self {
            decode: DecodeOptions::new(point.number, point.options.layer_key_mode),
            defragmenter: point.options.ip_defrag.then(Defragmenter::default),
            interval_nanos: table.interval_nanos(),
            expire_nanos: table.expire_nanos(),
            interval: (0, 0),
            clock: table.clock(),
            parts: Vec::with_capacity(BATCH * 2),
            runs: Vec::with_capacity(BATCH * 2),
            leaving: Leaving::default(),
            paths: KnownPaths::default(),
            chunk,
            open_chunk: None,
            identity,
            hands_chunk_over: false,
            raw_kept: 0,
            raw_over_budget: 0,
            table,
            point,
            ledger,
        }
    }

    /// Hands over what has left the map, and the chunk if it is full. True if that was anything: then
    /// the sender must wait for room once it holds no lock.
    fn send(&mut self) -> bool {
        let hands_over = std::mem::take(&mut self.hands_chunk_over);
        let open = self.open_chunk.take();
        if let Some(mut chunk) = open.or_else(|| hands_over.then(|| self.chunk.lock_arc())) {
            chunk.charge();
            if chunk.is_full() || hands_over && !chunk.is_empty() {
                self.leaving.batch.kept.push(Arc::new(chunk.take()));
            }
        }
        self.leaving.send(&self.table)
    }

    /// What `part` of `packet` counts.
    pub(super) fn seen(&self, packet: &Packet<'_>, part: &Part) -> Seen {
        Seen {
            // A time before 1970 is none that a query could ask for.
            at: packet.timestamp.nanos().max(0),
            packets: 1,
            bytes: u64::from(part.len),
            sampling_rate: packet.sampling_rate,
            clock: self.clock,
            exact: self.point.options.exact_times,
        }
    }

    /// Finds or begins the flow of `parts` in `table`, which is the sink's own and `shards` its map's, and counts
    /// them there. They are all of one flow, at least one; `look` gives a part's packet and what it counts.
    fn account<'p, 'd: 'p>(
        &mut self,
        table: &FlowTable,
        shards: &mut Shards<'_>,
        parts: &[Part],
        hash: KeyHash,
        look: impl Fn(&Self, &Part) -> (&'p Packet<'d>, Seen),
    ) -> FlowId {
        let Some(first) = parts.first() else {
            return FlowId::NONE;
        };
        let mut shard = shards.shard_of(hash);
        let slot = match shard.flows().slots.find(hash, &first.key) {
            Some(slot) => slot,
            None => {
                let (_, seen) = look(self, first);
                table.make_room(shard.flows(), seen.at, &mut self.leaving);
                let state = self.begin(first, &mut shard.flows().ended, seen.at);
                shard.insert(hash, first.key, state)
            }
        };
        let Flows { slots, ended } = shard.flows();
        let Some((_, state)) = slots.at(slot) else {
            return FlowId::NONE;
        };
        for part in parts {
            let (packet, seen) = look(self, part);
            if state.may_be_due(part, seen.at, self.interval) {
                self.close_if_due(state, ended, part, &seen);
            }
            self.count(state, part, packet, &seen);
        }
        state.uuid
    }

    /// The same for one part of a packet.
    #[inline(never)]
    pub(super) fn account_one(
        &mut self,
        table: &FlowTable,
        shards: &mut Shards<'_>,
        part: &Part,
        hash: KeyHash,
        packet: &Packet<'_>,
        seen: Seen,
    ) -> FlowId {
        self.account(table, shards, std::slice::from_ref(part), hash, |_, _| {
            (packet, seen)
        })
    }

    /// Hands the flow over if it was over before `part` came, and begins it anew; or if its update interval
    /// was. `ended` is that of its shard.
    #[inline(never)]
    fn close_if_due(&mut self, state: &mut FlowState, ended: &mut Ended, part: &Part, seen: &Seen) {
        if !(self.interval.0..self.interval.1).contains(&seen.at) {
            let from = seen
                .at
                .div_euclid(self.interval_nanos)
                .saturating_mul(self.interval_nanos);
            self.interval = (from, from.saturating_add(self.interval_nanos));
        }
        if let Some(finish_type) = state.is_over_for(part, seen.at, self.expire_nanos) {
            self.leaving
                .update(ended, &part.key, state, &self.point, finish_type);
            *state = self.begin(part, ended, seen.at);
        } else if state.last < self.interval.0 && state.is_dirty() {
            self.leaving
                .update(ended, &part.key, state, &self.point, FinishType::NotFinished);
        }
    }

    /// A new flow; `ended` is that of its shard.
    fn begin(&mut self, part: &Part, ended: &mut Ended, at: i64) -> FlowState {
        self.leaving.begun += 1;
        let path = self.paths.number(part.path);
        let mut state = FlowState::begin(&part.key, part, path, at, &self.identity);
        let collides = ended.collides(self.point.number, state.start_millis(), state.uuid);
        if let Some(number) = collides {
            state.rename(&part.key, &self.identity, number);
        }
        let options = &self.point.options;
        if part.tcp.present && (options.extra_tcp_metric || options.reassemble_tcp) {
            state.rare_mut().tcp = Some(Box::new(TcpTracker::new(options.reassemble_tcp)));
        }
        state
    }

    #[inline(always)]
    fn count(&mut self, state: &mut FlowState, part: &Part, packet: &Packet<'_>, seen: &Seen) {
        state.apply(part, seen);
        if self.point.options.extra_layers.0 != 0 && !part.reassembled {
            self.extra_layers(state, part, packet);
        }
        self.keep_if_wanted(state, part, packet);
    }

    #[inline(never)]
    fn extra_layers(&self, state: &mut FlowState, part: &Part, packet: &Packet<'_>) {
        let (wanted, read): (u32, fn(&[u8], &mut _)) = match part.path.last() {
            Some(Layer::Dns) => (ExtraLayers::DNS, extra_layers::dns),
            Some(Layer::Dhcpv4) => (ExtraLayers::DHCPV4, extra_layers::dhcpv4),
            Some(Layer::Vrrp) => (ExtraLayers::VRRP, extra_layers::vrrp),
            _ => return,
        };
        if self.point.options.extra_layers.wants(wanted) {
            let payload = packet.data.get(part.payload.0 as usize..part.payload.1 as usize);
            // Over TCP a DNS message has its length before it (RFC 1035 §4.2.2).
            let skip = if part.tcp.present { 2 } else { 0 };
            read(
                payload
                    .and_then(|payload| payload.get(skip..))
                    .unwrap_or_default(),
                &mut state.rare_mut().layers,
            );
        }
    }
}

impl PointSink {
    /// Decode, hash and prefetch, table.
    fn ingest(&mut self, table: &FlowTable, batch: &[Packet<'_>]) {
        self.clock = table.clock();
        let mut parts = std::mem::take(&mut self.parts);
        parts.clear();

        let (mut unsupported, mut undecodable) = (0, 0);
        for (index, packet) in (0u16..).zip(batch) {
            let before = parts.len();
            decode(packet, index, &self.decode, &mut parts);
            if parts.len() == before {
                *(if packet.link_type.is_supported() {
                    &mut undecodable
                } else {
                    &mut unsupported
                }) += 1;
            }
        }

        let mut runs = std::mem::take(&mut self.runs);
        let mut shards = table.flows.for_batch();
        find_runs(table, &mut shards, &parts, &mut runs);
        let mut parent = FlowId::NONE;
        for run in &runs {
            let parts = &mut parts[run.range()];
            let Some(part) = parts.first_mut() else { break };
            let mut hash = run.hash;
            if part.level > 0 {
                part.key.set_parent(parent);
                hash = table.flows.hash(&part.key);
            } else if part.fragment.is_some()
                && self.defragment(table, &mut shards, part, &batch[usize::from(part.packet)])
            {
                continue;
            }
            parent = self.account(table, &mut shards, parts, hash, |sink, part| {
                let packet = &batch[usize::from(part.packet)];
                (packet, sink.seen(packet, part))
            });
        }
        self.runs = runs;

        let ledger = &self.ledger;
        ledger.keep(batch.len() as u64 - unsupported - undecodable);
        if unsupported + undecodable > 0 {
            ledger.drop_packets(DropReason::LinkType, unsupported);
            ledger.drop_packets(DropReason::Undecodable, undecodable);
        }
        self.point.count(batch.len() as u64);
        if self
            .defragmenter
            .as_ref()
            .is_some_and(|defragmenter| !defragmenter.is_empty())
        {
            let newest = batch.iter().map(|packet| packet.timestamp).max();
            self.give_up_fragments(table, &mut shards, newest.unwrap_or(Timestamp::ZERO));
        }
        self.publish_raw();
        self.parts = parts;
    }

    /// Runs `work` and hands over what it took out of the map, with no moment in between at which a
    /// query would miss it.
    fn move_out(&mut self, work: impl FnOnce(&mut Self, &FlowTable)) {
        let table = Arc::clone(&self.table);
        let sent = {
            let _moving = table.moving();
            work(self, &table);
            self.send()
        };
        if sent {
            table.updates.wait();
        }
    }
}

/// Finds the runs among `parts`, hashes their keys and asks for the memory of their flows. Most of a packet's
/// time would be waiting for that; so all wait at once.
fn find_runs(table: &FlowTable, shards: &mut Shards<'_>, parts: &[Part], runs: &mut Vec<Run>) {
    runs.clear();
    let mut before: Option<&Part> = None;
    for (number, part) in (0u16..).zip(parts) {
        // A child's key holds its parent's UUID, which only the table knows: it is hashed there. And
        // fragments go their own way.
        let is_plain = part.level == 0 && part.fragment.is_none();
        if is_plain
            && let Some(run) = runs.last_mut()
            && before.is_some_and(|before| before.key == part.key)
        {
            run.len += 1;
            continue;
        }
        before = is_plain.then_some(part);
        let hash = if part.level > 0 {
            KeyHash(0)
        } else {
            table.flows.hash(&part.key)
        };
        shards.prefetch_index(hash);
        let (first, len) = (number, 1);
        runs.push(Run { hash, first, len });
    }
    for run in runs.iter() {
        shards.prefetch_flow(run.hash);
    }
}

impl Sink for PointSink {
    fn packets(&mut self, batch: &[Packet<'_>]) {
        self.make_raw_room(batch);
        self.move_out(|sink, table| sink.ingest(table, batch));
    }

    /// Nothing is held back: each batch hands its updates over itself.
    fn flush(&mut self) {}
}

impl Drop for PointSink {
    fn drop(&mut self) {
        self.move_out(|sink, table| {
            sink.clock = table.clock();
            sink.give_up_fragments(table, &mut table.flows.for_batch(), Timestamp::MAX);
            sink.publish_raw();
            sink.hands_chunk_over = true;
        });
    }
}
