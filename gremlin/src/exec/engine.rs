//! The way in: text to answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use flowtap_flow::packet::FilterCompiler;
use flowtap_flow::query::{Cancel, FlowReader};
use flowtap_flow::timestamp::Timestamp;
use flowtap_topology::Topology;

use super::{Clock, Context, Plan};
use crate::answer::Answer;
use crate::check::parse;
use crate::error::QueryError;
use crate::limits::Limits;

/// How an [`Engine`] answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineOptions {
    /// How long flows outlive their last packet in live tables: a query at a time shows flows that
    /// ended at most this long before it (Skydive's `flow.expire`).
    pub flow_expire: Duration,
    /// What one query may cost.
    pub limits: Limits,
}

impl Default for EngineOptions {
    /// 600 s, and the default limits.
    fn default() -> Self {
        Self {
            flow_expire: Duration::from_secs(600),
            limits: Limits::default(),
        }
    }
}

/// Answers queries. Cheap to share; holds nothing between queries.
pub struct Engine {
    reader: Arc<dyn FlowReader>,
    topology: Topology,
    compiler: Arc<dyn FilterCompiler>,
    options: EngineOptions,
}

impl Engine {
    /// One that reads flows from `reader`, the graph and its past from `topology`, and compiles `BPF`
    /// steps with `compiler`.
    pub fn new(
        reader: Arc<dyn FlowReader>,
        topology: Topology,
        compiler: Arc<dyn FilterCompiler>,
        options: EngineOptions,
    ) -> Self {
        Self {
            reader,
            topology,
            compiler,
            options,
        }
    }

    /// Answers `text`, whose relative times count from `now`. Blocks while the reader does: run it
    /// off the async runtime.
    ///
    /// # Errors
    /// See [`crate::ErrorKind`]. Nothing is read before the whole query is known to be right.
    pub fn run(&self, text: &str, now: Timestamp, cancel: &Cancel) -> Result<Answer, QueryError> {
        let plan = self.plan(text, now)?;
        let limits = &self.options.limits;
        let cancel = cancel.with_deadline(Instant::now() + limits.timeout);
        let context = Context {
            reader: &*self.reader,
            topology: &self.topology,
            compiler: &*self.compiler,
            cancel: &cancel,
            limits,
        };
        plan.run(&context)
    }

    /// Says whether `text` is a query that this engine can answer.
    ///
    /// # Errors
    /// What [`Engine::run`] would say before it reads anything.
    pub fn validate(&self, text: &str) -> Result<(), QueryError> {
        self.plan(text, Timestamp::ZERO).map(drop)
    }

    fn plan(&self, text: &str, now: Timestamp) -> Result<Plan, QueryError> {
        Plan::of(
            &parse(text)?,
            Clock {
                now,
                flow_expire: self.options.flow_expire,
            },
        )
    }
}
