//! Which server a command asks, and for how long.

use std::io::IsTerminal as _;
use std::net::ToSocketAddrs as _;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueEnum};
use flowtap_api::client::Client;

use super::duration;
use crate::exit::{CommandResult, Failure, Status};

const DEFAULT: &str = "127.0.0.1:8082";

/// What every command that asks a server accepts.
#[derive(Debug, Args)]
pub(crate) struct Connect {
    /// Server to ask; of several, the first that answers [env: FLOWTAP_ANALYZERS,
    /// FLOWTAP_ANALYZER, SKYDIVE_ANALYZERS, SKYDIVE_ANALYZER] [default: 127.0.0.1:8082]
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', global = true)]
    analyzer: Vec<String>,
    /// Give up after so long: 90s, 500ms, 5m (exit status 124)
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, global = true)]
    timeout: Option<Duration>,
    /// When to colour output
    #[arg(long, value_enum, value_name = "WHEN", default_value_t, hide_possible_values = false, global = true)]
    color: Color,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Color {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    Always,
    Never,
}

/// A command with the flags of [`Connect`] beside its own.
#[derive(Debug, Args)]
pub(crate) struct Online<A: Args> {
    #[command(flatten)]
    connect: Connect,
    #[command(flatten)]
    command: A,
}

/// A command that asks a server.
pub(crate) trait Remote {
    async fn run(self, session: Session) -> CommandResult;
}

/// What a [`Remote`] command works with.
pub(crate) struct Session {
    pub(crate) client: Client,
    /// Colour is wanted on stdout.
    pub(crate) color: bool,
}

impl<A: Args + Remote> Online<A> {
    pub(crate) fn run(self) -> CommandResult {
        self.connect.run(async |session| self.command.run(session).await)
    }
}

impl Connect {
    /// Finds a server and runs `command` with it, within `--timeout`.
    pub(crate) fn run(self, command: impl AsyncFnOnce(Session) -> CommandResult) -> CommandResult {
        let color = match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            }
        };
        let timeout = self.timeout;
        let analyzers = analyzers(self.analyzer, |name| std::env::var(name).ok());
        let work = async {
            let client = Client::new(&find(&analyzers).await?)?;
            command(Session { client, color }).await
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            match timeout {
                None => work.await,
                Some(limit) => tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
                    Err(Failure::message(Status::TimedOut, format!("no answer within --timeout {limit:?}")))
                }),
            }
        })
    }
}

/// The servers to try: from the flag, else from the first variable that names any.
fn analyzers(flag: Vec<String>, variable: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let listed = |text: &str| -> Vec<String> {
        let names = text.split([',', ' ', '\t', '\n']).filter(|name| !name.is_empty());
        names.map(with_port).collect()
    };
    let sources = ["FLOWTAP_ANALYZERS", "FLOWTAP_ANALYZER", "SKYDIVE_ANALYZERS", "SKYDIVE_ANALYZER"];
    std::iter::once(flag.join(","))
        .chain(sources.iter().filter_map(|name| variable(name)))
        .map(|text| listed(&text))
        .find(|names| !names.is_empty())
        .unwrap_or_else(|| vec![DEFAULT.to_owned()])
}

/// `HOST:PORT` of what people write: a URL loses its scheme, a host alone gets port 8082.
fn with_port(name: &str) -> String {
    let name = name.trim_start_matches("http://").trim_end_matches('/');
    let bare_ipv6 = name.parse::<std::net::Ipv6Addr>().is_ok();
    match name {
        _ if bare_ipv6 => format!("[{name}]:8082"),
        _ if name.ends_with(']') || !name.contains(':') => format!("{name}:8082"),
        _ => name.to_owned(),
    }
}

/// The first of `analyzers` that accepts a connection. One alone is not tried: the request will tell.
async fn find(analyzers: &[String]) -> Result<String, Failure> {
    if let [only] = analyzers {
        return Ok(only.clone());
    }
    let mut failures = Vec::new();
    for name in analyzers {
        match reach(name).await {
            Ok(()) => return Ok(name.clone()),
            Err(error) => failures.push(format!("{name}: {error:#}")),
        }
    }
    Err(Failure::message(Status::Unreachable, format!("no analyzer answers: {}", failures.join("; "))))
}

async fn reach(name: &str) -> anyhow::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(3);
    let address = name.to_socket_addrs()?.next().context("no address")?;
    let connection = tokio::time::timeout(PATIENCE, tokio::net::TcpStream::connect(address)).await;
    connection.map_err(|_| anyhow!("no answer within {PATIENCE:?}"))??;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(flag: &[&str], variables: &[(&str, &str)]) -> Vec<String> {
        let variable =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        analyzers(flag.iter().map(|text| (*text).to_owned()).collect(), variable)
    }

    #[test]
    fn flag_wins_over_our_variables_over_skydives() {
        let all = [("SKYDIVE_ANALYZER", "d:4"), ("SKYDIVE_ANALYZERS", "c:3 e:5"), ("FLOWTAP_ANALYZER", "b:2")];
        assert_eq!(chosen(&["a:1"], &all), ["a:1"]);
        assert_eq!(chosen(&[], &all), ["b:2"]);
        assert_eq!(chosen(&[], &all[..2]), ["c:3", "e:5"]);
        assert_eq!(chosen(&[], &all[..1]), ["d:4"]);
        assert_eq!(chosen(&[], &[("FLOWTAP_ANALYZERS", "")]), [DEFAULT]);
    }

    #[test]
    fn names_get_a_port() {
        assert_eq!(
            chosen(&["http://h:1/", "h", "::1", "[::1]", "[::1]:9"], &[]),
            ["h:1", "h:8082", "[::1]:8082", "[::1]:8082", "[::1]:9"]
        );
    }
}
