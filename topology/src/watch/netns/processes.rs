//! Namespaces that have no name, found through the processes in them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::container::{Container, container};

/// Processes that one look goes through; a host has some hundreds. A look at 1,000 takes 3 ms.
const MAX_PROCESSES: usize = 65_536;

/// The namespaces that processes are in, by inode, with the oldest process of each. Those of processes
/// that may not be looked into are left out.
pub(super) fn namespaces(proc: &Path) -> BTreeMap<u64, u32> {
    let mut found: BTreeMap<u64, u32> = BTreeMap::new();
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    for entry in entries.take(MAX_PROCESSES) {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Some(inode) = fs::read_link(entry.path().join("ns/net"))
            .ok()
            .and_then(|link| inode(&link))
        else {
            continue;
        };
        let oldest = found.entry(inode).or_insert(pid);
        *oldest = pid.min(*oldest);
    }
    found
}

/// `net:[4026531840]`
fn inode(link: &Path) -> Option<u64> {
    let text = link.to_str()?;
    text.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}

/// Where a process' namespace can be entered.
pub(super) fn path(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/ns/net"))
}

/// What to call a process' namespace: as its container, or as the process itself.
pub(super) fn name(pid: u32) -> (String, Option<&'static str>) {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    if let Some(Container { name, manager }) = container(&groups) {
        return (name, Some(manager));
    }
    let command = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    (format!("{}-{pid}", command.trim_end()), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_process_stands_for_its_namespace() {
        let proc = tempfile::tempdir().unwrap();
        for (pid, link) in [
            ("20", "net:[7]"),
            ("3", "net:[7]"),
            ("100", "net:[8]"),
            ("self", "net:[9]"),
        ] {
            let directory = proc.path().join(pid).join("ns");
            fs::create_dir_all(&directory).unwrap();
            std::os::unix::fs::symlink(link, directory.join("net")).unwrap();
        }
        // One that may not be looked into has no link to read.
        fs::create_dir(proc.path().join("55")).unwrap();
        assert_eq!(namespaces(proc.path()), [(7, 3), (8, 100)].into());
    }
}
