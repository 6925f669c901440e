//! Input that was made to hurt: nothing aborts, nothing grows, and neighbours live on.

use std::net::SocketAddr;
use std::sync::LazyLock;

use flowtap_collectors::sflow::wire::{DecodeError, MAX_DATAGRAM, MAX_RECORDS};
use flowtap_flow::ledger::DropReason;
use proptest::prelude::*;

use crate::encoder::*;
use crate::fixtures::RECORDINGS;
use crate::harness::{Harness, datagrams};
use crate::vectors::*;

fn survivor(harness: &mut Harness) {
    let good = FlowSample {
        sequence: 2,
        ..FlowSample::default()
    };
    let before = harness.seen().len();
    harness.feed(&Datagram::numbered(2).with(&[good.compact(&[raw_header(1, 132, 4, &udp_frame(9, 128))])]));
    assert_eq!(
        harness.seen().len(),
        before + 1,
        "the next datagram is read as ever"
    );
}

fn feed(bytes: &[u8]) -> Harness {
    let mut harness = Harness::new();
    harness.feed(bytes);
    harness
}

#[test]
fn vector_a_recursion() {
    let two_levels = "000000480000000100000001000001900000019000000000000000010000000200000001\
        000003f8000000200000000100000001000003f80000001000000001000000010ffff00100000000";
    assert_eq!(nested(2), hex(&[HEAD, "00000001", two_levels].concat()));
    for levels in [2, 69, 500] {
        let mut harness = feed(&nested(levels));
        assert_eq!(harness.agent().unknown_records.total(), 1, "{levels} levels");
        survivor(&mut harness);
    }
}

#[test]
fn vector_b_too_long_to_look_at() {
    for bytes in [nested(1_720), nested(4_080), vec![0; MAX_DATAGRAM + 1]] {
        assert!(bytes.len() > MAX_DATAGRAM);
        let harness = feed(&bytes);
        assert_eq!(harness.dropped(DropReason::Limit), 1);
        assert_eq!(harness.stats.totals().refused.of(DecodeError::DatagramLength), 1);
    }
}

#[test]
fn vector_c_a_length_that_is_not_there() {
    assert_eq!(claimed_length().len(), 36);
    let mut harness = feed(&claimed_length());
    assert_eq!(harness.agent().decode_errors.of(DecodeError::SampleLength), 1);
    assert_eq!(harness.dropped(DropReason::Malformed), 1);
    survivor(&mut harness);
}

#[test]
fn vector_c_inside_of_records() {
    // A header, a port name and a host name that claim 31 MiB each, and good neighbours.
    let claim = words(&[0x01f0_0000]);
    let header = tlv(1, &[words(&[1, 132, 4]), claim.clone()].concat());
    let good = raw_header(1, 132, 4, &udp_frame(1, 128));
    let samples = [
        FlowSample::default().compact(&[header]),
        counters(
            1,
            0,
            9,
            &[
                tlv(1005, &claim),
                tlv(2000, &claim),
                if_counters(9, (5, 5), (1, 1)),
            ],
        ),
        FlowSample {
            sequence: 2,
            ..FlowSample::default()
        }
        .compact(&[good]),
    ];
    let harness = feed(&Datagram::default().with(&samples));
    assert_eq!(harness.seen().len(), 1);
    assert_eq!(harness.agent().decode_errors.of(DecodeError::RecordContent), 3);
    assert_eq!(harness.dropped(DropReason::Malformed), 1);
    assert_eq!(
        harness.node("port 9").metadata["SFlow"]["Metric"]["IfInOctets"],
        5
    );
}

#[test]
fn vector_d_an_unknown_header_protocol() {
    let mut harness = feed(&unknown_protocol());
    assert_eq!(harness.agent().unknown_protocols.of(99), 1);
    assert_eq!(harness.dropped(DropReason::LinkType), 1);
    survivor(&mut harness);
}

#[test]
fn vector_e_empties() {
    assert_eq!(
        feed(&empties(8_000))
            .stats
            .totals()
            .refused
            .of(DecodeError::DatagramLength),
        1
    );
    let mut harness = feed(&empties(1_140));
    let agent = harness.agent();
    assert_eq!(agent.unknown_records.total(), u64::from(MAX_RECORDS));
    assert_eq!(agent.decode_errors.of(DecodeError::RecordLimit), 1);
    survivor(&mut harness);
}

#[test]
fn vector_f_more_records_than_bytes() {
    let mut harness = feed(&claimed_records());
    assert_eq!(harness.agent().decode_errors.of(DecodeError::RecordLength), 1);
    assert_eq!(harness.dropped(DropReason::Malformed), 1);
    survivor(&mut harness);
}

#[test]
fn more_samples_than_are_read() {
    let samples = vec![tlv(99, &[]); 300];
    let harness = feed(&Datagram::default().with(&samples));
    assert_eq!(harness.agent().unknown_samples.total(), 256);
    assert_eq!(harness.dropped(DropReason::Limit), 1);
}

