//! Captures outlive flowtap, and those with an end come to it.

use std::sync::Arc;
use std::time::Duration;

use flowtap_capture::{CaptureServices, CaptureStore, Captures, EventKind, NewCapture};
use flowtap_storage::{SqliteOptions, SqliteStore};
use serde_json::json;

use crate::support::{Lab, until, words};

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn what_was_declared_is_captured_again_after_a_restart() {
    let mut lab = Lab::new();
    let new = NewCapture {
        name: "boot".into(),
        raw_packet_limit: Some(0),
        ..NewCapture::new("G.V().Has('Name', 'eth0')")
    };
    let created = lab.declare(new).unwrap();
    lab.create("G.V('nobody')");
    lab.interface("eth0", 7);
    lab.until_state(&created.uuid, "active");
    assert!(lab.stop(PATIENCE).is_empty());
    assert!(lab.log.open().is_empty());

    lab.start();
    assert_eq!(lab.captures.list().len(), 2);
    let capture = lab.until_state(&created.uuid, "active");
    assert_eq!((capture.name.as_str(), capture.raw_packet_limit), ("boot", 0));
    assert_eq!(capture.create_time, created.create_time);
    assert_eq!(words(&capture)[0], EventKind::Restored);
    // Duplicates are known over a restart, too.
    lab.declare(NewCapture::new("G.V('nobody')")).unwrap_err();
}

#[test]
fn what_this_version_refuses_is_listed_with_the_reason() {
    let mut lab = Lab::new();
    assert!(lab.stop(PATIENCE).is_empty());
    let old = json!({"GremlinQuery": "G.V().Frob()", "Name": "old", "CreateTime": 7});
    lab.store.put("old", &old).unwrap();
    lab.store.put("no capture", &json!([])).unwrap();
    lab.start();
    let capture = lab.until_state("old", "error");
    assert!(
        capture
            .reason
            .starts_with("Not a valid Gremlin expression: column 7"),
        "{}",
        capture.reason
    );
    assert_eq!(lab.captures.list().len(), 1);
    lab.captures.delete("old").unwrap();
    assert_eq!(lab.store.ids(), ["no capture"]);
}

#[test]
fn captures_end_when_their_time_is_up() {
    let mut lab = Lab::new();
    lab.interface("eth0", 7);
    let forever = lab.create("G.V().Has('Name', 'eth0')");
    let new = NewCapture::new("G.V().Has('IfIndex', 7)");
    let short = lab
        .captures
        .create(new.clone(), Some(Duration::from_millis(300)))
        .unwrap();
    assert!(short.expires >= short.create_time + 300);
    lab.until_state(&short.uuid, "active");
    until("the end", || lab.captures.get(&short.uuid).is_none());
    lab.until_open(&["eth0"]);
    let events = lab.captures.events(&short.uuid).unwrap();
    let deleted = events.iter().find(|event| event.event == EventKind::Deleted);
    assert_eq!(deleted.unwrap().detail, "its time was up");
    assert_eq!(lab.store.ids(), [forever.as_str()]);

    // It has ended, too, where the store does not forget it, which is asked again; at the next start, at once.
    let short = lab.captures.create(new, Some(Duration::from_millis(50))).unwrap();
    *lab.store.is_broken.lock().unwrap() = true;
    until("the end", || lab.captures.get(&short.uuid).is_none());
    assert_eq!(lab.store.ids().len(), 2);
    assert!(lab.stop(PATIENCE).is_empty());
    *lab.store.is_broken.lock().unwrap() = false;
    lab.start();
    until("the end", || lab.captures.list().len() == 1);
    assert_eq!(lab.store.ids(), [forever.as_str()]);
}

#[test]
fn what_the_store_could_not_forget_has_ended_and_is_forgotten_later() {
    let mut lab = Lab::new();
    lab.interface("eth0", 7);
    let id = lab.create("G.V().Has('Name', 'eth0')");
    lab.until_open(&["eth0"]);
    *lab.store.is_broken.lock().unwrap() = true;
    let text = lab.captures.delete(&id).unwrap_err().to_string();
    assert!(
        text.contains("has ended") && text.contains("the disk is on fire"),
        "{text}"
    );
    lab.until_open(&[]);
    assert!(lab.captures.get(&id).is_none());
    let events = lab.captures.events(&id).unwrap();
    let last = events.iter().find(|event| event.event == EventKind::Deleted);
    assert!(last.unwrap().detail.contains("the disk is on fire"));
    // Whoever insists hears the same; and when it works, it is at the latest at the stop.
    assert_eq!(lab.captures.delete(&id).unwrap_err().to_string(), text);
    *lab.store.is_broken.lock().unwrap() = false;
    assert!(lab.stop(PATIENCE).is_empty());
    assert!(lab.store.ids().is_empty());
    lab.start();
    assert!(lab.captures.list().is_empty());
}

#[test]
fn a_real_store_keeps_them() {
    let directory = tempfile::tempdir().unwrap();
    let open = || SqliteStore::open(directory.path(), SqliteOptions::default()).unwrap();
    let lab = Lab::new();
    let services = |store: &SqliteStore| CaptureServices {
        store: Arc::new(store.resources()),
        ..lab.services()
    };
    let store = open();
    let captures = Captures::default();
    let running = captures.start(services(&store)).unwrap();
    let new = NewCapture::new("G.V().HasKey('ExtID.vm-id')");
    let created = captures.create(new, Some(Duration::from_secs(3_600))).unwrap();
    let deleted = captures.create(NewCapture::new("G.V()"), None).unwrap();
    captures.delete(&deleted.uuid).unwrap();
    assert!(running.stop(PATIENCE).is_empty());
    drop((captures, store));

    let store = open();
    let captures = Captures::default();
    let running = captures.start(services(&store)).unwrap();
    let restored = captures.list();
    assert_eq!(restored.len(), 1);
    assert_eq!(
        (&restored[0].uuid, restored[0].expires),
        (&created.uuid, created.expires)
    );
    assert!(running.stop(PATIENCE).is_empty());
}
