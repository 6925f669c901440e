//! `tcpdump -w` beside a capture.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use flowtap_flow::pcap::StreamParser;
use flowtap_flow::timestamp::Timestamp;
use rustix::process::{Pid, Signal, kill_process};

use super::lab::Namespace;
use super::record::Seen;

pub(crate) struct Tcpdump {
    child: Child,
    file: PathBuf,
    _directory: tempfile::TempDir,
}

impl Tcpdump {
    /// Starts it, and waits until it captures.
    pub(crate) fn start(namespace: &Namespace, interface: &str, arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("truth.pcap");
        let mut command = namespace.command("tcpdump");
        // Not as another user, who may not write there; each packet written as it comes.
        command.args([
            "-Z",
            "root",
            "-n",
            "--nano",
            "--immediate-mode",
            "-U",
            "-B",
            "65536",
        ]);
        command.args(["-i", interface, "-w"]).arg(&file).args(arguments);
        let child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = child.expect("tcpdump starts: apt-get install tcpdump");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let mut said = String::new();
        loop {
            let line = lines.next().and_then(Result::ok);
            let line = line.unwrap_or_else(|| panic!("tcpdump ended: {said}"));
            if line.contains("listening on") {
                break;
            }
            said.push_str(&line);
        }
        // Whatever else it says goes nowhere, and must not block it.
        std::thread::spawn(move || lines.count());
        Self {
            child,
            file,
            _directory: directory,
        }
    }

    /// Waits until it has written so many packets, but not for ever, stops it and reads them.
    pub(crate) fn finish(mut self, packets: usize) -> Vec<Seen> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while read(&self.file).len() < packets && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::INT).expect("it runs");
        self.child.wait().expect("it ends");
        read(&self.file)
    }
}

impl Drop for Tcpdump {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

fn read(file: &Path) -> Vec<Seen> {
    let mut seen = Vec::new();
    let bytes = std::fs::read(file).unwrap_or_default();
    StreamParser::new(Timestamp::ZERO)
        .push(&bytes, &mut |batch| {
            seen.extend(batch.iter().map(|packet| Seen {
                timestamp: packet.timestamp,
                len: packet.len,
                link_type: packet.link_type,
                data: packet.data.to_vec(),
            }));
        })
        .expect("tcpdump writes pcap");
    seen
}
