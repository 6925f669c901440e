//! The kinds of captures that users ask for by name.

use std::fmt;
use std::str::FromStr;

use crate::node_types::NodeTypes;
use crate::{Interface, NotYet};

/// A capture type, under the name that users write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CaptureType {
    /// Packets of an interface, from a ring that the kernel fills (`AF_PACKET`, `TPACKET_V3`).
    AfPacket,
    /// Packets of an interface, by libpcap.
    Pcap,
    /// pcap and pcapng streams over TCP.
    PcapSocket,
    /// sFlow v5 datagrams over UDP.
    Sflow,
    /// Flow counters kept in the kernel.
    Ebpf,
    /// Packets of an Open vSwitch port, by a mirror.
    OvsMirror,
    /// sFlow that an Open vSwitch bridge sends.
    OvsSflow,
}

impl CaptureType {
    /// All types, in the order in which `--help` lists them.
    pub const ALL: [Self; 7] = [
        Self::AfPacket,
        Self::Pcap,
        Self::PcapSocket,
        Self::Sflow,
        Self::Ebpf,
        Self::OvsMirror,
        Self::OvsSflow,
    ];

    /// The name that users write.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AfPacket => "afpacket",
            Self::Pcap => "pcap",
            Self::PcapSocket => "pcapsocket",
            Self::Sflow => "sflow",
            Self::Ebpf => "ebpf",
            Self::OvsMirror => "ovsmirror",
            Self::OvsSflow => "ovssflow",
        }
    }

    /// The types that a node of this `Type` can have, the one that is taken when the user names none
    /// first. Empty for nodes that nothing can be captured at: hosts, namespaces, containers.
    #[must_use]
    pub fn of_node(node_type: &str) -> &'static [Self] {
        NodeTypes::of(node_type).map_or(&[], |row| row.captures)
    }

    /// Why the first type of [`CaptureType::of_node`] is the first, in words for the user; empty where there
    /// is none.
    #[must_use]
    pub fn why_automatic(node_type: &str) -> &'static str {
        NodeTypes::of(node_type).map_or("", |row| row.reason)
    }

    /// Says whether a node like this can have the type at all.
    ///
    /// # Errors
    /// [`NotYet::Never`], with Skydive's words and what can be had instead.
    pub(crate) fn check_node(self, interface: &Interface) -> Result<(), NotYet> {
        let types = Self::of_node(&interface.node_type);
        if types.contains(&self) {
            return Ok(());
        }
        let instead = match types.first() {
            Some(other) => format!("it can have {other}"),
            None => "nothing can be captured there".to_owned(),
        };
        Err(NotYet::Never(format!(
            "Capture type {self} not allowed on this node type: {}; {instead}",
            interface.node_type
        )))
    }
}

impl fmt::Display for CaptureType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// No capture type has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no capture type; there are afpacket, pcap, pcapsocket, sflow, ebpf, ovsmirror, ovssflow")]
pub struct UnknownCaptureType(String);

impl FromStr for CaptureType {
    type Err = UnknownCaptureType;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|known| known.as_str() == name);
        found.ok_or_else(|| UnknownCaptureType(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written_and_listed_when_unknown() {
        for known in CaptureType::ALL {
            assert_eq!(known.to_string().parse(), Ok(known));
        }
        let text = "dpdk".parse::<CaptureType>().unwrap_err().to_string();
        assert!(text.starts_with("`dpdk` is no capture type"), "{text}");
        for known in CaptureType::ALL {
            assert!(text.contains(known.as_str()), "{text} lacks {known}");
        }
    }

    #[test]
    fn the_first_type_of_a_node_is_the_automatic_one() {
        assert_eq!(CaptureType::of_node("veth").first(), Some(&CaptureType::AfPacket));
        assert_eq!(
            CaptureType::of_node("ovsbridge").first(),
            Some(&CaptureType::OvsSflow)
        );
        assert_eq!(CaptureType::of_node("ovsport"), [CaptureType::OvsMirror]);
        assert!(CaptureType::of_node("host").is_empty());
    }
}
