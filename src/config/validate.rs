//! Whether the values make sense together, asked before anything starts.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use flowtap_collectors::sflow::AllowList;
use flowtap_flow::point::PointOptions;
use flowtap_flow::table::TableOptions;
use flowtap_topology::fabric::FabricLink;
use flowtap_topology::ovsdb::Address;
use tracing_subscriber::EnvFilter;

use super::{Config, Packets, Sflow, Storage, Topology};

impl Config {
    /// Refuses what can't work, in one line that says what to do.
    ///
    /// # Errors
    /// The first problem found.
    pub(crate) fn validate(&self) -> Result<()> {
        self.exposure()?;
        for (name, value) in [
            ("topology.metrics_seconds", self.topology.metrics_seconds),
            ("topology.max_nodes", self.topology.max_nodes as u64),
            ("flows.max", self.flows.max as u64),
            ("flows.update_seconds", self.flows.update_seconds),
            ("flows.expire_seconds", self.flows.expire_seconds),
            ("packets.memory_bytes", self.packets.memory_bytes),
            ("queries.timeout_seconds", self.queries.timeout_seconds),
            ("queries.max_rows", self.queries.max_rows),
            ("queries.max_bytes", self.queries.max_bytes),
            ("queries.at_once", self.queries.at_once as u64),
            ("pcap_socket.max_clients", self.pcap_socket.max_clients as u64),
            (
                "sflow.receive_buffer_bytes",
                self.sflow.receive_buffer_bytes as u64,
            ),
        ] {
            ensure!(value > 0, "{name} must be more than 0");
        }
        let longest = TableOptions::LONGEST_EXPIRY.as_secs();
        ensure!(
            self.flows.expire_seconds <= longest,
            "flows.expire_seconds is {}; give at most {longest}",
            self.flows.expire_seconds
        );
        self.sflow.agents()?;
        self.topology.ovsdb()?;
        self.topology.fabric()?;
        self.packets.limit()?;
        self.log_filter()?;
        self.storage.directory()?;
        Ok(())
    }

    /// Refuses to listen beyond loopback unless that was asked for in so many words: whoever reaches an input
    /// is believed, and whoever reaches HTTP may do everything.
    fn exposure(&self) -> Result<()> {
        ensure!(
            self.http.insecure || self.http.listen.ip().is_loopback(),
            "http.listen {}: listening beyond loopback needs --insecure: there is no authentication yet",
            self.http.listen
        );
        let pcap_socket = &self.pcap_socket;
        ensure!(
            pcap_socket.insecure || !pcap_socket.listen.is_beyond_loopback(),
            "pcap_socket.listen {}: listening beyond loopback needs --insecure: anybody can send packets there",
            pcap_socket.listen
        );
        let sflow = &self.sflow;
        ensure!(
            sflow.insecure || !sflow.agents.is_empty() || !sflow.listen.is_beyond_loopback(),
            "sflow.listen {}: listening beyond loopback needs --sflow-agents, with the networks that may send, or \
             --insecure: UDP cannot tell who sends",
            sflow.listen
        );
        Ok(())
    }

    /// The parsed log filter.
    ///
    /// # Errors
    /// A directive that is none.
    pub(crate) fn log_filter(&self) -> Result<EnvFilter> {
        EnvFilter::try_new(&self.log.filter).with_context(|| {
            format!(
                "log filter `{}`: try `info` or `info,flowtap_storage=debug`",
                self.log.filter
            )
        })
    }
}

impl Sflow {
    /// Who may send.
    ///
    /// # Errors
    /// What is no network.
    pub(crate) fn agents(&self) -> Result<AllowList> {
        let agents = AllowList::parse(&self.agents);
        agents.map_err(anyhow::Error::msg).context("sflow.agents")
    }

    /// After how long an agent is forgotten, if ever.
    pub(crate) fn agent_idle(&self) -> Option<Duration> {
        (self.agent_idle_seconds > 0).then(|| Duration::from_secs(self.agent_idle_seconds))
    }
}

impl Topology {
    /// Where Open vSwitch's database listens, if it is asked.
    ///
    /// # Errors
    /// No address.
    pub(crate) fn ovsdb(&self) -> Result<Option<Address>> {
        if self.ovsdb == "off" {
            return Ok(None);
        }
        let address = self.ovsdb.parse();
        address.map(Some).context("topology.ovsdb, or --ovsdb")
    }

