//! Random flows, their updates, filters over them, and a plain model of what a store must answer.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::Arc;

use flowtap_flow::filter::{FlowField, FlowFilter, Ipv4Cidr, Pattern, Predicate, Value};
use flowtap_flow::flow::{
    FinishType, Flow, FlowExtra, FlowId, FlowMetric, IcmpLayer, IcmpType, LinkLayer, MacAddr, NetworkLayer,
    Sampling, TcpMetric, TransportLayer, TransportProtocol,
};
use flowtap_flow::kept::{PacketChunk, records};
use flowtap_flow::packet::{LinkType, RawPacket};
use flowtap_flow::query::{
    Batch, Cancel, FlowQuery, FlowReader, FlowRef, FlowUpdate, FlowVisitor, MetricVisitor, PacketVisitor,
    ReadError, TimeRange,
};
use flowtap_flow::text::Text;
use flowtap_flow::timestamp::Timestamp;
use proptest::prelude::*;
use proptest::sample::select;

const APPLICATIONS: [&str; 5] = ["TCP", "DNS", "HTTP", "ICMPv4", ""];
const LAYERS: [&str; 3] = ["Ethernet/IPv4/TCP", "Ethernet/IPv6/UDP/DNS", "Ethernet/ARP"];
const ADDRESSES: [&str; 6] = [
    "10.0.0.1",
    "10.1.2.3",
    "192.168.0.9",
    "fe80::1",
    "2001:db8::2",
    "::",
];
const MACS: [&str; 3] = ["00:00:00:00:00:00", "02:aa:bb:cc:dd:ee", "ff:ff:ff:ff:ff:ff"];
const NODES: [&str; 3] = ["", "node-a", "node-b"];
/// Some look like numbers when printed: `12`, `1e2`.
const IDS: [u64; 8] = [1, 2, 0x12, 0x1e2, 0xff, 1 << 63, u64::MAX - 1, u64::MAX];
/// The time in which flows begin: 10 s.
const TIME_MS: i64 = 10_000;

/// A packet as any collector may keep it.
pub(crate) fn raw_packet() -> impl Strategy<Value = RawPacket> {
    let data = prop::collection::vec(any::<u8>(), 0..80);
    (any::<i64>(), any::<u32>(), any::<u32>(), any::<u16>(), data).prop_map(
        |(nanos, index, len, link_type, data)| RawPacket {
            timestamp: Timestamp::from_nanos(nanos),
            index,
            len,
            link_type: LinkType(link_type),
            data: data.into(),
        },
    )
}

fn text(pool: &'static [&'static str]) -> impl Strategy<Value = Text> {
    select(pool).prop_map(Text::from)
}

fn counter() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..3u64, 4 => 0..2_000u64, 1 => any::<u64>(), 1 => Just(i64::MAX as u64)]
}

fn id() -> impl Strategy<Value = FlowId> {
    prop_oneof![select(&IDS[..]), Just(0), any::<u64>()].prop_map(FlowId)
}

fn network() -> impl Strategy<Value = NetworkLayer> {
    (select(&ADDRESSES[..]), select(&ADDRESSES[..]), counter())
        .prop_map(|(a, b, id)| {
            let (a, b): (IpAddr, IpAddr) = (a.parse().unwrap(), b.parse().unwrap());
            (a, b, id)
        })
        .prop_filter_map("one family", |(a, b, id)| {
            (a.is_ipv4() == b.is_ipv4()).then_some(NetworkLayer { a, b, id })
        })
}

fn link() -> impl Strategy<Value = LinkLayer> {
    let mac = || select(&MACS[..]).prop_map(|mac| MacAddr::parse(mac).unwrap());
    (mac(), mac(), counter()).prop_map(|(a, b, id)| LinkLayer { a, b, id })
}

fn transport() -> impl Strategy<Value = TransportLayer> {
    let protocol = select(
        &[
            TransportProtocol::Tcp,
            TransportProtocol::Udp,
            TransportProtocol::Sctp,
        ][..],
    );
    let port = || prop_oneof![select(&[53u16, 80, 443][..]), any::<u16>()];
    (protocol, port(), port()).prop_map(|(protocol, a, b)| TransportLayer { protocol, a, b })
}

