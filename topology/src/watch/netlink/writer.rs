//! From what was heard to the graph.

use serde_json::Value;

use crate::element::Metadata;
use crate::error::TopologyError;
use crate::graph::{Edit, NodeSpec};
use crate::identity::NodeId;
use crate::watch::shared::{Mailbox, Shared};
use crate::watch::wiring::Port;

use super::counters::to_json;
use super::interfaces::{Interface, Interfaces};

/// Lists whose entries have a `State`, which the kernel turns all the time: between machines that talk some
/// thousand times a day. A turn makes no revision, else the graph's history would hold little else.
const TURNING: [&str; 2] = ["Neighbors", "FDB"];

/// What a [`flush`] could not do.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// Interfaces, here or elsewhere, to look at again: see [`Wiring::want`].
    ///
    /// [`Wiring::want`]: crate::watch::wiring::Wiring::want
    pub(super) peers: Vec<Port>,
    /// Whether somebody deleted a node of ours: all must be read and said anew.
    pub(super) deleted: bool,
    /// Why an interface has no node.
    pub(super) refused: Option<TopologyError>,
}

/// One thing to tell the graph.
enum Task {
    /// An interface is gone.
    Remove(u32, NodeId),
    /// One that has a node says something else.
    Update(u32),
    /// One has no node yet.
    Create(u32),
    /// One may want to be joined to others.
    Join(u32),
}

/// Tells the graph all that is new: first what is gone, then what changed (names that become free), then
/// what came. It is one edit, unless it is much.
pub(super) fn flush(interfaces: &mut Interfaces, shared: &Shared, mailbox: &Mailbox) -> Left {
    let mut left = Left::default();
    let gone = std::mem::take(&mut interfaces.gone);
    let dirty = std::mem::take(&mut interfaces.dirty);
    let gone = gone.into_iter().map(|(index, node)| Task::Remove(index, node));
    let each = |task: fn(u32) -> Task| dirty.iter().map(move |index| task(*index));
    let tasks = gone
        .chain(each(Task::Update))
        .chain(each(Task::Create))
        .chain(each(Task::Join));
    shared.graph.edit_in_turns(tasks, |edit, task| {
        // Asked under the graph's lock: whoever stops the watcher removes the nodes after that, and a
        // namespace of the same name may have nodes of the same ID by now.
        if !mailbox.is_stopped() {
            perform(edit, interfaces, shared, task, &mut left);
        }
    });
    left
}

fn perform(edit: &mut Edit<'_>, interfaces: &mut Interfaces, shared: &Shared, task: Task, left: &mut Left) {
    match task {
        Task::Remove(index, node) => {
            edit.remove_node(&node);
            shared.wiring.vanish(interfaces.port(index));
        }
        Task::Update(index) => {
            if !update(edit, interfaces, index) {
                shared.wiring.vanish(interfaces.port(index));
                interfaces.forget_node(index);
                left.deleted = true;
            }
        }
        Task::Create(index) => {
            if let Err(error) = create(edit, interfaces, shared, index) {
                left.refused = Some(error);
                // There may be room at the next look.
                interfaces.dirty.insert(index);
            }
        }
        Task::Join(index) => {
            let interface = interfaces.by_index.get(&index);
            if interface.is_some_and(|interface| interface.node.is_some()) {
                let wants = interfaces.wants(index);
                left.peers
                    .extend(shared.wiring.want(edit, interfaces.port(index), wants));
            }
        }
    }
}

/// Says what is new of an interface that has a node. Returns whether the node is still there.
fn update(edit: &mut Edit<'_>, interfaces: &mut Interfaces, index: u32) -> bool {
    let Some(interface) = interfaces.by_index.get_mut(&index) else {
        return true;
    };
    let Some(node) = interface.node.clone() else {
        return true;
    };
    let pending = std::mem::take(&mut interface.pending);
    let there = edit.snapshot().node(&node).cloned();
    let is_turn = |key: &str, value: &Option<Value>| {
        let before = there.as_ref().and_then(|node| node.metadata.get(key));
        TURNING.contains(&key) && only_states_differ(before, value.as_ref())
    };
    let (turned, changed): (Vec<_>, Vec<_>) =
        pending.into_iter().partition(|(key, value)| is_turn(key, value));
    for (key, value) in turned {
        // One that is not there any more is noticed below.
        let _ = edit.update_metrics(&node, key, |list| *list = value.unwrap_or_default());
    }
    let said = edit.update_node(&node, |metadata| {
        for (key, value) in changed {
            match value {
                Some(value) => metadata.insert(key.to_owned(), value),
                None => metadata.remove(key),
            };
        }
    });
    said.is_ok()
}

