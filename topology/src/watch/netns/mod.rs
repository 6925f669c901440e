//! Which network namespaces there are, and a netlink watcher for each.
//!
//! Namespaces with a name are seen by inotify. Those without are found through the processes in them:
//! looked for every few seconds, when the kernel says that an interface went somewhere, and when the
//! process that stood for one ends. One without a name is watched if it holds more than the loopback
//! interface: a container's does, those that browsers and services are shut up in do not.

mod candidates;
mod container;
mod directories;
mod processes;
mod scan;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::graph::NodeSpec;
use crate::identity::NodeId;

use super::health::Reporter;
use super::netlink::Watcher;
use super::shared::{Mailbox, Place, Shared};
use super::wake::wait;

use candidates::Candidates;
use directories::Directories;

pub(super) use crate::namespace::{NamespaceId, inside, open_namespace};

/// How often a name that leads to no namespace yet is looked at again, each time after twice as long:
/// 0.5 ms at first, 4 s at last.
const ATTEMPTS: u32 = 14;
const FIRST_RETRY: Duration = Duration::from_micros(500);

/// The processes are not looked through more often than this, however often somebody asks.
const SCAN_PAUSE: Duration = Duration::from_millis(100);

/// Looks after all namespaces, in a thread of its own.
#[derive(Debug)]
pub(super) struct Namespaces {
    shared: Arc<Shared>,
    reporter: Reporter,
    own: NamespaceId,
    directories: Directories,
    /// Names that lead to a namespace.
    names: HashMap<PathBuf, NamespaceId>,
    /// What is watched, the own namespace among it: at most
    /// [`WatchOptions::max_namespaces`](super::WatchOptions::max_namespaces).
    watched: BTreeMap<NamespaceId, Watched>,
    /// Names to look at again: when, and for which time.
    retries: BTreeMap<PathBuf, (Instant, u32)>,
    candidates: Candidates,
    last_scan: Instant,
    next_scan: Instant,
    /// How many there was no room for at the last look at all, and why the last of them is missing.
    left_out: u64,
    missing: Option<String>,
    /// Threads that were stopped and have not ended yet.
    leaving: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Watched {
    node: NodeId,
    path: PathBuf,
    mailbox: Arc<Mailbox>,
    thread: JoinHandle<()>,
    found: Found,
}

/// How a namespace is known.
#[derive(Debug)]
enum Found {
    /// It is the one that flowtap runs in.
    Own,
    /// By a name in one of the directories.
    Named,
    /// Through the process that stands for it, which can be waited for where the kernel has files for
    /// processes (5.3).
    Process(Option<OwnedFd>),
}

impl Watched {
    fn is_by_process(&self) -> bool {
        matches!(self.found, Found::Process(_))
    }

    /// The file of the process that stands for it: readable when the process has ended.
    fn process(&self) -> Option<BorrowedFd<'_>> {
        match &self.found {
            Found::Process(file) => file.as_ref().map(OwnedFd::as_fd),
            Found::Own | Found::Named => None,
        }
    }
}

impl Namespaces {
    /// # Errors
    /// Those of inotify; that `/proc` is not mounted.
    pub(super) fn new(shared: Arc<Shared>) -> io::Result<Self> {
        let now = Instant::now();
        Ok(Self {
            reporter: shared.board.reporter("namespaces".to_owned()),
            own: NamespaceId::own()?,
            directories: Directories::new(shared.options.directories.clone())?,
            shared,
            names: HashMap::new(),
            watched: BTreeMap::new(),
            retries: BTreeMap::new(),
            candidates: Candidates::default(),
            last_scan: now,
            next_scan: now,
            left_out: 0,
            missing: None,
            leaving: Vec::new(),
        })
    }

    /// Runs until the doorbell is stopped; ends when all watchers have.
    pub(super) fn run(mut self) {
        self.reporter.running();
        self.look_at_all();
        let mut is_failing = false;
        while !self.shared.doorbell.is_stopped() {
            match self.turn() {
                Ok(()) if is_failing => self.reporter.running(),
                Ok(()) => {}
                Err(error) => {
                    self.reporter.failed("waiting for namespaces", &error);
                    std::thread::sleep(SCAN_PAUSE);
                    is_failing = true;
                    continue;
                }
            }
            is_failing = false;
        }
        let ids: Vec<_> = self.watched.keys().copied().collect();
        for id in ids {
            self.stop(id);
        }
        for thread in self.leaving.drain(..) {
            // A watcher that panicked has ended as well.
            let _ = thread.join();
        }
    }

