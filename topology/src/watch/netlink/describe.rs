//! An interface in the words of the metadata.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::link::Link;
use super::lists::bit_names;
use super::parts::{Function, bond_mode};

/// `IFF_*`, lowest bit first, as Skydive names them.
const FLAGS: [&str; 19] = [
    "UP",
    "BROADCAST",
    "DEBUG",
    "LOOPBACK",
    "POINTOPOINT",
    "NOTRAILERS",
    "RUNNING",
    "NOARP",
    "PROMISC",
    "ALLMULTI",
    "MASTER",
    "SLAVE",
    "MULTICAST",
    "PORTSEL",
    "AUTOMEDIA",
    "DYNAMIC",
    "LOWER_UP",
    "DORMANT",
    "ECHO",
];

/// All that an interface says of itself, and what it could say and does not: that is taken back if it
/// was said before.
pub(super) fn describe(
    link: &Link,
    driver: Option<&str>,
    link_namespace: Option<&str>,
) -> Vec<(&'static str, Option<Value>)> {
    let number = |number: Option<u32>| number.map(Value::from);
    let text = |text: Option<&str>| text.map(Value::from);
    let flags = bit_names(&FLAGS, link.flags);
    let functions = link
        .functions
        .as_deref()
        .filter(|functions| !functions.is_empty());
    let (peer, parent) = if link.is_pair() {
        (link.link, None)
    } else {
        (None, link.link)
    };
    vec![
        ("Name", text(Some(&link.name))),
        ("Type", text(Some(link.type_name()))),
        ("EncapType", text(Some(encapsulation(link.layer)))),
        ("IfIndex", number(Some(link.index))),
        ("Driver", text(driver)),
        ("BusInfo", text(link.device.as_deref())),
        ("MTU", number((link.mtu != 0).then_some(link.mtu))),
        ("MAC", text(link.mac.as_deref())),
        ("State", text(Some(if link.is_up() { "UP" } else { "DOWN" }))),
        ("LinkFlags", (!flags.is_empty()).then(|| flags.into())),
        ("MasterIndex", number(link.master)),
        ("ParentIndex", number(parent)),
        ("PeerIfIndex", number(peer)),
        ("LinkNetNsID", link.link_namespace.map(Value::from)),
        ("LinkNetNsName", text(link_namespace)),
        ("Vlan", link.vlan.map(Value::from)),
        ("VNI", number(link.vni)),
        ("BondMode", link.bond_mode.map(|mode| bond_mode(mode).into())),
        ("BondSlave", link.bond_slave.as_ref().map(|slave| slave.to_json())),
        (
            "Vfs",
            functions.map(|list| list.iter().map(Function::to_json).collect()),
        ),
    ]
}

/// The driver's name: an interface of a kind has its kind's, hardware that of its device. Kernels before
/// 5.14 do not name the device; `/sys` does, for the namespace that flowtap runs in.
pub(super) fn driver(link: &Link, is_own: bool) -> Option<String> {
    if link.kind.is_some() {
        return link.kind.clone();
    }
    let sys = Path::new("/sys");
    let device = match (&link.bus, &link.device) {
        (Some(bus), Some(device)) => sys.join("bus").join(bus).join("devices").join(device),
        _ if is_own && !link.is_loopback() => sys.join("class/net").join(&link.name).join("device"),
        _ => return None,
    };
    let driver = fs::read_link(device.join("driver")).ok()?;
    Some(driver.file_name()?.to_string_lossy().into_owned())
}

/// The name of an `ARPHRD_*`, as `ip link` prints it.
fn encapsulation(layer: u16) -> &'static str {
    match layer {
        0 => "netrom",
        1 => "ether",
        24 => "ieee1394",
        27 => "eui64",
        32 => "infiniband",
        256 => "slip",
        280 => "can",
        512 => "ppp",
        519 => "rawip",
        768 => "ipip",
        769 => "tunnel6",
        772 => "loopback",
        774 => "fddi",
        776 => "sit",
        778 => "gre",
        801 => "ieee802.11",
        802 => "ieee802.11/prism",
        803 => "ieee802.11/radiotap",
        804 => "ieee802.15.4",
        823 => "gre6",
        824 => "netlink",
        825 => "6lowpan",
        826 => "vsockmon",
        0xfffe => "none",
        0xffff => "void",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(link: &Link, key: &str) -> Option<Value> {
        let all = describe(link, None, None);
        all.into_iter().find(|(said, _)| *said == key).unwrap().1
    }

    #[test]
    fn what_is_not_there_is_taken_back_not_forgotten() {
        let link = Link {
            name: "eth0".into(),
            flags: 0x1043,
            link: Some(3),
            ..Link::default()
        };
        assert_eq!(
            said(&link, "LinkFlags"),
            Some(json!(["UP", "BROADCAST", "RUNNING", "MULTICAST"]))
        );
        assert_eq!(said(&link, "ParentIndex"), Some(json!(3)));
        assert_eq!(said(&link, "PeerIfIndex"), None);
        assert_eq!(said(&link, "MasterIndex"), None);
        assert_eq!(said(&link, "Type"), Some(json!("device")));
    }

    #[test]
    fn a_veths_other_end_is_its_peer() {
        let link = Link {
            kind: Some("veth".into()),
            link: Some(3),
            ..Link::default()
        };
        assert_eq!(said(&link, "PeerIfIndex"), Some(json!(3)));
        assert_eq!(said(&link, "ParentIndex"), None);
        assert_eq!(driver(&link, false).as_deref(), Some("veth"));
    }
}
