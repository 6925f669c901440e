//! A flow as a row: binding and decoding, kept side by side.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use flowtap_flow::flow::{
    FinishType, Flow, FlowExtra, FlowId, FlowMetric, IcmpLayer, IcmpType, LinkLayer, MacAddr, NetworkLayer,
    TransportLayer, TransportProtocol, ip_from_bytes,
};
use flowtap_flow::timestamp::Timestamp;
use rusqlite::types::{FromSqlError, Null, Type, ValueRef};
use rusqlite::{CachedStatement, Connection, Row, Statement, ToSql};

/// The columns that [`decode`] reads, in its order.
pub(super) const COLUMNS: &str = "id, uuid, start, last, application, layers, node, capture, net_a, net_b, \
     protocol, port_a, port_b, tracking, l3_tracking, parent, link_a, link_b, link_id, net_id, icmp, \
     ab_packets, ab_bytes, ba_packets, ba_bytes, rtt, raw_packets, finish, whole, metric_span, last_update, \
     extra";

/// Writes a flow's row, new or not. Replacing a row by its number costs no more than an update, and
/// takes the same parameters.
const REPLACE: &str = "INSERT OR REPLACE INTO flow VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, \
     ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, \
     ?30, ?31, ?32)";

/// Dictionary numbers of a flow's texts.
#[derive(Clone, Copy, Debug)]
pub(super) struct TextIds {
    pub(super) application: i64,
    pub(super) layers: i64,
    pub(super) node: i64,
    pub(super) capture: i64,
}

/// [`REPLACE`], prepared, with what is bound to it. Flows resemble the one before: most values stay,
/// and need not be bound again (binding all took 15 % of the time of a row).
pub(super) struct FlowStatement<'c> {
    statement: CachedStatement<'c>,
    bound: [Bound; COLUMN_COUNT],
}

const COLUMN_COUNT: usize = 32;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bound {
    Unknown,
    Null,
    Int(i64),
}

impl<'c> FlowStatement<'c> {
    pub(super) fn prepare(connection: &'c Connection) -> rusqlite::Result<Self> {
        let statement = connection.prepare_cached(REPLACE)?;
        Ok(Self {
            statement,
            bound: [Bound::Unknown; COLUMN_COUNT],
        })
    }

    /// Writes `flow` as row `id`.
    pub(super) fn execute(
        &mut self,
        id: i64,
        flow: &Flow,
        texts: TextIds,
        whole: bool,
    ) -> rusqlite::Result<()> {
        bind(
            Binder {
                statement: &mut self.statement,
                bound: self.bound.iter_mut(),
                next: 1,
            },
            id,
            flow,
            texts,
            whole,
        )?;
        self.statement.raw_execute().map(drop)
    }
}

fn bind(
    mut binder: Binder<'_, '_>,
    id: i64,
    flow: &Flow,
    texts: TextIds,
    whole: bool,
) -> rusqlite::Result<()> {
    binder.int(id)?;
    binder.int(flow.uuid.0.cast_signed())?;
    binder.int(flow.start.nanos())?;
    binder.int(flow.last.nanos())?;
    binder.int(texts.application)?;
    binder.int(texts.layers)?;
    binder.int(texts.node)?;
    binder.int(texts.capture)?;
    binder.address(flow.network.map(|n| n.a))?;
    binder.address(flow.network.map(|n| n.b))?;
    binder.optional(flow.transport.map(|t| t.protocol.number().into()))?;
    binder.optional(flow.transport.map(|t| t.a.into()))?;
    binder.optional(flow.transport.map(|t| t.b.into()))?;
    binder.int(flow.tracking_id.0.cast_signed())?;
    binder.int(flow.l3_tracking_id.0.cast_signed())?;
    binder.int(flow.parent_uuid.0.cast_signed())?;
    binder.optional(flow.link.map(|l| mac_number(l.a)))?;
    binder.optional(flow.link.map(|l| mac_number(l.b)))?;
    binder.optional(flow.link.map(|l| l.id.cast_signed()))?;
    binder.optional(flow.network.map(|n| n.id.cast_signed()))?;
    binder.optional(flow.icmp.map(icmp_number))?;
    binder.int(flow.metric.ab_packets.cast_signed())?;
    binder.int(flow.metric.ab_bytes.cast_signed())?;
    binder.int(flow.metric.ba_packets.cast_signed())?;
    binder.int(flow.metric.ba_bytes.cast_signed())?;
    binder.int(flow.metric.rtt.cast_signed())?;
    binder.int(flow.raw_packets_captured.into())?;
    binder.int(flow.finish_type as i64)?;
    binder.int(whole.into())?;
    let spans_flow = flow.metric.start == flow.start && flow.metric.last == flow.last;
    binder.blob(
        (!spans_flow)
            .then(|| span_bytes(&flow.metric))
            .as_ref()
            .map(|b| b.as_slice()),
    )?;
    binder.blob(
        flow.last_update_metric
            .as_ref()
            .map(metric_bytes)
            .as_ref()
            .map(|b| b.as_slice()),
    )?;
    match &flow.extra {
        // Serializing plain numbers and JSON itself cannot fail; if it ever did, the batch is refused.
        Some(extra) => binder.text(
            &serde_json::to_string(extra)
                .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?,
        ),
        None => binder.null(),
    }
}

