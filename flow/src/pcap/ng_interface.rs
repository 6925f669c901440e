//! pcapng interface descriptions: link type, snaplen and the unit of time.

use super::format::Endian;
use crate::packet::LinkType;
use crate::timestamp::Timestamp;

const OPT_END: u16 = 0;
const IF_TSRESOL: u16 = 9;
const IF_TSOFFSET: u16 = 14;

/// What packets of one interface have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) link_type: LinkType,
    /// The most bytes captured of a packet; `u32::MAX` for no limit.
    pub(super) snaplen: u32,
    pub(super) clock: Clock,
}

impl Interface {
    /// Reads the body of an interface description block; `None` if it is too short. Options that
    /// make no sense end the list of options, as a reader that cannot find the next one must.
    pub(super) fn parse(body: &[u8], endian: Endian) -> Option<Self> {
        let (fixed, mut options) = body.split_at_checked(8)?;
        let snaplen = match endian.u32(fixed, 4) {
            0 => u32::MAX,
            snaplen => snaplen,
        };
        let mut clock = Clock::default();
        while let Some((head, rest)) = options.split_at_checked(4) {
            let (code, len) = (endian.u16(head, 0), usize::from(endian.u16(head, 2)));
            let Some(value) = rest.get(..len) else { break };
            match (code, value) {
                (OPT_END, _) => break,
                (IF_TSRESOL, [resolution, ..]) => clock.scale = Scale::from_option(*resolution),
                (IF_TSOFFSET, value) if len == 8 => {
                    let (high, low) = match endian {
                        Endian::Big => (endian.u32(value, 0), endian.u32(value, 4)),
                        Endian::Little => (endian.u32(value, 4), endian.u32(value, 0)),
                    };
                    let seconds = (u64::from(high) << 32 | u64::from(low)).cast_signed();
                    clock.offset_nanos = seconds.saturating_mul(1_000_000_000);
                }
                _ => {}
            }
            options = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        }
        let link_type = LinkType::from_pcap_header(u32::from(endian.u16(fixed, 0)));
        Some(Self {
            link_type,
            snaplen,
            clock,
        })
    }
}

/// How an interface counts time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clock {
    scale: Scale,
    offset_nanos: i64,
}

impl Default for Clock {
    /// Microseconds since the epoch.
    fn default() -> Self {
        Self {
            scale: Scale::Multiply(1_000),
            offset_nanos: 0,
        }
    }
}

impl Clock {
    /// The instant of `ticks` since the epoch; saturates outside the years 1678 to 2262.
    #[inline]
    pub(super) fn timestamp(&self, ticks: u64) -> Timestamp {
        let nanos = match self.scale {
            Scale::Multiply(nanos) => ticks.saturating_mul(nanos),
            Scale::Divide(per_nano) => ticks / per_nano,
            Scale::Shift(bits) => {
                u64::try_from((u128::from(ticks) * 1_000_000_000) >> bits).unwrap_or(u64::MAX)
            }
        };
        let nanos = i64::try_from(nanos).unwrap_or(i64::MAX);
        Timestamp::from_nanos(nanos.saturating_add(self.offset_nanos))
    }
}

/// Ticks to nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scale {
    Multiply(u64),
    Divide(u64),
    /// Ticks of 2^-n seconds.
    Shift(u32),
}

impl Scale {
    /// `if_tsresol`: a negative power of 10 or, with the top bit set, of 2.
    fn from_option(resolution: u8) -> Self {
        let exponent = u32::from(resolution & 0x7f);
        if resolution & 0x80 != 0 {
            Self::Shift(exponent)
        } else if exponent <= 9 {
            Self::Multiply(10u64.pow(9 - exponent))
        } else {
            Self::Divide(10u64.checked_pow(exponent - 9).unwrap_or(u64::MAX))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(option: u8, offset_seconds: i64) -> Clock {
        Clock {
            scale: Scale::from_option(option),
            offset_nanos: offset_seconds * 1_000_000_000,
        }
    }

    #[test]
    fn every_unit_of_time() {
        let at = |clock: Clock, ticks| clock.timestamp(ticks).nanos();
        assert_eq!(at(Clock::default(), 1_500_000), 1_500_000_000);
        assert_eq!(at(clock(0, 0), 3), 3_000_000_000);
        assert_eq!(at(clock(9, 0), 7), 7);
        assert_eq!(at(clock(12, 0), 7_999), 7);
        assert_eq!(at(clock(127, 0), u64::MAX), 1);
        assert_eq!(at(clock(0x80 | 10, 0), 1024 + 512), 1_500_000_000);
        assert_eq!(at(clock(0x80 | 127, 0), u64::MAX), 0);
        assert_eq!(at(clock(6, -1), 1_500_000), 500_000_000);
        assert_eq!(at(clock(0, 0), u64::MAX), i64::MAX);
    }

    #[test]
    fn options_without_end_mark_and_with_nonsense() {
        let mut body = vec![101, 0, 0xff, 0xff, 0, 0, 0, 0];
        body.extend([9, 0, 1, 0, 9, 0, 0, 0]);
        body.extend([2, 0, 200, 0, b'e']);
        let interface = Interface::parse(&body, Endian::Little).unwrap();
        assert_eq!(interface.link_type, LinkType::RAW);
        assert_eq!(interface.snaplen, u32::MAX);
        assert_eq!(interface.clock, clock(9, 0));
        assert_eq!(Interface::parse(&body[..7], Endian::Little), None);
    }
}
