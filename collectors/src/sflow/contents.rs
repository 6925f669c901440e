//! What the records of one sample tell of its packet.

use flowtap_flow::ledger::DropReason;
use flowtap_flow::packet::LinkType;
use flowtap_flow::timestamp::Timestamp;

use super::stats::SflowAgentStats;
use super::wire::{
    DecodeError, Format, RawHeader, SampledEthernet, SampledIp, Tlv, Tlvs, extended_timestamp,
};

/// How far an agent's own time stamp may be from ours: clocks that make nanoseconds agree far better,
/// and a flow must not be put where no query looks, nor kept until a clock comes round to it.
const MAX_SKEW_NS: u64 = 300 * 1_000_000_000;

/// The records of one flow sample or drop sample that tell of the packet.
#[derive(Debug, Default)]
pub(super) struct Contents<'a> {
    pub(super) header: Option<(LinkType, RawHeader<'a>)>,
    pub(super) ethernet: Option<SampledEthernet>,
    pub(super) ip: Option<SampledIp>,
    /// The agent's own time stamp.
    pub(super) timestamp: Option<Timestamp>,
    /// Why a record that should have told of the packet did not.
    pub(super) refused: Option<DropReason>,
}

impl<'a> Contents<'a> {
    /// Reads the records of a sample that came at `received`. What is wrong with one costs that one,
    /// and is counted in `stats`, as are types that flowtap has no use for.
    #[inline(always)]
    pub(super) fn read(&mut self, records: Tlvs<'a>, received: Timestamp, stats: &mut SflowAgentStats) {
        for record in records {
            match record.and_then(|record| self.take(&record, received, stats)) {
                Ok(()) => {}
                Err(error) => {
                    stats.decode_errors.count(error);
                    self.refused.get_or_insert(DropReason::Malformed);
                }
            }
        }
    }

    #[inline(always)]
    fn take(
        &mut self,
        record: &Tlv<'a>,
        received: Timestamp,
        stats: &mut SflowAgentStats,
    ) -> Result<(), DecodeError> {
        const SWITCH: Format = Format::standard(1001);
        let body = record.body;
        match record.format.0 {
            1 => return self.raw_header(body, stats),
            2 => self.ethernet = Some(SampledEthernet::parse(body).ok_or(DecodeError::RecordContent)?),
            3 => self.ip = Some(SampledIp::parse_v4(body).ok_or(DecodeError::RecordContent)?),
            4 => self.ip = Some(SampledIp::parse_v6(body).ok_or(DecodeError::RecordContent)?),
            1043 => {
                let nanos = extended_timestamp(body).ok_or(DecodeError::RecordContent)?;
                let at = i64::try_from(nanos).map_err(|_| DecodeError::Timestamp)?;
                if at.abs_diff(received.nanos()) > MAX_SKEW_NS {
                    return Err(DecodeError::Timestamp);
                }
                self.timestamp = Some(Timestamp::from_nanos(at));
            }
            // VLAN ids and priorities before and after: the tags of the packet are in its header.
            _ if record.format == SWITCH => {}
            _ => stats.unknown_records.count(record.format),
        }
        Ok(())
    }

    #[inline(always)]
    fn raw_header(&mut self, body: &'a [u8], stats: &mut SflowAgentStats) -> Result<(), DecodeError> {
        let header = RawHeader::parse(body)
            .filter(|header| !header.header.is_empty())
            .ok_or(DecodeError::RecordContent)?;
        let link_type = match header.protocol {
            RawHeader::ETHERNET => LinkType::ETHERNET,
            RawHeader::IPV4 => LinkType::IPV4,
            RawHeader::IPV6 => LinkType::IPV6,
            other => {
                stats.unknown_protocols.count(other);
                stats.decode_errors.count(DecodeError::HeaderProtocol);
                self.refused = Some(DropReason::LinkType);
                return Ok(());
            }
        };
        // One sample, one packet: a second header would count it twice.
        self.header.get_or_insert((link_type, header));
        Ok(())
    }
}
