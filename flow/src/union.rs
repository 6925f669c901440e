//! The live table and the store as one: what every query asks.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;

use crate::flow::{FinishType, FlowId, FlowMetric};
use crate::packet::RawPacket;
use crate::query::{
    Cancel, FlowQuery, FlowReader, FlowRef, FlowVisitor, MetricVisitor, PacketVisitor, ReadError, TimeRange,
};
use crate::timestamp::Timestamp;

type Set<T> = HashSet<T, RandomState>;

/// Answers over two readers, of which the live one has the newer version of a flow.
///
/// The live one is always asked first: flows move from it to the store, so that in this order one on
/// the move is found twice at worst, and never missed. What is found twice counts once.
///
/// Remembers the UUID of each live flow visited (about 20 bytes), and of each live packet and
/// interval.
#[derive(Clone)]
pub struct Union {
    live: Arc<dyn FlowReader>,
    store: Arc<dyn FlowReader>,
}

impl Union {
    /// A flow in both is as `live` has it.
    #[must_use]
    pub fn new(live: Arc<dyn FlowReader>, store: Arc<dyn FlowReader>) -> Self {
        Self { live, store }
    }
}

impl FlowReader for Union {
    fn flows(
        &self,
        query: &FlowQuery,
        cancel: &Cancel,
        visit: &mut FlowVisitor<'_>,
    ) -> Result<(), ReadError> {
        let mut visited: Set<FlowId> = Set::default();
        let mut next = ControlFlow::Continue(());
        self.live.flows(query, cancel, &mut |flow| {
            if visited.insert(flow.uuid) {
                next = visit(flow);
            }
            next
        })?;
        if next.is_break() {
            return Ok(());
        }
        // A stored flow that had not ended may live on, and the query may not want it any more as it
        // is now. Who lives is asked only when the first such flow turns up.
        let mut living: Option<Set<FlowId>> = None;
        let mut failed = None;
        self.store.flows(query, cancel, &mut |flow| {
            if visited.contains(&flow.uuid) {
                return ControlFlow::Continue(());
            }
            if flow.finish_type == FinishType::NotFinished {
                let living = match &mut living {
                    Some(living) => living,
                    None => match self.living(query.time, cancel) {
                        Ok(found) => living.insert(found),
                        Err(error) => {
                            failed = Some(error);
                            return ControlFlow::Break(());
                        }
                    },
                };
                if living.contains(&flow.uuid) {
                    return ControlFlow::Continue(());
                }
            }
            visit(flow)
        })?;
        failed.map_or(Ok(()), Err)
    }

    fn uuids(
        &self,
        time: TimeRange,
        cancel: &Cancel,
        visit: &mut dyn FnMut(FlowId),
    ) -> Result<(), ReadError> {
        let living = self.living(time, cancel)?;
        living.iter().for_each(|uuid| visit(*uuid));
        self.store.uuids(time, cancel, &mut |uuid| {
            if !living.contains(&uuid) {
                visit(uuid);
            }
        })
    }

    fn active(
        &self,
        within: Duration,
        query: &FlowQuery,
        cancel: &Cancel,
        visit: &mut FlowVisitor<'_>,
    ) -> Result<(), ReadError> {
        self.live.active(within, query, cancel, visit)
    }

    fn raw_packets(
        &self,
        flows: &[FlowRef],
        time: TimeRange,
        cancel: &Cancel,
        visit: &mut PacketVisitor<'_>,
    ) -> Result<(), ReadError> {
        let mut visited: Set<(FlowId, u32)> = Set::default();
        let mut next = ControlFlow::Continue(());
        self.live
            .raw_packets(flows, time, cancel, &mut |uuid, packet: RawPacket| {
                if visited.insert((uuid, packet.index)) {
                    next = visit(uuid, packet);
                }
                next
            })?;
        if next.is_break() {
            return Ok(());
        }
        self.store.raw_packets(flows, time, cancel, &mut |uuid, packet| {
            let known = visited.contains(&(uuid, packet.index));
            if known {
                ControlFlow::Continue(())
            } else {
                visit(uuid, packet)
            }
        })
    }