    /// Waits for something and acts on it.
    fn turn(&mut self) -> io::Result<()> {
        let mut sources = vec![self.shared.doorbell.bell.as_fd(), self.directories.as_fd()];
        sources.extend(self.watched.values().filter_map(Watched::process));
        let due = self.retries.values().map(|(due, _)| *due).min();
        let due = due.map_or(self.next_scan, |due| due.min(self.next_scan));
        let ready = wait(&sources, Some(due.saturating_duration_since(Instant::now())))?;
        if ready[0] {
            self.shared.doorbell.bell.quiet();
            self.candidates.all_due();
            self.next_scan = self.next_scan.min(self.last_scan + SCAN_PAUSE);
        }
        if ready[2..].contains(&true) {
            self.next_scan = Instant::now();
        }
        if ready[1] {
            let changes = self.directories.read()?;
            for name in changes.names {
                self.look_at(&name, 0);
            }
            if changes.all {
                self.next_scan = Instant::now();
            }
        }
        let now = Instant::now();
        let due: Vec<_> = self.retries.iter().filter(|(_, (due, _))| *due <= now).collect();
        let due: Vec<_> = due
            .into_iter()
            .map(|(name, (_, attempt))| (name.clone(), *attempt))
            .collect();
        for (name, attempt) in due {
            self.look_at(&name, attempt);
        }
        if self.next_scan <= now {
            self.look_at_all();
        }
        self.leaving.retain(|thread| !thread.is_finished());
        Ok(())
    }

    /// Looks at all names and all processes.
    fn look_at_all(&mut self) {
        self.left_out = 0;
        self.missing = None;
        if !self.watched.contains_key(&self.own) {
            let host = self.shared.graph.host().clone();
            if let Err(error) = self.watch(self.own, None, host, Found::Own) {
                self.reporter.failed("starting the netlink watcher", &error);
            }
        }
        let (names, failed) = self.directories.arm();
        let gone: Vec<_> = self
            .names
            .keys()
            .filter(|name| !names.contains(*name))
            .cloned()
            .collect();
        for name in gone {
            self.forget(&name);
        }
        for name in names {
            if !self.retries.contains_key(&name) {
                self.look_at(&name, 0);
            }
        }
        // One directory that flowtap may not enter is no reason to doubt the others.
        for (directory, error) in failed {
            self.reporter
                .note(format!("{} can't be watched: {error}", directory.display()));
        }
        if self.shared.options.processes {
            self.look_at_processes();
        }
        self.reporter.left_out(self.left_out);
        self.reporter.missing(self.missing.clone());
        self.last_scan = Instant::now();
        self.next_scan = self.last_scan + self.shared.options.process_interval;
    }

