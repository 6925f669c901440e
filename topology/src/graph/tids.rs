//! Who has which TID: the host by its name, the fabric's nodes by their ID, and all others by their
//! owner. A node keeps its TID as long as its owner, its name and its type stay; a node that loses
//! its owner loses its TID; and whatever changes a TID changes those of all that the node owns.

use std::sync::Arc;

use serde_json::Value;

use super::edit::Edit;
use crate::element::Metadata;
use crate::event::Change;
use crate::identity::{NodeId, Tid};

impl Edit<'_> {
    /// Puts the right TID into the metadata that node `id` is about to get. Where there is no owner to
    /// give one, whoever writes the metadata may say one; saying nothing keeps what it had, `before`.
    pub(super) fn settle_tid(&self, id: &NodeId, metadata: &mut Metadata, before: Option<&str>) {
        let tid = if *id == self.graph.host {
            Some(self.graph.host_tid.clone())
        } else if metadata.get("Probe").and_then(Value::as_str) == Some("fabric") {
            Some(Tid::from(id))
        } else if let Some(ownership) = self.snapshot().ownership_of(id) {
            let key = self.state.keys.get(id).map(|key| &**key);
            let owner = self.snapshot().node(&ownership.parent);
            let tid = owner.and_then(|owner| owner.tid());
            tid.and_then(|tid| Tid::of(&self.host_tid(&ownership.parent), &tid, key, metadata))
        } else {
            let said = metadata.get("TID").and_then(Value::as_str);
            said.or(before).map(Tid::from)
        };
        match tid {
            Some(tid) => metadata.insert("TID".to_owned(), tid.as_str().into()),
            None => metadata.remove("TID"),
        };
    }

    /// The TID of the host that `id` is on: the one at the top of its owners, which is another one for
    /// what another host's program tells of.
    pub(super) fn host_tid(&self, id: &NodeId) -> Tid {
        let mut top = self.snapshot().node(id);
        while let Some(owner) = top.and_then(|node| self.snapshot().owner(&node.id)) {
            top = Some(owner);
        }
        let host = top.filter(|node| node.node_type() == Some("host"));
        host.and_then(|host| host.tid())
            .unwrap_or_else(|| self.graph.host_tid.clone())
    }

    /// Gives a node the TID that it should have now, and all that it owns.
    pub(super) fn refresh_tid(&mut self, id: &NodeId) {
        let Some(before) = self.snapshot().node(id).map(Arc::clone) else {
            return;
        };
        let mut metadata = before.metadata.clone();
        self.settle_tid(id, &mut metadata, before.tid_text());
        self.change_tid(id, metadata);
    }

    /// Takes a node's TID from it that has lost its owner, and theirs from all that it owns.
    pub(super) fn lose_tid(&mut self, id: &NodeId) {
        let Some(before) = self.snapshot().node(id).map(Arc::clone) else {
            return;
        };
        let mut metadata = before.metadata.clone();
        metadata.remove("TID");
        self.settle_tid(id, &mut metadata, None);
        self.change_tid(id, metadata);
    }

    /// Gives all that `owner` owns, and what that owns, the TIDs that follow from the owner's.
    pub(super) fn refresh_owned(&mut self, owner: &NodeId) {
        // Not by recursion: other programs' chains may be longer than a stack.
        let mut owners = vec![owner.clone()];
        while let Some(owner) = owners.pop() {
            let owned: Vec<_> = self
                .snapshot()
                .owned(&owner)
                .map(|node| node.id.clone())
                .collect();
            for id in owned {
                let Some(before) = self.snapshot().node(&id).map(Arc::clone) else {
                    continue;
                };
                let mut metadata = before.metadata.clone();
                self.settle_tid(&id, &mut metadata, None);
                if self.note_tid(&id, metadata) {
                    owners.push(id);
                }
            }
        }
    }

    fn change_tid(&mut self, id: &NodeId, metadata: Metadata) {
        if self.note_tid(id, metadata) {
            self.refresh_owned(id);
        }
    }

    /// Whether `metadata`, the node's but for the TID, was another one.
    fn note_tid(&mut self, id: &NodeId, metadata: Metadata) -> bool {
        let Some(before) = self.snapshot().node(id).map(Arc::clone) else {
            return false;
        };
        if before.metadata == metadata {
            return false;
        }
        let node = Arc::new(self.next_version(&before, metadata));
        self.record(Change::NodeUpdated { node, before });
        true
    }
}
