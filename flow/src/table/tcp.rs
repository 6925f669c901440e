//! TCP details of one flow: who opened and closed when, and what came out of order.

use crate::decode::TcpSegment;
use crate::flow::TcpMetric;

/// Segments that may wait for a hole to be filled, per direction; then the hole counts as skipped.
const MAX_WAITING: usize = 64;

/// Follows one direction's sequence numbers.
#[derive(Debug, Default)]
struct Direction {
    next: Option<u32>,
    /// Begin and length of segments that came before their turn.
    waiting: Vec<(u32, u32)>,
    out_of_order: i64,
    skipped: i64,
    skipped_bytes: i64,
    packets: i64,
    bytes: i64,
    saw_start: i64,
    saw_end: i64,
}

/// True if sequence number `a` lies before `b` (RFC 9293 §3.4, modulo 2³²).
fn before(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) & 0x8000_0000 != 0
}

impl Direction {
    fn segment(&mut self, segment: &TcpSegment) {
        let (syn, fin) = (segment.has(TcpSegment::SYN), segment.has(TcpSegment::FIN));
        let len = segment.payload_len + u32::from(syn) + u32::from(fin);
        if len == 0 {
            return;
        }
        self.saw_start += i64::from(syn);
        self.saw_end += i64::from(fin);
        let next = *self.next.get_or_insert(segment.sequence);
        let end = segment.sequence.wrapping_add(len);
        if before(next, segment.sequence) {
            self.count(segment);
            self.out_of_order += 1;
            self.waiting.push((segment.sequence, len));
            if self.waiting.len() > MAX_WAITING {
                self.skip();
            }
        } else if before(next, end) {
            self.count(segment);
            self.next = Some(end);
        }
        self.catch_up();
    }

    fn count(&mut self, segment: &TcpSegment) {
        self.packets += 1;
        self.bytes += i64::from(segment.payload_len);
    }

    fn catch_up(&mut self) {
        while let Some(next) = self.next {
            let Some(at) = self.waiting.iter().position(|(begin, _)| !before(next, *begin)) else {
                return;
            };
            let (begin, len) = self.waiting.swap_remove(at);
            let end = begin.wrapping_add(len);
            if before(next, end) {
                self.next = Some(end);
            }
        }
    }

    /// Gives a hole up: goes on with the earliest segment that waits.
    fn skip(&mut self) {
        let Some(next) = self.next else { return };
        let distance = |(begin, _): &&(u32, u32)| begin.wrapping_sub(next);
        if let Some((begin, _)) = self.waiting.iter().min_by_key(distance).copied() {
            self.skipped += 1;
            self.skipped_bytes += i64::from(begin.wrapping_sub(next));
            self.next = Some(begin);
        }
    }
}

/// What `ExtraTCPMetric` and `ReassembleTCP` ask for.
#[derive(Debug, Default)]
pub(super) struct TcpTracker {
    handshake: TcpMetric,
    streams: Option<Box<[Direction; 2]>>,
}

impl TcpTracker {
    pub(super) fn new(reassemble: bool) -> Self {
        Self {
            handshake: TcpMetric::default(),
            streams: reassemble.then(Box::default),
        }
    }

    pub(super) fn segment(&mut self, segment: &TcpSegment, ttl: u8, ab: bool, at: i64) {
        let at_millis = at.div_euclid(1_000_000);
        let metric = &mut self.handshake;
        if segment.has(TcpSegment::SYN) {
            let (start, syn_ttl) = if ab {
                (&mut metric.ab_syn_start, &mut metric.ab_syn_ttl)
            } else {
                (&mut metric.ba_syn_start, &mut metric.ba_syn_ttl)
            };
            first(start, at_millis);
            first(syn_ttl, i64::from(ttl));
        }
        if segment.has(TcpSegment::FIN) {
            first(
                if ab {
                    &mut metric.ab_fin_start
                } else {
                    &mut metric.ba_fin_start
                },
                at_millis,
            );
        }
        if segment.has(TcpSegment::RST) {
            first(
                if ab {
                    &mut metric.ab_rst_start
                } else {
                    &mut metric.ba_rst_start
                },
                at_millis,
            );
        }
        if let Some(streams) = &mut self.streams {
            streams[usize::from(!ab)].segment(segment);
        }
    }

    pub(super) fn metric(&self) -> TcpMetric {
        let Some([ab, ba]) = self.streams.as_deref() else {
            return self.handshake;
        };
        TcpMetric {
            ab_segment_out_of_order: ab.out_of_order,
            ab_segment_skipped: ab.skipped,
            ab_segment_skipped_bytes: ab.skipped_bytes,
            ab_packets: ab.packets,
            ab_bytes: ab.bytes,
            ab_saw_start: ab.saw_start,
            ab_saw_end: ab.saw_end,
            ba_segment_out_of_order: ba.out_of_order,
            ba_segment_skipped: ba.skipped,
            ba_segment_skipped_bytes: ba.skipped_bytes,
            ba_packets: ba.packets,
            ba_bytes: ba.bytes,
            ba_saw_start: ba.saw_start,
            ba_saw_end: ba.saw_end,
            ..self.handshake
        }
    }
}

fn first(field: &mut i64, value: i64) {
    if *field == 0 {
        *field = value;
    }
}
