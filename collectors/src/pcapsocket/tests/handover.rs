//! Files that a client of this machine hands over.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use super::{PATIENCE, Server, bind, in_every_format, malformed, parse, sample};
use crate::pcapsocket::handover::{connect, listen, send};
use crate::pcapsocket::{Answer, Handover, PcapSocket, PcapSocketOptions, Peer};

/// An open file with these bytes, at its start.
fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

fn offer(server: &Server, file: &File) -> Handover {
    Handover::offer(file, server.address).expect("it takes files")
}

fn answer(mut handover: Handover) -> io::Result<Answer> {
    handover
        .wait(PATIENCE)
        .map(|answer| answer.expect("read in time"))
}

fn taken(packets: u64) -> Answer {
    Answer {
        packets,
        ..Answer::default()
    }
}

/// Waits for what is sure to come.
fn until(comes: impl Fn() -> bool) {
    let began = Instant::now();
    while !comes() {
        assert!(began.elapsed() < PATIENCE, "waited in vain");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Longer than what is read between two looks at the connection.
fn long() -> Vec<u8> {
    let sample = sample();
    sample.repeat((8 << 20) / sample.len())
}

#[test]
fn files_of_every_format_are_read_whole() {
    let server = Server::start();
    let bytes = sample();
    let packets = parse(&bytes);
    for bytes in in_every_format(&bytes) {
        assert_eq!(answer(offer(&server, &file(&bytes))).unwrap(), taken(160));
    }
    let long = file(&bytes.repeat(300));
    assert_eq!(answer(offer(&server, &long)).unwrap(), taken(48_000));
    assert_eq!(server.stats.snapshot().total, 4);
    assert_eq!(server.stop().0, vec![packets; 303].concat());
}

#[test]
fn packets_of_an_unknown_link_type_are_told() {
    let server = Server::start();
    let mut bytes = sample();
    bytes[20..24].copy_from_slice(&147u32.to_le_bytes());
    let told = Answer {
        unsupported: 160,
        ..taken(160)
    };
    assert_eq!(answer(offer(&server, &file(&bytes))).unwrap(), told);
}

#[test]
fn from_where_it_stands_and_its_client_sees_how_far() {
    let server = Server::start();
    let bytes = sample();
    let mut file = file(&bytes.repeat(2));
    file.seek(SeekFrom::Start(bytes.len() as u64)).unwrap();
    assert_eq!(answer(offer(&server, &file)).unwrap(), taken(160));
    assert_eq!(file.stream_position().unwrap(), 2 * bytes.len() as u64);
    assert_eq!(server.stop().0, parse(&bytes));
}

#[test]
fn what_is_wrong_with_it_is_answered() {
    let server = Server::start();
    let bytes = sample();
    let cut = answer(offer(&server, &file(&bytes[..bytes.len() - 1]))).unwrap();
    assert_eq!((cut.packets, cut.cut, &cut.error), (159, true, &None));
    let empty = answer(offer(&server, &file(b""))).unwrap();
    assert_eq!((empty.packets, empty.empty, &empty.error), (0, true, &None));
    let garbage = answer(offer(&server, &file(&[0x55; 4096]))).unwrap();
    let error = garbage.error.unwrap();
    assert!(error.contains("accepted are pcap, pcapng"), "{error}");

    let (reader, _writer) = io::pipe().unwrap();
    let pipe = answer(offer(&server, &File::from(OwnedFd::from(reader)))).unwrap();
    let error = pipe.error.unwrap();
    assert!(error.contains("no regular file was handed over"), "{error}");
    let path = tempfile::NamedTempFile::new().unwrap();
    let unreadable = OpenOptions::new().write(true).open(path.path()).unwrap();
    let error = answer(offer(&server, &unreadable)).unwrap().error.unwrap();
    assert!(error.starts_with("failed to read the stream"), "{error}");

    let counters = server.stats.snapshot();
    assert_eq!((counters.total, counters.failed), (5, 4));
    let failed = counters.last_failed.unwrap();
    assert_eq!(failed.peer, Peer::Process(std::process::id()));
    assert_eq!(failed.peer.to_string(), format!("process {}", std::process::id()));
    // The cut and the garbage were packets, of a kind.
    assert_eq!(malformed(&server.stop().1), 2);
}

#[test]
fn reading_ends_when_the_client_goes_away() {
    let server = Server::start();
    let file = file(&long());
    server.recorder.change(|seen| seen.blocked = true);
    let handover = offer(&server, &file);
    server.recorder.wait(|seen| seen.given > 0);
    drop(handover);
    server.recorder.change(|seen| seen.blocked = false);
    until(|| server.stats.snapshot().failed == 1);
    let error = server.stats.snapshot().last_failed.unwrap().error;
    assert!(error.contains("went away"), "{error}");
    let (packets, _) = server.stop();
    assert!(packets.len() < long().len() / sample().len() * 160);
}

#[test]
fn a_stop_is_answered_too() {
    let server = Server::start();
    server.recorder.change(|seen| seen.blocked = true);
    let stream = connect(server.address).unwrap();
    send(&stream, &file(&long())).unwrap();
    server.recorder.wait(|seen| seen.given > 0);
    server.stop.cancel();
    // What waited unread at the other end would reset the connection: nothing is sent.
    until(|| {
        let shut_down = (&stream).write(b"");
        shut_down.is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    });
    server.recorder.change(|seen| seen.blocked = false);
    let answer: Answer = serde_json::from_reader(stream).unwrap();
    let (packets, _) = server.stop();
    assert_eq!(answer.packets, packets.len() as u64);
    let error = answer.error.unwrap();
    assert!(error.contains("flowtap stops"), "{error}");
}

#[test]
fn one_too_many_gets_no_answer() {
    let server = Server::start_with(PcapSocketOptions {
        max_clients: 1,
        ..Default::default()
    });
    let _first = server.connect();
    until(|| server.stats.snapshot().total == 1);
    // The connection is closed, perhaps before the file can go.
    let refused = Handover::offer(&file(&sample()), server.address).map(answer);
    assert!(refused.as_ref().is_none_or(Result::is_err), "{refused:?}");
    until(|| server.stats.snapshot().refused == 1);
}

#[test]
fn only_who_listens_at_that_address_gets_it() {
    let everywhere = PcapSocket::bind(SocketAddr::from(([0, 0, 0, 0], 0)), PcapSocketOptions::default());
    let everywhere = everywhere.unwrap();
    let port = everywhere.local_addr().port();
    let file = file(&sample());
    assert!(Handover::offer(&file, SocketAddr::from(([127, 0, 0, 1], port))).is_some());
    // TEST-NET-1 is no address of this host.
    assert!(Handover::offer(&file, SocketAddr::from(([192, 0, 2, 1], port))).is_none());
    assert!(Handover::offer(&file, SocketAddr::from(([127, 0, 0, 1], 1))).is_none());
}

#[test]
fn two_cannot_take_the_files_of_one_address() {
    let reader = bind(PcapSocketOptions::default());
    let address = reader.local_addr();
    let text = listen(address).unwrap_err().to_string();
    assert!(
        text.starts_with(&format!("failed to listen on flowtap-pcap {address}: ")),
        "{text}"
    );
}

#[test]
fn a_client_that_hands_nothing_over_is_told() {
    let server = Server::start();
    let mut stream = connect(server.address).unwrap();
    stream.write_all(b"x").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("no regular file was handed over"), "{answer}");
}
