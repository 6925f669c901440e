//! One flow as the table holds it: 88 bytes beside its 64-byte key.

mod snapshot;

use crate::decode::{Part, Probe, TcpSegment};
use crate::flow::{FinishType, FlowId, FlowMetric, IpMetric, Sampling};
use crate::id::flow_uuid;
use crate::key::FlowKey;
use crate::layers::{Layer, PathId};
use crate::timestamp::Timestamp;

use super::extra::{Extra, Rare};
use super::tick::Verdict;

/// The first packet went from the key's second endpoint to its first: A is the second.
const A_IS_SECOND: u16 = 1;
/// Packets came since the last update.
const DIRTY: u16 = 1 << 1;
/// A first update has gone out.
const EMITTED: u16 = 1 << 2;
const FIN_AB: u16 = 1 << 3;
const FIN_BA: u16 = 1 << 4;
const RST: u16 = 1 << 5;
/// A request waits for its answer.
const PROBE: u16 = 1 << 6;
/// The request came from A.
const PROBE_AB: u16 = 1 << 7;
/// A second packet came: not the first to be evicted.
const REFERENCED: u16 = 1 << 8;
/// All packets were samples of one rate, which stands in `probe_at`: the raw sums follow from the
/// totals. Samples have no exact times, hence no use for a probe; and nearly all flows of an agent
/// are of this kind, for which two allocations and as many waits for memory a packet are saved.
const ONE_RATE: u16 = 1 << 9;

/// The bits of the VLAN id that hold the two outermost tags.
const OUTER_VLANS: u64 = 0xff_ffff;
/// How far above them the type field of ICMP stands.
const ICMP_SHIFT: u32 = 24;

fn low_32(word: u64) -> u32 {
    u32::try_from(word & 0xffff_ffff).unwrap_or_default()
}

/// Seconds of silence that the 16-bit clock can tell; a greater distance is a packet that came after
/// the clock was read. More than [`super::TableOptions::LONGEST_EXPIRY`].
const LONGEST_SILENCE: u16 = 49_152;

/// How long a flow that has ended by FIN or RST still takes late packets in.
pub(super) const FINISHED_HOLD_NANOS: i64 = 15_000_000_000;
/// How long kept packets of a new flow may be in the store before the flow is.
const PACKETS_ALONE_NANOS: i64 = 1_000_000_000;
/// ARP and DNS conversations end after this silence (Skydive's `flow.application_timeout`).
const SHORT_TIMEOUT_NANOS: i64 = 10_000_000_000;

/// The counters and marks of a live flow.
#[derive(Debug)]
pub(super) struct FlowState {
    pub(super) start: i64,
    pub(super) last: i64,
    ab_bytes: u64,
    ba_bytes: u64,
    pub(super) uuid: FlowId,
    rtt: u64,
    /// When the request came that waits for its answer, or the sampling rate: see [`ONE_RATE`].
    probe_at: i64,
    /// Packets modulo 2³²; what overflows stands in [`Rare::carry`].
    ab_packets: u32,
    ba_packets: u32,
    pub(super) raw_kept: u32,
    /// The two outermost VLAN ids, in 24 bits; further ones stand in [`Rare::inner_vlans`]. Above them the type field
    /// of the first packet's ICMP.
    vlan_and_icmp: u32,
    path: PathId,
    probe_tag: u16,
    flags: u16,
    /// When the last packet came, in seconds of the table's clock modulo 2¹⁶.
    touched: u16,
    pub(super) extra: Option<Box<Extra>>,
}

/// One packet's share in a flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// Nanoseconds.
    pub(super) at: i64,
    /// Packets of it: one, or the fragments that it came in.
    pub(super) packets: u32,
    /// Their bytes on the wire.
    pub(super) bytes: u64,
    /// N of 1:N.
    pub(super) sampling_rate: u32,
    /// Seconds of the table's clock modulo 2¹⁶.
    pub(super) clock: u16,
    /// Whether `at` is exact enough for round-trip times.
    pub(super) exact: bool,
}

