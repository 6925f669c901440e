//! Numbers of the kernel's interface, by the names of its headers, as far as they are used.

// linux/netlink.h
pub(super) const NLM_F_REQUEST: u16 = 0x1;
pub(super) const NLM_F_MULTI: u16 = 0x2;
pub(super) const NLM_F_DUMP_INTR: u16 = 0x10;
pub(super) const NLM_F_DUMP: u16 = 0x300;
pub(super) const NLMSG_ERROR: u16 = 2;
pub(super) const NLMSG_DONE: u16 = 3;
pub(super) const NLA_F_NESTED: u16 = 0x8000;
pub(super) const NLA_TYPE_MASK: u16 = 0x3fff;

// linux/rtnetlink.h
pub(super) const RTM_NEWLINK: u16 = 16;
pub(super) const RTM_DELLINK: u16 = 17;
pub(super) const RTM_GETLINK: u16 = 18;
pub(super) const RTM_NEWADDR: u16 = 20;
pub(super) const RTM_DELADDR: u16 = 21;
pub(super) const RTM_GETADDR: u16 = 22;
pub(super) const RTM_NEWROUTE: u16 = 24;
pub(super) const RTM_DELROUTE: u16 = 25;
pub(super) const RTM_GETROUTE: u16 = 26;
pub(super) const RTM_NEWNEIGH: u16 = 28;
pub(super) const RTM_DELNEIGH: u16 = 29;
pub(super) const RTM_GETNEIGH: u16 = 30;
pub(super) const RTM_NEWNSID: u16 = 88;
pub(super) const RTM_DELNSID: u16 = 89;
pub(super) const RTM_GETNSID: u16 = 90;
pub(super) const RTNLGRP_LINK: u32 = 1;
pub(super) const RTNLGRP_NEIGH: u32 = 3;
pub(super) const RTNLGRP_IPV4_IFADDR: u32 = 5;
pub(super) const RTNLGRP_IPV4_ROUTE: u32 = 7;
pub(super) const RTNLGRP_IPV6_IFADDR: u32 = 9;
pub(super) const RTNLGRP_IPV6_ROUTE: u32 = 11;
pub(super) const RTNLGRP_NSID: u32 = 28;
pub(super) const RTEXT_FILTER_VF: u32 = 1;
pub(super) const RTM_F_CLONED: u32 = 0x200;
pub(super) const RTA_DST: u16 = 1;
pub(super) const RTA_OIF: u16 = 4;
pub(super) const RTA_GATEWAY: u16 = 5;
pub(super) const RTA_PRIORITY: u16 = 6;
pub(super) const RTA_PREFSRC: u16 = 7;
pub(super) const RTA_MULTIPATH: u16 = 9;
pub(super) const RTA_TABLE: u16 = 15;
pub(super) const RTA_VIA: u16 = 18;

// linux/socket.h
pub(super) const AF_UNSPEC: u8 = 0;
pub(super) const AF_INET: u8 = 2;
pub(super) const AF_BRIDGE: u8 = 7;
pub(super) const AF_INET6: u8 = 10;

