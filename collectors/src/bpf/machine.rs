//! Runs a classic BPF program over a packet as the kernel does, tag and direction included.
//!
//! The kernel takes the outer VLAN tag off a packet before a filter sees it, and programs ask for it
//! beside the packet. Packets that were queued before a filter was known are filtered here, and must
//! pass exactly if the kernel would have let them pass.

use crate::packet_socket::Frame;

/// One instruction, `struct sock_filter` of `linux/filter.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Instruction {
    /// Class, size, mode, operation.
    pub(crate) code: u16,
    /// Instructions to skip if true.
    pub(crate) jt: u8,
    /// Instructions to skip if false.
    pub(crate) jf: u8,
    /// The operand.
    pub(crate) k: u32,
}

/// Classes, sizes, modes and operations of `linux/bpf_common.h`, as parts of a code.
mod code {
    pub(super) const CLASS: u16 = 0x07;
    pub(super) const LD: u16 = 0x00;
    pub(super) const LDX: u16 = 0x01;
    pub(super) const ST: u16 = 0x02;
    pub(super) const STX: u16 = 0x03;
    pub(super) const ALU: u16 = 0x04;
    pub(super) const JMP: u16 = 0x05;
    pub(super) const RET: u16 = 0x06;

    pub(super) const SIZE: u16 = 0x18;
    pub(super) const HALF: u16 = 0x08;
    pub(super) const BYTE: u16 = 0x10;

    pub(super) const MODE: u16 = 0xe0;
    pub(super) const IMM: u16 = 0x00;
    pub(super) const ABS: u16 = 0x20;
    pub(super) const IND: u16 = 0x40;
    pub(super) const MEM: u16 = 0x60;
    pub(super) const LEN: u16 = 0x80;
    pub(super) const MSH: u16 = 0xa0;

    pub(super) const OPERATION: u16 = 0xf0;
    /// The operand is X, not K.
    pub(super) const X: u16 = 0x08;
    /// A return gives A, not K.
    pub(super) const RETURN_A: u16 = 0x10;
    /// X to A, not A to X.
    pub(super) const TXA: u16 = 0x80;
}

/// Loads from here on ask for what stands beside the packet (`SKF_AD_OFF`).
const BESIDE: u32 = 0xffff_f000;
const PROTOCOL: u32 = BESIDE;
const PACKET_TYPE: u32 = BESIDE + 4;
/// Of the packet's interface, its index.
pub(super) const INTERFACE: u32 = BESIDE + 8;
const VLAN_TAG: u32 = BESIDE + 44;
const VLAN_TAG_PRESENT: u32 = BESIDE + 48;
const VLAN_TPID: u32 = BESIDE + 60;

/// Words of scratch memory (`BPF_MEMWORDS`).
const WORDS: usize = 16;

/// Programs jump forward only, but for `protochain`, which walks along the headers of a packet: no
/// packet has so many.
const MAX_STEPS: usize = 1 << 16;

/// True for instructions that end a program with a constant.
pub(crate) fn is_return(instruction: &Instruction) -> bool {
    instruction.code == code::RET
}

/// True for loads of what stands beside the packet and is no VLAN tag: direction, interface, protocol.
pub(crate) fn is_load_from_beside(instruction: &Instruction) -> bool {
    let is_absolute = instruction.code & (code::CLASS | code::MODE) == code::LD | code::ABS;
    is_absolute && instruction.k >= BESIDE && ![VLAN_TAG, VLAN_TAG_PRESENT].contains(&instruction.k)
}

/// What the program returns for the packet: how many bytes of it pass, 0 if it is refused, as it is
/// when the program loads from beyond the packet's end.
pub(crate) fn run(program: &[Instruction], frame: &Frame<'_>) -> u32 {
    Machine::default().run(program, frame).unwrap_or(0)
}

#[derive(Default)]
struct Machine {
    a: u32,
    x: u32,
    memory: [u32; WORDS],
}

