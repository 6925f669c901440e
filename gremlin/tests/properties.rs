//! What holds for every query.

mod support;

use flowtap_flow::query::Cancel;
use flowtap_gremlin::{Answer, Engine, EngineOptions, parse, parse_flow_filter};
use proptest::prelude::*;
use serde_json::Value as Json;
use support::{Record, engine, metric, record, sample};

fn run(engine: &Engine, text: &str) -> Result<Json, TestCaseError> {
    engine
        .run(text, support::at(100_000), &Cancel::default())
        .map(|answer| answer.to_json())
        .map_err(|error| TestCaseError::fail(format!("{text}: {error}")))
}

/// Uuids as they come, sorted: readers promise no order.
fn sorted(uuids: Json) -> Vec<String> {
    let mut uuids: Vec<String> = uuids
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|u| u.as_str().map(str::to_owned))
        .collect();
    uuids.sort();
    uuids
}

fn value() -> impl Strategy<Value = String> {
    proptest::sample::select(vec![
        "1",
        "2",
        "53",
        "80",
        "5.5",
        "-1",
        "true",
        "'DNS'",
        "'TCP'",
        "'53'",
        "'node-b'",
        "'8.8.8.8'",
        "'fe80:0::1'",
        "'FA:16:3E:00:00:05'",
        "''",
    ])
    .prop_map(str::to_owned)
}

fn condition() -> impl Strategy<Value = String> {
    let one = proptest::sample::select(vec!["NE", "NEE", "LT", "GT", "LTE", "GTE", "Within", "Without"]);
    let two = proptest::sample::select(vec!["Inside", "Outside", "Between", "Within", "Without"]);
    prop_oneof![
        3 => value(),
        3 => (one, value()).prop_map(|(name, value)| format!("{name}({value})")),
        2 => (two, value(), value()).prop_map(|(name, low, high)| format!("{name}({low}, {high})")),
        1 => Just("Regex('ICMP.*|D.*')".to_owned()),
        1 => Just("IPV4Range('192.168.0.0/16')".to_owned()),
    ]
}

fn has() -> impl Strategy<Value = String> {
    let key = proptest::sample::select(vec![
        "Application",
        "Network",
        "Network.A",
        "Link",
        "Transport",
        "Transport.B",
        "UDP",
        "ICMP",
        "ICMP.ID",
        "Metric.ABPackets",
        "LastUpdateMetric.ABBytes",
        "NodeTID",
        "TCPMetric.ABSynStart",
        "Sampling.Rate",
        "DNS.Questions.Type",
        "FinishType",
        "ParentUUID",
        "Nothing",
    ]);
    let pairs = proptest::collection::vec((key.clone(), condition()), 1..4);
    prop_oneof![
        1 => key.prop_map(|key| format!("Has('{key}')")),
        4 => (proptest::sample::select(vec!["Has", "HasEither"]), pairs).prop_map(|(step, pairs)| {
            let pairs: Vec<String> = pairs.iter().map(|(k, c)| format!("'{k}', {c}")).collect();
            format!("{step}({})", pairs.join(", "))
        }),
    ]
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    let one = (0_i64..50, 0_i64..50, 0_u64..4, 0_u64..8);
    proptest::collection::vec(one, 0..40).prop_map(|rows| {
        let rows = rows.into_iter().zip(1..);
        rows.map(|((start, length, packets, tracking), uuid)| {
            let metric = metric(start, start + length, (packets, packets * 60), (0, 0));
            let mut record = record(uuid, tracking, "Ethernet/IPv4/TCP", metric);
            if tracking > 4 {
                record.flow.last_update_metric = Some(metric);
            }
            record
        })
        .collect()
    })
}

