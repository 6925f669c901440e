//! Flows as comma-separated values (RFC 4180), one line each.

use flowtap_flow::community_id;
use flowtap_flow::flow::{Flow, FlowId};

/// The columns, named by the paths of the JSON document.
pub(crate) const HEADER: &str = "UUID,Start,Last,Application,LayersPath,Link.A,Link.B,Network.A,Network.B,\
Transport.Protocol,Transport.A,Transport.B,Metric.ABPackets,Metric.ABBytes,Metric.BAPackets,\
Metric.BABytes,Metric.RTT,TrackingID,L3TrackingID,ParentUUID,NodeTID,CaptureID,RawPacketsCaptured,\
FinishType,CommunityID\r\n";

/// Appends one line.
pub(crate) fn write_line(flow: &Flow, out: &mut Vec<u8>) {
    let mut line = Line { out, first: true };
    line.id(flow.uuid);
    line.field(flow.start.millis());
    line.field(flow.last.millis());
    line.text(&flow.application);
    line.text(&flow.layers_path);
    line.option(flow.link.map(|l| l.a));
    line.option(flow.link.map(|l| l.b));
    line.option(flow.network.map(|n| n.a));
    line.option(flow.network.map(|n| n.b));
    line.option(flow.transport.map(|t| t.protocol.as_str()));
    line.option(flow.transport.map(|t| t.a));
    line.option(flow.transport.map(|t| t.b));
    let metric = &flow.metric;
    for number in [
        metric.ab_packets,
        metric.ab_bytes,
        metric.ba_packets,
        metric.ba_bytes,
        metric.rtt,
    ] {
        line.field(number);
    }
    line.id(flow.tracking_id);
    line.id(flow.l3_tracking_id);
    line.id(flow.parent_uuid);
    line.text(&flow.node_tid);
    line.text(&flow.capture_id);
    line.field(flow.raw_packets_captured);
    line.field(flow.finish_type as u8);
    line.option(community_id::of_flow(flow));
    out.extend_from_slice(b"\r\n");
}

struct Line<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl Line<'_> {
    fn separate(&mut self) {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
    }

    /// A value whose text never holds a comma, a quote or a line break.
    fn field(&mut self, value: impl std::fmt::Display) {
        use std::io::Write as _;
        self.separate();
        // Writing to a Vec cannot fail.
        let _ = write!(self.out, "{value}");
    }

    fn option(&mut self, value: Option<impl std::fmt::Display>) {
        match value {
            Some(value) => self.field(value),
            None => self.separate(),
        }
    }

    fn id(&mut self, id: FlowId) {
        self.option((id != FlowId::NONE).then_some(id));
    }

    fn text(&mut self, text: &str) {
        self.separate();
        if text.contains([',', '"', '\r', '\n']) {
            self.out.push(b'"');
            self.out.extend_from_slice(text.replace('"', "\"\"").as_bytes());
            self.out.push(b'"');
        } else {
            self.out.extend_from_slice(text.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn every_line_has_every_column() {
        let columns = HEADER.matches(',').count();
        for flow in [testing::tcp_flow(1), testing::icmp_flow(2), testing::arp_flow(3)] {
            let mut line = Vec::new();
            write_line(&flow, &mut line);
            let line = String::from_utf8(line).unwrap();
            assert_eq!(line.matches(',').count(), columns, "{line}");
            assert!(line.ends_with("\r\n"));
        }
    }

    #[test]
    fn separators_in_text_are_quoted() {
        let flow = Flow {
            application: "a,\"b\"\n".into(),
            ..testing::arp_flow(1)
        };
        let mut line = Vec::new();
        write_line(&flow, &mut line);
        assert!(String::from_utf8(line).unwrap().contains(",\"a,\"\"b\"\"\n\","));
    }
}