impl FlowState {
    /// A flow that begins with `part` at the node `identity`. Nothing is counted yet.
    pub(super) fn begin(key: &FlowKey, part: &Part, path: PathId, at: i64, identity: &str) -> Self {
        let mut state = Self {
            start: at,
            last: at,
            ab_bytes: 0,
            ba_bytes: 0,
            uuid: flow_uuid(key, at.div_euclid(1_000_000), identity),
            rtt: 0,
            probe_at: 0,
            ab_packets: 0,
            ba_packets: 0,
            raw_kept: 0,
            vlan_and_icmp: low_32(part.vlan & OUTER_VLANS) | u32::from(part.icmp_type) << ICMP_SHIFT,
            path,
            probe_tag: 0,
            touched: 0,
            flags: if part.swapped { A_IS_SECOND } else { 0 },
            extra: None,
        };
        if part.vlan & !OUTER_VLANS != 0 {
            state.rare_mut().inner_vlans = part.vlan & !OUTER_VLANS;
        }
        if part.tunnel_id != 0 || part.tunnel_source_port != 0 {
            state.rare_mut().tunnel = (part.tunnel_id, part.tunnel_source_port);
        }
        if let Some(macs) = part.macs {
            state.rare_mut().link = Some(macs);
        }
        state
    }

    /// Gives the flow another UUID: one with its key has begun and ended in the same millisecond, and
    /// `number` tells it from all others of which that is true. It stands in bits of the time that no
    /// packet's time reaches, so that no other flow gets the same name.
    pub(super) fn rename(&mut self, key: &FlowKey, identity: &str, number: i64) {
        let millis = self.start_millis() ^ number << 44;
        self.uuid = flow_uuid(key, millis, identity);
    }

    /// When the flow began, in milliseconds: as precise as its UUID.
    pub(super) fn start_millis(&self) -> i64 {
        self.start.div_euclid(1_000_000)
    }

    fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_with(Box::default)
    }

    pub(super) fn rare_mut(&mut self) -> &mut Rare {
        self.extra().rare_mut()
    }

    fn rare(&self) -> Option<&Rare> {
        self.extra.as_ref().and_then(|extra| extra.rare())
    }

    fn is(&self, flags: u16) -> bool {
        self.flags & flags == flags
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.is(DIRTY)
    }

    /// True if the last update has said all that one with `finish_type` would say: each tells how the flow has ended,
    /// if it has by then.
    pub(super) fn has_told(&self, finish_type: FinishType) -> bool {
        finish_type == self.finish_type() && self.is(EMITTED) && !self.is(DIRTY)
    }

    /// True if no store has heard of this flow at `now`, nanoseconds of its own time, although packets of
    /// it may be there: without their flow they are not to be found, should this process be killed.
    pub(super) fn has_unstored_packets(&self, now: i64) -> bool {
        self.raw_kept > 0 && !self.is(EMITTED) && now.saturating_sub(self.start) >= PACKETS_ALONE_NANOS
    }

    /// How such a flow goes to the store at `now`. Nothing follows a RST, so that it need not be stored
    /// twice; but what crossed it on the wire still belongs to it.
    pub(super) fn store_with_packets(&self, now: i64) -> Verdict {
        match self.finish_type() {
            FinishType::Rst if now.saturating_sub(self.last) < PACKETS_ALONE_NANOS => Verdict::Leave,
            FinishType::Rst => Verdict::Remove(FinishType::Rst),
            _ => Verdict::Update,
        }
    }

    /// True once, and false until the next packet: the second chance before eviction.
    pub(super) fn take_referenced(&mut self) -> bool {
        let referenced = self.is(REFERENCED) && self.finish_type() == FinishType::NotFinished;
        self.flags &= !REFERENCED;
        referenced
    }

    /// How the flow has ended, as its packets say.
    pub(super) fn finish_type(&self) -> FinishType {
        if self.is(RST) {
            FinishType::Rst
        } else if self.is(FIN_AB | FIN_BA) {
            FinishType::Fin
        } else {
            FinishType::NotFinished
        }
    }

    /// The flow's own time at second `clock` of the table's clock: that of its last packet, and how
    /// long none has come. For live traffic that is the time on the wall; a file that was replayed
    /// years after it was made goes on from its end.
    pub(super) fn now(&self, clock: u16) -> i64 {
        self.last
            .saturating_add(i64::from(self.silence(clock)) * 1_000_000_000)
    }

    /// For how many seconds no packet has come at second `clock` of the table's clock.
    pub(super) fn silence(&self, clock: u16) -> u16 {
        let silence = clock.wrapping_sub(self.touched);
        // A packet may have come after the clock was read for this.
        if silence > LONGEST_SILENCE { 0 } else { silence }
    }

    /// If the flow is over at `now`, nanoseconds of its own time, why.
    pub(super) fn ended_at(&self, now: i64, expire_nanos: i64) -> Option<FinishType> {
        let silence = now.saturating_sub(self.last);
        // The shortest of all, and the answer for nearly every packet.
        if silence <= SHORT_TIMEOUT_NANOS {
            return None;
        }
        match self.finish_type() {
            FinishType::NotFinished => {
                (silence > self.timeout_nanos(expire_nanos)).then_some(FinishType::Timeout)
            }
            finished => (silence > FINISHED_HOLD_NANOS).then_some(finished),
        }
    }

    fn timeout_nanos(&self, expire_nanos: i64) -> i64 {
        if self.path.is_short_lived() {
            expire_nanos.min(SHORT_TIMEOUT_NANOS)
        } else {
            expire_nanos
        }
    }

    /// False if the flow goes on with a packet at `at` for sure, in the update interval that it is in: the
    /// answer for nearly every packet.
    #[inline]
    pub(super) fn may_be_due(&self, part: &Part, at: i64, interval: (i64, i64)) -> bool {
        // The one that comes first of all timeouts, and of what opens a connection anew.
        let goes_on =
            at.saturating_sub(self.last) <= SHORT_TIMEOUT_NANOS && part.tcp.flags & TcpSegment::SYN == 0;
        let in_interval = |at| interval.0 <= at && at < interval.1;
        !(goes_on && in_interval(at) && in_interval(self.last))
    }

    /// True if a packet at `at` does not belong to this flow any more but begins a new one with the
    /// same key: the flow was over, or a connection is opened anew after its end.
    pub(super) fn is_over_for(&self, part: &Part, at: i64, expire_nanos: i64) -> Option<FinishType> {
        if at > self.last && part.tcp.present {
            let opens = part.tcp.has(TcpSegment::SYN) && !part.tcp.has(TcpSegment::ACK);
            let finished = self.finish_type();
            if opens && finished != FinishType::NotFinished {
                return Some(finished);
            }
        }
        self.ended_at(at, expire_nanos)
    }

    /// Counts `part` of a packet.
    #[inline(always)]
    pub(super) fn apply(&mut self, part: &Part, seen: &Seen) {
        let ab = part.swapped == self.is(A_IS_SECOND);
        if !self.add(ab, seen) {
            self.add_weighted(ab, seen);
        }
        if self.flags & (DIRTY | EMITTED) != 0 {
            self.flags |= REFERENCED;
        }
        self.flags |= DIRTY;
        self.touched = seen.clock;
        self.last = self.last.max(seen.at);
        if part.probe != Probe::None && seen.exact {
            self.probe(part.probe, ab, seen.at);
        }
        if part.tcp.present && self.heeds(part) {
            self.tcp(part, ab, seen);
        }
    }

    /// False for a segment that does no more than to carry on, as nearly all do.
    #[inline]
    fn heeds(&self, part: &Part) -> bool {
        const REMARKABLE: u8 = TcpSegment::SYN | TcpSegment::FIN | TcpSegment::RST;
        part.tcp.flags & REMARKABLE != 0 || part.path.ends_with(Layer::Tls) || self.extra.is_some()
    }

    /// The counters of one direction: packets, bytes.
    fn counters(&mut self, ab: bool) -> (&mut u32, &mut u64) {
        if ab {
            (&mut self.ab_packets, &mut self.ab_bytes)
        } else {
            (&mut self.ba_packets, &mut self.ba_bytes)
        }
    }

    /// Adds packets that stand for themselves, or are samples of the one rate that the flow has; false, with
    /// nothing done, if they are not, or a counter has no room.
    #[inline]
    fn add(&mut self, ab: bool, seen: &Seen) -> bool {
        let rate = if self.is(ONE_RATE) { self.probe_at } else { 1 };
        if i64::from(seen.sampling_rate) != rate || rate == 0 {
            return false;
        }
        let (packets, bytes) = self.counters(ab);
        let sum = |before: u64, more: u64| more.checked_mul(seen.sampling_rate.into())?.checked_add(before);
        let all_packets = sum((*packets).into(), seen.packets.into()).map(u32::try_from);
        let (Some(Ok(all_packets)), Some(all_bytes)) = (all_packets, sum(*bytes, seen.bytes)) else {
            return false;
        };
        (*packets, *bytes) = (all_packets, all_bytes);
        true
    }

    /// Adds packets of any weight, and what becomes too much for a counter.
    #[inline(never)]
    fn add_weighted(&mut self, ab: bool, seen: &Seen) {
        let weight = u64::from(seen.sampling_rate.max(1));
        let (packets, bytes) = (u64::from(seen.packets), seen.bytes);
        if seen.sampling_rate != 1 || self.is(ONE_RATE) {
            self.sample(ab, packets, bytes, seen);
        }
        let (counter, total_bytes) = self.counters(ab);
        // What an agent claims of lengths and rates may be anything: counters stop at their end.
        let total = packets.saturating_mul(weight).saturating_add(u64::from(*counter));
        *counter = low_32(total);
        *total_bytes = total_bytes.saturating_add(bytes.saturating_mul(weight));
        if total >> 32 != 0 {
            let carry = &mut self.rare_mut().carry[usize::from(!ab)];
            *carry = carry.saturating_add(total & !0xffff_ffff);
        }
    }

    /// Notes that the packet just counted was complete only at `at`, with its last fragment: from
    /// there its round-trip time is measured.
    pub(super) fn complete(&mut self, part: &Part, at: i64, seen: &Seen) {
        self.last = self.last.max(at);
        if seen.exact {
            self.probe(part.probe, part.swapped == self.is(A_IS_SECOND), at);
        }
        self.ip_metric().fragments += i64::from(seen.packets);
    }

    pub(super) fn ip_metric(&mut self) -> &mut IpMetric {
        self.rare_mut().ip.get_or_insert_with(IpMetric::default)
    }

    /// Counts a sample raw, before the totals count what it stands for.
    fn sample(&mut self, ab: bool, packets: u64, bytes: u64, seen: &Seen) {
        let rate = seen.sampling_rate;
        if self.is_new() && !seen.exact {
            self.flags |= ONE_RATE;
            self.probe_at = i64::from(rate);
        }
        if self.is(ONE_RATE) {
            if self.probe_at == i64::from(rate) && self.has_room_for(bytes, rate) {
                return;
            }
            let sums = self.sampling();
            self.flags &= !ONE_RATE;
            self.rare_mut().sampling = sums;
        }
        if rate != 1 {
            let sampling = self.rare_mut().sampling.get_or_insert_with(Sampling::default);
            sampling.count(ab, packets, bytes, rate);
        }
    }

    fn is_new(&self) -> bool {
        self.ab_packets | self.ba_packets == 0 && self.rare().is_none_or(|rare| rare.carry == [0, 0])
    }

    /// True if both byte counters can take `bytes` at this rate and stay below their end, as they must
    /// for raw sums to follow from them.
    fn has_room_for(&self, bytes: u64, rate: u32) -> bool {
        let estimate = bytes.checked_mul(u64::from(rate.max(1)));
        let most = self.ab_bytes.max(self.ba_bytes);
        estimate.and_then(|estimate| most.checked_add(estimate)).is_some()
    }

    /// The raw sums, if packets were sampled.
    fn sampling(&self) -> Option<Sampling> {
        if !self.is(ONE_RATE) {
            return self.rare().and_then(|rare| rare.sampling);
        }
        let rate = u32::try_from(self.probe_at).unwrap_or_default();
        let (totals, weight) = (self.totals(), u64::from(rate.max(1)));
        Some(Sampling {
            rate,
            ab_packets: totals.ab_packets / weight,
            ab_bytes: totals.ab_bytes / weight,
            ba_packets: totals.ba_packets / weight,
            ba_bytes: totals.ba_bytes / weight,
        })
    }

    #[inline(never)]
    fn probe(&mut self, probe: Probe, ab: bool, at: i64) {
        match probe {
            Probe::Request(tag) => self.ask(tag, ab, at),
            Probe::Reply(tag) if self.is(PROBE) && self.probe_tag == tag => self.answer(ab, at),
            _ => {}
        }
    }

    fn ask(&mut self, tag: u16, ab: bool, at: i64) {
        self.probe_at = at;
        self.probe_tag = tag;
        self.flags = self.flags & !PROBE_AB | PROBE | if ab { PROBE_AB } else { 0 };
    }

    fn answer(&mut self, ab: bool, at: i64) {
        if self.is(PROBE_AB) != ab {
            self.rtt = u64::try_from(at.saturating_sub(self.probe_at)).unwrap_or(self.rtt);
            self.flags &= !PROBE;
        }
    }

    /// What there is to a segment, if any of it [concerns](Self::heeds) the flow.
    #[inline(never)]
    fn tcp(&mut self, part: &Part, ab: bool, seen: &Seen) {
        let segment = &part.tcp;
        if segment.has(TcpSegment::SYN) && !segment.has(TcpSegment::ACK) {
            if seen.exact {
                self.ask(0, ab, seen.at);
            }
        } else if self.is(PROBE) && segment.flags & (TcpSegment::SYN | TcpSegment::RST) != 0 {
            self.answer(ab, seen.at);
        }
        if segment.has(TcpSegment::FIN) {
            self.flags |= if ab { FIN_AB } else { FIN_BA };
        }
        if segment.has(TcpSegment::RST) {
            self.flags |= RST;
        }
        // A handshake carries nothing: what the connection is for shows in its first payload.
        if segment.payload_len > 0
            && part.path.ends_with(Layer::Tls)
            && !self.is(EMITTED)
            && self.path.resolve().path.last() == Some(Layer::Tcp)
        {
            self.path = PathId::of(part.path);
        }
        if let Some(extra) = &mut self.extra {
            extra.tcp_segment(part, ab, seen.at);
        }
    }

    fn totals(&self) -> FlowMetric {
        let [ab_carry, ba_carry] = self.rare().map_or([0, 0], |rare| rare.carry);
        FlowMetric {
            ab_packets: ab_carry.saturating_add(self.ab_packets.into()),
            ab_bytes: self.ab_bytes,
            ba_packets: ba_carry.saturating_add(self.ba_packets.into()),
            ba_bytes: self.ba_bytes,
            start: Timestamp::from_nanos(self.start),
            last: Timestamp::from_nanos(self.last),
            rtt: self.rtt,
        }
    }

    /// What came since the last update. Intervals of one flow never begin at the same instant, so that
    /// readers can tell them apart, also when all packets of one came at once.
    pub(super) fn open_interval(&self) -> FlowMetric {
        let totals = self.totals();
        let Some(extra) = &self.extra else { return totals };
        let (Some(before), Some(closed)) = (extra.emitted, extra.last_update) else {
            return totals;
        };
        let start = before
            .last
            .max(Timestamp::from_nanos(closed.start.nanos().saturating_add(1)));
        FlowMetric {
            ab_packets: totals.ab_packets.saturating_sub(before.ab_packets),
            ab_bytes: totals.ab_bytes.saturating_sub(before.ab_bytes),
            ba_packets: totals.ba_packets.saturating_sub(before.ba_packets),
            ba_bytes: totals.ba_bytes.saturating_sub(before.ba_bytes),
            start,
            last: totals.last.max(start),
            rtt: totals.rtt,
        }
    }

    /// Closes the open interval and returns it, with whether this is the flow's first update.
    pub(super) fn close_interval(&mut self, last_word: bool) -> (FlowMetric, bool) {
        let interval = self.open_interval();
        let first = !self.is(EMITTED);
        self.flags = self.flags & !DIRTY | EMITTED;
        if !(first && last_word) {
            let totals = self.totals();
            let extra = self.extra();
            extra.emitted = Some(totals);
            extra.last_update = Some(interval);
        }
        (interval, first)
    }
}
