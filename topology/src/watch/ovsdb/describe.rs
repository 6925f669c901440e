//! Rows in the words of the graph.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::external_ids::{ext_id, normal_names};
use crate::ovsdb::{Atom, Row};

/// Entries of a node's metadata.
pub(super) type Facts = BTreeMap<&'static str, Value>;

/// What vswitchd gives an interface that it could not make.
const NO_PORT: i64 = -1;

/// Of a `Bridge`, all but `Name` and `Type`.
pub(super) fn bridge(row: &Row, aliases: bool) -> Facts {
    let ovs = object([
        ("OtherConfig", texts(row, "other_config")),
        ("Protocols", list(row, "protocols")),
        ("DatapathID", text(row, "datapath_id")),
        ("DatapathType", text(row, "datapath_type")),
        ("FailMode", text(row, "fail_mode")),
    ]);
    facts([("Ovs", ovs), ("ExtID", ext_id(row, aliases))])
}

/// Of a `Port`, all but `Name` and `Type`.
pub(super) fn port(row: &Row, aliases: bool) -> Facts {
    let ovs = object([
        ("OtherConfig", texts(row, "other_config")),
        ("VlanMode", text(row, "vlan_mode")),
    ]);
    facts([
        ("BondMode", text(row, "bond_mode")),
        ("LACP", text(row, "lacp")),
        ("Vlans", row.integer("tag").map(Value::from)),
        ("Trunks", list(row, "trunks")),
        ("Ovs", ovs),
        ("ExtID", ext_id(row, aliases)),
    ])
}

/// Of an `Interface`, what is the row's alone to say, whoever else knows the interface. There is
/// always an `Ovs`, since counters are put into it.
pub(super) fn interface(row: &Row, aliases: bool) -> Facts {
    let ovs = object([
        ("Options", texts(row, "options")),
        ("OtherConfig", texts(row, "other_config")),
        ("Error", text(row, "error")),
    ]);
    let of_port = row.integer("ofport").filter(|port| *port != NO_PORT);
    let at = |column, key| row.text_at(column, key).map(Value::from);
    let mut interface = facts([
        ("Ovs", ovs.or_else(|| Some(Value::Object(Map::new())))),
        ("ExtID", ext_id(row, aliases)),
        ("OfPort", of_port.map(Value::from)),
        ("LocalIP", at("options", "local_ip")),
        ("RemoteIP", at("options", "remote_ip")),
        ("TunEgressIface", at("status", "tunnel_egress_iface")),
        (
            "TunEgressIfaceCarrier",
            at("status", "tunnel_egress_iface_carrier"),
        ),
    ]);
    interface.extend(normal_names(row));
    interface
}

/// Of an `Interface`, what the kernel says where it knows the device.
pub(super) fn device(row: &Row) -> Facts {
    let driver = row.text_at("status", "driver_name").unwrap_or("openvswitch");
    facts([
        ("MAC", text(row, "mac_in_use")),
        ("Driver", Some(driver.into())),
        ("State", Some(state(row).into())),
    ])
}

/// The type of an `Interface`; the database says nothing for the most usual one.
pub(super) fn kind(row: &Row) -> &str {
    row.text("type").unwrap_or("system")
}

fn facts<const N: usize>(entries: [(&'static str, Option<Value>); N]) -> Facts {
    let known = entries.into_iter().filter_map(|(key, value)| Some((key, value?)));
    known.collect()
}

/// An object of what there is; `None` if there is nothing.
fn object<const N: usize>(entries: [(&'static str, Option<Value>); N]) -> Option<Value> {
    let entries = facts(entries)
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value));
    let object = Map::from_iter(entries);
    (!object.is_empty()).then_some(Value::Object(object))
}

fn state(row: &Row) -> &'static str {
    if row.text("link_state") == Some("up") {
        "UP"
    } else {
        "DOWN"
    }
}

fn text(row: &Row, column: &str) -> Option<Value> {
    row.text(column).map(Value::from)
}

fn texts(row: &Row, column: &str) -> Option<Value> {
    let texts: Map<String, Value> = row
        .texts(column)
        .map(|(key, text)| (key.to_owned(), text.into()))
        .collect();
    (!texts.is_empty()).then_some(Value::Object(texts))
}

/// A set, sorted: the database keeps no order.
fn list(row: &Row, column: &str) -> Option<Value> {
    let atoms = row.atoms(column);
    let mut numbers: Vec<_> = atoms.iter().filter_map(Atom::as_integer).collect();
    let mut texts: Vec<_> = atoms.iter().filter_map(Atom::as_str).collect();
    numbers.sort_unstable();
    texts.sort_unstable();
    let list: Vec<Value> = numbers
        .into_iter()
        .map(Value::from)
        .chain(texts.into_iter().map(Value::from))
        .collect();
    (!list.is_empty()).then_some(Value::Array(list))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(columns: &str) -> Row {
        serde_json::from_str(columns).unwrap()
    }

    #[test]
    fn a_bridge_and_a_port_say_what_they_have() {
        let bridge = bridge(
            &row(
                r#"{"datapath_id":"0000aa","datapath_type":"netdev","fail_mode":["set",[]],
                "protocols":["set",["OpenFlow13","OpenFlow10"]],"other_config":["map",[["hwaddr","x"]]],
                "external_ids":["map",[["bridge-id","br-int"]]]}"#,
            ),
            true,
        );
        assert_eq!(
            json!(bridge),
            json!({"ExtID": {"bridge-id": "br-int"}, "Ovs": {"DatapathID": "0000aa", "DatapathType": "netdev",
                "Protocols": ["OpenFlow10", "OpenFlow13"], "OtherConfig": {"hwaddr": "x"}}})
        );
        let port = port(
            &row(
                r#"{"tag":7,"trunks":["set",[30,4]],"bond_mode":"balance-slb","lacp":"active",
                "vlan_mode":"native-tagged"}"#,
            ),
            true,
        );
        assert_eq!(
            json!(port),
            json!({"Vlans": 7, "Trunks": [4, 30], "BondMode": "balance-slb", "LACP": "active",
                "Ovs": {"VlanMode": "native-tagged"}})
        );
    }

    #[test]
    fn an_interface_says_what_the_kernel_cannot() {
        let row = row(
            r#"{"type":"vxlan","ofport":5,"error":["set",[]],"mac_in_use":"e6:49:58:45:75:75",
                "options":["map",[["remote_ip","10.1.1.1"],["key","flow"]]],
                "status":["map",[["tunnel_egress_iface","eth0"],["driver_name","x"]]]}"#,
        );
        assert_eq!(
            json!(interface(&row, true)),
            json!({"OfPort": 5, "RemoteIP": "10.1.1.1", "TunEgressIface": "eth0",
                "Ovs": {"Options": {"remote_ip": "10.1.1.1", "key": "flow"}}})
        );
        assert_eq!(
            json!(device(&row)),
            json!({"MAC": "e6:49:58:45:75:75", "Driver": "x", "State": "DOWN"})
        );
        assert_eq!(kind(&row), "vxlan");
    }

    #[test]
    fn an_interface_that_could_not_be_made_says_why() {
        let row = row(r#"{"type":"","ofport":-1,"error":"could not open network device nodev"}"#);
        assert_eq!(
            json!(interface(&row, true)),
            json!({"Ovs": {"Error": "could not open network device nodev"}})
        );
        assert_eq!(kind(&row), "system");
    }
}
