//! A stop loses nothing that has arrived.

use std::io::Write;
use std::net::Shutdown;

use tokio_util::sync::CancellationToken;

use super::{Server, bind, boundaries, connect, is_closed, malformed, sample};
use crate::pcapsocket::PcapSocketOptions;

#[test]
fn with_clients_connected() {
    let server = Server::start();
    let file = sample();
    let mut clients: Vec<_> = (0..3).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.write_all(&file).unwrap();
    }
    // The sinks hold them up; what follows waits in the sockets' queues.
    server.recorder.wait(|seen| seen.given == 3 * 160);
    server.recorder.change(|seen| seen.blocked = true);
    for client in &mut clients {
        client.write_all(&file).unwrap();
    }
    server.recorder.wait(|seen| seen.given > 3 * 160);
    server.stop.cancel();
    server.recorder.change(|seen| seen.blocked = false);
    let (packets, ledger) = server.stop();
    assert_eq!(packets.len(), 6 * 160);
    assert_eq!(ledger.dropped_total(), 0);
    assert!(clients.iter().all(is_closed));
}

#[test]
fn before_the_connections_are_taken_on() {
    let reader = bind(PcapSocketOptions::default());
    let file = sample();
    for _ in 0..5 {
        let mut client = connect(reader.local_addr());
        client.write_all(&file).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
    }
    let stop = CancellationToken::new();
    stop.cancel();
    let (packets, _) = Server::run(reader, stop).stop();
    // Their order depends on their threads.
    assert_eq!(packets.len(), 5 * 160);
}

#[test]
fn in_the_middle_of_a_packet() {
    let server = Server::start();
    let file = sample();
    let ends = boundaries(&file);
    let mut client = server.connect();
    client.write_all(&file[..ends[5] + 10]).unwrap();
    server.recorder.wait(|seen| seen.packets.len() == 5);
    let (packets, ledger) = server.stop();
    assert_eq!(packets.len(), 5);
    assert_eq!(malformed(&ledger), 1);
    assert!(is_closed(&client));
}

#[test]
fn while_a_client_sends_without_end() {
    let server = Server::start();
    let stream = sample();
    let mut client = server.connect();
    let sender = std::thread::spawn(move || while client.write_all(&stream).is_ok() {});
    server.recorder.wait(|seen| seen.packets.len() > 1_000);
    let (packets, _) = server.stop();
    assert!(packets.len() > 1_000);
    sender.join().unwrap();
}

#[test]
fn by_dropping_the_future() {
    let server = Server::start();
    let file = sample();
    let mut client = server.connect();
    client.write_all(&file).unwrap();
    server.recorder.wait(|seen| seen.packets.len() == 160);
    server.running.abort();
    assert!(is_closed(&client));
}