/// Binds one column after the other; a bound value stays until another takes its place.
struct Binder<'a, 'c> {
    statement: &'a mut Statement<'c>,
    bound: std::slice::IterMut<'a, Bound>,
    next: usize,
}

impl Binder<'_, '_> {
    fn bind(&mut self, value: impl ToSql, as_bound: Bound) -> rusqlite::Result<()> {
        let column = self.next;
        self.next += 1;
        if let Some(bound) = self.bound.next() {
            if as_bound != Bound::Unknown && *bound == as_bound {
                return Ok(());
            }
            *bound = as_bound;
        }
        self.statement.raw_bind_parameter(column, value)
    }

    fn int(&mut self, value: i64) -> rusqlite::Result<()> {
        self.bind(value, Bound::Int(value))
    }

    fn null(&mut self) -> rusqlite::Result<()> {
        self.bind(Null, Bound::Null)
    }

    fn optional(&mut self, value: Option<i64>) -> rusqlite::Result<()> {
        match value {
            Some(value) => self.int(value),
            None => self.null(),
        }
    }

    fn blob(&mut self, value: Option<&[u8]>) -> rusqlite::Result<()> {
        match value {
            Some(value) => self.bind(value, Bound::Unknown),
            None => self.null(),
        }
    }

    fn text(&mut self, value: &str) -> rusqlite::Result<()> {
        self.bind(value, Bound::Unknown)
    }

    fn address(&mut self, value: Option<IpAddr>) -> rusqlite::Result<()> {
        match value {
            // A number needs no allocation to bind, and compares faster.
            Some(IpAddr::V4(v4)) => self.int(i64::from(u32::from(v4))),
            Some(IpAddr::V6(v6)) => self.blob(Some(&v6.octets())),
            None => self.null(),
        }
    }
}

/// Reads a row of [`COLUMNS`]; `texts` is the segment's dictionary.
pub(super) fn decode(row: &Row<'_>, texts: &[Arc<str>]) -> rusqlite::Result<Flow> {
    let unsigned = |column| row.get(column).map(i64::cast_unsigned);
    let (start, last) = (
        Timestamp::from_nanos(row.get(2)?),
        Timestamp::from_nanos(row.get(3)?),
    );
    let mut metric = FlowMetric {
        ab_packets: unsigned(21)?,
        ab_bytes: unsigned(22)?,
        ba_packets: unsigned(23)?,
        ba_bytes: unsigned(24)?,
        start,
        last,
        rtt: unsigned(25)?,
    };
    if let Some([start, last]) = numbers(row, 29)? {
        metric.start = Timestamp::from_nanos(start);
        metric.last = Timestamp::from_nanos(last);
    }
    Ok(Flow {
        uuid: FlowId(unsigned(1)?),
        tracking_id: FlowId(unsigned(13)?),
        l3_tracking_id: FlowId(unsigned(14)?),
        parent_uuid: FlowId(unsigned(15)?),
        layers_path: text(row, 5, texts)?,
        application: text(row, 4, texts)?,
        link: decode_link(row)?,
        network: decode_network(row)?,
        transport: decode_transport(row)?,
        icmp: row.get::<_, Option<i64>>(20)?.map(icmp_layer),
        metric,
        last_update_metric: numbers(row, 30)?.map(metric_from),
        start,
        last,
        node_tid: text(row, 6, texts)?,
        capture_id: text(row, 7, texts)?,
        raw_packets_captured: row.get(26)?,
        finish_type: FinishType::from_number(row.get(27)?),
        extra: decode_extra(row)?,
    })
}

fn decode_link(row: &Row<'_>) -> rusqlite::Result<Option<LinkLayer>> {
    let Some(a) = row.get::<_, Option<i64>>(16)? else {
        return Ok(None);
    };
    let (b, id) = (row.get(17)?, row.get::<_, i64>(18)?.cast_unsigned());
    Ok(Some(LinkLayer {
        a: mac_from(a),
        b: mac_from(b),
        id,
    }))
}

