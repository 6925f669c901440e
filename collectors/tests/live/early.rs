//! The first packets of an interface, before anybody could have opened a ring.

use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;

use flowtap_collectors::afpacket::AfPacket;
use flowtap_collectors::{CaptureRequest, Coverage, EarlySocket, EarlyWatch, Interface};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::frames::{Sender, number, udp};
use super::lab::{Namespace, enter, eventually, narrowed};
use super::record::{Finished, Running};

/// Sends from the first instant at which its end of the pair is up: the first frames as fast as it can,
/// then at a pace that the reader keeps.
struct Hostile {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU32>,
    thread: Option<JoinHandle<()>>,
}

impl Hostile {
    const BURST: u32 = 2_000;

    fn start(namespace: PathBuf, interface: &'static str) -> Self {
        let (stop, sent) = (Arc::<AtomicBool>::default(), Arc::<AtomicU32>::default());
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = std::thread::spawn(move || {
            enter(&namespace);
            let sender = loop {
                match Sender::here(interface) {
                    Ok(sender) => break sender,
                    Err(_) if stopped.load(Ordering::Relaxed) => return,
                    Err(_) => {}
                }
            };
            while !stopped.load(Ordering::Relaxed) {
                let next = count.load(Ordering::Relaxed);
                // Down as yet.
                if sender.try_send(&udp(&[], 53, next, 60)).is_ok() {
                    count.store(next + 1, Ordering::Relaxed);
                }
                if next > Self::BURST {
                    std::thread::sleep(std::time::Duration::from_micros(20));
                }
            }
        });
        Self {
            stop,
            sent,
            thread: Some(thread),
        }
    }

    fn wait_for(&self, frames: u32) {
        eventually(&format!("{frames} frames to be sent"), || {
            (self.sent.load(Ordering::Relaxed) >= frames).then_some(())
        });
    }

    fn stop(mut self) -> u32 {
        self.end();
        self.sent.load(Ordering::Relaxed)
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("no panic");
        }
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.end();
    }
}

/// New interfaces of a namespace, from `RTM_NEWLINK`.
struct Links(Socket);

impl Links {
    #[expect(unsafe_code, reason = "an address family that socket2 does not know")]
    fn watch(namespace: &Namespace) -> Self {
        let socket = namespace.inside(|| {
            let netlink = Domain::from(libc::AF_NETLINK);
            Socket::new(netlink, Type::RAW, Some(Protocol::from(libc::NETLINK_ROUTE)))
        });
        let socket = socket.expect("a netlink socket");
        // SAFETY: the storage is zeroed, aligned and large enough for every address; the closure makes
        // it a whole sockaddr_nl and says so by the length.
        let ((), address) = unsafe {
            SockAddr::try_init(|storage, length| {
                let address = storage.cast::<libc::sockaddr_nl>();
                (*address).nl_family = libc::AF_NETLINK as libc::sa_family_t;
                (*address).nl_groups = libc::RTMGRP_LINK as u32;
                *length = std::mem::size_of::<libc::sockaddr_nl>() as libc::socklen_t;
                Ok(())
            })
        }
        .expect("it is made");
        socket.bind(&address).expect("bound");
        Self(socket)
    }

    /// The index of the interface that the next message tells of.
    fn next(&mut self) -> u32 {
        let mut message = [0u8; 8_192];
        let length = self.0.read(&mut message).expect("a message");
        // struct nlmsghdr, then struct ifinfomsg, whose index is at 4.
        assert!(length >= 24 && message[4..6] == libc::RTM_NEWLINK.to_ne_bytes());
        u32::from_ne_bytes(*message[20..].first_chunk().expect("an index"))
    }
}

/// One boot: the interface `tap` appears with a sender at its other end, both up at once.
fn boot(switch: &Namespace, machine: &Namespace, watch: &EarlyWatch) -> (Hostile, EarlySocket, Interface) {
    let hostile = Hostile::start(machine.path(), "eth0");
    let mut links = Links::watch(switch);
    let commands = format!(
        "link add tap type veth peer name eth0 netns {}\nlink set tap up\n",
        machine.name
    );
    let (switch_name, machine_name) = (switch.name.clone(), machine.name.clone());
    let plug = std::thread::spawn(move || {
        super::lab::ip_batch(&switch_name, &commands);
        super::lab::ip_batch(&machine_name, "link set eth0 up\n");
    });
    let mut interface = Interface {
        name: "tap".to_owned(),
        index: links.next(),
        netns: Some(switch.path()),
        node_tid: Arc::from("tap"),
        node_type: "veth".to_owned(),
        ..Interface::default()
    };
    let early = watch.socket(&interface).expect("opened");
    assert!(early.is_complete());
    plug.join().expect("plugged in");
    interface.is_up = true;
    (hostile, early, interface)
}

