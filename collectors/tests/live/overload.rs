//! A sender that is faster than the reader: what is lost is counted, to the packet.

use std::sync::Arc;

use flowtap_collectors::Collector;
use flowtap_collectors::afpacket::AfPacket;
use flowtap_collectors::pcap::Pcap;
use flowtap_flow::ledger::DropReason;

use super::frames::{Sender, udp};
use super::lab::{Namespace, eventually, narrowed};
use super::record::{Recorder, Running};

#[test]
fn the_ledger_adds_up_to_what_was_sent() {
    const COUNT: u32 = 20_000;
    // Small rings, which some thousand packets fill.
    let collectors: [&dyn Collector; 2] = [
        &AfPacket { ring_bytes: 1 << 19 },
        &Pcap {
            buffer_bytes: 1 << 20,
        },
    ];
    for collector in collectors {
        for filter in ["", "udp port 53"] {
            let what = format!("{} {filter:?}", collector.capture_type());
            let namespace = Namespace::pair();
            let recorder = Arc::<Recorder>::default();
            recorder.close_gate();
            let request = narrowed(namespace.request("vb"), filter, 0, &[]);
            let running = Running::with(collector, request, Arc::clone(&recorder));
            let sender = Sender::new(&namespace, "va");
            for round in 0..COUNT {
                let port = if round % 4 == 0 { 80 } else { 53 };
                sender.send(&udp(&[], port, round, 300));
            }
            recorder.open_gate();
            eventually("all to be counted", || {
                (running.ledger.snapshot().received == u64::from(COUNT)).then_some(())
            });
            let finished = running.stop();
            let ledger = finished.ledger;
            assert!(finished.result.is_ok(), "{what}");
            assert_eq!(ledger.received, u64::from(COUNT), "{what}: {ledger:?}");
            assert_eq!(ledger.kept, finished.seen.len() as u64, "{what}");
            let refused = if filter.is_empty() {
                0
            } else {
                u64::from(COUNT) / 4
            };
            assert_eq!(ledger.filtered, refused, "{what}: {ledger:?}");
            assert!(
                ledger.dropped_for(DropReason::Kernel) > 1_000,
                "{what}: {ledger:?}"
            );
            assert!(ledger.balances(), "{what}: {ledger:?}");
        }
    }
}
