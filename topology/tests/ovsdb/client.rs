//! The client against a real server.

use std::net::TcpListener;
use std::time::Duration;

use flowtap_topology::ovsdb::{
    Address, Atom, Condition, Connection, Datum, Follow, FollowEvent, Follower, Limits, Mutation,
    OperationResult, OvsdbError, Row, RowChange, Transaction, WaitUntil,
};

use crate::support::Database;

const DATABASE: &str = "Open_vSwitch";

async fn open(database: &Database) -> Connection {
    let opened = Connection::open(&database.address(), &Limits::default()).await;
    opened.expect("it connects").0
}

fn follow(address: Address) -> Follower {
    Follower::start(Follow {
        address,
        database: DATABASE,
        tables: &[
            ("Bridge", &["name", "ports", "other_config"]),
            ("Port", &["name", "tag", "trunks"]),
        ],
        limits: Limits::default(),
    })
}

/// The next changes, and whether they are all since the last connection.
async fn next(follower: &mut Follower) -> (bool, Vec<RowChange>) {
    loop {
        match follower.next().await {
            FollowEvent::Synchronized(changes) => return (true, changes),
            FollowEvent::Changed(changes) => return (false, changes),
            FollowEvent::Lost(_) => {}
        }
    }
}

/// Names of the rows that came (`+`), changed (`~`) and went (`-`).
fn told(changes: &[RowChange]) -> Vec<String> {
    let mut told: Vec<_> = changes
        .iter()
        .map(|change| {
            let (sign, row) = match (&change.before, &change.after) {
                (None, Some(row)) => ('+', row),
                (Some(_), Some(row)) => ('~', row),
                (Some(row), None) => ('-', row),
                (None, None) => panic!("nothing happened to {}", change.uuid),
            };
            format!("{sign}{} {}", change.table, row.text("name").unwrap_or_default())
        })
        .collect();
    told.sort();
    told
}

/// A bridge with one port, made in one transaction.
fn bridge(name: &str) -> Transaction {
    Transaction::new(DATABASE)
        .insert_named(
            "interface",
            "Interface",
            Row::new().with("name", name).with("type", "internal"),
        )
        .insert_named(
            "port",
            "Port",
            Row::new()
                .with("name", name)
                .with("interfaces", Atom::named("interface")),
        )
        .insert_named(
            "bridge",
            "Bridge",
            Row::new().with("name", name).with("ports", Atom::named("port")),
        )
        .mutate(
            "Open_vSwitch",
            [],
            [
                Mutation::insert("bridges", Atom::named("bridge")),
                Mutation::add("next_cfg", 1),
            ],
        )
        .comment("a bridge")
}

#[tokio::test]
async fn transactions_are_carried_out_whole() {
    let database = Database::served();
    let connection = open(&database).await;
    let results = connection.transact(&bridge("br0")).await.unwrap();
    let [
        OperationResult::Inserted(_),
        OperationResult::Inserted(port),
        OperationResult::Inserted(_),
        OperationResult::Count(1),
        OperationResult::Done,
    ] = results[..]
    else {
        panic!("{results:?}")
    };
    assert_eq!(database.vsctl(&["list-br"]), "br0\n");

    let change = Transaction::new(DATABASE)
        .update(
            "Port",
            [Condition::row(port)],
            Row::new().with("tag", 7).with("trunks", Datum::set([1, 2])),
        )
        .mutate(
            "Port",
            [Condition::equal("name", "br0")],
            [
                Mutation::insert("external_ids", Datum::map([("mark", "ours")])),
                Mutation::delete("trunks", 2),
            ],
        )
        .select(
            "Port",
            [Condition::includes(
                "external_ids",
                Datum::map([("mark", "ours")]),
            )],
            &["tag", "trunks"],
        );
    let results = connection.transact(&change).await.unwrap();
    let row = Row::new().with("tag", 7).with("trunks", 1);
    assert_eq!(
        results,
        [
            OperationResult::Count(1),
            OperationResult::Count(1),
            OperationResult::Rows(vec![row])
        ]
    );

    let gone = Transaction::new(DATABASE).delete("Mirror", [Condition::not_equal("name", "m")]);
    assert_eq!(
        connection.transact(&gone).await.unwrap(),
        [OperationResult::Count(0)]
    );
}

