//! What a declaration must keep, in Skydive's words where its clients know them.

use std::net::{IpAddr, SocketAddr};

use flowtap_collectors::CaptureType;
use flowtap_collectors::bpf::LibpcapCompiler;
use flowtap_flow::packet::{FilterCompiler, LinkType};
use flowtap_flow::point::{ExtraLayers, LayerKeyMode};

use super::expression::Expression;
use super::new::NewCapture;

/// Bytes of a packet at most: libpcap's `MAXIMUM_SNAPLEN`.
const MAX_HEADER_SIZE: i64 = 262_144;
/// An Ethernet header.
const MIN_HEADER_SIZE: i64 = 14;
/// Bytes of any text of a capture: a query some screens long. They are kept in memory and in the catalog.
const MAX_TEXT: usize = 8 << 10;

/// What the texts and numbers of a declaration mean.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    pub(crate) expression: Expression,
    /// `None`: by node.
    pub(crate) capture_type: Option<CaptureType>,
    pub(crate) layer_key_mode: Option<LayerKeyMode>,
}

/// Checks what can be checked without looking at this machine.
///
/// # Errors
/// What is wrong, for people.
pub(crate) fn check(new: &NewCapture) -> Result<Checked, String> {
    let texts = [
        &new.gremlin_query,
        &new.bpf_filter,
        &new.name,
        &new.description,
        &new.target,
    ];
    if let Some(long) = texts.iter().map(|text| text.len()).find(|len| *len > MAX_TEXT) {
        return Err(format!(
            "a text of {long} bytes is too long, {MAX_TEXT} are accepted"
        ));
    }
    let expression = Expression::parse(&new.gremlin_query)
        .map_err(|error| format!("Not a valid Gremlin expression: {error}"))?;
    if !new.bpf_filter.is_empty() {
        LibpcapCompiler
            .compile(&new.bpf_filter, LinkType::ETHERNET)
            .map_err(|error| format!("Not a valid BPF expression: {error}"))?;
    }
    let capture_type = capture_type_of(&new.r#type)?;
    if new.header_size != 0 && !(MIN_HEADER_SIZE..=MAX_HEADER_SIZE).contains(&new.header_size) {
        return Err(format!(
            "A valid header size is >= {MIN_HEADER_SIZE} && <= {MAX_HEADER_SIZE}"
        ));
    }
    let limit = new.raw_packet_limit.unwrap_or_default();
    if !(-1..i64::from(u32::MAX)).contains(&limit) {
        return Err(format!(
            "A valid raw packet limit is >= -1 && < {}, where -1 keeps all packets",
            u32::MAX
        ));
    }
    let layer_key_mode = match new.layer_key_mode.as_str() {
        "" => None,
        "L2" => Some(LayerKeyMode::L2),
        "L3" => Some(LayerKeyMode::L3),
        _ => return Err("Not a valid layer key mode".to_owned()),
    };
    let known = ExtraLayers::VRRP | ExtraLayers::DNS | ExtraLayers::DHCPV4;
    if new.extra_layers.is_some_and(|mask| mask & !known != 0) {
        return Err("Not a valid mask of extra layers: VRRP is 1, DNS 2, DHCPv4 4".to_owned());
    }
    check_target(&new.target, &new.target_type)?;
    if let Some(capture_type) = capture_type {
        check_capabilities(new, capture_type)?;
    }
    if new.port != 0 && !capture_type.is_some_and(capability::listens) {
        let what = capture_type.map_or_else(
            || "a capture without a type, which goes by the node,".to_owned(),
            |capture_type| format!("{capture_type} capture"),
        );
        return Err(format!(
            "{what} listens on no port; leave Port out, or choose type pcapsocket or sflow"
        ));
    }
    Ok(Checked {
        expression,
        capture_type,
        layer_key_mode,
    })
}

/// The capture type of this name; `None` for no name: by node.
///
/// # Errors
/// That there is none, with those that there are.
pub(crate) fn capture_type_of(text: &str) -> Result<Option<CaptureType>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let parsed = text.parse().map(Some);
    parsed.map_err(|_| {
        let known = CaptureType::ALL.map(CaptureType::as_str).join(" ");
        format!("Not a valid capture type: {text}, available types: [{known}]")
    })
}

fn check_target(target: &str, target_type: &str) -> Result<(), String> {
    if !["", "local", "netflowv5", "erspanv1"].contains(&target_type) {
        return Err(format!(
            "Not a valid target type: {target_type}, available types: [local netflowv5 erspanv1]"
        ));
    }
    if !target.is_empty() && !is_address(target) {
        return Err("Not a valid address".to_owned());
    }
    if !target.is_empty() || !["", "local"].contains(&target_type) {
        return Err("packets can't be sent on in this version, leave Target and TargetType empty".to_owned());
    }
    Ok(())
}

/// `host` or `host:port`, with IPv6 addresses in brackets where a port follows.
fn is_address(text: &str) -> bool {
    if text.parse::<IpAddr>().is_ok() || text.parse::<SocketAddr>().is_ok() {
        return true;
    }
    let (host, port) = text.split_once(':').unwrap_or((text, "1"));
    let is_name = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|char| char.is_ascii_alphanumeric() || char == '-')
    };
    port.parse::<u16>().is_ok() && host.split('.').all(is_name)
}

/// What a capture type can do beside counting flows.
pub(crate) mod capability {
    use flowtap_collectors::CaptureType;

    /// Whether it sees packets, which a filter can choose among, which can be kept, and whose TCP
    /// headers can be looked into.
    pub(crate) fn sees_packets(capture_type: CaptureType) -> bool {
        capture_type != CaptureType::Ebpf
    }

