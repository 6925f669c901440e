//! Datagrams in, packets and counters out. No socket: the reader feeds it, and so does a test, a
//! benchmark or a fuzzer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use flowtap_flow::ledger::{DropReason, Ledger};
use flowtap_flow::point::Points;
use flowtap_flow::timestamp::Timestamp;
use flowtap_topology::Graph;

use super::allow::AllowList;
use super::contents::Contents;
use super::counters::CounterReader;
use super::nodes::Nodes;
use super::registry::Registry;
use super::sequence::{DatagramStep, Step};
use super::sinks::{Outbox, Sinks};
use super::stats::{AgentList, SflowAgentStats, SflowStats};
use super::wire::{
    CounterSample, Datagram, DecodeError, DiscardedSample, FlowSample, MAX_DATAGRAM, Sample, Tlv, Tlvs,
};

/// How long sinks may wait for a pause while datagrams keep coming.
const IDLE_EVERY: Duration = Duration::from_secs(1);

/// How often counters and rates are shown, and idle agents looked for. Agents send counters every 20 seconds or
/// so; but those of many agents at once would be more work, one by one, than all of their samples.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// One datagram as it came.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// Its bytes; one byte more than [`MAX_DATAGRAM`] tells that it was longer.
    pub bytes: &'a [u8],
    /// Who sent it.
    pub source: SocketAddr,
    /// When it arrived.
    pub timestamp: Timestamp,
}

/// Decodes the datagrams of one collector.
///
/// In the ledger a packet is a sampled one. A datagram that is refused whole, or that the kernel
/// dropped, is counted as one packet, for nothing tells how many it held; so is what a broken sample
/// length takes with it. A flow sample that tells of no packet is not in the ledger at all.
pub struct Decoder {
    registry: Registry,
    sinks: Sinks,
    ledger: Arc<Ledger>,
    stats: Arc<SflowStats>,
    counters: CounterReader,
    rebuilt: Vec<u8>,
    idled: Timestamp,
    allowed: AllowList,
    forget_after: Option<Duration>,
    /// When counters and rates were shown, and idle agents forgotten.
    looked: Timestamp,
}

/// What is known of a datagram while its samples are read.
struct Current<'s> {
    agent: usize,
    stats: &'s mut SflowAgentStats,
    received: Timestamp,
    /// False for one that came late or twice.
    in_order: bool,
    packets: u32,
}

impl Decoder {
    /// A decoder that opens its sinks at `points` and keeps nodes in `graph`.
    #[must_use]
    pub fn new(
        graph: Arc<Graph>,
        points: Arc<dyn Points>,
        ledger: Arc<Ledger>,
        stats: Arc<SflowStats>,
    ) -> Self {
        Self {
            registry: Registry::new(Nodes::new(graph), Arc::clone(&stats)),
            sinks: Sinks::new(points),
            ledger,
            stats,
            counters: CounterReader::default(),
            rebuilt: Vec::new(),
            idled: Timestamp::ZERO,
            allowed: AllowList::default(),
            forget_after: None,
            looked: Timestamp::ZERO,
        }
    }

    /// Takes datagrams of these senders alone, and counts all others as refused.
    #[must_use]
    pub fn allow_only(self, allowed: AllowList) -> Self {
        Self { allowed, ..self }
    }

    /// Forgets an agent when nothing has come of it for so long, with its nodes; `None` for never.
    #[must_use]
    pub fn forget_after(self, idle: Option<Duration>) -> Self {
        Self {
            forget_after: idle,
            ..self
        }
    }

