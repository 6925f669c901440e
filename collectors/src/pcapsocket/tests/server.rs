//! Clients of every kind, alone and together.

use std::io::Write;
use std::net::Shutdown;
use std::process::{Command, Stdio};
use std::sync::Arc;

use flowtap_flow::ledger::DropReason;

use super::{Server, bind, boundaries, fixture, in_every_format, is_closed, malformed, parse, sample};
use crate::pcapsocket::{PcapSocket, PcapSocketOptions, Peer};

#[test]
fn files_of_every_format_arrive_whole() {
    let server = Server::start_with(PcapSocketOptions {
        node_tid: Arc::from("node-1"),
        ..Default::default()
    });
    let file = sample();
    let packets = parse(&file);
    for stream in in_every_format(&file) {
        server.send(&stream);
    }
    server.send(&file.repeat(3));
    let counters = server.stats.snapshot();
    assert_eq!((counters.total, counters.refused, counters.failed), (4, 0, 0));
    assert_eq!(server.recorder.seen.lock().unwrap().nodes, ["node-1"; 4]);
    let (got, _) = server.stop();
    assert_eq!(got, vec![packets; 6].concat());
}

#[test]
fn netcat_is_a_client() {
    let server = Server::start();
    let file = sample();
    let port = server.address.port().to_string();
    let netcat = Command::new("nc")
        .args(["-N", "127.0.0.1", &port])
        .stdin(Stdio::piped())
        .spawn();
    let mut netcat = match netcat {
        Ok(netcat) => netcat,
        Err(error) => return eprintln!("skipped: nc cannot be run: {error}"),
    };
    netcat.stdin.take().unwrap().write_all(&file).unwrap();
    assert!(netcat.wait().unwrap().success());
    assert_eq!(server.stop().0, parse(&file));
}

#[test]
fn packets_of_a_connection_that_stays_open_are_seen_at_once() {
    let server = Server::start();
    let file = sample();
    let ends = boundaries(&file);
    let mut client = server.connect();
    client.set_nodelay(true).unwrap();
    client.write_all(&file[..ends[0]]).unwrap();
    for (index, pair) in ends.windows(2).take(20).enumerate() {
        client.write_all(&file[pair[0]..pair[1]]).unwrap();
        server.recorder.wait(|seen| seen.packets.len() == index + 1);
    }
    let counters = server.stats.snapshot();
    let [ours] = counters.clients[..] else {
        panic!("{counters:?}")
    };
    assert_eq!(
        (ours.peer, ours.packets),
        (Peer::Address(client.local_addr().unwrap()), 20)
    );
    // What was seen was also counted, and half a packet is not seen.
    client.write_all(&file[ends[20]..ends[21] - 1]).unwrap();
    client.write_all(&file[ends[21] - 1..ends[21]]).unwrap();
    server.recorder.wait(|seen| seen.packets.len() == 21);
    client.shutdown(Shutdown::Write).unwrap();
    assert!(is_closed(&client));
    let (packets, ledger) = server.stop();
    assert_eq!(packets, parse(&file)[..21]);
    assert_eq!(ledger.dropped_total(), 0);
}

#[test]
fn ten_at_once_and_garbage_beside_them() {
    let server = Server::start();
    let file = sample();
    let stream = file.repeat(30);
    let mut open = server.connect();
    open.write_all(&file).unwrap();
    server.recorder.wait(|seen| !seen.packets.is_empty());
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| server.send(&stream));
        }
        for _ in 0..5 {
            scope.spawn(|| {
                let mut client = server.connect();
                client
                    .write_all(b"GET / HTTP/1.1\r\nHost: flowtap\r\n\r\n")
                    .unwrap();
                assert!(is_closed(&client));
            });
        }
    });
    open.write_all(&file).unwrap();
    open.shutdown(Shutdown::Write).unwrap();
    assert!(is_closed(&open));
    let counters = server.stats.snapshot();
    assert_eq!((counters.total, counters.failed), (16, 5));
    let failed = counters.last_failed.unwrap();
    assert!(
        failed
            .error
            .starts_with("found an HTTP request; accepted are pcap"),
        "{failed:?}"
    );
    let (packets, ledger) = server.stop();
    assert_eq!(packets.len(), parse(&file).len() * 302);
    assert_eq!((malformed(&ledger), ledger.dropped_total()), (5, 5));
}

