//! `flowtap capture create`, with Skydive's flags.

use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{ArgGroup, Args, ValueEnum};
use flowtap_api::client::{ClientError, ResourceKind};
use flowtap_capture::{Capture, NewCapture, State};
use flowtap_collectors::CaptureType;

use super::super::connect::Session;
use super::super::duration;
use crate::exit::{CommandResult, Failure, Status};
use crate::output;

/// How often `--wait` looks.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("where").required(true).args(["gremlin", "node"])))]
pub(crate) struct Create {
    /// Where to capture, a query that ends in nodes or paths: "G.V().Has('Name', 'eth0')"
    #[arg(long, value_name = "GREMLIN")]
    gremlin: Option<String>,
    /// Where to capture, by the node's TID
    #[arg(long, value_name = "TID")]
    node: Option<String>,
    /// Only packets that pass this filter, see pcap-filter(7): "icmp or port 67"
    #[arg(long, value_name = "EXPRESSION")]
    bpf: Option<String>,
    #[arg(long)]
    name: Option<String>,
    #[arg(long)]
    description: Option<String>,
    /// How to capture [default: what suits the node]
    #[arg(long, value_name = "TYPE", value_parser = PossibleValuesParser::new(CaptureType::ALL.map(CaptureType::as_str)))]
    r#type: Option<String>,
    /// Port that a pcapsocket or sflow capture listens on [default: the next free one]
    #[arg(long)]
    port: Option<u16>,
    /// One packet of so many, where a switch samples
    #[arg(long, default_value_t = 1, value_name = "N")]
    samplingrate: u32,
    /// Seconds between a switch's counters
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    pollinginterval: u32,
    /// Bytes of each packet to take; 0 takes all
    #[arg(long, default_value_t = 0, value_name = "BYTES")]
    header_size: i64,
    /// How many packets of each flow to keep: the first so many; -1 keeps all
    /// [default: packets.per_flow of the server]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    rawpacket_limit: Option<i64>,
    /// Keep SYN, FIN and RST times and TTLs of TCP connections
    #[arg(long)]
    extra_tcp_metric: bool,
    /// Put IPv4 fragments together
    #[arg(long)]
    ip_defrag: bool,
    // Skydive spells it so.
    /// Follow TCP sequence numbers
    #[arg(long, alias = "reassamble-tcp")]
    reassemble_tcp: bool,
    /// Whether MAC addresses tell flows apart (L2) or only IP addresses and ports (L3)
    #[arg(long, value_name = "MODE", value_parser = PossibleValuesParser::new(["L2", "L3"]))]
    layer_key_mode: Option<String>,
    /// Where packets are sent on to: HOST or HOST:PORT
    #[arg(long)]
    target: Option<String>,
    /// How they are sent on
    #[arg(long, value_name = "TYPE")]
    target_type: Option<String>,
    /// Keep the contents of these layers
    #[arg(long, value_enum, value_name = "LAYER", ignore_case = true)]
    extra_layer: Vec<ExtraLayer>,
    /// End the capture after so long: 90s, 5m, or a number of milliseconds
    #[arg(long, value_name = "DURATION", value_parser = time_to_live)]
    ttl: Option<Duration>,
    /// Return when packets are captured; --timeout says how long to wait at most
    #[arg(long)]
    wait: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ExtraLayer {
    #[value(name = "DNS")]
    Dns,
    #[value(name = "DHCPv4")]
    Dhcpv4,
    #[value(name = "VRRP")]
    Vrrp,
}

impl ExtraLayer {
    fn bit(self) -> u32 {
        use flowtap_flow::point::ExtraLayers;
        match self {
            Self::Dns => ExtraLayers::DNS,
            Self::Dhcpv4 => ExtraLayers::DHCPV4,
            Self::Vrrp => ExtraLayers::VRRP,
        }
    }
}

/// Skydive's `--ttl` is a number of milliseconds.
fn time_to_live(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(milliseconds) => Ok(Duration::from_millis(milliseconds)),
        Err(_) => duration::parse(text),
    }
}

impl Create {
    fn document(&self) -> Result<NewCapture, Failure> {
        let gremlin_query = match (&self.gremlin, &self.node) {
            (Some(gremlin), _) => gremlin.clone(),
            (None, Some(node)) if !node.contains(['\'', '"']) => format!("G.V().Has('TID', '{node}')"),
            (None, _) => {
                return Err(Failure::message(
                    Status::Usage,
                    "--node: give a TID without quotes",
                ));
            }
        };
        let layers = self
            .extra_layer
            .iter()
            .map(|layer| layer.bit())
            .reduce(|all, bit| all | bit);
        // What is not said is as the server is configured.
        let said = |flag: bool| flag.then_some(true);
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Ok(NewCapture {
            gremlin_query,
            bpf_filter: text(&self.bpf),
            name: text(&self.name),
            description: text(&self.description),
            r#type: text(&self.r#type),
            port: self.port.unwrap_or_default(),
            raw_packet_limit: self.rawpacket_limit,
            header_size: self.header_size,
            extra_tcp_metric: said(self.extra_tcp_metric),
            ip_defrag: said(self.ip_defrag),
            reassemble_tcp: said(self.reassemble_tcp),
            layer_key_mode: text(&self.layer_key_mode),
            extra_layers: layers,
            sampling_rate: self.samplingrate,
            polling_interval: self.pollinginterval,
            target: text(&self.target),
            target_type: text(&self.target_type),
        })
    }

    pub(crate) async fn run(self, session: &Session) -> CommandResult {
        let document = serde_json::to_value(self.document()?)?;
        let ttl = self.ttl.map(|ttl| format!("{}ms", ttl.as_millis()));
        let client = &session.client;
        let made = client
            .create(ResourceKind::Capture, &document, ttl.as_deref())
            .await?;
        // Printed as `get` prints it.
        let mut capture: Capture = serde_json::from_value(made)?;
        if self.wait {
            capture = until_capturing(session, capture).await?;
        }
        Ok(output::document(&capture)?)
    }
}

/// Waits until packets are captured.
async fn until_capturing(session: &Session, mut capture: Capture) -> Result<Capture, Failure> {
    let id = capture.uuid.clone();
    loop {
        let reason = capture.reason.as_str();
        match capture.state {
            State::Active | State::Partial => return Ok(capture),
            State::Error | State::Done => {
                return Err(Failure::message(
                    Status::Failure,
                    format!(
                        "capture {id} captures nothing, {}: {reason}",
                        capture.state.as_str()
                    ),
                ));
            }
            State::Waiting | State::Starting => {}
        }
        let mut what = format!("capture {id} is {} and stays declared", capture.state.as_str());
        if !reason.is_empty() {
            what = format!("{what}: {reason}");
        }
        session.waits_for(what);
        tokio::time::sleep(LOOK).await;
        capture = match session.client.capture(&id).await {
            Err(ClientError::NotFound { .. }) => {
                return Err(Failure::message(
                    Status::Failure,
                    format!(
                        "capture {id} was deleted, or its --ttl was up, before it captured anything: {reason}"
                    ),
                ));
            }
            answer => answer?,
        };
    }
}
