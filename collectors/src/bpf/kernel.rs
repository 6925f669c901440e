//! Filters as the kernel runs them at a socket.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use flowtap_flow::packet::{FilterCompiler as _, LinkType};
use pcap::{Active, BpfInstruction, BpfProgram, Capture, Linktype};
use socket2::SockFilter;

use super::machine::{self, Instruction, is_load_from_beside, is_return, run};
use super::{LibpcapCompiler, data_link, message};
use crate::packet_socket::Frame;

/// Instructions that the kernel takes (`BPF_MAXINSNS`).
const MAX_INSTRUCTIONS: usize = 4_096;

/// The longest packet that passes whole: longer than any that Linux makes.
const WHOLE: u32 = 1 << 19;

/// A compiled filter that says of each packet how many bytes of it pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KernelFilter(Vec<Instruction>);

impl KernelFilter {
    /// What a capture wants: packets that match `filter`, none from or to `exclude`, cut to `snaplen`
    /// bytes unless that is 0. `None` if that is every packet, whole.
    ///
    /// A filter that speaks of VLANs is compiled as for a live capture, because the kernel takes tags
    /// off packets before the filter sees them.
    ///
    /// # Errors
    /// libpcap's message.
    pub(crate) fn compile(
        filter: Option<&str>,
        exclude: &[SocketAddr],
        link_type: LinkType,
        snaplen: u32,
    ) -> Result<Option<Self>, String> {
        let expression = expression(filter, exclude, link_type)?;
        let program = match expression {
            None if snaplen == 0 => return Ok(None),
            None => vec![Instruction::returning(snaplen)],
            Some(expression) if expression.contains("vlan") && link_type == LinkType::ETHERNET => {
                instructions(&compile(&live()?, &expression)?)
            }
            Some(expression) => {
                let handle = Capture::dead(Linktype(data_link(link_type))).map_err(message)?;
                instructions(&compile(&handle, &expression)?)
            }
        };
        Ok(Some(Self(program).cut_to(snaplen)))
    }

    /// From a program that libpcap compiled.
    pub(crate) fn from_program(program: &BpfProgram) -> Self {
        Self(instructions(program))
    }

    /// One that lets packets pass of interfaces whose index is above `index`.
    pub(crate) fn newer_than(index: u32) -> Self {
        let load = Instruction {
            code: 0x20,
            jt: 0,
            jf: 0,
            k: machine::INTERFACE,
        };
        let above = Instruction {
            code: 0x25,
            jt: 0,
            jf: 1,
            k: index,
        };
        Self(vec![
            load,
            above,
            Instruction::returning(WHOLE),
            Instruction::returning(0),
        ])
    }

    /// One that refuses everything.
    pub(crate) fn nothing() -> Self {
        Self(vec![Instruction::returning(0)])
    }

    fn cut_to(&self, snaplen: u32) -> Self {
        let passing = if snaplen == 0 { WHOLE } else { snaplen };
        self.with_returns(|k| if k == 0 { 0 } else { passing })
    }

    fn with_returns(&self, change: impl Fn(u32) -> u32) -> Self {
        let change = |instruction: &Instruction| {
            if is_return(instruction) {
                Instruction::returning(change(instruction.k))
            } else {
                *instruction
            }
        };
        Self(self.0.iter().map(change).collect())
    }

    /// Whether it asks for more than stands in a packet and its VLAN tag, as `inbound` does: nobody but the
    /// kernel can run it then.
    pub(crate) fn is_for_the_kernel_alone(&self) -> bool {
        self.0.iter().any(is_load_from_beside)
    }

    /// The program for a socket; `None` if the kernel would not take it: it is too long, or jumps back,
    /// as those of `protochain` do.
    pub(crate) fn for_socket(&self) -> Option<Vec<SockFilter>> {
        let jumps_back = |i: &Instruction| i.is_jump() && i.k > i32::MAX.cast_unsigned();
        if self.0.len() > MAX_INSTRUCTIONS || self.0.iter().any(jumps_back) {
            return None;
        }
        let instruction = |i: &Instruction| SockFilter::new(i.code, i.jt, i.jf, i.k);
        Some(self.0.iter().map(instruction).collect())
    }

    /// How many bytes of a packet pass, 0 if it is refused.
    pub(crate) fn run(&self, frame: &Frame<'_>) -> u32 {
        run(&self.0, frame)
    }
}

impl Instruction {
    fn returning(k: u32) -> Self {
        Self {
            code: 6,
            jt: 0,
            jf: 0,
            k,
        }
    }

    fn is_jump(&self) -> bool {
        self.code == 5
    }
}

/// Both conditions in one. Flowtap's own traffic comes first: the word `vlan` changes what the words
/// after it look at.
pub(crate) fn expression(
    filter: Option<&str>,
    exclude: &[SocketAddr],
    link_type: LinkType,
) -> Result<Option<String>, String> {
    let filter = filter.map(str::trim).filter(|filter| !filter.is_empty());
    if let Some(filter) = filter {
        // Alone, or `a) or (b` would pass between our parentheses.
        LibpcapCompiler.compile(filter, link_type)?;
    }
    let expression = all_but(exclude);
    Ok(match filter {
        None if expression.is_empty() => None,
        None => Some(expression),
        Some(filter) if expression.is_empty() => Some(filter.to_owned()),
        Some(filter) => Some(format!("{expression} and ({filter})")),
    })
}

