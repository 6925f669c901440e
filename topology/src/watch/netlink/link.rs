//! What the kernel says of one interface (`struct ifinfomsg` and its attributes, `linux/if_link.h`).

use super::counters::{self, Counters};
use super::numbers::*;
use super::parts::{BondSlave, Function};
use super::wire::{Attributes, Request, i32_at, own_address, text, u8_at, u16_at, u32_at};

/// Bytes of `struct ifinfomsg`.
const FIXED: usize = 16;

/// An interface, as one message says it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    /// The driver's kind: `veth`, `bridge`; hardware has none.
    pub(super) kind: Option<String>,
    /// `ARPHRD_*`.
    pub(super) layer: u16,
    /// `IFF_*`.
    pub(super) flags: u32,
    /// `IF_OPER_*`.
    pub(super) operational: u8,
    pub(super) mtu: u32,
    pub(super) mac: Option<String>,
    /// The bridge, bond or VRF that it is a port of.
    pub(super) master: Option<u32>,
    /// The other end of a veth; what a VLAN, macvlan or VXLAN stands on.
    pub(super) link: Option<u32>,
    /// Where [`Link::link`] is, if in another namespace: that namespace's number in this one.
    pub(super) link_namespace: Option<i32>,
    /// The device it is a function of, such as `0000:00:03.0`, and the bus it is on, such as `pci`.
    pub(super) device: Option<String>,
    pub(super) bus: Option<String>,
    pub(super) vlan: Option<u16>,
    pub(super) vni: Option<u32>,
    pub(super) bond_mode: Option<u8>,
    pub(super) bond_slave: Option<BondSlave>,
    /// Its virtual functions; `None` in messages of events, which do not list them.
    pub(super) functions: Option<Vec<Function>>,
    pub(super) counters: Option<Counters>,
}

impl Link {
    /// Reads an `RTM_NEWLINK` or `RTM_DELLINK`. `None` if it is of no interface, or is what a bridge
    /// says of a port of its own (`AF_BRIDGE`: it looks like an interface that comes or goes).
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        if u8_at(body, 0)? != AF_UNSPEC {
            return None;
        }
        let mut link = Self {
            layer: u16_at(body, 2)?,
            index: u32_at(body, 4)?,
            flags: u32_at(body, 8)?,
            ..Self::default()
        };
        for (kind, value) in Attributes::after(body, FIXED) {
            // News of a wireless driver come as a link's, with nothing of the link but its name.
            if kind == IFLA_WIRELESS {
                return None;
            }
            link.take(kind, value);
        }
        // A veth names its peer, and whatever has no other end or ground names itself or zero.
        link.link = link
            .link
            .filter(|other| *other != 0 && (*other != link.index || link.link_namespace.is_some()));
        (link.index != 0 && !link.name.is_empty()).then_some(link)
    }

    fn take(&mut self, kind: u16, value: &[u8]) {
        match kind {
            IFLA_IFNAME => self.name = text(value),
            IFLA_ADDRESS => self.mac = own_address(value),
            IFLA_MTU => self.mtu = u32_at(value, 0).unwrap_or_default(),
            IFLA_LINK => self.link = u32_at(value, 0),
            IFLA_LINK_NETNSID => self.link_namespace = i32_at(value, 0).filter(|id| *id >= 0),
            IFLA_MASTER => self.master = u32_at(value, 0).filter(|index| *index != 0),
            IFLA_OPERSTATE => self.operational = u8_at(value, 0).unwrap_or_default(),
            IFLA_PARENT_DEV_NAME => self.device = Some(text(value)),
            IFLA_PARENT_DEV_BUS_NAME => self.bus = Some(text(value)),
            IFLA_STATS64 => self.counters = counters::parse(value),
            IFLA_VFINFO_LIST => self.functions = Some(Function::parse_list(value)),
            IFLA_LINKINFO => self.take_info(value),
            _ => {}
        }
    }

    fn take_info(&mut self, value: &[u8]) {
        let info = Attributes::of(value);
        let data = Attributes::of(info.find_kind(IFLA_INFO_DATA).unwrap_or_default());
        self.kind = info.find_kind(IFLA_INFO_KIND).map(text);
        match self.kind.as_deref() {
            Some("vlan") => self.vlan = data.find_kind(IFLA_VLAN_ID).and_then(|id| u16_at(id, 0)),
            Some("vxlan") => {
                self.vni = data.find_kind(IFLA_VXLAN_ID).and_then(|id| u32_at(id, 0));
                let ground = data.find_kind(IFLA_VXLAN_LINK).and_then(|index| u32_at(index, 0));
                self.link = ground.or(self.link);
            }
            Some("bond") => self.bond_mode = data.find_kind(IFLA_BOND_MODE).and_then(|mode| u8_at(mode, 0)),
            _ => {}
        }
        if info.find_kind(IFLA_INFO_SLAVE_KIND).map(text).as_deref() == Some("bond") {
            self.bond_slave = info.find_kind(IFLA_INFO_SLAVE_DATA).map(BondSlave::parse);
        }
    }

    /// `veth`, `bridge`; `device` for what has no kind.
    pub(super) fn type_name(&self) -> &str {
        self.kind.as_deref().unwrap_or("device")
    }

    /// Whether it is one of two ends, each of which names the other.
    pub(super) fn is_pair(&self) -> bool {
        matches!(self.kind.as_deref(), Some("veth" | "vxcan" | "netkit"))
    }

    pub(super) fn is_loopback(&self) -> bool {
        self.flags & IFF_LOOPBACK != 0
    }

    /// Whether it can carry packets. Drivers that never say (loopback, tap) count as up when they are
    /// switched on.
    pub(super) fn is_up(&self) -> bool {
        match self.operational {
            IF_OPER_UP => true,
            IF_OPER_UNKNOWN => self.flags & IFF_UP != 0,
            _ => false,
        }
    }
}

