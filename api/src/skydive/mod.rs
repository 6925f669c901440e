//! Skydive's paths: its bodies, its status codes, its plain-text errors.

pub(crate) mod captures;
pub(crate) mod config;
pub(crate) mod edge_rules;
pub(crate) mod edges;
pub(crate) mod login;
pub(crate) mod node_rules;
pub(crate) mod nodes;
mod resource;
pub(crate) mod status;
pub(crate) mod topology;
pub(crate) mod upload;
