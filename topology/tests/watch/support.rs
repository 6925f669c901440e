//! Network namespaces for one test, a graph that watches them, and what `ip` says of the same.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flowtap_topology::watch::{WatchOptions, WatcherHealth, Watchers};
use flowtap_topology::{Graph, Node, OWNERSHIP, Snapshot};
use serde_json::Value;

/// How long a test waits for what must happen: far longer than it takes, so that a busy machine does not
/// fail a test.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a command that must succeed, and returns what it prints.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| {
        panic!("{command:?}: {error}; apt-get install -y --no-install-recommends iproute2 util-linux ethtool")
    });
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Waits until `ready` finds nothing wrong.
pub(crate) fn eventually(what: &str, mut ready: impl FnMut() -> Result<(), String>) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let Err(wrong) = ready() else { return };
        assert!(Instant::now() < deadline, "gave up waiting for {what}:\n{wrong}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A directory of namespaces that only this test knows, gone with all that is in it when it ends. The
/// machine's own namespaces are never touched.
pub(crate) struct Lab {
    root: tempfile::TempDir,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let is_root = status.lines().any(|line| line.starts_with("Uid:\t0\t0"));
        assert!(is_root, "network namespaces need root: run it with sudo");
        Self {
            root: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn directory(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Makes a namespace as `ip netns add` does: an empty file first, the namespace over it a moment
    /// later.
    pub(crate) fn add(&self, name: &str) {
        let path = self.path(name);
        fs::write(&path, "").unwrap();
        run(Command::new("unshare")
            .arg(format!("--net={}", path.display()))
            .arg("true"));
    }

    pub(crate) fn delete(&self, name: &str) {
        let path = self.path(name);
        run(Command::new("umount").arg("--lazy").arg(&path));
        fs::remove_file(path).unwrap();
    }

    /// A command that runs in a namespace.
    pub(crate) fn inside(&self, name: &str, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.path(name).display()))
            .arg(program);
        command
    }

    /// Runs `ip` in a namespace. `@NAME` is the path of another one.
    pub(crate) fn ip(&self, name: &str, arguments: &str) {
        let arguments = arguments
            .split_whitespace()
            .map(|argument| match argument.strip_prefix('@') {
                Some(other) => self.path(other).display().to_string(),
                None => argument.to_owned(),
            });
        run(self.inside(name, "ip").args(arguments));
    }

    /// Runs many lines of `ip` in a namespace as fast as it can.
    pub(crate) fn batch(&self, name: &str, lines: &str) {
        let file = self.root.path().with_extension(format!("{name}.batch"));
        fs::write(&file, lines).unwrap();
        run(self.inside(name, "ip").arg("-batch").arg(&file));
        fs::remove_file(file).unwrap();
    }

    /// What `PROGRAM ARGUMENTS` prints in a namespace, as JSON: a list, which is empty if it prints
    /// nothing.
    pub(crate) fn json(&self, name: &str, program: &str, arguments: &str) -> Vec<Value> {
        let text = run(self.inside(name, program).args(arguments.split(' ')));
        if text.trim().is_empty() {
            return Vec::new();
        }
        serde_json::from_str(&text).unwrap()
    }

    /// Options that watch nothing but the lab and the namespace that the test runs in.
    pub(crate) fn options(&self) -> WatchOptions {
        let mut options = WatchOptions::default();
        options.directories = vec![self.directory().to_owned()];
        options.processes = false;
        // What is only seen when everything is looked at again is not seen in time.
        options.metrics_interval = Duration::from_secs(3600);
        options
    }

    pub(crate) fn watch(&self) -> Watched {
        Watched::start(self.options())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for entry in fs::read_dir(self.directory()).into_iter().flatten().flatten() {
            let _ = Command::new("umount")
                .arg("--lazy")
                .arg(entry.path())
                .stderr(Stdio::null())
                .status();
        }
    }
}

/// A graph and its watchers.
pub(crate) struct Watched {
    pub(crate) graph: Arc<Graph>,
    pub(crate) watchers: Watchers,
}

impl Watched {
    pub(crate) fn start(options: WatchOptions) -> Self {
        let graph = Arc::new(Graph::new("lab"));
        let watchers = Watchers::start(Arc::clone(&graph), options).unwrap();
        let watched = Self { graph, watchers };
        watched.is_ready();
        watched
    }

    /// Waits until each watcher has had its first look.
    pub(crate) fn is_ready(&self) {
        eventually("the first look", || {
            let health = self.watchers.health();
            self.watchers
                .is_ready()
                .then_some(())
                .ok_or_else(|| format!("{health:#?}"))
        });
    }

    pub(crate) fn health(&self, name: &str) -> Option<WatcherHealth> {
        self.watchers
            .health()
            .into_iter()
            .find(|health| health.name == name)
    }

    pub(crate) fn stop(self) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let late = runtime.block_on(self.watchers.stop(PATIENCE));
        assert!(late.is_empty(), "still running: {late:?}");
    }
}

/// The node of a namespace.
pub(crate) fn namespace<'s>(snapshot: &'s Snapshot, name: &str) -> Option<&'s Arc<Node>> {
    snapshot
        .nodes()
        .find(|node| node.node_type() == Some("netns") && node.name() == Some(name))
}

/// The interfaces of a namespace.
pub(crate) fn interfaces<'s>(snapshot: &'s Snapshot, name: &str) -> Vec<&'s Arc<Node>> {
    let Some(owner) = namespace(snapshot, name) else {
        return Vec::new();
    };
    let owned = snapshot
        .out_edges(&owner.id)
        .iter()
        .filter(|edge| edge.relation() == OWNERSHIP);
    owned.filter_map(|edge| snapshot.node(&edge.child)).collect()
}

/// One interface of a namespace.
pub(crate) fn interface<'s>(snapshot: &'s Snapshot, namespace: &str, name: &str) -> Option<&'s Arc<Node>> {
    interfaces(snapshot, namespace)
        .into_iter()
        .find(|node| node.name() == Some(name))
}
