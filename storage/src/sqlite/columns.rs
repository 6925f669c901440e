//! A flow as a list of values, and back: the one list that rows ([`super::row`]) and blocks
//! ([`super::block`]) both hold.

use std::net::{IpAddr, Ipv4Addr};

use flowtap_flow::flow::{
    FinishType, Flow, FlowExtra, FlowId, FlowMetric, IcmpLayer, IcmpType, LinkLayer, MacAddr, NetworkLayer,
    Sampling, TransportLayer, TransportProtocol, ip_from_bytes,
};
use flowtap_flow::text::Text;
use flowtap_flow::timestamp::Timestamp;

/// How many there are. No more than 32: a block names them by the bits of a number.
pub(super) const COUNT: usize = 32;

/// The columns of table `flow`, in the order of the values.
pub(super) const NAMES: &str = "id, uuid, start, last, application, layers, node, capture, net_a, net_b, \
     protocol, port_a, port_b, tracking, l3_tracking, parent, link_a, link_b, link_id, net_id, icmp, \
     ab_packets, ab_bytes, ba_packets, ba_bytes, rtt, raw_packets, finish, metric_span, last_update, sampling, extra";

/// A value of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Null,
    Int(i64),
    Bytes(&'a [u8]),
}

/// Values that no flowtap writes: the file is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damaged;

/// Dictionary numbers of a flow's texts.
#[derive(Clone, Copy, Debug)]
pub(super) struct TextIds {
    pub(super) application: i64,
    pub(super) layers: i64,
    pub(super) node: i64,
    pub(super) capture: i64,
}

/// Room for those of a flow's values that are bytes.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    addresses: [[u8; 16]; 2],
    metric_span: [[u8; 8]; 2],
    last_update: [[u8; 8]; 7],
    sampling: [[u8; 8]; 5],
    extra: Vec<u8>,
}

/// The values of `flow`, whose number in the segment is `id`.
pub(super) fn of_flow<'a>(
    id: i64,
    flow: &Flow,
    texts: TextIds,
    buffer: &'a mut Buffer,
) -> rusqlite::Result<Values<'a>> {
    let int = Value::Int;
    let unsigned = |number: u64| Value::Int(number.cast_signed());
    let some = |number: Option<i64>| number.map_or(Value::Null, Value::Int);
    buffer.put(flow)?;
    let [address_a, address_b] = &buffer.addresses;
    let metric = &flow.metric;
    let has_span = metric.start != flow.start || metric.last != flow.last;
    let bytes_if = |there: bool, bytes: &'a [u8]| if there { Value::Bytes(bytes) } else { Value::Null };
    Ok(Values([
        int(id),
        unsigned(flow.uuid.0),
        int(flow.start.nanos()),
        int(flow.last.nanos()),
        int(texts.application),
        int(texts.layers),
        int(texts.node),
        int(texts.capture),
        address(flow.network.map(|n| n.a), address_a),
        address(flow.network.map(|n| n.b), address_b),
        some(flow.transport.map(|t| t.protocol.number().into())),
        some(flow.transport.map(|t| t.a.into())),
        some(flow.transport.map(|t| t.b.into())),
        unsigned(flow.tracking_id.0),
        unsigned(flow.l3_tracking_id.0),
        unsigned(flow.parent_uuid.0),
        some(flow.link.map(|l| mac_number(l.a))),
        some(flow.link.map(|l| mac_number(l.b))),
        some(flow.link.map(|l| l.id.cast_signed())),
        some(flow.network.map(|n| n.id.cast_signed())),
        some(flow.icmp.map(icmp_number)),
        unsigned(metric.ab_packets),
        unsigned(metric.ab_bytes),
        unsigned(metric.ba_packets),
        unsigned(metric.ba_bytes),
        unsigned(metric.rtt),
        int(flow.raw_packets_captured.into()),
        int(flow.finish_type as i64),
        bytes_if(has_span, buffer.metric_span.as_flattened()),
        bytes_if(
            flow.last_update_metric.is_some(),
            buffer.last_update.as_flattened(),
        ),
        bytes_if(flow.sampling.is_some(), buffer.sampling.as_flattened()),
        bytes_if(!buffer.extra.is_empty(), &buffer.extra),
    ]))
}

