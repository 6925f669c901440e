//! Sockets that are numbers, opened when the test lets them be.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};

use flowtap_collectors::Interface;
use flowtap_topology::NodeSpec;

use super::*;

/// A source that waits at each interface until it is let go, and notes what is watched.
struct Gated {
    gate: Mutex<Receiver<()>>,
    watched: Arc<Mutex<Vec<Option<PathBuf>>>>,
    queues: Arc<Mutex<Vec<Queue>>>,
}

/// Notes when it ends.
struct Watch {
    path: Option<PathBuf>,
    watched: Arc<Mutex<Vec<Option<PathBuf>>>>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.watched.lock().unwrap().retain(|path| *path != self.path);
    }
}

impl Source for Gated {
    type Watch = Watch;
    type Socket = u32;

    fn watch(&self, netns: Option<PathBuf>) -> Result<Watch, String> {
        if netns.as_ref().is_some_and(|path| path.ends_with("closed")) {
            return Err("permission denied".to_owned());
        }
        self.watched.lock().unwrap().push(netns.clone());
        Ok(Watch {
            path: netns,
            watched: Arc::clone(&self.watched),
        })
    }

    fn socket(
        &self,
        watch: Option<&Watch>,
        interface: &Interface,
        queue: Queue,
    ) -> Result<(u32, bool), String> {
        self.queues.lock().unwrap().push(queue);
        self.gate.lock().unwrap().recv().unwrap();
        let watch = watch.filter(|watch| watch.path == interface.netns);
        Ok((interface.index, watch.is_some()))
    }
}

struct Lab {
    graph: Arc<Graph>,
    keeper: Keeper<Gated>,
    release: Sender<()>,
    watched: Arc<Mutex<Vec<Option<PathBuf>>>>,
    queues: Arc<Mutex<Vec<Queue>>>,
}

impl Lab {
    fn new(limits: CaptureLimits) -> Self {
        let graph = Arc::new(Graph::new("here"));
        let (release, gate) = channel();
        let watched = Arc::<Mutex<Vec<_>>>::default();
        let queues = Arc::<Mutex<Vec<_>>>::default();
        let source = Gated {
            gate: Mutex::new(gate),
            watched: Arc::clone(&watched),
            queues: Arc::clone(&queues),
        };
        Self {
            keeper: Keeper::start(Arc::clone(&graph), limits, source).unwrap(),
            graph,
            release,
            watched,
            queues,
        }
    }

    fn want(&self, is_wanted: bool) {
        self.keeper.want(is_wanted);
        self.keeper.settle();
    }

    fn namespace(&self, name: &str) -> NodeId {
        let host = self.graph.host().clone();
        let spec = NodeSpec::new(&host, "netns", name).with("Path", format!("/run/netns/{name}"));
        self.graph.upsert_node(spec).unwrap()
    }

    fn add(&self, owner: &NodeId, name: &str, index: u32, state: &str) -> NodeId {
        let spec = NodeSpec::new(owner, "veth", name)
            .with("IfIndex", index)
            .with("State", state);
        self.graph.upsert_node(spec).unwrap()
    }

    fn add_here(&self, name: &str, index: u32) -> NodeId {
        self.add(&self.graph.host().clone(), name, index, "DOWN")
    }

    fn take(&self, node: &NodeId) -> Option<Held<u32>> {
        self.keeper.claim(node, self.graph.snapshot().sequence()).take()
    }

    fn watched(&self) -> Vec<String> {
        let watched = self.watched.lock().unwrap();
        let name = |path: &Option<PathBuf>| {
            path.as_ref()
                .map_or("own".into(), |path| path.display().to_string())
        };
        let mut names: Vec<_> = watched.iter().map(name).collect();
        names.sort();
        names
    }

    /// Waits until all events were looked at.
    fn catch_up(&self) {
        let last = self.graph.snapshot().sequence();
        while self.keeper.shared.table().seen < last {
            std::thread::yield_now();
        }
    }
}

#[test]
fn whoever_claims_waits_for_the_thread_and_all_get_the_same() {
    let lab = Lab::new(CaptureLimits::default());
    lab.want(true);
    let node = lab.add_here("tap0", 7);
    let sequence = lab.graph.snapshot().sequence();
    let claims = [
        lab.keeper.claim(&node, sequence),
        lab.keeper.claim(&node, sequence),
    ];
    std::thread::scope(|scope| {
        let taken = claims.map(|claim| scope.spawn(|| claim.take()));
        lab.release.send(()).unwrap();
        for held in taken {
            assert_eq!(held.join().unwrap().unwrap().socket, 7);
        }
    });
    // What is not held is not waited for.
    assert!(lab.take(&NodeId::from("nobody")).is_none());
    assert!(lab.graph.edit(|edit| edit.remove_node(&node)));
    assert!(lab.take(&node).is_none());
}

