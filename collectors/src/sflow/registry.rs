//! Who sends: agents and their data sources, what is known of each, and how many there may be.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use ahash::AHashMap;
use flowtap_flow::timestamp::Timestamp;

use super::counters::CounterReport;
use super::metric::{Metrics, Values};
use super::nodes::{NodeRef, Nodes};
use super::sequence::{DatagramSequence, Sequence, Step};
use super::sinks::{SinkId, Sinks};
use super::stats::{SflowAgentStats, SflowStats};
use super::wire::SourceId;

/// Agents followed at most (2 KiB each with node and counters: 8 MiB). Datagrams of more are refused
/// and counted: anybody can make up addresses.
pub const MAX_AGENTS: usize = 4_096;
/// Data sources followed at most, of all agents together (1.5 KiB each with a port's node: 100 MiB).
/// Samples of more count as their agent's, without sequence numbers.
pub const MAX_SOURCES: usize = 65_536;
/// Data sources whose counters are kept (8 KiB each as JSON on two nodes: 128 MiB). Of more, the
/// counters are refused and counted.
pub const MAX_COUNTED_SOURCES: usize = 16_384;

/// One agent and sub-agent.
pub(super) struct Agent {
    pub(super) node: NodeRef,
    pub(super) stats: Arc<Mutex<SflowAgentStats>>,
    pub(super) sequence: DatagramSequence,
    /// Grows with each restart: data sources of an older one begin anew.
    pub(super) epoch: u32,
    sink: Option<SinkId>,
    metrics: Option<Box<Metrics>>,
    /// Where the last sample came from: most come from where the one before came from.
    last: Option<(SourceId, usize)>,
}

/// One data source of an agent.
#[derive(Default)]
pub(super) struct Source {
    pub(super) flows: SampleSpace,
    pub(super) discards: SampleSpace,
    pub(super) counters: SampleSpace,
    epoch: u32,
    /// The port's node and ifIndex, if the source is an interface; else it counts as its agent.
    port: Option<(NodeRef, u32)>,
    sink: Option<SinkId>,
    metrics: Option<Box<Metrics>>,
    unshown: bool,
}

/// One of the sequences of a data source.
#[derive(Clone, Copy, Default)]
pub(super) struct SampleSpace {
    sequence: Sequence,
    drops: Option<u32>,
}

impl SampleSpace {
    /// Takes a sample's number, and adds to `lost` what is missing before it. `in_order` says that its
    /// datagram was the newest: only then a number far back means that the source began anew.
    pub(super) fn follow(&mut self, number: u32, in_order: bool, lost: &mut u64) {
        match self.sequence.follow(number) {
            Step::Ahead { missing } => *lost += u64::from(missing),
            Step::Late => *lost = lost.saturating_sub(1),
            Step::Behind if in_order => {
                *self = Self {
                    sequence: begun(number),
                    drops: None,
                }
            }
            Step::First | Step::Early | Step::Duplicate | Step::Behind => {}
        }
    }

    /// Takes a sample's count of drops, and adds to `drops` those since the one before.
    pub(super) fn count_drops(&mut self, count: u32, drops: &mut u64) {
        let before = self.drops.replace(count).unwrap_or(count);
        // One that falls belongs to a sample that came late.
        *drops += u64::from(count.saturating_sub(before));
        self.drops = Some(count.max(before));
    }
}

fn begun(number: u32) -> Sequence {
    let mut sequence = Sequence::default();
    sequence.begin(number);
    sequence
}

/// All agents and data sources.
pub(super) struct Registry {
    nodes: Nodes,
    stats: Arc<SflowStats>,
    agents: Vec<Agent>,
    agent_index: AHashMap<(IpAddr, u32), usize>,
    sources: Vec<Source>,
    source_index: AHashMap<(usize, SourceId), usize>,
    counted: usize,
    /// Agents and data sources with metrics that are not in the graph yet.
    unshown: Vec<(usize, usize)>,
}

impl Registry {
    pub(super) fn new(nodes: Nodes, stats: Arc<SflowStats>) -> Self {
        Self {
            nodes,
            stats,
            agents: Vec::new(),
            agent_index: AHashMap::new(),
            sources: Vec::new(),
            source_index: AHashMap::new(),
            counted: 0,
            unshown: Vec::new(),
        }
    }

