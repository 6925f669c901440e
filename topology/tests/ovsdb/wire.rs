//! What goes over the wire, against a server that does as it is told, or worse.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use flowtap_topology::ovsdb::{
    Address, Connection, Follow, FollowEvent, Follower, Limits, OvsdbError, Transaction,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::PATIENCE;

/// A connection to the server under test's control.
struct Peer {
    stream: UnixStream,
    /// How many connections there were before.
    number: usize,
    log: mpsc::Sender<Value>,
}

impl Peer {
    fn say(&mut self, text: &str) {
        let _hung_up = self.stream.write_all(text.as_bytes());
    }

    fn send(&mut self, message: &Value) {
        self.say(&message.to_string());
    }

    fn answer(&mut self, request: &Value, result: Value) {
        self.send(&json!({"id": request["id"], "result": result, "error": null}));
    }

    fn refuse(&mut self, request: &Value) {
        self.send(&json!({"id": request["id"], "result": null, "error": "unknown method"}));
    }

    /// Reads messages, and does with each as `answer` says, until the other side hangs up.
    fn serve(&mut self, mut answer: impl FnMut(&mut Self, &Value)) {
        let stream = self.stream.try_clone().expect("a second handle");
        let messages = serde_json::Deserializer::from_reader(stream).into_iter::<Value>();
        for message in messages.map_while(Result::ok) {
            let _test_ended = self.log.send(message.clone());
            answer(self, &message);
        }
    }
}

/// A server in a thread, and what it was sent.
struct Fake {
    directory: TempDir,
    heard: Receiver<Value>,
}

impl Fake {
    /// Does `serve` with each connection, one after another.
    fn new(mut serve: impl FnMut(Peer) + Send + 'static) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let listener = UnixListener::bind(directory.path().join("db.sock")).expect("a socket");
        let (log, heard) = mpsc::channel();
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                let log = log.clone();
                serve(Peer { stream, number, log });
            }
        });
        Self { directory, heard }
    }

    fn address(&self) -> Address {
        Address::Unix(self.directory.path().join("db.sock"))
    }

    /// The next message of this method.
    fn next(&self, method: &str) -> Value {
        loop {
            let message = self.heard.recv_timeout(PATIENCE).expect("a message");
            if message["method"] == method {
                return message;
            }
        }
    }

    fn follow(&self, limits: Limits) -> Follower {
        Follower::start(Follow {
            address: self.address(),
            database: "Open_vSwitch",
            tables: &[("Port", &["name", "tag", "novelty"]), ("Novelty", &["name"])],
            limits,
        })
    }
}

/// Limits that a test does not wait for long.
fn short() -> Limits {
    Limits {
        idle: Duration::from_millis(20),
        deadline: Duration::from_millis(50),
        ..Limits::default()
    }
}

fn schema() -> Value {
    json!({"name": "Open_vSwitch", "version": "8.3.1", "tables": {"Port": {"columns": {
        "name": {"type": "string"},
        "tag": {"type": {"key": "integer", "min": 0, "max": 1}},
    }}}})
}

const ROW: &str = "0689e113-1b57-5949-9c58-8a46197ca490";

async fn open(fake: &Fake, limits: &Limits) -> Connection {
    let opened = Connection::open(&fake.address(), limits).await;
    opened.expect("it connects").0
}

/// The next time that it is lost.
async fn lost(follower: &mut Follower) -> OvsdbError {
    loop {
        if let FollowEvent::Lost(error) = follower.next().await {
            return error;
        }
    }
}

