//! Datagrams and samples.

use std::net::IpAddr;

use super::{Cursor, DecodeError, Format, Tlv, Tlvs};

const VERSION: u32 = 5;

/// The header of a datagram (`sample_datagram_v5`), and its samples.
#[derive(Clone, Debug)]
pub struct Datagram<'a> {
    /// The agent's address as it names itself; `None` if it does not.
    pub agent: Option<IpAddr>,
    /// Tells the processes of one agent apart: line cards, bridges.
    pub sub_agent_id: u32,
    /// Counts the datagrams of this agent and sub-agent.
    pub sequence: u32,
    /// Milliseconds since the agent started; it wraps after 49.7 days.
    pub uptime_ms: u32,
    /// The samples. Bytes behind the last one are not looked at.
    pub samples: Tlvs<'a>,
}

impl<'a> Datagram<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// [`DecodeError::Version`], [`DecodeError::DatagramHeader`]. Its samples may be broken all the
    /// same; each tells when its turn comes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor(bytes);
        match cursor.u32() {
            Some(VERSION) => Self::body(cursor).ok_or(DecodeError::DatagramHeader),
            Some(_) => Err(DecodeError::Version),
            None => Err(DecodeError::DatagramHeader),
        }
    }

    fn body(mut cursor: Cursor<'a>) -> Option<Self> {
        let agent = match cursor.u32()? {
            0 => None,
            1 => Some(IpAddr::from(cursor.array::<4>()?)),
            2 => Some(IpAddr::from(cursor.array::<16>()?)),
            _ => return None,
        };
        Some(Self {
            agent,
            sub_agent_id: cursor.u32()?,
            sequence: cursor.u32()?,
            uptime_ms: cursor.u32()?,
            samples: Tlvs::samples(cursor.u32()?, cursor.0),
        })
    }
}

/// What a sample was taken at: an `sflow_data_source`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceId {
    /// 0: an interface, 1: a VLAN, 2: a physical entity (of Open vSwitch: the bridge).
    pub class: u32,
    /// The ifIndex, VLAN id or entity.
    pub index: u32,
}

impl SourceId {
    /// The ifIndex, if the source is an interface.
    #[must_use]
    pub fn interface(self) -> Option<u32> {
        (self.class == 0).then_some(self.index)
    }
}

/// How data sources and interfaces are written: in one word, or in two (`expanded`).
#[derive(Clone, Copy)]
enum Encoding {
    Compact,
    Expanded,
}

impl Encoding {
    fn source(self, cursor: &mut Cursor<'_>) -> Option<SourceId> {
        let first = cursor.u32()?;
        Some(match self {
            Self::Compact => SourceId {
                class: first >> 24,
                index: first & 0x00ff_ffff,
            },
            Self::Expanded => SourceId {
                class: first,
                index: cursor.u32()?,
            },
        })
    }

    /// Input and output interface. Flows belong to the data source, so neither is kept.
    fn skip_interfaces(self, cursor: &mut Cursor<'_>) -> Option<()> {
        let bytes = match self {
            Self::Compact => 8,
            Self::Expanded => 16,
        };
        cursor.take(bytes).map(|_| ())
    }
}

/// One packet sampled 1 in N (`flow_sample`, `flow_sample_expanded`).
#[derive(Clone, Debug)]
pub struct FlowSample<'a> {
    /// Counts the flow samples of this data source.
    pub sequence: u32,
    /// Where the packet was sampled.
    pub source: SourceId,
    /// N of 1:N; 0 if the agent does not tell.
    pub sampling_rate: u32,
    /// Packets that could have been sampled since the source began, modulo 2³².
    pub sample_pool: u32,
    /// Samples that the agent dropped for lack of resources, since it started.
    pub drops: u32,
    /// What is told of the packet.
    pub records: Tlvs<'a>,
}

/// Counters as they stand (`counters_sample`, `counters_sample_expanded`).
#[derive(Clone, Debug)]
pub struct CounterSample<'a> {
    /// Counts the counter samples of this data source.
    pub sequence: u32,
    /// What was counted at.
    pub source: SourceId,
    /// The counters.
    pub records: Tlvs<'a>,
}

/// One packet that the device dropped (`discarded_packet`, sFlow Dropped Packet Notification).
#[derive(Clone, Debug)]
pub struct DiscardedSample<'a> {
    /// Counts the samples of this kind of this data source.
    pub sequence: u32,
    /// Where the packet was dropped.
    pub source: SourceId,
    /// Notifications that the agent dropped to keep its rate limit, since it started.
    pub drops: u32,
    /// Why the packet was dropped: a `drop_reason`.
    pub reason: u32,
    /// What is told of the packet.
    pub records: Tlvs<'a>,
}

/// A sample of a kind that flowtap reads.
#[derive(Clone, Debug)]
pub enum Sample<'a> {
    /// `(0,1)`, `(0,3)`.
    Flow(FlowSample<'a>),
    /// `(0,2)`, `(0,4)`.
    Counters(CounterSample<'a>),
    /// `(0,5)`.
    Discarded(DiscardedSample<'a>),
    /// Any other.
    Other(Format),
}

impl<'a> Sample<'a> {
    /// Reads a sample's own fields.
    ///
    /// # Errors
    /// [`DecodeError::SampleHeader`] if it is too short for them.
    #[inline(always)]
    pub fn parse(sample: Tlv<'a>) -> Result<Self, DecodeError> {
        let cursor = Cursor(sample.body);
        match sample.format.0 {
            1 => flow(cursor, Encoding::Compact).map(Self::Flow),
            2 => counters(cursor, Encoding::Compact).map(Self::Counters),
            3 => flow(cursor, Encoding::Expanded).map(Self::Flow),
            4 => counters(cursor, Encoding::Expanded).map(Self::Counters),
            5 => discarded(cursor).map(Self::Discarded),
            _ => Some(Self::Other(sample.format)),
        }
        .ok_or(DecodeError::SampleHeader)
    }

    /// True if a sample of this format carries a packet.
    #[must_use]
    pub fn carries_packet(format: Format) -> bool {
        matches!(format.0, 1 | 3 | 5)
    }
}

#[inline(always)]
fn flow(mut cursor: Cursor<'_>, encoding: Encoding) -> Option<FlowSample<'_>> {
    let sequence = cursor.u32()?;
    let source = encoding.source(&mut cursor)?;
    let sampling_rate = cursor.u32()?;
    let sample_pool = cursor.u32()?;
    let drops = cursor.u32()?;
    encoding.skip_interfaces(&mut cursor)?;
    let records = Tlvs::records(cursor.u32()?, cursor.0);
    Some(FlowSample {
        sequence,
        source,
        sampling_rate,
        sample_pool,
        drops,
        records,
    })
}

fn counters(mut cursor: Cursor<'_>, encoding: Encoding) -> Option<CounterSample<'_>> {
    let sequence = cursor.u32()?;
    let source = encoding.source(&mut cursor)?;
    let records = Tlvs::records(cursor.u32()?, cursor.0);
    Some(CounterSample {
        sequence,
        source,
        records,
    })
}

fn discarded(mut cursor: Cursor<'_>) -> Option<DiscardedSample<'_>> {
    let sequence = cursor.u32()?;
    let source = Encoding::Expanded.source(&mut cursor)?;
    let drops = cursor.u32()?;
    // One word each here, in the expanded source notwithstanding.
    Encoding::Compact.skip_interfaces(&mut cursor)?;
    let reason = cursor.u32()?;
    let records = Tlvs::records(cursor.u32()?, cursor.0);
    Some(DiscardedSample {
        sequence,
        source,
        drops,
        reason,
        records,
    })
}
