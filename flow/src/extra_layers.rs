//! Contents of DNS, DHCPv4 and VRRPv2 that a flow keeps when its capture asks for them
//! (Skydive's `ExtraLayers`), under Skydive's JSON names.

use serde_json::{Map, Value, json};

/// Questions and answers kept of one flow: a resolver's flow would grow for ever otherwise.
const MAX_RECORDS: usize = 64;
/// Names are at most 255 bytes (RFC 1035 §2.3.4), so that many labels and jumps suffice.
const MAX_LABELS: usize = 128;

struct Cursor<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let bytes = self.message.get(self.at..self.at.checked_add(len)?)?;
        self.at += len;
        Some(bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// A domain name with compression (RFC 1035 §4.1.4).
    fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        let mut at = self.at;
        let mut jumped = false;
        for _ in 0..MAX_LABELS {
            let len = usize::from(*self.message.get(at)?);
            at += 1;
            match len {
                0 => {
                    if !jumped {
                        self.at = at;
                    }
                    return Some(name);
                }
                1..=63 => {
                    let label = self.message.get(at..at + len)?;
                    if !name.is_empty() {
                        name.push('.');
                    }
                    name.push_str(&String::from_utf8_lossy(label));
                    at += len;
                }
                _ if len & 0xc0 == 0xc0 => {
                    let low = usize::from(*self.message.get(at)?);
                    if !jumped {
                        self.at = at + 1;
                    }
                    jumped = true;
                    at = (len & 0x3f) << 8 | low;
                }
                _ => return None,
            }
        }
        None
    }
}

fn record_type(number: u16) -> String {
    let name = match number {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        12 => "PTR",
        15 => "MX",
        16 => "TXT",
        28 => "AAAA",
        33 => "SRV",
        41 => "OPT",
        65 => "HTTPS",
        255 => "ANY",
        other => return other.to_string(),
    };
    name.to_owned()
}

fn record_class(number: u16) -> String {
    if number == 1 {
        "IN".to_owned()
    } else {
        number.to_string()
    }
}

/// A resource record (RFC 1035 §4.1.3); EDNS's OPT (RFC 6891) is one like any other here.
fn record(cursor: &mut Cursor<'_>) -> Option<Value> {
    let name = cursor.name()?;
    let (kind, class, ttl, len) = (cursor.u16()?, cursor.u16()?, cursor.u32()?, cursor.u16()?);
    let begin = cursor.at;
    let mut document = json!({
        "Name": name,
        "Type": record_type(kind),
        "Class": record_class(class),
        "TTL": ttl,
        "DataLength": len,
    });
    match (kind, len) {
        (1, 4) | (28, 16) => {
            let address = crate::flow::ip_from_bytes(cursor.take(usize::from(len))?)?;
            document["IP"] = json!(address.to_string());
        }
        (2, _) => document["NS"] = json!(cursor.name()?),
        (5, _) => document["CNAME"] = json!(cursor.name()?),
        (12, _) => document["PTR"] = json!(cursor.name()?),
        _ => {}
    }
    cursor.at = begin.checked_add(usize::from(len))?;
    Some(document)
}

/// Adds what a DNS message (RFC 1035 §4) holds to the flow's `DNS` document.
pub(crate) fn dns(message: &[u8], layers: &mut Map<String, Value>) {
    let mut cursor = Cursor { message, at: 0 };
    let header: Option<[u16; 6]> = (|| {
        let mut words = [0; 6];
        for word in &mut words {
            *word = cursor.u16()?;
        }
        Some(words)
    })();
    let Some([id, flags, questions, answers, authorities, additionals]) = header else {
        return;
    };
    let document = layers.entry("DNS").or_insert_with(|| json!({}));
    document["ID"] = json!(id);
    for (name, bit) in [("QR", 15), ("AA", 10), ("TC", 9), ("RD", 8), ("RA", 7)] {
        document[name] = json!(flags >> bit & 1 == 1);
    }
    document["OpCode"] = json!(flags >> 11 & 15);
    document["ResponseCode"] = json!(flags & 15);
    for (name, count) in [
        ("QDCount", questions),
        ("ANCount", answers),
        ("NSCount", authorities),
        ("ARCount", additionals),
    ] {
        document[name] = json!(count);
    }
    for _ in 0..questions {
        let question = (|| {
            let name = cursor.name()?;
            let (kind, class) = (cursor.u16()?, cursor.u16()?);
            Some(json!({"Name": name, "Type": record_type(kind), "Class": record_class(class)}))
        })();
        let Some(question) = question else { return };
        append(document, "Questions", question);
    }
    for (section, count) in [
        ("Answers", answers),
        ("Authorities", authorities),
        ("Additionals", additionals),
    ] {
        for _ in 0..count {
            let Some(record) = record(&mut cursor) else { return };
            append(document, section, record);
        }
    }
}

