//! Rules whose paths lead into each other, come and go, while others write: the node always is what the
//! rules that there are make of what it would be without.

use proptest::prelude::*;

use super::*;

/// What happens to a node.
#[derive(Clone, Debug)]
enum Act {
    /// A rule is made, or replaced.
    Put(u8, Value),
    /// A rule is deleted.
    Remove(u8),
    /// A watcher writes an entry as a whole.
    Write(&'static str, Value),
    /// A watcher writes an entry within an object, and leaves the rest of it.
    Patch(&'static str, u64),
    /// A watcher takes an entry away.
    Take(&'static str),
}

/// Metadata of a rule: what it sets is below 100, what watchers write above.
fn said() -> impl Strategy<Value = Value> {
    prop_oneof![
        (0..100u64).prop_map(|n| json!({"A": {"b": n}})),
        (0..100u64).prop_map(|n| json!({"A": {"b": {"c": n}, "d": n}})),
        (0..100u64).prop_map(|n| json!({"A.b": n})),
        (0..100u64).prop_map(|n| json!({"A.b.c": n, "E": n})),
        (0..100u64).prop_map(|n| json!({"A.d": n, "A": {"e": n}})),
        (0..100u64).prop_map(|n| json!({"A.b": {"c": n}})),
        (0..100u64).prop_map(|n| json!({"E": n})),
        (0..100u64).prop_map(|n| json!({"E.f": n})),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let theirs = prop_oneof![
        (100..200u64).prop_map(|n| json!({"b": n})),
        (100..200u64).prop_map(|n| json!({"b": {"x": n}, "y": n})),
        (100..200u64).prop_map(|n| json!({"d": n})),
    ];
    prop_oneof![
        4 => (0..4u8, said()).prop_map(|(rule, said)| Act::Put(rule, said)),
        3 => (0..4u8).prop_map(Act::Remove),
        1 => theirs.prop_map(|value| Act::Write("A", value)),
        1 => (100..200u64).prop_map(|n| Act::Write("E", n.into())),
        1 => (100..200u64).prop_map(|n| Act::Patch("A.w", n)),
        1 => prop_oneof![Just("A"), Just("E")].prop_map(Act::Take),
    ]
}

/// What rules say, by UUID, in the order in which they were made.
type Model = Vec<(u8, Value)>;

/// What `rules` make of `bare`. A rule's own entries are set in the order of their names.
fn ruled(bare: &Metadata, rules: &Model) -> Metadata {
    let mut metadata = bare.clone();
    for (_, said) in rules {
        for (key, value) in said.as_object().unwrap() {
            crate::path::set(&mut metadata, key, value.clone());
        }
    }
    metadata
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_node_is_what_the_rules_that_there_are_make_of_it(acts in prop::collection::vec(act(), 1..14)) {
        let rig = Ruled::new();
        let eth0 = rig.device("eth0");
        let mut bare = rig.graph.node(&eth0).unwrap().metadata.clone();
        let mut rules = Model::new();
        for act in acts {
            match act {
                Act::Put(uuid, said) => {
                    rig.update(&uuid.to_string(), "name:eth0", said.clone());
                    match rules.iter_mut().find(|(other, _)| *other == uuid) {
                        Some((_, other)) => *other = said,
                        None => rules.push((uuid, said)),
                    }
                }
                Act::Remove(uuid) => {
                    rig.rules.remove_node_rule(&uuid.to_string());
                    rules.retain(|(other, _)| *other != uuid);
                }
                Act::Write(key, value) => {
                    rig.graph.set_metadata(&eth0, key, value.clone()).unwrap();
                    bare.insert(key.to_owned(), value);
                }
                Act::Patch(key, number) => {
                    let patch = |metadata: &mut Metadata| crate::path::set(metadata, key, number.into());
                    rig.graph.edit(|edit| edit.update_node(&eth0, patch)).unwrap();
                    patch(&mut bare);
                }
                Act::Take(key) => {
                    rig.graph.edit(|edit| edit.remove_key(&eth0, key)).unwrap();
                    bare.remove(key);
                }
            }
            rig.rules.apply();
            prop_assert_eq!(&rig.graph.node(&eth0).unwrap().metadata, &ruled(&bare, &rules));
            prop_assert_eq!(rig.settle(), 0, "at rest");
        }
    }
}