    /// Takes datagrams that arrived together, oldest first, and hands their packets on before it
    /// returns.
    pub fn burst(&mut self, datagrams: &[Received<'_>]) {
        let mut outbox = Outbox::with_buffer(std::mem::take(&mut self.rebuilt));
        let shared = Arc::clone(&self.stats);
        let mut stats = shared.lock_agents();
        for datagram in datagrams {
            if !outbox.has_room() {
                // A sink may wait for a store: nobody shall wait for the agents' counters meanwhile.
                drop(stats);
                outbox.deliver(&mut self.sinks, &self.ledger);
                stats = shared.lock_agents();
            }
            self.datagram(datagram, &mut stats, &mut outbox);
        }
        drop(stats);
        outbox.deliver(&mut self.sinks, &self.ledger);
        self.rebuilt = outbox.into_buffer();
        if let Some(last) = datagrams.last() {
            let bytes = datagrams
                .iter()
                .map(|datagram| datagram.bytes.len() as u64)
                .sum::<u64>();
            self.stats.update(|totals| {
                totals.datagrams += datagrams.len() as u64;
                totals.bytes += bytes;
            });
            if last.timestamp.since(self.idled) >= IDLE_EVERY {
                self.idle(last.timestamp);
            }
        }
    }

    /// Says that no more datagrams wait: sinks are flushed, and once a second what agents told of themselves
    /// goes into the graph.
    pub fn idle(&mut self, now: Timestamp) {
        self.sinks.flush();
        self.idled = now;
        // Also when the clock was set back.
        if now.since(self.looked).max(self.looked.since(now)) >= LOOK_EVERY {
            self.looked = now;
            self.show();
            if let Some(idle) = self.forget_after {
                self.registry.forget_idle(idle, now, &mut self.sinks);
            }
        }
    }

    /// Says that no more datagrams come.
    pub fn finish(&mut self) {
        self.sinks.flush();
        self.show();
    }

    fn show(&mut self) {
        self.registry.show();
        self.registry.show_rates();
    }

    /// Counts datagrams that the kernel had no room for.
    pub fn kernel_dropped(&mut self, datagrams: u64) {
        self.ledger.receive(datagrams, 0);
        self.ledger.drop_packets(DropReason::Kernel, datagrams);
        self.stats.update(|totals| totals.kernel_drops += datagrams);
    }

    fn datagram<'a>(&mut self, received: &Received<'a>, stats: &mut AgentList, outbox: &mut Outbox<'a>) {
        if let Err((error, reason)) = self.read_datagram(received, stats, outbox) {
            self.stats.update(|totals| totals.refused.count(error));
            outbox.drop_one(reason);
        }
    }