/// Asks for all interfaces, or for that of one index.
pub(super) fn request(index: Option<u32>) -> Request {
    let mut fixed = [0; FIXED];
    fixed[4..8].copy_from_slice(&index.unwrap_or_default().to_ne_bytes());
    let flags = if index.is_some() { 0 } else { NLM_F_DUMP };
    Request::new(RTM_GETLINK, flags)
        .bytes(&fixed)
        .attribute(IFLA_EXT_MASK, &RTEXT_FILTER_VF.to_ne_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::netlink::wire::Messages;

    /// What [`Link::parse`] makes of an interface 7 named `x` with these attributes.
    pub(crate) fn parsed(add: impl FnOnce(Request) -> Request) -> Option<Link> {
        let mut fixed = [0; FIXED];
        fixed[2] = 1;
        fixed[4] = 7;
        fixed[8] = 1;
        let request = add(Request::new(RTM_NEWLINK, 0)
            .bytes(&fixed)
            .attribute(IFLA_IFNAME, b"x\0"));
        Link::parse(Messages(&request.sealed(1)).next().unwrap().body)
    }

    #[test]
    fn a_vlan_says_its_number_and_its_ground() {
        let link = parsed(|message| {
            message
                .attribute(IFLA_LINK, &3_u32.to_ne_bytes())
                .nested(IFLA_LINKINFO, |info| {
                    info.attribute(IFLA_INFO_KIND, b"vlan\0")
                        .nested(IFLA_INFO_DATA, |data| {
                            data.attribute(IFLA_VLAN_ID, &42_u16.to_ne_bytes())
                        })
                })
        })
        .unwrap();
        assert_eq!(
            (link.type_name(), link.vlan, link.link),
            ("vlan", Some(42), Some(3))
        );
    }

    #[test]
    fn a_vxlan_stands_on_the_interface_of_its_own_attribute() {
        let link = parsed(|message| {
            message.nested(IFLA_LINKINFO, |info| {
                info.attribute(IFLA_INFO_KIND, b"vxlan\0")
                    .nested(IFLA_INFO_DATA, |data| {
                        data.attribute(IFLA_VXLAN_ID, &4096_u32.to_ne_bytes())
                            .attribute(IFLA_VXLAN_LINK, &2_u32.to_ne_bytes())
                    })
            })
        })
        .unwrap();
        assert_eq!((link.vni, link.link), (Some(4096), Some(2)));
    }

    #[test]
    fn bonds_and_their_slaves_are_told_apart() {
        let link = parsed(|message| {
            message.nested(IFLA_LINKINFO, |info| {
                info.attribute(IFLA_INFO_KIND, b"bond\0")
                    .nested(IFLA_INFO_DATA, |data| data.attribute(IFLA_BOND_MODE, &[4]))
                    .attribute(IFLA_INFO_SLAVE_KIND, b"bond\0")
                    .nested(IFLA_INFO_SLAVE_DATA, |data| {
                        data.attribute(IFLA_BOND_SLAVE_STATE, &[1])
                    })
            })
        })
        .unwrap();
        assert_eq!(link.bond_mode, Some(4));
        assert!(link.bond_slave.is_some());
    }

    #[test]
    fn attributes_of_a_wrong_length_cost_only_themselves() {
        let link = parsed(|message| {
            message
                .attribute(IFLA_MTU, &[1])
                .attribute(IFLA_STATS64, &[0; 7])
                .attribute(IFLA_MASTER, &9_u32.to_ne_bytes())
        })
        .unwrap();
        assert_eq!((link.mtu, link.counters, link.master), (0, None, Some(9)));
    }

    #[test]
    fn what_a_bridge_says_of_its_port_is_no_interface() {
        let mut fixed = [0; FIXED];
        fixed[0] = AF_BRIDGE;
        fixed[4] = 7;
        let request = Request::new(RTM_DELLINK, 0)
            .bytes(&fixed)
            .attribute(IFLA_IFNAME, b"x\0");
        let bytes = request.sealed(1);
        assert_eq!(Link::parse(Messages(&bytes).next().unwrap().body), None);
    }

    #[test]
    fn an_interface_that_names_itself_has_no_ground() {
        let own = parsed(|message| message.attribute(IFLA_LINK, &7_u32.to_ne_bytes())).unwrap();
        assert_eq!(own.link, None);
        let elsewhere = parsed(|message| {
            message
                .attribute(IFLA_LINK, &7_u32.to_ne_bytes())
                .attribute(IFLA_LINK_NETNSID, &0_i32.to_ne_bytes())
        });
        assert_eq!(
            elsewhere.unwrap().link,
            Some(7),
            "the same index in another namespace"
        );
    }

    #[test]
    fn up_is_what_can_carry_packets() {
        let up = |operational| {
            parsed(|message| message.attribute(IFLA_OPERSTATE, &[operational]))
                .unwrap()
                .is_up()
        };
        assert!(up(IF_OPER_UP));
        assert!(up(IF_OPER_UNKNOWN), "it is switched on and never says more");
        assert!(!up(2));
        assert!(!up(3));
    }
}
