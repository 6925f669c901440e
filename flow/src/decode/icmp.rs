//! ICMPv4 (RFC 792) and ICMPv6 (RFC 4443, RFC 4861) by Skydive's kinds.

use super::link::u16_at;
use super::part::Probe;
use super::{Next, Walk};
use crate::flow::IcmpType;
use crate::layers::Layer;

impl Walk<'_, '_> {
    pub(super) fn icmpv4(&mut self) -> Next {
        let rest = self.rest();
        let [kind_number, code, _, _, ..] = *rest else {
            return Next::End;
        };
        // Skydive takes these bytes as the id whatever the kind. A packet that was cut may have lost them.
        let id = u16_at(rest, 4).unwrap_or_default();
        let sequence = u16_at(rest, 6);
        let kind = match kind_number {
            0 | 8 => IcmpType::Echo,
            3 => IcmpType::DestinationUnreachable,
            4 => IcmpType::SourceQuench,
            5 => IcmpType::Redirect,
            9 | 10 => IcmpType::Router,
            11 => IcmpType::TimeExceeded,
            12 => IcmpType::ParameterProblem,
            13 | 14 => IcmpType::Timestamp,
            15 | 16 => IcmpType::Info,
            17 | 18 => IcmpType::AddressMask,
            _ => IcmpType::Unknown,
        };
        if self.push(Layer::Icmpv4) {
            self.part.key.set_icmp(kind, code, id);
            self.part.icmp_type = kind_number;
            self.part.probe = match (kind_number, sequence) {
                (8, Some(sequence)) => Probe::Request(sequence),
                (0, Some(sequence)) => Probe::Reply(sequence),
                _ => Probe::None,
            };
        }
        Next::End
    }

    pub(super) fn icmpv6(&mut self) -> Next {
        let rest = self.rest();
        let [kind_number, code, _, _, ..] = *rest else {
            return Next::End;
        };
        let echo = matches!(kind_number, 128 | 129).then(|| (u16_at(rest, 4), u16_at(rest, 6)));
        let kind = match kind_number {
            1 => IcmpType::DestinationUnreachable,
            2 => IcmpType::PacketTooBig,
            3 => IcmpType::TimeExceeded,
            4 => IcmpType::ParameterProblem,
            128 | 129 => IcmpType::Echo,
            133 | 134 => IcmpType::Router,
            135 | 136 => IcmpType::Neighbor,
            137 => IcmpType::Redirect,
            _ => IcmpType::Unknown,
        };
        let inner = match kind_number {
            128 | 129 => Some(Layer::Icmpv6Echo),
            133 => Some(Layer::Icmpv6RouterSolicitation),
            134 => Some(Layer::Icmpv6RouterAdvertisement),
            135 => Some(Layer::Icmpv6NeighborSolicitation),
            136 => Some(Layer::Icmpv6NeighborAdvertisement),
            137 => Some(Layer::Icmpv6Redirect),
            _ => None,
        };
        let whole = rest.len() >= 8;
        if !self.push(Layer::Icmpv6) {
            return Next::End;
        }
        if let Some(layer) = inner.filter(|_| whole) {
            self.push(layer);
        }
        self.part.icmp_type = kind_number;
        match echo {
            Some((Some(id), sequence)) => {
                self.part.key.set_icmp(kind, 0, id);
                let sequence = sequence.unwrap_or_default();
                self.part.probe = if kind_number == 128 {
                    Probe::Request(sequence)
                } else {
                    Probe::Reply(sequence)
                };
            }
            _ => self.part.key.set_icmp(kind, code, 0),
        }
        Next::End
    }
}
