//! Who sends: agents and their data sources, what is known of each, and how many there may be.

mod space;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;
use flowtap_flow::timestamp::Timestamp;

use super::counters::{CounterReport, Description};
use super::metric::{Metrics, Values};
use super::nodes::{NodeRef, Nodes};
use super::rate::EffectiveRate;
use super::sequence::DatagramSequence;
use super::sinks::{SinkId, Sinks};
use super::stats::{AgentList, SflowAgentStats, SflowStats};
use super::wire::SourceId;
use space::SampleSpace;

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
    key: (IpAddr, u32),
    pub(super) node: NodeRef,
    pub(super) sequence: DatagramSequence,
    /// Grows with each restart: data sources of an older one begin anew.
    pub(super) epoch: u32,
    sink: Option<SinkId>,
    metrics: Option<Box<Metrics>>,
    /// Where the last sample came from: most come from where the one before came from.
    last: Option<(SourceId, usize)>,
    sources: Vec<(SourceId, usize)>,
    /// When its last datagram came.
    pub(super) heard: Timestamp,
    /// It has been forgotten, and its place is free.
    is_free: bool,
    is_unrated: bool,
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
    /// As its nodes show it.
    description: Option<Box<Description>>,
    metrics: Option<Box<Metrics>>,
    unshown: bool,
    rate: EffectiveRate,
    /// N of 1:N of the last sample.
    told_rate: u32,
    is_unrated: bool,
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
    free_agents: Vec<usize>,
    free_sources: Vec<usize>,
    /// Agents and data sources with metrics that are not in the graph yet.
    unshown: Vec<(usize, usize)>,
    /// Those with flow samples since their rates were shown; no source for the agent itself.
    unrated: Vec<(usize, Option<usize>)>,
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
            free_agents: Vec::new(),
            free_sources: Vec::new(),
            unshown: Vec::new(),
            unrated: Vec::new(),
        }
    }

    /// The agent at `address`, known or new, and its counters in `stats`; `None` if there is no room for a new one.
    pub(super) fn agent<'s>(
        &mut self,
        stats: &'s mut AgentList,
        address: IpAddr,
        sub_agent: u32,
        from: SocketAddr,
        at: Timestamp,
    ) -> Option<(usize, &'s mut SflowAgentStats)> {
        let known = self.agent_index.get(&(address, sub_agent)).copied();
        let index = known.or_else(|| self.new_agent(address, sub_agent, at))?;
        if known.is_none() {
            let tid = self.agents[index].node.tid.as_str();
            stats.resize_with(self.agents.len(), || None);
            stats[index] = Some(SflowAgentStats::new(address, sub_agent, tid, from, at));
        }
        Some((index, stats.get_mut(index)?.as_mut()?))
    }

    fn new_agent(&mut self, address: IpAddr, sub_agent: u32, at: Timestamp) -> Option<usize> {
        if self.agents.len() >= MAX_AGENTS && self.free_agents.is_empty() {
            return None;
        }
        let agent = Agent {
            key: (address, sub_agent),
            node: self.nodes.agent(address, sub_agent),
            sequence: DatagramSequence::default(),
            epoch: 0,
            sink: None,
            metrics: None,
            last: None,
            sources: Vec::new(),
            heard: at,
            is_free: false,
            is_unrated: false,
        };
        let index = place(&mut self.agents, &mut self.free_agents, agent);
        self.agent_index.insert((address, sub_agent), index);
        Some(index)
    }

    pub(super) fn agent_mut(&mut self, agent: usize) -> &mut Agent {
        &mut self.agents[agent]
    }

    /// The data source `id` of `agent`, known or new; `None` if there is no room for a new one.
    #[inline(always)]
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

    #[inline(never)]
    fn find_source(&mut self, agent: usize, id: SourceId) -> Option<usize> {
        if let Some(source) = self.source_index.get(&(agent, id)) {
            return Some(*source);
        }
        if self.sources.len() >= MAX_SOURCES && self.free_sources.is_empty() {
            return None;
        }
        let owner = &self.agents[agent];
        let port = id
            .interface()
            .map(|if_index| (self.nodes.port(&owner.node, if_index), if_index));
        let source = Source {
            epoch: owner.epoch,
            port,
            ..Source::default()
        };
        let index = place(&mut self.sources, &mut self.free_sources, source);
        self.source_index.insert((agent, id), index);
        self.agents[agent].sources.push((id, index));
        Some(index)
    }

    pub(super) fn source_mut(&mut self, source: usize) -> &mut Source {
        &mut self.sources[source]
    }

    /// Takes what a flow sample of a data source tells of its rate: how many packets passed since the one
    /// before, if that is known, and the N of 1:N that the agent names.
    #[inline(always)]
    pub(super) fn sampled(
        &mut self,
        agent: usize,
        source: usize,
        told: u32,
        passed: Option<u64>,
        stats: &mut SflowAgentStats,
    ) {
        let state = &mut self.sources[source];
        state.told_rate = told;
        if let Some(passed) = passed {
            state.rate.add(passed, 1);
            stats.effective_sampling_rate.add(passed, 1);
        }
        if !std::mem::replace(&mut state.is_unrated, true) {
            self.unrated.push((agent, Some(source)));
            if !std::mem::replace(&mut self.agents[agent].is_unrated, true) {
                self.unrated.push((agent, None));
            }
        }
    }

    /// The sink for packets of a data source: its port's, or else its agent's.
    #[inline(always)]
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
        report: CounterReport,
        at: Timestamp,
    ) -> bool {
        let (owner, state) = (&mut self.agents[agent], &mut self.sources[source]);
        // Agents say the same again and again.
        if state.description.as_deref() != Some(&report.description) {
            let port = state.port.as_ref().map(|(node, _)| node);
            self.nodes.describe(&owner.node, port, &report.description);
            state.description = Some(Box::new(report.description));
        }
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

    /// Writes the rates of those that have sampled since the last call into the graph.
    pub(super) fn show_rates(&mut self) {
        for (agent, source) in self.unrated.drain(..) {
            let owner = &mut self.agents[agent];
            let Some(source) = source else {
                owner.is_unrated = false;
                let rates =
                    |stats: &SflowAgentStats| (stats.sampling_rate, stats.effective_sampling_rate.get());
                let rates = self.stats.lock_agents()[agent].as_ref().map(rates);
                if let Some((told, effective)) = rates {
                    self.nodes.show_rate(&owner.node, told, effective);
                }
                continue;
            };
            let source = &mut self.sources[source];
            source.is_unrated = false;
            if let Some((port, _)) = &source.port {
                self.nodes.show_rate(port, source.told_rate, source.rate.get());
            }
        }
    }

    /// Forgets agents of which nothing has come for `idle`, with their data sources and nodes. Everything
    /// must be shown, and `sinks` be flushed.
    pub(super) fn forget_idle(&mut self, idle: Duration, now: Timestamp, sinks: &mut Sinks) {
        let is_idle = |agent: &Agent| !agent.is_free && now.since(agent.heard) >= idle;
        let gone = (0..self.agents.len()).filter(|index| is_idle(&self.agents[*index]));
        for index in gone.collect::<Vec<_>>() {
            self.forget(index, sinks);
        }
    }

    fn forget(&mut self, index: usize, sinks: &mut Sinks) {
        let agent = &mut self.agents[index];
        for (id, place) in std::mem::take(&mut agent.sources) {
            let source = std::mem::take(&mut self.sources[place]);
            self.counted -= usize::from(source.metrics.is_some());
            source.sink.into_iter().for_each(|sink| sinks.close(sink));
            self.source_index.remove(&(index, id));
            self.free_sources.push(place);
        }
        agent.is_free = true;
        agent.last = None;
        agent.metrics = None;
        agent.sink.take().into_iter().for_each(|sink| sinks.close(sink));
        self.nodes.remove(&agent.node);
        self.stats.lock_agents()[index] = None;
        self.stats.update(|totals| totals.agents_forgotten += 1);
        self.agent_index.remove(&agent.key);
        self.free_agents.push(index);
    }
}

/// Puts `item` into a free place, or a new one.
fn place<T>(items: &mut Vec<T>, free: &mut Vec<usize>, item: T) -> usize {
    if let Some(index) = free.pop() {
        items[index] = item;
        return index;
    }
    items.push(item);
    items.len() - 1
}
