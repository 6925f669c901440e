//! Services to test with, and short ways to ask.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use flowtap_api::wire::{PartReadiness, PcapClient, SflowAgent, SflowStatus, StoreStatus};
use flowtap_api::{
    Declared, Identity, Limits, Observe, PcapImport, PcapReport, PcapUpload, Services, router,
};
use flowtap_capture::{Captures, InputKind, StandingInput, State};
use flowtap_flow::flow::{Flow, FlowId};
use flowtap_flow::ledger::{DropReason, Ledger};
use flowtap_flow::packet::{FilterCompiler, LinkType, Packet, PacketFilter, RawPacket};
use flowtap_flow::pcap::StreamParser;
use flowtap_flow::point::PointOptions;
use flowtap_flow::query::{
    Cancel, FlowQuery, FlowReader, FlowRef, FlowVisitor, MetricVisitor, PacketVisitor, ReadError, TimeRange,
};
use flowtap_flow::table::TableStats;
use flowtap_flow::timestamp::Timestamp;
use flowtap_gremlin::{Engine, EngineOptions};
use flowtap_storage::{SqliteOptions, SqliteStore};
use flowtap_topology::watch::{WatcherHealth, WatcherState};
use flowtap_topology::{Graph, Topology};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt as _;

use crate::testing;

/// Flows and packets in a list, handed out in the wrong order.
#[derive(Default)]
pub(crate) struct ListReader {
    pub(crate) flows: Vec<Flow>,
    pub(crate) packets: Vec<(FlowId, RawPacket)>,
}

impl FlowReader for ListReader {
    fn flows(
        &self,
        query: &FlowQuery,
        cancel: &Cancel,
        visit: &mut FlowVisitor<'_>,
    ) -> Result<(), ReadError> {
        for flow in self.flows.iter().rev().filter(|flow| query.wants(flow)) {
            cancel.check()?;
            if let ControlFlow::Break(()) = visit(flow.clone()) {
                break;
            }
        }
        Ok(())
    }

