//! Rules: kept here, and carried out by the topology's rule engine.

use std::collections::BTreeMap;
use std::time::Duration;

use flowtap_topology::rules::{EdgeRule, NodeRule};
use uuid::Uuid;

use super::elements::check_size;
use super::{Declared, DeclaredError, Kind, State};

impl Declared {
    /// Makes a rule, with a UUID of ours.
    pub(crate) fn create_node_rule(
        &self,
        mut rule: NodeRule,
        ttl: Option<Duration>,
    ) -> Result<NodeRule, DeclaredError> {
        check_size(&rule.metadata)?;
        rule.uuid = Uuid::new_v4().to_string();
        let mut state = self.state();
        self.rules.put_node_rule(rule.clone())?;
        self.note_expiry(&mut state, Kind::NodeRule, &rule.uuid, ttl);
        if let Err(error) = self.save(&state, Kind::NodeRule, &rule.uuid, &rule) {
            self.rules.remove_node_rule(&rule.uuid);
            state.expiries.remove(Kind::NodeRule, &rule.uuid);
            return Err(error);
        }
        state.node_rules.insert(rule.uuid.clone(), rule.clone());
        Ok(rule)
    }

    /// As [`Declared::create_node_rule`].
    pub(crate) fn create_edge_rule(
        &self,
        mut rule: EdgeRule,
        ttl: Option<Duration>,
    ) -> Result<EdgeRule, DeclaredError> {
        check_size(&rule.metadata)?;
        rule.uuid = Uuid::new_v4().to_string();
        let mut state = self.state();
        self.rules.put_edge_rule(rule.clone())?;
        self.note_expiry(&mut state, Kind::EdgeRule, &rule.uuid, ttl);
        if let Err(error) = self.save(&state, Kind::EdgeRule, &rule.uuid, &rule) {
            self.rules.remove_edge_rule(&rule.uuid);
            state.expiries.remove(Kind::EdgeRule, &rule.uuid);
            return Err(error);
        }
        state.edge_rules.insert(rule.uuid.clone(), rule.clone());
        Ok(rule)
    }

    /// All of them, by UUID.
    pub(crate) fn node_rules(&self) -> BTreeMap<String, NodeRule> {
        self.state().node_rules.clone()
    }

    /// All of them, by UUID.
    pub(crate) fn edge_rules(&self) -> BTreeMap<String, EdgeRule> {
        self.state().edge_rules.clone()
    }

    /// What keeps a rule from doing all that it should.
    pub(crate) fn problem(&self, uuid: &str) -> Option<String> {
        let refused = self.state().refused.get(uuid).cloned();
        refused.or_else(|| self.rules.problem(uuid).map(|problem| problem.to_string()))
    }

    /// Deletes a rule and all that it did.
    pub(crate) fn delete_node_rule(&self, uuid: &str) -> Result<(), DeclaredError> {
        self.remove_node_rule(&mut self.state(), uuid)
    }

    /// Deletes a rule and the edges that it made.
    pub(crate) fn delete_edge_rule(&self, uuid: &str) -> Result<(), DeclaredError> {
        self.remove_edge_rule(&mut self.state(), uuid)
    }

    pub(super) fn remove_node_rule(&self, state: &mut State, uuid: &str) -> Result<(), DeclaredError> {
        if !state.node_rules.contains_key(uuid) {
            return Err(DeclaredError::not_found(Kind::NodeRule, uuid));
        }
        self.strike(state, Kind::NodeRule, uuid)?;
        state.node_rules.remove(uuid);
        state.refused.remove(uuid);
        self.rules.remove_node_rule(uuid);
        Ok(())
    }

    pub(super) fn remove_edge_rule(&self, state: &mut State, uuid: &str) -> Result<(), DeclaredError> {
        if !state.edge_rules.contains_key(uuid) {
            return Err(DeclaredError::not_found(Kind::EdgeRule, uuid));
        }
        self.strike(state, Kind::EdgeRule, uuid)?;
        state.edge_rules.remove(uuid);
        state.refused.remove(uuid);
        self.rules.remove_edge_rule(uuid);
        Ok(())
    }

    pub(super) fn load_rules(&self, state: &mut State) -> Result<(), DeclaredError> {
        for (uuid, stored) in self.stored::<NodeRule>(Kind::NodeRule)? {
            let put = self.rules.put_node_rule(stored.resource.clone());
            note_refusal(state, &uuid, put);
            state.expiries.restore(Kind::NodeRule, &uuid, stored.expires_at);
            state.node_rules.insert(uuid, stored.resource);
        }
        for (uuid, stored) in self.stored::<EdgeRule>(Kind::EdgeRule)? {
            let put = self.rules.put_edge_rule(stored.resource.clone());
            note_refusal(state, &uuid, put);
            state.expiries.restore(Kind::EdgeRule, &uuid, stored.expires_at);
            state.edge_rules.insert(uuid, stored.resource);
        }
        Ok(())
    }
}

fn note_refusal(state: &mut State, uuid: &str, put: Result<(), flowtap_topology::rules::RuleError>) {
    if let Err(error) = put {
        tracing::error!(rule = %uuid, %error, "a rule of an earlier start is not in force");
        state.refused.insert(uuid.to_owned(), error.to_string());
    }
}
