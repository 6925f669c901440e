//! Which server a command asks, and for how long.

use std::cell::RefCell;
use std::io::IsTerminal as _;
use std::rc::Rc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use flowtap_api::client::Client;

use super::duration;
use crate::exit::{CommandResult, Failure, Status};

const DEFAULT: &str = "127.0.0.1:8082";

/// Where servers are named, ours first. Skydive's tutorial sets the plural, its client reads the singular.
const VARIABLES: [&str; 4] = [
    "FLOWTAP_ANALYZERS",
    "FLOWTAP_ANALYZER",
    "SKYDIVE_ANALYZERS",
    "SKYDIVE_ANALYZER",
];

// What every command that asks a server accepts. No doc comment: clap would take that of a flattened
// struct for the help text of the command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct Connect {
    /// Server to ask; of several, the first that answers [env: FLOWTAP_ANALYZERS,
    /// FLOWTAP_ANALYZER, SKYDIVE_ANALYZERS, SKYDIVE_ANALYZER] [default: 127.0.0.1:8082]
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', global = true)]
    analyzer: Vec<String>,
    /// Give up after so long: 90s, 500ms, 5m (exit status 124)
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, global = true)]
    timeout: Option<Duration>,
    /// When to colour output
    #[arg(long, value_enum, value_name = "WHEN", default_value_t, global = true)]
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

// A command with the flags of `Connect` beside its own.
#[derive(Debug, Args)]
pub(crate) struct Online<A: Args> {
    #[command(flatten)]
    command: A,
    // Last: its heading holds for all that follow.
    #[command(flatten)]
    connect: Connect,
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
    /// What it waits for, see [`Session::waits_for`].
    waiting: Rc<RefCell<String>>,
}

impl Session {
    /// Says what is to be told if `--timeout` is over before the command ends or says otherwise.
    pub(crate) fn waits_for(&self, what: String) {
        *self.waiting.borrow_mut() = what;
    }
}

impl<A: Args + Remote> Online<A> {
    pub(crate) fn run(self) -> CommandResult {
        self.connect.run(async |session| self.command.run(session).await)
    }
}

impl Connect {
    /// Runs `command` against these servers, within `--timeout`.
    pub(crate) fn run(self, command: impl AsyncFnOnce(Session) -> CommandResult) -> CommandResult {
        let color = match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                std::io::stdout().is_terminal()
                    && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            }
        };
        let timeout = self.timeout;
        let client = Client::new(analyzers(self.analyzer, |name| std::env::var(name).ok()))?;
        let waiting = Rc::new(RefCell::new(String::new()));
        let work = command(Session {
            client,
            color,
            waiting: Rc::clone(&waiting),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            match timeout {
                None => work.await,
                Some(limit) => tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
                    let mut text = format!("--timeout {limit:?} is over");
                    if !waiting.borrow().is_empty() {
                        text = format!("{text}: {}", waiting.borrow());
                    }
                    Err(Failure::message(Status::TimedOut, text))
                }),
            }
        })
    }
}

/// The servers to try: from the flag, else from the first variable that names any.
fn analyzers(flag: Vec<String>, variable: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let listed = |text: String| -> Vec<String> {
        let names = text.split([',', ' ', '\t', '\n']).filter(|name| !name.is_empty());
        names.map(str::to_owned).collect()
    };
    std::iter::once(flag.join(","))
        .chain(VARIABLES.iter().filter_map(|name| variable(name)))
        .map(listed)
        .find(|names| !names.is_empty())
        .unwrap_or_else(|| vec![DEFAULT.to_owned()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(flag: &[&str], variables: &[(&str, &str)]) -> Vec<String> {
        let variable = |name: &str| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        analyzers(flag.iter().map(|text| (*text).to_owned()).collect(), variable)
    }

    #[test]
    fn flag_wins_over_our_variables_over_skydives() {
        let all = [
            ("SKYDIVE_ANALYZER", "d:4"),
            ("SKYDIVE_ANALYZERS", "c:3 e:5"),
            ("FLOWTAP_ANALYZER", "b:2"),
        ];
        assert_eq!(chosen(&["a:1"], &all), ["a:1"]);
        assert_eq!(chosen(&[], &all), ["b:2"]);
        assert_eq!(chosen(&[], &all[..2]), ["c:3", "e:5"]);
        assert_eq!(chosen(&[], &all[..1]), ["d:4"]);
        assert_eq!(chosen(&[], &[("FLOWTAP_ANALYZERS", "")]), [DEFAULT]);
    }
}