#[tokio::test]
async fn a_refused_transaction_changes_nothing_and_says_why() {
    let database = Database::served();
    let connection = open(&database).await;
    connection.transact(&bridge("br0")).await.unwrap();
    let odd = Transaction::new(DATABASE)
        .update("Port", [], Row::new().with("tag", 7))
        .update("Port", [], Row::new().with("tag", 5000));
    let error = connection.transact(&odd).await.unwrap_err();
    assert!(
        matches!(&error, OvsdbError::Transaction { operation: Some(1), error, .. } if error == "constraint violation"),
        "{error}"
    );
    let at_commit =
        Transaction::new(DATABASE).update("Bridge", [], Row::new().with("ports", uuid::Uuid::max()));
    let error = connection.transact(&at_commit).await.unwrap_err();
    assert!(
        matches!(&error, OvsdbError::Transaction { operation: None, .. }),
        "{error}"
    );
    let stale = Transaction::new(DATABASE)
        .wait(
            "Port",
            [],
            &["tag"],
            WaitUntil::Equal,
            [Row::new().with("tag", 9)],
            Duration::ZERO,
        )
        .update("Port", [], Row::new().with("tag", 10));
    let error = connection.transact(&stale).await.unwrap_err().to_string();
    assert!(error.contains("timed out"), "{error}");
    assert_eq!(database.list("Port")[0]["tag"], serde_json::json!(["set", []]));
    let error = connection
        .transact(&Transaction::new("Elsewhere"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("unknown database"), "{error}");
}

#[tokio::test]
async fn changes_are_followed_one_by_one() {
    let mut database = Database::new();
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let socket = format!("punix:{}", database.path("db.sock").display());
    database.serve_at(&[&socket, &format!("ptcp:{port}:127.0.0.1")]);
    database.change("init");
    for address in [
        database.address(),
        format!("tcp:127.0.0.1:{port}").parse().unwrap(),
    ] {
        let mut follower = follow(address);
        assert_eq!(next(&mut follower).await, (true, vec![]));
        let steps: [(&[&str], &[&str]); 5] = [
            (&["add-br", "br0"], &["+Bridge br0", "+Port br0"]),
            (
                &["add-port", "br0", "a", "tag=3", "trunks=1,2"],
                &["+Port a", "~Bridge br0"],
            ),
            (&["set", "port", "a", "tag=4", "trunks=2,5"], &["~Port a"]),
            (
                &["set", "bridge", "br0", "other_config:hwaddr=02:00:00:00:00:01"],
                &["~Bridge br0"],
            ),
            (&["del-br", "br0"], &["-Bridge br0", "-Port a", "-Port br0"]),
        ];
        for (arguments, expected) in steps {
            database.vsctl(&[&["--no-wait"], arguments].concat());
            let (whole, changes) = next(&mut follower).await;
            assert!(!whole);
            assert_eq!(told(&changes), expected);
            if let Some(change) = changes
                .iter()
                .find(|change| told(std::slice::from_ref(change)) == ["~Port a"])
            {
                let row = change.after.as_ref().unwrap();
                let mut trunks: Vec<_> = row.atoms("trunks").iter().filter_map(Atom::as_integer).collect();
                trunks.sort_unstable();
                assert_eq!((row.integer("tag"), trunks), (Some(4), vec![2, 5]));
            }
        }
    }
}

#[tokio::test]
async fn after_a_restart_only_what_changed_is_told() {
    let mut database = Database::served();
    let mut follower = follow(database.address());
    database.change("add-br br0 -- add-br br1");
    let mut known = 0;
    while known < 4 {
        known += next(&mut follower).await.1.len();
    }
    // In good order with a change meanwhile, then by a crash, without one.
    database.stop();
    database.change_unseen("add-br br2 -- del-br br0");
    database.serve();
    let (whole, changes) = next(&mut follower).await;
    assert!(whole);
    assert_eq!(
        told(&changes),
        ["+Bridge br2", "+Port br2", "-Bridge br0", "-Port br0"]
    );
    database.kill();
    database.serve();
    assert_eq!(next(&mut follower).await, (true, vec![]));
    database.change("del-br br1");
    let (whole, changes) = next(&mut follower).await;
    assert_eq!(
        (whole, told(&changes)),
        (false, vec!["-Bridge br1".to_owned(), "-Port br1".to_owned()])
    );
}

#[tokio::test]
async fn a_server_that_hung_is_followed_again() {
    let database = Database::served();
    let limits = Limits {
        idle: Duration::from_millis(50),
        deadline: Duration::from_millis(200),
        ..Limits::default()
    };
    let mut follower = Follower::start(Follow {
        address: database.address(),
        database: DATABASE,
        tables: &[("Bridge", &["name"])],
        limits,
    });
    assert_eq!(next(&mut follower).await, (true, vec![]));
    database.server().signal("-STOP");
    let error = loop {
        if let FollowEvent::Lost(error) = follower.next().await {
            break error;
        }
    };
    assert!(matches!(error, OvsdbError::Silent(_)), "{error}");
    database.server().signal("-CONT");
    assert_eq!(next(&mut follower).await, (true, vec![]));
}
