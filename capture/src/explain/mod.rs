//! What an expression would capture now and, for what it just misses, why.

mod criteria;
mod near;
mod words;

use std::collections::HashMap;

use flowtap_collectors::CaptureType;
use flowtap_topology::{Node, Snapshot};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::declare::{Expression, capture_type_of};
use crate::document::is_default;
use crate::reconcile::{Verdict, judge, namespace_of};
use crate::services::CaptureServices;
use crate::summary::count;
use criteria::Asked;
use near::near_misses;
pub(crate) use words::why_none;

/// Nodes that an explanation lists. All are counted.
const LISTED_NODES: usize = 1_000;
/// Near misses that it lists.
const LISTED_MISSES: usize = 5;

/// What an expression names in the graph as it is, and what a capture would do there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct Explanation {
    /// The expression, in the canonical spelling of its steps.
    pub gremlin_query: String,
    /// The answer in one sentence.
    pub summary: String,
    /// How many nodes there are.
    pub total: usize,
    /// How many of them it names.
    pub matched: usize,
    /// At how many of these a capture would begin at once.
    pub ready: usize,
    /// The nodes that it names, 1,000 at most.
    pub nodes: Vec<ExplainedNode>,
    /// What is left after each step.
    pub steps: Vec<StepCount>,
    /// Nodes that it just misses, nearest first.
    pub near_misses: Vec<NearMiss>,
}

/// What a capture would do at a node that the expression names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct ExplainedNode {
    /// The node.
    #[serde(flatten)]
    pub node: NodeName,
    /// The capture type that it would have; empty if none fits.
    #[serde(skip_serializing_if = "is_default")]
    pub r#type: String,
    /// Why that type.
    #[serde(skip_serializing_if = "is_default")]
    pub type_reason: String,
    /// Whether it would begin at once.
    pub ready: bool,
    /// Why not.
    #[serde(skip_serializing_if = "is_default")]
    pub reason: String,
}

/// A node that the expression just misses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct NearMiss {
    /// The node.
    #[serde(flatten)]
    pub node: NodeName,
    /// Why it is not named: `Name is 'eth0', not 'eth9'`.
    pub why: String,
}

/// How a node is called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeName {
    /// Its ID in the graph.
    #[serde(rename = "NodeID")]
    pub id: String,
    /// Its TID; empty if nothing owns it.
    #[serde(rename = "NodeTID", skip_serializing_if = "is_default")]
    pub tid: String,
    /// Its name.
    pub name: String,
    /// The name of its network namespace; empty for the host's own.
    #[serde(skip_serializing_if = "is_default")]
    pub namespace: String,
    /// Its `Type`.
    pub node_type: String,
}

/// What one step of the expression leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct StepCount {
    /// The step, as `Has('Name', 'eth0')`.
    pub step: String,
    /// Where it stands, in characters from 1.
    pub column: usize,
    /// What it gives: `nodes`, `edges`, `paths`; `G` for a graph, whose nodes are counted.
    pub of: String,
    /// How many.
    pub count: usize,
    /// For a step with several conditions, how many meet each alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<ConditionCount>,
}

/// How many of the elements before a step meet one of its conditions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct ConditionCount {
    /// The condition, as `'Name', 'eth0'`.
    pub condition: String,
    /// How many meet it, whatever the others say.
    pub count: usize,
}

impl NodeName {
    pub(crate) fn of(node: &Node, graph: &Snapshot) -> Self {
        Self {
            id: node.id.to_string(),
            tid: node.tid().map(|tid| tid.to_string()).unwrap_or_default(),
            name: node.name().unwrap_or_default().to_owned(),
            namespace: namespace_of(node, graph),
            node_type: node.node_type().unwrap_or_default().to_owned(),
        }
    }
}

/// Explains `gremlin`, for a capture of this type (empty: by node).
///
/// # Errors
/// What is wrong with it, as when it is declared.
pub(crate) fn explain(
    gremlin: &str,
    capture_type: &str,
    graph: &Snapshot,
    services: &CaptureServices,
) -> Result<Explanation, String> {
    let expression =
        Expression::parse(gremlin).map_err(|error| format!("Not a valid Gremlin expression: {error}"))?;
    let declared = capture_type_of(capture_type)?;
    let mut named = expression.select(graph)?;
    named.sort_by_cached_key(|node| node.name().map(str::to_owned));
    let mut support = Support {
        services,
        known: HashMap::new(),
    };
    let mut ready = 0;
    let mut nodes = Vec::new();
    for node in &named {
        let explained = explain_node(node, declared, graph, &mut support);
        ready += usize::from(explained.ready);
        if nodes.len() < LISTED_NODES {
            nodes.push(explained);
        }
    }
    let summary = match named.len() {
        0 => why_none(&expression, graph).unwrap_or_default(),
        matched => format!(
            "the expression matches {matched} of {}; {ready} would be captured at once",
            count(graph.len())
        ),
    };
    let explained = expression.explain(graph)?;
    let asked = Asked::of(&expression, &explained, graph);
    Ok(Explanation {
        gremlin_query: expression.to_string(),
        summary,
        total: graph.len(),
        matched: named.len(),
        ready,
        nodes,
        steps: steps(explained),
        near_misses: near_misses(&asked, &named, graph, LISTED_MISSES),
    })
}

fn explain_node(
    node: &Node,
    declared: Option<CaptureType>,
    graph: &Snapshot,
    support: &mut Support<'_>,
) -> ExplainedNode {
    let name = NodeName::of(node, graph);
    let Some(judgement) = judge(node, graph, declared, support.services) else {
        let reason = format!("nothing can be captured on nodes of type {}", name.node_type);
        return ExplainedNode {
            node: name,
            reason,
            ..ExplainedNode::default()
        };
    };
    let reason = match (judgement.verdict, judgement.capture_type) {
        (Verdict::Ready, Some(kind)) => support.lacks(kind).unwrap_or_default(),
        (Verdict::Ready, None) => String::new(),
        (Verdict::Wait(reason) | Verdict::Refused(reason) | Verdict::Failed(reason), _) => reason,
    };
    ExplainedNode {
        node: name,
        r#type: judgement
            .capture_type
            .map(|kind| kind.to_string())
            .unwrap_or_default(),
        type_reason: judgement.why,
        ready: reason.is_empty(),
        reason,
    }
}

/// What this machine supports, asked once for each type.
struct Support<'a> {
    services: &'a CaptureServices,
    known: HashMap<CaptureType, Option<String>>,
}

impl Support<'_> {
    /// What a type lacks here.
    fn lacks(&mut self, capture_type: CaptureType) -> Option<String> {
        let asked = || self.services.support(capture_type).err();
        self.known.entry(capture_type).or_insert_with(asked).clone()
    }
}

fn steps(explained: flowtap_gremlin::Explanation) -> Vec<StepCount> {
    let steps = explained.steps.into_iter().map(|step| StepCount {
        step: step.step,
        column: step.column,
        of: step.of.to_owned(),
        count: step.count,
        conditions: step
            .conditions
            .into_iter()
            .map(|condition| ConditionCount {
                condition: condition.condition,
                count: condition.count,
            })
            .collect(),
    });
    steps.collect()
}
