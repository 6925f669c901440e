//! `flowtap up`, and the settings that `flowtap check` shares with it.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::config::{self, Listen, Loaded};
use crate::exit::{CommandResult, Failure, Status};

// What the command line and the environment may say about the configuration; both win over its file.
// No doc comment: clap would take that of a flattened struct for the help text of the command.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// HTTP: Skydive's REST API, ours, /healthz and /metrics [default: 127.0.0.1:8082]
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        env = "FLOWTAP_LISTEN",
        hide_env_values = true
    )]
    listen: Option<SocketAddr>,
    /// sFlow v5 over UDP, or `off` [default: 127.0.0.1:6343]
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        env = "FLOWTAP_SFLOW",
        hide_env_values = true
    )]
    sflow: Option<Listen>,
    /// Take sFlow from these networks alone: 10.0.0.0/8,2001:db8::/32 [default: from everywhere]
    #[arg(
        long,
        value_name = "NETWORK",
        value_delimiter = ',',
        env = "FLOWTAP_SFLOW_AGENTS",
        hide_env_values = true
    )]
    sflow_agents: Option<Vec<String>>,
    /// pcap and pcapng streams over TCP, or `off` [default: 127.0.0.1:8100]
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        env = "FLOWTAP_PCAP_SOCKET",
        hide_env_values = true
    )]
    pcap_socket: Option<Listen>,
    /// Open vSwitch's database, unix:PATH or tcp:HOST:PORT, or `off` [default:
    /// unix:/var/run/openvswitch/db.sock]
    #[arg(long, value_name = "ADDRESS", env = "FLOWTAP_OVSDB", hide_env_values = true)]
    ovsdb: Option<String>,
    /// Where flows and packets are stored [default: /var/lib/flowtap for root, else
    /// $XDG_DATA_HOME/flowtap]
    #[arg(
        long,
        value_name = "DIRECTORY",
        env = "FLOWTAP_DATA_DIR",
        hide_env_values = true
    )]
    data_dir: Option<PathBuf>,
    /// Configuration [default: $XDG_CONFIG_HOME/flowtap/flowtap.toml, else
    /// /etc/flowtap/flowtap.toml, if there is one]
    #[arg(long, value_name = "FILE", env = "FLOWTAP_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// What to log on stderr: a level, or directives such as info,flowtap_storage=debug
    /// [default: info]
    #[arg(long, value_name = "FILTER", env = "FLOWTAP_LOG", hide_env_values = true)]
    log: Option<String>,
    /// Listen beyond loopback, for anyone who can reach it: there is no authentication yet
    #[arg(long)]
    insecure: bool,
}

impl Settings {
    /// The whole configuration: flags over environment over file over defaults, and checked.
    ///
    /// # Errors
    /// See [`config::load`] and [`config::Config::validate`].
    pub(crate) fn load(self) -> anyhow::Result<Loaded> {
        let mut loaded = config::load(self.config.as_deref())?;
        let config = &mut loaded.config;
        set(&mut config.http.listen, self.listen);
        set(&mut config.sflow.listen, self.sflow);
        set(&mut config.pcap_socket.listen, self.pcap_socket);
        set(&mut config.topology.ovsdb, self.ovsdb);
        set(&mut config.storage.data_dir, self.data_dir);
        set(&mut config.log.filter, self.log);
        set(&mut config.sflow.agents, self.sflow_agents);
        for insecure in [
            &mut config.http.insecure,
            &mut config.sflow.insecure,
            &mut config.pcap_socket.insecure,
        ] {
            *insecure |= self.insecure;
        }
        config.validate()?;
        Ok(loaded)
    }

    /// [`Settings::load`], whose errors are those of whoever started the command.
    ///
    /// # Errors
    /// As there, with [`Status::Usage`].
    pub(crate) fn load_or_usage(self) -> Result<Loaded, Failure> {
        self.load().map_err(|error| Failure::new(Status::Usage, error))
    }
}

fn set<T>(slot: &mut T, said: Option<T>) {
    if let Some(value) = said {
        *slot = value;
    }
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    #[command(flatten)]
    settings: Settings,
}

impl Up {
    pub(crate) fn run(self) -> CommandResult {
        Ok(crate::up::run(self.settings.load_or_usage()?.config)?)
    }
}
