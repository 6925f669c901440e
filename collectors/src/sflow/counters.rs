//! Counter samples, through `sflow-parser` behind a guard.
//!
//! The parser believes lengths before it looks for the bytes, follows record (0,1016) into itself
//! without end, and gives up a whole datagram for one bad record. So it is handed one counter sample
//! at a time, put together anew of those records alone that are on the list here and whose
//! lengths, the inner ones too, were checked; and none that it gets wrong.

use sflow_parser::models::CounterData;
use sflow_parser::models::record_counters::{EthernetInterfaceCounters, GenericInterfaceCounters};
use sflow_parser::{SampleData, parse_datagram};

use super::metric::{Metric, Values};
use super::stats::SflowAgentStats;
use super::wire::{CounterSample, Cursor, DecodeError, LagPort, Tlv};

/// What a counter sample tells of its data source.
#[derive(Debug, Default)]
pub(super) struct CounterReport {
    pub(super) values: Values,
    pub(super) description: Description,
}

/// What it tells besides counters.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Description {
    pub(super) interface: Option<Interface>,
    /// `port_name`: of Open vSwitch, the port's name in OVSDB.
    pub(super) port_name: Option<String>,
    pub(super) openflow: Option<OpenFlowPort>,
    pub(super) lag: Option<LagPort>,
    pub(super) hostname: Option<String>,
}

/// Of `if_counters`, what does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) index: u32,
    /// Bits per second; 0 if unknown.
    pub(super) speed: u64,
    pub(super) up: bool,
}

/// Which port of which OpenFlow datapath it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OpenFlowPort {
    pub(super) datapath_id: u64,
    pub(super) port: u32,
}

impl OpenFlowPort {
    /// True for the port that is the switch itself (`OFPP_LOCAL`), in the 16 bits of OpenFlow 1.0, which
    /// Open vSwitch sends, or in 32: its name is the bridge's.
    pub(super) fn is_local(self) -> bool {
        matches!(self.port, 0xfffe | 0xffff_fffe)
    }
}

/// Datagram header (version, agent, sub-agent, sequence, uptime, samples) for a parser that only
/// takes datagrams: version 5, an agent of unknown address, one sample.
const DATAGRAM: [u32; 6] = [5, 0, 0, 0, 0, 1];

/// Longest name read: `port_name` and `hostname` are shorter by the specification.
const MAX_NAME: usize = 255;

/// Reads counter samples; keeps its buffer.
#[derive(Debug, Default)]
pub(super) struct CounterReader {
    /// Grows to at most [`super::wire::MAX_DATAGRAM`] and a header.
    buffer: Vec<u8>,
}

impl CounterReader {
    /// Reads `sample` on top of `values`, the last ones known of the data source. What is wrong or
    /// unknown is counted in `stats`.
    pub(super) fn read(
        &mut self,
        sample: &CounterSample<'_>,
        values: Values,
        stats: &mut SflowAgentStats,
    ) -> CounterReport {
        let mut report = CounterReport {
            values,
            ..CounterReport::default()
        };
        let mut records = 0;
        self.begin();
        for record in sample.records.clone() {
            match record.and_then(|record| self.take(&record, &mut report)) {
                Ok(Taken::ForParser) => records += 1,
                Ok(Taken::Read) => {}
                Ok(Taken::Unknown(record)) => stats.unknown_records.count(record.format),
                Err(error) => stats.decode_errors.count(error),
            }
        }
        if records > 0 && self.parse(records, &mut report).is_none() {
            stats.decode_errors.count(DecodeError::RecordContent);
        }
        report
    }

    fn take<'a>(&mut self, record: &Tlv<'a>, report: &mut CounterReport) -> Result<Taken<'a>, DecodeError> {
        let body = record.body;
        let sound = match record.format.0 {
            1 => body.len() >= 88,
            2 => body.len() >= 52,
            5 => body.len() >= 28,
            7 => {
                report.description.lag = LagPort::parse(body);
                return if report.description.lag.is_some() {
                    Ok(Taken::Read)
                } else {
                    Err(DecodeError::RecordContent)
                };
            }
            1004 => body.len() >= 12,
            1005 => Cursor(body).string(MAX_NAME).is_some(),
            2000 => is_host_description(body),
            2203 => body.len() >= 40,
            2207 => body.len() >= 24,
            _ => return Ok(Taken::Unknown(*record)),
        };
        if !sound {
            return Err(DecodeError::RecordContent);
        }
        self.push(record);
        Ok(Taken::ForParser)
    }

    /// Lays down the header of a datagram that holds one compact counter sample. Lengths follow.
    fn begin(&mut self) {
        self.buffer.clear();
        self.words(&DATAGRAM);
        self.words(&[2, 0, 0, 0, 0]);
    }

    fn push(&mut self, record: &Tlv<'_>) {
        let length = u32::try_from(record.body.len()).unwrap_or(u32::MAX);
        self.words(&[record.format.0, length]);
        self.buffer.extend_from_slice(record.body);
        self.buffer.resize(self.buffer.len().next_multiple_of(4), 0);
    }

    fn words(&mut self, words: &[u32]) {
        self.buffer
            .extend(words.iter().flat_map(|word| word.to_be_bytes()));
    }

    fn parse(&mut self, records: u32, report: &mut CounterReport) -> Option<()> {
        let sample = 4 * (DATAGRAM.len() + 2);
        let length = u32::try_from(self.buffer.len() - sample).ok()?;
        self.buffer[sample - 4..sample].copy_from_slice(&length.to_be_bytes());
        self.buffer[sample + 8..sample + 12].copy_from_slice(&records.to_be_bytes());
        for sample in parse_datagram(&self.buffer).ok()?.samples {
            if let SampleData::CountersSample(sample) = sample.sample_data {
                sample
                    .counters
                    .into_iter()
                    .for_each(|record| report.take(record.counter_data));
            }
        }
        Some(())
    }
}

