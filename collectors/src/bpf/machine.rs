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
        VLAN_TAG => Some(frame.tag.map_or(0, |tag| tag.tci.into())),
        VLAN_TAG_PRESENT => Some(frame.tag.is_some().into()),
        VLAN_TPID => Some(frame.tag.map_or(0, |tag| tag.tpid.into())),
        _ => None,
    }
}
