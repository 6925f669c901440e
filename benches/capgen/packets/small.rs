//! The smallest packets, over many flows.

use flowtap_flow::packet::{LinkType, Packet};

use super::{BEGIN, Endpoint, Frame, Random, STEP, Zipf};

/// Bytes of each datagram: with its headers, a frame of 64.
const PAYLOAD: [u8; 22] = [0; 22];

/// The two ends of flow number `flow`: spread over addresses and ports so that neither numbers nor
/// addresses come in the order of the flows, and two flows never are the same.
///
/// Ports lie between 10,000 and 42,767: no tunnel's, and not DNS, at each packet of which some peers end
/// a flow.
pub(crate) fn endpoints(flow: u32) -> (Endpoint, Endpoint) {
    // An odd factor permutes all 32-bit numbers.
    let mixed = flow.wrapping_mul(0x9e37_79b1);
    let [a, b, c, d] = mixed.to_be_bytes();
    let port = |number: u32| 10_000 + (number & 0x7fff) as u16;
    let client = Endpoint {
        mac: [2, 0, 0, 0, 0, 1],
        ip: [10, a, b, c],
        port: port(u32::from(d) << 7 | flow & 0x7f),
    };
    let server = Endpoint {
        mac: [2, 0, 0, 0, 0, 2],
        ip: [172, 16, d, 1 + a % 200],
        port: port(mixed >> 13),
    };
    (client, server)
}

/// UDP packets of 64 bytes, whose flows are as unequally busy as Zipf's law says, in both directions.
pub(crate) struct Small {
    flows: Zipf,
    random: Random,
}

impl Small {
    /// Packets of `flows` flows.
    pub(crate) fn new(flows: u32) -> Self {
        Self {
            flows: Zipf::new(flows),
            random: Random::new(1),
        }
    }

    /// Hands `packets` packets to `emit`.
    pub(crate) fn generate(&mut self, packets: u32, mut emit: impl FnMut(&Packet<'_>)) {
        let mut frame = Frame::default();
        for number in 0..packets {
            let (client, server) = endpoints(self.flows.pick(&mut self.random));
            let forth = self.random.below(2) == 0;
            let (from, to) = if forth { (client, server) } else { (server, client) };
            let at = BEGIN.plus(STEP * number);
            let bytes = frame.udp(&from, &to, &PAYLOAD);
            emit(&Packet::new(at, bytes.len() as u32, LinkType::ETHERNET, bytes));
        }
    }
}
