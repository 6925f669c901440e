//! Whether the host is a virtual machine, a container, or runs such.

use std::fs;
use std::path::Path;

/// What is virtual here.
#[derive(Debug, PartialEq)]
pub(super) struct Virtualization {
    /// `kvm`, `vmware`, `docker`.
    pub(super) system: &'static str,
    /// `guest`, or `host` if it is this that runs the others.
    pub(super) role: &'static str,
}

/// What firmware says of the machine, and which hypervisor makes such.
const MACHINES: [(&str, &str); 10] = [
    ("KVM", "kvm"),
    ("Amazon EC2", "kvm"),
    ("Google Compute Engine", "kvm"),
    ("OpenStack", "kvm"),
    ("QEMU", "qemu"),
    ("VMware", "vmware"),
    ("VirtualBox", "vbox"),
    ("innotek", "vbox"),
    ("Xen", "xen"),
    ("Microsoft Corporation", "hyperv"),
];

/// Looks below `root` for the innermost layer: a container in a virtual machine is a container.
pub(super) fn virtualization(root: &Path) -> Option<Virtualization> {
    let text = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let guest = |system| {
        Some(Virtualization {
            system,
            role: "guest",
        })
    };
    if root.join(".dockerenv").exists() {
        return guest("docker");
    }
    let manager = text("run/systemd/container");
    let managers = ["lxc", "podman", "docker", "systemd-nspawn"];
    if let Some(system) = managers.into_iter().find(|system| *system == manager.trim()) {
        return guest(system);
    }
    let machine = ["sys_vendor", "product_name", "board_vendor"]
        .map(|file| text(&format!("sys/class/dmi/id/{file}")))
        .concat();
    // The vendor of Hyper-V makes laptops too.
    let is_virtual = text("proc/cpuinfo")
        .lines()
        .any(|line| line.starts_with("flags") && line.split_whitespace().any(|flag| flag == "hypervisor"));
    if text("sys/hypervisor/type").trim() == "xen" {
        return guest("xen");
    }
    if is_virtual {
        let known = MACHINES.into_iter().find(|(said, _)| machine.contains(said));
        return guest(known.map_or("kvm", |(_, system)| system));
    }
    let modules = text("proc/modules");
    let runs = |module: &str| modules.lines().any(|line| line.split(' ').next() == Some(module));
    runs("kvm").then_some(Virtualization {
        system: "kvm",
        role: "host",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Option<(&'static str, &'static str)> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        virtualization(root.path()).map(|found| (found.system, found.role))
    }

    #[test]
    fn guests_and_hosts_are_told_apart() {
        let guest = ("proc/cpuinfo", "flags\t\t: fpu hypervisor\n");
        let metal = ("proc/cpuinfo", "flags\t\t: fpu\n");
        let vendor = "sys/class/dmi/id/sys_vendor";
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[guest, (vendor, "QEMU\n")]), Some(("qemu", "guest")));
        assert_eq!(
            found(&[guest, (vendor, "VMware, Inc.\n")]),
            Some(("vmware", "guest"))
        );
        assert_eq!(found(&[guest]), Some(("kvm", "guest")));
        assert_eq!(found(&[metal, (vendor, "Microsoft Corporation\n")]), None);
        assert_eq!(
            found(&[metal, ("proc/modules", "kvm 1 2 - Live\n")]),
            Some(("kvm", "host"))
        );
        assert_eq!(found(&[guest, (".dockerenv", "")]), Some(("docker", "guest")));
        assert_eq!(
            found(&[guest, ("run/systemd/container", "lxc\n")]),
            Some(("lxc", "guest"))
        );
    }
}
