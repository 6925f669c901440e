//! Flows in memory, and a reader that answers from them, for the integration tests.

#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod graph;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use flowtap_flow::flow::{
    FinishType, Flow, FlowExtra, FlowId, FlowMetric, IcmpLayer, IcmpType, LinkLayer, MacAddr, NetworkLayer,
    Sampling, TcpMetric, TransportLayer, TransportProtocol,
};
use flowtap_flow::packet::{FilterCompiler, LinkType, PacketFilter, RawPacket};
use flowtap_flow::query::{
    Cancel, FlowQuery, FlowReader, FlowRef, FlowVisitor, MetricVisitor, PacketVisitor, ReadError, TimeRange,
};
use flowtap_flow::timestamp::Timestamp;
use flowtap_gremlin::{Engine, EngineOptions};
use flowtap_topology::{Graph, Topology};
use serde_json::json;

/// The clock of the sample data, in ms: 2016-02-05 08:05:00 UTC.
pub(crate) const T: i64 = 1_454_659_500_000;

pub(crate) fn at(offset_ms: i64) -> Timestamp {
    Timestamp::from_millis(T + offset_ms)
}

/// One flow with all that a store knows of it.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) flow: Flow,
    pub(crate) intervals: Vec<FlowMetric>,
    pub(crate) packets: Vec<RawPacket>,
}

/// Answers from a list.
#[derive(Default)]
pub(crate) struct MemoryReader {
    pub(crate) records: Vec<Record>,
    /// How many flows were handed out.
    pub(crate) visited: AtomicUsize,
    /// Fails every call.
    pub(crate) broken: bool,
}

impl MemoryReader {
    fn check(&self) -> Result<(), ReadError> {
        if !self.broken {
            return Ok(());
        }
        Err(ReadError::Store {
            what: "segment 7".into(),
            source: "disk on fire".into(),
        })
    }

    fn wanted<'a>(&'a self, flows: &'a [FlowRef]) -> impl Iterator<Item = &'a Record> {
        self.records
            .iter()
            .filter(move |r| flows.iter().any(|f| f.uuid == r.flow.uuid))
    }
}