    fn read_datagram<'a>(
        &mut self,
        received: &Received<'a>,
        stats: &mut AgentList,
        outbox: &mut Outbox<'a>,
    ) -> Result<(), (DecodeError, DropReason)> {
        if !self.allowed.allows(received.source.ip()) {
            return Err((DecodeError::NotAllowed, DropReason::Denied));
        }
        if received.bytes.len() > MAX_DATAGRAM {
            return Err((DecodeError::DatagramLength, DropReason::Limit));
        }
        let datagram = Datagram::parse(received.bytes).map_err(|error| (error, DropReason::Malformed))?;
        let address = datagram.agent.unwrap_or(received.source.ip());
        let (agent, stats) = self
            .registry
            .agent(
                stats,
                address,
                datagram.sub_agent_id,
                received.source,
                received.timestamp,
            )
            .ok_or((DecodeError::AgentLimit, DropReason::Limit))?;
        let state = self.registry.agent_mut(agent);
        let step = state.sequence.follow(datagram.sequence, datagram.uptime_ms);
        if step == DatagramStep::Restart {
            state.epoch = state.epoch.wrapping_add(1);
        }
        stats.datagrams += 1;
        stats.source = received.source;
        stats.last = received.timestamp;
        state.heard = received.timestamp;
        let in_order = count_step(step, stats);
        let mut current = Current {
            agent,
            stats,
            received: received.timestamp,
            in_order,
            packets: 0,
        };
        for sample in datagram.samples {
            match sample {
                Ok(sample) => self.sample(sample, &mut current, outbox),
                Err(error) => {
                    current.stats.decode_errors.count(error);
                    outbox.drop_one(match error {
                        DecodeError::SampleLimit => DropReason::Limit,
                        _ => DropReason::Malformed,
                    });
                }
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn sample<'a>(&mut self, tlv: Tlv<'a>, current: &mut Current<'_>, outbox: &mut Outbox<'a>) {
        match Sample::parse(tlv) {
            Ok(Sample::Flow(sample)) => self.flow(sample, current, outbox),
            Ok(Sample::Counters(sample)) => self.counters(&sample, current),
            Ok(Sample::Discarded(sample)) => self.discarded(sample, current, outbox),
            Ok(Sample::Other(format)) => current.stats.unknown_samples.count(format),
            Err(error) => {
                current.stats.decode_errors.count(error);
                if Sample::carries_packet(tlv.format) {
                    outbox.drop_one(DropReason::Malformed);
                }
            }
        }
    }

    #[inline(always)]
    fn flow<'a>(&mut self, sample: FlowSample<'a>, current: &mut Current<'_>, outbox: &mut Outbox<'a>) {
        let stats = &mut *current.stats;
        stats.flow_samples += 1;
        stats.sampling_rate = sample.sampling_rate;
        let source = self.registry.source(current.agent, sample.source);
        match source {
            Some(source) => {
                let space = &mut self.registry.source_mut(source).flows;
                let step = space.follow(sample.sequence, current.in_order, &mut stats.lost_flow_samples);
                space.count_drops(sample.drops, &mut stats.drops);
                let (told, passed) = (sample.sampling_rate, space.passed(step, sample.sample_pool));
                self.registry.sampled(current.agent, source, told, passed, stats);
            }
            None => stats.decode_errors.count(DecodeError::SourceLimit),
        }
        self.packet(sample.records, source, sample.sampling_rate, current, outbox);
    }

    /// A dropped packet counts as the one packet that it is: agents report each, up to a rate limit.
    #[inline(never)]
    fn discarded<'a>(
        &mut self,
        sample: DiscardedSample<'a>,
        current: &mut Current<'_>,
        outbox: &mut Outbox<'a>,
    ) {
        let stats = &mut *current.stats;
        stats.drop_samples += 1;
        stats.drop_reasons.count(sample.reason);
        let source = self.registry.source(current.agent, sample.source);
        match source {
            Some(source) => {
                let space = &mut self.registry.source_mut(source).discards;
                space.follow(sample.sequence, current.in_order, &mut stats.lost_drop_samples);
                space.count_drops(sample.drops, &mut stats.drops);
            }
            None => stats.decode_errors.count(DecodeError::SourceLimit),
        }
        self.packet(sample.records, source, 1, current, outbox);
    }

    #[inline(always)]
    fn packet<'a>(
        &mut self,
        records: Tlvs<'a>,
        source: Option<usize>,
        sampling_rate: u32,
        current: &mut Current<'_>,
        outbox: &mut Outbox<'a>,
    ) {
        let mut contents = Contents::default();
        contents.read(records, current.received, current.stats);
        // The samples of one datagram came at one time: steps of a microsecond keep their order.
        let arrived = || {
            let nanos = current.received.nanos();
            Timestamp::from_nanos(nanos.saturating_add(i64::from(current.packets) * 1_000))
        };
        let timestamp = contents.timestamp.unwrap_or_else(arrived);
        let sink = self.registry.sink(current.agent, source, &mut self.sinks);
        if outbox.take(&contents, sink, timestamp, sampling_rate) {
            current.packets += 1;
        } else if let Some(reason) = contents.refused {
            outbox.drop_one(reason);
        } else {
            current.stats.samples_without_packet += 1;
        }
    }

    #[inline(never)]
    fn counters(&mut self, sample: &CounterSample<'_>, current: &mut Current<'_>) {
        let stats = &mut *current.stats;
        stats.counter_samples += 1;
        let Some(source) = self.registry.source(current.agent, sample.source) else {
            stats.decode_errors.count(DecodeError::SourceLimit);
            return;
        };
        let space = &mut self.registry.source_mut(source).counters;
        space.follow(sample.sequence, current.in_order, &mut stats.lost_counter_samples);
        let report = self.counters.read(sample, self.registry.values(source), stats);
        // What came late is older than what is known.
        if current.in_order
            && !self
                .registry
                .report(current.agent, source, report, current.received)
        {
            stats.decode_errors.count(DecodeError::SourceLimit);
        }
    }
}

/// Counts what a datagram's number tells; true if the datagram is the newest of its agent.
fn count_step(step: DatagramStep, stats: &mut SflowAgentStats) -> bool {
    match step {
        DatagramStep::Restart => stats.restarts += 1,
        DatagramStep::Follows(Step::First) => {}
        DatagramStep::Follows(Step::Ahead { missing }) => stats.lost += u64::from(missing),
        DatagramStep::Follows(Step::Late) => {
            stats.lost = stats.lost.saturating_sub(1);
            stats.reordered += 1;
            return false;
        }
        DatagramStep::Follows(Step::Early) => {
            stats.reordered += 1;
            return false;
        }
        DatagramStep::Follows(Step::Duplicate | Step::Behind) => {
            stats.duplicates += 1;
            return false;
        }
    }
    true
}