/// Everything that is not from or to one of `addresses`; empty for none. Ports come first where there are
/// several addresses: few packets have them.
fn all_but(addresses: &[SocketAddr]) -> String {
    let ports: BTreeSet<u16> = addresses.iter().map(SocketAddr::port).collect();
    let conditions = ports.into_iter().map(|port| {
        let hosts = addresses.iter().filter(|address| address.port() == port);
        let hosts: Vec<String> = hosts.map(|address| format!("host {}", address.ip())).collect();
        format!("not (port {port} and ({}))", hosts.join(" or "))
    });
    conditions.collect::<Vec<_>>().join(" and ")
}

/// A live handle, which compiles for tags that the kernel has taken off. Nothing is read from it.
fn live() -> Result<Capture<Active>, String> {
    let open = || {
        Capture::from_device("lo")?
            .snaplen(64)
            .buffer_size(1 << 16)
            .open()
    };
    open().map_err(|error| {
        format!(
            "filters with vlan are compiled at the loopback interface, which failed ({}); try `ip link set lo up`",
            message(error)
        )
    })
}

fn compile<T: pcap::Activated + ?Sized>(handle: &Capture<T>, expression: &str) -> Result<BpfProgram, String> {
    handle.compile(expression, true).map_err(message)
}

fn instructions(program: &BpfProgram) -> Vec<Instruction> {
    let foreign: &[BpfInstruction] = program.get_instructions();
    // SAFETY: BpfInstruction is a transparent wrapper of libpcap's struct bpf_insn, whose fields
    // (pcap/bpf.h) are those of Instruction in the same order and C layout.
    #[expect(unsafe_code, reason = "the crate keeps the fields to itself")]
    let own = unsafe { std::slice::from_raw_parts(foreign.as_ptr().cast::<Instruction>(), foreign.len()) };
    own.to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(filter: &str, exclude: &[&str], snaplen: u32) -> Result<Option<KernelFilter>, String> {
        let exclude: Vec<SocketAddr> = exclude.iter().map(|text| text.parse().unwrap()).collect();
        KernelFilter::compile(Some(filter), &exclude, LinkType::ETHERNET, snaplen)
    }

    #[test]
    fn nothing_to_refuse_and_nothing_to_cut_is_no_filter() {
        assert_eq!(compile(" ", &[], 0), Ok(None));
        let cut = compile("", &[], 96).unwrap().unwrap();
        assert_eq!(cut.0, [Instruction::returning(96)]);
    }

    #[test]
    fn own_traffic_comes_first_and_no_word_dangles() {
        let both = expression(
            Some("vlan 7 or tcp"),
            &["10.0.0.1:8082".parse().unwrap(), "[::1]:53".parse().unwrap()],
            LinkType::ETHERNET,
        );
        assert_eq!(
            both.unwrap().unwrap(),
            "not (port 53 and (host ::1)) and not (port 8082 and (host 10.0.0.1)) and (vlan 7 or tcp)"
        );
        let alone = expression(None, &["10.0.0.1:8082".parse().unwrap()], LinkType::ETHERNET);
        assert_eq!(alone.unwrap().unwrap(), "not (port 8082 and (host 10.0.0.1))");
        let several = ["10.0.0.1:8082", "10.0.0.2:8082", "[::1]:8082"].map(|text| text.parse().unwrap());
        assert_eq!(
            expression(None, &several, LinkType::ETHERNET).unwrap().unwrap(),
            "not (port 8082 and (host 10.0.0.1 or host 10.0.0.2 or host ::1))"
        );
        assert!(
            compile("", &["10.0.0.1:8082", "10.0.0.2:8082"], 0)
                .unwrap()
                .is_some()
        );
        assert!(compile("tcp) or (udp", &["10.0.0.1:8082"], 0).is_err());
    }

    #[test]
    fn returns_say_how_much_passes() {
        for (snaplen, passing) in [(0, WHOLE), (64, 64), (9_000, 9_000)] {
            let filter = compile("tcp or arp", &[], snaplen).unwrap().unwrap();
            let returns = filter.0.iter().filter(|instruction| is_return(instruction));
            let mut returns: Vec<_> = returns.map(|instruction| instruction.k).collect();
            returns.sort_unstable();
            assert_eq!(returns, [0, passing]);
        }
    }

    #[test]
    fn directions_are_for_the_kernel_alone() {
        let is_for_the_kernel_alone = |filter| {
            let filter = compile(filter, &[], 0).unwrap().unwrap();
            filter.is_for_the_kernel_alone()
        };
        for filter in ["inbound", "outbound and tcp", "vlan 7 and inbound"] {
            assert!(is_for_the_kernel_alone(filter), "{filter}");
        }
        for filter in ["tcp", "vlan 7 and ip", "ether[0] & 1 = 1", "len > 60"] {
            assert!(!is_for_the_kernel_alone(filter), "{filter}");
        }
    }

    #[test]
    fn newer_interfaces_have_higher_indices() {
        let newer = KernelFilter::newer_than(7);
        for (index, passes) in [(1, false), (7, false), (8, true), (u32::MAX, true)] {
            let frame = Frame {
                timestamp: flowtap_flow::timestamp::Timestamp::ZERO,
                len: 60,
                tag: None,
                direction: libc::PACKET_HOST,
                protocol: 0x0800,
                index,
                data: &[0; 60],
            };
            assert_eq!(newer.run(&frame) > 0, passes, "{index}");
        }
    }

    #[test]
    fn loops_are_not_for_the_kernel() {
        assert!(compile("tcp", &[], 0).unwrap().unwrap().for_socket().is_some());
        let walks = compile("ip6 protochain 6", &[], 0).unwrap().unwrap();
        assert!(walks.for_socket().is_none());
    }
}
