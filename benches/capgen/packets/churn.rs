//! Nothing but new flows.

use flowtap_flow::packet::{LinkType, Packet};

use super::{BEGIN, Frame, STEP, Segment, endpoints};

/// How many flows later the answer comes: by then a flow has left the processor's nearest cache.
const ANSWER_AFTER: u32 = 1_000;

/// Hands `packets` packets to `emit`: half as many TCP connections, each a SYN and, a thousand
/// connections later, the RST that refuses it.
pub(crate) fn churn(packets: u32, mut emit: impl FnMut(&Packet<'_>)) {
    let mut frame = Frame::default();
    let mut number = 0;
    let mut emit_next = |bytes: &[u8]| {
        emit(&Packet::new(
            BEGIN.plus(STEP * number),
            bytes.len() as u32,
            LinkType::ETHERNET,
            bytes,
        ));
        number += 1;
    };
    let flows = packets / 2;
    for turn in 0..flows + ANSWER_AFTER {
        if turn < flows {
            let (client, server) = endpoints(turn);
            let syn = Segment {
                sequence: turn,
                flags: Segment::SYN,
                ..Segment::default()
            };
            emit_next(frame.tcp(&client, &server, &syn));
        }
        if let Some(flow) = turn.checked_sub(ANSWER_AFTER) {
            let (client, server) = endpoints(flow);
            let flags = Segment::RST | Segment::ACK;
            let refusal = Segment {
                acknowledged: flow + 1,
                flags,
                ..Segment::default()
            };
            emit_next(frame.tcp(&server, &client, &refusal));
        }
    }
}
