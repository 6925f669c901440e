//! Why an expression names nothing, in one sentence.

use flowtap_topology::Snapshot;

use super::criteria::Asked;
use super::near::near_misses;
use crate::declare::Expression;
use crate::summary::count;

/// Why `expression` names no node of `graph`; `None` if it cannot be told.
pub(crate) fn why_none(expression: &Expression, graph: &Snapshot) -> Option<String> {
    let explained = expression.explain(graph).ok()?;
    let place = match explained.emptied_by() {
        Some(emptied) => explained.steps.iter().position(|step| step == emptied)?,
        None => return None,
    };
    let step = &explained.steps[place];
    let before = place.checked_sub(1).map(|before| &explained.steps[before]);
    let asked = Asked::of(expression, &explained, graph);
    let missing = asked
        .criteria
        .iter()
        .find_map(|criterion| criterion.missing_field(graph));
    let cause = match (missing, before) {
        (Some(field), _) => format!("no node has {field}"),
        (None, Some(before)) => {
            let mut cause = format!("{} leaves none of {} {}", step.step, before.count, before.of);
            for (number, condition) in step.conditions.iter().enumerate() {
                let comma = if number == 0 { " (" } else { ", " };
                cause.push_str(&format!(
                    "{comma}{} holds for {}",
                    condition.condition, condition.count
                ));
            }
            if !step.conditions.is_empty() {
                cause.push(')');
            }
            cause
        }
        (None, None) => format!("{} leaves none", step.step),
    };
    let mut text = format!("the expression matches none of {}: {cause}", count(graph.len()));
    if let [miss, ..] = near_misses(&asked, &[], graph, 1).as_slice() {
        let node = &miss.node;
        let namespace = match node.namespace.as_str() {
            "" => String::new(),
            namespace => format!(" in {namespace}"),
        };
        text.push_str(&format!(
            "; nearest is {} {}{namespace}: {}",
            node.node_type, node.name, miss.why
        ));
    }
    Some(text)
}
