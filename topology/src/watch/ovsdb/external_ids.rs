//! What orchestrators write at a port, under the names they write it, under those of others, and
//! under names that are the same for all.

use serde_json::{Map, Value};

use super::describe::Facts;
use crate::ovsdb::Row;

/// Names of one thing: what libvirt and Open vSwitch's integration guide write, and what os-vif
/// (`vm-uuid`) and OVN-Kubernetes (`attached_mac`) write instead.
const ALIASES: [(&str, &str); 2] = [("vm-id", "vm-uuid"), ("attached-mac", "attached_mac")];

/// `ExtID`: the `external_ids` of a row key by key. With `aliases`, each of [`ALIASES`] answers for the
/// other where only one is there.
pub(super) fn ext_id(row: &Row, aliases: bool) -> Option<Value> {
    let mut ids: Map<String, Value> = row
        .texts("external_ids")
        .map(|(key, text)| (key.to_owned(), text.into()))
        .collect();
    if aliases {
        for (one, other) in ALIASES {
            for (from, to) in [(one, other), (other, one)] {
                if let Some(value) = ids.get(from).cloned() {
                    ids.entry(to).or_insert(value);
                }
            }
        }
    }
    (!ids.is_empty()).then_some(Value::Object(ids))
}

/// `VM.ID`, `Port.ID`, `Port.MAC`, `Pod.Name` and `Pod.Namespace`, whoever wrote them.
pub(super) fn normal_names(row: &Row) -> Facts {
    let id = |key| row.text_at("external_ids", key);
    let either = |(one, other)| id(one).or_else(|| id(other));
    let mut names = Facts::new();
    let mut name = |object: &'static str, key: &str, text: Option<&str>| {
        let Some(text) = text else { return };
        let object = names.entry(object).or_insert_with(|| Value::Object(Map::new()));
        object[key] = text.into();
    };
    name("VM", "ID", either(ALIASES[0]));
    name("Port", "ID", id("iface-id"));
    name("Port", "MAC", either(ALIASES[1]));
    // OVN-Kubernetes alone names a sandbox; its iface-id is NAMESPACE_POD, and neither holds a `_`.
    let pod = id("sandbox")
        .and(id("iface-id"))
        .and_then(|id| id.split_once('_'));
    name("Pod", "Namespace", pod.map(|(namespace, _)| namespace));
    name("Pod", "Name", pod.map(|(_, pod)| pod));
    names
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ovsdb::Datum;

    fn row<const N: usize>(ids: [(&str, &str); N]) -> Row {
        Row::new().with("external_ids", Datum::map(ids))
    }

    #[test]
    fn either_name_of_a_thing_is_found() {
        let libvirt = row([
            ("vm-id", "1"),
            ("attached-mac", "fa:16:3e:00:00:01"),
            ("iface-id", "p"),
        ]);
        let os_vif = row([
            ("vm-uuid", "1"),
            ("attached-mac", "fa:16:3e:00:00:01"),
            ("iface-id", "p"),
        ]);
        assert_eq!(ext_id(&libvirt, true), ext_id(&os_vif, true));
        let ids = ext_id(&os_vif, true).unwrap();
        assert_eq!(
            (&ids["vm-id"], &ids["attached_mac"]),
            (&json!("1"), &json!("fa:16:3e:00:00:01"))
        );
        assert_eq!(ids["iface-id"], "p");
        assert!(ext_id(&os_vif, false).unwrap()["vm-id"].is_null());
    }

    #[test]
    fn what_is_written_is_never_replaced() {
        let both = ext_id(&row([("vm-id", "1"), ("vm-uuid", "2")]), true).unwrap();
        assert_eq!(both, json!({"vm-id": "1", "vm-uuid": "2"}));
        assert_eq!(ext_id(&row([]), true), None);
    }

    #[test]
    fn normal_names_do_not_depend_on_who_wrote() {
        let vm = json!({"VM": {"ID": "1"}, "Port": {"ID": "p", "MAC": "m"}});
        for ids in [
            [("vm-id", "1"), ("iface-id", "p"), ("attached-mac", "m")],
            [("vm-uuid", "1"), ("iface-id", "p"), ("attached_mac", "m")],
        ] {
            assert_eq!(json!(normal_names(&row(ids))), vm);
        }
        let pod = row([
            ("sandbox", "6f"),
            ("iface-id", "default_web-0"),
            ("attached_mac", "m"),
        ]);
        let names = normal_names(&pod);
        assert_eq!(names["Pod"], json!({"Namespace": "default", "Name": "web-0"}));
        assert!(!normal_names(&row([("iface-id", "a_b")])).contains_key("Pod"));
    }
}
