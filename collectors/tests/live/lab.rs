//! Network namespaces with veth pairs, gone when the test ends, whatever its end.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use flowtap_collectors::{CaptureRequest, Interface};

use super::frames::Sender;

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
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Runs `ip` with these words.
pub(crate) fn ip(words: &str) {
    let output = Command::new("ip").args(words.split_whitespace()).output();
    let output = output.unwrap_or_else(|error| panic!("ip: {error}: apt-get install iproute2"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {words}: {errors}");
}

/// A namespace.
pub(crate) struct Namespace {
    pub(crate) name: String,
}

impl Namespace {
    /// A new one, without a packet of its own accord: IPv6 is off.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        assert!(
            rustix::process::geteuid().is_root(),
            "tests of live captures make network namespaces: run them as root"
        );
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let namespace = Self {
            name: format!("ftc-{}-{number}", std::process::id()),
        };
        ip(&format!("netns add {}", namespace.name));
        for of in ["all", "default"] {
            let setting = format!("/proc/sys/net/ipv6/conf/{of}/disable_ipv6");
            namespace
                .inside(|| std::fs::write(&setting, "1"))
                .expect("no IPv6");
        }
        namespace
    }

    pub(crate) fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    /// `ip` inside.
    pub(crate) fn ip(&self, words: &str) {
        ip(&format!("-n {} {words}", self.name));
    }

    /// Runs `work` inside, on a thread of its own.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let path = self.path();
        std::thread::scope(|scope| {
            let work = scope.spawn(move || {
                enter(&path);
                work()
            });
            work.join().expect("the work inside the namespace is done")
        })
    }

    /// A command that runs inside.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// A pair of interfaces that are up: what is sent on `va` comes in at `vb`.
    pub(crate) fn pair() -> Self {
        let namespace = Self::new();
        namespace.ip("link add name va mtu 9000 type veth peer name vb mtu 9000");
        namespace.ip("link set va up");
        namespace.ip("link set vb up");
        namespace.wait_for_carrier();
        namespace
    }

    /// Waits until what is sent on `va` comes in at `vb`: the kernel notices only after a moment that the
    /// other end is up, and until then it drops what is sent.
    pub(crate) fn wait_for_carrier(&self) {
        let received = || {
            let table = self.inside(|| std::fs::read_to_string("/proc/thread-self/net/dev"));
            let table = table.expect("the kernel tells");
            let line = table.lines().find_map(|line| line.trim().strip_prefix("vb:"));
            let packets = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
            packets.expect("vb is there")
        };
        let (before, sender) = (received(), Sender::new(self, "va"));
        eventually("va to have a carrier", || {
            sender.send(&[0xff; 60]);
            (received() > before).then_some(())
        });
    }

    /// The index of an interface.
    pub(crate) fn index(&self, name: &str) -> u32 {
        self.inside(|| {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0");
            // Needs loopback; any socket tells.
            let socket = socket.or_else(|_| std::net::UdpSocket::bind("0.0.0.0:0"));
            rustix::net::netdevice::name_to_index(socket.expect("a socket"), name)
        })
        .unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// An interface as the topology would tell of it.
    pub(crate) fn interface(&self, name: &str) -> Interface {
        Interface {
            name: name.to_owned(),
            index: self.index(name),
            netns: Some(self.path()),
            is_up: true,
            node_tid: Arc::from(name),
            node_type: "veth".to_owned(),
            ipv4: Vec::new(),
        }
    }

    /// A request for all of its packets.
    pub(crate) fn request(&self, name: &str) -> CaptureRequest {
        CaptureRequest {
            interface: self.interface(name),
            ..CaptureRequest::default()
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _gone = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// Moves this thread, which must end soon, into a namespace.
pub(crate) fn enter(path: &Path) {
    use std::os::fd::AsFd as _;

    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

    let file = std::fs::File::open(path).expect("the namespace is there");
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may enter");
}

/// `filter`, `snaplen`, `exclude` put into a request.
pub(crate) fn narrowed(
    request: CaptureRequest,
    filter: &str,
    snaplen: u32,
    exclude: &[SocketAddr],
) -> CaptureRequest {
    CaptureRequest {
        filter: Some(filter.to_owned()),
        snaplen,
        exclude: exclude.to_vec(),
        ..request
    }
}

/// Runs lines of `ip` inside a namespace, by one process.
pub(crate) fn ip_batch(namespace: &str, lines: &str) {
    use std::io::Write as _;
    use std::process::Stdio;

    let mut child = Command::new("ip")
        .args(["-n", namespace, "-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("ip starts");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(lines.as_bytes()).expect("ip reads");
    drop(stdin);
    assert!(child.wait().expect("ip ends").success(), "{lines}");
}
