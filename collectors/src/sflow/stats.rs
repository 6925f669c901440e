//! What became of the datagrams, by agent and in all: for the API, for metrics, for people who
//! wonder why nothing comes.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use flowtap_flow::timestamp::Timestamp;
use serde::{Serialize, Serializer};

use super::rate::EffectiveRate;
use super::wire::{DecodeError, Format};

/// Counts of [`DecodeError`]s. In JSON an object of those that happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorCounts([u64; DecodeError::ALL.len()]);

impl ErrorCounts {
    pub(super) fn count(&mut self, error: DecodeError) {
        self.0[error as usize] += 1;
    }

    /// How often `error` happened.
    #[must_use]
    pub fn of(&self, error: DecodeError) -> u64 {
        self.0[error as usize]
    }

    /// Each error that happened, and how often.
    pub fn iter(&self) -> impl Iterator<Item = (DecodeError, u64)> + '_ {
        DecodeError::ALL
            .into_iter()
            .zip(self.0)
            .filter(|(_, count)| *count > 0)
    }
}

impl Serialize for ErrorCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(error, count)| (error.as_str(), count)))
    }
}

/// Counts by a key that the agent chooses: a list, because few differ; bounded, because a hostile
/// agent would choose many. In JSON an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts<K> {
    counts: Vec<(K, u64)>,
    others: u64,
}

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self {
            counts: Vec::new(),
            others: 0,
        }
    }
}

impl<K: Copy + PartialEq> Counts<K> {
    /// Keys counted apart (16 bytes each); further ones are counted together.
    const MAX_KEYS: usize = 32;

    pub(super) fn count(&mut self, key: K) {
        let known = self.counts.iter().position(|(known, _)| *known == key);
        match known {
            Some(index) => self.counts[index].1 += 1,
            None if self.counts.len() < Self::MAX_KEYS => self.counts.push((key, 1)),
            None => self.others += 1,
        }
    }

    /// How often `key` was counted.
    #[must_use]
    pub fn of(&self, key: K) -> u64 {
        self.counts
            .iter()
            .find(|(known, _)| *known == key)
            .map_or(0, |(_, count)| *count)
    }

    /// Everything that was counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().map(|(_, count)| count).sum::<u64>() + self.others
    }
}

impl<K: Copy + PartialEq + ToString> Serialize for Counts<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let others = (self.others > 0).then(|| ("others".to_owned(), self.others));
        serializer.collect_map(
            self.counts
                .iter()
                .map(|(key, n)| (key.to_string(), *n))
                .chain(others),
        )
    }
}

/// One agent and sub-agent, as its datagrams tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SflowAgentStats {
    /// The agent's address as it names itself; the UDP source's if it does not.
    pub agent: IpAddr,
    /// Its `sub_agent_id`.
    pub sub_agent: u32,
    /// Where its last datagram came from, which NAT and relays change.
    pub source: SocketAddr,
    /// TID of its node in the topology.
    #[serde(rename = "NodeTID")]
    pub node_tid: String,
    /// Datagrams received.
    pub datagrams: u64,
    /// Flow samples received.
    pub flow_samples: u64,
    /// Counter samples received.
    pub counter_samples: u64,
    /// Samples of dropped packets received.
    pub drop_samples: u64,
    /// Flow and drop samples that told of no packet: no header, no IP or Ethernet fields.
    pub samples_without_packet: u64,
    /// Datagrams that never came, by their sequence numbers; one that comes late is taken off again.
    pub lost: u64,
    /// Flow samples that never came: those of lost datagrams, and those that the agent itself lost.
    pub lost_flow_samples: u64,
    /// Counter samples that never came.
    pub lost_counter_samples: u64,
    /// Samples of dropped packets that never came.
    pub lost_drop_samples: u64,
    /// Datagrams that came late.
    pub reordered: u64,
    /// Datagrams whose number had come before; they count all the same, since there are agents that
    /// do not number.
    pub duplicates: u64,
    /// How often the agent began anew.
    pub restarts: u64,
    /// What could not be read, by reason.
    pub decode_errors: ErrorCounts,
    /// Sampled headers that flowtap does not decode, by `header_protocol`.
    pub unknown_protocols: Counts<u32>,
    /// Records of types that flowtap has no use for, by `enterprise:format`.
    pub unknown_records: Counts<Format>,
    /// Samples of such types.
    pub unknown_samples: Counts<Format>,
    /// Samples of dropped packets by their `drop_reason`.
    pub drop_reasons: Counts<u32>,
    /// N of 1:N of the last flow sample.
    pub sampling_rate: u32,
    /// For how many packets each flow sample came, over the last some thousand of all data sources.
    pub effective_sampling_rate: EffectiveRate,
    /// Samples that the agent says it dropped itself since its first datagram here.
    pub drops: u64,
    /// When its first datagram came, ms since the Unix epoch.
    #[serde(serialize_with = "millis")]
    pub first: Timestamp,
    /// When its last datagram came, ms since the Unix epoch.
    #[serde(serialize_with = "millis")]
    pub last: Timestamp,
}