    fn metrics(
        &self,
        flows: &[FlowRef],
        time: TimeRange,
        cancel: &Cancel,
        visit: &mut MetricVisitor<'_>,
    ) -> Result<(), ReadError> {
        let mut visited: Set<(FlowId, Timestamp)> = Set::default();
        let mut next = ControlFlow::Continue(());
        self.live
            .metrics(flows, time, cancel, &mut |uuid, interval: FlowMetric| {
                if visited.insert((uuid, interval.start)) {
                    next = visit(uuid, interval);
                }
                next
            })?;
        if next.is_break() {
            return Ok(());
        }
        self.store.metrics(flows, time, cancel, &mut |uuid, interval| {
            let known = visited.contains(&(uuid, interval.start));
            if known {
                ControlFlow::Continue(())
            } else {
                visit(uuid, interval)
            }
        })
    }
}

impl Union {
    fn living(&self, time: TimeRange, cancel: &Cancel) -> Result<Set<FlowId>, ReadError> {
        let mut living = Set::default();
        self.live.uuids(time, cancel, &mut |uuid| {
            living.insert(uuid);
        })?;
        Ok(living)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::FlowFilter;
    use crate::flow::Flow;
    use crate::packet::LinkType;

    /// A reader of lists.
    #[derive(Default)]
    struct Lists {
        flows: Vec<Flow>,
        packets: Vec<(FlowId, RawPacket)>,
        intervals: Vec<(FlowId, FlowMetric)>,
    }

    impl FlowReader for Lists {
        fn flows(
            &self,
            query: &FlowQuery,
            cancel: &Cancel,
            visit: &mut FlowVisitor<'_>,
        ) -> Result<(), ReadError> {
            cancel.check()?;
            let _ = self
                .flows
                .iter()
                .filter(|f| query.wants(f))
                .try_for_each(|f| visit(f.clone()));
            Ok(())
        }

        fn raw_packets(
            &self,
            _: &[FlowRef],
            _: TimeRange,
            _: &Cancel,
            visit: &mut PacketVisitor<'_>,
        ) -> Result<(), ReadError> {
            let _ = self
                .packets
                .iter()
                .try_for_each(|(uuid, packet)| visit(*uuid, packet.clone()));
            Ok(())
        }

        fn metrics(
            &self,
            _: &[FlowRef],
            _: TimeRange,
            _: &Cancel,
            visit: &mut MetricVisitor<'_>,
        ) -> Result<(), ReadError> {
            let _ = self
                .intervals
                .iter()
                .try_for_each(|(uuid, interval)| visit(*uuid, *interval));
            Ok(())
        }
    }

    fn flow(uuid: u64, packets: u64, finish_type: FinishType) -> Flow {
        Flow {
            uuid: FlowId(uuid),
            tracking_id: FlowId(7),
            l3_tracking_id: FlowId(7),
            parent_uuid: FlowId::NONE,
            layers_path: "Ethernet/ARP".into(),
            application: "ARP".into(),
            link: None,
            network: None,
            transport: None,
            icmp: None,
            metric: FlowMetric {
                ab_packets: packets,
                ..FlowMetric::default()
            },
            last_update_metric: None,
            start: Timestamp::from_secs(1),
            last: Timestamp::from_secs(2),
            node_tid: "".into(),
            capture_id: "".into(),
            raw_packets_captured: 0,
            finish_type,
            sampling: None,
            extra: None,
        }
    }

    fn union(live: Lists, store: Lists) -> Union {
        Union::new(Arc::new(live), Arc::new(store))
    }

    fn packets_of(union: &Union, filter: FlowFilter) -> Vec<(u64, u64)> {
        let mut found = Vec::new();
        let query = FlowQuery {
            filter,
            ..FlowQuery::all()
        };
        let mut visit = |flow: Flow| {
            found.push((flow.uuid.0, flow.metric.ab_packets));
            ControlFlow::Continue(())
        };
        union.flows(&query, &Cancel::default(), &mut visit).unwrap();
        found
    }

    #[test]
    fn a_flow_is_as_the_live_table_has_it() {
        use FinishType::{NotFinished, Timeout};
        let union = union(
            Lists {
                flows: vec![flow(1, 10, NotFinished), flow(2, 10, NotFinished)],
                ..Lists::default()
            },
            Lists {
                flows: vec![
                    flow(1, 5, NotFinished),
                    flow(3, 5, Timeout),
                    flow(4, 5, NotFinished),
                ],
                ..Lists::default()
            },
        );
        assert_eq!(
            packets_of(&union, FlowFilter::All),
            [(1, 10), (2, 10), (3, 5), (4, 5)]
        );
        // Flow 1 had 5 packets when it was last stored; it has them no more.
        assert_eq!(
            packets_of(&union, FlowFilter::eq("Metric.ABPackets", 5)),
            [(3, 5), (4, 5)]
        );
        let mut uuids = Vec::new();
        union
            .uuids(TimeRange::ALL, &Cancel::default(), &mut |uuid| uuids.push(uuid.0))
            .unwrap();
        uuids.sort_unstable();
        assert_eq!(uuids, [1, 2, 3, 4]);
    }

    #[test]
    fn packets_and_intervals_on_the_move_count_once() {
        let packet = |index| {
            let timestamp = Timestamp::from_secs(1);
            (
                FlowId(1),
                RawPacket {
                    timestamp,
                    index,
                    len: 60,
                    link_type: LinkType::ETHERNET,
                    data: vec![1].into(),
                },
            )
        };
        let interval = |start| {
            (
                FlowId(1),
                FlowMetric {
                    start: Timestamp::from_secs(start),
                    ab_packets: 1,
                    ..FlowMetric::default()
                },
            )
        };
        let union = union(
            Lists {
                packets: vec![packet(2), packet(3)],
                intervals: vec![interval(20)],
                ..Lists::default()
            },
            Lists {
                packets: vec![packet(1), packet(2)],
                intervals: vec![interval(10), interval(20)],
                ..Lists::default()
            },
        );
        let (mut indices, mut starts) = (Vec::new(), Vec::new());
        let mut visit = |_, packet: RawPacket| {
            indices.push(packet.index);
            ControlFlow::Continue(())
        };
        union
            .raw_packets(&[], TimeRange::ALL, &Cancel::default(), &mut visit)
            .unwrap();
        assert_eq!(indices, [2, 3, 1]);
        let mut visit = |_, interval: FlowMetric| {
            starts.push(interval.start.millis() / 1_000);
            ControlFlow::Continue(())
        };
        union
            .metrics(&[], TimeRange::ALL, &Cancel::default(), &mut visit)
            .unwrap();
        assert_eq!(starts, [20, 10]);
    }

    #[test]
    fn a_visitor_that_has_enough_is_left_alone() {
        let both = || Lists {
            flows: vec![flow(1, 1, FinishType::Fin)],
            ..Lists::default()
        };
        let mut store = both();
        store.flows[0].uuid = FlowId(2);
        let mut visited = 0;
        let mut visit = |_| {
            visited += 1;
            ControlFlow::Break(())
        };
        union(both(), store)
            .flows(&FlowQuery::all(), &Cancel::default(), &mut visit)
            .unwrap();
        assert_eq!(visited, 1);
    }

    #[test]
    fn a_cancelled_query_says_so() {
        let cancel = Cancel::default();
        cancel.cancel();
        let union = union(Lists::default(), Lists::default());
        let answer = union.flows(&FlowQuery::all(), &cancel, &mut |_| ControlFlow::Continue(()));
        assert!(matches!(answer, Err(ReadError::Cancelled)));
    }
}
