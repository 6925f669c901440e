//! Skydive's paths: its bodies, its status codes, its plain-text errors.

pub(crate) mod captures;
pub(crate) mod status;
pub(crate) mod topology;
pub(crate) mod upload;
