//! A capture's counters as clients read them.

use std::collections::BTreeMap;

use flowtap_flow::ledger::{DropReason, LedgerSnapshot};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Everything that reached this machine for a capture, and what became of it:
/// `Received = Kept + Filtered + Σ Dropped` whenever no batch is in flight.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct CaptureLedger {
    /// Packets that arrived, those included that the kernel dropped.
    pub received: u64,
    /// Their bytes on the wire.
    pub received_bytes: u64,
    /// Packets that became part of a flow.
    pub kept: u64,
    /// Packets that a BPF filter refused.
    pub filtered: u64,
    /// Packets lost, by reason: `kernel`, `link_type`, `undecodable`, `malformed`, `limit`,
    /// `denied`.
    pub dropped: BTreeMap<String, u64>,
    /// Raw packets kept with their flows.
    pub raw_packets_kept: u64,
    /// Raw packets that the byte budget had no room for; they count in their flow all the same.
    pub raw_packets_over_budget: u64,
    /// Packets that an interface itself had no room for, where libpcap knows (type `pcap`, flowtap's own
    /// network namespace); they are not among the received ones.
    pub if_dropped: u64,
}

impl CaptureLedger {
    /// Packets lost for any reason.
    #[must_use]
    pub fn dropped_total(&self) -> u64 {
        self.dropped.values().sum()
    }
}

impl From<LedgerSnapshot> for CaptureLedger {
    fn from(snapshot: LedgerSnapshot) -> Self {
        let dropped = DropReason::ALL
            .iter()
            .map(|r| (r.as_str().to_owned(), snapshot.dropped_for(*r)));
        Self {
            received: snapshot.received,
            received_bytes: snapshot.received_bytes,
            kept: snapshot.kept,
            filtered: snapshot.filtered,
            dropped: dropped.collect(),
            raw_packets_kept: snapshot.raw_kept,
            raw_packets_over_budget: snapshot.raw_over_budget,
            if_dropped: snapshot.if_dropped,
        }
    }
}

/// Adds one ledger's counters to another's.
pub(crate) fn add(sum: &mut LedgerSnapshot, more: &LedgerSnapshot) {
    sum.received += more.received;
    sum.received_bytes += more.received_bytes;
    sum.kept += more.kept;
    sum.filtered += more.filtered;
    for (sum, more) in sum.dropped.iter_mut().zip(more.dropped) {
        *sum += more;
    }
    sum.raw_kept += more.raw_kept;
    sum.raw_over_budget += more.raw_over_budget;
    sum.if_dropped += more.if_dropped;
}

#[cfg(test)]
mod tests {
    use flowtap_flow::ledger::Ledger;

    use super::*;

    #[test]
    fn it_reads_what_the_domain_writes() {
        let ledger = Ledger::default();
        ledger.receive(10, 700);
        ledger.keep(7);
        ledger.filter(1);
        ledger.drop_packets(DropReason::LinkType, 2);
        ledger.raw(5, 1);
        ledger.if_drop(3);
        let snapshot = ledger.snapshot();
        let document = CaptureLedger::from(snapshot);
        let domain = serde_json::to_value(snapshot).unwrap();
        assert_eq!(serde_json::to_value(&document).unwrap(), domain);
        assert_eq!(serde_json::from_value::<CaptureLedger>(domain).unwrap(), document);
        assert_eq!(document.dropped_total(), 2);
    }

    #[test]
    fn sums_leave_nothing_out() {
        let ledger = Ledger::default();
        ledger.receive(10, 700);
        ledger.keep(4);
        ledger.filter(1);
        for (number, reason) in DropReason::ALL.into_iter().enumerate() {
            ledger.drop_packets(reason, number as u64);
        }
        ledger.raw(5, 1);
        ledger.if_drop(3);
        let one = ledger.snapshot();
        let mut sum = one;
        add(&mut sum, &one);
        let twice = |field: u64| field * 2;
        assert_eq!(sum.dropped, one.dropped.map(twice));
        assert_eq!(
            [
                sum.received,
                sum.received_bytes,
                sum.kept,
                sum.filtered,
                sum.raw_kept,
                sum.raw_over_budget,
                sum.if_dropped
            ],
            [
                one.received,
                one.received_bytes,
                one.kept,
                one.filtered,
                one.raw_kept,
                one.raw_over_budget,
                one.if_dropped
            ]
            .map(twice)
        );
    }
}