    /// Whether others send to it, at a port of its own.
    pub(crate) fn listens(capture_type: CaptureType) -> bool {
        matches!(capture_type, CaptureType::PcapSocket | CaptureType::Sflow)
    }

    /// Whether several captures of this type can run at one node; without a type it goes by the node.
    pub(crate) fn is_multiple(capture_type: Option<CaptureType>) -> bool {
        matches!(
            capture_type,
            None | Some(CaptureType::AfPacket | CaptureType::Pcap)
        )
    }
}

fn check_capabilities(new: &NewCapture, capture_type: CaptureType) -> Result<(), String> {
    if capability::sees_packets(capture_type) {
        return Ok(());
    }
    let lacks = |what: &str| Err(format!("{capture_type} capture doesn't support {what}"));
    if !new.bpf_filter.is_empty() {
        return lacks("BPF filtering");
    }
    if new.raw_packet_limit.is_some_and(|limit| limit != 0) {
        return lacks("raw packet capture");
    }
    if new.extra_tcp_metric == Some(true) {
        return lacks("extra TCP metrics capture");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new() -> NewCapture {
        NewCapture::new("G.V().Has('Name', 'eth0')")
    }

    fn refused(change: impl FnOnce(&mut NewCapture)) -> String {
        let mut capture = new();
        change(&mut capture);
        check(&capture).unwrap_err()
    }

    fn accepted(change: impl FnOnce(&mut NewCapture)) -> Checked {
        let mut capture = new();
        change(&mut capture);
        check(&capture).unwrap()
    }

    #[test]
    fn refusals_are_in_the_words_that_clients_know() {
        assert_eq!(
            refused(|c| c.gremlin_query.clear()).split(':').next(),
            Some("Not a valid Gremlin expression")
        );
        assert!(
            refused(|c| c.gremlin_query = "G.V().Count()".into())
                .starts_with("Not a valid Gremlin expression: column 7: ")
        );
        let text = refused(|c| c.bpf_filter = "icmp and and".into());
        assert!(
            text.starts_with("Not a valid BPF expression: ") && text.contains("syntax error"),
            "{text}"
        );
        assert_eq!(
            refused(|c| c.r#type = "dpdk".into()),
            "Not a valid capture type: dpdk, available types: \
             [afpacket pcap pcapsocket sflow ebpf ovsmirror ovssflow]"
        );
        for size in [-1, 1, 13, 262_145] {
            assert_eq!(
                refused(|c| c.header_size = size),
                "A valid header size is >= 14 && <= 262144"
            );
        }
        for limit in [-2, i64::from(u32::MAX), i64::MAX] {
            assert!(refused(|c| c.raw_packet_limit = Some(limit)).starts_with("A valid raw packet limit"));
        }
        assert_eq!(
            refused(|c| c.layer_key_mode = "L4".into()),
            "Not a valid layer key mode"
        );
        assert!(refused(|c| c.extra_layers = Some(8)).starts_with("Not a valid mask"));
        for target in ["a b", "10.0.0.1:99999", ":80", "host:", "[::1"] {
            assert_eq!(
                refused(|c| c.target = target.into()),
                "Not a valid address",
                "{target}"
            );
        }
        assert!(refused(|c| c.target_type = "ipfix".into()).starts_with("Not a valid target type: ipfix"));
        for target in [
            "10.0.0.1",
            "10.0.0.1:2055",
            "[fe80::1]:2055",
            "collector.example:2055",
        ] {
            assert!(
                refused(|c| c.target = target.into()).contains("can't be sent on"),
                "{target}"
            );
        }
        assert!(refused(|c| c.name = "n".repeat(9_000)).contains("too long"));
    }

    #[test]
    fn a_port_is_for_types_that_listen() {
        let with_port = |capture_type: &'static str| {
            let new = NewCapture {
                port: 8_110,
                r#type: capture_type.into(),
                ..NewCapture::new("G.V()")
            };
            check(&new).map(drop)
        };
        assert_eq!((with_port("pcapsocket"), with_port("sflow")), (Ok(()), Ok(())));
        for capture_type in ["", "afpacket", "pcap"] {
            let text = with_port(capture_type).unwrap_err();
            assert!(text.contains("listens on no port"), "{text}");
        }
    }

    #[test]
    fn ebpf_counts_flows_and_sees_no_packets() {
        let ebpf = |change: fn(&mut NewCapture)| {
            refused(|c| {
                c.r#type = "ebpf".into();
                change(c);
            })
        };
        assert_eq!(
            ebpf(|c| c.bpf_filter = "icmp".into()),
            "ebpf capture doesn't support BPF filtering"
        );
        assert_eq!(
            ebpf(|c| c.raw_packet_limit = Some(1)),
            "ebpf capture doesn't support raw packet capture"
        );
        assert_eq!(
            ebpf(|c| c.extra_tcp_metric = Some(true)),
            "ebpf capture doesn't support extra TCP metrics capture"
        );
        accepted(|c| {
            c.r#type = "ebpf".into();
            c.raw_packet_limit = Some(0);
        });
    }

    #[test]
    fn what_skydive_refused_for_no_reason_is_accepted() {
        for limit in [-1, 0, 10, 11, 1_000_000] {
            accepted(|c| c.raw_packet_limit = Some(limit));
        }
        for size in [0, 14, 4_096, 65_535, 262_144] {
            accepted(|c| c.header_size = size);
        }
        let by_tid = accepted(|c| c.gremlin_query = "g.V().Has('TID','07ec5ad5')".into());
        assert!(by_tid.capture_type.is_none() && by_tid.expression.is_local());
        accepted(|c| c.target_type = "local".into());
        let l3 = accepted(|c| c.layer_key_mode = "L3".into());
        assert_eq!(l3.layer_key_mode, Some(LayerKeyMode::L3));
    }
}
