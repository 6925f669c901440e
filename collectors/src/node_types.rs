//! Which capture types a node can have, by its `Type`.

use crate::CaptureType;

/// What nodes of some types have in common.
#[derive(Debug)]
pub(crate) struct NodeTypes {
    /// `Type` of the nodes. That of an interface is what the kernel calls its kind (`IFLA_INFO_KIND`), and
    /// `device` for hardware and the loopback interface, which have none.
    types: &'static [&'static str],
    /// What they can have; first what is taken when the user names no type.
    pub(crate) captures: &'static [CaptureType],
    /// Why the first is first.
    pub(crate) reason: &'static str,
}

/// What an interface of the kernel can have.
const INTERFACE: &[CaptureType] = &[
    CaptureType::AfPacket,
    CaptureType::Pcap,
    CaptureType::PcapSocket,
    CaptureType::Sflow,
    CaptureType::Ebpf,
];

/// Why a packet socket is the first choice for interfaces.
const FROM_THE_FIRST: &str = "it sees each packet from the first, and waits for no interface to be up";

/// All node types that can be captured at. Hosts, namespaces and whatever else is not here can have none.
/// Kinds of interfaces are those of Linux 6.18 (`rtnl_link_ops`), Skydive's among them.
const ALL: [NodeTypes; 7] = [
    NodeTypes {
        types: &["ovsbridge"],
        captures: &[CaptureType::OvsSflow, CaptureType::PcapSocket],
        reason: "the switch samples what passes through the bridge, whichever the port",
    },
    NodeTypes {
        types: &["ovsport"],
        captures: &[CaptureType::OvsMirror],
        reason: "a port may have no interface in the kernel, and the switch can mirror any",
    },
    // Ethernet: hardware, pairs, bridges and their like, and what stands on another interface.
    NodeTypes {
        types: &[
            "batadv",
            "bond",
            "bridge",
            "device",
            "dsa",
            "dummy",
            "hsr",
            "ifb",
            "internal",
            "ipvlan",
            "ipvtap",
            "macsec",
            "macvlan",
            "macvtap",
            "netdevsim",
            "netkit",
            "openvswitch",
            "tap",
            "team",
            "tun",
            "veth",
            "virt_wifi",
            "vlan",
            "vrf",
        ],
        captures: INTERFACE,
        reason: FROM_THE_FIRST,
    },
    // Tunnels, of Ethernet or of IP alone.
    NodeTypes {
        types: &[
            "amt",
            "bareudp",
            "erspan",
            "geneve",
            "gre",
            "gretap",
            "gtp",
            "ip6erspan",
            "ip6gre",
            "ip6gretap",
            "ip6tnl",
            "ipip",
            "ovpn",
            "pfcp",
            "ppp",
            "sit",
            "vti",
            "vti6",
            "vxlan",
            "wireguard",
            "xfrm",
        ],
        captures: INTERFACE,
        reason: FROM_THE_FIRST,
    },
    // Modems: IP alone.
    NodeTypes {
        types: &["rmnet", "wwan"],
        captures: INTERFACE,
        reason: FROM_THE_FIRST,
    },
    // Headers that flowtap may not read. Skydive has them in its list, and what comes of it an attempt
    // tells: the hardware type decides, which the interface says when it is opened.
    NodeTypes {
        types: &["can", "ipoib", "lowpan", "vcan", "vxcan"],
        captures: INTERFACE,
        reason: FROM_THE_FIRST,
    },
    // What others monitor: netlink messages, and sockets between virtual machines. As above.
    NodeTypes {
        types: &["nlmon", "vsockmon"],
        captures: INTERFACE,
        reason: FROM_THE_FIRST,
    },
];

impl NodeTypes {
    /// What nodes of this `Type` can have; `None` if nothing can be captured there.
    pub(crate) fn of(node_type: &str) -> Option<&'static Self> {
        ALL.iter().find(|row| row.types.contains(&node_type))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_type_is_in_the_table_twice() {
        let all: Vec<&str> = ALL.iter().flat_map(|row| row.types).copied().collect();
        let distinct: BTreeSet<&str> = all.iter().copied().collect();
        assert_eq!(distinct.len(), all.len());
        for row in &ALL {
            assert!(row.types.is_sorted(), "{:?}", row.types);
            assert!(!row.captures.is_empty() && !row.reason.is_empty());
        }
    }

    #[test]
    fn what_skydive_captures_at_flowtap_does() {
        // Its DPDK ports are of a switch that flowtap does not know.
        let interfaces = "internal veth tun bridge dummy gre bond can hsr ifb macvlan macvtap vlan vxlan gretap \
                          ip6gretap geneve ipoib vcan ipip ipvlan lowpan ip6tnl ip6gre sit device";
        for name in interfaces.split_whitespace() {
            let row = NodeTypes::of(name).unwrap_or_else(|| panic!("no {name}"));
            assert_eq!(row.captures, INTERFACE, "{name}");
        }
    }

    #[test]
    fn what_is_no_interface_is_no_place_for_a_capture() {
        for name in [
            "host",
            "netns",
            "docker",
            "sflowagent",
            "switchport",
            "patch",
            "dpdk",
            "",
        ] {
            assert!(NodeTypes::of(name).is_none(), "{name}");
        }
    }
}