/// Appends to a list unless the list has it already or is full.
fn append(document: &mut Value, list: &str, element: Value) {
    if document.get(list).is_none() {
        document[list] = json!([]);
    }
    if let Some(Value::Array(elements)) = document.get_mut(list)
        && elements.len() < MAX_RECORDS
        && !elements.contains(&element)
    {
        elements.push(element);
    }
}

/// Sets the flow's `DHCPv4` document from its first message (RFC 2131 §2), the message type
/// (RFC 2132 §9.6) and the leased address from each.
pub(crate) fn dhcpv4(message: &[u8], layers: &mut Map<String, Value>) {
    let text = |at: usize, len: usize| {
        let field = message.get(at..at + len).unwrap_or_default();
        let field = field.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(field).into_owned()
    };
    let [_, _, hardware_len, hops, ..] = *message else {
        return;
    };
    let mut cursor = Cursor { message, at: 4 };
    let (Some(xid), Some(secs), Some(flags)) = (cursor.u32(), cursor.u16(), cursor.u16()) else {
        return;
    };
    let document = layers.entry("DHCPv4").or_insert_with(|| {
        json!({
            "HardwareLen": hardware_len,
            "HardwareOpts": hops,
            "Xid": xid,
            "Secs": secs,
            "Flags": flags,
            "ServerName": text(44, 64),
            "File": text(108, 128),
        })
    });
    if let Some(leased) = message.get(16..20).filter(|address| **address != [0; 4]) {
        document["YourClientIP"] = json!(crate::flow::ip_from_bytes(leased).map(|ip| ip.to_string()));
    }
    if let Some(kind) = dhcp_message_type(message) {
        append(document, "MessageTypes", json!(kind));
    }
}

fn dhcp_message_type(message: &[u8]) -> Option<&'static str> {
    const NAMES: [&str; 8] = [
        "Discover", "Offer", "Request", "Decline", "Ack", "Nak", "Release", "Inform",
    ];
    let mut options = message.get(236..)?.strip_prefix(&[99, 130, 83, 99])?;
    loop {
        match *options {
            [0, ref rest @ ..] => options = rest,
            [53, 1, kind, ..] => return NAMES.get(usize::from(kind).checked_sub(1)?).copied(),
            [kind, len, ref rest @ ..] if kind != 255 => options = rest.get(usize::from(len)..)?,
            _ => return None,
        }
    }
}

/// Sets the flow's `VRRPv2` document (RFC 3768 §5.1).
pub(crate) fn vrrp(message: &[u8], layers: &mut Map<String, Value>) {
    let [version_type, id, priority, _, _, interval, ..] = *message else {
        return;
    };
    let document = json!({
        "Version": version_type >> 4,
        "VirtualRtrID": id,
        "Priority": priority,
        "AdverInt": interval,
    });
    layers.insert("VRRPv2".to_owned(), document);
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] = b"\x12\x34\x81\x80\0\x01\0\x01\0\0\0\x01\x03www\x03lab\x04test\0\0\x01\0\x01\
        \xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\x4d\x01\x01\0\0\x29\x02\0\0\0\0\0\0\x04\0\x0a\0\0";

    #[test]
    fn a_dns_answer_with_compression_and_edns() {
        let mut layers = Map::new();
        dns(ANSWER, &mut layers);
        dns(ANSWER, &mut layers);
        let document = &layers["DNS"];
        assert_eq!(document["ID"], 0x1234);
        assert_eq!(document["QR"], true);
        assert_eq!(
            document["Questions"],
            json!([{"Name": "www.lab.test", "Type": "A", "Class": "IN"}])
        );
        assert_eq!(document["Answers"][0]["IP"], "10.77.1.1");
        assert_eq!(document["Answers"].as_array().map(Vec::len), Some(1));
        assert_eq!(document["Additionals"][0]["Type"], "OPT");
    }

    #[test]
    fn a_name_that_points_at_itself_ends() {
        let mut message = ANSWER[..12].to_vec();
        message.extend([0xc0, 12, 0, 1, 0, 1]);
        let mut layers = Map::new();
        dns(&message, &mut layers);
        assert!(layers["DNS"].get("Questions").is_none());
    }

    #[test]
    fn any_prefix_is_read_as_far_as_it_goes() {
        for len in 0..ANSWER.len() {
            dns(&ANSWER[..len], &mut Map::new());
            dhcpv4(&ANSWER[..len], &mut Map::new());
            vrrp(&ANSWER[..len], &mut Map::new());
        }
    }
}
