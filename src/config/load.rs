//! From a file to a [`Config`], with errors of one line that name the place.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};

use super::Config;

/// A configuration and the file it came from, if there was one.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    pub(crate) file: Option<PathBuf>,
}

/// Reads `explicit`, which must be there, or else the first of the usual places that is.
///
/// # Errors
/// The file can't be read, is no TOML, or holds an unknown key or a value of the wrong kind. Whether
/// the values make sense is [`Config::validate`]'s question, asked once the command line has had its say.
pub(crate) fn load(explicit: Option<&Path>) -> Result<Loaded> {
    let file = match explicit {
        Some(path) => Some(path.to_owned()),
        None => usual_places(|name| std::env::var_os(name))
            .into_iter()
            .find(|path| path.exists()),
    };
    let config = match &file {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("failed to read the configuration {}", path.display()))?;
            parse(&text).map_err(|problem| anyhow!("{}:{problem}", path.display()))?
        }
        None => Config::default(),
    };
    Ok(Loaded { config, file })
}

/// Where a configuration is looked for, most personal first.
fn usual_places(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Vec<PathBuf> {
    let set = |name| {
        variable(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let personal = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")));
    let personal = personal.map(|directory| directory.join("flowtap/flowtap.toml"));
    personal
        .into_iter()
        .chain([PathBuf::from("/etc/flowtap/flowtap.toml")])
        .collect()
}

/// Parses `text`; an error is `LINE: what is wrong`, in one line.
fn parse(text: &str) -> Result<Config, String> {
    toml::from_str(text).map_err(|error| {
        let line = error
            .span()
            .map_or(1, |span| 1 + text[..span.start].matches('\n').count());
        let message = error.message().trim().replace('\n', "; ");
        format!("{line}: {}", unknown_key(&message).unwrap_or(message))
    })
}

/// Puts serde's ``unknown field `lisen`, expected `listen` or `insecure` `` into words that help.
fn unknown_key(message: &str) -> Option<String> {
    let rest = message.strip_prefix("unknown field ")?;
    let mut quoted = rest.split('`').skip(1).step_by(2);
    let key = quoted.next()?;
    let known: Vec<&str> = quoted.collect();
    let nearest = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(key, name), name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 3)
        .min();
    Some(match nearest {
        Some((_, name)) => format!("unknown key `{key}`, did you mean `{name}`?"),
        None => format!("unknown key `{key}`, known here: {}", known.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = include_str!("../../flowtap-sample.toml");

    #[test]
    fn sample_holds_every_default() {
        let sample: toml::Table = toml::from_str(SAMPLE).expect("the sample parses");
        let defaults = toml::Table::try_from(Config::default()).expect("defaults serialize");
        assert_eq!(sample, defaults);
        assert_eq!(parse(SAMPLE).expect("the sample loads"), Config::default());
    }

    #[test]
    fn unknown_key_names_line_and_suggestion() {
        let problem = parse("[http]\nlisten = \"127.0.0.1:1\"\nlisen = 3\n").expect_err("unknown key");
        assert_eq!(problem, "3: unknown key `lisen`, did you mean `listen`?");
    }

    #[test]
    fn unknown_section_far_from_any_lists_what_is_known() {
        let problem = parse("\n[zzzzzzzzzz]\n").expect_err("unknown section");
        assert!(
            problem.starts_with("2: unknown key `zzzzzzzzzz`, known here: http, sflow,"),
            "{problem}"
        );
    }

    #[test]
    fn wrong_kind_is_one_line() {
        let problem = parse("[flows]\nmax = \"many\"\n").expect_err("wrong kind");
        assert!(
            problem.starts_with("2: invalid type") && !problem.contains('\n'),
            "{problem}"
        );
    }

    #[test]
    fn listen_is_an_address_or_off() {
        let config = parse("[sflow]\nlisten = \"off\"\n").expect("off is fine");
        assert_eq!(config.sflow.listen.address(), None);
        let problem = parse("[sflow]\nlisten = \"localhost\"\n").expect_err("no port");
        assert_eq!(problem, "2: `localhost` is neither ADDRESS:PORT nor `off`");
    }

    #[test]
    fn ports_have_names() {
        let config = parse("[application_ports.tcp]\n8080 = \"http\"\n").expect("a port");
        assert_eq!(&*config.application_ports.tcp[&8080], "HTTP");
        let problem = parse("[application_ports.udp]\n70000 = \"X\"\n").expect_err("no port");
        assert!(problem.starts_with("2: "), "{problem}");
    }

    #[test]
    fn personal_file_comes_first() {
        let places = usual_places(|name| (name == "HOME").then(|| "/home/ada".into()));
        assert_eq!(places[0], Path::new("/home/ada/.config/flowtap/flowtap.toml"));
        let places = usual_places(|name| (name == "XDG_CONFIG_HOME").then(|| "/x".into()));
        assert_eq!(places[0], Path::new("/x/flowtap/flowtap.toml"));
        assert_eq!(places[1], Path::new("/etc/flowtap/flowtap.toml"));
    }

    #[test]
    fn named_file_must_be_there() {
        let error = load(Some(Path::new("/nonexistent/f.toml"))).expect_err("no such file");
        assert!(format!("{error:#}").starts_with("failed to read the configuration /nonexistent/f.toml: "));
    }
}