enum Taken<'a> {
    ForParser,
    Read,
    Unknown(Tlv<'a>),
}

/// Host name, UUID, machine type, operating system, its release.
fn is_host_description(body: &[u8]) -> bool {
    let mut cursor = Cursor(body);
    let mut check = || {
        cursor.string(MAX_NAME)?;
        cursor.take(16 + 8)?;
        cursor.string(MAX_NAME)
    };
    check().is_some()
}

impl CounterReport {
    fn take(&mut self, data: CounterData) {
        match data {
            CounterData::GenericInterface(counters) => self.interface_counters(&counters),
            CounterData::EthernetInterface(counters) => self.ethernet_counters(&counters),
            CounterData::Vlan(counters) => {
                self.values.set_wide(Metric::VlanOctets, counters.octets);
                self.set([
                    (Metric::VlanUcastPkts, counters.ucast_pkts),
                    (Metric::VlanMulticastPkts, counters.multicast_pkts),
                    (Metric::VlanBroadcastPkts, counters.broadcast_pkts),
                    (Metric::VlanDiscards, counters.discards),
                ]);
            }
            CounterData::OpenFlowPort(port) => {
                self.description.openflow = Some(OpenFlowPort {
                    datapath_id: port.datapath_id,
                    port: port.port_no,
                });
            }
            CounterData::OpenFlowPortName(name) => self.description.port_name = Some(name.port_name),
            CounterData::HostDescription(host) => self.description.hostname = Some(host.hostname),
            CounterData::AppResources(resources) => {
                self.values.set_wide(Metric::OvsAppMemUsed, resources.mem_used);
                self.values.set_wide(Metric::OvsAppMemMax, resources.mem_max);
                self.set([
                    (Metric::OvsAppFdOpen, resources.fd_open),
                    (Metric::OvsAppFdMax, resources.fd_max),
                    (Metric::OvsAppConnOpen, resources.conn_open),
                    (Metric::OvsAppConnMax, resources.conn_max),
                ]);
            }
            CounterData::OvsDpStats(datapath) => self.set([
                (Metric::OvsDpNHit, datapath.hits),
                (Metric::OvsDpNMissed, datapath.misses),
                (Metric::OvsDpNLost, datapath.lost),
                (Metric::OvsDpNMaskHit, datapath.mask_hits),
                (Metric::OvsDpNFlows, datapath.flows),
                (Metric::OvsDpNMasks, datapath.masks),
            ]),
            // Not on the list, so never handed over.
            _ => {}
        }
    }

    fn set<const N: usize>(&mut self, metrics: [(Metric, u32); N]) {
        metrics
            .into_iter()
            .for_each(|(metric, value)| self.values.set(metric, value));
    }

    fn interface_counters(&mut self, counters: &GenericInterfaceCounters) {
        const UP: u32 = 0b11; // ifAdminStatus and ifOperStatus
        self.description.interface = Some(Interface {
            index: counters.if_index,
            speed: if counters.if_speed == u64::MAX {
                0
            } else {
                counters.if_speed
            },
            up: counters.if_status & UP == UP,
        });
        self.values.set_wide(Metric::IfInOctets, counters.if_in_octets);
        self.values.set_wide(Metric::IfOutOctets, counters.if_out_octets);
        self.set([
            (Metric::IfInUcastPkts, counters.if_in_ucast_pkts),
            (Metric::IfInMulticastPkts, counters.if_in_multicast_pkts),
            (Metric::IfInBroadcastPkts, counters.if_in_broadcast_pkts),
            (Metric::IfInDiscards, counters.if_in_discards),
            (Metric::IfInErrors, counters.if_in_errors),
            (Metric::IfInUnknownProtos, counters.if_in_unknown_protos),
            (Metric::IfOutUcastPkts, counters.if_out_ucast_pkts),
            (Metric::IfOutMulticastPkts, counters.if_out_multicast_pkts),
            (Metric::IfOutBroadcastPkts, counters.if_out_broadcast_pkts),
            (Metric::IfOutDiscards, counters.if_out_discards),
            (Metric::IfOutErrors, counters.if_out_errors),
        ]);
    }

    fn ethernet_counters(&mut self, counters: &EthernetInterfaceCounters) {
        self.set([
            (Metric::EthAlignmentErrors, counters.dot3_stats_alignment_errors),
            (Metric::EthFCSErrors, counters.dot3_stats_fcs_errors),
            (
                Metric::EthSingleCollisionFrames,
                counters.dot3_stats_single_collision_frames,
            ),
            (
                Metric::EthMultipleCollisionFrames,
                counters.dot3_stats_multiple_collision_frames,
            ),
            (Metric::EthSQETestErrors, counters.dot3_stats_sqe_test_errors),
            (
                Metric::EthDeferredTransmissions,
                counters.dot3_stats_deferred_transmissions,
            ),
            (Metric::EthLateCollisions, counters.dot3_stats_late_collisions),
            (
                Metric::EthExcessiveCollisions,
                counters.dot3_stats_excessive_collisions,
            ),
            (
                Metric::EthInternalMacTransmitErrors,
                counters.dot3_stats_internal_mac_transmit_errors,
            ),
            (
                Metric::EthInternalMacReceiveErrors,
                counters.dot3_stats_internal_mac_receive_errors,
            ),
            (
                Metric::EthCarrierSenseErrors,
                counters.dot3_stats_carrier_sense_errors,
            ),
            (Metric::EthFrameTooLongs, counters.dot3_stats_frame_too_longs),
            (Metric::EthSymbolErrors, counters.dot3_stats_symbol_errors),
        ]);
    }
}
