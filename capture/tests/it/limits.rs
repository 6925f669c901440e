//! What is bounded stays within its bounds, and goes on when there is room.

use flowtap_capture::{CaptureLimits, State};

use crate::support::{Lab, until};

#[test]
fn nodes_wait_for_a_free_place() {
    let limits = CaptureLimits {
        readers: 2,
        ..CaptureLimits::default()
    };
    let lab = Lab::with_limits(limits);
    let id = lab.create("G.V().Has('Type', 'veth')");
    let nodes: Vec<_> = (1..=4)
        .map(|index| lab.interface(&format!("eth{index}"), index))
        .collect();
    until("all four", || {
        lab.get(&id).nodes.len() == 4 && lab.get(&id).count == 2
    });
    until("two that wait", || {
        lab.get(&id)
            .reason
            .contains("2 sources are open already, which is the limit")
    });
    assert_eq!(lab.get(&id).state, State::Active);
    // One place after another becomes free.
    for (gone, node) in nodes.iter().enumerate() {
        lab.remove(node);
        let left = 3 - gone;
        until("the others", || {
            let capture = lab.get(&id);
            capture.nodes.len() == left && usize::try_from(capture.count).unwrap() == left.min(2)
        });
    }
    assert!(lab.log.open().is_empty());
}

#[test]
fn places_that_become_free_together_are_all_taken() {
    let limits = CaptureLimits {
        readers: 3,
        ..CaptureLimits::default()
    };
    let lab = Lab::with_limits(limits);
    let first = lab.create("G.V().Has('Name', Regex('eth[1-3]'))");
    for index in 1..=6 {
        lab.interface(&format!("eth{index}"), index);
    }
    lab.until_open(&["eth1", "eth2", "eth3"]);
    let second = lab.create("G.V().Has('Name', Regex('eth[4-6]'))");
    until("three that wait", || lab.get(&second).nodes.len() == 3);
    lab.captures.delete(&first).unwrap();
    lab.until_open(&["eth4", "eth5", "eth6"]);
}

#[test]
fn nodes_are_left_out_and_taken_in_again() {
    let limits = CaptureLimits {
        pairs: 2,
        ..CaptureLimits::default()
    };
    let lab = Lab::with_limits(limits);
    let id = lab.create("G.V().Has('Type', 'veth')");
    let nodes: Vec<_> = (1..=3)
        .map(|index| lab.interface(&format!("eth{index}"), index))
        .collect();
    // Which two is nobody's business: they came at once.
    until("two", || lab.log.open().len() == 2);
    until("the note", || lab.get(&id).reason.contains("some are left out"));
    let one = lab.log.places()[0].1;
    lab.remove(&nodes[usize::try_from(one).unwrap() - 1]);
    until("the other two", || {
        let open = lab.log.places();
        open.len() == 2 && open.iter().all(|(_, index)| *index != one)
    });
    until("no note", || lab.get(&id).reason.is_empty());
}