// linux/if_link.h
pub(super) const IFLA_ADDRESS: u16 = 1;
pub(super) const IFLA_IFNAME: u16 = 3;
pub(super) const IFLA_MTU: u16 = 4;
pub(super) const IFLA_LINK: u16 = 5;
pub(super) const IFLA_MASTER: u16 = 10;
pub(super) const IFLA_WIRELESS: u16 = 11;
pub(super) const IFLA_OPERSTATE: u16 = 16;
pub(super) const IFLA_LINKINFO: u16 = 18;
pub(super) const IFLA_VFINFO_LIST: u16 = 22;
pub(super) const IFLA_STATS64: u16 = 23;
pub(super) const IFLA_EXT_MASK: u16 = 29;
pub(super) const IFLA_LINK_NETNSID: u16 = 37;
pub(super) const IFLA_PARENT_DEV_NAME: u16 = 56;
pub(super) const IFLA_PARENT_DEV_BUS_NAME: u16 = 57;
pub(super) const IFLA_INFO_KIND: u16 = 1;
pub(super) const IFLA_INFO_DATA: u16 = 2;
pub(super) const IFLA_INFO_SLAVE_KIND: u16 = 4;
pub(super) const IFLA_INFO_SLAVE_DATA: u16 = 5;
pub(super) const IFLA_VLAN_ID: u16 = 1;
pub(super) const IFLA_VXLAN_ID: u16 = 1;
pub(super) const IFLA_VXLAN_LINK: u16 = 3;
pub(super) const IFLA_BOND_MODE: u16 = 1;
pub(super) const IFLA_BOND_SLAVE_STATE: u16 = 1;
pub(super) const IFLA_BOND_SLAVE_MII_STATUS: u16 = 2;
pub(super) const IFLA_BOND_SLAVE_LINK_FAILURE_COUNT: u16 = 3;
pub(super) const IFLA_BOND_SLAVE_PERM_HWADDR: u16 = 4;
pub(super) const IFLA_BOND_SLAVE_QUEUE_ID: u16 = 5;
pub(super) const IFLA_BOND_SLAVE_AD_AGGREGATOR_ID: u16 = 6;
pub(super) const IFLA_BOND_SLAVE_AD_ACTOR_OPER_PORT_STATE: u16 = 7;
pub(super) const IFLA_BOND_SLAVE_AD_PARTNER_OPER_PORT_STATE: u16 = 8;
pub(super) const IFLA_VF_INFO: u16 = 1;
pub(super) const IFLA_VF_MAC: u16 = 1;
pub(super) const IFLA_VF_VLAN: u16 = 2;
pub(super) const IFLA_VF_TX_RATE: u16 = 3;
pub(super) const IFLA_VF_SPOOFCHK: u16 = 4;
pub(super) const IFLA_VF_LINK_STATE: u16 = 5;

// linux/if.h
pub(super) const IFF_UP: u32 = 0x1;
pub(super) const IFF_LOOPBACK: u32 = 0x8;
pub(super) const IF_OPER_UNKNOWN: u8 = 0;
pub(super) const IF_OPER_UP: u8 = 6;

// linux/if_addr.h
pub(super) const IFA_ADDRESS: u16 = 1;
pub(super) const IFA_LOCAL: u16 = 2;

// linux/neighbour.h
pub(super) const NUD_NOARP: u16 = 0x40;
pub(super) const NDA_DST: u16 = 1;
pub(super) const NDA_LLADDR: u16 = 2;
pub(super) const NDA_VLAN: u16 = 5;
pub(super) const NDA_VNI: u16 = 7;
pub(super) const NDA_SRC_VNI: u16 = 11;

// linux/net_namespace.h
pub(super) const NETNSA_NSID: u16 = 1;
pub(super) const NETNSA_FD: u16 = 3;

// linux/genetlink.h
pub(super) const GENL_ID_CTRL: u16 = 16;
pub(super) const CTRL_CMD_GETFAMILY: u8 = 3;
pub(super) const CTRL_ATTR_FAMILY_ID: u16 = 1;
pub(super) const CTRL_ATTR_FAMILY_NAME: u16 = 2;

// linux/ethtool_netlink.h and linux/ethtool.h
pub(super) const ETHTOOL_MSG_STRSET_GET: u8 = 1;
pub(super) const ETHTOOL_MSG_LINKMODES_GET: u8 = 4;
pub(super) const ETHTOOL_MSG_FEATURES_GET: u8 = 11;
pub(super) const ETHTOOL_A_HEADER_DEV_INDEX: u16 = 1;
pub(super) const ETHTOOL_A_HEADER_FLAGS: u16 = 3;
pub(super) const ETHTOOL_FLAG_COMPACT_BITSETS: u32 = 1;
/// The header is the first attribute of all requests.
pub(super) const ETHTOOL_A_HEADER: u16 = 1;
pub(super) const ETHTOOL_A_FEATURES_ACTIVE: u16 = 4;
pub(super) const ETHTOOL_A_LINKMODES_SPEED: u16 = 5;
pub(super) const ETHTOOL_A_BITSET_VALUE: u16 = 4;
pub(super) const ETHTOOL_A_STRSET_STRINGSETS: u16 = 2;
pub(super) const ETHTOOL_A_STRINGSETS_STRINGSET: u16 = 1;
pub(super) const ETHTOOL_A_STRINGSET_ID: u16 = 1;
pub(super) const ETHTOOL_A_STRINGSET_STRINGS: u16 = 3;
pub(super) const ETHTOOL_A_STRINGS_STRING: u16 = 1;
pub(super) const ETHTOOL_A_STRING_INDEX: u16 = 1;
pub(super) const ETHTOOL_A_STRING_VALUE: u16 = 2;
pub(super) const ETH_SS_FEATURES: u32 = 4;
