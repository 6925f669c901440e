//! `/etc/os-release` (os-release(5)) and the kernel's command line.

use serde_json::{Map, Value};

/// A distribution.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Platform {
    pub(super) name: Option<String>,
    pub(super) family: Option<String>,
    pub(super) version: Option<String>,
}

/// Distributions and the family that they are of, where it is not their own name.
const FAMILIES: [(&str, &str); 8] = [
    ("debian", "debian"),
    ("ubuntu", "debian"),
    ("rhel", "rhel"),
    ("centos", "rhel"),
    ("fedora", "fedora"),
    ("suse", "suse"),
    ("arch", "arch"),
    ("alpine", "alpine"),
];

/// The distribution that a file says.
pub(super) fn platform(release: &str) -> Platform {
    let value = |key: &str| {
        let mut lines = release.lines().filter_map(|line| line.split_once('='));
        let (_, value) = lines.find(|(found, _)| found.trim() == key)?;
        Some(value.trim().trim_matches(['"', '\'']).to_owned()).filter(|value| !value.is_empty())
    };
    let name = value("ID");
    let like = value("ID_LIKE").unwrap_or_default();
    let ancestors = name.iter().map(String::as_str).chain(like.split_whitespace());
    let family = ancestors
        .filter_map(|ancestor| FAMILIES.iter().find(|(known, _)| *known == ancestor))
        .map(|(_, family)| (*family).to_owned())
        .next();
    Platform {
        family: family.or_else(|| name.clone()),
        name,
        version: value("VERSION_ID"),
    }
}

/// `KernelCmdLine`: the parameters by name, `true` for those without a value. Of one that comes twice
/// the last counts, as it does for most of the kernel.
pub(super) fn command_line(line: &str) -> Value {
    let parameters = line
        .split_whitespace()
        .map(|parameter| match parameter.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.into()),
            None => (parameter.to_owned(), true.into()),
        });
    Value::Object(parameters.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_distribution_has_a_family() {
        let cases = [
            ("ID=debian\nVERSION_ID=\"12\"", ("debian", "debian", Some("12"))),
            (
                "ID=ubuntu\nID_LIKE=debian\nVERSION_ID=\"24.04\"",
                ("ubuntu", "debian", Some("24.04")),
            ),
            (
                "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"",
                ("rocky", "rhel", None),
            ),
            ("ID='void'", ("void", "void", None)),
        ];
        for (release, (name, family, version)) in cases {
            let expected = Platform {
                name: Some(name.into()),
                family: Some(family.into()),
                version: version.map(Into::into),
            };
            assert_eq!(platform(release), expected, "{release}");
        }
        assert_eq!(platform(""), Platform::default());
    }

    #[test]
    fn parameters_have_a_value_or_are_there() {
        assert_eq!(
            command_line("root=UUID=1 ro isolcpus=1,2"),
            json!({"root": "UUID=1", "ro": true, "isolcpus": "1,2"})
        );
    }
}