#[test]
fn a_stream_cut_in_a_packet_keeps_all_before() {
    let server = Server::start();
    let file = sample();
    let ends = boundaries(&file);
    for cut in [ends[7] + 1, ends[8] - 1] {
        server.send(&file[..cut]);
    }
    server.send(&file[..ends[7]]);
    let counters = server.stats.snapshot();
    assert_eq!(counters.failed, 2);
    assert_eq!(
        counters.last_failed.unwrap().error,
        "the stream ended in the middle of a packet"
    );
    let (packets, ledger) = server.stop();
    assert_eq!(packets, [&parse(&file)[..7]; 3].concat());
    assert_eq!(malformed(&ledger), 2);
}

#[test]
fn damage_ends_the_connection_there() {
    let server = Server::start();
    let mut file = sample();
    let at = boundaries(&file)[9] + 8;
    file[at..at + 4].fill(0xff);
    let mut client = server.connect();
    // The server may close before all is written.
    let _ = client.write_all(&file);
    assert!(is_closed(&client));
    let error = server.stats.snapshot().last_failed.unwrap().error;
    assert!(
        error.contains("damaged at byte") && error.contains("4294967295 captured bytes"),
        "{error}"
    );
    let (packets, ledger) = server.stop();
    assert_eq!(packets.len(), 9);
    assert_eq!(malformed(&ledger), 1);
}

#[test]
fn silent_clients_are_no_failure() {
    let server = Server::start();
    server.send(&[]);
    let counters = server.stats.snapshot();
    assert_eq!((counters.total, counters.failed), (1, 0));
    let (packets, ledger) = server.stop();
    assert!(packets.is_empty());
    assert_eq!(ledger.received, 0);
}

#[test]
fn too_many_clients_are_refused_until_one_leaves() {
    let server = Server::start_with(PcapSocketOptions {
        max_clients: 2,
        ..Default::default()
    });
    let file = sample();
    let mut clients: Vec<_> = (0..2).map(|_| server.connect()).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        client.write_all(&file).unwrap();
        server
            .recorder
            .wait(|seen| seen.packets.len() == (index + 1) * 160);
    }
    for _ in 0..3 {
        assert!(is_closed(&server.connect()));
    }
    let left = clients.pop().unwrap();
    left.shutdown(Shutdown::Write).unwrap();
    assert!(is_closed(&left));
    server.send(&file);
    let counters = server.stats.snapshot();
    assert_eq!(
        (counters.total, counters.refused, counters.clients.len()),
        (3, 3, 1)
    );
    let (packets, ledger) = server.stop();
    assert_eq!(packets.len(), 480);
    assert_eq!(ledger.dropped_for(DropReason::Limit), 3);
}

#[test]
fn a_sink_that_waits_makes_the_client_wait() {
    let server = Server::start();
    let stream = sample().repeat(20);
    server.recorder.change(|seen| seen.blocked = true);
    let mut client = server.connect();
    client.set_nonblocking(true).unwrap();
    let mut sent = 0;
    // Far more than the socket's buffers hold (6 MB and 4 MB by default): it has to stop.
    let stopped = (0..400).any(|_| {
        let at = sent % stream.len();
        match client.write(&stream[at..]) {
            Ok(count) => {
                sent += count;
                false
            }
            Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
        }
    });
    assert!(stopped, "{sent} bytes went nowhere");
    server.recorder.change(|seen| seen.blocked = false);
    client.set_nonblocking(false).unwrap();
    while !sent.is_multiple_of(stream.len()) {
        sent += client.write(&stream[sent % stream.len()..]).unwrap();
    }
    client.shutdown(Shutdown::Write).unwrap();
    assert!(is_closed(&client));
    let (packets, _) = server.stop();
    assert_eq!(packets.len(), sent / stream.len() * 20 * 160);
}

#[test]
fn a_panic_in_a_sink_costs_its_own_connection() {
    let server = Server::start();
    let file = fixture("ovs-sflow-icmp.truth.pcap");
    let other = server.connect();
    server.recorder.change(|seen| seen.panics = true);
    server.send(&file);
    server.send(&file);
    assert_eq!(server.recorder.packets(), parse(&file));
    assert_eq!(server.stats.snapshot().clients.len(), 1);
    drop(other);
}

#[test]
fn a_port_that_is_taken_is_told() {
    let reader = bind(PcapSocketOptions::default());
    let error = PcapSocket::bind(reader.local_addr(), PcapSocketOptions::default()).unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("failed to listen on TCP {}: ", reader.local_addr())),
        "{text}"
    );
    assert!(
        text.ends_with("; another program listens there: stop it or choose another port"),
        "{text}"
    );
}
