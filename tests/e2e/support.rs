//! A running `flowtap up` for one test, on ports of its own, gone when the test ends.

use std::cell::RefCell;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Once;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The binary under test.
pub(crate) const FLOWTAP: &str = env!("CARGO_BIN_EXE_flowtap");

/// How long a test waits for what must happen: far longer than it takes, so that a busy machine does
/// not fail a test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A file of `fixtures/`.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// A command without the variables and files of whoever runs the test.
pub(crate) fn clean(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("FLOWTAP_") || name_text.starts_with("SKYDIVE_") {
            command.env_remove(name);
        }
    }
    command
        .env("XDG_CONFIG_HOME", "/nonexistent")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null());
    command
}

/// The binary, in a network namespace if one is named.
fn inside(namespace: Option<&str>) -> Command {
    let Some(namespace) = namespace else {
        return clean(FLOWTAP);
    };
    let mut command = clean("ip");
    command.args(["netns", "exec", namespace, FLOWTAP]);
    command
}

/// Waits until `ready` gives a value.
pub(crate) fn eventually<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < deadline, "gave up waiting for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Says how to get a program that a test can't do without.
pub(crate) fn need(program: &str, package: &str) {
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .output();
    assert!(
        found.is_ok_and(|output| output.status.success()),
        "no {program}: apt-get install -y --no-install-recommends {package}"
    );
}

/// A running `flowtap up`.
pub(crate) struct Server {
    child: Child,
    namespace: Option<String>,
    stdout: Receiver<String>,
    stderr: Option<std::thread::JoinHandle<String>>,
    pub(crate) http: SocketAddr,
    pub(crate) sflow: SocketAddr,
    pub(crate) pcap_socket: SocketAddr,
}

impl Server {
    /// Starts one that stores in `data`, and waits until it says where it listens.
    pub(crate) fn start(data: &Path) -> Self {
        Self::start_with(data, &[])
    }

    /// The same with further arguments.
    pub(crate) fn start_with(data: &Path, arguments: &[&str]) -> Self {
        Self::start_by(inside(None), data, arguments)
    }

    /// Starts one with SIGHUP ignored.
    pub(crate) fn start_under_nohup(data: &Path) -> Self {
        let mut command = clean("nohup");
        command.arg(FLOWTAP);
        Self::start_by(command, data, &[])
    }

    fn start_by(mut command: Command, data: &Path, arguments: &[&str]) -> Self {
        command.args([
            "up",
            "--listen=127.0.0.1:0",
            "--sflow=127.0.0.1:0",
            "--pcap-socket=127.0.0.1:0",
            "--data-dir",
        ]);
        command.arg(data).args(arguments);
        Self::spawn(command, None)
    }

    /// Starts one in a network namespace, on the default ports.
    pub(crate) fn start_in(namespace: &str, data: &Path, arguments: &[&str]) -> Self {
        let mut command = inside(Some(namespace));
        command.args(["up", "--data-dir"]).arg(data).args(arguments);
        Self::spawn(command, Some(namespace.to_owned()))
    }