fn decode_network(row: &Row<'_>) -> rusqlite::Result<Option<NetworkLayer>> {
    let (Some(a), Some(b)) = (address(row, 8)?, address(row, 9)?) else {
        return Ok(None);
    };
    Ok(Some(NetworkLayer {
        a,
        b,
        id: row.get::<_, i64>(19)?.cast_unsigned(),
    }))
}

fn decode_transport(row: &Row<'_>) -> rusqlite::Result<Option<TransportLayer>> {
    let Some(number) = row.get::<_, Option<u8>>(10)? else {
        return Ok(None);
    };
    let protocol = TransportProtocol::from_number(number).ok_or_else(|| damaged(10, Type::Integer))?;
    Ok(Some(TransportLayer {
        protocol,
        a: row.get(11)?,
        b: row.get(12)?,
    }))
}

fn decode_extra(row: &Row<'_>) -> rusqlite::Result<Option<Box<FlowExtra>>> {
    let ValueRef::Text(json) = row.get_ref(31)? else {
        return Ok(None);
    };
    serde_json::from_slice(json)
        .map(|extra| Some(Box::new(extra)))
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(31, Type::Text, Box::new(error)))
}

fn text(row: &Row<'_>, column: usize, texts: &[Arc<str>]) -> rusqlite::Result<Arc<str>> {
    let id: u32 = row.get(column)?;
    texts
        .get(id as usize)
        .cloned()
        .ok_or_else(|| damaged(column, Type::Integer))
}

fn address(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<IpAddr>> {
    let found = match row.get_ref(column)? {
        ValueRef::Null => return Ok(None),
        ValueRef::Integer(v4) => u32::try_from(v4).ok().map(|v4| IpAddr::V4(Ipv4Addr::from(v4))),
        ValueRef::Blob(bytes) if bytes.len() == 16 => ip_from_bytes(bytes),
        _ => None,
    };
    found.map(Some).ok_or_else(|| damaged(column, Type::Blob))
}

/// A value that no flowtap writes: the file is damaged.
fn damaged(column: usize, kind: Type) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, kind, Box::new(FromSqlError::InvalidType))
}

/// A blob of `N` little-endian numbers.
fn numbers<const N: usize>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<[i64; N]>> {
    let ValueRef::Blob(bytes) = row.get_ref(column)? else {
        return Ok(None);
    };
    let (words, rest) = bytes.as_chunks::<8>();
    let words = <&[[u8; 8]; N]>::try_from(words).ok().filter(|_| rest.is_empty());
    words
        .map(|words| Some(words.map(i64::from_le_bytes)))
        .ok_or_else(|| damaged(column, Type::Blob))
}

fn span_bytes(metric: &FlowMetric) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&metric.start.nanos().to_le_bytes());
    bytes[8..].copy_from_slice(&metric.last.nanos().to_le_bytes());
    bytes
}

fn metric_bytes(metric: &FlowMetric) -> [u8; 56] {
    let words = [
        metric.ab_packets,
        metric.ab_bytes,
        metric.ba_packets,
        metric.ba_bytes,
        metric.start.nanos().cast_unsigned(),
        metric.last.nanos().cast_unsigned(),
        metric.rtt,
    ];
    let mut bytes = [0; 56];
    for (slot, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *slot = word.to_le_bytes();
    }
    bytes
}

fn metric_from(words: [i64; 7]) -> FlowMetric {
    let [ab_packets, ab_bytes, ba_packets, ba_bytes, start, last, rtt] = words;
    FlowMetric {
        ab_packets: ab_packets.cast_unsigned(),
        ab_bytes: ab_bytes.cast_unsigned(),
        ba_packets: ba_packets.cast_unsigned(),
        ba_bytes: ba_bytes.cast_unsigned(),
        start: Timestamp::from_nanos(start),
        last: Timestamp::from_nanos(last),
        rtt: rtt.cast_unsigned(),
    }
}

/// A MAC address as the number that `link_a` and `link_b` hold.
pub(super) fn mac_number(mac: MacAddr) -> i64 {
    mac.0
        .iter()
        .fold(0, |number, byte| (number << 8) | i64::from(*byte))
}

fn mac_from(number: i64) -> MacAddr {
    let [_, _, mac @ ..] = number.to_be_bytes();
    MacAddr(mac)
}

fn icmp_number(icmp: IcmpLayer) -> i64 {
    (icmp.kind as i64) << 24 | i64::from(icmp.code) << 16 | i64::from(icmp.id)
}

fn icmp_layer(number: i64) -> IcmpLayer {
    let [_, _, _, _, kind, code, id @ ..] = number.to_be_bytes();
    IcmpLayer {
        kind: IcmpType::from_number(kind),
        code,
        id: u16::from_be_bytes(id),
    }
}