    fn raw_packets(
        &self,
        flows: &[FlowRef],
        time: TimeRange,
        _: &Cancel,
        visit: &mut PacketVisitor<'_>,
    ) -> Result<(), ReadError> {
        for (flow, packet) in self.packets.iter().rev() {
            let wanted = flows.iter().any(|f| f.uuid == *flow) && time.contains(packet.timestamp);
            if wanted && visit(*flow, packet.clone()).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn metrics(
        &self,
        _: &[FlowRef],
        _: TimeRange,
        _: &Cancel,
        _: &mut MetricVisitor<'_>,
    ) -> Result<(), ReadError> {
        Ok(())
    }
}

struct NoCompiler;

impl FilterCompiler for NoCompiler {
    fn compile(&self, _: &str, _: LinkType) -> Result<Box<dyn PacketFilter>, String> {
        Err("no compiler here".to_owned())
    }
}

/// Reads uploads with the real parser and counts packets.
#[derive(Default)]
pub(crate) struct CountingImport {
    pub(crate) begun: Mutex<Vec<String>>,
    /// Where declarations lie; it goes when the services go.
    _directory: Option<TempDir>,
}

struct CountingUpload {
    parser: StreamParser,
    report: PcapReport,
}

impl PcapImport for CountingImport {
    fn capture_id(&self) -> Arc<str> {
        Arc::from("upload-capture")
    }

    fn begin(&self, from: &str) -> Box<dyn PcapUpload> {
        self.begun.lock().unwrap().push(from.to_owned());
        Box::new(CountingUpload {
            parser: StreamParser::new(Timestamp::ZERO),
            report: PcapReport::default(),
        })
    }
}

impl PcapUpload for CountingUpload {
    fn feed(&mut self, bytes: &[u8]) -> Result<(), String> {
        let report = &mut self.report;
        let count = &mut |batch: &[Packet<'_>]| {
            let unsupported = batch.iter().filter(|packet| !packet.link_type.is_supported());
            report.packets += batch.len() as u64;
            report.unsupported += unsupported.count() as u64;
        };
        self.parser.push(bytes, count).map_err(|error| error.to_string())
    }

    fn finish(self: Box<Self>) -> Result<PcapReport, String> {
        let ending = self.parser.finish();
        if ending.cut_bytes > 0 {
            return Err(format!(
                "the file ends in the middle of a packet, after {} packets",
                self.report.packets
            ));
        }
        Ok(self.report)
    }
}

/// Waits until `look` sees something.
pub(crate) async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited for {what}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// Says what it is told to say.
pub(crate) struct FixedObserve {
    pub(crate) store_error: Option<String>,
}

impl Observe for FixedObserve {
    fn table(&self) -> TableStats {
        TableStats {
            flows: 3,
            max_flows: 100,
            begun: 9,
            evicted: 1,
            ..TableStats::default()
        }
    }

    fn store(&self) -> StoreStatus {
        StoreStatus {
            backend: "sqlite".to_owned(),
            flows: 6,
            error: self.store_error.clone(),
            ..StoreStatus::default()
        }
    }

    fn sflow(&self) -> Option<SflowStatus> {
        let agent = |sub_agent| SflowAgent {
            agent: "10.0.0.11".to_owned(),
            sub_agent,
            datagrams: 5,
            lost: 1,
            decode_errors: BTreeMap::from([("record_length".to_owned(), 2)]),
            ..SflowAgent::default()
        };
        let refused = BTreeMap::from([("version".to_owned(), 3)]);
        Some(SflowStatus {
            refused,
            agents: vec![agent(0), agent(1)],
            ..SflowStatus::default()
        })
    }

    fn pcap_clients(&self) -> Vec<PcapClient> {
        vec![PcapClient {
            peer: "127.0.0.1:4000".to_owned(),
            ..PcapClient::default()
        }]
    }

    fn watchers(&self) -> Vec<WatcherHealth> {
        let mut host = WatcherHealth::default();
        host.name = "host".to_owned();
        host.state = WatcherState::Running;
        let mut namespace = WatcherHealth::default();
        namespace.name = "netlink blue".to_owned();
        namespace.resyncs = 2;
        vec![host, namespace]
    }

    fn parts(&self) -> BTreeMap<String, PartReadiness> {
        let storage = PartReadiness {
            ready: self.store_error.is_none(),
            detail: self.store_error.clone().unwrap_or_else(|| "writing".to_owned()),
        };
        BTreeMap::from([("storage".to_owned(), storage)])
    }
}

pub(crate) const SFLOW_NAME: &str = "the switches";

pub(crate) fn sflow_id() -> String {
    StandingInput::new(InputKind::SFlow, "127.0.0.1:6343", Timestamp::ZERO)
        .id()
        .to_string()
}

fn captures() -> Captures {
    let captures = Captures::default();
    let mut input = StandingInput::new(InputKind::SFlow, "127.0.0.1:6343", Timestamp::ZERO);
    input.name = SFLOW_NAME.to_owned();
    let ledger = Arc::new(Ledger::default());
    ledger.receive(10, 1000);
    ledger.keep(8);
    ledger.drop_packets(DropReason::Kernel, 2);
    let id = captures
        .register(&input, &PointOptions::default(), ledger)
        .unwrap();
    captures.set_state(&id, State::Active, "").unwrap();
    captures
}

/// What is declared in `directory`.
pub(crate) fn open_declared(graph: &Arc<Graph>, directory: &Path) -> Arc<Declared> {
    let store = SqliteStore::open(directory, SqliteOptions::default()).unwrap();
    Declared::open(Arc::clone(graph), store.resources()).unwrap()
}

/// Services over `reader`, with the real query engine, and a graph without a past.
pub(crate) fn services(reader: impl FlowReader + 'static) -> Services {
    services_over(reader, Topology::new(Arc::new(Graph::new("compute-1")), None))
}

/// Services over `reader` and `topology`, with the real query engine.
pub(crate) fn services_over(reader: impl FlowReader + 'static, topology: Topology) -> Services {
    let reader: Arc<dyn FlowReader> = Arc::new(reader);
    let directory = tempfile::tempdir().unwrap();
    Services {
        identity: Arc::new(Identity {
            host: "compute-1".to_owned(),
            version: "1.2.3".to_owned(),
            revision: "abc".to_owned(),
            started: Timestamp::now(),
        }),
        queries: Arc::new(Engine::new(
            reader.clone(),
            topology.clone(),
            Arc::new(NoCompiler),
            EngineOptions::default(),
        )),
        flows: reader,
        captures: Arc::new(captures()),
        declared: open_declared(topology.graph(), directory.path()),
        topology,
        config: Arc::new(json!({"http": {"listen": "127.0.0.1:8082"}})),
        uploads: Arc::new(CountingImport {
            _directory: Some(directory),
            ..CountingImport::default()
        }),
        observe: Arc::new(FixedObserve { store_error: None }),
        limits: Limits::default(),
    }
}

/// Six flows and five packets: TCP 1 (three packets), ICMP 2 (two), ARP 3, TCP 4, 5 and 6.
pub(crate) fn sample() -> ListReader {
    let mut flows = vec![testing::tcp_flow(1), testing::icmp_flow(2), testing::arp_flow(3)];
    flows.extend((4..=6).map(testing::tcp_flow));
    flows[0].raw_packets_captured = 3;
    flows[1].raw_packets_captured = 2;
    flows[1].capture_id = sflow_id().as_str().into();
    let packet = |flow: u64, index: u32, offset_nanos: i64| {
        let start = flows[usize::try_from(flow).unwrap() - 1].start;
        let timestamp = Timestamp::from_nanos(start.nanos() + offset_nanos);
        let data = vec![u8::try_from(flow).unwrap(); 60];
        (
            FlowId(flow),
            RawPacket {
                timestamp,
                index,
                len: 1500,
                link_type: LinkType::ETHERNET,
                data: data.into(),
            },
        )
    };
    let packets = vec![
        packet(1, 1, 123),
        packet(2, 1, 5),
        packet(1, 2, 2_000_001),
        packet(2, 2, 3_000_000),
        packet(1, 3, 4_500_000),
    ];
    ListReader { flows, packets }
}

pub(crate) fn sample_router() -> Router {
    router(services(sample()))
}

/// A whole answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: impl AsRef<str>) -> &str {
        self.headers
            .get(name.as_ref())
            .map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn content_type(&self) -> &str {
        self.header(header::CONTENT_TYPE)
    }

    /// Checks that this is a problem document, and gives its code and detail.
    pub(crate) fn problem(&self) -> (String, String) {
        assert_eq!(self.content_type(), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], self.status.as_u16());
        let code = problem["code"].as_str().unwrap();
        assert_eq!(problem["type"], format!("urn:flowtap:problem:{code}"));
        assert_ne!(problem["hint"], "");
        (code.to_owned(), problem["detail"].as_str().unwrap().to_owned())
    }
}

pub(crate) async fn send(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes().to_vec();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body,
    }
}

pub(crate) async fn get(router: &Router, path: &str) -> Answer {
    send(router, Request::get(path).body(Body::empty()).unwrap()).await
}

pub(crate) async fn get_as(router: &Router, path: &str, accept: &str) -> Answer {
    let request = Request::get(path)
        .header(header::ACCEPT, accept)
        .body(Body::empty())
        .unwrap();
    send(router, request).await
}

/// The packets of a capture file: time, length on the wire, bytes.
pub(crate) fn read_pcap(bytes: &[u8]) -> Vec<(Timestamp, u32, Vec<u8>)> {
    let mut packets = Vec::new();
    let mut parser = StreamParser::new(Timestamp::ZERO);
    let keep = &mut |batch: &[Packet<'_>]| {
        packets.extend(batch.iter().map(|p| (p.timestamp, p.len, p.data.to_vec())));
    };
    parser.push(bytes, keep).unwrap();
    assert_eq!(parser.finish().cut_bytes, 0);
    packets
}
