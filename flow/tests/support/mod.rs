//! Frames by hand, and a table that keeps what it hands over.
#![allow(dead_code, reason = "each test file uses its own part of it")]

use std::net::{IpAddr, Ipv4Addr};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use flowtap_flow::flow::{Flow, FlowId, MacAddr};
use flowtap_flow::kept::records;
use flowtap_flow::ledger::{Ledger, LedgerSnapshot};
use flowtap_flow::packet::{LinkType, Packet, RawPacket, Sink};
use flowtap_flow::point::PointOptions;
use flowtap_flow::query::{Batch, Cancel, FlowQuery, FlowReader, FlowRef, FlowUpdate, TimeRange, UpdateSink};
use flowtap_flow::table::{FlowTable, TableOptions};
use flowtap_flow::timestamp::Timestamp;

pub(crate) fn ethernet(source: &str, destination: &str, ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mac = |text| MacAddr::parse(text).expect("a MAC address").0;
    [
        &mac(destination)[..],
        &mac(source),
        &ether_type.to_be_bytes(),
        payload,
    ]
    .concat()
}

pub(crate) fn dot1q(id: u16, ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&id.to_be_bytes()[..], &ether_type.to_be_bytes(), payload].concat()
}

pub(crate) fn ipv4(source: &str, destination: &str, protocol: u8, payload: &[u8]) -> Vec<u8> {
    fragment(source, destination, protocol, 0, 0, false, payload)
}

/// An IPv4 packet with identification, offset in bytes and the more-fragments flag.
pub(crate) fn fragment(
    source: &str,
    destination: &str,
    protocol: u8,
    identification: u16,
    offset: u16,
    more: bool,
    payload: &[u8],
) -> Vec<u8> {
    let address = |text: &str| text.parse::<Ipv4Addr>().expect("an IPv4 address").octets();
    let total = u16::try_from(20 + payload.len()).expect("fits");
    let [hi, lo] = total.to_be_bytes();
    let [id_hi, id_lo] = identification.to_be_bytes();
    let [off_hi, off_lo] = ((offset / 8) | if more { 0x2000 } else { 0 }).to_be_bytes();
    let head = [0x45, 0, hi, lo, id_hi, id_lo, off_hi, off_lo, 64, protocol, 0, 0];
    [&head[..], &address(source), &address(destination), payload].concat()
}

pub(crate) fn ipv6(source: &str, destination: &str, next_header: u8, payload: &[u8]) -> Vec<u8> {
    let address = |text: &str| match text.parse::<IpAddr>().expect("an address") {
        IpAddr::V6(v6) => v6.octets(),
        IpAddr::V4(_) => panic!("an IPv6 address"),
    };
    let [hi, lo] = u16::try_from(payload.len()).expect("fits").to_be_bytes();
    [
        &[0x60, 0, 0, 0, hi, lo, next_header, 64][..],
        &address(source),
        &address(destination),
        payload,
    ]
    .concat()
}

pub(crate) fn udp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(8 + payload.len()).expect("fits");
    [
        &source.to_be_bytes()[..],
        &destination.to_be_bytes(),
        &len.to_be_bytes(),
        &[0, 0],
        payload,
    ]
    .concat()
}

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const ACK: u8 = 16;

pub(crate) fn tcp(source: u16, destination: u16, flags: u8, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let rest = [0x50, flags, 0x20, 0, 0, 0, 0, 0];
    [
        &source.to_be_bytes()[..],
        &destination.to_be_bytes(),
        &sequence.to_be_bytes(),
        &[0; 4],
        &rest,
        payload,
    ]
    .concat()
}

pub(crate) fn icmp_echo(request: bool, id: u16, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let kind = if request { 8 } else { 0 };
    [
        &[kind, 0, 0, 0][..],
        &id.to_be_bytes(),
        &sequence.to_be_bytes(),
        payload,
    ]
    .concat()
}

pub(crate) fn arp() -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4, 0, 1];
    packet.resize(28, 0);
    packet
}

/// A DNS query or answer with nothing but its header and one question.
pub(crate) fn dns(id: u16, answer: bool) -> Vec<u8> {
    let flags = if answer { [0x81, 0x80] } else { [1, 0] };
    [
        &id.to_be_bytes()[..],
        &flags,
        &[0, 1, 0, 0, 0, 0, 0, 0],
        b"\x03www\x03lab\x04test\0\0\x01\0\x01",
    ]
    .concat()
}

/// Collects what a table hands over.
#[derive(Default)]
pub(crate) struct Updates {
    updates: Mutex<Vec<FlowUpdate>>,
    kept: Mutex<Vec<(FlowId, RawPacket)>>,
}