    /// The agent at `address`, known or new; `None` if there is no room for a new one.
    pub(super) fn agent(
        &mut self,
        address: IpAddr,
        sub_agent: u32,
        from: SocketAddr,
        at: Timestamp,
    ) -> Option<usize> {
        if let Some(agent) = self.agent_index.get(&(address, sub_agent)) {
            return Some(*agent);
        }
        if self.agents.len() >= MAX_AGENTS {
            return None;
        }
        let node = self.nodes.agent(address, sub_agent);
        let stats = SflowAgentStats::new(address, sub_agent, node.tid.as_str(), from, at);
        self.agents.push(Agent {
            node,
            stats: self.stats.add(stats),
            sequence: DatagramSequence::default(),
            epoch: 0,
            sink: None,
            metrics: None,
            last: None,
        });
        let index = self.agents.len() - 1;
        self.agent_index.insert((address, sub_agent), index);
        Some(index)
    }

    pub(super) fn agent_mut(&mut self, agent: usize) -> &mut Agent {
        &mut self.agents[agent]
    }

    /// The data source `id` of `agent`, known or new; `None` if there is no room for a new one.
    #[inline]
    pub(super) fn source(&mut self, agent: usize, id: SourceId) -> Option<usize> {
        let source = match self.agents[agent].last {
            Some((last, source)) if last == id => source,
            _ => self.find_source(agent, id)?,
        };
        self.agents[agent].last = Some((id, source));
        let epoch = self.agents[agent].epoch;
        let state = &mut self.sources[source];
        if state.epoch != epoch {
            state.epoch = epoch;
            (state.flows, state.discards, state.counters) = Default::default();
        }
        Some(source)
    }

    fn find_source(&mut self, agent: usize, id: SourceId) -> Option<usize> {
        if let Some(source) = self.source_index.get(&(agent, id)) {
            return Some(*source);
        }
        if self.sources.len() >= MAX_SOURCES {
            return None;
        }
        let owner = &self.agents[agent];
        let port = id
            .interface()
            .map(|if_index| (self.nodes.port(&owner.node, if_index), if_index));
        self.sources.push(Source {
            epoch: owner.epoch,
            port,
            ..Source::default()
        });
        let index = self.sources.len() - 1;
        self.source_index.insert((agent, id), index);
        Some(index)
    }

    pub(super) fn source_mut(&mut self, source: usize) -> &mut Source {
        &mut self.sources[source]
    }

    /// The sink for packets of a data source: its port's, or else its agent's.
    #[inline]
    pub(super) fn sink(&mut self, agent: usize, source: Option<usize>, sinks: &mut Sinks) -> SinkId {
        if let Some(source) = source {
            let source = &mut self.sources[source];
            if let Some((port, _)) = &source.port {
                return *source.sink.get_or_insert_with(|| sinks.open(port.tid.as_str()));
            }
        }
        let agent = &mut self.agents[agent];
        *agent
            .sink
            .get_or_insert_with(|| sinks.open(agent.node.tid.as_str()))
    }

    /// The counters of a data source as last known.
    pub(super) fn values(&self, source: usize) -> Values {
        self.sources[source]
            .metrics
            .as_ref()
            .map(|metrics| metrics.values())
            .unwrap_or_default()
    }

    /// Takes what a counter sample said; false if there was no room for its counters.
    pub(super) fn report(
        &mut self,
        agent: usize,
        source: usize,
        report: &CounterReport,
        at: Timestamp,
    ) -> bool {
        let (owner, state) = (&mut self.agents[agent], &mut self.sources[source]);
        self.nodes
            .describe(&owner.node, state.port.as_ref().map(|(node, _)| node), report);
        let first = state.metrics.is_none();
        if first {
            if self.counted >= MAX_COUNTED_SOURCES {
                return false;
            }
            self.counted += 1;
        }
        let metrics = state.metrics.get_or_insert_with(|| Box::new(Metrics::new(at)));
        let update = metrics.sample(report.values, first, at);
        owner
            .metrics
            .get_or_insert_with(|| Box::new(Metrics::new(at)))
            .add(&update, at);
        if !std::mem::replace(&mut state.unshown, true) {
            self.unshown.push((agent, source));
        }
        true
    }

    /// Writes counters that changed since the last call into the graph.
    pub(super) fn show(&mut self) {
        // By agent, so that each agent's sum is written once.
        self.unshown.sort_unstable();
        for of_agent in self.unshown.chunk_by(|(a, _), (b, _)| a == b) {
            let agent = &mut self.agents[of_agent[0].0];
            for (_, source) in of_agent {
                let source = &mut self.sources[*source];
                source.unshown = false;
                if let (Some(metrics), Some((port, if_index))) = (&mut source.metrics, &source.port) {
                    self.nodes.show_port(&agent.node, port, *if_index, metrics.show());
                }
            }
            if let Some(metrics) = &mut agent.metrics {
                self.nodes.show(&agent.node, metrics.show());
            }
        }
        self.unshown.clear();
    }
}
