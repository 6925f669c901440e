//! Shortest paths.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use flowtap_topology::{Node, NodeId, Snapshot};

use super::elements::{Elements, Pace, Path};
use super::filter::ElementFilter;
use super::moves::Direction;
use super::walker::{Bounds, around};
use crate::error::QueryError;
use crate::limits::{Meter, size};

/// For each node of `from` that can reach one, the path to the nearest node that meets `target`, along
/// edges that meet `through`, whichever way they point.
///
/// One search, breadth first, from all targets at once: each edge is looked at twice at most, however
/// many nodes there are to begin from. Of two targets or ways of one length the older is taken.
pub(super) fn shortest_paths(
    graph: &Snapshot,
    from: &[Arc<Node>],
    target: &ElementFilter,
    through: &ElementFilter,
    bounds: Bounds<'_>,
) -> Result<Vec<Path>, QueryError> {
    let mut pace = Pace::new(bounds.cancel);
    let targets = Elements::of_graph(graph.nodes(), target, &mut pace)?.in_order();
    let mut wanted: HashSet<&NodeId> = from.iter().map(|node| &node.id).collect();
    // From each node reached to the next one on its way; a target leads to itself.
    let mut next: HashMap<&NodeId, &NodeId> = HashMap::new();
    let mut queue: VecDeque<&NodeId> = VecDeque::new();
    for target in &targets {
        next.insert(&target.id, &target.id);
        queue.push_back(&target.id);
    }
    while let Some(node) = queue.pop_front() {
        wanted.remove(node);
        if wanted.is_empty() {
            break;
        }
        pace.tick()?;
        for (edge, other) in around(graph, node, Direction::Both) {
            pace.tick()?;
            if !next.contains_key(other) && through.matches(&**edge) {
                next.insert(other, node);
                queue.push_back(other);
            }
        }
    }
    let mut meter = Meter::new("nodes of paths", bounds.limits);
    let mut paths = Vec::new();
    for start in from {
        let mut path = Path::new();
        let mut at = &start.id;
        while let Some(&towards) = next.get(at) {
            pace.tick()?;
            meter.add(size(size_of::<Arc<Node>>()))?;
            path.extend(graph.node(at).cloned());
            if towards == at {
                break;
            }
            at = towards;
        }
        if !path.is_empty() {
            paths.push(path);
        }
    }
    Ok(paths)
}
