//! What the engine holds, stops, refuses and passes on.

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use flowtap_flow::filter::FlowFilter;
use flowtap_flow::packet::LinkType;
use flowtap_flow::query::Cancel;
use flowtap_gremlin::{
    Answer, Engine, EngineOptions, ErrorKind, Limits, NOT_PACKETS, QueryError, parse_flow_filter,
};
use support::{MemoryReader, engine, engine_on, icmp_packet, metric, record, sample};

fn run(engine: &Engine, text: &str) -> Result<Answer, QueryError> {
    engine.run(text, support::at(100_000), &Cancel::default())
}

fn limited(max_rows: u64) -> Engine {
    let limits = Limits {
        max_rows,
        ..Limits::default()
    };
    engine(
        sample(),
        EngineOptions {
            limits,
            ..EngineOptions::default()
        },
    )
}

#[test]
fn a_limit_stops_the_reader() {
    for (query, visited) in [
        ("G.Flows().Limit(3)", 3),
        ("G.Flows().Range(1, 3).Count()", 3),
        ("G.Flows().Limit(0)", 1),
        ("G.Flows().Has('Application', 'DNS').Limit(1)", 1),
        ("G.Flows().Dedup('NodeTID').Limit(2).Values('UUID')", 2),
        ("G.Flows().Values('Application').Dedup().Limit(2)", 2),
        ("G.Flows().Limit(2).Keys()", 2),
        ("G.Flows().Limit(2).RawPackets()", 2),
        ("G.Flows().Sort().Limit(3)", 10),
        ("G.Flows().Count()", 10),
    ] {
        let reader = Arc::new(MemoryReader {
            records: sample(),
            ..MemoryReader::default()
        });
        run(&engine_on(Arc::clone(&reader), EngineOptions::default()), query).unwrap();
        assert_eq!(reader.visited.load(Ordering::Relaxed), visited, "{query}");
    }
}

#[test]
fn what_need_not_be_held_is_not() {
    let engine = limited(2);
    for query in [
        "G.Flows().Count()",
        "G.Flows().Sort('Start').Count()",
        "G.Flows().Dedup().Count()",
        "G.Flows().Sum('Metric.ABBytes')",
        "G.Flows().Limit(2)",
        "G.Flows().Sort(DESC, 'Metric.ABBytes').Limit(2)",
        "G.Flows().Sort('UUID').Range(1, 2)",
        "G.Flows().Values('CaptureID').Dedup()",
        "G.Flows().Values('Application').Count()",
        "G.Flows().Keys().Count()",
    ] {
        run(&engine, query).unwrap_or_else(|error| panic!("{query}: {error}"));
    }
}

#[test]
fn what_is_too_much_says_so() {
    let engine = limited(2);
    for (query, what) in [
        ("G.Flows()", "flows"),
        ("G.Flows().Sort()", "flows"),
        ("G.Flows().Sort().Range(1, 3)", "flows"),
        ("G.Flows().Group()", "flows"),
        ("G.Flows().Metrics()", "flows"),
        ("G.Flows().Has('UUID', Within('c1')).RawPackets()", "raw packets"),
        ("G.Flows().Has('Application', 'TCP').Metrics()", "metrics"),
        (
            "G.Flows().Has('Application', 'TCP').Metrics().Aggregates()",
            "metrics",
        ),
        ("G.Flows().Values('UUID')", "values"),
        (
            "G.Flows().Values('Application').Dedup().Count()",
            "different values",
        ),
        ("G.Flows().Dedup('Application').Count()", "different flows"),
    ] {
        let error = run(&engine, query).unwrap_err();
        assert_eq!(error.kind, ErrorKind::TooLarge, "{query}");
        let message = format!("more than 2 {what} match; add .Limit(N) or narrow the time");
        assert_eq!(error.to_string(), message, "{query}");
    }
    let limits = Limits {
        max_bytes: 1_000,
        ..Limits::default()
    };
    let tight = self::engine(
        sample(),
        EngineOptions {
            limits,
            ..EngineOptions::default()
        },
    );
    let error = run(&tight, "G.Flows()").unwrap_err();
    let message = "the flows that match take more than 1000 bytes; add .Limit(N) or narrow the time";
    assert_eq!(
        (error.kind, error.to_string().as_str()),
        (ErrorKind::TooLarge, message)
    );
}

#[test]
fn whoever_stops_a_query_is_named() {
    let cancel = Cancel::default();
    cancel.cancel();
    let engine = engine(sample(), EngineOptions::default());
    let error = engine.run("G.Flows()", support::at(0), &cancel).unwrap_err();
    assert_eq!((error.kind, error.column), (ErrorKind::Cancelled, None));

    let limits = Limits {
        timeout: Duration::ZERO,
        ..Limits::default()
    };
    let hasty = self::engine(
        sample(),
        EngineOptions {
            limits,
            ..EngineOptions::default()
        },
    );
    assert_eq!(run(&hasty, "G.Flows()").unwrap_err().kind, ErrorKind::TimedOut);

    let reader = Arc::new(MemoryReader {
        records: sample(),
        broken: true,
        ..MemoryReader::default()
    });
    let error = run(&engine_on(reader, EngineOptions::default()), "G.Flows().Count()").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Store);
    assert_eq!(error.to_string(), "failed to read segment 7: disk on fire");
}