fn icmp() -> impl Strategy<Value = IcmpLayer> {
    let fields = (0u8..13, any::<u8>(), any::<u16>(), any::<u8>());
    fields.prop_map(|(kind, code, id, number)| IcmpLayer {
        kind: IcmpType::from_number(kind),
        code,
        id,
        number,
    })
}

fn extra() -> impl Strategy<Value = FlowExtra> {
    (any::<bool>(), any::<bool>()).prop_map(|(tcp, dns)| {
        let mut extra = FlowExtra {
            tcp_metric: tcp.then(|| TcpMetric {
                ab_syn_start: 77,
                ..TcpMetric::default()
            }),
            ..FlowExtra::default()
        };
        if dns {
            let layer =
                serde_json::json!({ "Questions": [{ "Name": "a.example" }, { "Name": "b.example" }] });
            extra.layers.insert("DNS".to_owned(), layer);
        }
        extra
    })
}

/// A flow at its first instant: no packets yet. The UUID is for the caller to set.
fn shape() -> impl Strategy<Value = Flow> {
    let texts = (text(&APPLICATIONS), text(&LAYERS), text(&NODES), text(&NODES));
    let ids = (id(), id(), id());
    let layers = (
        prop::option::of(link()),
        prop::option::of(network()),
        prop::option::of(transport()),
        prop::option::of(icmp()),
    );
    let start = (0..TIME_MS, 0..1_000_000i64).prop_map(|(ms, ns)| Timestamp::from_nanos(ms * 1_000_000 + ns));
    let more = (any::<bool>(), prop::option::of(extra()));
    (texts, ids, layers, start, more).prop_map(|(texts, ids, layers, start, (is_sampled, extra))| Flow {
        uuid: FlowId::NONE,
        tracking_id: ids.0,
        l3_tracking_id: ids.1,
        parent_uuid: ids.2,
        application: texts.0,
        layers_path: texts.1,
        node_tid: texts.2,
        capture_id: texts.3,
        link: layers.0,
        network: layers.1,
        transport: layers.2,
        icmp: layers.3,
        metric: FlowMetric {
            start,
            last: start,
            ..FlowMetric::default()
        },
        last_update_metric: None,
        start,
        last: start,
        raw_packets_captured: 0,
        finish_type: FinishType::NotFinished,
        sampling: is_sampled.then(|| Sampling {
            rate: 400,
            ab_packets: u64::MAX,
            ..Sampling::default()
        }),
        extra: extra.map(Box::new),
    })
}

/// What one update brings.
#[derive(Clone, Debug)]
struct Step {
    lasts_ns: i64,
    metric: FlowMetric,
    packets: Vec<RawPacket>,
    /// The totals' span differs from the flow's.
    odd_span: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let counters = (counter(), counter(), counter(), counter(), counter());
    let packets = prop::collection::vec(raw_packet(), 0..3);
    (1..3_000_000_000i64, counters, packets, prop::bool::weighted(0.1)).prop_map(
        |(lasts_ns, counters, packets, odd_span)| {
            let (ab_packets, ab_bytes, ba_packets, ba_bytes, rtt) = counters;
            let metric = FlowMetric {
                ab_packets,
                ab_bytes,
                ba_packets,
                ba_bytes,
                rtt,
                ..FlowMetric::default()
            };
            Step {
                lasts_ns,
                metric,
                packets,
                odd_span,
            }
        },
    )
}

/// All updates of one flow, in order.
fn history() -> impl Strategy<Value = Vec<(FlowUpdate, Vec<RawPacket>)>> {
    let finish = prop::option::of(1u8..5);
    (shape(), prop::collection::vec(step(), 1..5), finish).prop_map(|(mut flow, steps, finish)| {
        let mut updates = Vec::new();
        let count = steps.len();
        for (number, step) in steps.into_iter().enumerate() {
            let update = advance(&mut flow, step, number == 0);
            updates.push(update);
            if number + 1 == count {
                let (last, _) = updates.last_mut().unwrap();
                last.flow.finish_type = FinishType::from_number(finish.unwrap_or(0));
            }
        }
        updates
    })
}