impl Buffer {
    /// Fills in what `flow` has; the rest holds what it held.
    fn put(&mut self, flow: &Flow) -> rusqlite::Result<()> {
        if let Some(network) = &flow.network {
            for (octets, end) in self.addresses.iter_mut().zip([network.a, network.b]) {
                if let IpAddr::V6(v6) = end {
                    *octets = v6.octets();
                }
            }
        }
        self.metric_span = [flow.metric.start, flow.metric.last].map(|time| time.nanos().to_le_bytes());
        if let Some(metric) = &flow.last_update_metric {
            self.last_update = metric_words(metric).map(i64::to_le_bytes);
        }
        self.extra.clear();
        if let Some(sampling) = &flow.sampling {
            self.sampling = sampling_words(sampling).map(u64::to_le_bytes);
        }
        let Some(extra) = &flow.extra else {
            return Ok(());
        };
        // Serializing plain numbers and JSON itself cannot fail; if it ever did, the batch is refused.
        serde_json::to_writer(&mut self.extra, extra)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
    }
}

/// Samples' sums, which nearly each flow of an agent has: numbers, where JSON would cost a microsecond.
fn sampling_words(sampling: &Sampling) -> [u64; 5] {
    [
        sampling.rate.into(),
        sampling.ab_packets,
        sampling.ab_bytes,
        sampling.ba_packets,
        sampling.ba_bytes,
    ]
}

fn address<'a>(address: Option<IpAddr>, v6: &'a [u8; 16]) -> Value<'a> {
    match address {
        // A number needs no allocation to bind, and compares faster.
        Some(IpAddr::V4(v4)) => Value::Int(i64::from(u32::from(v4))),
        Some(IpAddr::V6(_)) => Value::Bytes(v6),
        None => Value::Null,
    }
}

/// The values of one flow, in the order of [`NAMES`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Values<'a>(pub(super) [Value<'a>; COUNT]);

