//! Links as the configuration writes them.

use std::str::FromStr;

use serde_json::Value;

use crate::element::Metadata;
use crate::path;

/// A link of the fabric, from its text:
///
/// | text | means |
/// |---|---|
/// | `TOR1 -> PORT1` | the node `TOR1` owns the node `PORT1`, and they are linked |
/// | `PORT1 --> PORT2` | they are linked |
/// | `TOR1[Name=tor1, Rack=7] -> PORT1` | `TOR1` has these entries in its metadata; `Name` is `TOR1` unless said |
/// | `PORT1 --> [Speed=100] PORT2` | the link has these entries |
/// | `PORT1 --> *[Type=host, Name=h1]/eth0` | linked with every `eth0` that has an edge from such a node |
/// | `PORT1 --> *[Type=netns]/*[MAC=52:54:00:00:00:01]` | the same, known by its MAC instead of its name |
///
/// Values are texts, and may stand in `"quotes"`. Keys with dots lead into objects.
#[derive(Clone, Debug, PartialEq)]
pub struct FabricLink {
    pub(super) parent: FabricNode,
    pub(super) owns: bool,
    pub(super) entries: Vec<(String, String)>,
    pub(super) child: FabricChild,
}

/// A node of the fabric.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FabricNode {
    /// How links call it; its ID is made of that.
    pub(super) key: String,
    pub(super) entries: Vec<(String, String)>,
}

/// The other end of a link.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum FabricChild {
    Node(FabricNode),
    /// What has all of `entries` and an edge from a node with all of `parent`.
    Any {
        parent: Vec<(String, String)>,
        entries: Vec<(String, String)>,
    },
}

/// A link that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("fabric link `{text}`, column {column}: expected {expected}")]
pub struct FabricError {
    /// The link.
    pub text: String,
    /// Where it stops being one, in characters from 1.
    pub column: usize,
    /// What should stand there.
    pub expected: &'static str,
}

impl FromStr for FabricLink {
    type Err = FabricError;

    fn from_str(text: &str) -> Result<Self, FabricError> {
        let mut cursor = Cursor { text, at: 0 };
        cursor.link().map_err(|expected| FabricError {
            text: text.to_owned(),
            column: text[..cursor.at].chars().count() + 1,
            expected,
        })
    }
}

/// Whether `metadata` has all of `entries`. Numbers and truths are compared as texts, and of a list
/// one must be equal.
pub(super) fn has_all(metadata: &Metadata, entries: &[(String, String)]) -> bool {
    fn is(value: &Value, text: &str) -> bool {
        match value {
            Value::String(value) => value == text,
            Value::Array(values) => values.iter().any(|value| is(value, text)),
            Value::Number(number) => number.to_string() == text,
            Value::Bool(truth) => text == if *truth { "true" } else { "false" },
            Value::Null | Value::Object(_) => false,
        }
    }
    entries
        .iter()
        .all(|(key, text)| path::get(metadata, key).is_some_and(|value| is(value, text)))
}

const NODE: &str = "the name of a node";
const ARROW: &str = "--> or ->";

struct Cursor<'t> {
    text: &'t str,
    /// In bytes, always between two characters.
    at: usize,
}

