//! What the fuzz targets share: how an input is cut into pieces, and a table whose updates are added up.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use flowtap_flow::flow::{Flow, FlowId};
use flowtap_flow::kept::records;
use flowtap_flow::packet::RawPacket;
use flowtap_flow::query::{Batch, Cancel, FlowQuery, FlowReader, FlowRef, TimeRange, UpdateSink};
use flowtap_flow::table::{FlowTable, TableOptions};

/// Cuts `data` into pieces, each after its length in two bytes (little endian). A length that reaches too
/// far is cut to what there is, so that no input is without meaning.
pub fn pieces(data: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let mut rest = data;
    while let Some((length, after)) = rest.split_first_chunk() {
        let (piece, next) = after.split_at(usize::from(u16::from_le_bytes(*length)).min(after.len()));
        pieces.push(piece);
        rest = next;
    }
    pieces
}

/// Adds up what leaves a flow table.
#[derive(Default)]
pub struct Totals {
    packets: Mutex<u64>,
}

impl Totals {
    /// Packets of all intervals of all flows that no other flow carries.
    pub fn packets(&self) -> u64 {
        *self.packets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UpdateSink for Totals {
    fn send(&self, batch: &mut Batch) {
        let batch = std::mem::take(batch);
        let mut packets = self.packets.lock().unwrap_or_else(PoisonError::into_inner);
        for record in batch.kept.iter().flat_map(|chunk| records(chunk.bytes())) {
            let packet = record.expect("whole records").packet();
            assert!(packet.data.len() <= packet.len as usize);
        }
        for update in batch.updates {
            check_flow(&update.flow);
            if update.flow.parent_uuid == FlowId::NONE {
                *packets += update.interval.ab_packets + update.interval.ba_packets;
            }
        }
    }
}

/// A small table, so that eviction happens, and what adds up its updates.
pub fn table(max_flows: usize) -> (Arc<FlowTable>, Arc<Totals>) {
    let totals = Arc::new(Totals::default());
    let options = TableOptions {
        max_flows,
        ..TableOptions::default()
    };
    (
        FlowTable::new(options, Arc::clone(&totals) as Arc<dyn UpdateSink>),
        totals,
    )
}

/// Asks a table for everything it holds.
pub fn read_all(table: &FlowTable) -> (Vec<Flow>, Vec<RawPacket>) {
    let (mut flows, mut packets) = (Vec::new(), Vec::new());
    let cancel = Cancel::default();
    table
        .flows(&FlowQuery::all(), &cancel, &mut |flow| {
            check_flow(&flow);
            flows.push(flow);
            ControlFlow::Continue(())
        })
        .expect("a live table answers");
    let refs: Vec<FlowRef> = flows.iter().map(FlowRef::from).collect();
    table
        .raw_packets(&refs, TimeRange::ALL, &cancel, &mut |_, packet| {
            packets.push(packet);
            ControlFlow::Continue(())
        })
        .expect("a live table answers");
    table
        .metrics(&refs, TimeRange::ALL, &cancel, &mut |_, metric| {
            assert!(metric.start <= metric.last);
            ControlFlow::Continue(())
        })
        .expect("a live table answers");
    (flows, packets)
}

fn check_flow(flow: &Flow) {
    assert!(flow.start <= flow.last, "a flow ends before it begins");
    assert!(
        flow.metric.ab_packets + flow.metric.ba_packets > 0,
        "a flow without a packet"
    );
    assert!(
        flow.network.is_some() || flow.transport.is_none(),
        "a transport without a network layer"
    );
}