impl Values<'_> {
    /// The flow's number in the segment.
    pub(super) fn id(&self) -> Result<i64, Damaged> {
        self.int(0)
    }

    pub(super) fn uuid(&self) -> Result<FlowId, Damaged> {
        self.unsigned(1).map(FlowId)
    }

    pub(super) fn start(&self) -> Result<Timestamp, Damaged> {
        self.int(2).map(Timestamp::from_nanos)
    }

    pub(super) fn last(&self) -> Result<Timestamp, Damaged> {
        self.int(3).map(Timestamp::from_nanos)
    }

    /// How many raw packets the flow has, here or in an earlier segment.
    pub(super) fn raw_packets(&self) -> Result<u32, Damaged> {
        self.number(26)
    }

    /// Totals since the flow began.
    pub(super) fn metric(&self) -> Result<FlowMetric, Damaged> {
        let (mut start, mut last) = (self.start()?, self.last()?);
        if let Some(span) = self.words::<2>(28)? {
            [start, last] = span.map(Timestamp::from_nanos);
        }
        Ok(FlowMetric {
            ab_packets: self.unsigned(21)?,
            ab_bytes: self.unsigned(22)?,
            ba_packets: self.unsigned(23)?,
            ba_bytes: self.unsigned(24)?,
            start,
            last,
            rtt: self.unsigned(25)?,
        })
    }

    /// The flow; `texts` is the segment's dictionary.
    pub(super) fn flow(&self, texts: &[Text]) -> Result<Flow, Damaged> {
        Ok(Flow {
            uuid: self.uuid()?,
            tracking_id: self.unsigned(13).map(FlowId)?,
            l3_tracking_id: self.unsigned(14).map(FlowId)?,
            parent_uuid: self.unsigned(15).map(FlowId)?,
            layers_path: self.text(5, texts)?,
            application: self.text(4, texts)?,
            link: self.link()?,
            network: self.network()?,
            transport: self.transport()?,
            icmp: self.optional(20)?.map(icmp_layer),
            metric: self.metric()?,
            last_update_metric: self.words(29)?.map(metric_from),
            start: self.start()?,
            last: self.last()?,
            node_tid: self.text(6, texts)?,
            capture_id: self.text(7, texts)?,
            raw_packets_captured: self.raw_packets()?,
            finish_type: FinishType::from_number(self.number(27)?),
            sampling: self.words(30)?.map(sampling_from).transpose()?,
            extra: self.extra()?,
        })
    }

    fn link(&self) -> Result<Option<LinkLayer>, Damaged> {
        let Some(a) = self.optional(16)? else {
            return Ok(None);
        };
        Ok(Some(LinkLayer {
            a: mac_from(a),
            b: mac_from(self.int(17)?),
            id: self.unsigned(18)?,
        }))
    }

    fn network(&self) -> Result<Option<NetworkLayer>, Damaged> {
        let (Some(a), Some(b)) = (self.address(8)?, self.address(9)?) else {
            return Ok(None);
        };
        let id = self.unsigned(19)?;
        Ok(Some(NetworkLayer { a, b, id }))
    }

    fn transport(&self) -> Result<Option<TransportLayer>, Damaged> {
        if self.0[10] == Value::Null {
            return Ok(None);
        }
        Ok(Some(TransportLayer {
            protocol: TransportProtocol::from_number(self.number(10)?).ok_or(Damaged)?,
            a: self.number(11)?,
            b: self.number(12)?,
        }))
    }

    fn extra(&self) -> Result<Option<Box<FlowExtra>>, Damaged> {
        match self.0[31] {
            Value::Null => Ok(None),
            Value::Bytes(json) => serde_json::from_slice(json).map(Some).map_err(|_| Damaged),
            Value::Int(_) => Err(Damaged),
        }
    }

    fn int(&self, column: usize) -> Result<i64, Damaged> {
        self.optional(column)?.ok_or(Damaged)
    }

    fn unsigned(&self, column: usize) -> Result<u64, Damaged> {
        self.int(column).map(i64::cast_unsigned)
    }

    fn number<T: TryFrom<i64>>(&self, column: usize) -> Result<T, Damaged> {
        T::try_from(self.int(column)?).map_err(|_| Damaged)
    }

    fn optional(&self, column: usize) -> Result<Option<i64>, Damaged> {
        match self.0[column] {
            Value::Null => Ok(None),
            Value::Int(number) => Ok(Some(number)),
            Value::Bytes(_) => Err(Damaged),
        }
    }

    fn text(&self, column: usize, texts: &[Text]) -> Result<Text, Damaged> {
        let id: usize = self.number(column)?;
        texts.get(id).cloned().ok_or(Damaged)
    }

    fn address(&self, column: usize) -> Result<Option<IpAddr>, Damaged> {
        let found = match self.0[column] {
            Value::Null => return Ok(None),
            Value::Int(v4) => u32::try_from(v4).ok().map(|v4| IpAddr::V4(Ipv4Addr::from(v4))),
            Value::Bytes(bytes) if bytes.len() == 16 => ip_from_bytes(bytes),
            Value::Bytes(_) => None,
        };
        found.map(Some).ok_or(Damaged)
    }

    /// `N` little-endian numbers.
    fn words<const N: usize>(&self, column: usize) -> Result<Option<[i64; N]>, Damaged> {
        let bytes = match self.0[column] {
            Value::Null => return Ok(None),
            Value::Int(_) => return Err(Damaged),
            Value::Bytes(bytes) => bytes,
        };
        let (words, rest) = bytes.as_chunks::<8>();
        let words = <&[[u8; 8]; N]>::try_from(words).ok().filter(|_| rest.is_empty());
        words
            .map(|words| Some(words.map(i64::from_le_bytes)))
            .ok_or(Damaged)
    }
}

fn metric_words(metric: &FlowMetric) -> [i64; 7] {
    [
        metric.ab_packets.cast_signed(),
        metric.ab_bytes.cast_signed(),
        metric.ba_packets.cast_signed(),
        metric.ba_bytes.cast_signed(),
        metric.start.nanos(),
        metric.last.nanos(),
        metric.rtt.cast_signed(),
    ]
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

fn sampling_from(words: [i64; 5]) -> Result<Sampling, Damaged> {
    let [rate, ab_packets, ab_bytes, ba_packets, ba_bytes] = words.map(i64::cast_unsigned);
    Ok(Sampling {
        rate: u32::try_from(rate).map_err(|_| Damaged)?,
        ab_packets,
        ab_bytes,
        ba_packets,
        ba_bytes,
    })
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
    i64::from(icmp.number) << 32 | (icmp.kind as i64) << 24 | i64::from(icmp.code) << 16 | i64::from(icmp.id)
}

fn icmp_layer(number: i64) -> IcmpLayer {
    let [_, _, _, number, kind, code, id @ ..] = number.to_be_bytes();
    IcmpLayer {
        number,
        kind: IcmpType::from_number(kind),
        code,
        id: u16::from_be_bytes(id),
    }
}
