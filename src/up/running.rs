//! Every part, wired and at work, and its end.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use flowtap_api::{Identity, Limits, Services};
use flowtap_capture::{InputKind, RunningCaptures, State};
use flowtap_collectors::bpf::LibpcapCompiler;
use flowtap_collectors::pcapsocket::PcapSocketReader;
use flowtap_collectors::sflow::SflowReader;
use flowtap_flow::point::PointOptions;
use flowtap_flow::query::{FlowReader, UpdateSink};
use flowtap_flow::table::{FlowTable, TableOptions};
use flowtap_flow::timestamp::Timestamp;
use flowtap_flow::union::Union;
use flowtap_gremlin::{Engine, EngineOptions};
use flowtap_storage::{FlowStore, StoreWriter, WriterOptions};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;

use super::captures;
use super::inputs::Inputs;
use super::observe::Observer;
use super::open::{Opened, host_name, sflow_options};
use super::stop::Stop;
use super::ticker::Ticker;
use super::topology::RunningTopology;
use super::upload::Uploads;
use crate::config::Config;

/// Where uploads are posted to; it stands for an address in the list of captures.
const UPLOAD_PATH: &str = "/api/pcap";

/// What runs, in the order in which it stops.
pub(super) struct Running {
    inputs: Inputs,
    captures: RunningCaptures,
    uploads: Arc<Uploads>,
    ticker: Ticker,
    table: Arc<FlowTable>,
    writer: Arc<StoreWriter>,
    topology: Arc<RunningTopology>,
    http: JoinHandle<()>,
    http_stop: CancellationToken,
}

impl Running {
    /// Starts from the store upwards, so that each part finds what it needs.
    ///
    /// # Errors
    /// The system's, if it gives no threads; the same address for two inputs of a kind.
    pub(super) fn start(opened: Opened) -> Result<Self> {
        let Opened {
            config,
            store,
            http,
            sflow,
            pcap_socket,
            graph,
            data_dir: _,
        } = opened;
        let topology = Arc::new(RunningTopology::start(
            Arc::clone(&graph),
            &config.topology,
            &store,
        )?);
        let store = Arc::new(store);
        let writer = StoreWriter::start(Arc::clone(&store) as Arc<dyn FlowStore>, WriterOptions::default())
            .context("failed to start the store's writer")?;
        let updates: Arc<dyn UpdateSink> = writer.clone();
        let table = FlowTable::new(table_options(&config), updates);
        let ticker = Ticker::start(Arc::clone(&table)).context("failed to start the flow table's ticker")?;

        let defaults = point_options(&config)?;
        let inputs = Inputs::new(Arc::clone(&table), defaults.clone());
        let upload = inputs.list(InputKind::Upload, UPLOAD_PATH)?;
        inputs.captures.set_state(&upload.id, State::Active, "")?;
        let uploads = Arc::new(Uploads::new(upload, inputs.stop.clone()));
        let observer = Observer {
            table: Arc::clone(&table),
            writer: Arc::clone(&writer),
            topology: Arc::clone(&topology),
            captures: Arc::clone(&inputs.captures),
            sflow: sflow.as_ref().map(SflowReader::stats),
            pcap_socket: pcap_socket.as_ref().map(PcapSocketReader::stats),
        };
        let collectors = captures::collectors(
            sflow_options(&config.sflow, &graph)?,
            sflow.as_ref().map(SflowReader::local_addr),
        );
        if let (Some(reader), Some(told)) = (sflow, config.sflow.listen.address()) {
            inputs.start(InputKind::SFlow, told, reader.local_addr(), |context| {
                reader.run(context)
            })?;
        }
        if let (Some(reader), Some(told)) = (pcap_socket, config.pcap_socket.listen.address()) {
            inputs.start(InputKind::PcapSocket, told, reader.local_addr(), |context| {
                reader.run(context)
            })?;
        }

        let captures = captures::start(
            &inputs.captures,
            &graph,
            &table,
            &store,
            defaults,
            collectors,
            http.local_addr()?,
        )?;

        let live: Arc<dyn FlowReader> = table.clone();
        let stored: Arc<dyn FlowReader> = writer.clone();
        let flows: Arc<dyn FlowReader> = Arc::new(Union::new(live, stored));
        let engine = Engine::new(
            Arc::clone(&flows),
            topology.topology(),
            Arc::new(LibpcapCompiler),
            engine_options(&config),
        );
        let services = Services {
            identity: Arc::new(identity()),
            flows,
            queries: Arc::new(engine),
            captures: Arc::clone(&inputs.captures),
            topology: topology.topology(),
            declared: topology.declared(),
            config: Arc::new(serde_json::to_value(&config)?),
            uploads: uploads.clone(),
            observe: Arc::new(observer),
            limits: limits(&config),
        };
        let http_stop = CancellationToken::new();
        let serving = flowtap_api::serve(http, flowtap_api::router(services), http_stop.clone());
        Ok(Self {
            inputs,
            captures,
            uploads,
            ticker,
            table,
            writer,
            topology,
            http: tokio::spawn(serving),
            http_stop,
        })
    }

