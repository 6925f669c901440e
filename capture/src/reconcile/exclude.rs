//! Flowtap's own traffic.

use std::net::{IpAddr, SocketAddr};

use flowtap_topology::{Metadata, NodeId, Snapshot};
use serde_json::Value;

/// Addresses that one that listens everywhere is left out at: each costs a comparison of those packets that
/// have its port. A host that has more shows flowtap's own traffic at the others.
const MAX_ADDRESSES: usize = 16;

/// The addresses that no capture takes in. What listens everywhere does so at each address of `host`, in
/// flowtap's own network namespace, as the graph knows them now.
pub(super) fn own_traffic(exclude: &[SocketAddr], graph: &Snapshot, host: &NodeId) -> Vec<SocketAddr> {
    let mut all = Vec::new();
    for address in exclude {
        if address.ip().is_unspecified() {
            let of_kind = |ip: &IpAddr| address.is_ipv6() || ip.is_ipv4();
            let addresses = addresses(graph, host).into_iter().filter(of_kind);
            all.extend(addresses.map(|ip| SocketAddr::new(ip, address.port())));
        } else {
            all.push(*address);
        }
    }
    all
}

/// Those that others reach the host by come first.
fn addresses(graph: &Snapshot, host: &NodeId) -> Vec<IpAddr> {
    let owned = graph.owned(host);
    let mut all: Vec<IpAddr> = owned.flat_map(|node| listed(&node.metadata)).collect();
    let is_link_local = |ip: &IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    all.sort_unstable_by_key(|ip| (is_link_local(ip), *ip));
    all.dedup();
    all.truncate(MAX_ADDRESSES);
    all
}

fn listed(metadata: &Metadata) -> impl Iterator<Item = IpAddr> {
    let lists = ["IPV4", "IPV6"].into_iter().filter_map(|key| metadata.get(key));
    let texts = lists
        .filter_map(Value::as_array)
        .flatten()
        .filter_map(Value::as_str);
    texts.filter_map(|text| text.split('/').next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use flowtap_topology::{Graph, NodeSpec};
    use serde_json::json;

    use super::*;

    fn excluded(exclude: &[&str], graph: &Graph) -> Vec<String> {
        let exclude: Vec<SocketAddr> = exclude.iter().map(|text| text.parse().unwrap()).collect();
        let all = own_traffic(&exclude, &graph.snapshot(), graph.host());
        all.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_listens_everywhere_does_so_at_each_address_of_the_host() {
        let graph = Graph::new("here");
        let interface = |owner: &NodeId, name: &str, v4: Value, v6: Value| {
            let spec = NodeSpec::new(owner, "veth", name);
            let spec = spec.with("IPV4", v4).with("IPV6", v6);
            graph.upsert_node(spec).unwrap()
        };
        let host = graph.host().clone();
        interface(
            &host,
            "eth0",
            json!(["10.0.0.5/24", "10.0.1.5/24"]),
            json!(["2001:db8::5/64", "fe80::5/64"]),
        );
        let blue = graph.upsert_node(NodeSpec::new(&host, "netns", "blue")).unwrap();
        interface(&blue, "eth0", json!(["10.9.9.9/24"]), json!([]));

        assert_eq!(excluded(&["10.0.0.5:8082"], &graph), ["10.0.0.5:8082"]);
        assert_eq!(
            excluded(&["0.0.0.0:8082"], &graph),
            ["10.0.0.5:8082", "10.0.1.5:8082"]
        );
        assert_eq!(
            excluded(&["[::]:8082"], &graph),
            [
                "10.0.0.5:8082",
                "10.0.1.5:8082",
                "[2001:db8::5]:8082",
                "[fe80::5]:8082"
            ]
        );
        let many: Vec<String> = (0..200).map(|last| format!("10.1.0.{last}/24")).collect();
        interface(&host, "eth1", json!(many), json!([]));
        assert_eq!(excluded(&["0.0.0.0:8082"], &graph).len(), MAX_ADDRESSES);
    }
}
