//! BPF filters, compiled by libpcap.

mod kernel;
mod machine;

pub(crate) use kernel::{KernelFilter, expression};

use flowtap_flow::packet::{FilterCompiler, LinkType, PacketFilter};
use pcap::{BpfInstruction, BpfProgram, Capture, Linktype};

/// Compiles pcap-filter(7) expressions with the system's libpcap, for packets that have been captured
/// already: VLAN tags are looked for in the packet, where they lie then.
#[derive(Clone, Copy, Debug, Default)]
pub struct LibpcapCompiler;

impl LibpcapCompiler {
    /// Bytes of an expression at most: some 60 terms.
    ///
    /// libpcap's compiler takes time by the cube of the number of terms. Measured with libpcap 1.10.3,
    /// `portrange 1-2 or …` of 1,024 bytes takes 1.3 s, of 2,048 bytes 13 s, of 8,192 over ten minutes.
    pub const MAX_EXPRESSION: usize = 1 << 10;
}

impl FilterCompiler for LibpcapCompiler {
    fn compile(&self, expression: &str, link_type: LinkType) -> Result<Box<dyn PacketFilter>, String> {
        if expression.len() > Self::MAX_EXPRESSION {
            return Err(format!(
                "the filter has {} bytes, where at most {} are accepted; shorten it, for instance with net and portrange",
                expression.len(),
                Self::MAX_EXPRESSION
            ));
        }
        let capture = Capture::dead(Linktype(data_link(link_type))).map_err(message)?;
        let program = capture.compile(expression, true).map_err(message)?;
        Ok(Box::new(Program(program)))
    }
}

/// libpcap's number (`DLT_*`) for a link type of files (`LINKTYPE_*`). They differ for raw IP alone
/// among those that flowtap decodes.
fn data_link(link_type: LinkType) -> i32 {
    const DLT_RAW: i32 = 12;
    if link_type == LinkType::RAW {
        DLT_RAW
    } else {
        i32::from(link_type.0)
    }
}

/// The reverse of [`data_link`].
pub(crate) fn from_data_link(number: i32) -> LinkType {
    LinkType::from_pcap_header(u32::try_from(number).unwrap_or(u32::MAX))
}

/// Says whether `filter` is a pcap-filter(7) expression for Ethernet, as captures are created with.
///
/// # Errors
/// libpcap's own message.
pub fn check(filter: &str) -> Result<(), String> {
    LibpcapCompiler.compile(filter, LinkType::ETHERNET).map(drop)
}

/// libpcap's own words.
pub(crate) fn message(error: pcap::Error) -> String {
    match error {
        pcap::Error::PcapError(text) => text,
        pcap::Error::InvalidInputString => "the filter holds a NUL character".to_owned(),
        other => other.to_string(),
    }
}

/// A compiled filter.
struct Program(BpfProgram);

// SAFETY: a program is never changed once it is compiled, and `bpf_filter` only reads it.
#[expect(unsafe_code, reason = "the crate marks its program Send, not Sync")]
unsafe impl Sync for Program {}

#[expect(
    unsafe_code,
    reason = "the crate's own call takes no length on the wire, which `len` asks for"
)]
unsafe extern "C" {
    /// libpcap's interpreter, pcap/bpf.h: what the program returns, zero to refuse the packet.
    fn bpf_filter(program: *const BpfInstruction, packet: *const u8, len: u32, caplen: u32) -> u32;
}

