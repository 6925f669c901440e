//! Datagrams out of a capture file, at a given rate.

use std::fs::File;
use std::io::{self, Read};
use std::net::UdpSocket;
use std::path::Path;
use std::time::{Duration, Instant};

use flowtap_flow::packet::Packet;
use flowtap_flow::pcap::StreamParser;
use flowtap_flow::timestamp::Timestamp;

use crate::sflow::UDP_PAYLOAD;

/// What was sent.
pub(crate) struct Sent {
    pub(crate) datagrams: u64,
    pub(crate) elapsed: Duration,
}

/// Sends the UDP payload of each packet in `path`, `rate` of them a second, evenly over each
/// millisecond. The file is read to memory first, so that sending is all that is done meanwhile.
///
/// One system call a datagram: over loopback most of the cost is the delivery, which a call for several
/// at once does not save.
pub(crate) fn send(path: &Path, to: &str, rate: u32) -> Result<Sent, Box<dyn std::error::Error>> {
    let mut payloads = Vec::new();
    let mut lengths = Vec::new();
    let mut parser = StreamParser::new(Timestamp::ZERO);
    let mut file = File::open(path)?;
    loop {
        let count = file.read(parser.spare())?;
        if count == 0 {
            break;
        }
        parser.commit(count, &mut |batch: &[Packet<'_>]| {
            for packet in batch {
                let payload = packet.data.get(UDP_PAYLOAD..).unwrap_or_default();
                payloads.extend_from_slice(payload);
                lengths.push(payload.len());
            }
        })?;
    }
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(to)?;
    let begin = Instant::now();
    let mut rest = payloads.as_slice();
    for (number, length) in lengths.iter().enumerate() {
        let due = Duration::from_secs_f64(number as f64 / f64::from(rate));
        let early = due.saturating_sub(begin.elapsed());
        if early > Duration::from_millis(1) {
            std::thread::sleep(early);
        }
        let (payload, after) = rest.split_at(*length);
        rest = after;
        socket.send(payload)?;
    }
    Ok(Sent {
        datagrams: lengths.len() as u64,
        elapsed: begin.elapsed(),
    })
}

/// Receives at `at` for ever: exporters that find nobody there would stop or report errors.
pub(crate) fn sink(at: &str) -> io::Result<()> {
    let socket = UdpSocket::bind(at)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        socket.recv(&mut buffer)?;
    }
}