    /// Takes nothing more in, lets what was received come to the store, and answers what was asked.
    ///
    /// # Errors
    /// Names whoever was late or failed. All together take less than 20 s, and each part leaves time
    /// for those after it.
    pub(super) async fn stop(self) -> Result<()> {
        let mut stop = Stop::new(Duration::from_secs(19));
        let inputs = async {
            let (stopped, ()) = tokio::join!(
                captures::stop(self.captures, Duration::from_secs(5)),
                self.inputs.stop(),
            );
            self.uploads.ended().await;
            stopped
        };
        stop.part("inputs", Duration::from_secs(13), inputs).await;

        let (ticker, table) = (self.ticker, self.table);
        let flush = spawn_blocking(move || {
            ticker.stop();
            table.drain();
        });
        stop.part("flow table", Duration::from_secs(6), flush).await;

        let writer = self.writer;
        let patience = stop.time_left(Duration::from_secs(5));
        let store = async {
            spawn_blocking(move || writer.stop(patience))
                .await?
                .context("store")
        };
        stop.part("store", Duration::from_secs(4), store).await;

        self.http_stop.cancel();
        stop.part("HTTP", Duration::from_secs(2), self.http).await;

        // After the last answer that needs it.
        let topology = self.topology.stop(stop.time_left(Duration::ZERO));
        stop.part("topology", Duration::ZERO, topology).await;
        stop.finish()
    }
}

fn table_options(config: &Config) -> TableOptions {
    TableOptions {
        max_flows: config.flows.max,
        update_interval: Duration::from_secs(config.flows.update_seconds),
        expire_after: Duration::from_secs(config.flows.expire_seconds),
    }
}

/// What all inputs have in common.
fn point_options(config: &Config) -> Result<PointOptions> {
    Ok(PointOptions {
        layer_key_mode: config.flows.layer_key_mode,
        ip_defrag: config.flows.ip_defrag,
        extra_tcp_metric: config.flows.extra_tcp_metric,
        reassemble_tcp: config.flows.reassemble_tcp,
        extra_layers: config.flows.extra_layers(),
        raw_packet_limit: config.packets.limit()?,
        raw_budget_bytes: config.packets.memory_bytes,
        application_ports: Arc::new(config.application_ports.clone()),
        ..PointOptions::default()
    })
}

fn engine_options(config: &Config) -> EngineOptions {
    EngineOptions {
        flow_expire: Duration::from_secs(config.flows.expire_seconds),
        limits: flowtap_gremlin::Limits {
            max_rows: config.queries.max_rows,
            max_bytes: config.queries.max_bytes,
            timeout: Duration::from_secs(config.queries.timeout_seconds),
        },
    }
}

fn limits(config: &Config) -> Limits {
    let most = Limits::default();
    let bound = |limit: u64, most: usize| usize::try_from(limit).unwrap_or(most).min(most);
    Limits {
        queries: config.queries.at_once,
        query_time: Duration::from_secs(config.queries.timeout_seconds),
        page_items: bound(config.queries.max_rows, most.page_items),
        page_bytes: bound(config.queries.max_bytes, most.page_bytes),
        ..most
    }
}

fn identity() -> Identity {
    Identity {
        host: host_name(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        revision: option_env!("FLOWTAP_REVISION").unwrap_or("unknown").to_owned(),
        started: Timestamp::now(),
    }
}