    /// The links drawn.
    ///
    /// # Errors
    /// The first that is none.
    pub(crate) fn fabric(&self) -> Result<Vec<FabricLink>> {
        let links = self.fabric.iter().map(|text| text.parse::<FabricLink>());
        links.collect::<Result<_, _>>().context("topology.fabric")
    }
}

impl Packets {
    /// Packets kept of each flow, as the flow table counts them.
    ///
    /// # Errors
    /// A negative number other than -1, or one past 32 bits.
    pub(crate) fn limit(&self) -> Result<u32> {
        match self.per_flow {
            -1 => Ok(PointOptions::UNLIMITED),
            other => u32::try_from(other)
                .ok()
                .with_context(|| format!("packets.per_flow is {other}; give 0 or more, or -1 for all")),
        }
    }
}

impl Storage {
    /// The data directory: as configured, or this user's usual one.
    ///
    /// # Errors
    /// None is configured and neither `XDG_DATA_HOME` nor `HOME` is set.
    pub(crate) fn directory(&self) -> Result<PathBuf> {
        if !self.data_dir.as_os_str().is_empty() {
            return Ok(self.data_dir.clone());
        }
        // The owner of /proc/self is the effective user: geteuid(2) without `unsafe`.
        if std::fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0) {
            return Ok(PathBuf::from("/var/lib/flowtap"));
        }
        let set = |name| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        match (set("XDG_DATA_HOME"), set("HOME")) {
            (Some(data), _) => Ok(data.join("flowtap")),
            (None, Some(home)) => Ok(home.join(".local/share/flowtap")),
            (None, None) => bail!("no data directory: give --data-dir, or set HOME"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Listen;

    fn problem(change: impl FnOnce(&mut Config)) -> String {
        let mut config = Config::default();
        config.storage.data_dir = "/tmp/unused".into();
        config.validate().expect("defaults are fine");
        change(&mut config);
        format!("{:#}", config.validate().expect_err("must be refused"))
    }

    #[test]
    fn beyond_loopback_needs_insecure() {
        let text = problem(|c| c.http.listen = ([0, 0, 0, 0], 8082).into());
        assert!(
            text.contains("listening beyond loopback needs --insecure"),
            "{text}"
        );
        let mut config = Config::default();
        config.http.listen = ([0, 0, 0, 0], 8082).into();
        config.http.insecure = true;
        config.storage.data_dir = "/tmp/unused".into();
        config.validate().expect("asked for");
    }

    #[test]
    fn inputs_beyond_loopback_are_asked_for_in_so_many_words() {
        let beyond = Listen::At(([10, 0, 0, 5], 1).into());
        let text = problem(|c| c.pcap_socket.listen = beyond);
        assert!(
            text.starts_with("pcap_socket.listen 10.0.0.5:1: ") && text.contains("--insecure"),
            "{text}"
        );
        let text = problem(|c| c.sflow.listen = beyond);
        assert!(
            text.starts_with("sflow.listen 10.0.0.5:1: ") && text.contains("--sflow-agents"),
            "{text}"
        );
        let fine = |change: fn(&mut Config)| {
            let mut config = Config::default();
            config.storage.data_dir = "/tmp/unused".into();
            change(&mut config);
            config.validate().expect("asked for");
        };
        fine(|c| {
            c.sflow.listen = Listen::At(([0, 0, 0, 0], 6343).into());
            c.sflow.agents = vec!["10.0.0.0/8".to_owned()];
        });
        fine(|c| {
            c.sflow.listen = Listen::At(([0, 0, 0, 0], 6343).into());
            c.sflow.insecure = true;
            c.pcap_socket.listen = Listen::At(([0, 0, 0, 0], 8100).into());
            c.pcap_socket.insecure = true;
        });
        fine(|c| c.sflow.listen = Listen::Off);
    }

    #[test]
    fn nonsense_is_named() {
        assert!(problem(|c| c.sflow.agents = vec!["10".to_owned()]).starts_with("sflow.agents: `10` is no"));
        assert!(problem(|c| c.flows.max = 0).contains("flows.max"));
        assert!(problem(|c| c.flows.expire_seconds = 50_000).contains("give at most 43200"));
        assert!(problem(|c| c.topology.ovsdb = "ftp://x".to_owned()).starts_with("topology.ovsdb"));
        assert!(problem(|c| c.topology.fabric = vec!["nonsense".to_owned()]).starts_with("topology.fabric"));
        assert!(problem(|c| c.packets.per_flow = -2).contains("packets.per_flow is -2"));
        assert!(problem(|c| c.log.filter = "flowtap=loud".to_owned()).contains("log filter `flowtap=loud`"));
    }
}