#[test]
fn a_node_that_was_there_before_the_first_capture_is_not_held() {
    let lab = Lab::new(CaptureLimits::default());
    let before = lab.add_here("tap0", 7);
    lab.want(true);
    let after = lab.add_here("tap1", 8);
    lab.release.send(()).unwrap();
    assert_eq!(lab.take(&after).unwrap().socket, 8);
    assert!(lab.take(&before).is_none());
    lab.want(false);
    assert!(lab.take(&after).is_none());
    assert_eq!(lab.keeper.stats().opened, 1);
}

#[test]
fn all_namespaces_are_watched_while_it_is_wanted() {
    let lab = Lab::new(CaptureLimits {
        early_namespaces: 3,
        ..CaptureLimits::default()
    });
    lab.namespace("blue");
    lab.namespace("closed");
    assert!(lab.watched().is_empty());
    lab.want(true);
    assert_eq!(lab.watched(), ["/run/netns/blue", "own"]);
    assert_eq!(lab.keeper.stats().failed, 1);
    let red = lab.namespace("red");
    lab.namespace("one too many");
    lab.catch_up();
    assert_eq!(lab.watched(), ["/run/netns/blue", "/run/netns/red", "own"]);
    lab.graph.set_metadata(&red, "Path", "/run/netns/pink").unwrap();
    lab.catch_up();
    assert_eq!(lab.watched(), ["/run/netns/blue", "/run/netns/pink", "own"]);
    assert!(lab.graph.edit(|edit| edit.remove_tree(&red)));
    lab.catch_up();
    assert_eq!(lab.watched(), ["/run/netns/blue", "own"]);
    lab.want(false);
    assert!(lab.watched().is_empty());
    lab.want(true);
    assert_eq!(lab.watched().len(), 3, "there is room for the last one now");
    lab.keeper.close();
    assert!(lab.watched().is_empty());
}

#[test]
fn nothing_is_missing_of_what_was_awaited_or_was_down() {
    let lab = Lab::new(CaptureLimits::default());
    let closed = lab.namespace("closed");
    let blue = lab.namespace("blue");
    lab.want(true);
    for _ in 0..4 {
        lab.release.send(()).unwrap();
    }
    let complete = |owner: &NodeId, name: &str, state: &str| {
        let node = lab.add(owner, name, 7, state);
        lab.take(&node).unwrap().is_complete
    };
    assert!(complete(&blue, "tap0", "UP"));
    assert!(complete(&closed, "tap1", "DOWN"));
    assert!(!complete(&closed, "tap2", "UP"));
    // It came up before its socket was open.
    let late = Lab::new(CaptureLimits::default());
    let closed = late.namespace("closed");
    late.want(true);
    let node = late.add(&closed, "tap0", 7, "DOWN");
    late.graph.set_metadata(&node, "State", "UP").unwrap();
    late.release.send(()).unwrap();
    assert!(!late.take(&node).unwrap().is_complete);
}

#[test]
fn a_thousand_at_once_are_all_held_the_later_ones_with_small_queues() {
    let lab = Lab::new(CaptureLimits::default());
    lab.want(true);
    let nodes: Vec<NodeId> = (1..=1_000)
        .map(|index| {
            lab.release.send(()).unwrap();
            lab.add_here(&format!("tap{index}"), index)
        })
        .collect();
    assert_eq!(lab.take(&nodes[999]).unwrap().socket, 1_000);
    assert_eq!(lab.take(&nodes[0]).unwrap().socket, 1);
    let stats = lab.keeper.stats();
    assert_eq!((stats.held, stats.given_up), (1_000, 0));
    let queues = lab.queues.lock().unwrap();
    assert!(queues[..64].iter().all(|queue| *queue == Queue::Whole));
    assert!(queues[64..].iter().all(|queue| *queue == Queue::Small));
}

#[test]
fn a_thousand_nodes_leave_no_trace() {
    let lab = Lab::new(CaptureLimits {
        early_sockets: 2,
        ..CaptureLimits::default()
    });
    lab.want(true);
    for index in 1..=1_000 {
        lab.release.send(()).unwrap();
        let node = lab.add_here("tap0", index);
        assert!(lab.graph.edit(|edit| edit.remove_node(&node)));
    }
    lab.release.send(()).unwrap();
    let node = lab.add_here("tap1", 1);
    lab.catch_up();
    assert_eq!(lab.take(&node).unwrap().socket, 1);
    assert!(lab.keeper.shared.table().remembered() <= 5);
    assert_eq!(lab.keeper.stats().held, 1);
}