impl Machine {
    fn run(&mut self, program: &[Instruction], frame: &Frame<'_>) -> Option<u32> {
        let mut next = 0usize;
        for _ in 0..MAX_STEPS {
            let instruction = program.get(next)?;
            next += 1;
            let Instruction { code, jt, jf, k } = *instruction;
            match code & code::CLASS {
                code::LD => self.a = self.load(code, k, frame)?,
                code::LDX => self.x = self.load_x(code, k, frame)?,
                code::ST => *self.memory.get_mut(k as usize)? = self.a,
                code::STX => *self.memory.get_mut(k as usize)? = self.x,
                code::ALU => self.a = self.compute(code, k)?,
                code::JMP if code & code::OPERATION == 0 => {
                    // A sign, for `protochain` jumps back.
                    next = next.checked_add_signed(k.cast_signed() as isize)?;
                }
                code::JMP => next += usize::from(if self.holds(code, k)? { jt } else { jf }),
                code::RET if code & code::SIZE == code::RETURN_A => return Some(self.a),
                code::RET => return Some(k),
                _ if code & code::TXA != 0 => self.a = self.x,
                _ => self.x = self.a,
            }
        }
        None
    }

    fn load(&self, code: u16, k: u32, frame: &Frame<'_>) -> Option<u32> {
        match code & code::MODE {
            code::IMM => Some(k),
            code::MEM => self.memory.get(k as usize).copied(),
            code::LEN => Some(frame.len),
            code::ABS if k >= BESIDE => beside(k, frame),
            code::ABS => bytes(frame.data, k, code),
            code::IND => bytes(frame.data, self.x.checked_add(k)?, code),
            _ => None,
        }
    }

    fn load_x(&self, code: u16, k: u32, frame: &Frame<'_>) -> Option<u32> {
        match code & code::MODE {
            code::IMM => Some(k),
            code::MEM => self.memory.get(k as usize).copied(),
            code::LEN => Some(frame.len),
            // The length of an IPv4 header.
            code::MSH => bytes(frame.data, k, code::BYTE).map(|first| (first & 0xf) << 2),
            _ => None,
        }
    }

    fn compute(&self, code: u16, k: u32) -> Option<u32> {
        let operand = if code & code::X == 0 { k } else { self.x };
        match (code & code::OPERATION) >> 4 {
            0 => Some(self.a.wrapping_add(operand)),
            1 => Some(self.a.wrapping_sub(operand)),
            2 => Some(self.a.wrapping_mul(operand)),
            3 => self.a.checked_div(operand),
            4 => Some(self.a | operand),
            5 => Some(self.a & operand),
            6 => Some(self.a.checked_shl(operand).unwrap_or(0)),
            7 => Some(self.a.checked_shr(operand).unwrap_or(0)),
            8 => Some(self.a.wrapping_neg()),
            9 => self.a.checked_rem(operand),
            10 => Some(self.a ^ operand),
            _ => None,
        }
    }

    fn holds(&self, code: u16, k: u32) -> Option<bool> {
        let operand = if code & code::X == 0 { k } else { self.x };
        match (code & code::OPERATION) >> 4 {
            1 => Some(self.a == operand),
            2 => Some(self.a > operand),
            3 => Some(self.a >= operand),
            4 => Some(self.a & operand != 0),
            _ => None,
        }
    }
}

fn bytes(data: &[u8], offset: u32, code: u16) -> Option<u32> {
    let rest = data.get(offset as usize..)?;
    match code & code::SIZE {
        code::BYTE => rest.first().map(|byte| u32::from(*byte)),
        code::HALF => rest.first_chunk().map(|half| u16::from_be_bytes(*half).into()),
        _ => rest.first_chunk().map(|word| u32::from_be_bytes(*word)),
    }
}

