//! Streams that come by another way than the socket: an upload.

use std::io::{self, Read};
use std::sync::Arc;

use flowtap_flow::packet::LinkType;
use tokio_util::sync::CancellationToken;

use super::{boundaries, context, fixture, malformed, parse, sample};
use crate::pcapsocket::{Ingest, IngestError, IngestReport, ingest};

#[test]
fn a_file_as_a_whole() {
    let (cx, recorder) = context(CancellationToken::new());
    let file = sample();
    let packets = parse(&file);
    let report = ingest(file.as_slice(), &cx, "node").unwrap();
    let expected = IngestReport {
        packets: 160,
        bytes: packets.iter().map(|packet| u64::from(packet.len)).sum(),
        first: packets.iter().map(|packet| packet.timestamp).min(),
        last: packets.iter().map(|packet| packet.timestamp).max(),
        ..IngestReport::default()
    };
    assert_eq!(report, expected);
    assert_eq!(recorder.packets(), packets);
    assert!(cx.ledger.snapshot().balances());
}

#[test]
fn pieces_pushed_and_read() {
    let file = sample();
    for size in [1, 7, 1_000] {
        let (cx, recorder) = context(CancellationToken::new());
        let mut pushed = Ingest::new(cx.points.open(""), Arc::clone(&cx.ledger));
        file.chunks(size).for_each(|piece| pushed.push(piece).unwrap());
        let pushed = pushed.finish().unwrap();
        let read = ingest(Pieces(&file, size), &cx, "").unwrap();
        assert_eq!(pushed, read);
        assert_eq!(recorder.packets(), [parse(&file), parse(&file)].concat());
    }
}

/// Gives so many bytes a read, and is interrupted before each.
struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.1 = self.1.wrapping_neg();
        let size = self.1.cast_signed();
        if size < 0 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let count = self.0.len().min(into.len()).min(self.1);
        into[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

#[test]
fn what_is_refused_says_why_and_counts_once() {
    for (bytes, text) in [
        (
            &b"not a capture"[..],
            "found bytes 6e 6f 74 20 61 20 63 61 (\"not a ca\"); accepted are pcap",
        ),
        (
            &[0xfd, b'7', b'z', b'X', b'Z', 0],
            "found xz data (decompress it first: xz -dc FILE)",
        ),
    ] {
        let (cx, _) = context(CancellationToken::new());
        let error = ingest(bytes, &cx, "").unwrap_err().to_string();
        assert!(error.starts_with(text), "{error}");
        let ledger = cx.ledger.snapshot();
        assert!(ledger.balances());
        assert_eq!((ledger.received, malformed(&ledger)), (1, 1));
    }
    let (cx, _) = context(CancellationToken::new());
    let empty = ingest(io::empty(), &cx, "").unwrap_err();
    assert_eq!(
        empty.to_string(),
        "the stream is empty; send pcap or pcapng, or gzip of either"
    );
    assert_eq!(cx.ledger.snapshot().received, 0);
}

#[test]
fn what_is_cut_or_breaks_off_keeps_all_before() {
    let file = sample();
    let ends = boundaries(&file);
    let (cx, recorder) = context(CancellationToken::new());
    let report = ingest(&file[..ends[4] + 11], &cx, "").unwrap();
    assert_eq!((report.packets, report.cut_bytes), (4, 11));
    assert!(report.is_cut());

    let broken = (&file[..ends[4]]).chain(Failing);
    assert!(matches!(
        ingest(broken, &cx, "").unwrap_err(),
        IngestError::Read(_)
    ));

    let mut upload = Ingest::new(cx.points.open(""), Arc::clone(&cx.ledger));
    upload.push(&file[..ends[4]]).unwrap();
    drop(upload);
    assert_eq!(recorder.packets().len(), 12);
    assert!(cx.ledger.snapshot().balances());
}

struct Failing;

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ConnectionReset.into())
    }
}

#[test]
fn packets_of_a_link_type_that_is_not_decoded_are_the_sinks_to_count() {
    let (cx, recorder) = context(CancellationToken::new());
    let mut file = fixture("ovs-sflow-icmp.truth.pcap");
    file[20] = 127;
    ingest(file.as_slice(), &cx, "").unwrap();
    assert!(
        recorder
            .packets()
            .iter()
            .all(|packet| packet.link_type == LinkType(127))
    );
}

#[test]
fn a_stop_ends_it_between_two_reads() {
    let (cx, recorder) = context(CancellationToken::new());
    let file = sample();
    let first = boundaries(&file)[10];
    let stopping = StopAfter {
        cx: cx.stop.clone(),
        first: &file[..first],
    };
    let report = ingest(stopping, &cx, "").unwrap();
    assert_eq!(report.packets, 10);
    assert_eq!(recorder.packets().len(), 10);
}

struct StopAfter<'a> {
    cx: CancellationToken,
    first: &'a [u8],
}

impl Read for StopAfter<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        assert!(!self.cx.is_cancelled());
        self.cx.cancel();
        into[..self.first.len()].copy_from_slice(self.first);
        Ok(self.first.len())
    }
}