impl UpdateSink for Updates {
    fn send(&self, batch: &mut Batch) {
        let batch = std::mem::take(batch);
        self.updates.lock().expect("no poison").extend(batch.updates);
        let mut kept = self.kept.lock().expect("no poison");
        for record in batch.kept.iter().flat_map(|chunk| records(chunk.bytes())) {
            let record = record.expect("whole records");
            kept.push((record.uuid, record.packet()));
        }
    }
}

/// A table with one capture point.
pub(crate) struct Bench {
    pub(crate) table: Arc<FlowTable>,
    pub(crate) updates: Arc<Updates>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) sink: Box<dyn Sink>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(TableOptions::default(), PointOptions::default())
    }

    pub(crate) fn with(table: TableOptions, point: PointOptions) -> Self {
        let updates = Arc::new(Updates::default());
        let table = FlowTable::new(table, Arc::clone(&updates) as Arc<dyn UpdateSink>);
        let ledger = Arc::new(Ledger::default());
        let sink = table.points(point, Arc::clone(&ledger)).open("");
        Self {
            table,
            updates,
            ledger,
            sink,
        }
    }

    /// Hands one Ethernet frame over, seen at `at_ms`.
    pub(crate) fn see(&mut self, at_ms: i64, frame: &[u8]) {
        self.see_packet(Packet::new(
            Timestamp::from_millis(at_ms),
            u32::try_from(frame.len()).expect("fits"),
            LinkType::ETHERNET,
            frame,
        ));
    }

    pub(crate) fn see_packet(&mut self, packet: Packet<'_>) {
        self.see_batch(&[packet]);
    }

    /// Hands packets over together.
    pub(crate) fn see_batch(&mut self, batch: &[Packet<'_>]) {
        let bytes = batch.iter().map(|packet| u64::from(packet.len)).sum();
        self.ledger.receive(batch.len() as u64, bytes);
        self.sink.packets(batch);
    }

    /// The flows in the table, by start, outer before inner.
    pub(crate) fn live(&self) -> Vec<Flow> {
        let mut flows = Vec::new();
        self.table
            .flows(&FlowQuery::all(), &Cancel::default(), &mut |flow| {
                flows.push(flow);
                ControlFlow::Continue(())
            })
            .expect("the live table always answers");
        flows.sort_by_key(|flow| (flow.start, flow.parent_uuid.0 != 0, flow.uuid));
        flows
    }

    /// What was handed over until now.
    pub(crate) fn updates(&mut self) -> Vec<FlowUpdate> {
        self.sink.flush();
        std::mem::take(&mut *self.updates.updates.lock().expect("no poison"))
    }

    /// The kept packets that were handed over until now, with their flows.
    pub(crate) fn handed_over(&self) -> Vec<(FlowId, RawPacket)> {
        std::mem::take(&mut *self.updates.kept.lock().expect("no poison"))
    }

    pub(crate) fn balance(&self) -> LedgerSnapshot {
        let snapshot = self.ledger.snapshot();
        assert!(snapshot.balances(), "the ledger does not add up: {snapshot:?}");
        snapshot
    }
}

pub(crate) const A: &str = "02:00:00:00:00:01";
pub(crate) const B: &str = "02:00:00:00:00:02";

pub(crate) fn tcp_frame(ab: bool, port: u16, flags: u8, sequence: u32, payload: &[u8]) -> Vec<u8> {
    if ab {
        ethernet(
            A,
            B,
            0x0800,
            &ipv4(
                "10.0.0.1",
                "10.0.0.2",
                6,
                &tcp(port, 80, flags, sequence, payload),
            ),
        )
    } else {
        ethernet(
            B,
            A,
            0x0800,
            &ipv4(
                "10.0.0.2",
                "10.0.0.1",
                6,
                &tcp(80, port, flags, sequence, payload),
            ),
        )
    }
}

pub(crate) fn udp_frame(ab: bool, source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    if ab {
        ethernet(
            A,
            B,
            0x0800,
            &ipv4("10.0.0.1", "10.0.0.2", 17, &udp(source, destination, payload)),
        )
    } else {
        ethernet(
            B,
            A,
            0x0800,
            &ipv4("10.0.0.2", "10.0.0.1", 17, &udp(destination, source, payload)),
        )
    }
}

pub(crate) fn kept(bench: &Bench) -> Vec<RawPacket> {
    let flows: Vec<FlowRef> = bench.live().iter().map(FlowRef::from).collect();
    let mut packets = Vec::new();
    bench
        .table
        .raw_packets(&flows, TimeRange::ALL, &Cancel::default(), &mut |_, packet| {
            packets.push(packet);
            ControlFlow::Continue(())
        })
        .expect("the live table always answers");
    packets
}
