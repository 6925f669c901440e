//! Captures are found by id and by name, and waited for.

use std::time::Duration;

use flowtap_capture::{CaptureError, NewCapture, State};

use crate::support::Lab;

fn named(lab: &Lab, name: &str, gremlin: &str) -> String {
    let new = NewCapture {
        name: name.to_owned(),
        ..NewCapture::new(gremlin)
    };
    lab.declare(new).unwrap().uuid
}

#[test]
fn a_name_finds_the_one_that_has_it() {
    let lab = Lab::new();
    let one = named(&lab, "boot", "G.V('a')");
    named(&lab, "twice", "G.V('b')");
    named(&lab, "twice", "G.V('c')");
    named(&lab, "", "G.V('d')");
    assert_eq!(lab.captures.find("boot").unwrap().uuid, one);
    assert_eq!(lab.captures.find(&one).unwrap().uuid, one);
    let ambiguous = lab.captures.find("twice").unwrap_err();
    assert_eq!(
        ambiguous.to_string(),
        "2 captures are named 'twice', say which by its UUID"
    );
    for nobody in ["Boot", "", "nobody"] {
        assert_eq!(
            lab.captures.find(nobody).unwrap_err(),
            CaptureError::Unknown(nobody.to_owned())
        );
    }
}

#[tokio::test]
async fn waiting_ends_when_all_nodes_are_captured_or_the_time_is_up() {
    let lab = Lab::new();
    let id = lab.create("G.V().Has('Type', 'veth')");
    let short = Duration::from_millis(50);
    let capture = lab.captures.wait(&id, short).await.unwrap();
    assert_eq!(capture.state, State::Waiting);
    let waiting = {
        let (captures, id) = (lab.captures.clone(), id.clone());
        tokio::spawn(async move { captures.wait(&id, Duration::from_secs(20)).await })
    };
    lab.graph.edit(|edit| {
        let host = lab.graph.host().clone();
        for (name, index) in [("eth0", 1), ("eth1", 2), ("eth2", 3)] {
            edit.upsert_node(crate::support::veth(&host, name, index))
                .unwrap();
        }
    });
    let capture = waiting.await.unwrap().unwrap();
    assert_eq!((capture.state, capture.count), (State::Active, 3));

    let other = lab.create("G.V('nobody')");
    let waiting = {
        let (captures, id) = (lab.captures.clone(), other.clone());
        tokio::spawn(async move { captures.wait(&id, Duration::from_secs(20)).await })
    };
    lab.captures.delete(&other).unwrap();
    assert_eq!(waiting.await.unwrap().unwrap_err(), CaptureError::Unknown(other));
    let unknown = lab.captures.wait("nobody", short).await.unwrap_err();
    assert_eq!(unknown, CaptureError::Unknown("nobody".into()));
}