#[test]
fn nothing_is_read_before_the_query_is_right() {
    let reader = Arc::new(MemoryReader {
        records: sample(),
        ..MemoryReader::default()
    });
    let engine = engine_on(Arc::clone(&reader), EngineOptions::default());
    for wrong in [
        "G.Workflow('x')",
        "G.Flows().Hops().NextHop('x')",
        "G.Flows().Sum('x')",
        "G.Flows().Sort().HasKey('a')",
    ] {
        assert_eq!(
            run(&engine, wrong).unwrap_err(),
            engine.validate(wrong).unwrap_err()
        );
    }
    engine
        .validate("G.At('-1s', 60).Flows().RawPackets().BPF('icmp')")
        .unwrap();
    assert_eq!(reader.visited.load(Ordering::Relaxed), 0);
}

#[test]
fn the_expiry_is_an_option() {
    let options = EngineOptions {
        flow_expire: Duration::from_secs(10),
        ..EngineOptions::default()
    };
    let engine = engine(sample(), options);
    let query = "G.At('-88.9s').Flows().Has('Application', 'DNS').Count()";
    assert_eq!(run(&engine, query).unwrap(), Answer::Number(1));
}

#[test]
fn packets_leave_in_order_of_time_flow_and_index() {
    let mut first = record(1, 1, "Ethernet/IPv4/ICMPv4", metric(0, 10, (3, 294), (0, 0)));
    let mut second = record(2, 2, "Ethernet/IPv4/ICMPv4", metric(0, 10, (2, 196), (0, 0)));
    let packet = |offset_us, index| icmp_packet(offset_us, index, 8, LinkType::ETHERNET);
    first.packets = vec![packet(1_000, 1), packet(5_000, 2), packet(5_000, 3)];
    second.packets = vec![packet(2_000, 1), packet(5_000, 2)];
    let engine = engine(vec![second, first], EngineOptions::default());
    let packets = run(&engine, "G.Flows().RawPackets()")
        .unwrap()
        .into_packets()
        .unwrap();
    let order: Vec<_> = packets
        .iter()
        .map(|p| (p.timestamp.nanos() / 1_000_000 % 100, p.index))
        .collect();
    assert_eq!(order, [(1, 1), (2, 1), (5, 2), (5, 3), (5, 2)]);
}

#[test]
fn forms_that_an_answer_does_not_have() {
    let engine = engine(sample(), EngineOptions::default());
    let flows = run(&engine, "G.Flows()").unwrap();
    let error = flows.to_dot().unwrap_err();
    assert_eq!(
        (error.kind, error.message.as_str()),
        (ErrorKind::Format, "Only graph can be outputted as dot")
    );
    assert_eq!(flows.into_packets(), None);
    assert_eq!(
        NOT_PACKETS,
        "Only RawPackets step result can be outputted as pcap"
    );
}

#[test]
fn written_json_is_the_json_value() {
    let engine = engine(sample(), EngineOptions::default());
    for query in [
        "G.Flows()",
        "G.Flows().RawPackets()",
        "G.Flows().Metrics()",
        "G.Flows().Metrics().Aggregates()",
        "G.Flows().Metrics().Sum()",
        "G.Flows().Group()",
        "G.Flows().Values('Network')",
        "G.Flows().Count()",
    ] {
        let answer = run(&engine, query).unwrap();
        let mut written = Vec::new();
        answer.write_json(&mut written).unwrap();
        let read: serde_json::Value = serde_json::from_slice(&written).unwrap();
        assert_eq!(read, answer.to_json(), "{query}");
        assert!(!read.is_null(), "{query}");
    }
}

#[test]
fn a_filter_is_a_chain_of_conditions() {
    let count = |text: &str| {
        let filter = parse_flow_filter(text).unwrap();
        sample().iter().filter(|r| filter.matches(&r.flow)).count()
    };
    assert_eq!(parse_flow_filter("").unwrap(), FlowFilter::All);
    assert_eq!(
        parse_flow_filter("Has('UUID', 'a1')").unwrap(),
        FlowFilter::eq("UUID", "a1")
    );
    assert_eq!(count("Has('Application', 'DNS')"), 2);
    assert_eq!(
        count("has('Application', 'DNS').HasEither('Transport.A', 33553, 'NodeTID', 'x')"),
        1
    );
    for (text, message) in [
        (
            "Limit(1)",
            "column 1: step Limit is not available in a filter; a filter takes: Has, HasEither",
        ),
        (
            "Has('a', 1).Flows()",
            "column 13: step Flows is not available in a filter; a filter takes: Has, HasEither",
        ),
        ("Has('a', 1", "column 11: Expected right parenthesis"),
        ("Has()", "column 1: At least one parameter must be provided"),
        (
            "Has('Network', IPV4Range('x'))",
            "column 16: expected an IPv4 network such as 10.0.0.0/8, got: x",
        ),
    ] {
        assert_eq!(parse_flow_filter(text).unwrap_err().to_string(), message);
    }
}
