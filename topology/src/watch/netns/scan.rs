//! Looking for namespaces without a name.

use std::io;
use std::path::Path;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::watch::netlink::holds_something;

use super::{Found, NamespaceId, Namespaces, processes};

impl Namespaces {
    /// Watches what holds something, and no longer what no process is in.
    pub(super) fn look_at_processes(&mut self) {
        let mut found = processes::namespaces(Path::new("/proc"));
        found.remove(&self.own.inode);
        let ids: Vec<_> = self.watched.keys().copied().collect();
        for id in ids {
            let Some(watched) = self.watched.get(&id) else {
                continue;
            };
            if !watched.is_by_process() {
                found.remove(&id.inode);
            } else if !found.contains_key(&id.inode)
                || NamespaceId::at(&watched.path).ok().flatten() != Some(id)
            {
                // It is empty, or another process has to stand for it.
                self.stop_and_remove(id);
            } else {
                found.remove(&id.inode);
            }
        }
        let device = self.own.device;
        for (inode, pid) in self.candidates.due(&found) {
            let (id, path) = (NamespaceId { device, inode }, processes::path(pid));
            match holds_something(&path, id) {
                Ok(true) => {
                    let (name, manager) = processes::name(pid);
                    let file = i32::try_from(pid).ok().and_then(Pid::from_raw);
                    let file = file.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
                    self.watch_other(id, &path, &name, manager, Found::Process(file));
                }
                Ok(false) => {}
                // The process has ended.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    self.reporter
                        .note(format!("looking into the namespace of process {pid}: {error}"));
                }
            }
        }
    }
}