proptest! {
    /// The reader evaluates the filter, the engine does behind a limit, and so can anybody else.
    #[test]
    fn a_filter_means_the_same_wherever_it_is_evaluated(
        steps in proptest::collection::vec(has(), 1..4),
    ) {
        let engine = engine(sample(), EngineOptions::default());
        let chain = steps.join(".");
        let pushed = sorted(run(&engine, &format!("G.Flows().{chain}.Values('UUID')"))?);
        let after = sorted(run(&engine, &format!("G.Flows().Limit(1000000).{chain}.Values('UUID')"))?);
        prop_assert_eq!(&pushed, &after);
        let filter = parse_flow_filter(&chain).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let kept = sample().into_iter().filter(|r| filter.matches(&r.flow)).map(|r| r.flow.uuid.to_string());
        let mut kept: Vec<String> = kept.collect();
        kept.sort();
        prop_assert_eq!(&pushed, &kept);
        prop_assert_eq!(run(&engine, &format!("G.Flows().{chain}.Count()"))?, kept.len());
    }

    /// The bounded heap gives what sorting everything gives.
    #[test]
    fn the_first_of_an_order_are_the_first_of_the_whole_order(
        records in records(),
        key in proptest::sample::select(vec!["Last", "Metric.ABPackets", "LastUpdateMetric.ABBytes", "UUID"]),
        order in proptest::sample::select(vec!["ASC", "DESC"]),
        from in 0_usize..20,
        length in 0_usize..20,
    ) {
        let engine = engine(records, EngineOptions::default());
        let sorted = format!("G.Flows().Sort({order}, '{key}')");
        let whole = run(&engine, &format!("{sorted}.Values('UUID')"))?;
        let whole = whole.as_array().cloned().unwrap_or_default();
        let part = run(&engine, &format!("{sorted}.Range({from}, {}).Values('UUID')", from + length))?;
        let expected: Vec<Json> = whole.into_iter().skip(from).take(length).collect();
        prop_assert_eq!(part, Json::Array(expected));
    }

    /// A sum over slices is the sum over intervals, and groups hold every flow once.
    #[test]
    fn nothing_is_lost_on_the_way(records in records(), seconds in 1_u32..40) {
        let total: u64 = records.iter().map(|r| r.flow.metric.ab_packets).sum();
        let flows = records.len();
        let engine = engine(records, EngineOptions::default());
        prop_assert_eq!(run(&engine, "G.Flows().Sum('Metric.ABPackets')")?, total);
        prop_assert_eq!(run(&engine, "G.Flows().Metrics().Sum('ABPackets')")?, total);
        let sliced = format!("G.Flows().Metrics().Aggregates({seconds}).Sum('ABPackets')");
        prop_assert_eq!(run(&engine, &sliced)?, total);
        let groups = engine.run("G.Flows().Group()", support::at(0), &Cancel::default());
        match groups {
            Ok(Answer::Groups(groups)) => {
                prop_assert_eq!(groups.iter().map(|(_, flows)| flows.len()).sum::<usize>(), flows);
            }
            other => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,80}") {
        let engine = engine(sample(), EngineOptions::default());
        let _ = engine.run(&text, support::at(0), &Cancel::default());
        let _ = parse_flow_filter(&text);
    }

    /// Words of the language in any order: what parses also runs, or says why not.
    #[test]
    fn no_near_query_panics(steps in proptest::collection::vec(
        "(At|Flows|Has|Sort|Limit|Range|Dedup|Values|Count|Sum|Metrics|Aggregates|Group|MoreThan|RawPackets|BPF|Keys)\
         \\((|'a'|NOW|'-1s'|'Metric\\.ABBytes'|1|0, 9|DESC, 'Last'|'a', NE\\(1\\)|-1|NOW, FOREVER|'icmp')\\)", 0..6),
    ) {
        let text = format!("G.Flows().{}", steps.join("."));
        let engine = engine(sample(), EngineOptions::default());
        let answer = engine.run(&text, support::at(0), &Cancel::default());
        if let Err(error) = &answer {
            prop_assert!(error.column.is_some_and(|c| c <= text.len() + 1), "{text}: {error}");
        }
        if let Ok(query) = parse(&text) {
            let again = parse(&query.to_string()).map_err(|e| TestCaseError::fail(e.to_string()))?;
            prop_assert_eq!(again.to_string(), query.to_string());
        }
    }
}
