//! What is counted of a flow, and how it ends.

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use crate::timestamp::Timestamp;

/// Packets and bytes both ways over a stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowMetric {
    /// Packets from A to B; for sampled traffic, the estimate (samples × rate).
    pub ab_packets: u64,
    /// Bytes on the wire from A to B; for sampled traffic, the estimate.
    pub ab_bytes: u64,
    /// Packets from B to A.
    pub ba_packets: u64,
    /// Bytes on the wire from B to A.
    pub ba_bytes: u64,
    /// Begin of the stretch.
    pub start: Timestamp,
    /// Its end: the last packet in it.
    pub last: Timestamp,
    /// Round-trip time in nanoseconds, 0 if not measured.
    pub rtt: u64,
}

impl Serialize for FlowMetric {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("ABPackets", &self.ab_packets)?;
        map.serialize_entry("ABBytes", &self.ab_bytes)?;
        map.serialize_entry("BAPackets", &self.ba_packets)?;
        map.serialize_entry("BABytes", &self.ba_bytes)?;
        map.serialize_entry("Start", &self.start.millis())?;
        map.serialize_entry("Last", &self.last.millis())?;
        if self.rtt != 0 {
            map.serialize_entry("RTT", &self.rtt)?;
        }
        map.end()
    }
}

/// TCP details, kept when a capture asks for them (`ExtraTCPMetric`). Times in ms, 0 = not seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "Skydive's field names, which say it")]
#[serde(default)]
pub struct TcpMetric {
    #[serde(rename = "ABSynStart", skip_serializing_if = "is_zero")]
    pub ab_syn_start: i64,
    #[serde(rename = "BASynStart", skip_serializing_if = "is_zero")]
    pub ba_syn_start: i64,
    #[serde(rename = "ABSynTTL", skip_serializing_if = "is_zero")]
    pub ab_syn_ttl: i64,
    #[serde(rename = "BASynTTL", skip_serializing_if = "is_zero")]
    pub ba_syn_ttl: i64,
    #[serde(rename = "ABFinStart", skip_serializing_if = "is_zero")]
    pub ab_fin_start: i64,
    #[serde(rename = "BAFinStart", skip_serializing_if = "is_zero")]
    pub ba_fin_start: i64,
    #[serde(rename = "ABRstStart", skip_serializing_if = "is_zero")]
    pub ab_rst_start: i64,
    #[serde(rename = "BARstStart", skip_serializing_if = "is_zero")]
    pub ba_rst_start: i64,
    #[serde(rename = "ABSegmentOutOfOrder", skip_serializing_if = "is_zero")]
    pub ab_segment_out_of_order: i64,
    #[serde(rename = "ABSegmentSkipped", skip_serializing_if = "is_zero")]
    pub ab_segment_skipped: i64,
    #[serde(rename = "ABSegmentSkippedBytes", skip_serializing_if = "is_zero")]
    pub ab_segment_skipped_bytes: i64,
    #[serde(rename = "ABPackets", skip_serializing_if = "is_zero")]
    pub ab_packets: i64,
    #[serde(rename = "ABBytes", skip_serializing_if = "is_zero")]
    pub ab_bytes: i64,
    #[serde(rename = "ABSawStart", skip_serializing_if = "is_zero")]
    pub ab_saw_start: i64,
    #[serde(rename = "ABSawEnd", skip_serializing_if = "is_zero")]
    pub ab_saw_end: i64,
    #[serde(rename = "BASegmentOutOfOrder", skip_serializing_if = "is_zero")]
    pub ba_segment_out_of_order: i64,
    #[serde(rename = "BASegmentSkipped", skip_serializing_if = "is_zero")]
    pub ba_segment_skipped: i64,
    #[serde(rename = "BASegmentSkippedBytes", skip_serializing_if = "is_zero")]
    pub ba_segment_skipped_bytes: i64,
    #[serde(rename = "BAPackets", skip_serializing_if = "is_zero")]
    pub ba_packets: i64,
    #[serde(rename = "BABytes", skip_serializing_if = "is_zero")]
    pub ba_bytes: i64,
    #[serde(rename = "BASawStart", skip_serializing_if = "is_zero")]
    pub ba_saw_start: i64,
    #[serde(rename = "BASawEnd", skip_serializing_if = "is_zero")]
    pub ba_saw_end: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(value: &i64) -> bool {
    *value == 0
}

/// IP details, kept when a capture asks for defragmentation (`IPDefrag`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IpMetric {
    /// Fragments that became part of a whole packet.
    pub fragments: i64,
    /// Fragments that never did: overlapping, too late, or too many.
    pub fragment_errors: i64,
}

/// What was really seen of a sampled flow; [`FlowMetric`] holds the estimates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Sampling {
    /// N of the last sample's 1:N, 0 if the agent did not tell.
    pub rate: u32,
    /// Samples from A to B.
    #[serde(rename = "ABPackets")]
    pub ab_packets: u64,
    /// Bytes of the sampled packets on the wire from A to B.
    #[serde(rename = "ABBytes")]
    pub ab_bytes: u64,
    /// Samples from B to A.
    #[serde(rename = "BAPackets")]
    pub ba_packets: u64,
    /// Bytes of the sampled packets on the wire from B to A.
    #[serde(rename = "BABytes")]
    pub ba_bytes: u64,
}

impl Sampling {
    /// Counts `packets` of `bytes` in all, sampled at 1:`rate`. Counters stop at their end.
    pub(crate) fn count(&mut self, ab: bool, packets: u64, bytes: u64, rate: u32) {
        self.rate = rate;
        let (total_packets, total_bytes) = if ab {
            (&mut self.ab_packets, &mut self.ab_bytes)
        } else {
            (&mut self.ba_packets, &mut self.ba_bytes)
        };
        *total_packets = total_packets.saturating_add(packets);
        *total_bytes = total_bytes.saturating_add(bytes);
    }

    /// The 95 % error bound of the estimate in percent: 196·√(1/samples) (sflow.org, packetSamplingBasics).
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a percentage for people")]
    pub fn error_percent(&self) -> f64 {
        let samples = (self.ab_packets + self.ba_packets).max(1);
        196.0 * (1.0 / samples as f64).sqrt()
    }
}

impl Serialize for Sampling {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("Rate", &self.rate)?;
        map.serialize_entry("ABPackets", &self.ab_packets)?;
        map.serialize_entry("ABBytes", &self.ab_bytes)?;
        map.serialize_entry("BAPackets", &self.ba_packets)?;
        map.serialize_entry("BABytes", &self.ba_bytes)?;
        map.serialize_entry("ErrorPercent", &self.error_percent())?;
        map.end()
    }
}

/// How a flow ended. The numbers are Skydive's; `Evicted` is ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FinishType {
    /// It has not.
    #[default]
    NotFinished = 0,
    /// No packet for the expiry time (RFC 7011 flowEndReason 1).
    Timeout = 1,
    /// FIN both ways (flowEndReason 3).
    Fin = 2,
    /// RST (flowEndReason 3).
    Rst = 3,
    /// The flow table was full (flowEndReason 5, lack of resources).
    Evicted = 4,
}

impl FinishType {
    /// From the number in JSON and in stores.
    #[must_use]
    pub fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Timeout,
            2 => Self::Fin,
            3 => Self::Rst,
            4 => Self::Evicted,
            _ => Self::NotFinished,
        }
    }
}
