//! Metadata on the command line: `k1=v1, k2.inner=v2`.

use std::str::FromStr;

use serde_json::{Map, Value, json};

/// Entries as people write them. A value is a number, `true` or `false` where it reads like one, else a
/// text; dots in a key lead into objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pairs(Vec<(String, Value)>);

impl FromStr for Pairs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let pairs = entries.map(|entry| {
            let (key, value) = entry
                .split_once('=')
                .ok_or_else(|| format!("`{entry}` is no KEY=VALUE"))?;
            if key.trim().is_empty() || key.split('.').any(str::is_empty) {
                return Err(format!(
                    "`{entry}`: the key is empty, or a part of it between dots is"
                ));
            }
            Ok((key.trim().to_owned(), value_of(value.trim())))
        });
        pairs.collect::<Result<_, _>>().map(Self)
    }
}

fn value_of(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(value @ (Value::Bool(_) | Value::Number(_))) => value,
        _ => Value::from(text),
    }
}

impl Pairs {
    /// As they are written, a key with dots as one key: each is set by itself, and what stands beside it stays.
    pub(crate) fn to_entries(&self) -> Map<String, Value> {
        self.0.iter().cloned().collect()
    }

    /// As an object.
    pub(crate) fn to_metadata(&self) -> Map<String, Value> {
        let mut metadata = Map::new();
        for (key, value) in &self.0 {
            let mut object = &mut metadata;
            let mut parts = key.split('.').peekable();
            while let Some(part) = parts.next() {
                if parts.peek().is_none() {
                    object.insert(part.to_owned(), value.clone());
                    break;
                }
                let inner = object.entry(part).or_insert_with(|| Value::Object(Map::new()));
                if !inner.is_object() {
                    *inner = Value::Object(Map::new());
                }
                match inner {
                    Value::Object(inner) => object = inner,
                    _ => break,
                }
            }
        }
        metadata
    }
}

/// The JSON Patch (RFC 6902) that sets `add` and takes `remove` away.
pub(super) fn patch(add: &[Pairs], remove: &[String]) -> Vec<Value> {
    // RFC 6901: `~` and `/` in a key are written `~0` and `~1`.
    let pointer = |key: &str| {
        let parts = key
            .split('.')
            .map(|part| part.replace('~', "~0").replace('/', "~1"));
        format!("/Metadata/{}", parts.collect::<Vec<_>>().join("/"))
    };
    let added = add.iter().flat_map(|pairs| &pairs.0);
    let added = added.map(|(key, value)| json!({"op": "add", "path": pointer(key), "value": value}));
    let removed = remove
        .iter()
        .map(|key| json!({"op": "remove", "path": pointer(key)}));
    added.chain(removed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_become_metadata() {
        let pairs: Pairs = "Name=tor1, MTU=9000, Up=true, Rack.Row=7, Rack.ID=a-b"
            .parse()
            .expect("pairs");
        assert_eq!(
            Value::Object(pairs.to_metadata()),
            json!({"Name": "tor1", "MTU": 9000, "Up": true, "Rack": {"Row": 7, "ID": "a-b"}})
        );
        let entries = json!({"Name": "tor1", "MTU": 9000, "Up": true, "Rack.Row": 7, "Rack.ID": "a-b"});
        assert_eq!(Value::Object(pairs.to_entries()), entries);
        assert_eq!("".parse::<Pairs>(), Ok(Pairs::default()));
        assert!("Name".parse::<Pairs>().is_err());
        assert!("a..b=1".parse::<Pairs>().is_err());
    }

    #[test]
    fn changes_become_a_patch() {
        let add = ["Rack/Row=7".parse().expect("a pair")];
        assert_eq!(
            patch(&add, &["A.B".to_owned()]),
            [
                json!({"op": "add", "path": "/Metadata/Rack~1Row", "value": 7}),
                json!({"op": "remove", "path": "/Metadata/A/B"}),
            ]
        );
    }
}