fn beside(offset: u32, frame: &Frame<'_>) -> Option<u32> {
    match offset {
        PROTOCOL => Some(frame.protocol.into()),
        PACKET_TYPE => Some(frame.direction.into()),
        INTERFACE => Some(frame.index),
        VLAN_TAG => Some(frame.tag.map_or(0, |tag| tag.tci.into())),
        VLAN_TAG_PRESENT => Some(frame.tag.is_some().into()),
        VLAN_TPID => Some(frame.tag.map_or(0, |tag| tag.tpid.into())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use flowtap_flow::packet::{FilterCompiler as _, LinkType};
    use proptest::prelude::*;

    use super::super::{KernelFilter, LibpcapCompiler};
    use super::*;
    use crate::packet_socket::Tag;

    fn plain(data: &[u8], len: u32) -> Frame<'_> {
        Frame {
            timestamp: flowtap_flow::timestamp::Timestamp::ZERO,
            len,
            tag: None,
            direction: libc::PACKET_HOST,
            protocol: 0x0800,
            index: 2,
            data,
        }
    }

    /// Packets that filters find something in: Ethernet with a type, an address and a port of those that
    /// the expressions name.
    fn packets() -> impl Strategy<Value = Vec<u8>> {
        let kinds = prop_oneof![
            Just(0x0800u16),
            Just(0x86dd),
            Just(0x8100),
            Just(0x0806),
            any::<u16>()
        ];
        let protocols = prop_oneof![Just(6u8), Just(17), Just(1), Just(58), any::<u8>()];
        let ports = prop_oneof![Just(53u16), Just(80), Just(443), any::<u16>()];
        let rest = proptest::collection::vec(any::<u8>(), 0..90);
        (kinds, protocols, ports, rest, any::<bool>()).prop_map(|(kind, protocol, port, rest, known)| {
            let mut packet = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
            packet.extend(kind.to_be_bytes());
            packet.extend(rest);
            let mut put = |at: usize, bytes: &[u8]| {
                if let Some(place) = packet.get_mut(at..at + bytes.len()) {
                    place.copy_from_slice(bytes);
                }
            };
            if known {
                put(14, &[0x45, 0]);
                put(20, &[0, 0]);
                put(23, &[protocol]);
                put(26, &[10, 0, 0, 1]);
                put(36, &port.to_be_bytes());
            }
            packet
        })
    }

    /// Those that `tcpdump -d` accepts, of the list that the compiler is tested with.
    fn programs() -> Vec<(&'static str, KernelFilter)> {
        let expressions = include_str!("expressions.txt").split('\n');
        // What stands beside the packet is not known to libpcap's own interpreter.
        let expressions = expressions.filter(|text| !text.contains("vlan") && !text.contains("bound"));
        expressions
            .filter_map(|text| {
                let filter = KernelFilter::compile(Some(text), &[], LinkType::ETHERNET, 0);
                Some((text, filter.ok()??))
            })
            .collect()
    }

    #[test]
    fn it_decides_as_libpcap_does() {
        let programs = programs();
        assert!(programs.len() > 80, "{} programs", programs.len());
        let filters: Vec<_> = programs
            .iter()
            .map(|(text, own)| {
                (
                    text,
                    own,
                    LibpcapCompiler.compile(text, LinkType::ETHERNET).unwrap(),
                )
            })
            .collect();
        let passed = std::cell::Cell::new(0);
        proptest!(|(packet in packets(), more in 0u32..2_000)| {
            let len = u32::try_from(packet.len()).unwrap() + more;
            for (text, own, theirs) in &filters {
                let passes = own.run(&plain(&packet, len)) != 0;
                passed.set(passed.get() + u32::from(passes));
                prop_assert_eq!(passes, theirs.matches(&packet, len), "{}", text);
            }
        });
        assert!(passed.get() > 1_000, "{} packets passed", passed.get());
    }

    #[test]
    fn tags_and_directions_stand_beside_the_packet() {
        // ld vlan_present; jeq #1; ld vlan_tci; and #0xfff; jeq #100; ld type; jeq #0; ret #7; ret #0.
        let load = |k| Instruction {
            code: 0x20,
            jt: 0,
            jf: 0,
            k,
        };
        let jump = |k, jf| Instruction {
            code: 0x15,
            jt: 0,
            jf,
            k,
        };
        let program = [
            load(VLAN_TAG_PRESENT),
            jump(1, 6),
            load(VLAN_TAG),
            Instruction {
                code: 0x54,
                jt: 0,
                jf: 0,
                k: 0xfff,
            },
            jump(100, 3),
            load(PACKET_TYPE),
            jump(0, 1),
            Instruction {
                code: 6,
                jt: 0,
                jf: 0,
                k: 7,
            },
            Instruction {
                code: 6,
                jt: 0,
                jf: 0,
                k: 0,
            },
        ];
        let mut frame = plain(&[0; 60], 60);
        assert_eq!(run(&program, &frame), 0);
        frame.tag = Some(Tag {
            tpid: 0x8100,
            tci: 0x2064,
        });
        assert_eq!(run(&program, &frame), 7);
        frame.direction = libc::PACKET_OUTGOING;
        assert_eq!(run(&program, &frame), 0);
    }

    proptest! {
        #[test]
        fn no_program_is_fatal(
            codes in proptest::collection::vec((any::<u16>(), any::<u8>(), any::<u8>(), any::<u32>()), 0..20),
            packet in packets(),
        ) {
            let program: Vec<_> = codes
                .into_iter()
                .map(|(code, jt, jf, k)| Instruction { code: code & 0xff, jt, jf, k })
                .collect();
            let _verdict = run(&program, &plain(&packet, 60));
        }
    }
}
