//! `flowtap capture watch`.

use std::io::Write as _;
use std::time::Duration;

use clap::Args;
use flowtap_api::client::ClientError;
use flowtap_capture::{CaptureEvent, EventKind};
use flowtap_flow::timestamp::Timestamp;

use super::super::connect::Session;
use super::id_of;
use crate::exit::CommandResult;
use crate::output::text::printable;
use crate::output::{self, time};

/// How often it looks.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Id or name
    #[arg(value_name = "CAPTURE")]
    capture: String,
}

impl Watch {
    pub(crate) async fn run(self, session: &Session) -> CommandResult {
        // By id from now on: once it is deleted, its name is nobody's, or another's.
        let id = id_of(self.capture, &session.client.captures().await?)?;
        let mut seen = 0;
        loop {
            let events = match session.client.capture_events(&id, seen).await {
                // Of captures that were deleted the newest alone are known.
                Err(ClientError::NotFound { .. }) if seen > 0 => {
                    let now = Timestamp::now().millis();
                    let kind = EventKind::Deleted.as_str();
                    return Ok(output::line(format_args!("{}  {kind}", time::utc(now)))?);
                }
                events => events?,
            };
            for event in events {
                seen = event.sequence;
                print(&event)?;
                if event.event == EventKind::Deleted {
                    return Ok(());
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn print(event: &CaptureEvent) -> std::io::Result<()> {
    let mut out = output::stdout();
    write!(out, "{}  {:<12}", time::utc(event.time), event.event.as_str())?;
    for word in [&event.node_name, &event.detail] {
        if !word.is_empty() {
            write!(out, " {}", printable(word))?;
        }
    }
    writeln!(out)?;
    out.flush()
}