impl<'t> Cursor<'t> {
    fn link(&mut self) -> Result<FabricLink, &'static str> {
        let parent = self.node()?;
        let owns = if self.take("-->") {
            false
        } else if self.take("->") {
            true
        } else {
            return Err(ARROW);
        };
        let entries = self.entries()?;
        let child = if self.take("*") {
            let parent = self.entries()?;
            if !self.take("/") {
                return Err("/ and the interface, as in *[Type=host]/eth0");
            }
            if self.take("*") {
                let entries = self.entries()?;
                if entries.is_empty() {
                    return Err("[key=value] that tells which interface");
                }
                FabricChild::Any { parent, entries }
            } else {
                let interface = self.node()?;
                let mut entries = vec![("Name".to_owned(), interface.key)];
                // A name that is said takes the place of the other.
                if interface.entries.iter().any(|(key, _)| key == "Name") {
                    entries.clear();
                }
                entries.extend(interface.entries);
                FabricChild::Any { parent, entries }
            }
        } else {
            FabricChild::Node(self.node()?)
        };
        self.skip_space();
        if !self.rest().is_empty() {
            return Err("the end of the link");
        }
        Ok(FabricLink {
            parent,
            owns,
            entries,
            child,
        })
    }

    /// `NAME` or `NAME[key=value, …]`. A name ends with its list or before an arrow.
    fn node(&mut self) -> Result<FabricNode, &'static str> {
        self.skip_space();
        let rest = self.rest();
        let end = [rest.find('['), rest.find("-->"), rest.find("->")];
        let end = end.into_iter().flatten().min().unwrap_or(rest.len());
        let key = rest[..end].trim_end();
        if key.is_empty() || key.starts_with('*') || key.contains(']') {
            return Err(NODE);
        }
        self.at += end;
        Ok(FabricNode {
            key: key.to_owned(),
            entries: self.entries()?,
        })
    }

    /// `[key=value, key="value"]`, or nothing.
    fn entries(&mut self) -> Result<Vec<(String, String)>, &'static str> {
        let mut entries = Vec::new();
        if !self.take("[") {
            return Ok(entries);
        }
        loop {
            let key = self.word(&['=', ',', ']'])?;
            if key.is_empty() {
                return Err("a key, as in [key=value]");
            }
            if !self.take("=") {
                return Err("= and a value, as in [key=value]");
            }
            if !path::fits(&key, &Value::Null) {
                return Err("a key of fewer parts, it has too many dots");
            }
            entries.push((key, self.word(&[',', ']'])?));
            if self.take("]") {
                return Ok(entries);
            }
            if !self.take(",") {
                return Err(", or ]");
            }
        }
    }

    /// A text in quotes, or up to one of `ends`.
    fn word(&mut self, ends: &[char]) -> Result<String, &'static str> {
        if self.take("\"") {
            let rest = self.rest();
            let end = rest.find('"').ok_or("a closing quote")?;
            self.at += end + 1;
            return Ok(rest[..end].to_owned());
        }
        self.skip_space();
        let rest = self.rest();
        let end = rest.find(ends).unwrap_or(rest.len());
        self.at += end;
        Ok(rest[..end].trim_end().to_owned())
    }

    fn take(&mut self, token: &str) -> bool {
        self.skip_space();
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn skip_space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        owned.collect()
    }

    fn node(key: &str, entries: &[(&str, &str)]) -> FabricNode {
        FabricNode {
            key: key.to_owned(),
            entries: pairs(entries),
        }
    }

    #[test]
    fn nodes_links_and_patterns() {
        let link: FabricLink = "TOR1[Name=tor1, Rack = \"a, b\"] -> TOR1_PORT1[MTU=1500]"
            .parse()
            .unwrap();
        assert_eq!(link.parent, node("TOR1", &[("Name", "tor1"), ("Rack", "a, b")]));
        assert_eq!(
            link.child,
            FabricChild::Node(node("TOR1_PORT1", &[("MTU", "1500")]))
        );
        assert!(link.owns && link.entries.is_empty());

        let link: FabricLink = "tor-1 port 1-->[color=red]*[Type=host,Name=h1]/eth0"
            .parse()
            .unwrap();
        assert_eq!(link.parent, node("tor-1 port 1", &[]));
        assert_eq!(link.entries, pairs(&[("color", "red")]));
        assert!(!link.owns);
        let any = FabricChild::Any {
            parent: pairs(&[("Type", "host"), ("Name", "h1")]),
            entries: pairs(&[("Name", "eth0")]),
        };
        assert_eq!(link.child, any);

        let interface = |text: &str| match text.parse::<FabricLink>().unwrap().child {
            FabricChild::Any { entries, .. } => entries,
            FabricChild::Node(node) => panic!("{node:?}"),
        };
        assert_eq!(
            interface("P --> */eth0[MTU=9000]"),
            pairs(&[("Name", "eth0"), ("MTU", "9000")])
        );
        assert_eq!(interface("P --> */eth0[Name=lan0]"), pairs(&[("Name", "lan0")]));
        assert_eq!(
            interface("P --> */*[MAC=52:54:00:00:00:01]"),
            pairs(&[("MAC", "52:54:00:00:00:01")])
        );
        let port: FabricLink = "SW -> Gi0/1".parse().unwrap();
        assert_eq!(port.child, FabricChild::Node(node("Gi0/1", &[])));
    }

    #[test]
    fn errors_name_the_column() {
        for (text, column, expected) in [
            ("TOR1", 5, ARROW),
            ("", 1, NODE),
            ("TOR1 -->", 9, NODE),
            ("* --> TOR1", 1, NODE),
            ("TOR1[Name] --> P", 10, "= and a value, as in [key=value]"),
            ("TOR1[Name=\"x] --> P", 12, "a closing quote"),
            ("TOR1[Name=x", 12, ", or ]"),
            (
                "TOR1 --> *[Type=host]",
                22,
                "/ and the interface, as in *[Type=host]/eth0",
            ),
            ("TOR1 --> */*", 13, "[key=value] that tells which interface"),
            ("TOR1 --> P[a=b] --> Q", 17, "the end of the link"),
        ] {
            let error = text.parse::<FabricLink>().unwrap_err();
            assert_eq!((error.column, error.expected), (column, expected), "{text}");
        }
        let error = "TOR1".parse::<FabricLink>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "fabric link `TOR1`, column 5: expected --> or ->"
        );
    }

    #[test]
    fn values_are_compared_as_texts() {
        let metadata = json!({"MTU": 1500, "IPV4": ["10.0.0.1/24"], "ExtID": {"vm-id": "7"}});
        let metadata = metadata.as_object().unwrap();
        assert!(has_all(
            metadata,
            &pairs(&[("MTU", "1500"), ("IPV4", "10.0.0.1/24"), ("ExtID.vm-id", "7")])
        ));
        assert!(!has_all(metadata, &pairs(&[("MTU", "1501")])));
        assert!(!has_all(metadata, &pairs(&[("Name", "")])));
    }

    proptest! {
        #[test]
        fn any_text_is_a_link_or_an_error(text in "[A-Z*\\[\\]=,\"/ >é-]{0,30}") {
            let _link_or_error = text.parse::<FabricLink>();
        }
    }
}