fn millis<S: Serializer>(timestamp: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_i64(timestamp.millis())
}

impl SflowAgentStats {
    pub(super) fn new(
        agent: IpAddr,
        sub_agent: u32,
        node_tid: &str,
        source: SocketAddr,
        at: Timestamp,
    ) -> Self {
        Self {
            agent,
            sub_agent,
            source,
            node_tid: node_tid.to_owned(),
            datagrams: 0,
            flow_samples: 0,
            counter_samples: 0,
            drop_samples: 0,
            samples_without_packet: 0,
            lost: 0,
            lost_flow_samples: 0,
            lost_counter_samples: 0,
            lost_drop_samples: 0,
            reordered: 0,
            duplicates: 0,
            restarts: 0,
            decode_errors: ErrorCounts::default(),
            unknown_protocols: Counts::default(),
            unknown_records: Counts::default(),
            unknown_samples: Counts::default(),
            drop_reasons: Counts::default(),
            sampling_rate: 0,
            effective_sampling_rate: EffectiveRate::default(),
            drops: 0,
            first: at,
            last: at,
        }
    }
}

/// All agents together, and what belongs to none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SflowTotals {
    /// Datagrams received, the refused ones included.
    pub datagrams: u64,
    /// Their bytes, without UDP and IP headers.
    pub bytes: u64,
    /// Datagrams that the kernel dropped because its buffer was full.
    pub kernel_drops: u64,
    /// Datagrams refused whole, by reason. What was wrong inside the others is with their agents.
    pub refused: ErrorCounts,
    /// Agents that were forgotten, for nothing had come of them for long.
    pub agents_forgotten: u64,
}

/// The counters of one sFlow collector: it writes, everybody reads.
///
/// Those of all agents have one lock, held by the collector for a burst of datagrams (a millisecond or two): one for
/// each agent, taken for each datagram, took a fiftieth of the collector's time.
#[derive(Debug, Default)]
pub struct SflowStats {
    totals: Mutex<SflowTotals>,
    agents: Mutex<AgentList>,
}

/// The counters of agents by the number that the registry gave each; `None` where one was forgotten.
pub(super) type AgentList = Vec<Option<SflowAgentStats>>;

impl SflowStats {
    /// All agents together.
    #[must_use]
    pub fn totals(&self) -> SflowTotals {
        *lock(&self.totals)
    }

    /// Every agent that was heard of and not forgotten, in the order in which they were first heard.
    #[must_use]
    pub fn agents(&self) -> Vec<SflowAgentStats> {
        let mut agents: Vec<_> = self.lock_agents().iter().flatten().cloned().collect();
        agents.sort_by_key(|agent| agent.first);
        agents
    }

    pub(super) fn update(&self, update: impl FnOnce(&mut SflowTotals)) {
        update(&mut lock(&self.totals));
    }

    pub(super) fn lock_agents(&self) -> MutexGuard<'_, AgentList> {
        lock(&self.agents)
    }
}

/// Counters stay true when a thread that held them panicked: each is written in one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_names_reasons_and_records() {
        let source = "10.0.0.11:40000".parse().unwrap();
        let at = Timestamp::from_secs(1_700_000_000);
        let mut stats = SflowAgentStats::new("10.0.0.11".parse().unwrap(), 1, "tid", source, at);
        stats.decode_errors.count(DecodeError::RecordLength);
        stats.unknown_records.count(Format::standard(1002));
        let json = serde_json::to_value(&stats).unwrap();
        assert_eq!(json["Agent"], "10.0.0.11");
        assert_eq!(json["Source"], "10.0.0.11:40000");
        assert_eq!(json["DecodeErrors"], serde_json::json!({"record_length": 1}));
        assert_eq!(json["UnknownRecords"], serde_json::json!({"0:1002": 1}));
        assert_eq!(json["First"], 1_700_000_000_000_i64);
    }

    #[test]
    fn keys_of_a_hostile_agent_are_bounded() {
        let mut counts = Counts::default();
        (0..10_000u32).for_each(|key| counts.count(key));
        assert_eq!((counts.total(), counts.of(3)), (10_000, 1));
        let json = serde_json::to_value(&counts).unwrap();
        assert_eq!(json.as_object().unwrap().len(), 33);
        assert_eq!(json["others"], 10_000 - 32);
    }
}