impl PacketFilter for Program {
    fn matches(&self, data: &[u8], len: u32) -> bool {
        let caplen = u32::try_from(data.len()).unwrap_or(u32::MAX);
        // SAFETY: the program comes from libpcap's compiler, which ends each path with a return and
        // jumps forward only; it lives as long as `self`. `data` holds `caplen` bytes, and the
        // interpreter checks each load against that.
        #[expect(unsafe_code, reason = "see above")]
        let verdict = unsafe {
            bpf_filter(
                self.0.get_instructions().as_ptr(),
                data.as_ptr(),
                len.max(caplen),
                caplen,
            )
        };
        verdict != 0
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn compile(expression: &str) -> Result<Box<dyn PacketFilter>, String> {
        LibpcapCompiler.compile(expression, LinkType::ETHERNET)
    }

    /// An Ethernet frame with IPv4 and TCP from 10.0.0.1:1024 to 10.0.0.2:80.
    fn tcp() -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
        frame.extend([0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend([4, 0, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0]);
        frame
    }

    /// Holds expressions, one a line, for packets of `link_type` against tcpdump, which calls that `name`.
    /// Returns how many both accept, and how many both refuse.
    fn beside_tcpdump(expressions: &str, link_type: LinkType, name: &str) -> (usize, usize) {
        let (mut accepted, mut refused) = (0, 0);
        for expression in expressions.split('\n') {
            let tcpdump = Command::new("tcpdump")
                .args(["-y", name, "-d", "--", expression])
                .stdin(Stdio::null())
                .output();
            let tcpdump = tcpdump.unwrap_or_else(|error| panic!("tcpdump: {error}: apt-get install tcpdump"));
            let ours = LibpcapCompiler.compile(expression, link_type);
            assert_eq!(ours.is_ok(), tcpdump.status.success(), "{name}: {expression}");
            match ours {
                Ok(_) => accepted += 1,
                Err(text) => {
                    refused += 1;
                    let theirs = String::from_utf8_lossy(&tcpdump.stderr);
                    assert!(
                        theirs.contains(&text),
                        "{name}: {expression}: {text}, tcpdump: {theirs}"
                    );
                }
            }
        }
        (accepted, refused)
    }

    #[test]
    fn accepts_what_tcpdump_accepts() {
        let expressions = include_str!("expressions.txt");
        let (accepted, refused) = beside_tcpdump(expressions, LinkType::ETHERNET, "EN10MB");
        assert!(
            accepted > 180 && refused > 110,
            "{accepted} accepted, {refused} refused"
        );
    }

    #[test]
    fn accepts_what_tcpdump_accepts_of_packets_without_ethernet() {
        let expressions = include_str!("expressions-links.txt");
        for (link_type, name) in [
            (LinkType::RAW, "RAW"),
            (LinkType::IPV4, "IPV4"),
            (LinkType::IPV6, "IPV6"),
            (LinkType::NULL, "NULL"),
            (LinkType::LOOP, "LOOP"),
            (LinkType::LINUX_SLL, "LINUX_SLL"),
            (LinkType::LINUX_SLL2, "LINUX_SLL2"),
        ] {
            let (accepted, refused) = beside_tcpdump(expressions, link_type, name);
            assert!(
                accepted >= 20 && refused > 5,
                "{name}: {accepted} accepted, {refused} refused"
            );
        }
    }

    #[test]
    fn matches_by_content_and_by_length_on_the_wire() {
        let frame = tcp();
        let matches = |expression: &str, len: u32| compile(expression).unwrap().matches(&frame, len);
        assert!(matches("", 54) && matches("tcp dst port 80 and host 10.0.0.1", 54));
        assert!(!matches("udp", 54) && !matches("vlan", 54));
        assert!(matches("greater 1500", 1_500) && !matches("greater 1500", 54));
        assert!(
            matches("len = 54", 0),
            "a length below what was captured cannot be"
        );
        assert!(!compile("tcp dst port 80").unwrap().matches(&frame[..30], 54));
        assert!(!compile("tcp").unwrap().matches(&[], 0));
    }

    #[test]
    fn compiles_for_the_link_type() {
        let (frame, filter) = (tcp(), "tcp dst port 80");
        let ip = &frame[14..];
        let matches = |link_type: LinkType, data: &[u8]| {
            LibpcapCompiler
                .compile(filter, link_type)
                .unwrap()
                .matches(data, 0)
        };
        assert!(matches(LinkType::RAW, ip) && matches(LinkType::IPV4, ip));
        assert!(!matches(LinkType::RAW, &frame));
        assert!(matches(LinkType::NULL, &[&2u32.to_ne_bytes(), ip].concat()));
        assert!(matches(LinkType::LOOP, &[&2u32.to_be_bytes(), ip].concat()));
        let sll = [&[0u8; 14][..], &[8, 0], ip].concat();
        assert!(matches(LinkType::LINUX_SLL, &sll));
        let sll2 = [&[8u8, 0][..], &[0; 18], ip].concat();
        assert!(matches(LinkType::LINUX_SLL2, &sll2));
        let mut tagged = frame.clone();
        tagged.splice(12..12, [0x81, 0, 0, 100]);
        assert!(compile("vlan 100 and tcp").unwrap().matches(&tagged, 0));
    }

    #[test]
    fn long_expressions_are_refused_or_compiled_but_never_fatal() {
        let terms = |term: &str, bytes: usize| vec![term; bytes / (term.len() + 4)].join(" or ");
        for term in ["ip", "port 1", "host 10.0.0.1", "vlan", "portrange 1-2"] {
            let longest = terms(term, LibpcapCompiler::MAX_EXPRESSION);
            let on_a_small_stack = std::thread::Builder::new().stack_size(1 << 20);
            let compiled = on_a_small_stack.spawn(move || compile(&longest).is_ok()).unwrap();
            compiled.join().unwrap();
        }
        for nested in ["(", "not ", "-", "ip["] {
            let _ = compile(&nested.repeat(LibpcapCompiler::MAX_EXPRESSION / nested.len()));
        }
        let text = compile(&terms("ip", 1_200)).err().unwrap();
        assert!(text.contains("where at most 1024 are accepted"), "{text}");
        assert_eq!(
            compile("tcp\0").err().unwrap(),
            "the filter holds a NUL character"
        );
    }
}