    fn spawn(mut command: Command, namespace: Option<String>) -> Self {
        note_panics();
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let (lines, stdout) = mpsc::channel();
        let pipe = BufReader::new(child.stdout.take().expect("piped"));
        std::thread::spawn(move || {
            pipe.lines()
                .map_while(Result::ok)
                .try_for_each(|line| lines.send(line))
        });
        let mut pipe = child.stderr.take().expect("piped");
        let stderr = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = pipe.read_to_string(&mut text);
            text
        });
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut server = Self {
            child,
            namespace,
            stdout,
            stderr: Some(stderr),
            http: nowhere,
            sflow: nowhere,
            pcap_socket: nowhere,
        };
        server.http = server.address_after("HTTP");
        server.sflow = server.address_after("sFlow");
        server.pcap_socket = server.address_after("pcap socket");
        server
    }

    /// The address on the next line of stdout that begins with `label`.
    fn address_after(&mut self, label: &str) -> SocketAddr {
        loop {
            let Ok(line) = self.stdout.recv_timeout(PATIENCE) else {
                panic!("no `{label}` line on stdout; stderr: {}", self.end_and_read_log());
            };
            if line.trim_start().starts_with(label) {
                let address = line.rsplit([' ', '/']).next().and_then(|text| text.parse().ok());
                return address.unwrap_or_else(|| panic!("no address in `{line}`"));
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal: `TERM`, `HUP`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.pid().to_string()])
            .status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -{name} works");
    }

    /// Asks it to stop, and returns its status and its log.
    pub(crate) fn terminate(mut self) -> (ExitStatus, String) {
        self.signal("TERM");
        let status = eventually("the end after SIGTERM", || {
            self.child.try_wait().expect("a child of ours")
        });
        (status, self.end_and_read_log())
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(mut self) {
        self.end_and_read_log();
    }

    fn end_and_read_log(&mut self) -> String {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.stderr
            .take()
            .and_then(|thread| thread.join().ok())
            .unwrap_or_default()
    }

    /// Runs `flowtap ARGUMENTS` against it.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Output {
        let mut command = inside(self.namespace.as_deref());
        command
            .args(arguments)
            .env("FLOWTAP_ANALYZER", self.http.to_string());
        command.env("FLOWTAP_PCAP_SOCKET", self.pcap_socket.to_string());
        command.output().expect("the binary runs")
    }

    /// The same, which must succeed; its stdout.
    pub(crate) fn text(&self, arguments: &[&str]) -> String {
        let output = self.ask(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// The answer to a Gremlin query.
    pub(crate) fn query(&self, gremlin: &str) -> Value {
        serde_json::from_str(&self.text(&["query", gremlin])).expect("JSON")
    }

    /// The number that a Gremlin query answers.
    pub(crate) fn count(&self, gremlin: &str) -> u64 {
        self.query(gremlin)
            .as_u64()
            .unwrap_or_else(|| panic!("`{gremlin}` answers no number"))
    }

    /// `/api/status`.
    pub(crate) fn status(&self) -> Value {
        serde_json::from_str(&self.text(&["status"])).expect("JSON")
    }

    /// The ledger of the first capture of a type.
    pub(crate) fn ledger(&self, capture_type: &str) -> Value {
        let captures: Value = serde_json::from_str(&self.text(&["capture", "list"])).expect("JSON");
        let captures = captures.as_object().expect("captures by id");
        let capture = captures.values().find(|capture| capture["Type"] == capture_type);
        capture.unwrap_or_else(|| panic!("no {capture_type} capture"))["Ledger"].clone()
    }

    /// Replays fixtures, and waits until they are taken.
    pub(crate) fn replay(&self, fixtures: &[&str]) {
        let mut arguments = vec!["replay".to_owned()];
        arguments.extend(fixtures.iter().map(|name| fixture(name).display().to_string()));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.text(&arguments);
    }

    /// `GET path`: status and body.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.http).expect("it listens");
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.http).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let status = answer
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .expect("a status line");
        let (_, body) = answer.split_once("\r\n\r\n").expect("headers end");
        (status, body.to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let ended = self.child.try_wait().ok().flatten();
        let log = self.end_and_read_log();
        if std::thread::panicking() {
            eprintln!("--- log of flowtap up ---\n{log}--- end of the log ---");
            if let Some(status) = ended {
                eprintln!("flowtap up had ended before: {status}");
            }
            // Who sees only the end of a long output wants to know, too.
            LAST_PANIC.with_borrow(|why| eprintln!("it failed with: {why}"));
        }
    }
}

thread_local! {
    /// What the last panic of this thread said.
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// From now on panics are noted in [`LAST_PANIC`], besides what else becomes of them.
fn note_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            LAST_PANIC.with_borrow_mut(|why| *why = panic.to_string());
            before(panic);
        }));
    });
}

/// Pipes `input` into a program and returns what it printed.
pub(crate) fn pipe(program: &str, arguments: &[&str], input: &[u8]) -> String {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("it ends");
    writer
        .join()
        .expect("the writer ends")
        .expect("all of it is read");
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        output.status
    );
    String::from_utf8(output.stdout).expect("text")
}

/// A network namespace with nothing but its loopback, gone when the test ends.
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    pub(crate) fn new(what: &str) -> Self {
        let namespace = Self {
            name: format!("ft{}-{what}", std::process::id()),
        };
        let ip = |arguments: &[&str]| {
            let output = Command::new("ip").args(arguments).output().expect("ip runs");
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "network namespaces need root: {error}");
        };
        ip(&["netns", "add", &namespace.name]);
        ip(&["-n", &namespace.name, "link", "set", "lo", "up"]);
        namespace
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}
