//! A watcher at work, from its first look to its end.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::watch::wake::wait;

use super::Watcher;
use super::ethtool::Ethtool;
use super::interfaces::Interfaces;
use super::link::{self, Link};
use super::lists::Address;
use super::numbers::*;
use super::peers::{self, Peers};
use super::socket::{BUFFER, Heard, Socket};
use super::sockets::Sockets;
use super::wire::Message;
use super::writer::{count, flush};

/// How long after a change the lists are read, so that a burst of changes is one revision.
const SETTLE: Duration = Duration::from_millis(300);

/// Datagrams that are heard before the graph is told: a burst is one edit, and an edit is never long.
const BATCH: usize = 64;

/// A watcher with its sockets open.
pub(super) struct Session<'w> {
    pub(super) watcher: &'w Watcher,
    pub(super) interfaces: &'w mut Interfaces,
    links: Socket,
    changes: Socket,
    pub(super) requests: Socket,
    pub(super) ethtool: Option<Ethtool>,
    peers: Peers,
    /// For what is heard and for what is asked meanwhile.
    heard: Vec<u8>,
    pub(super) answers: Vec<u8>,
    pub(super) stale: Stale,
    /// Not before this are the lists read again.
    pub(super) rested: Instant,
    /// Entries that the lists lack, by kind of list.
    pub(super) left_out: [u64; 3],
    /// When the counters are read next.
    tick: Instant,
}

/// What has to be read again.
#[derive(Debug, Default)]
pub(super) struct Stale {
    since: Option<Instant>,
    pub(super) addresses: bool,
    pub(super) neighbours: bool,
    pub(super) routes: bool,
    /// Interfaces that ethtool has to be asked about.
    pub(super) features: BTreeSet<u32>,
}

impl Stale {
    pub(super) fn mark(&mut self) -> &mut Self {
        self.since.get_or_insert_with(Instant::now);
        self
    }

    fn everything(&mut self) {
        let stale = self.mark();
        (stale.addresses, stale.neighbours, stale.routes) = (true, true, true);
    }
}

impl<'w> Session<'w> {
    pub(super) fn new(watcher: &'w Watcher, interfaces: &'w mut Interfaces, sockets: Sockets) -> Self {
        let now = Instant::now();
        let mut answers = vec![0; BUFFER];
        let ethtool = match Ethtool::new(sockets.generic, &mut answers) {
            Ok(ethtool) => Some(ethtool),
            Err(error) => {
                let note = format!("no features and speeds: asking for ethtool: {error}");
                watcher.reporter.note(note);
                None
            }
        };
        Self {
            watcher,
            interfaces,
            links: sockets.links,
            changes: sockets.changes,
            requests: sockets.requests,
            ethtool,
            peers: Peers::default(),
            heard: vec![0; BUFFER],
            answers,
            stale: Stale::default(),
            rested: now,
            left_out: [0; 3],
            tick: now,
        }
    }

    /// Watches until the watcher is stopped.
    ///
    /// # Errors
    /// Those of the sockets.
    pub(super) fn run(mut self) -> io::Result<()> {
        self.look()?;
        self.read_lists()?;
        self.tell();
        self.watcher.reporter.running();
        loop {
            let bell = self.watcher.mailbox.bell.as_fd();
            let sources = [bell, self.links.as_fd(), self.changes.as_fd()];
            let ready = wait(&sources, Some(self.patience()))?;
            if ready[0] {
                self.watcher.mailbox.bell.quiet();
                if self.watcher.mailbox.is_stopped() {
                    return Ok(());
                }
                self.refresh()?;
            }
            if ready[1] {
                self.hear_links()?;
            }
            if ready[2] {
                self.hear_changes()?;
            }
            self.tell();
            let now = Instant::now();
            if self.lists_due().is_some_and(|due| due <= now) {
                self.read_lists()?;
                self.tell();
            }
            if self.tick <= now {
                self.look()?;
            }
        }
    }

    fn lists_due(&self) -> Option<Instant> {
        self.stale.since.map(|since| (since + SETTLE).max(self.rested))
    }

    fn patience(&self) -> Duration {
        let next = self.lists_due().map_or(self.tick, |due| due.min(self.tick));
        next.saturating_duration_since(Instant::now())
    }

    /// Lists all interfaces with their counters: at first, when something was lost, and from time to
    /// time, for a few things that the kernel does not announce (where a veth's peer went, which
    /// multicast groups a card listens to).
    fn look(&mut self) -> io::Result<()> {
        self.tick = Instant::now() + self.watcher.shared.options.metrics_interval;
        self.stale.everything();
        let all = self.requests.list(
            &mut self.answers,
            &link::request(None),
            Vec::new,
            |links, message| links.extend(Link::parse(message.body)),
        )?;
        let seen = all.list.iter().map(|link| link.index).collect();
        for link in all.list {
            self.take_link(link);
        }
        for index in self.interfaces.missing(&seen) {
            // A list that was interrupted may lack what is there.
            match if all.is_whole { None } else { self.look_at(index)? } {
                Some(link) => self.take_link(link),
                None => self.interfaces.unlink(index),
            }
        }
        self.tell();
        count(self.interfaces, &self.watcher.shared, &self.watcher.mailbox);
        Ok(())
    }