fn advance(flow: &mut Flow, step: Step, first: bool) -> (FlowUpdate, Vec<RawPacket>) {
    let start = if first {
        flow.start
    } else {
        Timestamp::from_nanos(flow.last.nanos() + 1)
    };
    let last = Timestamp::from_nanos(start.nanos() + step.lasts_ns);
    let mut interval = FlowMetric {
        start,
        last,
        ..step.metric
    };
    if first {
        // No flow begins without a packet.
        interval.ab_packets = interval.ab_packets.max(1);
    }
    let total = &mut flow.metric;
    total.ab_packets = total.ab_packets.saturating_add(interval.ab_packets);
    total.ab_bytes = total.ab_bytes.saturating_add(interval.ab_bytes);
    total.ba_packets = total.ba_packets.saturating_add(interval.ba_packets);
    total.ba_bytes = total.ba_bytes.saturating_add(interval.ba_bytes);
    total.rtt = interval.rtt;
    total.last = if step.odd_span { start } else { last };
    flow.last = last;
    if !first {
        flow.last_update_metric = Some(interval);
    }
    let mut packets = step.packets;
    for packet in &mut packets {
        flow.raw_packets_captured += 1;
        packet.index = flow.raw_packets_captured;
        packet.timestamp =
            Timestamp::from_nanos(start.nanos() + packet.timestamp.nanos().rem_euclid(step.lasts_ns));
    }
    let update = FlowUpdate {
        flow: flow.clone(),
        interval,
        first,
    };
    (update, packets)
}

/// A batch of one flow's update with packets of it.
pub(crate) fn batch(updates: Vec<(FlowUpdate, Vec<RawPacket>)>) -> Batch {
    let mut chunk = PacketChunk::default();
    let mut batch = Batch::default();
    for (update, packets) in updates {
        packets
            .iter()
            .for_each(|packet| chunk.push_raw(update.flow.uuid, packet));
        batch.updates.push(update);
    }
    if !chunk.is_empty() {
        batch.kept.push(Arc::new(chunk));
    }
    batch
}

/// A batch with one update of one flow, the same with each run.
pub(crate) fn batch_of_one() -> Batch {
    let mut batch = crate::conformance::sample().remove(0);
    batch.updates.truncate(1);
    batch
}

/// The packets in a batch, with their flows.
pub(crate) fn kept(batch: &Batch) -> Vec<(FlowId, RawPacket)> {
    let records = batch.kept.iter().flat_map(|chunk| records(chunk.bytes()));
    records
        .map(|record| record.unwrap())
        .map(|record| (record.uuid, record.packet()))
        .collect()
}

/// Batches as a flow table sends them: the updates of up to `flows` flows side by side, each flow's in
/// order.
pub(crate) fn batches(flows: usize) -> impl Strategy<Value = Vec<Batch>> {
    prop::collection::vec((history(), 0usize..3), 1..flows).prop_map(|histories| {
        let mut batches: Vec<Vec<(FlowUpdate, Vec<RawPacket>)>> = Vec::new();
        for (number, (history, offset)) in histories.into_iter().enumerate() {
            // The first few have the ids that filters ask for.
            let uuid = FlowId(IDS.get(number).copied().unwrap_or(1_000_000 + number as u64));
            for (step, mut update) in history.into_iter().enumerate() {
                update.0.flow.uuid = uuid;
                let place = offset + step;
                batches.resize_with(batches.len().max(place + 1), Vec::new);
                batches[place].push(update);
            }
        }
        batches.into_iter().map(batch).collect()
    })
}

