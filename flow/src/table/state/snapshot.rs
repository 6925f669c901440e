//! A flow as queries and stores see it, from its state.

use super::{A_IS_SECOND, FlowState, ICMP_SHIFT, OUTER_VLANS};
use crate::flow::{
    FinishType, Flow, IcmpLayer, LinkLayer, MacAddr, NetworkLayer, TransportLayer, TransportProtocol,
    ip_from_bytes,
};
use crate::id::tracking_ids;
use crate::key::{FlowKey, KeyKind};
use crate::table::extra::Rare;
use crate::table::point::Point;
use crate::timestamp::Timestamp;

impl FlowState {
    /// The flow as queries and stores see it.
    pub(in crate::table) fn snapshot(&self, key: &FlowKey, point: &Point, finish_type: FinishType) -> Flow {
        let path = self.path.resolve();
        let (tracking_id, l3_tracking_id) = tracking_ids(key);
        let vlan =
            u64::from(self.vlan_and_icmp) & OUTER_VLANS | self.rare().map_or(0, |rare| rare.inner_vlans);
        let transport = self.transport(key);
        let application = transport
            .and_then(|transport| {
                let ports = match transport.protocol {
                    TransportProtocol::Tcp => &point.options.application_ports.tcp,
                    TransportProtocol::Udp => &point.options.application_ports.udp,
                    TransportProtocol::Sctp => return None,
                };
                ports
                    .get(&transport.a)
                    .or_else(|| ports.get(&transport.b))
                    .cloned()
            })
            .unwrap_or_else(|| path.application.clone());
        let macs: Option<(MacAddr, MacAddr)> = key
            .macs()
            .map(|(first, second)| self.a_and_b(first, second))
            .or_else(|| self.rare().and_then(|rare| rare.link));
        Flow {
            uuid: self.uuid,
            tracking_id,
            l3_tracking_id,
            parent_uuid: key.parent(),
            layers_path: path.text.clone(),
            application,
            link: macs.map(|(a, b)| LinkLayer { a, b, id: vlan }),
            network: self.network(key),
            transport,
            icmp: (key.kind() == KeyKind::Icmp).then(|| {
                let (kind, code, id) = key.icmp();
                IcmpLayer {
                    kind,
                    code,
                    id,
                    number: (self.vlan_and_icmp >> ICMP_SHIFT) as u8,
                }
            }),
            metric: self.totals(),
            last_update_metric: self.extra.as_ref().and_then(|extra| extra.last_update),
            start: Timestamp::from_nanos(self.start),
            last: Timestamp::from_nanos(self.last),
            node_tid: point.node_tid.clone(),
            capture_id: point.options.capture_id.clone(),
            raw_packets_captured: self.raw_kept,
            finish_type,
            sampling: self.sampling(),
            extra: self.rare().and_then(Rare::document),
        }
    }

    /// VNI or GRE key, and the outer source port.
    fn tunnel(&self) -> (u32, u16) {
        self.rare().map_or((0, 0), |rare| rare.tunnel)
    }

    fn network(&self, key: &FlowKey) -> Option<NetworkLayer> {
        let (first, second) = key.addresses();
        let len = match key.ip_version() {
            4 => 4,
            6 => 16,
            _ => return None,
        };
        let (first, second) = (ip_from_bytes(&first[..len])?, ip_from_bytes(&second[..len])?);
        let (a, b) = self.a_and_b(first, second);
        Some(NetworkLayer {
            a,
            b,
            id: u64::from(self.tunnel().0),
        })
    }

    fn transport(&self, key: &FlowKey) -> Option<TransportLayer> {
        match key.kind() {
            KeyKind::Ports(number) => {
                let (first, second) = key.ports();
                let (a, b) = self.a_and_b(first, second);
                Some(TransportLayer {
                    protocol: TransportProtocol::from_number(number)?,
                    a,
                    b,
                })
            }
            KeyKind::Tunnel => Some(TransportLayer {
                protocol: TransportProtocol::Udp,
                a: self.tunnel().1,
                b: key.tunnel_port(),
            }),
            _ => None,
        }
    }

    /// What the key has first and second, as A and B.
    fn a_and_b<T>(&self, first: T, second: T) -> (T, T) {
        if self.is(A_IS_SECOND) {
            (second, first)
        } else {
            (first, second)
        }
    }
}
