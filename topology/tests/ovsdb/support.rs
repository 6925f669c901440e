//! A real `ovsdb-server` for one test, in a directory of its own, gone when the test ends.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use flowtap_topology::ovsdb::Address;
use serde_json::Value;
use tempfile::TempDir;

/// How long a test waits for what must happen: far longer than it takes, so that a busy machine does
/// not fail a test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `ready` gives a value.
pub(crate) fn eventually<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < deadline, "gave up waiting for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Runs a program to its end, which must be a good one; its stdout.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}: apt-get install openvswitch-switch iproute2"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    String::from_utf8(output.stdout).expect("text")
}

/// A process that is killed when the test ends.
pub(crate) struct Daemon(Child);

impl Daemon {
    pub(crate) fn start(command: &mut Command) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap_or_else(|error| panic!("{command:?}: {error}: apt-get install openvswitch-switch")))
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    /// Stops it where it stands, as a hanging server does, or lets it go on.
    pub(crate) fn signal(&self, signal: &str) {
        run(Command::new("kill").args([signal, &self.0.id().to_string()]));
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn terminate(mut self) {
        self.signal("-TERM");
        let _status = self.0.wait().expect("a child of ours");
    }

    fn end(&mut self) {
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.end();
    }
}

/// A database like that of a switch.
pub(crate) struct Database {
    directory: TempDir,
    server: Option<Daemon>,
}

impl Database {
    /// One that nobody serves yet.
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("ftovs")
            .tempdir()
            .expect("a directory");
        let database = Self {
            directory,
            server: None,
        };
        let schema = "/usr/share/openvswitch/vswitch.ovsschema";
        run(Command::new("ovsdb-tool")
            .arg("create")
            .arg(database.path("conf.db"))
            .arg(schema));
        database
    }

    /// A served one.
    pub(crate) fn served() -> Self {
        let mut database = Self::new();
        database.serve();
        database.change("init");
        database
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    pub(crate) fn address(&self) -> Address {
        Address::Unix(self.path("db.sock"))
    }

    /// Starts the server.
    pub(crate) fn serve(&mut self) {
        self.serve_at(&[&format!("punix:{}", self.path("db.sock").display())]);
    }

    pub(crate) fn serve_at(&mut self, remotes: &[&str]) {
        let mut command = self.command("ovsdb-server");
        command.arg(self.path("conf.db"));
        command.args(remotes.iter().map(|remote| format!("--remote={remote}")));
        command.arg(format!("--unixctl={}", self.path("ovsdb.ctl").display()));
        self.server = Some(Daemon::start(&mut command));
        let socket = remotes[0].trim_start_matches("punix:").to_owned();
        eventually("the server's socket", || {
            std::os::unix::net::UnixStream::connect(&socket).ok()
        });
    }

    pub(crate) fn server(&self) -> &Daemon {
        self.server.as_ref().expect("it is served")
    }

    /// Ends the server as a crash does.
    pub(crate) fn kill(&mut self) {
        self.server.take().expect("it is served").kill();
    }

    /// Ends the server in good order.
    pub(crate) fn stop(&mut self) {
        self.server.take().expect("it is served").terminate();
    }

    /// Changes the database by commands of `ovs-vsctl`, without a switch to wait for.
    pub(crate) fn change(&self, commands: &str) {
        self.change_at(&self.path("db.sock"), commands);
    }

    /// Changes the database while nobody can see it.
    pub(crate) fn change_unseen(&mut self, commands: &str) {
        let aside = self.path("aside.sock");
        self.serve_at(&[&format!("punix:{}", aside.display())]);
        self.change_at(&aside, commands);
        self.stop();
    }

    fn change_at(&self, socket: &Path, commands: &str) {
        let arguments: Vec<&str> = ["--no-wait"].into_iter().chain(commands.split(' ')).collect();
        self.vsctl_at(socket, &arguments);
    }

    /// A program of Open vSwitch that keeps to this directory.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"] {
            command.env(variable, self.directory());
        }
        command
    }

    pub(crate) fn vsctl(&self, arguments: &[&str]) -> String {
        self.vsctl_at(&self.path("db.sock"), arguments)
    }

    fn vsctl_at(&self, socket: &Path, arguments: &[&str]) -> String {
        let mut command = self.command("ovs-vsctl");
        command.args([
            "--timeout=30",
            "-vconsole:off",
            &format!("--db=unix:{}", socket.display()),
        ]);
        run(command.args(arguments))
    }

    /// The rows of a table as `ovs-vsctl` shows them, each by column.
    pub(crate) fn list(&self, table: &str) -> Vec<Value> {
        let text = self.vsctl(&["--format=json", "list", table]);
        let listed: Value = serde_json::from_str(&text).expect("JSON");
        let headings = listed["headings"].as_array().expect("headings");
        let row = |values: &Value| {
            let pairs = headings.iter().zip(values.as_array().expect("a row"));
            pairs
                .map(|(heading, value)| (heading.as_str().expect("a name").to_owned(), value.clone()))
                .collect()
        };
        listed["data"].as_array().expect("rows").iter().map(row).collect()
    }
}

/// The texts and numbers of a value as `ovs-vsctl` writes it: `["set", […]]`, or one.
pub(crate) fn elements(value: &Value) -> Vec<Value> {
    match value.as_array() {
        Some(tagged) if tagged[0] == "set" => tagged[1].as_array().expect("a set").clone(),
        Some(tagged) if tagged[0] == "uuid" => vec![tagged[1].clone()],
        _ => vec![value.clone()],
    }
}

/// A map as `ovs-vsctl` writes it: `["map", [[key, value]…]]`.
pub(crate) fn map(value: &Value) -> serde_json::Map<String, Value> {
    let pairs = value[1].as_array().expect("a map");
    let pair = |pair: &Value| (pair[0].as_str().expect("a key").to_owned(), pair[1].clone());
    pairs.iter().map(pair).collect()
}