fn unplug(switch: &Namespace) {
    switch.ip("link del tap");
}

fn numbers(finished: &Finished) -> Vec<u32> {
    finished
        .seen
        .iter()
        .filter_map(|seen| number(&seen.data))
        .collect()
}

#[test]
fn twenty_of_twenty_hostile_senders_are_seen_from_their_first_frame_without_a_gap() {
    let (switch, machine) = (Namespace::new(), Namespace::new());
    let watch = EarlyWatch::open(Some(switch.path())).expect("opened");
    for round in 0..20 {
        let (hostile, early, interface) = boot(&switch, &machine, &watch);
        // Metadata comes late: some hundred frames, or some thousand.
        hostile.wait_for(100 + 150 * round);
        let request = CaptureRequest {
            interface,
            early: Some(early.packets()),
            ..CaptureRequest::default()
        };
        let running = Running::start(&AfPacket::default(), request);
        drop(early);
        let at_open = hostile.sent.load(Ordering::Relaxed);
        hostile.wait_for((at_open + 500).max(3_000));
        let sent = hostile.stop();
        let finished = running.stop();
        let ledger = finished.ledger;
        assert!(finished.result.is_ok());
        assert_eq!(ledger.dropped_total(), 0, "boot {round}: {ledger:?}");
        let expected: Vec<u32> = (0..sent).collect();
        let numbers = numbers(&finished);
        assert_eq!(numbers.first(), Some(&0), "boot {round}");
        assert!(
            numbers == expected,
            "boot {round}: {} of {sent} frames",
            numbers.len()
        );
        let times = finished.seen.windows(2);
        assert!(times.into_iter().all(|two| two[0].timestamp <= two[1].timestamp));
        assert!(ledger.balances());
        unplug(&switch);
    }
}

#[test]
fn two_captures_take_the_same_first_frames_each_with_its_own_filter() {
    let (switch, machine) = (Namespace::new(), Namespace::new());
    let watch = EarlyWatch::open(Some(switch.path())).expect("opened");
    let (hostile, early, interface) = boot(&switch, &machine, &watch);
    hostile.wait_for(1_000);
    let request = CaptureRequest {
        interface,
        early: Some(early.packets()),
        ..CaptureRequest::default()
    };
    let all = Running::start(&AfPacket::default(), request.clone());
    hostile.wait_for(2_500);
    // Odd numbers, cut before the payload ends: what the ring cuts is still told apart.
    let odd = narrowed(request.clone(), "udp[11] & 1 = 1", 46, &[]);
    let odd = Running::start(&AfPacket::default(), odd);
    let none = Running::start(&AfPacket::default(), narrowed(request, "tcp", 0, &[]));
    hostile.wait_for(3_500);
    let sent = hostile.stop();
    let (all, odd, none) = (all.stop(), odd.stop(), none.stop());
    assert!(numbers(&all) == (0..sent).collect::<Vec<_>>(), "{:?}", all.ledger);
    let expected: Vec<u32> = (0..sent).filter(|number| number % 2 == 1).collect();
    assert!(numbers(&odd) == expected, "{:?}", odd.ledger);
    assert!(
        odd.seen
            .iter()
            .all(|seen| seen.data.len() == 46 && seen.len == 60)
    );
    assert!(none.seen.is_empty());
    for finished in [all, odd, none] {
        assert!(finished.ledger.balances() && finished.ledger.dropped_total() == 0);
    }
}

#[test]
fn a_source_goes_on_where_the_one_before_left_off() {
    let (switch, machine) = (Namespace::new(), Namespace::new());
    let watch = EarlyWatch::open(Some(switch.path())).expect("opened");
    let (hostile, early, interface) = boot(&switch, &machine, &watch);
    let coverage = Coverage::default();
    let request = CaptureRequest {
        interface,
        early: Some(early.packets().after(coverage.clone())),
        ..CaptureRequest::default()
    };
    let (mut taken, mut sources) = (Vec::new(), Vec::new());
    // Unplugged and plugged in again, each time with a while in between.
    for round in 1..=4 {
        hostile.wait_for(round * 1_000);
        let running = Running::start(&AfPacket::default(), request.clone());
        hostile.wait_for(round * 1_000 + 500);
        let finished = running.stop();
        taken.extend(numbers(&finished));
        sources.push(finished.ledger);
    }
    hostile.stop();
    let expected: Vec<u32> = (0..u32::try_from(taken.len()).unwrap()).collect();
    assert!(taken == expected, "{sources:?}");
    assert!(
        sources
            .iter()
            .all(|ledger| ledger.balances() && ledger.dropped_total() == 0)
    );
    // One that does not say how far it came leaves nothing.
    coverage.close();
    let finished = Running::start(&AfPacket::default(), request).stop();
    assert!(finished.seen.is_empty(), "{:?}", finished.ledger);
}