#[tokio::test]
async fn echo_requests_are_answered_and_ours_keep_the_connection() {
    let fake = Fake::new(|mut peer| {
        peer.send(&json!({"id": "probe-1", "method": "echo", "params": ["x", {"y": 1}]}));
        peer.send(&json!({"id": 9, "method": "divide", "params": []}));
        let mut echoes = 0;
        let mut transaction = None;
        peer.serve(|peer, message| match message["method"].as_str() {
            Some("echo") => {
                echoes += 1;
                peer.answer(message, message["params"].clone());
                // Late, yet not too late for a server that is alive.
                if let Some(request) = transaction.take_if(|_| echoes >= 10) {
                    peer.answer(&request, json!([{}]));
                }
            }
            Some("transact") => transaction = Some(message.clone()),
            _ => {}
        });
    });
    let connection = open(&fake, &short()).await;
    let transaction = Transaction::new("db").comment("patience");
    connection.transact(&transaction).await.unwrap();
    let mut answers: Vec<Value> = fake
        .heard
        .try_iter()
        .filter(|message| message["method"].is_null())
        .collect();
    answers.sort_by_key(|answer| answer["id"].to_string());
    assert_eq!(
        answers,
        [
            json!({"id": "probe-1", "result": ["x", {"y": 1}], "error": null}),
            json!({"id": 9, "result": null, "error": "unknown method"}),
        ]
    );
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up() {
    let fake = Fake::new(|mut peer| {
        let mut silence = [0; 4096];
        while peer.stream.read(&mut silence).is_ok_and(|read| read > 0) {}
    });
    let connection = open(&fake, &short()).await;
    let error = connection.transact(&Transaction::new("db")).await.unwrap_err();
    assert!(matches!(error, OvsdbError::Silent(_)), "{error}");
    let later = connection.transact(&Transaction::new("db")).await.unwrap_err();
    assert_eq!(later.to_string(), error.to_string(), "and says why ever after");
}

#[tokio::test]
async fn a_server_that_lives_but_does_not_answer_is_told_from_one_that_hangs() {
    let fake = Fake::new(|mut peer| {
        peer.serve(|peer, message| {
            if message["method"] == "echo" {
                peer.answer(message, json!([]));
            }
        });
    });
    let limits = Limits {
        answer: Duration::from_millis(100),
        ..short()
    };
    let connection = open(&fake, &limits).await;
    let error = connection.transact(&Transaction::new("db")).await.unwrap_err();
    assert!(
        matches!(
            error,
            OvsdbError::Unanswered {
                method: "transact",
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn requests_under_way_fail_when_the_connection_does() {
    let fake = Fake::new(|mut peer| {
        let mut requests = 0;
        peer.serve(|peer, _| {
            requests += 1;
            if requests == 2 {
                let _gone = peer.stream.shutdown(std::net::Shutdown::Both);
            }
        });
    });
    let connection = open(&fake, &Limits::default()).await;
    let (one, two) = (
        Transaction::new("db").comment("1"),
        Transaction::new("db").comment("2"),
    );
    let (one, two) = tokio::join!(connection.transact(&one), connection.transact(&two));
    for error in [one.unwrap_err(), two.unwrap_err()] {
        assert!(matches!(error, OvsdbError::Closed | OvsdbError::Io(_)), "{error}");
    }
}

#[tokio::test]
async fn garbage_is_named_and_tried_again() {
    let answers = [
        "HTTP/1.1 400 Bad Request\r\n",
        "{\"id\":1,",
        "{\"result\":}",
        "{\"id\":77,\"result\":[],\"error\":null}",
        "{\"id\":1,\"result\":{\"tables\":7},\"error\":null}",
        "{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{",
    ];
    let fake = Fake::new(move |mut peer| {
        let Some(answer) = answers.get(peer.number) else {
            return peer.serve(|peer, message| match message["method"].as_str() {
                Some("get_schema") => peer.answer(message, schema()),
                Some("monitor_cond_since") => peer.answer(message, json!([false, ROW, {}])),
                _ => {}
            });
        };
        let mut request = [0; 4096];
        let _read = peer.stream.read(&mut request);
        peer.say(answer);
        // The one that is cut short must end, to be known for that.
    });
    let mut follower = fake.follow(Limits::default());
    let mut errors = Vec::new();
    loop {
        match follower.next().await {
            FollowEvent::Lost(error) => errors.push(error),
            FollowEvent::Synchronized(rows) => break assert!(rows.is_empty()),
            FollowEvent::Changed(rows) => panic!("{rows:?}"),
        }
    }
    assert_eq!(errors.len(), answers.len(), "{errors:?}");
    let (cut, garbage): (Vec<_>, Vec<_>) = errors
        .iter()
        .partition(|error| matches!(error, OvsdbError::Closed));
    assert_eq!(cut.len(), 1, "{errors:?}");
    for error in garbage {
        assert!(matches!(error, OvsdbError::Protocol(_)), "{error}");
    }
    assert!(errors[0].to_string().contains("`HTTP/1.1 400"), "{}", errors[0]);
}

#[tokio::test]
async fn a_message_without_end_takes_no_more_memory_than_allowed() {
    let fake = Fake::new(|mut peer| {
        peer.say("{\"id\":1,\"result\":\"");
        let block = "x".repeat(1 << 16);
        while peer.stream.write_all(block.as_bytes()).is_ok() {}
    });
    let mut follower = fake.follow(Limits {
        max_message: 1 << 20,
        ..Limits::default()
    });
    let error = lost(&mut follower).await.to_string();
    assert!(error.contains("more than 1048576 bytes"), "{error}");
}

#[tokio::test]
async fn older_servers_are_followed_in_their_own_way() {
    let forms = ["monitor_cond_since", "monitor_cond", "monitor"];
    let updates = ["update3", "update2", "update"];
    for known in 0..forms.len() {
        let fake = Fake::new(move |mut peer| {
            peer.serve(|peer, message| {
                let method = message["method"].as_str().unwrap_or_default();
                if method == "get_schema" {
                    peer.answer(message, schema());
                } else if method == forms[known] {
                    let old = known == 2;
                    let row = |row: Value| json!({"Port": {ROW: row}});
                    let first = json!({"name": "tap0"});
                    let first = row(if old {
                        json!({"new": first})
                    } else {
                        json!({"initial": first})
                    });
                    let then = row(if old {
                        json!({"new": {"name": "tap0", "tag": 7}, "old": {"tag": ["set", []]}})
                    } else {
                        json!({"modify": {"tag": 7}})
                    });
                    let mut params = vec![message["params"][1].clone(), then];
                    if known == 0 {
                        peer.answer(message, json!([false, ROW, first]));
                        params.insert(1, json!(ROW));
                    } else {
                        peer.answer(message, first);
                    }
                    peer.send(&json!({"id": null, "method": updates[known], "params": params}));
                } else {
                    peer.refuse(message);
                }
            });
        });
        let mut follower = fake.follow(Limits::default());
        let FollowEvent::Synchronized(first) = follower.next().await else {
            panic!("it begins with what is there")
        };
        assert_eq!(first[0].after.as_ref().unwrap().text("name"), Some("tap0"));
        let FollowEvent::Changed(then) = follower.next().await else {
            panic!("it goes on with what changes")
        };
        let row = then[0].after.as_ref().unwrap();
        assert_eq!((row.text("name"), row.integer("tag")), (Some("tap0"), Some(7)));
        let request = fake.next(forms[known]);
        let tables = json!({"Port": [{"columns": ["name", "tag"]}]});
        assert_eq!(request["params"][2], tables, "no more than the server has");
    }
}

#[tokio::test]
async fn a_server_that_remembers_tells_only_what_came_after() {
    const OTHER: &str = "81250cfa-0f02-531a-bc34-b71a67a4e109";
    let fake = Fake::new(|mut peer| {
        let number = peer.number;
        peer.serve(|peer, message| match message["method"].as_str() {
            Some("get_schema") => peer.answer(message, schema()),
            Some("monitor_cond_since") if number == 0 => {
                let rows = json!({"Port": {ROW: {"initial": {"name": "tap0"}}}});
                peer.answer(message, json!([false, OTHER, rows]));
                let change = json!({"Port": {ROW: {"modify": {"tag": 1}}}});
                let monitor = &message["params"][1];
                peer.send(&json!({"id": null, "method": "update3", "params": [monitor, ROW, change]}));
                let _gone = peer.stream.shutdown(std::net::Shutdown::Both);
            }
            Some("monitor_cond_since") => {
                let since = json!({"Port": {ROW: {"modify": {"tag": 2}}}});
                peer.answer(message, json!([true, OTHER, since]));
            }
            _ => {}
        });
    });
    let mut follower = fake.follow(Limits::default());
    let tag = |event: FollowEvent| match event {
        FollowEvent::Synchronized(rows) | FollowEvent::Changed(rows) => {
            Some(rows[0].after.as_ref().unwrap().integer("tag"))
        }
        FollowEvent::Lost(_) => None,
    };
    let mut tags = Vec::new();
    for _ in 0..4 {
        tags.push(tag(follower.next().await));
    }
    assert_eq!(tags, [Some(None), Some(Some(1)), None, Some(Some(2))]);
    let nothing = "00000000-0000-0000-0000-000000000000";
    for since in [nothing, ROW] {
        assert_eq!(fake.next("monitor_cond_since")["params"][3], since);
    }
}

#[tokio::test]
async fn what_is_not_there_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db.sock");
    let mut follower = Follower::start(Follow {
        address: Address::Unix(path.clone()),
        database: "Open_vSwitch",
        tables: &[("Port", &["name"])],
        limits: Limits::default(),
    });
    let error = lost(&mut follower).await;
    assert_eq!(error.to_string(), format!("waiting for {}", path.display()));
    drop(UnixListener::bind(&path).unwrap());
    let refused = loop {
        match lost(&mut follower).await {
            OvsdbError::NoSocket(_) => {}
            other => break other.to_string(),
        }
    };
    assert!(
        refused.contains("failed to connect to OVSDB at unix:"),
        "{refused}"
    );
}