const PATHS: [&str; 40] = [
    "UUID",
    "TrackingID",
    "L3TrackingID",
    "ParentUUID",
    "LayersPath",
    "Application",
    "NodeTID",
    "CaptureID",
    "CommunityID",
    "Start",
    "Last",
    "RawPacketsCaptured",
    "FinishType",
    "Link",
    "Link.A",
    "ETHERNET.B",
    "Link.ID",
    "Link.Protocol",
    "Network",
    "Network.A",
    "IPV4.B",
    "IPV6",
    "Network.ID",
    "Network.Protocol",
    "IPV4.Protocol",
    "Transport",
    "Transport.B",
    "TCP.A",
    "UDP",
    "Transport.Protocol",
    "TCP.Protocol",
    "ICMP.Type",
    "ICMP.Code",
    "ICMP.ID",
    "Metric.ABPackets",
    "Metric.BABytes",
    "Metric.Last",
    "Metric.RTT",
    "LastUpdateMetric.ABBytes",
    "DNS.Questions.Name",
];

fn literal() -> impl Strategy<Value = Value> {
    let words: Vec<String> = [&APPLICATIONS[..], &LAYERS, &ADDRESSES, &MACS, &NODES]
        .concat()
        .into_iter()
        .chain([
            "IPV4",
            "TCP",
            "ETHERNET",
            "ECHO",
            "a.example",
            "80",
            "12",
            "443.0",
            "FE80:0::1",
            "02-AA-BB-CC-DD-EE",
            "",
        ])
        .map(str::to_owned)
        .chain(IDS.iter().map(|id| FlowId(*id).to_string()))
        .collect();
    prop_oneof![
        4 => select(words).prop_map(Value::Text),
        2 => (0..TIME_MS + 5_000).prop_map(Value::Int),
        2 => select(&[0i64, 1, 2, 53, 80, 443, 1_000, i64::MIN, i64::MAX][..]).prop_map(Value::Int),
        1 => select(&[80.0, 0.5, -1.0, 1e19, f64::NAN][..]).prop_map(Value::Float),
        1 => any::<bool>().prop_map(Value::Bool),
    ]
}

fn predicate() -> impl Strategy<Value = Predicate> {
    let many = || prop::collection::vec(literal(), 0..4);
    let other = prop_oneof![
        literal().prop_map(Predicate::Ne),
        literal().prop_map(Predicate::Nee),
        literal().prop_map(Predicate::Lt),
        literal().prop_map(Predicate::Gt),
        literal().prop_map(Predicate::Lte),
        literal().prop_map(Predicate::Gte),
        (literal(), literal()).prop_map(|(a, b)| Predicate::Inside(a, b)),
        (literal(), literal()).prop_map(|(a, b)| Predicate::Between(a, b)),
        many().prop_map(|values| Predicate::Within(values.into())),
        many().prop_map(|values| Predicate::Without(values.into())),
        select(&["TC.*", "10\\..*", ".*", "node-[ab]"][..])
            .prop_map(|source| Predicate::Regex(Pattern::new(source).unwrap())),
        select(&["10.0.0.0/8", "0.0.0.0/0", "10.1.2.3"][..])
            .prop_map(|cidr| Predicate::Ipv4Range(Ipv4Cidr::parse(cidr).unwrap())),
        Just(Predicate::Exists),
        Just(Predicate::Absent),
    ];
    prop_oneof![1 => literal().prop_map(Predicate::Eq), 3 => other]
}

/// Filters of every kind, over every field.
pub(crate) fn filter() -> impl Strategy<Value = FlowFilter> {
    let field = (select(&PATHS[..]), predicate())
        .prop_map(|(path, predicate)| FlowFilter::Field(FlowField::parse(path), predicate));
    let leaf = prop_oneof![1 => Just(FlowFilter::All), 12 => field];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let many = prop::collection::vec(inner.clone(), 0..3);
        prop_oneof![
            many.clone().prop_map(FlowFilter::And),
            many.prop_map(FlowFilter::Or),
            inner.prop_map(|filter| FlowFilter::Not(Box::new(filter))),
        ]
    })
}