#[test]
fn other_versions_and_stumps_are_refused() {
    let harness = feed(&words(&[4, 1, 0xc000_0201, 0, 1, 1, 0]));
    assert_eq!(harness.stats.totals().refused.of(DecodeError::Version), 1);
    let whole = Datagram::default().with(&[]);
    for length in 0..whole.len() {
        let harness = feed(&whole[..length]);
        assert_eq!(
            harness.stats.totals().refused.of(DecodeError::DatagramHeader),
            1,
            "{length}"
        );
        assert_eq!(harness.dropped(DropReason::Malformed), 1);
    }
    let harness = feed(&words(&[5, 3, 0, 0, 0, 0, 0, 0]));
    assert_eq!(harness.stats.totals().refused.of(DecodeError::DatagramHeader), 1);
}

#[test]
fn a_name_that_is_no_text_costs_itself() {
    let records = [port_name(&[0xff, 0xfe]), if_counters(9, (5, 5), (1, 1))];
    let harness = feed(&Datagram::default().with(&[counters(1, 0, 9, &records)]));
    assert_eq!(harness.agent().decode_errors.of(DecodeError::RecordContent), 1);
    assert_eq!(
        harness.node("port 9").metadata["SFlow"]["Metric"]["IfOutOctets"],
        5
    );
}

/// A datagram of a recording, and where its samples are.
struct Framed {
    bytes: Vec<u8>,
    samples: Vec<FramedSample>,
}

struct FramedSample {
    is_flow: bool,
    /// What lies between the lengths and counts that frame samples and records: changing it leaves the
    /// frames as they were.
    contents: Vec<std::ops::Range<usize>>,
    end: usize,
}

fn framed(bytes: Vec<u8>) -> Framed {
    let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    let mut samples = Vec::new();
    let mut at = 28;
    while at < bytes.len() {
        let is_flow = word(at) == 1;
        let end = at + 8 + word(at + 4) as usize;
        let mut record = at + 8 + if is_flow { 32 } else { 12 };
        let mut contents = Vec::new();
        while record < end {
            let length = word(record + 4) as usize;
            contents.push(record + 8..record + 8 + length);
            record += 8 + length;
        }
        samples.push(FramedSample {
            is_flow,
            contents,
            end,
        });
        at = end;
    }
    Framed { bytes, samples }
}

static RECORDED: LazyLock<Vec<Framed>> = LazyLock::new(|| {
    RECORDINGS
        .iter()
        .flat_map(|(name, ..)| datagrams(name))
        .map(|d| framed(d.data))
        .collect()
});

proptest! {
    #[test]
    fn any_bytes_are_survived_and_accounted_for(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        feed(&bytes).seen();
    }

    #[test]
    fn any_samples_are_survived(
        samples in proptest::collection::vec(
            (0u32..8, proptest::collection::vec(any::<u8>(), 0..300)),
            0..20,
        ),
    ) {
        let samples: Vec<_> = samples.iter().map(|(format, body)| tlv(*format, body)).collect();
        feed(&Datagram::default().with(&samples)).seen();
    }

    #[test]
    fn any_records_are_survived(
        records in proptest::collection::vec(
            (
                prop_oneof![0u32..12, 1001u32..1008, 1016u32..1044, 2000u32..2210],
                proptest::collection::vec(any::<u8>(), 0..120),
            ),
            0..20,
        ),
    ) {
        let records: Vec<_> = records.iter().map(|(format, body)| tlv(*format, body)).collect();
        let samples = [FlowSample::default().compact(&records), counters(1, 0, 9, &records)];
        feed(&Datagram::default().with(&samples)).seen();
    }

    #[test]
    fn any_cut_leaves_the_samples_before_it(
        which in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let Framed { bytes, samples } = which.get(&RECORDED);
        let cut = cut.index(bytes.len());
        let whole = feed(bytes).seen();
        let before = feed(&bytes[..cut]).seen();
        prop_assert_eq!(&before[..], &whole[..before.len()]);
        let complete = samples.iter().filter(|sample| sample.is_flow && sample.end <= cut).count();
        prop_assert_eq!(before.len(), complete);
    }

    #[test]
    fn any_mutation_of_contents_leaves_the_other_samples_alone(
        which in any::<prop::sample::Index>(),
        sample in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..30),
    ) {
        let Framed { bytes: good, samples } = which.get(&RECORDED);
        let places: Vec<usize> = sample.get(samples).contents.iter().cloned().flatten().collect();
        let mut bad = good.clone();
        for (place, byte) in changes {
            bad[*place.get(&places)] = byte;
        }
        let (whole, mutated) = (feed(good), feed(&bad));
        let counts = |harness: &Harness| {
            let agent = harness.agent();
            (agent.flow_samples, agent.counter_samples)
        };
        prop_assert_eq!(counts(&whole), counts(&mutated));
        // All packets but that of the changed sample are as they were, bar the microseconds.
        let data = |harness: &Harness| harness.seen().into_iter().map(|p| (p.len, p.data)).collect::<Vec<_>>();
        let (whole, mutated) = (data(&whole), data(&mutated));
        prop_assert!(whole.iter().filter(|packet| !mutated.contains(packet)).count() <= 1);
        prop_assert!(mutated.len() <= whole.len() && mutated.len() + 1 >= whole.len());
    }
}

#[test]
fn senders_are_kept_beside_agents() {
    let harness = feed(&Datagram::default().with(&[]));
    let expected: SocketAddr = "198.51.100.9:40000".parse().unwrap();
    assert_eq!(harness.agent().source, expected);
}