    /// Looks where a name leads to now.
    fn look_at(&mut self, name: &Path, attempt: u32) {
        self.retries.remove(name);
        match NamespaceId::at(name) {
            Ok(Some(id)) if self.names.get(name) == Some(&id) => {}
            Ok(Some(id)) => {
                self.forget(name);
                self.adopt(name, id);
            }
            Ok(None) => {
                self.forget(name);
                self.retry(name, attempt, "it is no namespace");
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.forget(name),
            Err(error) => self.retry(name, attempt, &error.to_string()),
        }
    }

    fn retry(&mut self, name: &Path, attempt: u32, why: &str) {
        if attempt < ATTEMPTS {
            let due = Instant::now() + FIRST_RETRY * (1 << attempt);
            self.retries.insert(name.to_owned(), (due, attempt + 1));
        } else {
            self.reporter
                .note(format!("{} is not watched: {why}", name.display()));
        }
    }

    /// A name leads to this namespace from now on.
    fn adopt(&mut self, name: &Path, id: NamespaceId) {
        if self.watched.get(&id).is_some_and(Watched::is_by_process) {
            self.stop_and_remove(id);
        }
        if !self.watched.contains_key(&id) {
            let title = name
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let is_docker = ["/run/docker", "/var/run/docker"]
                .iter()
                .any(|directory| name.starts_with(directory));
            let manager = is_docker.then_some("docker");
            if !self.watch_other(id, name, &title, manager, Found::Named) {
                return;
            }
        }
        self.names.insert(name.to_owned(), id);
    }

    /// A name leads nowhere any more. Without another name its namespace is not watched; if processes
    /// are in it still, they will show it.
    fn forget(&mut self, name: &Path) {
        let Some(id) = self.names.remove(name) else {
            return;
        };
        let is_its_path = self.watched.get(&id).is_some_and(|watched| watched.path == name);
        if id == self.own || !is_its_path {
            return;
        }
        self.stop_and_remove(id);
        let other = self
            .names
            .iter()
            .find(|(_, other)| **other == id)
            .map(|(name, _)| name.clone());
        if let Some(other) = other {
            self.adopt(&other, id);
        }
    }

    /// Makes the node of a namespace and watches it. Returns whether there was room for it.
    fn watch_other(
        &mut self,
        id: NamespaceId,
        path: &Path,
        name: &str,
        manager: Option<&str>,
        found: Found,
    ) -> bool {
        let max = self.shared.options.max_namespaces;
        if self.watched.len() >= max {
            self.left_out += 1;
            self.lacks(format!("{} is not watched: {max} namespaces are", path.display()));
            return false;
        }
        let host = self.shared.graph.host();
        let mut spec = NodeSpec::new(host, "netns", name)
            .with("Path", skydives_path(path).to_string_lossy())
            .with("Inode", id.inode)
            .with("Device", id.device);
        if let Some(manager) = manager {
            spec = spec.with("Manager", manager);
        }
        let watching = self
            .shared
            .graph
            .upsert_node(spec)
            .map_err(io::Error::other)
            .and_then(|node| self.watch(id, Some((path, name)), node, found));
        if let Err(error) = &watching {
            self.lacks(format!("{} is not watched: {error}", path.display()));
        }
        watching.is_ok()
    }

    /// Notes that a namespace is not watched; each look at all tries again.
    fn lacks(&mut self, what: String) {
        self.reporter.missing(Some(what.clone()));
        self.missing = Some(what);
    }

    /// Starts the watcher of a namespace whose node is there.
    fn watch(
        &mut self,
        id: NamespaceId,
        place: Option<(&Path, &str)>,
        node: NodeId,
        found: Found,
    ) -> io::Result<()> {
        let mailbox = Arc::new(Mailbox::new()?);
        let path = place.map(|(path, _)| path.to_owned());
        let title = place.map_or("netlink".to_owned(), |(_, name)| format!("netlink {name}"));
        let thread = Watcher {
            shared: Arc::clone(&self.shared),
            mailbox: Arc::clone(&mailbox),
            namespace: id,
            path: path.clone(),
            owner: node.clone(),
            reporter: self.shared.board.reporter(title),
        }
        .spawn()?;
        let path = path.unwrap_or_else(|| PathBuf::from("/proc/self/ns/net"));
        self.shared.places.add(Place {
            id,
            path: path.clone(),
            name: place.map(|(_, name)| name.to_owned()),
            mailbox: Arc::clone(&mailbox),
        });
        let watched = Watched {
            node,
            path,
            mailbox,
            thread,
            found,
        };
        self.watched.insert(id, watched);
        Ok(())
    }

    /// Stops a namespace's watcher, whose sockets keep it alive, and removes its node and interfaces.
    fn stop_and_remove(&mut self, id: NamespaceId) {
        if let Some(node) = self.stop(id) {
            self.shared.graph.edit(|edit| edit.remove_tree(&node));
            self.shared.wiring.vanish_all(id);
        }
    }

    /// Stops a watcher; its thread ends by itself.
    fn stop(&mut self, id: NamespaceId) -> Option<NodeId> {
        let watched = self.watched.remove(&id)?;
        self.shared.places.remove(id);
        watched.mailbox.stop();
        self.leaving.push(watched.thread);
        Some(watched.node)
    }
}

/// `path` as Skydive's agents tell it, which a namespace's TID is made of: theirs look into `/var/run`, which is a
/// link to `/run`. Where it is none, only `path` leads to the namespace.
fn skydives_path(path: &Path) -> Cow<'_, Path> {
    let named = ["netns", "docker/netns"]
        .iter()
        .any(|directory| path.starts_with(Path::new("/run").join(directory)));
    let is_link = || std::fs::canonicalize("/var/run").is_ok_and(|target| target == Path::new("/run"));
    match path.strip_prefix("/run") {
        Ok(rest) if named && is_link() => Path::new("/var/run").join(rest).into(),
        _ => path.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_as_skydive_does() {
        let is_link = std::fs::canonicalize("/var/run").is_ok_and(|target| target == Path::new("/run"));
        for (path, told) in [
            ("/run/netns/blue", "/var/run/netns/blue"),
            ("/run/docker/netns/default", "/var/run/docker/netns/default"),
            ("/var/run/netns/blue", "/var/run/netns/blue"),
            ("/run/netns-of-mine/blue", "/run/netns-of-mine/blue"),
            ("/proc/7/ns/net", "/proc/7/ns/net"),
        ] {
            let told = if is_link { told } else { path };
            assert_eq!(skydives_path(Path::new(path)), Path::new(told));
        }
    }
}
