//! Filters as the kernel runs them at a socket.

use std::fmt::Write as _;
use std::net::SocketAddr;

use flowtap_flow::packet::{FilterCompiler as _, LinkType};
use pcap::{Active, BpfInstruction, BpfProgram, Capture, Linktype};
use socket2::SockFilter;

use super::machine::{Instruction, is_return, run};
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
    let mut expression = String::new();
    for address in exclude {
        let and = if expression.is_empty() { "" } else { " and " };
        // A string takes all that is written to it.
        let _ = write!(
            expression,
            "{and}not (host {} and port {})",
            address.ip(),
            address.port()
        );
    }
    Ok(match filter {
        None if expression.is_empty() => None,
        None => Some(expression),
        Some(filter) if expression.is_empty() => Some(filter.to_owned()),
        Some(filter) => Some(format!("{expression} and ({filter})")),
    })
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
