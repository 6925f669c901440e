//! The standard `process_*` metrics, read from `/proc`.

use std::fs;

use super::exposition::{Exposition, Kind};

/// Clock ticks per second of `/proc/*/stat`: `USER_HZ`, which Linux fixes at 100 for user space on
/// every architecture that flowtap is built for.
const TICKS_PER_SECOND: f64 = 100.0;

/// Adds what can be read; where `/proc` cannot be, there is nothing.
pub(crate) fn add(out: &mut Exposition) {
    if let Some(stat) = read("/proc/self/stat").as_deref().and_then(Stat::parse) {
        let seconds = stat.cpu_ticks / TICKS_PER_SECOND;
        let help = "Total user and system CPU time spent in seconds.";
        out.single("process_cpu_seconds_total", Kind::Counter, help, seconds);
        if let Some(boot) = read("/proc/stat").as_deref().and_then(boot_time) {
            let start = boot + stat.start_ticks / TICKS_PER_SECOND;
            let help = "Start time of the process since unix epoch in seconds.";
            out.single("process_start_time_seconds", Kind::Gauge, help, start);
        }
    }
    if let Some(status) = read("/proc/self/status") {
        let sizes = [
            (
                "process_virtual_memory_bytes",
                "VmSize:",
                "Virtual memory size in bytes.",
            ),
            (
                "process_resident_memory_bytes",
                "VmRSS:",
                "Resident memory size in bytes.",
            ),
        ];
        for (name, key, help) in sizes {
            if let Some(kib) = field(&status, key).and_then(|value| value.parse::<u64>().ok()) {
                out.single(name, Kind::Gauge, help, kib * 1024);
            }
        }
    }
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        // One of them is the directory's own, open while it is read.
        let open = entries.count().saturating_sub(1);
        out.single(
            "process_open_fds",
            Kind::Gauge,
            "Number of open file descriptors.",
            open,
        );
    }
    if let Some(max) = read("/proc/self/limits").as_deref().and_then(max_fds) {
        let help = "Maximum number of open file descriptors.";
        out.single("process_max_fds", Kind::Gauge, help, max);
    }
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

struct Stat {
    cpu_ticks: f64,
    start_ticks: f64,
}

impl Stat {
    /// proc(5): utime, stime and starttime are fields 14, 15 and 22. Field 2, the program's name, may
    /// hold blanks and brackets, so that counting begins behind its last bracket.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            start_ticks: field(22)?,
        })
    }
}

fn boot_time(text: &str) -> Option<f64> {
    field(text, "btime")?.parse().ok()
}

fn max_fds(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The first word behind `key` at the begin of a line.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(key))?
        .split_whitespace()
        .next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let text = "42 (a) b (c)) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 12345 1 2";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.cpu_ticks, stat.start_ticks), (300.0, 12345.0));
        assert!(Stat::parse("42 (a) S 1").is_none());
    }

    #[test]
    fn this_process_has_them_all() {
        let mut out = Exposition::default();
        add(&mut out);
        let text = out.into_text();
        for name in [
            "cpu_seconds_total",
            "start_time_seconds",
            "virtual_memory_bytes",
            "resident_memory_bytes",
            "open_fds",
            "max_fds",
        ] {
            assert!(
                text.contains(&format!("\nprocess_{name} ")),
                "{name} is missing in {text}"
            );
        }
    }
}