#[test]
fn a_watch_holds_what_came_before_anybody_looked() {
    let namespace = Namespace::new();
    let watch = EarlyWatch::open(Some(namespace.path())).expect("opened");
    namespace.ip("link add name va type veth peer name vb");
    namespace.ip("link add name vc type veth peer name vd");
    for name in ["va", "vb", "vc", "vd"] {
        namespace.ip(&format!("link set {name} up"));
    }
    // The kernel notices a carrier only after a moment, and drops what is sent until then.
    namespace.wait_for_carrier();
    eventually("vc to have a carrier", || {
        let state = namespace
            .command("ip")
            .args(["-o", "link", "show", "vc"])
            .output()
            .expect("ip");
        String::from_utf8_lossy(&state.stdout)
            .contains("state UP")
            .then_some(())
    });
    let senders = [Sender::new(&namespace, "va"), Sender::new(&namespace, "vc")];
    let send = |from: u32, to: u32| {
        for round in from..to {
            senders
                .iter()
                .for_each(|sender| sender.send(&udp(&[(0x8100, 5)], 53, round, 60)));
        }
    };
    send(0, 100);
    // In the order of their indices; an end that sends gets nothing.
    let sockets = ["vb", "va", "vd"].map(|name| watch.socket(&namespace.interface(name)).expect("opened"));
    send(100, 200);
    for (name, early) in ["vb", "va", "vd"].iter().zip(&sockets) {
        assert!(early.is_complete(), "{name}");
        let request = CaptureRequest {
            early: Some(early.packets()),
            ..narrowed(namespace.request(name), "inbound", 0, &[])
        };
        let finished = Running::start(&AfPacket::default(), request).stop();
        let tagged = finished.seen.iter().filter(|seen| seen.data[12..14] == [0x81, 0]);
        let numbers: Vec<_> = tagged.filter_map(|seen| number(&seen.data[4..])).collect();
        let expected: Vec<u32> = if *name == "va" {
            Vec::new()
        } else {
            (0..200).collect()
        };
        assert!(numbers == expected, "{name}: {numbers:?}");
        assert!(finished.ledger.balances() && finished.ledger.dropped_total() == 0);
    }
    // Asked for too late, or not new: held from now on.
    let late = watch.socket(&namespace.interface("vb")).expect("opened");
    assert!(!late.is_complete());
    let elsewhere = Namespace::pair();
    let other = watch.socket(&elsewhere.interface("vb")).expect("opened");
    assert!(!other.is_complete());
}

#[test]
fn tags_of_early_packets_are_put_back() {
    let namespace = Namespace::pair();
    let early = EarlySocket::open(&namespace.interface("vb")).expect("opened");
    let sender = Sender::new(&namespace, "va");
    let frames = super::frames::mix();
    for frame in &frames {
        sender.send(frame);
    }
    let request = CaptureRequest {
        early: Some(early.packets()),
        ..namespace.request("vb")
    };
    let finished = Running::start(&AfPacket::default(), request.clone()).stop();
    let seen: Vec<_> = finished.seen.iter().map(|seen| &seen.data).collect();
    assert!(seen == frames.iter().collect::<Vec<_>>());
    let lengths = finished.seen.iter().zip(&frames);
    assert!(
        lengths
            .into_iter()
            .all(|(seen, frame)| seen.len as usize == frame.len())
    );

    let tagged = narrowed(request, "vlan 100 and udp port 53", 80, &[]);
    let finished = Running::start(&AfPacket::default(), tagged).stop();
    assert_eq!(finished.ledger.received, frames.len() as u64);
    assert_eq!(finished.seen.len(), 40 * 2);
    assert!(finished.seen.iter().all(|seen| seen.data.len() <= 80));
}

#[test]
fn what_the_early_socket_has_no_room_for_is_counted() {
    const COUNT: u64 = 30_000;
    let namespace = Namespace::pair();
    let early = EarlySocket::open(&namespace.interface("vb")).expect("opened");
    let sender = Sender::new(&namespace, "va");
    for round in 0..COUNT {
        sender.send(&udp(&[], 53, u32::try_from(round).unwrap(), 300));
    }
    let request = CaptureRequest {
        early: Some(early.packets()),
        ..namespace.request("vb")
    };
    let finished = Running::start(&AfPacket::default(), request).stop();
    let ledger = finished.ledger;
    assert_eq!(ledger.received, COUNT, "{ledger:?}");
    assert!(ledger.dropped_total() > 0 && ledger.kept > 1_000, "{ledger:?}");
    assert!(ledger.balances());
    assert_eq!(
        numbers(&finished).first(),
        Some(&0),
        "the first are held, not the last"
    );
}