impl FlowReader for MemoryReader {
    fn flows(
        &self,
        query: &FlowQuery,
        cancel: &Cancel,
        visit: &mut FlowVisitor<'_>,
    ) -> Result<(), ReadError> {
        self.check()?;
        for record in self.records.iter().filter(|r| query.wants(&r.flow)) {
            cancel.check()?;
            self.visited.fetch_add(1, Ordering::Relaxed);
            if visit(record.flow.clone()).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn raw_packets(
        &self,
        flows: &[FlowRef],
        time: TimeRange,
        cancel: &Cancel,
        visit: &mut PacketVisitor<'_>,
    ) -> Result<(), ReadError> {
        self.check()?;
        for record in self.wanted(flows) {
            cancel.check()?;
            // Newest first: the order of a reader is its own.
            for packet in record.packets.iter().rev().filter(|p| time.contains(p.timestamp)) {
                if visit(record.flow.uuid, packet.clone()) == ControlFlow::Break(()) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn metrics(
        &self,
        flows: &[FlowRef],
        time: TimeRange,
        cancel: &Cancel,
        visit: &mut MetricVisitor<'_>,
    ) -> Result<(), ReadError> {
        self.check()?;
        for record in self.wanted(flows) {
            cancel.check()?;
            for metric in record.intervals.iter().rev() {
                let inside = time.contains(metric.start) && time.contains(metric.last);
                if inside && visit(record.flow.uuid, *metric).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// Knows two expressions; the rest it refuses, as libpcap would.
pub(crate) struct TinyCompiler;

struct ByteIs {
    offset: usize,
    value: u8,
}

impl PacketFilter for ByteIs {
    fn matches(&self, data: &[u8], _len: u32) -> bool {
        data.get(self.offset) == Some(&self.value)
    }
}

impl FilterCompiler for TinyCompiler {
    fn compile(&self, expression: &str, link_type: LinkType) -> Result<Box<dyn PacketFilter>, String> {
        let header = if link_type == LinkType::ETHERNET { 14 } else { 0 };
        match expression {
            "icmp[icmptype] == 0" => Ok(Box::new(ByteIs {
                offset: header + 20,
                value: 0,
            })),
            "icmp" => Ok(Box::new(ByteIs {
                offset: header + 9,
                value: 1,
            })),
            _ => Err("syntax error in filter expression".to_owned()),
        }
    }
}

pub(crate) fn engine(records: Vec<Record>, options: EngineOptions) -> Engine {
    engine_on(
        Arc::new(MemoryReader {
            records,
            ..MemoryReader::default()
        }),
        options,
    )
}

pub(crate) fn engine_on(reader: Arc<MemoryReader>, options: EngineOptions) -> Engine {
    let topology = Topology::new(Arc::new(Graph::new("compute-1")), None);
    Engine::new(reader, topology, Arc::new(TinyCompiler), options)
}

/// Packets and bytes both ways from one offset to another, in ms after [`T`].
pub(crate) fn metric(start: i64, last: i64, ab: (u64, u64), ba: (u64, u64)) -> FlowMetric {
    FlowMetric {
        ab_packets: ab.0,
        ab_bytes: ab.1,
        ba_packets: ba.0,
        ba_bytes: ba.1,
        start: at(start),
        last: at(last),
        rtt: 0,
    }
}

/// A flow with nothing but ids and a metric; one interval, no packets.
pub(crate) fn record(uuid: u64, tracking: u64, layers: &str, metric: FlowMetric) -> Record {
    let flow = Flow {
        uuid: FlowId(uuid),
        tracking_id: FlowId(tracking),
        l3_tracking_id: FlowId(tracking ^ 0xf),
        parent_uuid: FlowId::NONE,
        layers_path: layers.into(),
        application: layers.rsplit('/').next().unwrap_or_default().into(),
        link: None,
        network: None,
        transport: None,
        icmp: None,
        metric,
        last_update_metric: None,
        start: metric.start,
        last: metric.last,
        node_tid: "node-a".into(),
        capture_id: "capture-1".into(),
        raw_packets_captured: 0,
        finish_type: FinishType::NotFinished,
        sampling: None,
        extra: None,
    };
    Record {
        flow,
        intervals: vec![metric],
        packets: Vec::new(),
    }
}

fn link(a: u8, b: u8, id: u64) -> Option<LinkLayer> {
    let mac = |last| MacAddr([0xfa, 0x16, 0x3e, 0, 0, last]);
    Some(LinkLayer {
        a: mac(a),
        b: mac(b),
        id,
    })
}

fn network(a: &str, b: &str, id: u64) -> Option<NetworkLayer> {
    Some(NetworkLayer {
        a: a.parse().ok()?,
        b: b.parse().ok()?,
        id,
    })
}

fn ports(protocol: TransportProtocol, a: u16, b: u16) -> Option<TransportLayer> {
    Some(TransportLayer { protocol, a, b })
}

/// An ICMPv4 message of `kind` (8 request, 0 reply) in `link_type`.
pub(crate) fn icmp_packet(offset_us: i64, index: u32, kind: u8, link_type: LinkType) -> RawPacket {
    let header = if link_type == LinkType::ETHERNET { 14 } else { 0 };
    let mut data = vec![0; header + 28];
    data[header] = 0x45;
    data[header + 9] = 1;
    data[header + 20] = kind;
    let nanos = T * 1_000_000 + offset_us * 1_000;
    RawPacket {
        timestamp: Timestamp::from_nanos(nanos),
        index,
        len: 98,
        link_type,
        data: data.into(),
    }
}

/// Ten flows that have a bit of everything; see `tests/golden` for what is asked of them.
pub(crate) fn sample() -> Vec<Record> {
    let mut dns = record(
        0xa1,
        0x7313,
        "Ethernet/IPv4/UDP/DNS",
        metric(0, 1_000, (2, 148), (2, 256)),
    );
    dns.flow.link = link(5, 1, 0);
    dns.flow.network = network("192.168.0.5", "8.8.8.8", 0);
    dns.flow.transport = ports(TransportProtocol::Udp, 37_686, 53);
    let layers = json!({"DNS": [{"Questions": [{"Name": "www.google.com", "Type": "A"}]}]});
    dns.flow.extra = Some(Box::new(FlowExtra {
        layers: layers.as_object().cloned().unwrap_or_default(),
        ..FlowExtra::default()
    }));

    let mut dns2 = record(
        0xa2,
        0xd719,
        "Ethernet/IPv4/UDP/DNS",
        metric(100, 1_200, (2, 146), (2, 190)),
    );
    dns2.flow.link = link(5, 1, 0);
    dns2.flow.network = network("192.168.0.5", "8.8.8.8", 0);
    dns2.flow.transport = ports(TransportProtocol::Udp, 33_553, 53);

    let mut tcp = record(
        0xb1,
        0xebff,
        "Ethernet/IPv4/TCP",
        metric(2_000, 62_000, (6, 516), (4, 760)),
    );
    tcp.flow.link = link(5, 1, 0);
    tcp.flow.network = network("192.168.0.5", "173.194.40.147", 0);
    tcp.flow.transport = ports(TransportProtocol::Tcp, 47_838, 80);
    tcp.flow.metric.rtt = 1_894_000;
    tcp.flow.finish_type = FinishType::Fin;
    tcp.intervals = vec![
        metric(2_000, 30_000, (4, 400), (4, 760)),
        metric(30_000, 62_000, (2, 116), (0, 0)),
    ];
    tcp.flow.last_update_metric = tcp.intervals.last().copied();
    let handshake = TcpMetric {
        ab_syn_start: T + 2_000,
        ba_syn_start: T + 2_002,
        ..TcpMetric::default()
    };
    tcp.flow.extra = Some(Box::new(FlowExtra {
        tcp_metric: Some(handshake),
        ..FlowExtra::default()
    }));

    let mut tcp_at_b = tcp.clone();
    tcp_at_b.flow.uuid = FlowId(0xb2);
    tcp_at_b.flow.node_tid = "node-b".into();
    tcp_at_b.flow.start = at(2_001);
    tcp_at_b.flow.extra = None;

    let mut ping = record(
        0xc1,
        0x793e,
        "Ethernet/Dot1Q/IPv4/ICMPv4",
        metric(3_000, 4_001, (2, 196), (2, 196)),
    );
    ping.flow.link = link(2, 3, 5);
    ping.flow.network = network("10.0.0.1", "10.0.0.2", 0);
    ping.flow.icmp = Some(IcmpLayer {
        kind: IcmpType::Echo,
        code: 0,
        id: 30_122,
        number: 8,
    });
    ping.flow.metric.rtt = 33_000;
    ping.flow.capture_id = "capture-2".into();
    ping.flow.raw_packets_captured = 4;
    ping.packets = [(3_000_000, 8), (3_000_033, 0), (4_000_000, 8), (4_000_500, 0)]
        .iter()
        .zip(1..)
        .map(|(&(offset_us, kind), index)| icmp_packet(offset_us, index, kind, LinkType::ETHERNET))
        .collect();

    let mut arp = record(
        0xd1,
        0x2962,
        "Ethernet/ARP",
        metric(3_500, 3_500, (1, 42), (0, 0)),
    );
    arp.flow.link = link(5, 255, 0);
    arp.flow.l3_tracking_id = FlowId(0xef46_db37_51d8_e999);
    arp.flow.raw_packets_captured = 1;
    arp.packets = vec![RawPacket {
        timestamp: at(3_500),
        index: 1,
        len: 42,
        link_type: LinkType::ETHERNET,
        data: vec![0xff; 6].into(),
    }];

    let mut router = record(
        0xe1,
        0x6666,
        "Ethernet/IPv6/ICMPv6",
        metric(5_000, 5_000, (1, 70), (0, 0)),
    );
    router.flow.link = link(7, 8, 0);
    router.flow.network = network("fe80::1", "ff02::2", 0);
    router.flow.icmp = Some(IcmpLayer {
        kind: IcmpType::Router,
        code: 0,
        id: 0,
        number: 133,
    });

    let mut gre = record(
        0xf0,
        0x5adc,
        "Ethernet/IPv4/GRE",
        metric(6_000, 6_000, (2, 252), (0, 0)),
    );
    gre.flow.link = link(9, 10, 0);
    gre.flow.network = network("172.16.0.1", "172.16.0.2", 7);

    let mut inner = record(
        0xf1,
        0x2947,
        "IPv4/ICMPv4",
        metric(6_000, 6_000, (2, 168), (0, 0)),
    );
    inner.flow.parent_uuid = FlowId(0xf0);
    inner.flow.network = network("172.16.0.1", "192.168.0.2", 0);
    inner.flow.icmp = Some(IcmpLayer {
        kind: IcmpType::Echo,
        code: 0,
        id: 4_214,
        number: 8,
    });
    inner.flow.raw_packets_captured = 1;
    inner.packets = vec![icmp_packet(3_250_000, 1, 8, LinkType::IPV4)];

    let mut old = record(
        0x99,
        0x9999,
        "Ethernet/IPv4/UDP/NTP",
        metric(-700_000, -650_000, (64, 6_400), (0, 0)),
    );
    old.flow.link = link(5, 1, 0);
    old.flow.network = network("192.168.0.5", "192.168.0.1", 0);
    old.flow.transport = ports(TransportProtocol::Udp, 123, 123);
    old.flow.sampling = Some(Sampling {
        rate: 64,
        ab_packets: 1,
        ab_bytes: 100,
        ..Sampling::default()
    });
    old.flow.finish_type = FinishType::Timeout;

    // In no order that a query would ask for.
    vec![router, tcp_at_b, old, inner, dns2, arp, tcp, ping, gre, dns]
}