/// Whether two lists have the same entries, but for their `State`.
fn only_states_differ(before: Option<&Value>, after: Option<&Value>) -> bool {
    let entries = |list: Option<&Value>| -> Option<Vec<String>> {
        let stateless = |entry: &Value| {
            let mut entry = entry.as_object()?.clone();
            entry.remove("State");
            Some(Value::Object(entry).to_string())
        };
        let mut entries: Vec<String> = list?.as_array()?.iter().map(stateless).collect::<Option<_>>()?;
        entries.sort_unstable();
        Some(entries)
    };
    entries(before).is_some_and(|before| entries(after) == Some(before))
}

/// Makes the node of an interface that has none.
fn create(
    edit: &mut Edit<'_>,
    interfaces: &mut Interfaces,
    shared: &Shared,
    index: u32,
) -> Result<(), TopologyError> {
    let port = interfaces.port(index);
    let Some(interface) = interfaces.by_index.get_mut(&index) else {
        return Ok(());
    };
    if interface.node.is_some() || interface.pending.is_empty() {
        return Ok(());
    }
    let mut metadata: Metadata = interface
        .pending
        .iter()
        .filter_map(|(key, value)| Some(((*key).to_owned(), value.clone()?)))
        .collect();
    // That it counts is said at once: later it would be another revision.
    if let Some(counters) = interface.link.counters.filter(|counters| !counters.is_zero()) {
        metadata.insert("Metric".to_owned(), to_json(counters, None, edit.at()));
    }
    let link = &interface.link;
    let spec = NodeSpec::new(&interfaces.owner, link.type_name(), &link.name).with_all(metadata);
    let node = edit.upsert_node(spec)?;
    interface.pending.clear();
    interface.node = Some(node.clone());
    shared.wiring.appear(edit, port, &node);
    Ok(())
}

/// Writes counters, which make no revision.
pub(super) fn count(interfaces: &mut Interfaces, shared: &Shared, mailbox: &Mailbox) {
    let interfaces = interfaces.by_index.values_mut();
    shared.graph.edit_in_turns(interfaces, |edit, interface| {
        if !mailbox.is_stopped() {
            let now = edit.at();
            count_one(edit, interface, now);
        }
    });
}

/// Counters that stand still are not written again.
fn count_one(edit: &mut Edit<'_>, interface: &mut Interface, now: i64) {
    let (Some(node), Some(counters)) = (&interface.node, interface.link.counters) else {
        return;
    };
    let before = interface.counted.replace((now, counters));
    let delta = before.map(|(_, before)| counters.since(&before));
    if counters.is_zero() || delta.is_some_and(|delta| delta.is_zero()) {
        return;
    }
    // A node that is gone is made anew, with its counters, at the next look.
    let _ = edit.update_metrics(node, "Metric", |metric| *metric = to_json(counters, None, now));
    if let (Some(delta), Some((start, _))) = (delta, before) {
        let last = to_json(delta, Some(start), now);
        let _ = edit.update_metrics(node, "LastUpdateMetric", |metric| *metric = last);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::only_states_differ;

    #[test]
    fn a_turn_of_a_state_is_no_change() {
        let list = |state: &str, mac: &str| json!([{"IP": "10.0.0.1", "MAC": mac, "State": [state]}, {"IP": "10.0.0.2"}]);
        let before = list("NUD_REACHABLE", "02:00");
        assert!(only_states_differ(
            Some(&before),
            Some(&list("NUD_STALE", "02:00"))
        ));
        assert!(!only_states_differ(
            Some(&before),
            Some(&list("NUD_STALE", "02:01"))
        ));
        assert!(!only_states_differ(Some(&before), None));
        assert!(!only_states_differ(None, Some(&before)));
    }
}
