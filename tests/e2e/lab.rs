//! A lab of `tests/lab`: a real Open vSwitch in network namespaces, and machines that boot there.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::{Server, need};

/// How scripts end that this computer cannot run: as automake has it.
const CANNOT: i32 = 77;

/// A lab, gone when the test ends.
pub(crate) struct Lab {
    tag: String,
}

impl Lab {
    /// Brings one up; `what` tells it from those of other tests.
    pub(crate) fn up(what: &str) -> Self {
        Self::up_with(what, &[])
    }

    /// The same, without any machine.
    pub(crate) fn bare(what: &str) -> Self {
        Self::up_with(what, &["bare"])
    }

    fn up_with(what: &str, arguments: &[&str]) -> Self {
        need("ovs-vsctl", "openvswitch-switch");
        let lab = Self {
            tag: format!("ft{what}{}", std::process::id()),
        };
        lab.script("up.sh", arguments);
        lab
    }

    fn path(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab").join(name)
    }

    /// Runs `tests/lab/NAME TAG ARGUMENTS`, and returns what it printed.
    pub(crate) fn script(&self, name: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(Self::path(name));
        command.arg(&self.tag).args(arguments);
        run(&mut command)
    }

    /// The same; `None`, with the reason printed, where this computer cannot do it.
    pub(crate) fn script_or_skip(&self, name: &str, arguments: &[&str]) -> Option<String> {
        let mut command = Command::new(Self::path(name));
        let output = command.arg(&self.tag).args(arguments).output().expect("it runs");
        if output.status.code() == Some(CANNOT) {
            eprintln!("skipped: {}", String::from_utf8_lossy(&output.stderr).trim_end());
            return None;
        }
        Some(printed(&command, output))
    }

    /// A file of the lab, if it is there.
    pub(crate) fn file(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(format!("/run/flowtap-lab/{}/{name}", self.tag)).ok()
    }

    /// A flowtap where the switch's host would be, that watches the switch.
    pub(crate) fn server(&self, data: &Path) -> Server {
        self.server_with(data, &[])
    }

    /// The same, which sees its own namespace alone. Those of other tests come and go meanwhile: for a test
    /// that counts what flowtap holds, they would be threads, sockets and new interfaces.
    pub(crate) fn server_alone(&self, data: &Path) -> Server {
        self.server_that_sees(&[], data)
    }

    /// The same, which sees the namespaces in these directories, too.
    pub(crate) fn server_that_sees(&self, namespaces: &[String], data: &Path) -> Server {
        let config = data.join("alone.toml");
        let topology = format!("[topology]\nnamespaces = {namespaces:?}\ncontainers = false\n");
        std::fs::write(&config, topology).expect("it is written");
        self.server_with(&data.join("store"), &[&format!("--config={}", config.display())])
    }

    /// The same, which reads counters every second.
    pub(crate) fn server_counting(&self, data: &Path) -> Server {
        let config = data.join("counting.toml");
        std::fs::write(&config, "[topology]\nmetrics_seconds = 1\n").expect("it is written");
        self.server_with(&data.join("store"), &[&format!("--config={}", config.display())])
    }

    fn server_with(&self, data: &Path, arguments: &[&str]) -> Server {
        let ovsdb = format!("--ovsdb={}", self.database());
        let arguments: Vec<&str> = [ovsdb.as_str()].iter().chain(arguments).copied().collect();
        Server::start_in(&self.switch(), data, &arguments)
    }

    /// The switch's namespace.
    pub(crate) fn switch(&self) -> String {
        self.namespace("sw")
    }

    /// The namespace of a machine.
    pub(crate) fn namespace(&self, name: &str) -> String {
        format!("{}-{name}", self.tag)
    }

    /// Adds a network namespace beside those of the machines, and returns its name. It goes with the lab.
    pub(crate) fn add_namespace(&self, name: &str) -> String {
        let namespace = self.namespace(name);
        run(Command::new("ip").args(["netns", "add", &namespace]));
        namespace
    }

    pub(crate) fn delete_namespace(&self, name: &str) {
        run(Command::new("ip").args(["netns", "del", &self.namespace(name)]));
    }

    /// Runs `ip -n SWITCH LINE`, and says whether this kernel has what it makes.
    pub(crate) fn has_kind(&self, line: &str) -> bool {
        let mut command = Command::new("ip");
        command.args(["-n", &self.switch()]).args(line.split_whitespace());
        command.output().is_ok_and(|output| output.status.success())
    }

    fn database(&self) -> String {
        format!("unix:/run/flowtap-lab/{}/db.sock", self.tag)
    }

    /// `ovs-vsctl ARGUMENTS` at the lab's switch.
    pub(crate) fn vsctl(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("ovs-vsctl");
        command
            .arg("--timeout=10")
            .arg(format!("--db={}", self.database()))
            .args(arguments);
        run(&mut command)
    }

    /// `ip -n NAMESPACE ARGUMENTS`.
    pub(crate) fn ip(&self, namespace: &str, arguments: &[&str]) -> String {
        let mut command = Command::new("ip");
        command.args(["-n", namespace]).args(arguments);
        run(&mut command)
    }

    /// A program inside a namespace.
    pub(crate) fn inside(&self, namespace: &str, program: &[&str]) -> String {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace]).args(program);
        run(&mut command)
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("it runs");
    printed(command, output)
}

/// What a command printed that has worked.
fn printed(command: &Command, output: Output) -> String {
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout)
        .expect("text")
        .trim_end()
        .to_owned()
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = Command::new(Self::path("down.sh")).arg(&self.tag).status();
    }
}