    /// Looks again at the interfaces that the mailbox names.
    fn refresh(&mut self) -> io::Result<()> {
        for index in self.watcher.mailbox.take_refreshes() {
            // One that is gone is told of by its RTM_DELLINK.
            if let Some(link) = self.look_at(index)? {
                self.take_link(link);
            }
        }
        Ok(())
    }

    /// Asks for one interface; `None` if it is not there.
    fn look_at(&mut self, index: u32) -> io::Result<Option<Link>> {
        let mut found = None;
        let request = link::request(Some(index));
        let asked = self.requests.ask(&mut self.answers, &request, |message| {
            found = Link::parse(message.body);
        });
        match asked {
            Ok(_) => Ok(found),
            Err(error) if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn hear_links(&mut self) -> io::Result<()> {
        let mut heard = std::mem::take(&mut self.heard);
        let outcome = self.hear_links_into(&mut heard);
        self.heard = heard;
        if outcome? {
            self.watcher.reporter.resynced();
            self.peers.forget_all();
            self.look()?;
        }
        Ok(())
    }

    /// Returns whether something was lost; the queue is empty then.
    fn hear_links_into(&mut self, heard: &mut [u8]) -> io::Result<bool> {
        let mut lost = false;
        let mut datagrams = 0;
        while lost || datagrams < BATCH {
            match self.links.hear(heard)? {
                Heard::Nothing => break,
                Heard::Lost => lost = true,
                Heard::Messages(messages) => messages.for_each(|message| self.take(message)),
            }
            datagrams += 1;
        }
        Ok(lost)
    }

    fn take(&mut self, message: Message<'_>) {
        match message.kind {
            RTM_NEWLINK => {
                if let Some(link) = Link::parse(message.body) {
                    let index = link.index;
                    self.take_link(link);
                    // What the kernel changes with a link it does not announce in each case: routes
                    // that go, addresses that are tried out, features.
                    self.stale.everything();
                    self.stale.features.insert(index);
                }
            }
            RTM_DELLINK => {
                if let Some(link) = Link::parse(message.body) {
                    self.interfaces.unlink(link.index);
                    self.stale.features.remove(&link.index);
                    self.stale.everything();
                }
            }
            RTM_NEWADDR => {
                if let Some(address) = Address::parse(message.body) {
                    self.interfaces.add_address(address);
                    // It may be a second one, and joins multicast groups: neither is told.
                    self.stale.everything();
                }
            }
            RTM_DELADDR => {
                if let Some(address) = Address::parse(message.body) {
                    self.interfaces.remove_address(&address);
                    self.stale.everything();
                }
            }
            RTM_NEWNSID | RTM_DELNSID => {
                if let Some(number) = peers::number_in(message.body) {
                    self.peers.forget(number);
                }
                // Something was moved to a namespace that had no number here: perhaps a container's.
                self.watcher.shared.doorbell.bell.ring();
            }
            _ => {}
        }
    }

    fn take_link(&mut self, link: Link) {
        let places = &self.watcher.shared.places;
        let far = match link.link_namespace {
            None => Some(self.watcher.namespace),
            Some(number) => {
                let requests = &mut self.requests;
                self.peers.resolve(number, places, requests, &mut self.answers)
            }
        };
        let name = link.link_namespace.and(far).and_then(|far| places.name(far));
        let index = link.index;
        let is_new = !self.interfaces.by_index.contains_key(&index);
        self.interfaces.link(link, far, name.as_deref());
        if is_new {
            self.stale.everything();
            self.stale.features.insert(index);
        }
    }

    /// Hears that neighbours or routes changed. Losing some of it loses nothing.
    fn hear_changes(&mut self) -> io::Result<()> {
        for _ in 0..BATCH {
            match self.changes.hear(&mut self.heard)? {
                Heard::Nothing => break,
                Heard::Lost => {
                    self.stale.mark().neighbours = true;
                    self.stale.routes = true;
                }
                Heard::Messages(messages) => {
                    for message in messages {
                        match message.kind {
                            RTM_NEWNEIGH | RTM_DELNEIGH => self.stale.mark().neighbours = true,
                            RTM_NEWROUTE | RTM_DELROUTE => self.stale.mark().routes = true,
                            _ => {}
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn tell(&mut self) {
        let left = flush(self.interfaces, &self.watcher.shared, &self.watcher.mailbox);
        for port in left.peers {
            self.watcher.shared.places.refresh(port);
        }
        // Those that were refused are tried again each time, so without a refusal none is missing.
        let refused = left
            .refused
            .map(|error| format!("an interface has no node: {error}"));
        self.watcher.reporter.missing(refused);
        if left.deleted {
            self.tick = Instant::now();
            self.stale.features.extend(self.interfaces.by_index.keys());
        }
    }
}
