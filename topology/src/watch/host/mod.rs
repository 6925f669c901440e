//! The host itself: what it is, read once from `/proc`, `/sys` and `/etc`.

mod cpu;
mod platform;
mod virtualization;

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::element::Metadata;
use crate::graph::Graph;

use super::health::Reporter;

/// Says of the host's node what is known of the host.
pub(super) fn describe(graph: &Graph, reporter: &Reporter) {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    match graph.merge_metadata(graph.host(), read(Path::new("/"), &name)) {
        Ok(()) => reporter.running(),
        Err(error) => reporter.failed("describing the host", &std::io::Error::other(error)),
    }
}

/// The metadata of the host whose files are below `root`.
fn read(root: &Path, name: &str) -> Metadata {
    let text = |path: &str| {
        let text = fs::read_to_string(root.join(path)).unwrap_or_default();
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    let platform = platform::platform(
        &text("etc/os-release")
            .or_else(|| text("usr/lib/os-release"))
            .unwrap_or_default(),
    );
    let cpus = text("proc/cpuinfo")
        .map(|info| cpu::cpus(&info))
        .filter(|cpus| !cpus.is_empty());
    let virtualization = virtualization::virtualization(root);
    let entries = [
        ("Hostname", Some(name.into())),
        ("OS", Some("linux".into())),
        (
            "KernelVersion",
            text("proc/sys/kernel/osrelease").map(Value::from),
        ),
        (
            "KernelCmdLine",
            text("proc/cmdline").map(|line| platform::command_line(&line)),
        ),
        (
            "InstanceID",
            text("var/lib/cloud/data/instance-id").map(Value::from),
        ),
        ("Platform", platform.name.map(Value::from)),
        ("PlatformFamily", platform.family.map(Value::from)),
        ("PlatformVersion", platform.version.map(Value::from)),
        (
            "VirtualizationSystem",
            virtualization.as_ref().map(|found| found.system.into()),
        ),
        (
            "VirtualizationRole",
            virtualization.as_ref().map(|found| found.role.into()),
        ),
        ("CPU", cpus.map(Value::from)),
    ];
    let known = entries.into_iter();
    known
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_is_described() {
        let host = read(Path::new("/"), "h");
        assert_eq!(host["OS"], "linux");
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        assert_eq!(host["KernelVersion"], release.trim());
        assert!(!host["CPU"].as_array().unwrap().is_empty());
    }

    #[test]
    fn what_is_not_known_is_not_said() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("proc")).unwrap();
        fs::write(root.path().join("proc/cmdline"), "quiet root=/dev/vda1\n").unwrap();
        let host = read(root.path(), "h");
        let keys: Vec<_> = host.keys().map(String::as_str).collect();
        assert_eq!(keys, ["Hostname", "KernelCmdLine", "OS"]);
    }
}