/// All of time, or a stretch of that in which flows begin.
pub(crate) fn time_range() -> impl Strategy<Value = TimeRange> {
    let stretch = (0..TIME_MS, 0..TIME_MS).prop_map(|(from, length)| TimeRange {
        from: Timestamp::from_millis(from),
        to: Timestamp::from_millis(from + length),
    });
    prop_oneof![Just(TimeRange::ALL), stretch]
}

/// What a store must answer, said as plainly as can be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    updates: Vec<FlowUpdate>,
    kept: Vec<(FlowId, RawPacket)>,
}

impl Model {
    pub(crate) fn add(&mut self, batch: &Batch) {
        self.updates.extend_from_slice(&batch.updates);
        self.kept.extend(kept(batch));
    }
}

impl FlowReader for Model {
    fn flows(&self, query: &FlowQuery, _: &Cancel, visit: &mut FlowVisitor<'_>) -> Result<(), ReadError> {
        let newest: BTreeMap<FlowId, &Flow> = self.updates.iter().map(|u| (u.flow.uuid, &u.flow)).collect();
        for flow in newest.into_values().filter(|flow| query.wants(flow)) {
            if visit(flow.clone()).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn raw_packets(
        &self,
        flows: &[FlowRef],
        time: TimeRange,
        _: &Cancel,
        visit: &mut PacketVisitor<'_>,
    ) -> Result<(), ReadError> {
        let mut seen = HashSet::new();
        for (uuid, packet) in &self.kept {
            let wanted = time.contains(packet.timestamp) && flows.iter().any(|flow| flow.uuid == *uuid);
            if wanted && seen.insert((*uuid, packet.index)) && visit(*uuid, packet.clone()).is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn metrics(
        &self,
        flows: &[FlowRef],
        time: TimeRange,
        _: &Cancel,
        visit: &mut MetricVisitor<'_>,
    ) -> Result<(), ReadError> {
        let mut seen = HashSet::new();
        for update in self
            .updates
            .iter()
            .filter(|u| flows.iter().any(|f| f.uuid == u.flow.uuid))
        {
            let interval = update.interval;
            let inside = time.from <= interval.start && interval.last <= time.to;
            let empty = interval.ab_packets == 0 && interval.ba_packets == 0;
            if inside
                && !empty
                && seen.insert((update.flow.uuid, interval.start))
                && visit(update.flow.uuid, interval).is_break()
            {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// All that `reader` answers to a query, sorted.
pub(crate) fn flows(reader: &dyn FlowReader, query: &FlowQuery) -> Vec<Flow> {
    let mut found = Vec::new();
    let mut visit = |flow| {
        found.push(flow);
        ControlFlow::Continue(())
    };
    reader.flows(query, &Cancel::default(), &mut visit).unwrap();
    found.sort_by_key(|flow| flow.uuid);
    found
}

/// All raw packets of `flows` in `time`, sorted.
pub(crate) fn packets(
    reader: &dyn FlowReader,
    flows: &[FlowRef],
    time: TimeRange,
) -> Vec<(FlowId, RawPacket)> {
    let mut found = Vec::new();
    let mut visit = |uuid, packet| {
        found.push((uuid, packet));
        ControlFlow::Continue(())
    };
    reader
        .raw_packets(flows, time, &Cancel::default(), &mut visit)
        .unwrap();
    found.sort_by_key(|(uuid, packet)| (*uuid, packet.index));
    found
}

/// All intervals of `flows` in `time`, sorted.
pub(crate) fn intervals(
    reader: &dyn FlowReader,
    flows: &[FlowRef],
    time: TimeRange,
) -> Vec<(FlowId, FlowMetric)> {
    let mut found = Vec::new();
    let mut visit = |uuid, interval| {
        found.push((uuid, interval));
        ControlFlow::Continue(())
    };
    reader
        .metrics(flows, time, &Cancel::default(), &mut visit)
        .unwrap();
    found.sort_by_key(|(uuid, interval)| (*uuid, interval.start));
    found
}
