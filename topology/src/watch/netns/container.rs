//! Whose namespace it is, told by the control groups of a process in it.

/// A container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Container {
    /// Its name where the manager uses names for groups, else the first 12 digits of its ID.
    pub(super) name: String,
    /// `docker`, `podman`, `containerd`, `crio`, `lxc`, `nspawn`.
    pub(super) manager: &'static str,
}

/// What comes before an ID in the names of groups that systemd makes: `docker-<ID>.scope`.
const SCOPES: [(&str, &str); 4] = [
    ("docker-", "docker"),
    ("libpod-", "podman"),
    ("cri-containerd-", "containerd"),
    ("crio-", "crio"),
];

/// Finds the container in `/proc/PID/cgroup`.
pub(super) fn container(groups: &str) -> Option<Container> {
    let paths = groups.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    paths
        .flat_map(|path| path.split('/'))
        .scan("", by_group)
        .flatten()
        .next()
}

/// Looks at one directory of a path, and remembers it in `above` for the next.
fn by_group<'a>(above: &mut &'a str, group: &'a str) -> Option<Option<Container>> {
    let found = || {
        let named = |name: &str, manager| Container {
            name: name.to_owned(),
            manager,
        };
        if let Some(name) = group.strip_prefix("lxc.payload.") {
            return Some(named(name, "lxc"));
        }
        if let Some(machine) = group
            .strip_prefix("machine-")
            .and_then(|name| name.strip_suffix(".scope"))
        {
            return Some(named(machine, "nspawn"));
        }
        let scope = group.strip_suffix(".scope").unwrap_or(group);
        for (prefix, manager) in SCOPES {
            if let Some(id) = scope.strip_prefix(prefix).and_then(short) {
                return Some(named(id, manager));
            }
        }
        match *above {
            "docker" => short(group).map(|id| named(id, "docker")),
            "lxc" if !group.is_empty() => Some(named(group, "lxc")),
            _ => None,
        }
    };
    let found = found();
    *above = group;
    Some(found)
}

/// The first 12 digits of an ID, which are enough for people.
fn short(id: &str) -> Option<&str> {
    let is_id = id.len() == 64 && id.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_id.then(|| &id[..12])
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn found(groups: &str) -> Option<(String, &'static str)> {
        container(&groups.replace("ID", ID)).map(|found| (found.name, found.manager))
    }

    #[test]
    fn containers_are_known_by_their_groups() {
        let short = || "0123456789ab".to_owned();
        let cases = [
            ("0::/system.slice/docker-ID.scope", Some((short(), "docker"))),
            (
                "12:pids:/x\n3:net_cls,net_prio:/docker/ID",
                Some((short(), "docker")),
            ),
            (
                "0::/machine.slice/libpod-ID.scope/container",
                Some((short(), "podman")),
            ),
            (
                "0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-ID.scope",
                Some((short(), "containerd")),
            ),
            ("0::/kubepods.slice/crio-ID.scope", Some((short(), "crio"))),
            ("0::/lxc.payload.web1/init.scope", Some(("web1".into(), "lxc"))),
            ("0::/lxc/web2", Some(("web2".into(), "lxc"))),
            (
                "0::/machine.slice/machine-fedora.scope",
                Some(("fedora".into(), "nspawn")),
            ),
            ("0::/user.slice/user-1000.slice/session-2.scope", None),
            ("0::/docker-buildx", None),
            ("", None),
        ];
        for (groups, expected) in cases {
            assert_eq!(found(groups), expected, "{groups}");
        }
    }
}
