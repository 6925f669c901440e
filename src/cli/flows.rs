//! `flowtap flows`: a list, or flows as they come.

mod csv;
mod follow;
mod print;
mod table;

use clap::{Args, ValueEnum};
use flowtap_api::client::{FlowsRequest, SortOrder};
use flowtap_api::wire::FlowDocument;

use super::connect::{Remote, Session};
use super::duration;
use crate::exit::{CommandResult, Failure, Status};
use print::Printer;

#[derive(Debug, Args)]
pub(crate) struct Flows {
    /// How to print them
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    /// Gremlin steps that flows must pass: "Has('Network', '10.0.0.1').Has('Transport', 53)"
    #[arg(long, value_name = "STEPS")]
    filter: Option<String>,
    /// Only of this application: DNS, TCP, ICMPv4
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// Only of this capture, by id or name, or of this input: sflow, pcapsocket, upload
    #[arg(long, value_name = "CAPTURE")]
    capture: Option<String>,
    /// Only with packets since then: 15m, 2h, or 2026-03-01T12:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// The newest so many
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    limit: usize,
    /// Go on, and print each flow that is new or has new packets, until stopped
    #[arg(short, long)]
    follow: bool,
    /// End with status 3 if there is none
    #[arg(long, conflicts_with = "follow")]
    fail_empty: bool,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Output {
    /// Columns for people
    #[default]
    Table,
    /// One JSON array
    Json,
    /// One JSON document a line
    Jsonl,
    /// Comma-separated values
    Csv,
}

impl Flows {
    fn request(&self) -> FlowsRequest {
        FlowsRequest {
            filter: self.filter.clone(),
            app: self.app.clone(),
            capture: self.capture.clone(),
            from: self.since.as_deref().map(since),
            limit: Some(self.limit),
            order: SortOrder::NewestFirst,
            ..FlowsRequest::default()
        }
    }
}

/// A duration is meant before now; the server reads all other forms itself.
fn since(text: &str) -> String {
    let has_unit = text.ends_with(|c: char| c.is_ascii_alphabetic());
    if has_unit && duration::parse(text).is_ok() {
        format!("-{text}")
    } else {
        text.to_owned()
    }
}

impl Remote for Flows {
    async fn run(self, session: Session) -> CommandResult {
        let flows = fetch(&session, self.request()).await?;
        if flows.is_empty() && self.fail_empty {
            return Err(Failure::message(Status::NotFound, "no flow matches"));
        }
        let mut printer = Printer::new(self.output, session.color, &flows);
        printer.begin()?;
        printer.flows(&flows)?;
        if self.follow {
            follow::follow(&session, self.request(), flows, &mut printer).await?;
        }
        Ok(printer.end()?)
    }
}

/// The flows asked for, oldest first.
async fn fetch(session: &Session, request: FlowsRequest) -> Result<Vec<FlowDocument>, Failure> {
    let mut flows = Vec::new();
    let mut pages = session.client.flows(request);
    while let Some(page) = pages.next().await? {
        flows.extend(page);
    }
    flows.reverse();
    Ok(flows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_lie_in_the_past() {
        for (said, sent) in [
            ("15m", "-15m"),
            ("500ms", "-500ms"),
            ("1700000000", "1700000000"),
            ("-15m", "-15m"),
            ("2026-03-01T12:00:00Z", "2026-03-01T12:00:00Z"),
        ] {
            assert_eq!(since(said), sent);
        }
    }
}
